"""Whether the files of a run are those that it wrote: checkpoints, records, model, and what of it was pushed."""

from pathlib import Path

from pipelines.checksums import CHECKSUMS, damages, sealed_files, sha256_of
from pipelines.training import checkpoints
from pipelines.verification.checks import Check, Run

SHOWN = 3  # files that are named


def check_checkpoints(run: Run) -> Check:
    """Every file of every checkpoint has the SHA-256 that it was sealed with."""
    name, damaged = "checkpoints", {one: reason for one, reason in run.checkpoints.items() if reason is not None}
    if damaged:
        return Check(name, "fails", "; ".join(f"{one.name}: {reason}" for one, reason in damaged.items()))
    if not run.checkpoints:
        return Check(name, "left out", "the run kept none")
    steps = ", ".join(f"{checkpoints.step_of(one):,}" for one in reversed(run.checkpoints))
    return Check(name, "holds", f"all files of step {steps} have the SHA-256 they were sealed with")


def check_files(run: Run) -> Check:
    """The records and the model have the SHA-256 that they had when the run ended, and nothing came to the model."""
    if not (run.path / CHECKSUMS).is_file():
        return Check("files", "left out", f"the run has no {CHECKSUMS}: an older version of Plumbline made it")
    found = list(damages(run.path))
    if not found:
        recorded = run.folder.read_json(CHECKSUMS)
        found = [f"{name} was added" for name in sealed_files(run.path) if name not in recorded and "/" in name]
    if found:
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        return Check("files", "fails", "; ".join(found[:SHOWN]) + more)
    count = len(run.folder.read_json(CHECKSUMS))
    return Check("files", "holds", f"{count} records and files of model/ have the SHA-256 of {CHECKSUMS}")


def check_published(run: Run) -> Check | None:
    """The weights here are those that were pushed, if the model was pushed."""
    if not (run.path / "published.json").is_file():
        return None
    pushed = run.folder.read_json("published.json", "repo_id", "commit", "files")
    adapter = Path("model/adapter")
    weights = {name: one for name, one in pushed["files"].items() if name.endswith(".safetensors") and "/" not in name}
    for name, checksum in weights.items():
        place = adapter / name if name.startswith("adapter") else Path("model") / name
        if not (run.path / place).is_file() or sha256_of(run.path / place) != checksum:
            return Check("published", "fails", f"{place.as_posix()} is not the file pushed to {pushed['repo_id']}")
    where = f"{pushed['repo_id']}, commit {str(pushed['commit'])[:12]}"
    return Check("published", "holds", f"the weights are those pushed to {where}")
