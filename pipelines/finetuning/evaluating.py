"""A model on the rows of a split: its loss, its predictions and their figures, the same on any number of processes."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.data.examples import Examples, budget_parts
from pipelines.data.labelled import Rows
from pipelines.models.sharded import share_of_process
from pipelines.tasks.task import Loss, Prediction, Scored, Task


class Evaluator:
    """Scores models on one split. Batches are of rows of similar length, and change no figure.

    Args:
        task: what is predicted.
        rows, examples: the split, and the same encoded.
        loss: of the model's head.
        batch_size, max_tokens: rows and padded positions computed at once.
    """

    def __init__(
        self, task: Task, rows: Rows, examples: Examples, loss: Loss, batch_size: int, max_tokens: int | None
    ) -> None:
        self.task, self.rows, self.examples, self.loss = task, rows, examples, loss
        self.batch_size, self.max_tokens = batch_size, max_tokens
        self.predictions: list[Prediction] = []
        self.headline: str | None = None

    def __call__(self, model: Any) -> dict[str, float]:
        """eval_loss (per supervised item), the figures of the task unless the model has to write, and eval_seconds."""
        started = time.perf_counter()
        loss, count, outputs = self.compute(model)
        metrics = {"loss": loss / count}
        if not self.task.generates:
            outputs = _gather(outputs)
            self.predictions = self.task.predictions(outputs, self.examples, self.rows.as_list)
            scored = self.score(self.predictions)
            self.headline = scored.headline
            metrics |= scored.metrics
        return {f"eval_{name}": value for name, value in metrics.items()} | {
            "eval_seconds": time.perf_counter() - started
        }

    def compute(self, model: Any) -> tuple[float, float, list[Any]]:
        """Summed loss and supervised items over all processes, and what this one knows of `Task.outputs`."""
        outputs: list[Any] = [None] * len(self.examples)
        loss = count = 0.0
        for part, counts, batch in self._batches(model):
            logits = self.loss.logits(model, batch)
            if not counts:
                continue
            loss += float(self.loss.loss_of(logits, batch))
            count += float(self.loss.count(batch))
            for index, output in zip(part, self.task.outputs(logits, batch), strict=False):
                outputs[index] = output
        return *_sum((loss, count)), outputs

    def figure(self, metrics: Mapping[str, float]) -> float:
        """Of metrics of this evaluator, the one that evaluations are compared by; higher is better."""
        return -metrics["eval_loss"] if self.headline is None else metrics[f"eval_{self.headline}"]

    def predict(self, model: Any) -> list[Prediction]:
        """What a model says of each row: as the last evaluation found it, or what it says or writes now."""
        if self.predictions and not self.task.generates:
            return self.predictions
        outputs: list[Any] = [None] * len(self.examples)
        for part, counts, batch in self._batches(model):
            if self.task.generates:
                found = self.task.write(model, batch, [self.examples.info[index] for index in part], self.loss)
            else:
                found = self.task.outputs(self.loss.logits(model, batch), batch)
            for index, output in zip(part, found, strict=True) if counts else ():
                outputs[index] = output
        self.predictions = self.task.predictions(_gather(outputs), self.examples, self.rows.as_list)
        return self.predictions

    def score(self, predictions: list[Prediction]) -> Scored:
        """The figures of predictions of these rows."""
        return self.task.score(predictions, self.rows.as_list)

    def _batches(self, model: Any) -> Iterator[tuple[list[int], bool, Any]]:
        """Places, whether they count, and batch of this process's share, without gradients and dropout."""
        import torch

        was_training = model.training
        parts = budget_parts(self.examples.sizes_E, self.batch_size, self.max_tokens)
        model.eval()
        device = next(model.parameters()).device
        with torch.no_grad():
            for part, counts in share_of_process(parts, model):
                batch = self.task.collate([self.examples.block(index) for index in part])
                yield part, counts, {name: value.to(device) for name, value in batch.items()}
        model.train(was_training)


def _gather(outputs: list[Any]) -> list[Any]:
    """The outputs of all processes: each example's stands on exactly one."""
    import torch
    from accelerate import PartialState

    if PartialState().num_processes == 1:
        return outputs
    everybody: list[Any] = [None] * PartialState().num_processes
    torch.distributed.all_gather_object(everybody, outputs)
    return [next(one for one in several if one is not None) for several in zip(*everybody, strict=True)]


def _sum(figures: tuple[float, float]) -> tuple[float, float]:
    """Sums over all processes."""
    import torch

    from pipelines.evaluation.token_scores import sum_over_processes

    first, second = sum_over_processes(torch.tensor(figures, dtype=torch.float64)).tolist()
    return first, second
