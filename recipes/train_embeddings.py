"""Train static word vectors (skip-gram, CBOW, fastText, GloVe), score them beside baselines, and report.

python recipes/train_embeddings.py
python recipes/train_embeddings.py --data.files.train my.txt --embeddings.method glove
"""

from dataclasses import dataclass, field

from pipelines.run import launch
from pipelines.sections import CorpusConfig, EmbeddingsConfig, RunConfig, WordVectorEvaluationConfig


@dataclass
class Config:
    run: RunConfig = field(default_factory=RunConfig)
    data: CorpusConfig = field(default_factory=CorpusConfig)
    embeddings: EmbeddingsConfig = field(default_factory=EmbeddingsConfig)
    evaluation: WordVectorEvaluationConfig = field(default_factory=WordVectorEvaluationConfig)


def main(config: Config) -> None:
    from pipelines.data.loading import load_corpus
    from pipelines.data.words import read_words
    from pipelines.evaluation.word_sets import read_sets
    from pipelines.evaluation.word_vectors import evaluate_vectors
    from pipelines.publishing.vectors_card import write_vectors_card
    from pipelines.report import finish_run
    from pipelines.run_folder import find_run_folder, report_if_finished, without_checkpoints
    from pipelines.training import embeddings

    folder = find_run_folder(config, __file__)
    if report_if_finished(folder, config):
        return

    with without_checkpoints(folder):
        embeddings.check_embeddings(config.embeddings)
        sets = read_sets(config.evaluation)
        corpus = load_corpus(config.data)
        text = read_words(corpus, config.embeddings)
        plan = embeddings.make_plan(config.embeddings, text, config.run.threads)
        embeddings.start_run(folder, config, plan, text.receipt, corpus.fingerprint)

        counts = embeddings.count_pairs(text, config.embeddings, config.evaluation)
        vectors, training, metrics = embeddings.train_vectors(config.embeddings, plan, text, counts, folder)
        embeddings.save_vectors(vectors, folder)
        folder.write_json("receipt.json", text.receipt | {"training": training})

        scores, details, neighbours = evaluate_vectors(vectors, sets, counts, config.evaluation, config.embeddings.seed)
        metrics = scores | metrics
        folder.write_json("evaluation.json", details)
        folder.write_json("neighbours.json", neighbours)
        example = text.words[len(text.words) // 100]
        write_vectors_card(folder.model, plan.as_dict(), metrics, corpus.name, corpus.licence, example)
        finish_run(folder, metrics)


if __name__ == "__main__":
    launch(main, Config, __file__)
