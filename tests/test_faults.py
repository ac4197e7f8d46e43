"""What happens to a run around it: a process that is killed, a disk that is full."""

import errno
import json
import random
from pathlib import Path
from typing import Any

import pytest
from conftest import sentences

from benchmarks import kills
from pipelines.errors import CheckpointError
from pipelines.run import run_recipe_with
from pipelines.training.sharding import PieceWriter


@pytest.mark.processes
def test_a_killed_process_ends_the_others_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two, sharded, while a checkpoint is written; `python -m benchmarks.kills` does it many times."""
    monkeypatch.setattr(kills, "STEPS", 60)
    corpus, whole, folder = (tmp_path / name for name in ("corpus.jsonl", "whole", "run"))
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in sentences(300)))

    def finish(run: Path) -> str:
        process = kills.start(kills.command(run, corpus, 2), sharded=True)
        told = process.communicate(timeout=200)[1]
        assert process.returncode == 0, told[-3000:]
        return told

    finish(whole)
    hit, code = kills.kill_once(kills.command(folder, corpus, 2), folder, 2, True, "checkpoint", random.Random(0))
    assert "in the checkpoint" in hit and code != 0
    assert not (folder / "metrics.json").exists()
    assert "Going on from" in finish(folder)
    found = kills.compare(folder, whole)
    assert (found["steps_lost"], found["steps_twice"], found["receipts_are_equal"]) == (0, 0, True)
    assert found["largest_loss_difference"] < 1e-5 and found["largest_weight_difference"] < 1e-4


def test_a_process_whose_peer_is_gone_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise RuntimeError(
            "[../third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [10.0.0.2]:2"
        )

    monkeypatch.setenv("RANK", "1")
    assert run_recipe_with(work) == 2
    told = capsys.readouterr().err
    assert "Another process of this run has ended" in told and "Traceback" not in told


def failing(error: BaseException) -> PieceWriter:
    """A writer whose last checkpoint could not be written."""
    writer = PieceWriter()

    def write() -> Any:
        raise error

    writer._pending = writer._threads.submit(write)
    return writer


def test_a_full_disk_is_told_when_the_next_checkpoint_is_due() -> None:
    from torch.distributed.checkpoint.api import CheckpointException

    own = OSError(errno.ENOSPC, "No space left on device")
    for error, kind in (
        (own, OSError),
        (CheckpointException("write", {1: (own, None)}), OSError),
        (CheckpointException("write", {1: (RuntimeError("torn"), None)}), CheckpointError),
    ):
        writer = failing(error)
        with pytest.raises(kind, match="No space left|process 1: torn.*The one before it is whole"):
            writer.wait()
        writer.wait()  # told once
