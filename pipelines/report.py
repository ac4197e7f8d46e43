"""The report of a run: one HTML page, made of the files of its folder, that needs nothing else to be read."""

import math
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.checksums import CHECKSUMS, run_checksums
from pipelines.reporting.charts import charts, learning_chart
from pipelines.reporting.ledgers import receipt_sums
from pipelines.reporting.scores import domain_table, members_table, score_table, task_verdict, verdict
from pipelines.reporting.suite import suite_table, suite_verdict
from pipelines.reporting.sweep import sweep_chart, sweep_table, sweep_verdict
from pipelines.reporting.words import label_of, number, probability, quantity, rows_of, visible
from pipelines.run_folder import RunFolder, json_text, print_result


def write_report(folder: Path, metrics: dict[str, float]) -> Path:
    """Writes report.html of a run folder, whole or not at all.

    Args:
        folder: holds config.yaml, environment.json, plan.json, receipt.json, metrics.jsonl, samples.json and, for a
            task, analysis.json, for a suite suite.json, for a sweep sweep.json; what an absent one tells is left out.
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
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "reporting"),
        undefined=jinja2.ChainableUndefined,  # an absent file or figure leaves out its part
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters |= {"number": number, "quantity": quantity, "probability": probability, "visible": visible}
    jinja.filters["label"] = label_of
    plan, receipt, analysis = read("plan.json"), read("receipt.json"), read("analysis.json")
    suite, sweep = read("suite.json"), read("sweep.json")
    if sweep:
        told = sweep_verdict(sweep)
    elif suite:
        told = suite_verdict(suite)
    else:
        told = task_verdict(analysis, metrics) if analysis else verdict(metrics)
    page = jinja.get_template("template.html").render(
        name=folder.resolve().name,
        date=f"{ended.day} {ended:%B %Y, %H:%M} UTC" if ended else None,
        config=yaml.safe_load(config_text) or {},
        config_text=config_text,
        environment=read("environment.json"),
        plan=plan,
        receipt=receipt,
        sums=receipt_sums(receipt),
        samples=read("samples.json"),
        proofs=read("proof.json"),
        metrics=metrics,
        analysis=analysis,
        members=members_table(metrics),
        learning=learning_chart(analysis, metrics),
        suite=suite,
        suite_table=suite_table(suite) if suite else {},
        sweep=sweep,
        sweep_table=sweep_table(sweep) if sweep else {},
        sweep_chart=sweep_chart(sweep) if sweep else None,
        verdict=told,
        scores=score_table(metrics),
        domains=domain_table(metrics),
        charts=charts(run.metrics_log(), metrics, analysis.get("headline")),
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
    """The last step of every recipe: report, checksums, then metrics.json, which makes the run finished; its result."""
    write_report(folder.path, metrics)
    text = json_text(metrics)
    folder.write_json(CHECKSUMS, run_checksums(folder.path, text))
    folder.write_text("metrics.json", text)
    print_result(folder, metrics)
    folder.unlock()
