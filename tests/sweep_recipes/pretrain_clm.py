"""Stands in for the recipe of that name: its steps take no time, and its figure follows from its learning rate.

While there is a file `gate` beside the folder of the sweep, it does not pass its second step: tests can stop it there.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.config import config_to_yaml
from pipelines.errors import DataError
from pipelines.run import Interrupted, StopRequest, launch, say
from pipelines.run_folder import RunFolder
from pipelines.sections import ProofConfig, RunConfig

STEPS = 4


@dataclass
class Training:
    """training: what the figure follows from."""

    learning_rate: float = 0.5
    """Best at 0.3."""
    batch: int = 8
    """Without effect; 13 fails."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Every recipe has it."""


@dataclass
class Evaluation:
    """evaluation: what a trial leaves out."""

    ngram_order: int | None = 5
    """Of the baseline."""


@dataclass
class Config:
    run: RunConfig = field(default_factory=RunConfig)
    training: Training = field(default_factory=Training)
    evaluation: Evaluation = field(default_factory=Evaluation)
    proof: ProofConfig = field(default_factory=ProofConfig)


def main(config: Config) -> None:
    if config.training.batch == 13:
        raise DataError("there are no 13 rows.")
    folder = RunFolder(Path(str(config.run.dir)))
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.lock()
    folder.write_text("config.yaml", config_to_yaml(config))
    folder.write_json("plan.json", {"steps": STEPS})
    gate = folder.path.parents[2] / "gate"
    events = folder.metrics_log()
    say(f"Going on after step {len(events)}")
    with StopRequest() as stop:
        for step in range(len(events) + 1, STEPS + 1):
            while gate.exists() and step == 3 and not stop():
                time.sleep(0.01)
            if stop():
                raise Interrupted(f"Stopped after step {step - 1}.")
            figure = abs(config.training.learning_rate - 0.3) + 1 / step
            folder.append_metrics({"step": step, "eval_bits_per_byte": figure})
    folder.write_json("metrics.json", {"eval_bits_per_byte": figure})


if __name__ == "__main__":
    launch(main, Config, __file__)
