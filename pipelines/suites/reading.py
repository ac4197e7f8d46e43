"""The rows of a suite's task: from the Hub by its data card, or from local Parquet files with the Hub's columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.data.card_schema import CardConfig
from pipelines.data.cards import DataCard, load_card
from pipelines.data.columns import RoleColumns
from pipelines.data.files import SourceFile, find_files
from pipelines.data.labelled import (
    FILE,
    NUMBER,
    LabelledData,
    Row,
    Rows,
    checked_rows,
    count_overlap,
    read_files,
    same_names,
    spread_rows,
)
from pipelines.data.loading import check_stated_rows
from pipelines.data.sources import card_files
from pipelines.errors import ConfigError, DataError
from pipelines.suites.definition import SuiteTask
from pipelines.suites.forms import FORMS
from pipelines.suites.official import HIDDEN
from pipelines.tasks.classification import TextClassification
from pipelines.tasks.labels import Labels
from pipelines.tasks.task import Task


class Missing(Exception):
    """A task has no data for what is asked; the reason is told in the table."""


@dataclass(frozen=True)
class TaskData:
    """The splits of a task that were asked for, by name, and what became of their rows.

    Attributes:
        source: card and config.
        splits: rows by split.
        labelled: the splits that have labels.
        receipt: counts by split.
        hashes: of all rows of each split, before any is left out for speed.
        card: where columns and licence come from.
    """

    source: str
    splits: dict[str, Rows]
    labelled: list[str]
    receipt: dict[str, Any]
    hashes: dict[str, str]
    card: DataCard

    def for_training(self) -> LabelledData:
        """As the fine-tuning path reads it."""
        train, validation, test = (self.splits.get(split) for split in ("train", "validation", "test"))
        if train is None or validation is None:
            raise ConfigError(f"{self.source} has no training or no validation split.")
        return LabelledData(self.source, train, validation, test, self.receipt, self.card)


def read_task(
    spec: SuiteTask, task: Task, folder: str | None, splits: list[str], hidden: list[str], max_train_rows: int | None
) -> TaskData:
    """Reads and checks splits of a task.

    Args:
        spec: the task of the suite.
        task: learns its labels from the card or files.
        folder: data.dir; None: the Hub.
        splits: read with their labels.
        hidden: read without, for predictions; left out where they are not there.
        max_train_rows: use only the first so many.

    Raises:
        Missing: there are no files of a split, or its labels are hidden.
        DataError, CardError, HubError: what is there cannot be read or used.
    """
    card, chosen, files = _find(spec, folder, splits, hidden)
    form = FORMS[spec.form]
    read: dict[str, Rows] = {}
    names = chosen.label_names.get("label")
    for split in (split for split in [*splits, *hidden] if split in files and split not in read):
        is_hidden = split not in splits
        answers = form.answers if is_hidden else ()
        mapping = {column: role for column, role in chosen.roles.items() if role not in answers}
        needed = list(dict.fromkeys([*mapping.values(), *(one for one in form.columns if one not in answers)]))
        roles = RoleColumns(mapping, card, needed, [one for one in ("idx",) if one not in needed])
        stated: dict[str, tuple[str, ...]] = {}
        rows = read_files(files[split], roles, stated)
        if folder is None:
            check_stated_rows(card, chosen, split, len(rows))
        names = same_names(names, stated.get("label"), rows.where(0))
        read[split] = _reshape(rows, spec.form, split == "train", is_hidden)
    if not read:
        raise Missing(f"no {' and no '.join([*splits, *hidden])} split")
    learnt_from = read.get("train", read[next(iter(read))])
    if any("label" in row and not _is_hidden(row["label"]) for row in learnt_from):
        task.learn(learnt_from, names)
    elif isinstance(task, TextClassification):  # every label is hidden: their names are all that is known
        task.has_pairs = "text_pair" in learnt_from.table.column_names
        task.labels = Labels.named(names or ())
    receipt: dict[str, Any] = {}
    for split, rows in read.items():
        if split not in splits:
            receipt[split] = {"rows_read": len(rows), "rows_dropped": {}}  # a submission needs each of them
            continue
        if all(_is_hidden(row["label"]) for row in rows):
            raise Missing(f"the labels of its {split} split are hidden (-1): it cannot be scored")
        # A training row that cannot be used is told and left out; rows that are scored never are.
        read[split], receipt[split] = checked_rows(split, rows, task, "drop" if split == "train" else "error")
    hashes = {split: rows.fingerprint() for split, rows in read.items()}
    if max_train_rows is not None and "train" in read and len(read["train"]) > max_train_rows:
        receipt["train"]["rows_dropped"]["max_train_rows"] = len(read["train"]) - max_train_rows
        read["train"] = spread_rows(read["train"], max_train_rows)  # files are often sorted by label
    for split, rows in read.items():
        receipt[split]["rows_kept"] = len(rows)
    if "train" in read:
        count_overlap({split: rows for split, rows in read.items() if split in splits}, task, receipt)
    receipt["files"] = {split: [file.shown for file in files[split]] for split in read}
    return TaskData(f"{card.name}/{chosen.name}", read, splits, receipt, hashes, card)


def _find(
    spec: SuiteTask, folder: str | None, splits: list[str], hidden: list[str]
) -> tuple[DataCard, CardConfig, dict[str, list[SourceFile]]]:
    """The first card of a task that has all splits, with the files of each."""
    if folder is not None and not Path(folder).expanduser().is_dir():
        raise ConfigError(f"data.dir is {folder!r}: there is no such folder.")
    reasons = []
    for name in spec.data:
        card_name, _, config_name = name.rpartition("/")
        card = load_card(card_name)
        chosen = card.config(config_name)
        if folder is None:
            there = {
                split: card_files(card, chosen, split) for split in [*splits, *hidden] if split in chosen.data_files
            }
            reason = f"the card {card_name} has none for {config_name}"
        else:
            places = spec.folder or [f"{card.name}-{config_name}", config_name]
            own = (f"{card.name}-{config_name}", config_name)
            there = _local(Path(folder).expanduser(), places, own, spec.split_names, [*splits, *hidden])
            reason = f"none in {folder}/{places[0]}"
        missing = [split for split in splits if split not in there]
        if not missing:
            return card, chosen, there
        reasons.append(f"no {' and no '.join(missing)} split: {reason}")
    raise Missing(reasons[0])


def _local(
    root: Path, places: list[str], own: tuple[str, ...], names: Mapping[str, str], splits: list[str]
) -> dict[str, list[SourceFile]]:
    """The Parquet files of each split, in the first place that has some.

    They are <place>/<split>.parquet, <place>/<split>-*.parquet or <place>/<split>/*.parquet, the split by its name in
    `names`, or by its own in a folder that is the config's own.
    """
    found: dict[str, list[SourceFile]] = {}
    for split in splits:
        called = [(place, names.get(split, split)) for place in places]
        called += [(place, split) for place in places if place in own]
        there = (
            sorted((root / place).glob(pattern))
            for place, name in called
            for pattern in (f"{name}.parquet", f"{name}-*.parquet", f"{name}/*.parquet")
        )
        paths = next(filter(None, there), None)
        if paths:
            found[split] = find_files([str(path) for path in paths], "data.dir")
    return found


def _reshape(rows: Rows, form_name: str, training: bool, is_hidden: bool) -> Rows:
    """The rows by the roles of the task, those that are to be predicted without a label."""
    import pyarrow as pa

    form = FORMS[form_name]
    reshape = form.reshape
    if reshape is None:  # the columns have their roles, and no label was read where it is hidden
        return rows

    def reshaped() -> Iterator[Row]:
        for index, row in enumerate(rows):
            blank = dict.fromkeys(form.answers) if is_hidden else {}
            try:
                changed = reshape(blank | row, training)
            except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
                raise DataError(
                    f"{rows.where(index)}: not a row of the form {form_name!r}: {type(error).__name__} {error}."
                ) from None
            if is_hidden:
                changed = {name: value for name, value in changed.items() if name != "label"}
            yield {name: value for name, value in changed.items() if name not in (FILE, NUMBER)}

    places = rows.table.select([FILE, NUMBER])
    table = pa.Table.from_pylist(list(reshaped()))
    for name in (FILE, NUMBER):
        table = table.append_column(name, places.column(name))
    return Rows(table)


def _is_hidden(label: Any) -> bool:
    return label is None or (isinstance(label, int | float) and label == HIDDEN)
