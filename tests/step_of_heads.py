"""One optimizer step of heads of all kinds, named <module>:<case>; a script for torchrun, as exact_step.py is.

torchrun --nproc-per-node 4 step_of_heads.py OUTPUT_DIR ROWS_PER_PROCESS ACCUMULATION CASE [CASE ...]
"""

import importlib
import sys
from pathlib import Path

import torch
from exact_step import main


def one_step(case: str, rows: int, accumulation: int, folder: Path) -> tuple[float, dict[str, torch.Tensor]]:
    """(logged loss, weights afterwards) of one SGD step with learning rate 1."""
    module, _, name = case.partition(":")
    step: tuple[float, dict[str, torch.Tensor]] = importlib.import_module(module).one_step(
        name, rows, accumulation, folder
    )
    return step


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:], one_step)
