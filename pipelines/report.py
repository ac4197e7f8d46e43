"""The report of a run: one HTML page, made of the files of its folder, that needs nothing else to be read."""

import json
import math
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.run_folder import RunFolder, print_result

if TYPE_CHECKING:
    from markupsafe import Markup

# The first that a run has is its verdict.
HEADLINES = ("bits_per_byte", "accuracy", "f1", "spearman", "retrieval_accuracy", "loss", "bytes_per_token")
LOWER_IS_BETTER = ("bits_per_byte", "loss", "perplexity")
COUNTS = ("tokens", "bytes", "seconds")
EQUAL_TO_COMPARE = ("tokens", "bytes", "round_trip_rate")  # figures without which a comparison means nothing
TRAINING_CURVES = ("learning_rate", "grad_norm", "tokens_per_second")
LABELS = {
    "block_size": "Positions in a block",
    "bos_tokens": "BOS",
    "cpu_threads": "CPU threads",
    "document_ends_without_target": "Document ends",
    "eos_tokens": "EOS",
    "eval_steps": "Steps between evaluations",
    "flops_per_token": "Operations per token",
    "git_changes": "Uncommitted changes",
    "gpus": "GPUs",
    "grad_norm": "Gradient norm",
    "logging_steps": "Steps between log lines",
    "matmul_flops_per_second": "Matrix products",
    "memory_estimate_bytes": "Estimate",
    "per_device_train_batch_size": "Rows per micro-batch",
    "rows_per_step": "Rows (blocks) in a step",
    "save_steps": "Steps between checkpoints",
    "start": "Before training",
    "tfidf": "TF-IDF",
    "time_estimate_seconds": "Time estimate",
    "tokens_per_step": "Positions in a step",
    "total_tokens": "Positions, all steps",
    "vocab_size": "Vocabulary",
}
NO_BREAK = "\N{NO-BREAK SPACE}"
# What matplotlib writes for each colour of the page's style sheet, which decides between light and dark.
COLOURS = {"ink": "#000001", "muted": "#000002", "line": "#000003", "first": "#000004", "second": "#000005"}


def write_report(folder: Path, metrics: dict[str, float]) -> Path:
    """Writes report.html of a run folder, whole or not at all.

    Args:
        folder: holds config.yaml, environment.json, plan.json, receipt.json, metrics.jsonl and samples.json; what an
            absent one would tell is left out.
        metrics: final figures: eval_<metric>, baseline_<name>_<metric>, train_<metric>, and any others.

    Returns:
        Path of the report.

    Raises:
        CheckpointError: a file of the folder is damaged.
    """
    import jinja2
    import yaml

    def read(name: str) -> Any:
        return run.read_json(name) if (folder / name).is_file() else {}

    run, config, logged = RunFolder(folder), folder / "config.yaml", folder / "metrics.jsonl"
    config_text = config.read_text(encoding="utf-8") if config.is_file() else ""
    ended = datetime.fromtimestamp(logged.stat().st_mtime, UTC) if logged.is_file() else None
    jinja = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.ChainableUndefined,  # an absent file or figure leaves out its part
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters |= {"number": number, "quantity": quantity, "probability": probability, "visible": visible}
    plan, receipt = read("plan.json"), read("receipt.json")
    page = jinja.get_template("report_template.html").render(
        name=folder.resolve().name,
        date=f"{ended.day} {ended:%B %Y, %H:%M} UTC" if ended else None,
        config=yaml.safe_load(config_text) or {},
        config_text=config_text,
        environment=read("environment.json"),
        plan=plan,
        receipt=receipt,
        sums=receipt_sums(receipt),
        samples=read("samples.json"),
        metrics=metrics,
        verdict=verdict(metrics),
        scores=score_table(metrics),
        domains=domain_table(metrics),
        charts=charts(run.metrics_log(), metrics),
        rate=metrics.get("train_tokens_per_second", math.nan) * plan.get("flops_per_token", math.nan),
        rows_of=rows_of,
    )
    # An access token of the Hub may have been given in the command line.
    page = re.sub(r"\bhf_[A-Za-z0-9]{16,}", "hf_(hidden)", page)
    aside = folder / ".report.html"
    aside.write_text(page, encoding="utf-8", errors="replace")
    os.replace(aside, folder / "report.html")
    return folder / "report.html"


def finish_run(folder: RunFolder, metrics: dict[str, float]) -> None:
    """The last step of every recipe: report.html, then metrics.json, which makes the run a finished one; its result."""
    write_report(folder.path, metrics)
    folder.write_json("metrics.json", metrics)
    print_result(folder, metrics)
    folder.unlock()


# ---------------------------------------------------------------- words and numbers


def number(value: Any, places: int | None = None) -> str:
    """A figure for a reader: thousands separated, `places` decimals or four significant digits."""
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    if isinstance(value, list):
        return ", ".join(map(number, value)) or "none"
    if not isinstance(value, int | float):
        return str(value)
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    if isinstance(value, int) or (places is None and value.is_integer()):
        text = f"{int(value):,}"
    elif abs(value) >= 1000:
        text = f"{value:,.1f}"
    else:
        text = f"{value:.4g}" if places is None or 0 < abs(value) < 10**-places else f"{value:.{places}f}"
    return text.replace("-", "−", 1) if value < 0 else text


def quantity(value: Any, name: str) -> str:
    """A figure with the unit that its name tells: bytes, seconds, floating-point operations."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return number(value)
    if name.endswith("flops_per_second"):
        text = f"{value / 1e12:,.3f} TFLOP/s"
    elif name.endswith("seconds"):
        minutes, seconds = divmod(int(value), 60)
        text = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds} s"
        text = text if minutes else f"{value:.1f} s"
    elif name.endswith("_bytes") or "flops" in name:
        power = min(int(math.log10(max(value, 1)) // 3), 5)
        unit = "B" if name.endswith("_bytes") else "FLOP"
        text = f"{value / 1000**power:,.1f} {' kMGTP'[power].strip()}{unit}"
    else:
        return number(value)
    return text.replace(" ", NO_BREAK)


def probability(value: float | None) -> str:
    """A probability with three decimals."""
    return "–" if value is None else "< 0.001" if 0 < value < 0.001 else f"{value:.3f}"


def visible(token: str) -> str:
    """A token with its blanks to be seen."""
    return token.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥").replace("\r", "␍")


def label_of(name: str) -> str:
    """The words of an identifier."""
    ngram = re.fullmatch(r"kneser_ney_(\d+)gram", name)
    words = f"Kneser-Ney {ngram[1]}-gram" if ngram else name.replace("_", " ")
    return LABELS.get(name, words[:1].upper() + words[1:])


def rows_of(mapping: dict[str, Any], names: Iterable[str]) -> list[tuple[str, str]]:
    """(label, figure) of those entries of a map that are there; an inner map gives a row for each of its own."""
    rows = []
    for name in (name for name in names if name in mapping):
        inner = mapping[name] if isinstance(mapping[name], dict) else {None: mapping[name]}
        for key, value in inner.items():
            rows.append((label_of(name) + (f": {label_of(key).lower()}" if key else ""), quantity(value, name)))
    return rows


# ---------------------------------------------------------------- scores


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
    loss = "nats per token" if "eval_tokens" in metrics else "nats"
    return {"loss": loss, "bits_per_byte": "bits per byte", "bytes_per_token": "bytes per token"}.get(metric, "")


def verdict(metrics: dict[str, float]) -> tuple[str, str]:
    """One sentence on the held-out score, beside the best baseline that was scored on as many tokens and bytes.

    A tokenizer is set beside those that bring back as many documents.

    Returns:
        The sentence, and better, worse or plain.
    """
    metric = next((name for name in HEADLINES if f"eval_{name}" in metrics), None)
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
    score = f"{unit_of(metric, metrics) or metric.replace('f1', 'F1')} on {held_out}"
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


def score_table(metrics: dict[str, float]) -> dict[str, Any]:
    """The scores of this run and of its baselines side by side, then what was counted.

    Returns:
        baselines: labels. metrics: names. rows: label, unit, cells (this run and each baseline), difference (from the
        only baseline) and whether it is a mere count. others: names of the figures that have no place elsewhere.
    """
    baselines, rank = baselines_of(metrics), [*HEADLINES, "perplexity"]
    names = [name.removeprefix("eval_") for name in metrics if name.startswith("eval_")]
    names.sort(key=lambda name: (name in COUNTS, rank.index(name) if name in rank else len(rank)))
    rows = []
    for name in names:
        value, others = metrics[f"eval_{name}"], [baseline.get(name) for baseline in baselines.values()]
        cells = [quantity(figure, name) if name in COUNTS else number(figure, 4) for figure in (value, *others)]
        difference = difference_of(name, value, others[0]) if len(others) == 1 and name not in COUNTS else ""
        label = {"tokens": "Tokens scored", "bytes": "Bytes they stand for", "seconds": "Time to score"}.get(name)
        rows.append((label or label_of(name), unit_of(name, metrics), cells, difference, name in COUNTS))
    used = {f"baseline_{name}_{metric}" for name, figures in baselines.items() for metric in figures}
    placed = ("eval_", "train_", "start_", "old_")
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


# ---------------------------------------------------------------- curves


def charts(events: list[dict[str, Any]], metrics: dict[str, float]) -> list[dict[str, Any]]:
    """The curves of a run: title, unit, alt (what is to be seen, in words), svg, and whether it is a small one."""
    evaluated = dict.fromkeys(name for event in events for name in event if name.startswith("eval_"))
    scores = [name.removeprefix("eval_") for name in evaluated]
    panels = {"loss": {"training": "loss", "evaluation": "eval_loss"}}
    panels |= {name: {"evaluation": f"eval_{name}"} for name in scores if name not in ("loss", "perplexity", *COUNTS)}
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


def _points(events: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    points = [(event["step"], event[name]) for event in events if isinstance(event.get(name), int | float)]
    return [(step, value) for step, value in points if math.isfinite(value)]


def draw(key: str, lines: dict[str, list[tuple[int, float]]], levels: dict[str, float], small: bool) -> "Markup":
    """An SVG of curves over steps and of levels across them, in the page's colours; a small one starts at zero.

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
        for index, (name, level) in enumerate(levels.items()):
            axes.axhline(level, color=COLOURS["ink"], linewidth=1, linestyle=(0, (4 + 3 * index, 2.5)), label=name)
        axes.set_xlim(left=0)
        if small:
            axes.set_ylim(0, 1.08 * max(value for points in lines.values() for _, value in points) or 1)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4 if small else 5, steps=[1, 2, 5, 10], integer=axis is axes.xaxis))
            axis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,g}" if abs(tick) < 1e6 else f"{tick:.3g}"))
        axes.set_xlabel("step", color=COLOURS["muted"])
        axes.tick_params(colors=COLOURS["muted"], length=0)
        axes.grid(axis="y", color=COLOURS["line"], linewidth=0.6)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(COLOURS["line"])
        if len(lines) + len(levels) > 1:
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


# ---------------------------------------------------------------- receipt


def receipt_sums(receipt: dict[str, Any]) -> dict[str, Any]:
    """Rows, tokens and positions of each split as sums, added up anew, and what was trained on.

    Returns:
        splits: names. ledgers: see `ledger`. also: (label, figure per split) of what is in no sum. blocks: the ledger
        of the blocks trained on. training: the rest of what was trained on. rest: JSON of all else, if any.
    """
    parts = {name: part for name, part in receipt.items() if isinstance(part, dict)}
    splits = {name: part for name, part in parts.items() if isinstance(part.get("rows"), dict)}
    left = [{section: dict(counts) for section, counts in part.items()} for part in splits.values()]

    def take(section: str, names: str, sign: int = 1) -> list[tuple[int, str, list[Any]]]:
        counts = [part.get(section, {}) for part in left]
        return [(sign, label_of(name), [count.pop(name, None) for count in counts]) for name in names.split()]

    dropped = [part["rows"].pop("rows_dropped", {}) for part in left]
    reasons = dict.fromkeys(reason for counts in dropped for reason in counts)
    rows = take("rows", "rows_read moved_from_train")
    rows += [(-1, f"Dropped: {label_of(name).lower()}", [counts.get(name) for counts in dropped]) for name in reasons]
    rows += take("rows", "moved_to_validation", sign=-1)
    tokens = take("tokens", "text_tokens bos_tokens eos_tokens")
    positions = take("blocks", "targets document_ends_without_target padding")
    ledgers = [
        ledger("Rows", rows, *take("rows", "rows_kept")),
        ledger("Tokens", tokens, *take("tokens", "tokens")),
        ledger("Positions", positions, *take("blocks", "positions")),
    ]
    names = dict.fromkeys((section, name) for part in left for section in part for name in part[section])
    also = [(label_of(name), *(number(part.get(section, {}).get(name)) for part in left)) for section, name in names]
    training = dict(receipt.get("training", {}))
    blocks = [splits.get("train", {}).get("blocks", {}).get("blocks")]
    seen = [(1, label_of(name), [training.pop(name, None)]) for name in ("blocks_seen", "blocks_not_seen")]
    rest = {name: part for name, part in receipt.items() if name not in splits and name != "training"}
    return {
        "splits": list(splits),
        "ledgers": ledgers,
        "also": list(dict.fromkeys(also)),
        "blocks": ledger("Blocks", seen, (1, "Training blocks", blocks)),
        "training": rows_of(training, training),
        "rest": json.dumps(rest, indent=2, ensure_ascii=False) if rest else "",
    }


def ledger(title: str, terms: list[tuple[int, str, list[Any]]], total: tuple[int, str, list[Any]]) -> dict[str, Any]:
    """A sum with its terms.

    Args:
        title: what is counted.
        terms: sign, label, and a figure (or None) per column.
        total: the same of what they should add up to.

    Returns:
        title; terms and total, without those that have no figure; off: per column, how far the sum is from the total.
    """
    terms = [term for term in terms if any(value is not None for value in term[2])]
    off = []
    for column, stated in enumerate(total[2]):
        known = [sign * values[column] for sign, _, values in terms if values[column] is not None]
        off.append(sum(known) - stated if known and stated is not None else None)
    stated_at_all = any(value is not None for value in total[2])
    return {"title": title, "terms": terms, "total": total if stated_at_all else None, "off": off}
