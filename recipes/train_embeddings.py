"""Train static word vectors (skip-gram, CBOW, fastText, GloVe), score them beside baselines, and report.

python recipes/train_embeddings.py
python recipes/train_embeddings.py --data.files.train my.txt --embeddings.method glove
"""

from dataclasses import dataclass, field

from pipelines.publish_sections import PublishConfig
from pipelines.run import launch
from pipelines.sections import CorpusConfig, EmbeddingsConfig, MeasuredRunConfig, WordVectorEvaluationConfig


@dataclass
class Config:
    run: MeasuredRunConfig = field(default_factory=MeasuredRunConfig)
    data: CorpusConfig = field(default_factory=CorpusConfig)
    embeddings: EmbeddingsConfig = field(default_factory=EmbeddingsConfig)
    evaluation: WordVectorEvaluationConfig = field(default_factory=WordVectorEvaluationConfig)
    publish: PublishConfig = field(default_factory=PublishConfig)


def main(config: Config) -> None:
    from pipelines.data.loading import load_corpus
    from pipelines.data.words import read_words
    from pipelines.evaluation.word_sets import read_sets
    from pipelines.evaluation.word_vectors import evaluate_vectors
    from pipelines.publishing.publish import finish_and_publish, open_run
    from pipelines.run_folder import without_checkpoints
    from pipelines.training import embeddings
    from pipelines.training.energy import check_energy, measured_energy

    if (folder := open_run(config, __file__)) is None:
        return

    with without_checkpoints(folder):
        embeddings.check_embeddings(config.embeddings)
        check_energy(config.run)
        sets = read_sets(config.evaluation)
        corpus = load_corpus(config.data)
        text = read_words(corpus, config.embeddings)
        plan = embeddings.make_plan(config.embeddings, text, config.run.threads)
        embeddings.start_run(folder, config, plan, text.receipt, corpus.fingerprint)

        counts = embeddings.count_pairs(text, config.embeddings, config.evaluation)
        with measured_energy(folder):
            vectors, training, metrics = embeddings.train_vectors(config.embeddings, plan, text, counts, folder)
        embeddings.save_vectors(vectors, folder)
        folder.write_json("receipt.json", text.receipt | {"training": training})

        scores, details, neighbours = evaluate_vectors(vectors, sets, counts, config.evaluation, config.embeddings.seed)
        metrics = scores | metrics
        folder.write_json("evaluation.json", details)
        folder.write_json("neighbours.json", neighbours)
        finish_and_publish(folder, metrics, config)


if __name__ == "__main__":
    launch(main, Config, __file__)
