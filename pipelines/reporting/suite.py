"""The table of a suite in words: a row for each task beside baselines and published scores."""

from typing import Any

from pipelines.reporting.words import label_of, number

CONSTANT = ("majority", "mean", "commonest_position")  # baselines that say the same of every row


def suite_verdict(suite: dict[str, Any]) -> tuple[str, str]:
    """One sentence on a suite: its average, what is missing of it, and which baselines were not beaten."""
    if suite["average"] is None:
        return f"No task that counts in the average of {suite['suite']} was scored.", "plain"
    missing, tasks = suite["average_misses"], suite["tasks"]
    counted = suite["average_of"] + len(missing)
    of = f"all {counted} tasks" if not missing else f"{suite['average_of']} of {counted} tasks, a partial average"
    told = f"{number(suite['average'], 4)} on {suite['suite']}, the mean over {of}"
    if missing:
        told += f" (without {', '.join(missing)})"
    compared = {name: row["comparisons"] for name, row in tasks.items() if row["comparisons"]}
    level = [name for name, found in compared.items() if any(one["verdict"] != "better" for one in found)]
    if level:
        return f"{told}; not better than every baseline on {', '.join(level)}.", "plain"
    if not compared:
        return f"{told}.", "plain"
    return f"{told}; better than every baseline on each of the {len(compared)} tasks compared.", "better"


def suite_table(suite: dict[str, Any]) -> dict[str, Any]:
    """Columns and rows of the report.

    Returns:
        columns: labels of the figures. rows: task, what is scored, cells, and a note. references: model, split, source.
    """
    tasks = suite["tasks"]
    found = {name for row in tasks.values() for name in row["baselines"]}
    baselines = sorted(found - set(CONSTANT))
    has_seeds = any(len(row["scores"]) > 1 for row in tasks.values())
    has_search = any(row["contamination"] for row in tasks.values())
    columns = ["Score", "95 % interval", *(["All seeds"] if has_seeds else [])]
    columns += ["Constant", *(label_of(name) for name in baselines)] + [one["model"] for one in suite["published"]]
    columns += ["In the corpus", "Score without"] if has_search else []
    rows = []
    for name, row in tasks.items():
        interval = "" if row["low"] is None else f"[{number(row['low'], 4)}, {number(row['high'], 4)}]"
        cells = [number(row["score"], 4), interval]
        if has_seeds:
            cells += [f"{number(min(row['scores'].values()), 4)} to {number(row['best'], 4)}"]
        cells += [number(next((row["baselines"][one] for one in CONSTANT if one in row["baselines"]), None), 4)]
        cells += [number(row["baselines"].get(baseline), 4) for baseline in baselines]
        cells += [number(one["scores"].get(name), 4) for one in suite["published"]]
        if has_search:
            share = row["contamination"] or {}
            cells += [number(share.get("share"), 4), number(share.get("clean_score"), 4)]
        parts = ", ".join(f"{label_of(one)} {number(row['metrics'][one], 4)}" for one in row["official"])
        what = label_of(row["official"][0]) if len(row["official"]) == 1 else f"mean of {parts}"
        rows.append((name, f"{what}; {row['rows']:,} rows", cells, row["note"]))
    words = next((row["contamination"]["gram_words"] for row in tasks.values() if row["contamination"]), None)
    return {"columns": columns, "rows": rows, "references": suite["published"], "gram_words": words}


def suite_markdown(suite: dict[str, Any]) -> str:
    """The table in Markdown, to be quoted."""
    table = suite_table(suite)
    lines = [["task", "metric, rows", *table["columns"]]]
    lines += [[name, what, *cells] for name, what, cells, _ in table["rows"]]
    if suite["average"] is not None:
        label = "average" if not suite["average_misses"] else f"average, partial: {suite['average_of']} tasks"
        lines.append([label, "", number(suite["average"], 4), *[""] * (len(table["columns"]) - 1)])
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
