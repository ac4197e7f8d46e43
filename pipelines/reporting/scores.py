"""The held-out scores of a run beside its baselines, as a sentence and as tables."""

import math
from typing import Any

from pipelines.reporting.words import NO_BREAK, label_of, number, quantity

# The first that a run has is its verdict.
HEADLINES = (
    *("bits_per_byte", "hidden_accuracy", "accuracy", "f1", "spearman", "retrieval_accuracy", "loss"),
    *("bytes_per_token", "wordsim353_spearman", "f1_micro", "spearmanr", "rougeL", "chrf"),
)
LOWER_IS_BETTER = (
    *("loss", "perplexity", "bits_per_byte", "bits_per_token", "hidden_loss", "pseudo_perplexity", "mse"),
    *("expected_calibration_error", "tokens_per_word", "unknown_rate", "unknown_character_rate"),
)
COUNTS = ("tokens", "bytes", "rows", "seconds")
COUNT_LABELS = {
    "tokens": "Tokens scored",
    "bytes": "Bytes they stand for",
    "rows": "Rows scored",
    "seconds": "Time to score",
}
INTERVAL = ("_ci_low", "_ci_high")
EQUAL_TO_COMPARE = ("tokens", "bytes", "round_trip_rate")  # figures without which a comparison means nothing


def baselines_of(metrics: dict[str, float]) -> dict[str, dict[str, float]]:
    """Baseline -> metric -> figure, from the names baseline_<name>_<metric> that stand beside an eval_<metric>."""
    known = sorted((name.removeprefix("eval_") for name in metrics if name.startswith("eval_")), key=len, reverse=True)
    found: dict[str, dict[str, float]] = {}
    for key, value in metrics.items():
        metric = next((name for name in known if key.startswith("baseline_") and key.endswith(f"_{name}")), None)
        if metric is not None:
            found.setdefault(key.removeprefix("baseline_").removesuffix(f"_{metric}"), {})[metric] = value
    return found


def unit_of(metric: str, metrics: dict[str, float]) -> str:
    """Unit of a metric, or an empty string."""
    loss = "nats per token" if "eval_tokens" in metrics else "" if "eval_mse" in metrics else "nats"
    return {"loss": loss, "bits_per_byte": "bits per byte", "bytes_per_token": "bytes per token"}.get(metric, "")


def verdict(metrics: dict[str, float]) -> tuple[str, str]:
    """One sentence on the held-out score, beside the best baseline that was scored on as many tokens and bytes.

    A tokenizer is set beside those that bring back as many documents.

    Returns:
        The sentence, and better, worse or plain.
    """
    metric = next((name for name in HEADLINES if f"eval_{name}" in metrics), None)
    if metric is None and "rows_kept" in metrics:
        kept, read = (quantity(metrics[f"bytes_{name}"], "text_bytes") for name in ("kept", "read"))
        rows = f"{number(metrics['rows_kept'])} of {number(metrics['rows_read'])} rows"
        return f"{rows} kept ({100 * metrics['rows_kept_share']:.1f} %), {kept} of {read}.", "plain"
    if metric is None:
        return "This run has no held-out score that one sentence could tell.", "plain"
    value, lower = metrics[f"eval_{metric}"], metric in LOWER_IS_BETTER
    if not math.isfinite(value):
        return "The held-out score is not a finite number: this run has no valid result.", "worse"
    rivals = {
        figures[metric]: name
        for name, figures in baselines_of(metrics).items()
        if math.isfinite(figures.get(metric, math.nan))
        and all(figures[same] == metrics[f"eval_{same}"] for same in EQUAL_TO_COMPARE if same in figures)
    }
    held_out = "held-out text" if metric == "bits_per_byte" else "held-out data"
    score = f"{unit_of(metric, metrics) or metric.replace('f1', 'F1').replace('_', ' ')} on {held_out}"
    if not rivals:
        return f"{value:.2f} {score}; no baseline was scored on the same data.", "plain"
    rival = min(rivals) if lower else max(rivals)
    places = 2 if f"{value:.2f}" != f"{rival:.2f}" else 4
    name = label_of(rivals[rival])
    whom = f"a {name} model trained on the same tokens" if "Kneser-Ney" in name else f"the baseline {name.lower()}"
    if lower and rival > 0:
        share = 100 * abs(value / rival - 1)
        gap = f"{share:.1f}" if share < 10 else f"{share:.0f}"
        less, more = ("fewer", "more") if metric == "bits_per_byte" else ("lower", "higher")
        beside = f"{gap} % {less if value < rival else more} than"
    else:
        gap = f"{abs(value - rival):.{places}f}"
        beside = f"{gap} {'above' if value > rival else 'below'}"
    standing = "plain" if float(gap) == 0 else "better" if (value < rival) == lower else "worse"
    beside = "level with" if standing == "plain" else beside
    end = ": the baseline is better." if standing == "worse" else "."
    return f"{value:.{places}f} {score}, {beside} {whom} ({rival:.{places}f}){end}", standing


def task_verdict(analysis: dict[str, Any], metrics: dict[str, float]) -> tuple[str, str]:
    """One sentence on a task's score beside the best of its baselines, by the test that compared them.

    Returns:
        The sentence, and better, worse or plain.
    """
    name = analysis["headline"]
    low, high = (number(metrics[f"eval_{name}{end}"], 4) for end in INTERVAL)
    score = f"{number(metrics[f'eval_{name}'], 4)} {label_of(name)} on the {analysis['split']} split [{low}, {high}]"
    if not analysis["comparisons"]:
        return f"{score}; no baseline was scored on it.", "plain"
    best = max(analysis["comparisons"], key=lambda one: one["baseline_score"])
    whom = f"the best baseline, {label_of(best['baseline'])}: {number(best['baseline_score'], 4)}"
    test = f"{best['test']}, p {'< 0.001' if best['p_value'] < 0.001 else '= ' + number(best['p_value'], 3)}"
    standing = {"better": "better", "worse": "worse"}.get(best["verdict"], "plain")
    beside = f"{best['verdict']} {'from' if standing == 'plain' else 'than'}"
    return f"{score}, {beside} {whom} ({test}).", standing


def members_table(metrics: dict[str, float]) -> list[tuple[str, list[str]]]:
    """Repeated runs: label, and mean, standard deviation and interval of the mean."""
    rows = []
    for name in (name.removesuffix("_mean") for name in metrics if name.startswith(("seeds_", "folds_"))):
        if f"{name}_mean" in metrics and f"{name}_std" in metrics:
            kind, _, figure = name.partition("_")
            baseline = figure.removeprefix("baseline_")
            words = {"seeds": "Seeds", "folds": "Cross-validation"}[kind]
            whose = label_of(baseline) if baseline == figure else f"baseline {label_of(baseline)}"
            interval = ", ".join(number(metrics[f"{name}{end}"], 4) for end in INTERVAL)
            cells = [number(metrics[f"{name}_mean"], 4), number(metrics[f"{name}_std"], 4), f"[{interval}]"]
            rows.append((f"{words}: {whose}", cells))
    return rows


def score_table(metrics: dict[str, float]) -> dict[str, Any]:
    """The scores of this run and of its baselines side by side, then what was counted.

    Returns:
        baselines: labels. metrics: names. rows: label, unit, cells (this run and each baseline), difference (from the
        only baseline) and whether it is a mere count. others: names of the figures that have no place elsewhere.
    """
    baselines, rank = baselines_of(metrics), [*HEADLINES, "perplexity"]
    names = [name.removeprefix("eval_") for name in metrics if name.startswith("eval_")]
    names = [name for name in names if not name.endswith(INTERVAL)]
    names.sort(key=lambda name: (name in COUNTS, rank.index(name) if name in rank else len(rank)))
    rows = []
    for name in names:
        value, others = metrics[f"eval_{name}"], [baseline.get(name) for baseline in baselines.values()]
        cells = [quantity(figure, name) if name in COUNTS else number(figure, 4) for figure in (value, *others)]
        if f"eval_{name}_ci_low" in metrics:
            cells[0] += f" [{', '.join(number(metrics[f'eval_{name}{end}'], 4) for end in INTERVAL)}]"
        difference = difference_of(name, value, others[0]) if len(others) == 1 and name not in COUNTS else ""
        label = COUNT_LABELS.get(name)
        rows.append((label or label_of(name), unit_of(name, metrics), cells, difference, name in COUNTS))
    used = {f"baseline_{name}_{metric}" for name, figures in baselines.items() for metric in figures}
    placed = ("eval_", "train_", "start_", "old_", "seeds_", "folds_")
    unplaced = [name for name in metrics if not name.startswith(placed) and name not in used]
    return {"baselines": [label_of(name) for name in baselines], "metrics": names, "rows": rows, "others": unplaced}


def domain_table(metrics: dict[str, float]) -> list[tuple[str, str, list[str], str]]:
    """What a checkpoint was before training and after, on the new domain and on its old one, if it was measured.

    Returns:
        Rows: domain, metric, cells (before, after) and the difference.
    """
    rows = []
    for prefix, domain in (("", "New domain"), ("old_", "Old domain")):
        for metric in [*HEADLINES, "perplexity"]:
            before, after = metrics.get(f"{prefix}start_{metric}"), metrics.get(f"{prefix}eval_{metric}")
            if before is not None and after is not None:
                cells = [number(before, 4), number(after, 4)]
                rows.append((domain, label_of(metric), cells, difference_of(metric, after, before)))
    return rows


def difference_of(metric: str, value: float, baseline: float | None) -> str:
    """How far a score is from a baseline's: relative where lower is better, else absolute."""
    if baseline is None or not math.isfinite(value - baseline):
        return ""
    relative = metric in LOWER_IS_BETTER and baseline > 0
    text = f"{100 * (value / baseline - 1):+,.1f}{NO_BREAK}%" if relative else f"{value - baseline:+.4f}"
    return text.replace("-", "−")
