"""The run folder: found or made, locked, compared with the run it holds, and written so that a crash tears nothing."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from pipelines.checking import end_check
from pipelines.config import config_to_dict, config_to_yaml, without_flags
from pipelines.config_rules import flatten
from pipelines.errors import CheckpointError, ConfigError
from pipelines.run import Interrupted, is_first_process, say

# Keys that may change when a run goes on: they change speed, memory or what is written, not what is learned.
# The batch is compared as a whole (rows per step), by take_run_folder; so may most of `evaluation`.
RESUMABLE_KEYS = {
    "prepare.engine",
    "prepare.workers",
    "proof.enabled",
    "run.threads",
    "run.measure_energy",
    "run.country_iso_code",
    "training.max_steps",
    "training.num_train_epochs",
    "training.per_device_train_batch_size",
    "training.per_device_eval_batch_size",
    "training.gradient_accumulation_steps",
    "training.activation_checkpointing",
    "training.logging_steps",
    "training.eval_strategy",
    "training.eval_steps",
    "training.save_steps",
    "training.save_total_limit",
    "training.report_to",
    "training.run_name",
    "training.dataloader_num_workers",
    "training.max_loss_spike",
    "sweep.trials",
    "sweep.engine",
    "sweep.workers",
    "sweep.timeout_minutes",
    "sweep.test",
}
# Those of them that a finished result depends on all the same.
DECIDING_KEYS = {f"training.{name}" for name in ("max_steps", "num_train_epochs", "eval_strategy", "eval_steps")}
# Keys of `evaluation` that decide what is trained.
FIXED_EVALUATION_KEYS = {f"evaluation.{name}" for name in ("suite", "method", "warm_start", "num_fewshot")}
# How the names of the figures end that a run prints.
RESULTS = (
    *("bits_per_byte", "_loss", "_mfu", "_per_second", "_spearman", "_accuracy"),
    *("eval_f1", "_f1_micro", "_rougeL", "_chrf", "_exact_match", "_spearmanr"),
    *("_bytes_per_token", "_unknown_rate", "_round_trip_rate", "_score", "_average", "_average_partial"),
    *("rows_read", "rows_kept", "_kept_share"),
)


class RunFolder:
    """A run folder that this process holds the lock of; `recipe` is the name of the script that writes it."""

    def __init__(self, path: Path, recipe: str | None = None) -> None:
        self.path = path
        self.recipe = recipe
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"
        self._lock: int | None = None

    @property
    def finished(self) -> bool:
        """metrics.json is the last file a run writes; a damaged one counts as none, and is made again."""
        try:
            return isinstance(self.read_json("metrics.json"), dict)
        except CheckpointError:
            return False

    def read_json(self, name: str, *keys: str) -> Any:
        """Content of a JSON file of the folder, which must be a map with the given keys if any are given.

        Raises:
            CheckpointError: it cannot be read, or lacks a key.
        """
        try:
            content = json.loads((self.path / name).read_text(encoding="utf-8"))
            missing = [key for key in keys if key not in content]
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"{self.path / name} cannot be read: {error}. "
                "Train anew: the command of the run with --run.overwrite true."
            ) from None
        if missing:
            raise CheckpointError(
                f"{self.path / name} has no {missing[0]!r}: another version of Plumbline wrote it, or it was changed. "
                "Train anew: the command of the run with --run.overwrite true."
            )
        return content

    def write_json(self, name: str, content: Any) -> None:
        """Writes a JSON file that is complete or absent. Figures that are not finite are refused (ValueError)."""
        self.write_text(name, json_text(content))

    def write_text(self, name: str, text: str) -> None:
        """Writes a file aside, syncs it, and renames it into its place."""
        aside = self.path / f".{name}"
        with aside.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(aside, self.path / name)

    def append_metrics(self, event: dict[str, Any]) -> None:
        """Adds one line to metrics.jsonl."""
        self._append("metrics.jsonl", event)

    def append_step(self, step: dict[str, Any]) -> None:
        """Adds the line of one optimizer step to steps.jsonl: numbers that read back bit for bit."""
        self._append("steps.jsonl", step)

    def metrics_log(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a last line torn by a crash is left out."""
        return self._lines("metrics.jsonl")

    def steps_log(self) -> list[dict[str, Any]]:
        """The lines of steps.jsonl, as metrics_log."""
        return self._lines("steps.jsonl")

    def _append(self, name: str, line: dict[str, Any]) -> None:
        with (self.path / name).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def _lines(self, name: str) -> list[dict[str, Any]]:
        path = self.path / name
        events = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
            try:
                events.append(json.loads(line))
            except ValueError:
                break
        return events

    def rewind_metrics(self, step: int, last_step: int) -> None:
        """Drops what will be logged again: steps and events after `step`, and the evaluation of the last step."""
        events = [
            event
            for event in self.metrics_log()
            if event["step"] <= step and not (event["step"] == last_step and "eval_loss" in event)
        ]
        self.write_text("metrics.jsonl", "".join(json.dumps(event) + "\n" for event in events))
        steps = [one for one in self.steps_log() if one["step"] <= step]
        self.write_text("steps.jsonl", "".join(json.dumps(one) + "\n" for one in steps))

    @contextmanager
    def new_model(self) -> Iterator[Path]:
        """An empty folder to write a model to, which becomes model/ at the end, unless an error says it must not."""
        aside = self.path / ".model"
        shutil.rmtree(aside, ignore_errors=True)
        yield aside
        shutil.rmtree(self.model, ignore_errors=True)
        os.replace(aside, self.model)

    def unlock(self) -> None:
        """Lets go of the folder; the end of the process does so too."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def clear(self) -> None:
        """Deletes all that is in the folder."""
        for path in self.path.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != ".lock":
                path.unlink()

    def lock(self) -> None:
        """Holds the folder for this process until `unlock`, or until it ends.

        Raises:
            ConfigError: another process holds it.
        """
        self._lock = os.open(self.path / ".lock", os.O_CREAT | os.O_WRONLY, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.unlock()
            raise ConfigError(
                f"Another process is running in {self.path}. Wait for it, or name another folder with --run.dir."
            ) from None


def json_text(content: Any) -> str:
    """JSON as run folders hold it. Figures that are not finite are refused (ValueError)."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def find_run_folder(config: Any, recipe: str) -> RunFolder:
    """The run folder of a config, checked but not made: a run that fails its checks leaves nothing behind.

    Raises:
        ConfigError: the folder cannot be written, or holds something else, or a run of another config.
    """
    if config.run.dir is not None:
        path = Path(config.run.dir).expanduser()
    else:
        path = Path("runs") / Path(recipe).stem / run_name(config, recipe)
    existing = nearest_existing(path)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        what = "is a file" if not existing.is_dir() else "cannot be written to"
        raise ConfigError(f"The run folder {path} cannot be made: {existing} {what}. Name another with --run.dir.")
    folder = RunFolder(path, Path(recipe).stem)
    if not path.exists() or all(entry.name == ".lock" for entry in path.iterdir()):
        return folder
    saved = path / "config.yaml"
    if not saved.is_file():  # also with run.overwrite, which deletes runs and nothing else
        raise ConfigError(
            f"{path} is not empty and holds no config.yaml: it is no run folder. Name another with --run.dir."
        )
    if not config.run.overwrite:
        refuse_other_config(config, saved)
    return folder


def nearest_existing(path: Path) -> Path:
    """The path itself, or the innermost folder around it that is there."""
    return next(parent for parent in [path, *path.absolute().parents] if parent.exists())


def finished_run_folder(path: str | None) -> RunFolder:
    """The folder of a finished run.

    Raises:
        ConfigError: it is none.
        CheckpointError: the run is not finished.
    """
    if path is None:
        raise ConfigError("No run: give its folder as the first argument, such as runs/pretrain_clm/default.")
    folder = RunFolder(Path(path).expanduser())
    if not (folder.path / "config.yaml").is_file():
        what = "holds no config.yaml" if folder.path.is_dir() else "is no folder"
        raise ConfigError(f"{folder.path} {what}: it is no run folder. Give the one that the recipe named.")
    if not folder.finished:
        raise CheckpointError(
            f"The run in {folder.path} is not finished: it has no metrics.json. Run its command again, and it goes on."
        )
    return folder


def run_name(config: Any, recipe: str, argv: list[str] | None = None) -> str:
    """Name of the config file (or `default`), with a hash of what the flags change in it, if that makes another run.

    So the same command always finds its own folder, and one with other flags does not meet it there.
    """
    name, plain = without_flags(config, recipe, argv)
    before, now = (dict(flatten(config_to_dict(one))) for one in (plain, config))
    changed = {key: now.get(key) for key in before.keys() | now.keys() if before.get(key) != now.get(key)}
    changed = {key: value for key, value in changed.items() if not _may_change(key)}
    digest = hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:6]
    return f"{name}-{digest}" if changed else name


def refuse_other_config(config: Any, saved: Path, finished: bool = False) -> None:
    """Compares a config with the one a run folder was made with.

    Raises:
        ConfigError: a key differs that must not.
    """
    before = dict(flatten(_read_config(saved)))
    now = dict(flatten(config_to_dict(config)))
    changed = sorted(
        key
        for key in before.keys() | now.keys()
        if (not _may_change(key) or (finished and key in DECIDING_KEYS)) and before.get(key) != now.get(key)
    )
    if changed:
        lines = "; ".join(f"{key}: {before.get(key)!r} there, {now.get(key)!r} now" for key in changed)
        raise ConfigError(
            f"{saved.parent} holds a run of another config ({lines}). Go on with the same config, name another "
            "folder with --run.dir, or start anew with --run.overwrite true."
        )


def _may_change(key: str) -> bool:
    return key in RESUMABLE_KEYS or (key.startswith("evaluation.") and key not in FIXED_EVALUATION_KEYS)


def _read_config(saved: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(saved.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{saved} cannot be read: {reason}. Start anew with --run.overwrite true.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{saved} holds no config. Start anew with --run.overwrite true.")
    return values


def _local_models(config: Any) -> list[str]:
    """The checkpoints of a config that are folders, which cannot be told from their names elsewhere."""
    model = getattr(config, "model", None)
    names = [getattr(model, key, None) for key in ("name", "decoder_name")]
    return [name for name in names if name is not None and Path(name).expanduser().is_dir()]


@contextmanager
def without_checkpoints(folder: RunFolder) -> Iterator[None]:
    """Around a run that cannot go on: tells an interruption for what it is, and lets go of the folder at the end."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            "Interrupted. This recipe keeps no checkpoints: it starts again from the beginning."
        ) from None
    finally:
        folder.unlock()


def report_if_finished(folder: RunFolder, config: Any) -> bool:
    """Whether the folder holds this run, finished, with nothing more asked for; if so, prints its result."""
    if config.run.overwrite or not folder.finished:
        return False
    before, now = (
        dict(flatten(values)) for values in (_read_config(folder.path / "config.yaml"), config_to_dict(config))
    )
    asked = ("training.max_steps", "training.num_train_epochs", "evaluation.")
    if any(before.get(key) != value for key, value in now.items() if key.startswith(asked)):
        return False
    say(f"This run is finished. To train anew: --run.overwrite true, or another --run.dir. {folder.path}")
    print_result(folder, folder.read_json("metrics.json"))
    return True


def print_result(folder: RunFolder, metrics: dict[str, float]) -> None:
    """The figures that matter, on standard output of the first process."""
    if is_first_process():
        for name, value in metrics.items():
            if name.endswith(RESULTS):
                print(f"{name:<44} {value:,.4f}")
        if folder.model.is_dir():
            print(f"model  {folder.model}")
        print(f"report {folder.path / 'report.html'}")


def claim_run_folder(folder: RunFolder, clear: bool) -> None:
    """Makes and locks the folder; `clear` then deletes what is in it, for a run that cannot go on. A check ends here.

    Raises:
        ConfigError: another process holds it, or it cannot be written.
    """
    end_check()
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.lock()
        if clear:
            folder.clear()
    except OSError as error:
        raise ConfigError(
            f"The run folder {folder.path} cannot be written: {error.strerror}. Name another with --run.dir."
        ) from None


def take_run_folder(folder: RunFolder, config: Any, plan: dict[str, Any], data: dict[str, Any]) -> None:
    """Makes and locks the folder, and compares it with the run it may hold, before anything in it is changed.

    Args:
        folder: as found.
        config: the resolved config.
        plan: content of plan.json.
        data: content hashes of what the run learns from.

    Raises:
        ConfigError: another process holds it; rows of a step or data differ from the run's; fewer steps than it had.
    """
    claim_run_folder(folder, clear=config.run.overwrite)
    try:
        folder.checkpoints.mkdir(exist_ok=True)
        shutil.rmtree(folder.checkpoints / ".incomplete", ignore_errors=True)
    except OSError as error:
        raise ConfigError(
            f"The run folder {folder.path} cannot be written: {error.strerror}. Name another with --run.dir."
        ) from None
    compare_with_run(folder, plan, data)


def compare_with_run(folder: RunFolder, plan: dict[str, Any], data: dict[str, Any] | None) -> None:
    """Compares a run with the one that its folder may hold; `data` as for `take_run_folder`, None: not known.

    Raises:
        ConfigError: as `take_run_folder`.
    """
    if (folder.path / "plan.json").is_file():
        before = folder.read_json("plan.json", "rows_per_step", "steps")
        if before["rows_per_step"] != plan["rows_per_step"]:
            raise ConfigError(
                f"A step of the run in {folder.path} has {before['rows_per_step']} rows, now it would have "
                f"{plan['rows_per_step']}: processes x per_device_train_batch_size x gradient_accumulation_steps must "
                "stay equal."
            )
        if plan["steps"] < before["steps"]:
            raise ConfigError(
                f"The run in {folder.path} was planned for {before['steps']} steps, now for {plan['steps']}: steps may "
                "only grow, since the learning rates so far belong to the longer schedule. Set --training.max_steps "
                f"{before['steps']} or more, or start anew with --run.overwrite true."
            )
    is_other = (folder.path / "environment.json").is_file() and data is not None
    if is_other and folder.read_json("environment.json", "data")["data"] != data:
        raise ConfigError(
            f"The data or tokenizer of the run in {folder.path} has changed since it was started. Restore it, name "
            "another folder with --run.dir, or start anew with --run.overwrite true."
        )


def write_run_files(folder: RunFolder, config: Any, **files: dict[str, Any]) -> None:
    """Writes config.yaml and the named JSON files; from here on the run is an unfinished one.

    Raises:
        ConfigError: the folder cannot be written.
    """
    try:
        (folder.path / "metrics.json").unlink(missing_ok=True)
        folder.write_text("config.yaml", config_to_yaml(config))
        for name, content in files.items():
            of_run = {"recipe": folder.recipe, "local_models": _local_models(config)} if name == "environment" else {}
            folder.write_json(f"{name}.json", of_run | content)
    except OSError as error:
        raise ConfigError(
            f"The run folder {folder.path} cannot be written: {error.strerror}. Name another with --run.dir."
        ) from None
