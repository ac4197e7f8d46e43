"""Prepare a corpus: raw text -> clean, distinct, scrubbed Parquet shards with a data card, every row accounted for.

python recipes/prepare_corpus.py
python recipes/prepare_corpus.py --data.files.train 'crawl-*.jsonl.gz' --language.keep '[en, de]' --prepare.workers 8
"""

from dataclasses import dataclass, field

from pipelines.preparation_sections import (
    DecontaminationConfig,
    ExactDuplicatesConfig,
    LanguageConfig,
    NearDuplicatesConfig,
    NormalisationConfig,
    PersonalDataConfig,
    PreparationRunConfig,
    PrepareConfig,
    PreparedCardConfig,
    PreparedDataConfig,
    QualityConfig,
)
from pipelines.run import launch


@dataclass
class Config:
    run: PreparationRunConfig = field(default_factory=PreparationRunConfig)
    data: PreparedDataConfig = field(default_factory=PreparedDataConfig)
    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    normalisation: NormalisationConfig = field(default_factory=NormalisationConfig)
    language: LanguageConfig = field(default_factory=LanguageConfig)
    quality: QualityConfig = field(default_factory=QualityConfig)
    exact_duplicates: ExactDuplicatesConfig = field(default_factory=ExactDuplicatesConfig)
    near_duplicates: NearDuplicatesConfig = field(default_factory=NearDuplicatesConfig)
    personal_data: PersonalDataConfig = field(default_factory=PersonalDataConfig)
    decontamination: DecontaminationConfig = field(default_factory=DecontaminationConfig)
    card: PreparedCardConfig = field(default_factory=PreparedCardConfig)


def main(config: Config) -> None:
    from pipelines.preparation.opening import open_run
    from pipelines.preparation.steps import clean, drop_duplicates, finish, scrub, write_shards

    run = open_run(config, __file__)
    if run is None:
        return

    with run:
        clean(run)
        drop_duplicates(run)
        scrub(run)
        write_shards(run)
        finish(run)


if __name__ == "__main__":
    launch(main, Config, __file__)
