"""The best weights of a run: kept from the evaluation that scored highest, and a stop where none gets better."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.run import say
from pipelines.training.sharding import gathered, put

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

WEIGHTS, HISTORY = "best.safetensors", "best.json"


class BestWeights:
    """The trained weights of the best evaluation so far, in a file beside the checkpoints.

    A run that goes on from a checkpoint forgets the evaluations after it, and makes them again: it ends with the same
    weights as one that was never stopped.

    Args:
        folder: of the checkpoints.
        score_of: the figure of an evaluation's metrics that decides; higher is better.
        patience: evaluations in a row that are no better before training stops; None: it never does.
        step: that the run goes on from; 0 at its start.
    """

    def __init__(
        self, folder: Path, score_of: Callable[[Mapping[str, float]], float], patience: int | None, step: int
    ) -> None:
        self.folder, self.score_of, self.patience = folder, score_of, patience
        history = folder / HISTORY
        found = json.loads(history.read_text(encoding="utf-8")) if history.is_file() and step else []
        self.scores: list[tuple[int, float]] = [(at, score) for at, score in found if at <= step]
        self.kept = self._kept(step)

    @property
    def is_exhausted(self) -> bool:
        """Whether `patience` evaluations in a row were no better than the best."""
        best = max(self.scores, key=lambda one: one[1], default=(0, 0.0))[0]  # the first of equals, as `offer` keeps it
        return self.patience is not None and sum(at > best for at, _ in self.scores) >= self.patience

    def offer(self, step: int, metrics: Mapping[str, float], model: "PreTrainedModel") -> bool:
        """Takes an evaluation, keeps the weights if it is the best; whether training should stop."""
        from accelerate import PartialState

        score, state = self.score_of(metrics), PartialState()
        if not any(at == step for at, _ in self.scores):
            self.scores.append((step, score))
        if self.kept is None or score > self.kept[1]:
            self.kept = (step, score)
            weights = gathered((name, one) for name, one in model.named_parameters() if one.requires_grad)
            if state.is_main_process:
                self._save(weights)
        if state.is_main_process:
            aside = self.folder / f".{HISTORY}"
            aside.write_text(json.dumps(self.scores), encoding="utf-8")
            aside.replace(self.folder / HISTORY)
        state.wait_for_everyone()
        if self.is_exhausted:
            say(f"Stopping at step {step}: {self.patience} evaluation(s) in a row were no better")
        return self.is_exhausted

    def restore(self, model: "PreTrainedModel", step: int) -> bool:
        """Puts the best weights into the model of the last step; False if it has them."""
        from safetensors.torch import load_file

        if self.kept is None or self.kept[0] == step:
            return False
        put(model, load_file(self.folder / WEIGHTS))
        say(f"Keeping the weights of step {self.kept[0]}, the best evaluation: {self.kept[1]:.4f}")
        return True

    def _kept(self, step: int) -> tuple[int, float] | None:
        """Step and score of the weights in the file, if the run has come that far."""
        from safetensors import safe_open

        path = self.folder / WEIGHTS
        if not path.is_file() or not step:
            return None
        with safe_open(path, framework="pt") as kept:
            told = kept.metadata()
        return (int(told["step"]), float(told["score"])) if int(told["step"]) <= step else None

    def _save(self, weights: "dict[str, torch.Tensor]") -> None:
        from safetensors.torch import save_file

        assert self.kept is not None
        aside = self.folder / f".{WEIGHTS}"
        save_file(weights, aside, metadata={"step": str(self.kept[0]), "score": repr(self.kept[1])})
        aside.replace(self.folder / WEIGHTS)
