"""A preparation before its first step: settings checked, source and evaluation sets opened, run folder taken."""

import importlib.util
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipelines.checking import Check, attempt, checking
from pipelines.data.decontamination import EvaluationLookup, EvaluationTexts, read_evaluation_texts
from pipelines.data.loading import text_readers
from pipelines.data.sampling import sample
from pipelines.data.sources import Source, open_source
from pipelines.environment import environment
from pipelines.errors import ConfigError, DataError
from pipelines.preparation import quality
from pipelines.preparation.chunks import cut_into_chunks
from pipelines.preparation.cleaning import CleaningSettings, begin_cleaning, clean_rows
from pipelines.preparation.data_card import check_card
from pipelines.preparation.language import check_language
from pipelines.preparation.minhash import check_near_duplicates
from pipelines.preparation.ray_workers import RayWorkers
from pipelines.preparation.scrubbing import begin_scrubbing
from pipelines.preparation.shards import begin_writing
from pipelines.preparation.workers import Steps, Workers, default_workers
from pipelines.ray_cluster import join_cluster, require_ray
from pipelines.run import Interrupted, is_first_process, say
from pipelines.run_folder import RunFolder, claim_run_folder, find_run_folder, report_if_finished, write_run_files

MEGABYTE = 1_000_000
WORK = "work"
CHECKED_BYTES = 2 * MEGABYTE  # of the source that a check cleans
LIBRARIES = {"normalisation": "ftfy", "language": "py3langid"}


@dataclass
class PreparationRun:
    """A run under way. As a context it holds the folder, and tells an interruption for what it is."""

    folder: RunFolder
    config: Any
    source: Source
    evaluation: list[EvaluationTexts]
    lookup: EvaluationLookup | None
    """Of the evaluation sets, if there are any."""
    workers: Workers | RayWorkers
    started: float = field(default_factory=time.monotonic)
    resumed: bool = False

    @property
    def work(self) -> Path:
        """Folder of what is kept until the end."""
        return self.folder.path / WORK

    @property
    def corpus(self) -> Path:
        """Folder of the shards and their data card."""
        return self.folder.path / "corpus"

    def parts(self, step: str) -> list[Path]:
        """The files that a step left, in the order of the source."""
        return sorted((self.work / step).glob("*.arrow"))

    def __enter__(self) -> "PreparationRun":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.workers.end()
        self.folder.unlock()
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            done = len(self.parts("cleaned")) + len(self.parts("scrubbed"))
            raise Interrupted(f"Interrupted. {done:,} finished work items are kept in {self.work}.") from None


def open_run(config: Any, recipe: str) -> PreparationRun | None:
    """Checks the settings, opens the source and the evaluation sets, and takes the run folder. A check ends here.

    Returns:
        The run; None if it is finished (its result is told), or this is not the first process.

    Raises:
        ConfigError, CardError, DataError, HubError: a setting is wrong, or something cannot be read.
    """
    if not is_first_process():
        return None
    folder = attempt(find_run_folder, config, recipe, otherwise=RunFolder(Path("runs"), Path(recipe).stem))
    check = checking()
    if check is None and report_if_finished(folder, config):
        shutil.rmtree(folder.path / WORK, ignore_errors=True)  # left if the run was stopped in its last moment
        say(f"corpus {folder.path / 'corpus'}: read it with --data.card {folder.path / 'corpus'}")
        return None
    sound = [attempt(_sound, part, config, otherwise=False) for part in _CHECKS]
    source = open_source(config.data, ["text"])
    if "train" not in source.splits:
        raise DataError(
            f"{source.name} has no split train, which is the one that is prepared; it has: {', '.join(source.splits)}. "
            "Give the files themselves with --data.files.train, or name another source."
        )
    names = config.decontamination.evaluation_sets or []
    key = "decontamination.evaluation_sets"
    evaluation = attempt(read_evaluation_texts, names, key, otherwise=list[EvaluationTexts]())
    if check is not None and all(sound):
        _look(source, config, check)
    lookup = EvaluationLookup(evaluation) if evaluation else None
    settings = (config.personal_data, lookup, config.prepare.samples)
    work: Steps = {
        "clean": (begin_cleaning, (_cleaning(config),)),
        "scrub": (begin_scrubbing, settings),
        "write": (begin_writing, ()),
    }
    workers: Workers | RayWorkers
    if config.prepare.engine == "ray":
        folder = RunFolder(folder.path.absolute(), folder.recipe)  # as the other nodes find it
        workers = RayWorkers(work, config.prepare.workers, folder.path)
    else:
        workers = Workers(work, config.prepare.workers or default_workers())
    run = PreparationRun(folder, config, source, evaluation, lookup, workers)
    if next(texts_of(run), None) is None:  # a column that is not there is told, too, before anything is written
        raise _no_rows(source)
    if config.prepare.engine == "ray" and check is None:
        join_cluster()  # before anything is written
    _take(run)
    return run


def _libraries(config: Any) -> None:
    for section, library in LIBRARIES.items():
        if getattr(config, section).enabled and importlib.util.find_spec(library) is None:
            raise ConfigError(
                f"{section} needs {library}, which is not installed. Run: pip install -c requirements.lock -e "
                f"'.[preparation]', or set --{section}.enabled false."
            )


def _sizes(config: Any) -> None:
    for name, least in (("workers", 1), ("chunk_megabytes", 0.001), ("shard_megabytes", 0.001), ("samples", 0)):
        value = getattr(config.prepare, name)
        if value is not None and not value >= least:
            raise ConfigError(f"prepare.{name} is {value:g}; expected {least:g} or more.")
    if config.prepare.chunk_megabytes > 1_000:
        raise ConfigError(
            f"prepare.chunk_megabytes is {config.prepare.chunk_megabytes:g}; expected at most 1000, since each process "
            "holds one chunk several times."
        )


_CHECKS = {
    "prepare": _sizes,
    "engine": lambda config: require_ray("prepare.engine") if config.prepare.engine == "ray" else None,
    "libraries": _libraries,
    "language": lambda config: check_language(config.language) if config.language.enabled else None,
    "quality": lambda config: quality.check_quality(config.quality),
    "near_duplicates": lambda config: check_near_duplicates(config.near_duplicates),
    "card": lambda config: check_card(config.card),
}


def _sound(part: str, config: Any) -> bool:
    _CHECKS[part](config)
    return True


def texts_of(run: PreparationRun) -> Iterator[tuple[str, Any]]:
    """The training split of the source: (file as rows name it, Arrow array of texts), in order."""
    data = run.config.data
    names = names_in_rows(run.source.shown["train"])
    for file, array in text_readers(run.source, data.columns, data.sample_by)["train"]():
        yield names.get(file, file), array


def names_in_rows(files: Sequence[str]) -> dict[str, str]:
    """What source_file calls each file: a relative path or URL as it is, since it was stated so; of an absolute path,
    which may lead through somebody's home folder, the shortest end that no other file has.
    """
    names = {}
    for file in files:
        parts = Path(file).parts
        ends = ["/".join(parts[-count:]) for count in range(1, len(parts))]
        others = [f"/{other}" for other in files if other != file]
        alone = (end for end in ends if not any(other.endswith(f"/{end}") for other in others))
        names[file] = next(alone, file) if Path(file).is_absolute() else file
    return names


def _no_rows(source: Source) -> DataError:
    return DataError(f"The training split of {source.name} has no rows. Expected at least one document.")


def _look(source: Source, config: Any, check: Check) -> None:
    """Notes what becomes of the beginning of the source."""
    source = sample(source, check)
    arrays = text_readers(source, config.data.columns, config.data.sample_by)["train"]()
    chunk = next(cut_into_chunks(arrays, min(CHECKED_BYTES, int(config.prepare.chunk_megabytes * MEGABYTE))), None)
    if chunk is None:
        raise _no_rows(source)
    rows, account = clean_rows(chunk.table, _cleaning(config))
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in account.rows_dropped.most_common()) or "none"
    told = f"Of the first {account.counts['rows_read']:,} rows {len(rows):,} pass the rules; dropped: {dropped}."
    check.note("ok" if rows else "warning", "data", f"{told} Duplicates and evaluation sets were not looked at.")
    check.figures["rules"] = account.as_dict() | {"samples": {}}


def _cleaning(config: Any) -> CleaningSettings:
    return CleaningSettings(
        config.normalisation,
        config.language,
        config.quality,
        config.exact_duplicates,
        config.near_duplicates,
        config.prepare.samples,
    )


def _take(run: PreparationRun) -> None:
    """Takes the folder, new or with what an interrupted run left. A check ends here."""
    import xxhash

    folder = run.folder
    claim_run_folder(folder, clear=run.config.run.overwrite)
    rows = json.dumps([[one.name, one.rows] for one in run.evaluation], ensure_ascii=False)
    data = {
        "files": run.source.shown["train"],
        "libraries": {
            library: version(library) for section, library in LIBRARIES.items() if getattr(run.config, section).enabled
        },
        "evaluation_sets": xxhash.xxh3_128_hexdigest(rows.encode("utf-8", "surrogatepass")),
    }
    run.resumed = run.work.is_dir()
    if run.resumed:
        before = folder.read_json("environment.json", "data")["data"]
        if before != data:
            folder.unlock()
            raise ConfigError(
                f"Files, libraries or evaluation sets of the run in {folder.path} have changed since it was started. "
                "Restore them, name another folder with --run.dir, or start anew with --run.overwrite true."
            )
        done = len(run.parts("cleaned")) + len(run.parts("scrubbed"))
        say(f"Going on with the run in {folder.path}: {done:,} work items are done.")
    else:
        shutil.rmtree(run.corpus, ignore_errors=True)
        write_run_files(folder, run.config, environment=environment(data))
    for path in (run.work / "cleaned", run.work / "scrubbed", run.corpus):
        path.mkdir(parents=True, exist_ok=True)
    others = [split for split in run.source.splits if split != "train"]
    if others:
        say(f"The splits {', '.join(others)} of {run.source.name} are left as they are: only train is prepared.")
