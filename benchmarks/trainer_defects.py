"""What plain transformers.Trainer does on this machine, with the installed versions, beside Plumbline on the same rows.

python -m benchmarks.trainer_defects                     # all checks, under three minutes on two cores
python -m benchmarks.trainer_defects --only gradients    # one
python -m benchmarks.trainer_defects --json found.json   # and all figures, unrounded

Tiny models are built on the spot: no network, no GPU, no account. Trainer and the collators are those of the installed
transformers, unchanged. A check that finds no defect stays in the table, as `holds`.
"""

import argparse
import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.finding import Finding, heard

# Check -> module of this package that has it, as a function of the same name.
CHECKS = {
    "gradients": "loss_checks",
    "processes": "loss_checks",
    "by_hand": "loss_checks",
    "eval_batches": "loss_checks",
    "not_a_number": "loss_checks",
    "packing": "data_checks",
    "eos": "data_checks",
    "dropped": "data_checks",
    "truncation": "data_checks",
    "predict": "data_checks",
    "masks": "resume_checks",
    "resume": "resume_checks",
    "damaged_checkpoint": "resume_checks",
    "metrics": "other_checks",
    "fields": "other_checks",
    "published": "other_checks",
}
PACKAGES = ("transformers", "torch", "datasets", "accelerate", "evaluate")
HEADINGS = ("check", "what should hold", "what Trainer did", "verdict", "what Plumbline did")
VERDICTS = {True: "holds", False: "**does not hold**", None: "not measured"}


def measure(check: str, *arguments: Any) -> list[Finding]:
    """The findings of a check, with what the libraries say kept off the terminal.

    A check that cannot run, such as with other versions, is a finding too: `not measured`.
    """
    with heard():
        try:
            module = importlib.import_module(f"benchmarks.{CHECKS[check]}")
            findings: list[Finding] = getattr(module, check)(*arguments)
        except Exception as error:  # one check of many
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[-300:]}"
            return [Finding(check, "", reason, None, "", None, {})]
    return findings


def prepare(checks: Iterable[str]) -> None:
    """Imports all that checks need, and takes it out of the garbage collection that Trainer makes at each start.

    Walking through all that was imported takes 0.3 to 0.7 s each time.
    """
    for check in checks:
        importlib.import_module(f"benchmarks.{CHECKS[check]}")
    gc.freeze()


def surroundings() -> dict[str, Any]:
    """Versions and machine."""
    from pipelines.environment import environment

    found = environment(data={})
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {name: version(name) for name in PACKAGES},
        "python": found["python"],
        "system": found["system"],
        "hardware": found["hardware"],
    }


def table(findings: Iterable[Finding]) -> str:
    """The findings in Markdown."""
    rows = [HEADINGS, ("---",) * len(HEADINGS)]
    for one in findings:
        ours = one.plumbline if one.plumbline_holds is not False else f"**{one.plumbline}**"
        rows.append((one.check, one.should_hold, one.trainer, VERDICTS[one.holds], ours))
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)


def heading(found: dict[str, Any]) -> str:
    """Versions and machine in two lines."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    machine = found["hardware"]
    return (
        f"{versions}\n{machine['cores']} cores of {machine['processor']}, Python {found['python']}, {found['system']}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the checks and prints the table. 0: all measured, and Plumbline holds everywhere; else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.trainer_defects", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--only", choices=list(CHECKS), metavar="NAME", help=f"one check: {', '.join(CHECKS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes all figures to FILE, too")
    given = parser.parse_args(argv)

    import torch

    torch.set_num_threads(1)
    checks = [given.only] if given.only else list(CHECKS)
    prepare(checks)
    findings: list[Finding] = []
    for check in checks:
        started = time.perf_counter()
        findings += measure(check)
        print(f"{check}: {time.perf_counter() - started:.1f} s", file=sys.stderr)
    found = surroundings()
    print(f"{heading(found)}\n\n{table(findings)}")
    if given.json is not None:
        given.json.write_text(json.dumps(found | {"findings": [asdict(one) for one in findings]}, indent=1) + "\n")
    return 0 if all(one.holds is not None and one.plumbline_holds for one in findings) else 1


if __name__ == "__main__":
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    sys.exit(main())
