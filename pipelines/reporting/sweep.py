"""A sweep in words, as a table and as a curve."""

from typing import Any

from pipelines.reporting.charts import draw
from pipelines.reporting.words import label_of, number, quantity


def sweep_verdict(sweep: dict[str, Any]) -> tuple[str, str]:
    """One sentence on a sweep: its best figure, of how many trials, and what that is worth."""
    trials = {one["number"]: one for one in sweep["trials"]}
    best, complete = trials[sweep["best"]], sweep["counts"]["complete"]
    told = f"{label_of(sweep['metric'])} {number(best['value'], 4)} in trial {best['number']}, the best of {complete}"
    if sweep["test"] is not None:
        return f"{told} on the validation split; {number(sweep['test']['value'], 4)} on the test split.", "plain"
    if complete == 1:
        return f"{told}.", "plain"
    return f"{told} on the same validation rows: better than new rows would show.", "plain"


def sweep_table(sweep: dict[str, Any]) -> dict[str, Any]:
    """Columns and rows of the report, the best trials first, then those without a figure by their numbers.

    Returns:
        keys: the searched keys. rows: number, whether it is the best, cells. counts: trials by state, in words.
        importances: key and share.
    """
    sign = 1 if sweep["direction"] == "minimize" else -1

    def place(one: dict[str, Any]) -> tuple[bool, float, int]:
        is_done = one["state"] == "complete"
        return not is_done, sign * one["value"] if is_done else 0.0, one["number"]

    rows = [
        (
            one["number"],
            one["number"] == sweep["best"],
            [
                number(one["value"], 4) if one["state"] == "complete" else one["state"],
                *(_shown(one["values"].get(key)) for key in sweep["keys"]),
                "–" if one["train_seconds"] is None else quantity(one["train_seconds"], "seconds"),
            ],
            one["message"] or "",
        )
        for one in sorted(sweep["trials"], key=place)
    ]
    counts = ", ".join(f"{count} {state}" for state, count in sweep["counts"].items() if count)
    importances = [(key, number(share, 2)) for key, share in sweep["importances"].items()]
    return {"rows": rows, "counts": counts, "importances": importances, "metric": label_of(sweep["metric"])}


def sweep_chart(sweep: dict[str, Any]) -> dict[str, Any] | None:
    """The figure of each complete trial and the best so far, by number of the trial; None for fewer than two."""
    points = [(one["number"], one["value"]) for one in sweep["trials"] if one["state"] == "complete"]
    if len(points) < 2:
        return None
    better = min if sweep["direction"] == "minimize" else max
    best = [(trial, better(value for _, value in points[: place + 1])) for place, (trial, _) in enumerate(points)]
    name = label_of(sweep["metric"])
    alt = f"{name} by trial: from {number(points[0][1])} in trial {points[0][0]}; the best is {number(best[-1][1])}."
    svg = draw("sweep", {"best so far": best}, {}, small=False, x_label="trial", dots={"trial": points})
    return {"title": "History", "unit": name, "alt": alt, "svg": svg}


def _shown(value: Any) -> str:
    """A searched value: whole numbers without separators, others with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
