"""Made-up rows of the tasks of GLUE and SuperGLUE as Parquet files, with the Hub's columns and hidden tests."""

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import datasets

Row = dict[str, Any]
Maker = Callable[[random.Random, int], Row]

GLUE = ("cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte", "wnli", "ax")
SUPERGLUE = ("boolq", "cb", "copa", "multirc", "record", "rte", "wic", "wsc", "axb", "axg")
NAMES, PLACES = ("Ann", "Bob", "Eve", "Tom"), ("Rome", "Oslo", "Kyiv", "Lima")
GOOD, BAD = ("clean", "quiet", "bright", "friendly"), ("dirty", "loud", "dark", "rude")

NLI = ("entailment", "neutral", "contradiction")
TWO = ("entailment", "not_entailment")
TRUTH = ("False", "True")
LABELS = {  # as on the Hub
    "cola": ("unacceptable", "acceptable"),
    "sst2": ("negative", "positive"),
    "mrpc": ("not_equivalent", "equivalent"),
    "qqp": ("not_duplicate", "duplicate"),
    "mnli": NLI,
    "qnli": TWO,
    "rte": TWO,
    "wnli": ("not_entailment", "entailment"),
    "ax": NLI,
    "boolq": TRUTH,
    "cb": ("entailment", "contradiction", "neutral"),
    "copa": ("choice1", "choice2"),
    "multirc": TRUTH,
    "wic": TRUTH,
    "wsc": TRUTH,
    "axb": TWO,
    "axg": TWO,
}
COLUMNS = {  # of text, by suite and task
    ("glue", "cola"): ("sentence",),
    ("glue", "sst2"): ("sentence",),
    ("glue", "qqp"): ("question1", "question2"),
    ("glue", "mnli"): ("premise", "hypothesis"),
    ("glue", "ax"): ("premise", "hypothesis"),
    ("glue", "qnli"): ("question", "sentence"),
    ("superglue", "boolq"): ("question", "passage"),
    ("superglue", "cb"): ("premise", "hypothesis"),
    ("superglue", "rte"): ("premise", "hypothesis"),
    ("superglue", "axg"): ("premise", "hypothesis"),
}
PAIR = ("sentence1", "sentence2")


def sentence(draw: random.Random, words: Sequence[str]) -> str:
    room = draw.choice(("room", "bath", "hall", "bar"))
    return f"The {room} {draw.randrange(1000)} was {draw.choice(words)} and {draw.choice(words)}."


def _labelled(suite: str, task: str, draw: random.Random, number: int) -> Row:
    """Texts that show the label: good words for the second half of the labels."""
    label = draw.randrange(len(LABELS[task]))
    texts = [sentence(draw, GOOD if label else BAD) for _ in COLUMNS.get((suite, task), PAIR)]
    return dict(zip(COLUMNS.get((suite, task), PAIR), texts, strict=True)) | {"label": label, "idx": number}


def _stsb(draw: random.Random, number: int) -> Row:
    grade = draw.randrange(51) / 10
    texts = [sentence(draw, GOOD if grade > 2.5 else BAD) for _ in PAIR]
    return dict(zip(PAIR, texts, strict=True)) | {"label": grade, "idx": number}


def _copa(draw: random.Random, number: int) -> Row:
    label = draw.randrange(2)
    choices = [sentence(draw, GOOD if place == label else BAD) for place in range(2)]
    return {
        "premise": f"{draw.choice(NAMES)} moved to {draw.choice(PLACES)} in {draw.randrange(1000)}.",
        "choice1": choices[0],
        "choice2": choices[1],
        "question": draw.choice(("cause", "effect")),
        "idx": number,
        "label": label,
    }


def _multirc(draw: random.Random, number: int) -> Row:
    """Three answers to each of two questions of a passage: rows 0 to 5 are of passage 0."""
    passage, question = divmod(number // 3, 2)
    label = draw.randrange(2)
    return {
        "paragraph": f"In passage {passage} {NAMES[passage % 4]} sees {PLACES[passage % 4]}. It was bright.",
        "question": f"What is it that number {question} of {passage} sees?",
        "answer": f"{draw.choice(GOOD if label else BAD)} {draw.randrange(1000)}",
        "idx": {"paragraph": 10 + passage, "question": 100 + number // 3, "answer": 1000 + number},
        "label": label,
    }


def _record(draw: random.Random, number: int) -> Row:
    right, wrong = draw.sample(NAMES, 2)
    place = draw.choice(PLACES)
    passage = f"{right} went to {place} with {wrong} in {draw.randrange(1000)}.\n@highlight\n{right} was bright"
    entities = [right, wrong, place]
    draw.shuffle(entities)
    starts = [passage.index(entity) for entity in entities]
    ends = [start + len(entity) for start, entity in zip(starts, entities, strict=True)]
    return {
        "passage": passage,
        "query": f"It was @placeholder who went in {number}.",
        "entities": entities,
        "entity_spans": {"text": entities, "start": starts, "end": ends},
        "answers": [right],
        "idx": {"passage": 10 + number // 2, "query": 100 + number},
    }


def _wic(draw: random.Random, number: int) -> Row:
    label = draw.randrange(2)
    word = draw.choice(("bank", "class", "match"))
    texts = [f"{sentence(draw, GOOD if label else BAD)} A {word} was there." for _ in PAIR]
    starts = [text.index(f"{word} was") for text in texts]
    places = {f"start{side}": start for side, start in enumerate(starts, 1)}
    places |= {f"end{side}": start + len(word) for side, start in enumerate(starts, 1)}
    return {"word": word, "sentence1": texts[0], "sentence2": texts[1], **places, "idx": number, "label": label}


def _wsc(draw: random.Random, number: int) -> Row:
    label = draw.randrange(2)
    name, other = draw.sample(NAMES, 2)
    text = f"{name} met {other} in the hall, because {'he' if label else 'she'} was {draw.choice(GOOD)} {number}."
    return {
        "text": text,
        "span1_index": 0,
        "span1_text": name,
        "span2_index": 7,
        "span2_text": "he" if label else "she",
        "idx": number,
        "label": label,
    }


OWN: dict[str, Maker] = {
    "stsb": _stsb,
    "copa": _copa,
    "multirc": _multirc,
    "record": _record,
    "wic": _wic,
    "wsc": _wsc,
}
INT, TEXT, TEXTS = datasets.Value("int32"), datasets.Value("string"), datasets.List(datasets.Value("string"))


def features(task: str, rows: Sequence[Row]) -> datasets.Features:
    """The Hub's: numbers of 32 bits, labels with their names."""
    found: dict[str, Any] = {}
    for name, value in rows[0].items():
        if name == "label":
            found[name] = datasets.Value("float32") if task == "stsb" else datasets.ClassLabel(names=list(LABELS[task]))
        elif name == "idx" and isinstance(value, dict):
            found[name] = dict.fromkeys(value, INT)
        elif name == "entity_spans":
            found[name] = {"text": TEXTS, "start": datasets.List(INT), "end": datasets.List(INT)}
        else:
            found[name] = INT if isinstance(value, int) else TEXTS if isinstance(value, list) else TEXT
    return datasets.Features(found)


def make(suite: str, task: str, count: int, seed: int) -> list[Row]:
    """Rows of a task, different for every seed; of classes, each occurs."""
    draw = random.Random(f"{suite} {task} {seed}")
    while True:
        rows = [
            OWN[task](draw, number) if task in OWN else _labelled(suite, task, draw, number) for number in range(count)
        ]
        wanted = len(LABELS.get(task, ()))
        if len({row["label"] for row in rows if wanted}) == wanted:
            return rows


def hide(task: str, rows: Iterable[Row]) -> list[Row]:
    """Rows of a test split: labels -1, no answers."""
    return [row | ({"answers": []} if task == "record" else {"label": -1}) for row in rows]


def write(path: Path, task: str, rows: Sequence[Row]) -> Path:
    """A Parquet file as `datasets` writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_list(list(rows), features=features(task, rows)).to_parquet(path)
    return path


SIZES = {"train": 24, "validation": 12, "test": 6}
DIAGNOSTIC = ("ax", "axb", "axg")


def write_task(folder: Path, suite: str, task: str, splits: Sequence[str] = tuple(SIZES), **sizes: int) -> Path:
    """The files of a task below `folder`, named as on the Hub for GLUE, plainly for SuperGLUE, MultiRC's in folders."""
    inside = folder / f"{suite}-{task}"
    for seed, split in enumerate(SIZES):
        if split not in splits or (task in DIAGNOSTIC and split != "test"):
            continue
        parts = [f"{split}_matched", f"{split}_mismatched"] if task == "mnli" and split != "train" else [split]
        for part, name in enumerate(parts):
            rows = make(suite, task, (SIZES | sizes)[split], seed + 10 * part)
            rows = hide(task, rows) if split == "test" and task not in ("axb", "axg") else rows
            file = f"{name}-00000-of-00001" if suite == "glue" else f"{name}/0000" if task == "multirc" else name
            write(inside / f"{file}.parquet", task, rows)
    return inside


def write_suite(folder: Path, suite: str) -> Path:
    """All tasks of a suite."""
    for task in GLUE if suite == "glue" else SUPERGLUE:
        write_task(folder, suite, task)
    return folder
