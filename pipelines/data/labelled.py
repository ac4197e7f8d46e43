"""`data` section of a fine-tuning config -> labelled rows by role: checked, split, counted."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pipelines.checking import checking, end_check, refuse
from pipelines.data.card_schema import SPLITS, DrawnSplit, listed
from pipelines.data.cards import DataCard
from pipelines.data.columns import RoleColumns
from pipelines.data.files import SourceFile
from pipelines.data.loading import check_stated_rows
from pipelines.data.preflight import rows_findings
from pipelines.data.sampling import sample
from pipelines.data.sources import Source, open_source
from pipelines.data.tables import Table, hub_table, read_table
from pipelines.errors import CardError, ConfigError, DataError
from pipelines.run import say
from pipelines.task_sections import LabelledDataConfig

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]  # role -> value
FILE, NUMBER = "_file", "_row"  # where a row stands: its file, and its number there, from 1
BATCH_ROWS = 5_000


@dataclass(frozen=True)
class Problem:
    """Why a row cannot be used: a reason to count by, and what to tell of this row."""

    reason: str
    message: str


class RowRules(Protocol):
    """What reading asks of a task."""

    name: ClassVar[str]
    required: tuple[str, ...]
    optional: tuple[str, ...]

    def learn(self, train: Iterable[Row], names: tuple[str, ...] | None) -> None:
        """Takes from the training rows what rows are judged by, such as their labels. May raise DataError."""
        ...

    def problem(self, row: Row) -> Problem | None:
        """What is wrong with a row, if anything."""
        ...

    def input_key(self, row: Row) -> str:
        """All of a row that a model is given: equal for rows with equal inputs."""
        ...

    def group_key(self, row: Row) -> str:
        """Rows of one group stay on one side when splits are drawn."""
        ...


@dataclass(frozen=True)
class Rows:
    """Rows of a split: a column for each role, and where each row stands."""

    table: "pa.Table"

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[Row]:
        for batch in self.table.to_batches(max_chunksize=BATCH_ROWS):
            yield from batch.to_pylist()

    @cached_property
    def as_list(self) -> list[Row]:
        """All rows, kept in memory: for the splits that are scored."""
        return list(self)

    def where(self, index: int) -> str:
        """File and row number, for messages."""
        place = self.table.select([FILE, NUMBER]).slice(index, 1).to_pylist()[0]
        return f"{place[FILE]}, row {place[NUMBER]:,}"

    def take(self, indices: Sequence[int]) -> "Rows":
        """Some of the rows, in the order given."""
        import pyarrow as pa

        return Rows(self.table.take(pa.array(indices, pa.int64())).combine_chunks())

    def fingerprint(self) -> str:
        """128-bit XXH3 of the values of all roles in order, 32 hex digits."""
        import xxhash

        whole = xxhash.xxh3_128()
        for row in self:
            values = {role: value for role, value in row.items() if role not in (FILE, NUMBER)}
            whole.update(json.dumps(values, sort_keys=True, default=str).encode("utf-8", "surrogatepass"))
        return str(whole.hexdigest())


@dataclass(frozen=True)
class LabelledData:
    """Labelled rows ready for a task."""

    name: str
    """Card name, Hub id or stem of the first training file."""
    train: Rows
    validation: Rows
    test: Rows | None
    receipt: dict[str, Any]
    """Every row that was read and what became of it; the totals close."""
    card: DataCard | None

    @property
    def splits(self) -> dict[str, Rows]:
        """The splits that were loaded, by name."""
        found = {"train": self.train, "validation": self.validation}
        return found if self.test is None else found | {"test": self.test}

    def hashes(self) -> dict[str, str]:
        """Content hashes of train and validation, which must be the same when a run goes on."""
        return {split: self.splits[split].fingerprint() for split in ("train", "validation")}


def load_labelled(config: LabelledDataConfig, rules: RowRules, with_test: bool) -> LabelledData:
    """Reads labelled rows from their one source, checks each, and draws a missing validation split.

    Args:
        config: the data section.
        rules: the task's.
        with_test: read the test split too; else it may have hidden labels.

    Raises:
        ConfigError: no source or several, a setting that does not go with it, or with_test without a test split.
        CardError: the card is not valid or at odds with its data.
        DataError: a file, column or row is missing or not what the task needs.
        HubError: the Hub cannot be reached or refused.
    """
    source, check = open_source(config, rules.required), checking()
    if check is not None:
        source = sample(source, check)
    if with_test and "test" not in source.splits:
        raise ConfigError(f"evaluation.split is test, but {source.name} has no test split. Give --data.files.test.")
    card = None if config.columns else source.card
    mapping = config.columns if card is None or source.chosen is None else source.chosen.roles
    # A card may describe columns for other tasks too; data.columns is meant for this one.
    roles = RoleColumns(mapping, card, rules.required, (*rules.optional, "id", "group"))
    roles.check(rules.name)
    wanted = [split for split in SPLITS if split in source.splits and (with_test or split != "test")]
    read: dict[str, Rows] = {}
    names: tuple[str, ...] | None = tuple(config.label_names) if config.label_names else None
    for split in wanted:
        read[split], stated = _read(source, split, roles)
        check_stated_rows(source.card, source.chosen, split, len(read[split]))
        names = names or stated
    for rows in read.values():
        for role in (role for role in rules.optional if role in read["train"].table.column_names):
            if role not in rows.table.column_names:
                raise DataError(
                    f"{rows.where(0).split(', row')[0]} has no column {role!r}, which the training rows have. "
                    "Every split needs it; map it with --data.columns."
                )
    try:
        rules.learn(read["train"], names)
    except DataError as error:
        if check is None or not check.is_sample:
            raise
        check.note("warning", "sample", f"{error} So it is in the part that was read: --preflight.sample_megabytes.")
        end_check()
    receipt: dict[str, Any] = {}
    for split, rows in read.items():
        read[split], receipt[split] = checked_rows(split, rows, rules, config.invalid_rows)
    receipt["validation_split"] = None
    if "validation" not in read:
        read |= _draw(read["train"], rules, _drawing(source, config), receipt)
    if config.max_train_rows is not None and len(read["train"]) > config.max_train_rows:
        receipt["train"]["rows_dropped"]["max_train_rows"] = len(read["train"]) - config.max_train_rows
        read["train"] = Rows(read["train"].table.slice(0, config.max_train_rows))
    if config.max_train_rows is not None and check is not None:  # what is scaled up from a sample is no more than this
        check.share = max(check.share, len(read["train"]) / config.max_train_rows)
    for split, rows in read.items():
        receipt[split]["rows_kept"] = len(rows)
        _check_totals(split, receipt[split])
    count_overlap(read, rules, receipt)
    if check is not None:
        rows_findings(check, read, rules, receipt, config.invalid_rows == "drop")
    receipt["source"], receipt["files"] = source.record, source.shown
    if source.builder_receipt is not None:
        receipt["builder"] = source.builder_receipt
    return LabelledData(source.name, read["train"], read["validation"], read.get("test"), receipt, source.card)


def spread_rows(rows: Rows, most: int | None) -> Rows:
    """The rows, or `most` of them, evenly spread."""
    import numpy as np

    if most is None or most >= len(rows):
        return rows
    return rows.take(np.linspace(0, len(rows) - 1, most, dtype=int).tolist())


# ---------------------------------------------------------------- reading


def _read(source: Source, split: str, roles: RoleColumns) -> tuple[Rows, tuple[str, ...] | None]:
    """The rows of a split by role, and the names of its labels, if card or file state them."""
    found = source.splits[split]
    names: dict[str, tuple[str, ...]] = {}
    if isinstance(found, list):
        rows = read_files(found, roles, names)
    else:
        shown = f"The Hub dataset {source.name}, split {split}"
        rows = Rows(_by_role(lambda choose: hub_table(found, choose, shown), roles, shown, names))
    stated = {} if source.chosen is None else source.chosen.label_names
    labelled = [column for column, role in roles.mapping.items() if role in ("label", "tags")] or ["label", "tags"]
    of_card, of_file = (next((known[one] for one in labelled if one in known), None) for known in (stated, names))
    return rows, same_names(of_card, of_file, rows.where(0))


def same_names(of_card: tuple[str, ...] | None, of_file: tuple[str, ...] | None, where: str) -> tuple[str, ...] | None:
    """The names of labels, which a card and a file may both state. Raises CardError if they differ in their order."""
    if of_card is not None and of_file is not None and of_card != of_file and sorted(of_card) == sorted(of_file):
        raise CardError(
            f"{where.split(', row')[0]} names its labels 0, 1, ... {listed(of_file)}, but its card {listed(of_card)}: "
            "every label would be taken for another. Correct the card, or write the file anew."
        )
    return of_card or of_file


def read_files(
    files: Sequence[SourceFile], roles: RoleColumns, label_names: dict[str, tuple[str, ...]] | None = None
) -> Rows:
    """The rows of files by role; the names of labels that the files state are added to `label_names`.

    Raises:
        CardError, DataError: a file cannot be read, lacks a column, or has other types than the one before.
    """
    import pyarrow as pa

    names: dict[str, tuple[str, ...]] = {} if label_names is None else label_names
    tables = []
    for file in files:

        def read(choose: Any, file: SourceFile = file) -> Table:
            return read_table(file, choose)

        tables.append(_by_role(read, roles, file.shown, names))
    try:
        return Rows(pa.concat_tables(tables, promote_options="permissive"))
    except pa.ArrowException as error:
        shown = ", ".join(file.shown for file in files)
        raise DataError(
            f"The files {shown} have different types: {' '.join(str(error).split())}. Give the column one type in all."
        ) from None


def _by_role(read: Any, roles: RoleColumns, shown: str, names: dict[str, tuple[str, ...]]) -> "pa.Table":
    """A file's columns by role, with the place of each row."""
    import pyarrow as pa

    by_role: dict[str, list[str]] = {}

    def choose(columns: Sequence[str], shown: str) -> list[str]:
        by_role.update(roles.find(columns, shown))
        return [path for paths in by_role.values() for path in paths]

    table: Table = read(choose)
    names.update(table.label_names)
    columns = {role: _column(table.columns, paths, shown) for role, paths in by_role.items()}
    columns[FILE] = pa.array([shown] * table.columns.num_rows, pa.string()).dictionary_encode()
    columns[NUMBER] = pa.array(range(1, table.columns.num_rows + 1), pa.int64())
    return pa.table(columns)


def _column(table: "pa.Table", paths: list[str], shown: str) -> Any:
    """The column of a role; several become one of lists."""
    import pyarrow as pa

    if len(paths) == 1:
        return table.column(paths[0])
    try:
        return pa.array(
            [list(values) for values in zip(*(table.column(path).to_pylist() for path in paths), strict=True)]
        )
    except pa.ArrowException:
        raise DataError(
            f"{shown}: the columns {', '.join(paths)} have different types. Expected text in each."
        ) from None


# ---------------------------------------------------------------- checking, drawing, counting


def checked_rows(split: str, rows: Rows, rules: RowRules, invalid_rows: str) -> tuple[Rows, dict[str, Any]]:
    """The rows that a task can use, with the counts of the others by reason; invalid_rows as in the data section.

    Raises:
        DataError: the first row that cannot be used, or none is left.
    """
    import pyarrow as pa

    first: dict[str, tuple[int, Problem]] = {}
    dropped: Counter[str] = Counter()
    keep = []
    ids: dict[str, int] = {}
    for index, row in enumerate(rows):
        problem = rules.problem(row)
        if problem is None and isinstance(row.get("id"), list | dict):
            problem = Problem("id_not_plain", f"the id is {row['id']!r}, expected a number or text.")
        elif problem is None and row.get("id") is not None:
            if str(row["id"]) in ids:
                told = f"the id {row['id']!r} stands in row {ids[str(row['id'])]:,} too. Ids must differ."
                problem = Problem("duplicate_id", told)
            elif problem is None:
                ids[str(row["id"])] = row[NUMBER]
        keep.append(problem is None)
        if problem is not None:
            first.setdefault(problem.reason, (index, problem))
            dropped[problem.reason] += 1
    if first and invalid_rows == "error":
        for index, problem in sorted(first.values(), key=lambda one: one[0]):  # a run ends with the first
            check = checking()
            others = (dropped.total() if check is None else dropped[problem.reason]) - 1
            more = f" {others:,} other row(s) of {split} cannot be used either." if others else ""
            told = f"{rows.where(index)}: {problem.message}{more} Mend the data, or leave such rows out, "
            told += "counted by reason, with --data.invalid_rows drop."
            if check is not None and check.is_sample and problem.reason.startswith("unknown_"):
                check.note("warning", "sample", f"{told} Training rows that were not read may have it.")
            else:
                refuse(DataError(told))
    if not any(keep):
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
        index, problem = min(first.values(), key=lambda one: one[0])
        raise DataError(
            f"Every one of the {len(rows):,} rows of {split} was dropped: {reasons}. The first: {rows.where(index)}: "
            f"{problem.message}"
        )
    if dropped:
        say(f"{split}: {dropped.total():,} of {len(rows):,} rows left out: {dict(dropped)}")
    kept = Rows(rows.table.filter(pa.array(keep))) if dropped else rows
    return kept, {"rows_read": len(rows), "rows_dropped": dict(dropped)}


def _drawing(source: Source, config: LabelledDataConfig) -> DrawnSplit:
    """How the validation split is drawn: as the card states, else as the config does. Two statements are refused."""
    stated = None if source.chosen is None else source.chosen.drawn
    asked, default = (
        DrawnSplit("hash", one.validation_share, one.split_seed) for one in (config, LabelledDataConfig())
    )
    if stated is None or source.card is None:
        return asked
    if asked not in (default, stated):
        raise ConfigError(
            f"The card {source.card.path} states how its validation split is drawn ({stated.method}, share "
            f"{stated.share:g}, seed {stated.seed}). Remove data.validation_share and data.split_seed, or copy the "
            "card and change the copy."
        )
    return stated


def _draw(train: Rows, rules: RowRules, drawn: DrawnSplit, receipt: dict[str, Any]) -> dict[str, Rows]:
    """Train and validation: the groups with the lowest seeded hash, or the last rows, go to validation."""
    import numpy as np
    import xxhash

    groups = [rules.group_key(row).encode("utf-8", "surrogatepass") for row in train]
    hashes = np.array([xxhash.xxh3_64_intdigest(group, drawn.seed) for group in groups], dtype=np.uint64)
    distinct = np.unique(hashes)
    if len(distinct) < 2:
        raise DataError(
            f"The training data has {len(train):,} row(s) of {len(distinct)} group(s), so no validation rows can be "
            "drawn from it: rows with equal input, on one context, or of one `group` stay together. Give more rows, or "
            "--data.files.validation."
        )
    if drawn.method == "tail":
        held_out = np.arange(len(train)) >= len(train) - max(1, int(drawn.share * len(train)))
    else:
        held_out = hashes <= distinct[max(1, int(drawn.share * len(distinct))) - 1]
    moved = int(held_out.sum())
    receipt["train"]["moved_to_validation"] = moved
    receipt["validation"] = {"rows_read": 0, "rows_dropped": {}, "moved_from_train": moved}
    receipt["validation_split"] = {"method": drawn.method, "share": drawn.share, "seed": drawn.seed}
    return {
        "train": train.take(np.flatnonzero(~held_out).tolist()),
        "validation": train.take(np.flatnonzero(held_out).tolist()),
    }


def _check_totals(split: str, counts: Mapping[str, Any]) -> None:
    came_in = counts["rows_read"] + counts.get("moved_from_train", 0)
    went_out = counts["rows_kept"] + sum(counts["rows_dropped"].values()) + counts.get("moved_to_validation", 0)
    if came_in != went_out:
        raise DataError(f"The counts of {split} do not close: {came_in:,} rows in, {went_out:,} out: {counts}.")


def count_overlap(splits: Mapping[str, Rows], rules: RowRules, receipt: dict[str, Any]) -> None:
    """Tells and counts the evaluation rows whose inputs are in the training split too; they stay where they are."""
    seen = {rules.input_key(row) for row in splits["train"]}
    for split in (name for name in splits if name != "train"):
        inside = sum(rules.input_key(row) in seen for row in splits[split])
        receipt[split]["rows_also_in_train"] = inside
        if inside:
            say(
                f"WARNING: {inside:,} of {len(splits[split]):,} rows of {split} have the same input as a training row. "
                "The score on them is not one of unseen text."
            )
