"""The metrics of this folder, loaded through `evaluate`, which has none of its own without a network."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import evaluate

FOLDER = Path(__file__).parent


def metric_names() -> list[str]:
    """All metrics by name, sorted."""
    return sorted(path.name for path in FOLDER.iterdir() if (path / f"{path.name}.py").is_file())


def load_metric(name: str) -> "evaluate.Metric":
    """`evaluate.load` of a metric of this folder: no network, and rows kept in memory, so that no processes collide.

    Raises:
        ConfigError: there is no such metric.
    """
    names = metric_names()
    if name not in names:
        raise ConfigError(f"There is no metric {name!r}.{did_you_mean(name, names)} Metrics: {', '.join(names)}.")
    import evaluate

    return evaluate.load(str(FOLDER / name), keep_in_memory=True)
