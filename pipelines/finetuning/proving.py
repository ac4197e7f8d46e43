"""What the proofs of a fine-tuning run are made on: the loss of its copy, and a few held-out rows."""

import copy
from dataclasses import dataclass, replace
from typing import Any

from pipelines.data.examples import Examples
from pipelines.data.labelled import Rows, spread_rows
from pipelines.finetuning.evaluating import Evaluator
from pipelines.models.sparse_head import SparseHead
from pipelines.tasks.task import Limit, Loss, Task

FEW = 8
LOOKED_OVER = 64  # rows among which those are sought that can be scored as all right
AT_ONCE = 4  # so that there are several batches, with padding in them


def exact_loss(task: Task, model: Any) -> Any:
    """The loss of a model of a task in fp32; of the copy that proofs are made on, too."""
    loss: Any = task.loss(model, False)
    return loss if task.sparse is None else replace(loss, head=SparseHead(model))


@dataclass(frozen=True)
class FewRows:
    """Rows of a split, evenly spread, and the same encoded."""

    task: Task
    rows: Rows
    examples: Examples

    @classmethod
    def of(cls, task: Task, rows: Rows, limit: Limit) -> "FewRows":
        """Eight rows, encoded as the whole split is. May raise DataError as that does."""
        few = spread_rows(rows, FEW)
        return cls(task, few, task.encode(few, limit, training=False))

    def evaluate(self, model: Any, objective: Loss, batch_size: int) -> dict[str, float]:
        """eval_loss of a model: the mean of the supervised items, NaN if there are none."""
        loss, count, _ = Evaluator(self.task, self.rows, self.examples, objective, batch_size, None).compute(model)
        return {"eval_loss": loss / count if count else float("nan")}


def misjudged(task: Task, rows: Rows, limit: Limit, model: Any, objective: Any) -> float | None:
    """Share of a few rows that are not scored as all right when a model is certain of their own labels.

    Args:
        task: that scores.
        rows: a split, of which eight are taken whose right answer the task can give.
        limit: of the run.
        model, objective: what its outputs are made by.

    Returns:
        None: there is no such row among those looked over.

    Raises:
        DataError: a metric was given what is no label.
    """
    import torch

    reached = task.within_reach(spread_rows(rows, LOOKED_OVER), limit)
    if not len(reached):
        return None
    few = FewRows.of(task, reached, limit)
    outputs: list[Any] = []
    for first in range(0, len(few.examples), AT_ONCE):
        places = range(first, min(first + AT_ONCE, len(few.examples)))
        batch = task.collate([few.examples.block(place) for place in places])
        with torch.no_grad():
            logits = objective.certain(objective.logits(model, batch), batch)
        outputs += task.outputs(logits, batch)
    judge = copy.copy(task)
    judge.threshold = 0.0  # between what is certain; one that is tuned on so few rows may lie anywhere
    scored = judge.score(judge.predictions(outputs, few.examples, few.rows.as_list), few.rows.as_list)
    return float((abs(scored.worth_R - scored.best_worth) > 1e-3).mean())
