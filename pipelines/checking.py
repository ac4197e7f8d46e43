"""`--check`: a recipe runs up to its first step, and what is wrong is noted on the way instead of ending it.

What a run would do is not written a second time: the recipe's own steps are the check. They end with an error where
nothing can be known beyond it, `refuse` it where the rest can still be looked at, and `attempt` what the rest does not
need. Outside of a check these do nothing but raise.
"""

import json
import os
import shutil
import tempfile
import textwrap
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from pipelines.errors import ConfigError, PlumblineError

Level = Literal["error", "warning", "ok"]
CHECK = {"--check", "--check=true"}  # how it is asked for
CACHE = "PLUMBLINE_CACHE"  # names the cache folder, see data/builders.py
LEVELS: tuple[Level, ...] = ("error", "warning", "ok")
T = TypeVar("T")


@dataclass
class PreflightConfig:
    """preflight: settings of --check (docs/preflight.md). They are no part of the run."""

    json: str | None = None
    """Also write what is found, and all figures, to this file."""
    sample_megabytes: float = 12.0
    """Read at most so much of the training files, of other splits a quarter of it."""
    device: str | None = None
    """Estimate memory, time and cost for this accelerator, such as h100-80gb, by formula. A model from scratch is then
    built without weights: it need not fit here, and what takes weights is left out."""
    processes: int | list[int] = 1
    """Accelerators of that estimate; for several numbers a list, such as '[1, 8, 64]'."""
    parallelism: Literal["ddp", "zero1", "zero2", "zero3", "fsdp2"] = "ddp"
    """How that estimate divides the training state among them."""
    price_per_device_hour: float | None = None
    """Price of an hour of one process, here or on that accelerator, in any currency, for the cost of the run."""


@dataclass
class CheckConfig:
    """The sections that every recipe has for its check."""

    preflight: PreflightConfig = field(default_factory=PreflightConfig)


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        level: error: the run would fail or be wrong; warning: look at it; ok: what was looked at, with its figures.
        topic: what it is about, a word or two.
        told: the message.
    """

    level: Level
    topic: str
    told: str


@dataclass
class Check:
    """A check under way.

    Attributes:
        settings: the section preflight.
        findings: so far.
        figures: name -> value, for the JSON file.
        share: of the training data that was read; below 1 for a sample.
        is_sample: some split was not read whole.
        plan, arguments: of the run (`training.plan.Plan`, `transformers.TrainingArguments`), once they are known.
    """

    settings: PreflightConfig = field(default_factory=PreflightConfig)
    findings: list[Finding] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    share: float = 1.0
    is_sample: bool = False
    plan: Any = None
    arguments: Any = None
    _scratch: tempfile.TemporaryDirectory[str] | None = None
    _cache: str | None = None

    def scratch(self) -> Path:
        """A folder that is gone when the check ends; what is cached from now on goes there, too."""
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="plumbline-check-")
            self._cache = os.environ.get(CACHE)
            os.environ[CACHE] = self._scratch.name
        return Path(self._scratch.name)

    def clean_up(self) -> None:
        """Deletes the scratch folder."""
        if self._scratch is not None:
            self._scratch.cleanup()
            del os.environ[CACHE]
            if self._cache is not None:
                os.environ[CACHE] = self._cache

    def note(self, level: Level, topic: str, told: str) -> None:
        """Adds a finding, unless it is there already."""
        finding = Finding(level, topic, " ".join(told.split()))
        if finding not in self.findings:
            self.findings.append(finding)

    def error(self, error: PlumblineError) -> None:
        """Adds what would have ended the run."""
        self.note("error", type(error).__name__.removesuffix("Error").lower(), str(error))

    @property
    def failed(self) -> bool:
        """Whether the run would fail or be wrong."""
        return any(one.level == "error" for one in self.findings)

    def table(self) -> str:
        """The findings, worst first, for a terminal."""
        width = min(max(shutil.get_terminal_size((120, 24)).columns, 60), 160)
        topics = max((len(one.topic) for one in self.findings), default=0)
        counts = Counter(one.level for one in self.findings)
        lines = [f"{counted(counts['error'], 'error')}, {counted(counts['warning'], 'warning')}, {counts['ok']} ok"]
        for level in LEVELS:
            for one in (one for one in self.findings if one.level == level):
                start = f"{level:<7}  {one.topic:<{topics}}  "
                lines += textwrap.wrap(
                    one.told,
                    width,
                    initial_indent=start,
                    subsequent_indent=" " * len(start),
                    break_on_hyphens=False,
                    break_long_words=False,
                )
        return "\n".join(lines)

    def json_path(self) -> Path | None:
        """The file that is asked for. Raises ConfigError if it cannot be written."""
        if self.settings.json is None:
            return None
        path = Path(self.settings.json).expanduser()
        if path.is_dir() or not os.access(path.absolute().parent, os.W_OK | os.X_OK):
            told = f"preflight.json is {self.settings.json!r}, where no file can be written."
            raise ConfigError(f"{told} Name one in a folder that is there.")
        return path

    def write_json(self, recipe: str) -> None:
        """Writes the file that is asked for, if one is."""
        path = self.json_path()
        if path is None:
            return
        content = {
            "recipe": Path(recipe).stem,
            "failed": self.failed,
            "share_of_training_data_read": self.share,
            "findings": [asdict(one) for one in self.findings],
            "figures": self.figures,
        }
        aside = path.with_name(f".{path.name}")
        text = json.dumps(content, indent=2, ensure_ascii=False, default=lambda number: number.item())
        aside.write_text(text + "\n", encoding="utf-8")
        aside.replace(path)


def counted(number: int, what: str) -> str:
    """A number and what it counts, such as `1 step` and `2,000 steps`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


class Checked(Exception):
    """The end of a check: what follows would write or train."""


_current: Check | None = None


def checking() -> Check | None:
    """The check under way, or None in a run."""
    return _current


def begin_check() -> Check:
    """Makes this process one that checks."""
    global _current
    _current = Check()
    return _current


def end_check() -> None:
    """Called where a run begins to write or to compute: nothing in a run, the end of a check."""
    if _current is not None:
        raise Checked


def leave_check() -> None:
    """Makes this process one that runs again."""
    global _current
    if _current is not None:
        _current.clean_up()
    _current = None


def refuse(error: PlumblineError) -> None:
    """Raises an error that the rest does not depend on; in a check it is noted, and the caller goes on without."""
    if _current is None:
        raise error
    _current.error(error)


def attempt(work: Callable[..., T], *arguments: Any, otherwise: T) -> T:
    """Does what the rest does not depend on: in a check an error of it is noted, and `otherwise` returned."""
    if _current is None:
        return work(*arguments)
    try:
        return work(*arguments)
    except PlumblineError as error:
        _current.error(error)
        return otherwise
