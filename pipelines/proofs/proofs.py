"""The proofs of a run: each computes a figure that is small, or a count that is nought, if the run will be right."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.data.framing import document_frame
from pipelines.data.packing import IGNORE_INDEX, PackedDocuments, TrainingBlocks
from pipelines.errors import DataError
from pipelines.proofs.steps import take_steps
from pipelines.proofs.subject import Subject

TOLERANCE = 1e-4  # share of the largest gradient or logit; rounding in fp32 is some 1e-6, a defect 1e-2 and more
ROWS = 3  # rows of a proof, beside one without targets: so micro-batches differ in their counts
# Figures of an evaluation that rounding changes little; the share of right ones jumps where two are nearly alike.
SMOOTH = ("loss", "tokens")
LABELS = ("shift_labels", "labels", "start_positions", "end_positions")


@dataclass(frozen=True)
class Proof:
    """One proof.

    Attributes:
        name: of what is proved.
        statement: what holds, in words.
        figure: what was computed; None: it does not apply.
        limit: the figure is to be at most this.
        cause: what a larger figure means, or why it does not apply.
    """

    name: str
    statement: str
    figure: float | None
    limit: float
    cause: str

    @property
    def holds(self) -> bool:
        """Whether it was shown; a proof that does not apply does not fail."""
        return self.figure is None or self.figure <= self.limit


def split(subject: Subject, processes: int) -> Proof:
    """Loss and gradient of a step do not depend on micro-batches and processes.

    Three rows and one without targets, taken as one batch by plain PyTorch, and by the trainer in every split.
    """
    import torch

    name = "accumulation" if processes == 1 else f"accumulation and {processes} processes"
    statement = (
        "However a step is split over micro-batches and processes, its loss and gradient are those of one batch."
    )
    cause = "A loss is averaged in each micro-batch or process, or targets are counted that are none."
    if subject.couples_rows:
        return Proof("accumulation", statement, None, TOLERANCE, "The loss of a row depends on the others of its step.")
    blocks = _first_rows(subject.blocks)
    reference = subject.copy()
    objective = subject.make_objective(reference)
    parts = [part for place in range(4) for part in subject.batch([blocks[place]])]
    total = sum((objective.loss_sum(reference, part) for part in parts), torch.zeros(()))
    count = max(1.0, float(sum(float(objective.count(part)) for part in parts)))
    (total / count).backward()
    loss = float(total.detach()) / count
    gradients = {key: (one.detach(), one.grad) for key, one in reference.named_parameters() if one.grad is not None}
    # So that the largest gradient moves a weight by 1: what is smaller than a weight's rounding would not be seen. Of
    # a gradient below 0.01, in which large terms cancel, rounding is a larger share.
    rate = 1 / max(max(float(gradient.abs().max()) for _, gradient in gradients.values()), 0.01)
    expected = {key: weight - rate * gradient for key, (weight, gradient) in gradients.items()}
    worst = 0.0
    for rows in (4, 2, 1):
        if rows * processes > 4:
            continue
        model = subject.copy()
        with tempfile.TemporaryDirectory(prefix="plumbline-") as folder:
            trained = take_steps(
                model,
                blocks,
                subject.collator,
                subject.make_objective(model),
                Path(folder),
                rows=rows,
                accumulation=4 // (rows * processes),
                steps=1,
                learning_rate=rate,
            )
        worst = max([worst, *(float((trained.weights[key] - one).abs().max()) for key, one in expected.items())])
        if trained.losses:
            worst = max(worst, abs(trained.losses[0] - loss) / max(1.0, abs(loss)))
    return Proof(name, statement, worst, TOLERANCE, cause)


def padding(subject: Subject) -> Proof:
    """The loss of rows does not depend on the rows beside them."""
    import torch

    statement = "Rows computed together, padded, have the losses that they have one by one."
    cause = "Padding is seen by the model, or counted as a target."
    if subject.couples_rows:
        return Proof("padding", statement, None, TOLERANCE, "The loss of a row depends on the others of its step.")
    model = subject.copy()
    objective, rows = subject.make_objective(model), subject.rows(ROWS)
    with torch.no_grad():
        together = sum(float(objective.loss_sum(model, part)) for part in subject.batch(rows))
        alone = sum(float(objective.loss_sum(model, part)) for row in rows for part in subject.batch([row]))
    return Proof("padding", statement, abs(together - alone) / max(1.0, abs(alone)), TOLERANCE, cause)


def isolation(subject: Subject) -> Proof:
    """What is predicted in a document does not depend on the documents packed beside it."""
    import torch

    statement = "Documents that are packed into one row do not see each other."
    cause = "An attention mask or positions let them see each other."
    documents = subject.blocks.documents
    if not isinstance(documents, PackedDocuments):
        return Proof("isolation", statement, None, TOLERANCE, "A row is one example.")
    if not subject.isolates:
        return Proof("isolation", statement, None, TOLERANCE, "A row is one text, or data.isolate_documents is false.")
    row = next((one for one in map(dict, subject.rows(50)) if _second_document(one) is not None), None)
    if row is None:
        return Proof("isolation", statement, None, TOLERANCE, "No row among the first 50 holds two documents.")
    start = _second_document(row) or 0
    model = subject.copy()
    objective = subject.make_objective(model)
    label = next(name for name in LABELS if name in row)
    row[label] = np.where(np.arange(len(row[label])) < start, IGNORE_INDEX, row[label])
    if not (row[label] != IGNORE_INDEX).any():
        return Proof("isolation", statement, None, TOLERANCE, "No target stands behind a second document's beginning.")
    changed = dict(row)
    others = np.roll(np.arange(model.config.vocab_size), 7)
    changed["input_ids"] = np.concatenate((others[row["input_ids"][:start]], row["input_ids"][start:]))
    with torch.no_grad():
        before, after = (
            sum(float(objective.loss_sum(model, part)) for part in subject.batch([one])) for one in (row, changed)
        )
    return Proof("isolation", statement, abs(before - after) / max(1.0, abs(before)), TOLERANCE, cause)


def supervision(subject: Subject) -> Proof:
    """Every target is the token, label or span that it should be: the count of those that are not."""
    statement = "Every supervised position is what it should be, and ends of texts are among them."
    cause = "Labels are shifted, masked or cut where they should not be."
    rows = subject.rows(16)
    check = next((check for names, check in _SUPERVISION if names <= rows[0].keys()), None)
    if subject.model.config.is_encoder_decoder and check is _class_targets:
        check = _decoder_targets
    if check is None:
        return Proof("supervision", statement, None, 0, "The rows have no labels that stand for themselves.")
    return Proof("supervision", statement, float(check(subject, rows)), 0, cause)


def _causal_targets(subject: Subject, rows: list[Mapping[str, np.ndarray]]) -> int:
    """Wrong next tokens; rows whose ends of documents are no targets; and what an oracle of next tokens loses."""
    import torch

    documents, wrong, seen, learnt = subject.blocks.documents, 0, 0, 0
    _, eos = document_frame(subject.tokenizer)
    for row in rows:
        ids, labels = row["input_ids"], row["shift_labels"]
        within = row.get("position_ids", np.arange(len(ids)))
        goes_on = np.append(within[1:] == within[:-1] + 1, False)
        stated = labels != IGNORE_INDEX
        wrong += int((labels[:-1][goes_on[:-1] & stated[:-1]] != ids[1:][goes_on[:-1] & stated[:-1]]).sum())
        if isinstance(documents, PackedDocuments):
            ends = np.flatnonzero((ids[1:] == eos) & goes_on[:-1])
            seen, learnt = seen + len(ends), learnt + int((labels[ends] == eos).sum())
    wrong += seen - learnt
    if isinstance(documents, PackedDocuments):

        class Oracle(torch.nn.Module):
            """Knows every next token, and the last of a row by its label."""

            def forward(self, input_ids: Any, **_: Any) -> Any:
                target = torch.roll(input_ids, -1, dims=1)
                target[:, -1] = last
                logits = 50.0 * torch.nn.functional.one_hot(target, subject.model.config.vocab_size).float()
                return type("Output", (), {"logits": logits})()

        objective = subject.make_objective(subject.small)
        for part in subject.batch(rows[:2]):
            last = part["shift_labels"][:, -1].clamp(min=0)
            wrong += int(float(objective.loss_sum(Oracle(), part)) > 1e-3 * max(1.0, float(objective.count(part))))
    return wrong


def _decoder_targets(subject: Subject, rows: list[Mapping[str, np.ndarray]]) -> int:
    """Rows whose decoder is not given its own targets one place later, or whose targets do not end with the end."""
    import torch

    _, eos = document_frame(subject.tokenizer)
    wrong, longest = 0, max(len(row["labels"]) for row in rows if "labels" in row) if "labels" in rows[0] else None
    for row in rows:
        (part,) = subject.batch([row])
        labels, given = part["labels"][0], part["decoder_input_ids"][0]
        both = (labels[:-1] != IGNORE_INDEX) & (labels[1:] != IGNORE_INDEX)
        wrong += int(not torch.equal(given[1:][both], labels[:-1][both]))
        stated = labels[labels != IGNORE_INDEX]
        is_cut = longest is not None and len(row["labels"]) == longest  # maybe, and then it ends where it was cut
        wrong += int(len(stated) == 0 or (not is_cut and int(stated[-1]) != eos))
    return wrong


def _class_targets(subject: Subject, rows: list[Mapping[str, np.ndarray]]) -> int:
    """Labels that the head has no output for."""
    if "choice_lengths" in rows[0]:
        return sum(int(not 0 <= int(row["labels"].item()) < len(row["choice_lengths"])) for row in rows)
    labels = np.concatenate([np.atleast_1d(row["labels"]).ravel() for row in rows])
    config: Any = subject.model.config
    size = config.vocab_size if _writes(subject.model) else config.num_labels
    if labels.dtype.kind == "f":
        return int((~np.isfinite(labels)).sum())
    return int(((labels < 0) & (labels != IGNORE_INDEX)).sum() + (labels >= max(size, 1)).sum())


def _writes(model: Any) -> bool:
    head = model.get_output_embeddings()
    return head is not None


def _span_targets(subject: Subject, rows: list[Mapping[str, np.ndarray]]) -> int:
    """Spans that end before they begin, or outside their row."""
    return sum(
        int(not 0 <= int(row["start_positions"].item()) <= int(row["end_positions"].item()) < len(row["input_ids"]))
        for row in rows
    )


_SUPERVISION: tuple[tuple[set[str], Callable[[Subject, list[Mapping[str, np.ndarray]]], int]], ...] = (
    ({"shift_labels"}, _causal_targets),
    ({"start_positions", "end_positions"}, _span_targets),
    ({"labels"}, _class_targets),
)


def vocabulary(subject: Subject) -> Proof:
    """Every token of the first rows is one that model and tokenizer have: the count of those that are not."""
    statement = "Every token id is one that the model has an embedding for."
    table: Any = subject.model.get_input_embeddings()
    size = min(subject.model.config.vocab_size, table.weight.shape[0])
    ids = np.concatenate([row["input_ids"].ravel() for row in subject.rows(64) if "input_ids" in row] or [np.zeros(1)])
    wrong = int((ids >= size).sum() + (ids < 0).sum()) + max(0, len(subject.tokenizer) - size)
    return Proof("vocabulary", statement, float(wrong), 0, "The tokenizer is not the model's.")


def gradients(subject: Subject) -> Proof:
    """Every parameter that is to be trained gets a gradient, and no other one does: the count of those that do not."""
    import torch

    statement = "Gradient reaches every parameter that is trained, and no frozen one."
    model: Any = subject.model
    objective = subject.make_objective(model)
    was_training, device = model.training, next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        model.train()
        (part, *_) = subject.batch(subject.rows(1))
        objective.loss_sum(model, {name: value.to(device) for name, value in part.items()}).backward()
    dead = [name for name, one in model.named_parameters() if one.requires_grad and one.grad is None]
    alive = [name for name, one in model.named_parameters() if not one.requires_grad and one.grad is not None]
    if hasattr(model, "peft_config"):  # what LoRA freezes is to be frozen
        trained = ("lora_", "modules_to_save", "trainable_tokens")
        alive += [
            name for name, one in model.named_parameters() if one.requires_grad and not any(t in name for t in trained)
        ]
    model.zero_grad(set_to_none=True)
    model.train(was_training)
    cause = f"No gradient: {dead[0]}." if dead else f"Trained, but should be frozen: {alive[0]}." if alive else ""
    return Proof("gradients", statement, float(len(dead) + len(alive)), 0, cause)


def saving(subject: Subject) -> Proof:
    """A model that is saved and loaded gives the logits that it gave."""
    import torch

    statement = "A model that is saved and loaded again computes the same."
    model = subject.copy().eval()
    objective = subject.make_objective(model)
    parts = subject.batch(subject.rows(1))
    with tempfile.TemporaryDirectory(prefix="plumbline-") as folder, torch.no_grad():
        model.save_pretrained(folder)
        again = type(model).from_pretrained(folder, dtype=torch.float32).eval()
        again.set_attn_implementation(model.config._attn_implementation)
        again.config.use_cache = False
        other = subject.make_objective(again)
        before, after = (
            sum(float(one.loss_sum(net, part)) for part in parts) for one, net in ((objective, model), (other, again))
        )
    cause = "Weights are shared or renamed in a way that saving does not keep."
    return Proof("saving", statement, abs(before - after) / max(1.0, abs(before)), TOLERANCE, cause)


def repetition(subject: Subject) -> Proof:
    """The same seed gives the same steps, also when the run was interrupted between them, dropout included."""
    import torch

    statement = "The same seed gives the same steps, bit for bit, also from a checkpoint in between."
    cause = "Order, dropout or optimizer state is not what it was."
    steps, rows = 3, 1
    blocks = _places(subject.blocks, steps)

    def run(folder: Path, **options: Any) -> Any:
        model = subject.copy(dropout=True)
        objective = subject.make_objective(model)
        shared = {"rows": rows, "accumulation": 1, "steps": steps, "optim": "adamw_torch", "learning_rate": 1e-3}
        return take_steps(model, blocks, subject.collator, objective, folder, **{**shared, **options})

    with tempfile.TemporaryDirectory(prefix="plumbline-") as first, tempfile.TemporaryDirectory() as second:
        whole = run(Path(first), save_steps=2)
        again = run(Path(second))
        resumed = run(Path(second), resume=Path(first) / "checkpoint-2")
    different = sum(
        not torch.equal(weight, one.weights[name]) for one in (again, resumed) for name, weight in whole.weights.items()
    )
    return Proof("repetition", statement, float(different), 0, cause)


def evaluation(subject: Subject) -> Proof:
    """Held-out figures are the same twice and for every batch size."""
    statement = "Held-out figures do not depend on the rows computed at once, and are the same twice."
    if subject.evaluate is None:
        return Proof("evaluation", statement, None, TOLERANCE, "This recipe scores in another way.")
    model = subject.copy(dropout=True)
    objective = subject.make_objective(model)
    many, again, one = (subject.evaluate(model, objective=objective, batch_size=rows) for rows in (8, 8, 1))
    names = [name for name in many if name.endswith(SMOOTH) and np.isfinite(many[name])]
    if not names:
        return Proof("evaluation", statement, None, TOLERANCE, "None of the few held-out rows has a target.")
    worst = max(abs(many[name] - other[name]) / max(1.0, abs(many[name])) for name in names for other in (again, one))
    cause = "Dropout is on, or a loss is averaged in each batch."
    return Proof("evaluation", statement, worst, TOLERANCE, cause)


def scoring(subject: Subject) -> Proof:
    """A model that is certain of each held-out row's own label has the highest score: the share of rows without it."""
    statement = "Held-out rows are scored as all right when the model's outputs are certain of their own labels."
    if subject.misjudged is None:
        return Proof("scoring", statement, None, 0, "No output of the model stands for the answer to a row.")
    model = subject.copy().eval()
    objective: Any = subject.make_objective(model)
    cause = "Outputs are read wrongly, or of positions or rows that they are not of."
    try:
        wrong = subject.misjudged(model, objective)
    except (DataError, ValueError, LookupError) as error:  # such as a metric that is given what is no label
        return Proof("scoring", statement, 1.0, 0, str(error))
    if wrong is None:
        cause = "No held-out row that was looked over has an answer that outputs can name: whole tokens of one window, "
        cause += "task.max_answer_tokens at most."
    return Proof("scoring", statement, wrong, 0, cause)


def _first_rows(blocks: TrainingBlocks) -> TrainingBlocks:
    """The first three rows of a run and one without targets."""
    return _places(blocks, 4, min(ROWS, blocks.last_place))


def _places(blocks: TrainingBlocks, places: int, last_place: int | None = None) -> TrainingBlocks:
    last = min(places, blocks.last_place) if last_place is None else last_place
    return TrainingBlocks(blocks.documents, blocks.order, places, last, blocks.rows)


def _second_document(row: Mapping[str, np.ndarray]) -> int | None:
    """Where the second document of a row begins, if two stand in it."""
    starts: Any = np.flatnonzero(row["position_ids"] == 0) if "position_ids" in row else []
    return int(starts[1]) if len(starts) > 1 else None
