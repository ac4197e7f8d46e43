"""Checkpoints are complete or absent; a damaged one is named and passed over."""

import json
from pathlib import Path

import pytest

from pipelines.errors import CheckpointError
from pipelines.training import checkpoints


def sealed(root: Path, step: int, content: str = "weights") -> Path:
    aside = root / checkpoints.ASIDE / f"checkpoint-{step}"
    aside.mkdir(parents=True)
    (aside / "model.safetensors").write_text(content)
    (aside / "trainer_state.json").write_text(json.dumps({"step": step}))
    checkpoints.seal(aside, root / f"checkpoint-{step}")
    return root / f"checkpoint-{step}"


def test_sealing_moves_a_whole_folder_into_place(tmp_path: Path) -> None:
    checkpoint = sealed(tmp_path, 5)
    assert checkpoints.damage(checkpoint) is None
    assert not (tmp_path / checkpoints.ASIDE / "checkpoint-5").exists()
    assert set(json.loads((checkpoint / checkpoints.CHECKSUMS).read_text())) == {
        "model.safetensors",
        "trainer_state.json",
    }


def test_newest_is_by_step_not_by_name(tmp_path: Path) -> None:
    for step in (9, 100, 20):
        sealed(tmp_path, step)
    (tmp_path / "checkpoint-best").mkdir()
    assert checkpoints.newest_complete(tmp_path) == (tmp_path / "checkpoint-100", {})


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda folder: (folder / "model.safetensors").write_text("weight"), "model.safetensors has changed"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda folder: (folder / checkpoints.CHECKSUMS).write_text("{"), "checksums.json is missing or unreadable"),
        (lambda folder: (folder / checkpoints.CHECKSUMS).unlink(), "checksums.json is missing or unreadable"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_passed_over(tmp_path: Path, harm, reason: str) -> None:
    older, newer = sealed(tmp_path, 1), sealed(tmp_path, 2)
    harm(newer)
    found, damaged = checkpoints.newest_complete(tmp_path)
    assert found == older
    assert list(damaged) == [newer]
    assert reason in damaged[newer]


def test_a_damaged_checkpoint_set_aside_is_not_among_those_to_keep(tmp_path: Path) -> None:
    older, newer = sealed(tmp_path, 200), sealed(tmp_path, 300)
    (newer / "model.safetensors").unlink()
    aside = checkpoints.set_aside(newer)
    sealed(tmp_path, 250)
    checkpoints.rotate(tmp_path, 1)
    assert [path.name for path in checkpoints.list_checkpoints(tmp_path)] == ["checkpoint-250"]
    assert aside.is_dir()
    assert not older.exists()


def test_only_damaged_checkpoints_are_an_error(tmp_path: Path) -> None:
    (sealed(tmp_path, 1) / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"Every checkpoint .* damaged.*model.safetensors is missing.*overwrite"):
        checkpoints.newest_complete(tmp_path)


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert checkpoints.newest_complete(tmp_path) == (None, {})


def test_rotation_keeps_the_newest(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        sealed(tmp_path, step)
    checkpoints.rotate(tmp_path, 2)
    assert [path.name for path in checkpoints.list_checkpoints(tmp_path)] == ["checkpoint-10", "checkpoint-2"]
    checkpoints.rotate(tmp_path, None)
    assert len(checkpoints.list_checkpoints(tmp_path)) == 2
