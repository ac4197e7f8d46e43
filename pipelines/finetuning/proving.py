"""What the proofs of a fine-tuning run are made on: the loss of its copy, and a few held-out rows."""

from dataclasses import dataclass, replace
from typing import Any

from pipelines.data.examples import Examples
from pipelines.data.labelled import Rows, spread_rows
from pipelines.finetuning.evaluating import Evaluator
from pipelines.models.sparse_head import SparseHead
from pipelines.tasks.task import Limit, Loss, Task

FEW = 8
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

    def misjudged(self, model: Any, objective: Any) -> float:
        """Share of the rows that are not scored as all right when a model is certain of their own labels.

        Raises:
            DataError: a metric was given what is no label.
        """
        import torch

        outputs: list[Any] = []
        for first in range(0, len(self.examples), AT_ONCE):
            places = range(first, min(first + AT_ONCE, len(self.examples)))
            batch = self.task.collate([self.examples.block(place) for place in places])
            with torch.no_grad():
                logits = objective.certain(objective.logits(model, batch), batch)
            outputs += self.task.outputs(logits, batch)
        said = self.task.predictions(outputs, self.examples, self.rows.as_list)
        scored = self.task.score(said, self.rows.as_list)
        return float((abs(scored.worth_R - scored.best_worth) > 1e-3).mean())
