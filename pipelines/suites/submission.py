"""Test predictions in the format that a benchmark's server takes."""

import json
import zipfile
from pathlib import Path
from typing import Any

from pipelines.data.labelled import Row
from pipelines.run import say
from pipelines.suites.definition import Suite
from pipelines.suites.entries import Entry, read_predictions
from pipelines.tasks.task import Prediction

TEST = "test"
STSB_RANGE = (0.0, 5.0)


def write_submission(path: Path, suite: Suite, entries: list[Entry], seeds: dict[str, int], first_seed: int) -> None:
    """Writes the zip: a file for each task that has test rows, predicted by its best seed on the validation split.

    GLUE takes tsv files of index and prediction, SuperGLUE json lines of idx and label: the ending of a task's file
    says which. A zip without all of them is refused by the servers, so what is missing is told.

    Args:
        path: of the zip.
        suite: says the files and how labels are written.
        entries: those with a hidden split are written.
        seeds: task -> its best seed; a diagnostic set has that of its models.
        first_seed: for a task that could not be scored.
    """
    wanted = {name: task.submission.file for name, task in suite.tasks.items() if task.submission is not None}
    written = []
    aside = path.with_name(f".{path.name}")
    with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in (entry for entry in entries if entry.name in wanted and TEST in entry.data.splits):
            seed = seeds.get(entry.spec.model_of or entry.name, first_seed)
            predictions = read_predictions(entry.seed_folder(seed), TEST)
            rows, file = entry.data.splits[TEST].as_list, wanted[entry.name]
            lines = (_tsv if file.endswith(".tsv") else _json_lines)(entry, rows, predictions)
            archive.writestr(file, "\n".join(lines) + "\n")
            written.append(entry.name)
    aside.replace(path)
    missing = [f"{file} ({name})" for name, file in wanted.items() if name not in written]
    told = f"; incomplete, without {', '.join(missing)}" if missing else ""
    say(f"Submission: {path} with {len(written)} of {len(wanted)} files{told}")


def _label(entry: Entry, prediction: Prediction) -> Any:
    labels = entry.spec.submission.labels if entry.spec.submission is not None else None
    return prediction["label"] if labels is None else labels[prediction["label"]]


def _tsv(entry: Entry, rows: list[Row], predictions: list[Prediction]) -> list[str]:
    """GLUE: index and prediction, the index counted from 0; numbers of STS-B within its range."""
    lines = ["index\tprediction"]
    for index, prediction in enumerate(predictions):
        if "value" in prediction:
            said: Any = f"{min(max(prediction['value'], STSB_RANGE[0]), STSB_RANGE[1]):.3f}"
        else:
            said = _label(entry, prediction)
        lines.append(f"{index}\t{said}")
    return lines


def _json_lines(entry: Entry, rows: list[Row], predictions: list[Prediction]) -> list[str]:
    """SuperGLUE: a line for each idx; MultiRC a line for each passage, its questions and answers inside."""
    if entry.spec.form == "several_answers":
        return _multirc(rows, predictions)
    lines = []
    for number, (row, prediction) in enumerate(zip(rows, predictions, strict=True)):
        index = row.get("idx", number)
        if entry.spec.form == "entities":
            lines.append(json.dumps({"idx": row["idx"]["query"], "label": row["entities"][prediction["label"]]}))
        else:
            lines.append(json.dumps({"idx": index, "label": _label(entry, prediction)}))
    return lines


def _multirc(rows: list[Row], predictions: list[Prediction]) -> list[str]:
    passages: dict[int, dict[int, list[dict[str, int]]]] = {}
    for row, prediction in zip(rows, predictions, strict=True):
        place = row["idx"]
        answers = passages.setdefault(place["paragraph"], {}).setdefault(place["question"], [])
        answers.append({"idx": place["answer"], "label": prediction["label"]})
    return [
        json.dumps(
            {
                "idx": passage,
                "passage": {"questions": [{"idx": one, "answers": answers} for one, answers in questions.items()]},
            }
        )
        for passage, questions in passages.items()
    ]
