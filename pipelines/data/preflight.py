"""What a check says of the data: rows that will not count, repeat, contradict or leak, and what tokens make of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.checking import Check, counted

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.data.examples import Examples
    from pipelines.data.labelled import Row, Rows

MOST_LEAKED = 0.05  # share of evaluation rows in the training split above which scores are called wrong
MOST_UNKNOWN = 0.01
LEAST_BYTES_PER_TOKEN = 1.5  # English has 3 to 5 with a tokenizer of its own
LEAST_SCORED_ROWS = 100
LEAST_ROWS_OF_CLASS = 10
MOST_IMBALANCE = 10
# What reading bytes in a wrong encoding leaves: the replacement character, C1 controls, UTF-8 read as Latin-1 or 1252.
DAMAGED = "\ufffd|[\u0001-\u0008\u0080-\u009f]|\u00c3[\u00a0-\u00bf\u2014-\u2122]|\u00e2\u20ac"


def corpus_findings(check: Check, receipt: Mapping[str, Any], hashes: Mapping[str, np.ndarray], tables: Any) -> None:
    """Looks at the documents of a corpus.

    Args:
        check: takes the findings.
        receipt: of loading.
        hashes: split -> a hash of each text.
        tables: split -> its texts, in the column `text`.
    """
    for split, hashes_D in hashes.items():
        counts = receipt[split]
        rows = f"{counted(counts['rows_kept'], 'document')}, {counts['bytes'] / 1e6:,.2f} MB"
        check.note("ok", "data", f"{split}: {rows}.")
        for reason, number in counts["rows_dropped"].items():
            if number and reason in ("null", "empty"):
                told = f"{number:,} of {counts['rows_read']:,} rows are {reason}, and are left out."
                check.note("warning", "empty rows", f"{split}: {told}")
        repeated = len(hashes_D) - len(np.unique(hashes_D))
        if repeated:
            told = f"{repeated:,} of {len(hashes_D):,} documents repeat another one word for word."
            check.note("warning", "duplicates", f"{split}: {told}")
        _damaged(check, split, tables[split].column("text"))
    _leaks(check, "validation", receipt["train_texts_in_validation"], len(np.unique(hashes["validation"])))


def token_findings(check: Check, split: str, receipt: Mapping[str, Any], lengths_D: np.ndarray) -> None:
    """Looks at a corpus as tokens.

    Args:
        check: takes the findings.
        split: its name.
        receipt: of the split, by `receipt.split_receipt`.
        lengths_D: tokens of each document.
    """
    tokens, block_size = receipt["tokens"], receipt["blocks"]["block_size"]
    longer = float((lengths_D > block_size).mean())
    told = (
        f"{split}: {tokens['tokens']:,} tokens ({tokens['bytes_per_token']:.2f} bytes each); a document has "
        f"{_lengths(check, split, tokens, lengths_D)}. {longer:.1%} of the documents are longer than a block "
        f"({block_size:,}) and go on in the next: no token is cut."
    )
    check.note("ok", "tokens", told)
    _unknown(check, split, tokens["unknown_tokens"], tokens["text_tokens"])
    if tokens["bytes_per_token"] < LEAST_BYTES_PER_TOKEN:
        told = f"{split}: a token stands for {tokens['bytes_per_token']:.2f} bytes. Is the tokenizer for other text?"
        check.note("warning", "tokens", told)


def rows_findings(
    check: Check,
    splits: Mapping[str, "Rows"],
    rules: Any,
    receipt: Mapping[str, Any],
    leaves_out: bool,
    prefix: str = "",
) -> None:
    """Looks at labelled rows, as far as they can be used.

    Args:
        check: takes the findings.
        splits: name -> rows.
        rules: of the task (labelled.RowRules), which may have `answers`, `stratum` and `labels` too.
        receipt: of loading, with the overlap of splits.
        leaves_out: rows that cannot be used are left out, and do not end the run.
        prefix: of the names of splits, such as that of a task of a suite.
    """
    classes: dict[str, Counter[int]] = {}
    for split, rows in splits.items():
        counts, shown = receipt[split], f"{prefix}{split}"
        check.note("ok", "data", f"{shown}: {len(rows):,} rows of {counts['rows_read'] or len(rows):,} read.")
        for reason, number in counts["rows_dropped"].items():
            if number and leaves_out and reason != "max_train_rows":  # which was asked for
                check.note("warning", "unusable rows", f"{shown}: {number:,} rows are left out: {reason}.")
        answers: dict[str, list[tuple[str, int]]] = defaultdict(list)
        classes[split] = Counter()
        for number, row in enumerate(rows):
            answers[rules.input_key(row)].append((_answer(rules, row), number))
            label = _class(rules, row)
            if label is not None:
                classes[split][label] += 1
        _repeated(check, shown, rows, answers.values())
        for role in rules.required:
            if rows.table.schema.field(role).type in _strings():
                _damaged(check, shown, rows.table.column(role))
        if split != "train":
            _leaks(check, shown, counts["rows_also_in_train"], len(rows))
            if len(rows) < LEAST_SCORED_ROWS:
                wide = 0.98 / len(rows) ** 0.5  # 1.96 sqrt(p (1 - p) / n) at p = 1/2
                told = f"{shown}: with {counted(len(rows), 'row')}, the share of right ones is known to within"
                check.note("warning", "few rows", f"{told} {wide:.0%} (95 %).")
    if classes.get("train"):
        _balance(check, classes, prefix, getattr(getattr(rules, "labels", None), "names", ()))


def example_findings(check: Check, split: str, examples: "Examples", unknown_id: int | None) -> None:
    """Looks at rows as a model reads them: what the length policy cuts, and what is learnt of each.

    Args:
        check: takes the findings.
        split: its name.
        examples: encoded.
        unknown_id: of the unknown token, if the tokenizer has one.
    """
    counts, lengths_E, targets_E = examples.counts, examples.fields["input_ids"].lengths, examples.targets_E
    total = max(counts["text_tokens"], 1)
    lost = (counts["tokens_truncated"] + counts.get("tokens_of_dropped_rows", 0)) / total
    told = (
        f"{split}: {len(examples):,} examples; one has {_lengths(check, split, counts, lengths_E)} of "
        f"{examples.block_size:,}; {lost:.2%} of all tokens are cut or left out. Targets of an example: "
        f"{np.median(targets_E):,.0f} (median), at least {targets_E.min():,}."
    )
    check.note("ok", "tokens", told)
    if lost:
        rows = counts["rows_truncated"] + counts.get("rows_dropped_overlength", 0)
        told = f"{split}: {rows:,} rows are longer than data.max_length ({examples.block_size:,}): {lost:.2%} of tokens"
        check.note("warning", "truncation", f"{told} are lost. See data.max_length and data.overlength.")
    idle = int((targets_E == 0).sum())
    if idle:
        told = f"{split}: {idle:,} of {len(examples):,} examples have nothing to learn: no target in data.max_length."
        check.note("warning", "zero loss", told)
    if unknown_id is not None:
        ids_N = examples.fields["input_ids"].values_N
        _unknown(check, split, int((ids_N == unknown_id).sum()), len(ids_N))


def _lengths(check: Check, split: str, counts: Mapping[str, Any], lengths: np.ndarray) -> str:
    """How many tokens there are in each, in words; the figures of the split learn it, too."""
    middle, high = np.percentile(lengths, [50, 95])
    figures = {"median_length": middle, "percentile_95_length": high, "longest_length": lengths.max()}
    check.figures[f"{split}_tokens"] = dict(counts) | figures
    return f"{middle:,.0f} tokens (median), {high:,.0f} (95 %) and at most {lengths.max():,}"


def _answer(rules: Any, row: "Row") -> str:
    return repr([row.get(role) for role in getattr(rules, "answers", ())])


def _class(rules: Any, row: "Row") -> int | None:
    stratum = getattr(rules, "stratum", None)
    return None if stratum is None else stratum(row)


def _repeated(check: Check, split: str, rows: "Rows", groups: Iterable[Sequence[tuple[str, int]]]) -> None:
    """Rows that have the input of another: with its answer, or with a different one."""
    same = other = 0
    first: tuple[int, int] | None = None
    for group in groups:
        distinct = {answer: number for answer, number in reversed(group)}
        same += len(group) - len(distinct)
        if len(distinct) > 1:
            other += len(group)
            numbers = sorted(distinct.values())
            first = first or (numbers[0], numbers[1])
    if same:
        told = f"{split}: {same:,} of {len(rows):,} rows repeat another one, answer and all."
        check.note("warning", "duplicates", told)
    if first is not None:
        places = " and ".join(rows.where(number) for number in first)
        told = f"{split}: {other:,} rows have an input that has another answer elsewhere, such as {places}."
        check.note("warning", "contradictions", told)


def _balance(check: Check, classes: Mapping[str, Counter[int]], prefix: str, names: Sequence[str]) -> None:
    train = classes["train"]

    def name(label: int) -> str:
        return repr(names[label]) if label < len(names) else str(label)

    (most, largest), (least, smallest) = train.most_common()[0], train.most_common()[-1]
    told = (
        f"{prefix}train: {len(train)} classes; {name(most)} has {largest / train.total():.1%} of the rows, which is "
        f"the accuracy of always saying it; {name(least)} has {smallest:,}."
    )
    check.note("ok", "labels", told)
    check.figures[f"{prefix}class_counts"] = {name(label): number for label, number in train.items()}
    if largest > MOST_IMBALANCE * smallest:
        told = f"{prefix}train: {name(most)} has {largest / smallest:.0f} times the rows of {name(least)}."
        check.note("warning", "imbalance", f"{told} Accuracy says little then: look at F1 and the confusion matrix.")
    rare = [name(label) for label, number in train.items() if number < LEAST_ROWS_OF_CLASS]
    if rare:
        told = f"{prefix}train: fewer than {LEAST_ROWS_OF_CLASS} rows of {', '.join(rare[:5])}: hardly learnt."
        check.note("warning", "rare labels", told)
    absent = [repr(one) for label, one in enumerate(names) if label not in train]
    if absent:
        check.note(
            "warning", "labels", f"{prefix}train: no row has the label {', '.join(absent[:5])}: it cannot be learnt."
        )
    for split, counts in classes.items():
        missing = [name(label) for label in train if label not in counts]
        if split != "train" and missing:
            told = f"{prefix}{split}: no row has the label {', '.join(missing[:5])}"
            check.note("warning", "labels", f"{told}: nothing is known of how well it is found.")


def _leaks(check: Check, split: str, inside: int, rows: int) -> None:
    check.figures[f"{split}_rows_in_train"] = inside
    if inside:
        told = f"{split}: {inside:,} of {rows:,} have the same input as a training row. A score on them is not one of "
        level = "error" if inside > MOST_LEAKED * rows else "warning"
        check.note(level, "leak", f"{told}unseen text. Remove them from the training split.")  # type: ignore[arg-type]


def _unknown(check: Check, split: str, unknown: int, tokens: int) -> None:
    share = unknown / max(tokens, 1)
    if share > MOST_UNKNOWN:
        told = (
            f"{split}: {share:.1%} of the tokens are unknown to the tokenizer. Train one on this text, or use another."
        )
        check.note("warning", "unknown tokens", told)


def _damaged(check: Check, split: str, texts: "pa.ChunkedArray") -> None:
    import pyarrow.compute as pc

    damaged = pc.sum(pc.match_substring_regex(texts, DAMAGED)).as_py() or 0
    if damaged:
        told = f"{split}: {damaged:,} of {len(texts):,} texts hold what a wrong encoding leaves (\ufffd, â€, Ã)."
        check.note("warning", "encoding", told)


def _strings() -> tuple[Any, ...]:
    import pyarrow as pa

    return (pa.string(), pa.large_string())
