"""The curves of a run as SVG, in the colours of the page."""

import math
import re
from typing import TYPE_CHECKING, Any

from pipelines.reporting.scores import COUNTS, baselines_of, unit_of
from pipelines.reporting.words import label_of, number

if TYPE_CHECKING:
    from markupsafe import Markup

TRAINING_CURVES = ("learning_rate", "grad_norm", "tokens_per_second")
# What matplotlib writes for each colour of the page's style sheet, which decides between light and dark.
COLOURS = {"ink": "#000001", "muted": "#000002", "line": "#000003", "first": "#000004", "second": "#000005"}


def charts(
    events: list[dict[str, Any]], metrics: dict[str, float], headline: str | None = None
) -> list[dict[str, Any]]:
    """The curves of a run: title, unit, alt (what is to be seen, in words), svg, and whether it is a small one.

    Args:
        events: lines of metrics.jsonl.
        metrics: final figures, whose baselines are drawn across.
        headline: the one score that is drawn besides the loss; None: all.
    """
    evaluated = dict.fromkeys(name for event in events for name in event if name.startswith("eval_"))
    scores = [name.removeprefix("eval_") for name in evaluated]
    panels = {"loss": {"training": "loss", "evaluation": "eval_loss"}}
    drawn_scores = [name for name in scores if name not in ("loss", "perplexity", *COUNTS)]
    drawn_scores = drawn_scores if headline is None else [name for name in drawn_scores if name == headline]
    panels |= {name: {"evaluation": f"eval_{name}"} for name in drawn_scores}
    panels |= {name: {"training": name} for name in TRAINING_CURVES}
    drawn = []
    for key, sources in panels.items():
        lines = {line: _points(events, source) for line, source in sources.items()}
        lines = {line: points for line, points in lines.items() if points}
        levels = {label_of(name): figures.get(key, math.nan) for name, figures in baselines_of(metrics).items()}
        levels = {name: level for name, level in levels.items() if math.isfinite(level) and "evaluation" in lines}
        if lines:
            told = [
                f"{line} from {number(points[0][1])} at step {points[0][0]:,} to {number(points[-1][1])} at step "
                f"{points[-1][0]:,}"
                for line, points in lines.items()
            ] + [f"{name} at {number(level)}" for name, level in levels.items()]
            small, unit = key in TRAINING_CURVES, unit_of(key, metrics)
            alt = f"{label_of(key)} by step: {'; '.join(told)}."
            svg = draw(key, lines, levels, small)
            drawn.append({"title": label_of(key), "unit": unit, "alt": alt, "svg": svg, "small": small})
    return drawn


def learning_chart(analysis: dict[str, Any], metrics: dict[str, float]) -> dict[str, Any] | None:
    """How the baseline that learns gets better with training rows, with this run's score beside; None: not measured."""
    points = [(int(one["rows"]), one["score"]) for one in analysis.get("learning_curve", [])]
    if len(points) < 2:
        return None
    name = analysis["headline"]
    score = metrics[f"eval_{name}"]
    told = "; ".join(f"{number(value)} with {rows:,} rows" for rows, value in points)
    alt = f"{label_of(name)} of the baseline by training rows: {told}; this run at {number(score)}."
    svg = draw("learning", {"baseline": points}, {"this run": score}, small=False, x_label="training rows")
    return {"title": "Would more rows help?", "unit": label_of(name), "alt": alt, "svg": svg}


def _points(events: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    points = [(event["step"], event[name]) for event in events if isinstance(event.get(name), int | float)]
    return [(step, value) for step, value in points if math.isfinite(value)]


def draw(
    key: str,
    lines: dict[str, list[tuple[int, float]]],
    levels: dict[str, float],
    small: bool,
    x_label: str = "step",
    dots: dict[str, list[tuple[int, float]]] | None = None,
) -> "Markup":
    """An SVG of curves over steps, levels across them and dots, in the page's colours; a small one starts at zero.

    Equal input gives equal text. `key` keeps the ids of the page's charts apart.
    """
    import io

    import matplotlib
    from markupsafe import Markup
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "plumbline", "text.color": COLOURS["ink"]}
    with matplotlib.rc_context(style | {"font.size": 8 if small else 9.5}):
        figure = Figure(figsize=(3.1, 1.7) if small else (4.6, 2.4), layout="constrained")
        axes = figure.subplots()
        for name, points in lines.items():
            colour, size = COLOURS["first" if name == "training" else "second"], 3.2 if len(points) <= 40 else 0
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.3, marker="o", markersize=size, label=name)
        for name, points in (dots or {}).items():
            axes.plot(*zip(*points, strict=True), color=COLOURS["first"], linewidth=0, marker="o", label=name)
        for index, (name, level) in enumerate(levels.items()):
            axes.axhline(level, color=COLOURS["ink"], linewidth=1, linestyle=(0, (4 + 3 * index, 2.5)), label=name)
        axes.set_xlim(left=0)
        if small:
            axes.set_ylim(0, 1.08 * max(value for points in lines.values() for _, value in points) or 1)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4 if small else 5, steps=[1, 2, 5, 10], integer=axis is axes.xaxis))
            axis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,g}" if abs(tick) < 1e6 else f"{tick:.3g}"))
        axes.set_xlabel(x_label, color=COLOURS["muted"])
        axes.tick_params(colors=COLOURS["muted"], length=0)
        axes.grid(axis="y", color=COLOURS["line"], linewidth=0.6)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(COLOURS["line"])
        if len(lines) + len(levels) + len(dots or {}) > 1:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, borderpad=0, handlelength=1.6)
        stream = io.StringIO()
        metadata = dict.fromkeys(["Date", "Creator", "Format", "Type"])
        figure.savefig(stream, format="svg", transparent=True, metadata=metadata)
    svg = re.sub(r"^.*?(?=<svg)|<defs>\s*<style.*?</defs>", "", stream.getvalue(), flags=re.DOTALL)
    svg = re.sub(r"<svg[^>]*( viewBox=\"[^\"]*\")[^>]*>", r'<svg\1 aria-hidden="true">', svg, count=1)
    svg = re.sub(r' id="(?:[a-z]+_\d+|matplotlib\.\w+)"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r"(id=\"|url\(#|href=\"#)", rf"\g<1>{key}-", svg)
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)
    for variable, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return Markup(svg)
