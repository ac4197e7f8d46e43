"""Fine-tune a translator: an encoder-decoder, or a decoder with a prompt, beside honest baselines.

accelerate launch recipes/finetune_translation.py
accelerate launch recipes/finetune_translation.py --data.files.train pairs.tsv
"""

from dataclasses import dataclass, field

from pipelines.publish_sections import PublishConfig
from pipelines.run import launch
from pipelines.sections import ProofConfig, RunConfig, Seq2SeqModelConfig, TokenizerConfig
from pipelines.task_sections import (
    FinetuningConfig,
    FinetuningEvaluationConfig,
    LabelledDataConfig,
    LoraConfig,
    TranslationConfig,
)


@dataclass
class Config:
    run: RunConfig = field(default_factory=RunConfig)
    data: LabelledDataConfig = field(default_factory=LabelledDataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: Seq2SeqModelConfig = field(default_factory=Seq2SeqModelConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    task: TranslationConfig = field(default_factory=TranslationConfig)
    training: FinetuningConfig = field(default_factory=FinetuningConfig)
    evaluation: FinetuningEvaluationConfig = field(default_factory=FinetuningEvaluationConfig)
    proof: ProofConfig = field(default_factory=ProofConfig)
    publish: PublishConfig = field(default_factory=PublishConfig)


def main(config: Config) -> None:
    from pipelines.finetuning.steps import finetune
    from pipelines.tasks.text_generation import Translation

    finetune(Translation(config.task), config, __file__)


if __name__ == "__main__":
    launch(main, Config, __file__)
