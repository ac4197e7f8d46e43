r"""Search the settings of a training recipe (learning rate, batch, model, any key) with Optuna, and report.

python recipes/sweep.py
python recipes/sweep.py --sweep.recipe finetune_classification --sweep.trials 30 --sweep.pruner median \
    --sweep.space '{training.learning_rate: {low: 1e-5, high: 1e-3, log: true}, data.max_length: [64, 128, 256]}'
"""

from dataclasses import dataclass, field

from pipelines.run import launch
from pipelines.sections import PlainRunConfig
from pipelines.sweep_sections import SweepConfig


@dataclass
class Config:
    run: PlainRunConfig = field(default_factory=PlainRunConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)


def main(config: Config) -> None:
    from pipelines.sweeps.running import run_sweep

    run_sweep(config, __file__)


if __name__ == "__main__":
    launch(main, Config, __file__)
