"""Fine-tune a model that chooses between several texts, beside honest baselines, and report.

accelerate launch recipes/finetune_multiple_choice.py
accelerate launch recipes/finetune_multiple_choice.py --data.files.train train.jsonl
"""

from dataclasses import dataclass, field

from pipelines.publish_sections import PublishConfig
from pipelines.run import launch
from pipelines.sections import ModelConfig, ProofConfig, RunConfig, TokenizerConfig
from pipelines.task_sections import (
    FinetuningConfig,
    FinetuningEvaluationConfig,
    LabelledDataConfig,
    LoraConfig,
    MultipleChoiceConfig,
)


@dataclass
class Config:
    run: RunConfig = field(default_factory=RunConfig)
    data: LabelledDataConfig = field(default_factory=LabelledDataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    task: MultipleChoiceConfig = field(default_factory=MultipleChoiceConfig)
    training: FinetuningConfig = field(default_factory=FinetuningConfig)
    evaluation: FinetuningEvaluationConfig = field(default_factory=FinetuningEvaluationConfig)
    proof: ProofConfig = field(default_factory=ProofConfig)
    publish: PublishConfig = field(default_factory=PublishConfig)


def main(config: Config) -> None:
    from pipelines.finetuning.steps import finetune
    from pipelines.tasks.multiple_choice import MultipleChoice

    finetune(MultipleChoice(config.task), config, __file__)


if __name__ == "__main__":
    launch(main, Config, __file__)
