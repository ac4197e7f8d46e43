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


def load_metric(name: str, config_name: str | None = None) -> "evaluate.Metric":
    """`evaluate.load` of a metric of this folder: no network, and rows kept in memory, so that no processes collide.

    Args:
        name: of the metric.
        config_name: the task, for `glue` and `super_glue`, which have one for each.

    Raises:
        ConfigError: there is no such metric, or it has no such config.
    """
    names = metric_names()
    if name not in names:
        raise ConfigError(f"There is no metric {name!r}.{did_you_mean(name, names)} Metrics: {', '.join(names)}.")
    import evaluate

    metric = evaluate.load(str(FOLDER / name), config_name, keep_in_memory=True)
    if config_name is not None and not hasattr(metric, "CONFIGS"):  # evaluate would pass over it
        raise ConfigError(f"The metric {name} has no configs; config_name is {config_name!r}.")
    return metric
