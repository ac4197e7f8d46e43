"""Train a tokenizer on text, measure it beside others, and report.

python recipes/train_tokenizer.py
python recipes/train_tokenizer.py --data.files.train my.txt --tokenizer.type unigram --tokenizer.vocab_size 16000
"""

from dataclasses import dataclass, field

from pipelines.publish_sections import PublishConfig
from pipelines.run import launch
from pipelines.sections import CorpusConfig, PlainRunConfig, TokenizerEvaluationConfig, TokenizerTrainingConfig


@dataclass
class Config:
    run: PlainRunConfig = field(default_factory=PlainRunConfig)
    data: CorpusConfig = field(default_factory=CorpusConfig)
    tokenizer: TokenizerTrainingConfig = field(default_factory=TokenizerTrainingConfig)
    evaluation: TokenizerEvaluationConfig = field(default_factory=TokenizerEvaluationConfig)
    publish: PublishConfig = field(default_factory=PublishConfig)


def main(config: Config) -> None:
    from pipelines.data.loading import load_corpus
    from pipelines.evaluation.tokenizer_quality import compare, cut_examples, evaluate_tokenizer
    from pipelines.publishing.publish import finish_and_publish, open_run
    from pipelines.run import is_first_process
    from pipelines.run_folder import without_checkpoints
    from pipelines.training import tokenizers

    folder = open_run(config, __file__)
    if folder is None or not is_first_process():
        return

    with without_checkpoints(folder):
        corpus = load_corpus(config.data)
        kinds = dict.fromkeys([config.tokenizer.type, *config.evaluation.compare_types])
        trained = {kind: tokenizers.train_on_corpus(corpus, config.tokenizer, kind) for kind in kinds}
        tokenizer, training = trained.pop(config.tokenizer.type)
        plan = tokenizers.make_plan(config.tokenizer, corpus, tokenizer)
        tokenizers.start_run(folder, config, plan, corpus.fingerprint, tokenizer)
        tokenizers.save_tokenizer(tokenizer, folder)

        metrics, receipt, unknown = evaluate_tokenizer(corpus, tokenizer, config.evaluation.max_documents)
        others = {kind: other for kind, (other, _) in trained.items()}
        metrics |= compare(corpus, others, config.evaluation.max_documents)
        examples = {"unknown_characters": unknown, "segmentations": cut_examples(corpus, tokenizer)}
        folder.write_json("receipt.json", corpus.receipt | receipt | {"training": training})
        folder.write_json("examples.json", examples)
        finish_and_publish(folder, metrics, config)


if __name__ == "__main__":
    launch(main, Config, __file__)
