r"""Train a sentence encoder on plain text by unsupervised SimCSE, evaluate it beside baselines, and report.

accelerate launch recipes/pretrain_contrastive.py
accelerate launch recipes/pretrain_contrastive.py --config recipes/configs/pretrain_contrastive/checkpoint.yaml \
    --model.name runs/pretrain_mlm/default --evaluation.sts_files sts-dev.tsv
"""

from dataclasses import dataclass, field

from pipelines.publish_sections import PublishConfig
from pipelines.run import launch
from pipelines.sections import (
    ContrastiveConfig,
    ModelConfig,
    ProofConfig,
    RunConfig,
    SentenceDataConfig,
    SentenceSimilarityEvaluationConfig,
    TokenizerConfig,
    TrainingConfig,
)


@dataclass
class Config:
    run: RunConfig = field(default_factory=RunConfig)
    data: SentenceDataConfig = field(default_factory=SentenceDataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    contrastive: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: SentenceSimilarityEvaluationConfig = field(default_factory=SentenceSimilarityEvaluationConfig)
    proof: ProofConfig = field(default_factory=ProofConfig)
    publish: PublishConfig = field(default_factory=PublishConfig)


def main(config: Config) -> None:
    from pipelines.data.loading import load_corpus
    from pipelines.data.receipt import training_receipt
    from pipelines.data.sentences import TwoViews, cut_sentences
    from pipelines.data.tokenization import tokenize_corpus
    from pipelines.evaluation.sentence_similarity import SentenceSimilarity
    from pipelines.models.build import build_model
    from pipelines.models.pooling import Pooling, check_sentence_encoder
    from pipelines.proofs.running import prove
    from pipelines.publishing.publish import finish_and_publish, open_run
    from pipelines.publishing.sentence_encoder_card import write_pooling
    from pipelines.training import steps
    from pipelines.training.arguments import training_arguments
    from pipelines.training.contrastive import Contrastive, check_step
    from pipelines.training.saving import save_model

    if (folder := open_run(config, __file__)) is None:
        return

    state = steps.start_processes(config.run, config.training)
    check_step(config.training, state.num_processes)
    contrastive, pooling = config.contrastive, Pooling(config.contrastive.pooling)
    with state.main_process_first():  # the others read its cache
        corpus = load_corpus(config.data)
        text = tokenize_corpus(corpus, config.tokenizer, config.model, config.data.block_size)
    text = cut_sentences(text, config.data.min_tokens)
    scorer = SentenceSimilarity(
        text.validation,
        config.data.min_tokens,
        text.tokenizer,
        pooling,
        contrastive.temperature,
        config.training.per_device_eval_batch_size,
        config.evaluation,
    )
    new_tokens, block_size = text.new_tokens, config.data.block_size
    model = build_model("encoder", config.model, text.tokenizer, block_size, new_tokens, contrastive.dropout)
    check_sentence_encoder(model, pooling, text.train.pad_token_id)
    plan = steps.make_plan(config.training, text.train, text.validation, model, state, views=2)
    arguments = training_arguments(config.training, plan, folder.checkpoints, has_gpu=state.device.type != "cpu")
    checkpoint = steps.start_run(folder, config, plan, text.receipt, text.hashes, state)

    views, exact = TwoViews(text.train.pad_token_id), Contrastive(False, pooling, contrastive.temperature)
    prove(folder, config, state, model, text, views, lambda copy: exact, evaluate=scorer.evaluate_few)
    start = scorer.start(model.to(state.device))
    trainer = steps.train_model(
        config=config,
        arguments=arguments,
        plan=plan,
        folder=folder,
        checkpoint=checkpoint,
        model=model,
        text=text,
        collator=views,
        objective=Contrastive(plan.precision == "bf16", pooling, contrastive.temperature),
        evaluate_model=scorer.evaluate,
    )
    metrics = trainer.evaluate() | scorer.counts() | steps.train_metrics(trainer, plan)
    steps.assemble_model(trainer)
    if not state.is_main_process:
        return

    save_model(trainer, text.tokenizer, folder)
    receipt = text.receipt | {"training": training_receipt(trainer.blocks, trainer.account.targets)}
    folder.write_json("receipt.json", receipt)
    metrics |= scorer.baselines(start, corpus.splits["train"])
    folder.write_json("samples.json", scorer.samples(start))
    write_pooling(folder.model, pooling.mode, model.config.hidden_size, block_size)
    finish_and_publish(folder, metrics, config)


if __name__ == "__main__":
    launch(main, Config, __file__)
