"""Which scored rows of a suite stand in the pretraining corpus of the model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.data.contamination import find_contaminated
from pipelines.data.labelled import Row
from pipelines.data.loading import corpus_config, run_config, training_documents
from pipelines.errors import ConfigError
from pipelines.run import say
from pipelines.suites.entries import Entry
from pipelines.suites.forms import COPA_QUESTIONS


def search_corpus(config: Any, entries: list[Entry]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Looks for the rows of all entries in the training text of the model, in one pass over it.

    Args:
        config: of recipes/evaluate_glue.py: evaluation.corpus, or else model.name if that is a run folder. The runs
            that such a run went on from are searched too.
        entries: those with a split to score.

    Returns:
        The run folders searched (none: the corpus is not known), and for each entry what `find_contaminated` counts,
        with `clean_rows`, the indices of the rows of which nothing was found, those too short to tell among them.

    Raises:
        ConfigError: evaluation.corpus is no pretraining run.
        DataError: a corpus has changed since its run.
    """
    runs = check_corpus(config)
    if not runs:
        return [], {}
    say(f"Searching the training text of {', '.join(map(str, runs))} for the scored rows")
    scored = [entry for entry in entries if entry.split is not None]
    rows = [entry.rows.as_list for entry in scored]
    texts = [_texts(row) for part in rows for row in part]
    found = find_contaminated(texts, (batch for run in runs for batch in training_documents(run) or ()), samples=0)
    told: dict[str, dict[str, Any]] = {}
    start = 0
    for entry, part in zip(scored, rows, strict=True):
        mine = slice(start, start + len(part))
        start += len(part)
        contaminated, too_short = found.contaminated_R[mine], found.too_short_R[mine]
        searched = int((~too_short).sum())
        told[entry.name] = {
            "rows_contaminated": int(contaminated.sum()),
            "rows_too_short": int(too_short.sum()),
            "share": float(contaminated.sum() / searched) if searched else None,
            "gram_words": found.gram_words,
            "clean_rows": (~contaminated).nonzero()[0].tolist(),
        }
    return [str(run) for run in runs], told


def check_corpus(config: Any) -> list[Path]:
    """The run folders to search. Raises ConfigError if evaluation.corpus is none."""
    evaluation = config.evaluation
    runs = list(_runs(evaluation.corpus or config.model.name))
    if evaluation.corpus is not None and not runs:
        raise ConfigError(
            f"evaluation.corpus is {evaluation.corpus!r}, which is no run folder of a pretraining recipe: expected one "
            "with a config.yaml that names its documents."
        )
    return runs


def _texts(row: Row) -> list[str]:
    """The texts of a row one by one, apart from the questions that a form adds; signs that it adds are no words."""
    published = [row["text"], row.get("answer") or row.get("text_pair"), row.get("query")]
    question = row.get("question")
    published += [question] if question not in COPA_QUESTIONS.values() else []
    published += row["choices"] if "query" not in row and row.get("choices") else []
    return [text for text in published if isinstance(text, str)]


def _runs(name: str | None) -> Iterator[Path]:
    """The pretraining runs behind a model: its own folder, and those of the models that it went on from."""
    seen: set[Path] = set()
    while name is not None:
        folder = Path(name).expanduser()
        if folder.name == "model" and (folder.parent / "config.yaml").is_file():
            folder = folder.parent
        if not (folder / "config.yaml").is_file() or folder.resolve() in seen:
            return
        seen.add(folder.resolve())
        if corpus_config(folder) is not None:
            yield folder
        model = run_config(folder).get("model")
        name = model.get("name") if isinstance(model, dict) else None
