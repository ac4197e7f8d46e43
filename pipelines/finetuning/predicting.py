"""Rows without answers -> predictions, by a saved model."""

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.checking import end_check
from pipelines.data.columns import RoleColumns, check_mapping
from pipelines.data.files import as_source, find_files, one_format
from pipelines.data.labelled import FILE, NUMBER, Rows, read_files
from pipelines.errors import ConfigError, DataError
from pipelines.finetuning.evaluating import Evaluator
from pipelines.tasks.saved import Saved
from pipelines.tasks.task import Limit, Task

if TYPE_CHECKING:
    from pipelines.task_sections import PredictionConfig


def read_rows(config: "PredictionConfig", task: Task) -> Rows:
    """The rows of a file or of standard input, by role.

    On standard input, lines that are no JSON objects are texts, for a task that reads one text.

    Raises:
        ConfigError: a column is mapped to a role that the task does not read.
        DataError: there is no such file, a column is missing, or a row is not what the task reads.
    """
    check_mapping(config.columns, "predict.columns")
    needed = task.inputs()
    optional = [role for role in task.optional if role not in needed]
    roles = RoleColumns(config.columns, None, needed, (*optional, "id"), "predict.columns")
    roles.check(task.name)
    if config.input != "-":
        rows = read_files(one_format(find_files(config.input, "predict.input"), "predict.input"), roles)
    else:
        rows = _read_stdin(roles, needed)
    for index, row in enumerate(rows):
        problem = task.input_problem(row)
        if problem is not None:
            raise DataError(f"{rows.where(index)}: {problem.message}")
    return rows


def _read_stdin(roles: RoleColumns, needed: tuple[str, ...]) -> Rows:
    lines = [line for line in sys.stdin.read().splitlines() if line.strip()]
    if not lines:
        raise DataError("Standard input has no rows. Expected json lines, or one text a line.")
    if not lines[0].lstrip().startswith("{"):
        if len(needed) > 1 or needed[0] in ("tokens", "messages"):
            example = {role: ["...", "..."] if role in ("tokens", "choices") else "..." for role in needed}
            raise DataError(
                f"Standard input has plain text, but this model reads {' and '.join(needed)}. Give json lines: "
                f"{json.dumps(example)}"
            )
        column = next(iter(roles.mapping), needed[0])
        lines = [json.dumps({column: line}) for line in lines]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stdin.jsonl"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return read_files([as_source(path, "standard input", path.name)], roles)


def predict_rows(saved: Saved, rows: Rows, config: "PredictionConfig") -> Iterator[dict[str, Any]]:
    """The rows with what the model says of each, in their order."""
    import torch

    from pipelines.training.hardware import bf16_is_native, use_cpu_threads

    use_cpu_threads(config.threads)
    task, model = saved.task, saved.model
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    examples = task.encode(rows, Limit(saved.max_length, task.policies[0]), training=False)
    loss = task.loss(model, bf16=device.type == "cuda" and bf16_is_native(device))
    evaluator = Evaluator(task, rows, examples, loss, config.batch_size, config.max_tokens_per_batch)
    predictions = evaluator.predict(model.to(device))  # type: ignore[arg-type]
    for row, prediction in zip(rows, predictions, strict=True):
        plain = {name: value for name, value in row.items() if name not in (FILE, NUMBER)}
        yield plain | {"prediction": task.public(prediction)}


def check_output(output: str | None, key: str) -> None:
    """Raises ConfigError if a file cannot be written, before anything is computed."""
    folder = Path(output or ".").expanduser().absolute().parent
    if output is not None and Path(output).expanduser().is_dir():
        raise ConfigError(f"{key} is {output!r}, which is a folder. Name a file in it, such as {output}/out.jsonl.")
    if output is not None and (not folder.is_dir() or not os.access(folder, os.W_OK)):
        raise ConfigError(f"{key} is {output!r}, but there is no folder {str(folder)!r} that can be written to.")


def write_rows(rows: Iterable[dict[str, Any]], output: str | None) -> None:
    """Rows as json lines, to a file (whole or not at all) or standard output."""
    end_check()
    lines = (json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)  # dates of Parquet as text
    if output is None:
        sys.stdout.writelines(lines)
        return
    path = Path(output).expanduser()
    aside = path.with_name(f".{path.name}")
    with aside.open("w", encoding="utf-8") as stream:
        stream.writelines(lines)
    aside.replace(path)
