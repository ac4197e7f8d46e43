"""recipes/verify_run.py: a run that is what its files say, and every way in which it may not be."""

import hashlib
import importlib
import io
import json
import shutil
import signal
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import finetune_runs
import pytest
import torch
import verify_run
import yaml
from conftest import RECIPES, tiny_run
from safetensors.torch import load_file, save_file

from pipelines.checksums import CHECKSUMS, sha256_of
from pipelines.config import parse_config
from pipelines.errors import VerificationError
from pipelines.publish_sections import VerifyConfig
from pipelines.run import run_recipe
from pipelines.run_folder import RunFolder, finished_run_folder
from pipelines.verification import rerun
from pipelines.verification.checks import Run, read_run
from pipelines.verification.differences import figures_difference, steps_difference, tensors_difference
from pipelines.verification.receipts import check_receipt
from pipelines.verification.verify import verify

FILES_ALONE = ("--verify.steps", "null", "--verify.rescore", "false")
NAMES = ["checkpoints", "files", "receipt", "record", "data", "steps", "weights", "figures", "model"]


def train(recipe: str, *flags: str) -> tuple[int, str]:
    """Runs a training recipe in this process: its exit code, and what it told."""
    module, told = importlib.import_module(recipe), io.StringIO()
    with redirect_stderr(told), redirect_stdout(io.StringIO()):
        code = run_recipe(module.main, module.Config, str(RECIPES / f"{recipe}.py"), list(flags))
    return code, told.getvalue()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes run again in this process."""
    monkeypatch.setattr(rerun, "run_recipe_again", lambda script, flags, _: train(script.stem, *flags)[1])


@pytest.fixture(scope="module")
def pretrained(corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 12 steps with checkpoints at 4, 8 and 12."""
    folder = tmp_path_factory.mktemp("verify") / "pretrained"
    flags = tiny_run(corpus_file, folder, "--training.save_total_limit", "null", "--evaluation.ngram_order", "2")
    assert train("pretrain_clm", *flags)[0] == 0
    return folder


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds with dropout; the main run keeps the weights of an evaluation before its last, and stops early."""
    folder = tmp_path_factory.mktemp("verify-finetuned")
    more = ("--training.load_best_model_at_end", "true", "--training.early_stopping_patience", "2")
    more += ("--evaluation.seeds", "2", "--training.eval_steps", "2", "--training.save_steps", "5")
    flags = finetune_runs.flags("classification", folder, folder / "run", *more, steps=16)
    assert train("finetune_classification", *flags)[0] == 0
    return folder / "run"


@pytest.fixture
def copy(pretrained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pretrained, tmp_path / "runs" / "run"))


def hashes(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in folder.rglob("*") if path.is_file()}


def verified(folder: Path, json_file: Path, *flags: str) -> tuple[int, dict[str, dict[str, str]], str]:
    """Verifies a run, and sees to it that nothing of it is changed or left behind: exit code, checks, message."""
    argv, before, told = [str(folder), "--verify.json", str(json_file), *flags], hashes(folder), io.StringIO()
    with redirect_stderr(told), redirect_stdout(io.StringIO()) as table:
        script = str(RECIPES / "verify_run.py")
        code = run_recipe(verify_run.main, verify_run.Config, script, argv, verify_run.POSITIONAL)
    assert hashes(folder) == before
    assert not list(folder.parent.glob(".verify-*")), "the scratch folder is deleted"
    found = json.loads(json_file.read_text())
    assert found["holds"] == (code == 0)
    assert [line.split()[0] for line in table.getvalue().splitlines()[1:]] == [one["name"] for one in found["checks"]]
    return code, {check.pop("name"): check for check in found["checks"]}, told.getvalue()


def fails(checks: dict[str, dict[str, str]]) -> set[str]:
    return {name for name, check in checks.items() if check["result"] == "fails"}


# ---------------------------------------------------------------- runs that are what their files say


def test_a_pretraining_run_is_what_its_files_say(pretrained: Path, here, tmp_path: Path) -> None:
    code, checks, told = verified(pretrained, tmp_path / "checks.json")
    assert (code, list(checks), {check["result"] for check in checks.values()}) == (0, NAMES, {"holds"})
    assert "steps 9 to 12" in checks["steps"]["detail"]
    assert "checkpoint-12" in checks["weights"]["detail"]
    assert "steps 9 to 12, figures and model of pretrained again from checkpoint-8" in told
    metrics = json.loads((pretrained / "metrics.json").read_text())
    of_the_machine = {name for name in metrics if name.endswith(("_seconds", "_second", "_mfu", "_bytes"))}
    of_the_machine -= {"eval_bytes", "baseline_kneser_ney_2gram_bytes"}  # bytes of text
    assert checks["figures"]["detail"].startswith(f"{len(metrics) - len(of_the_machine)} figures ")


def test_a_fine_tuning_run_with_seeds_is_what_its_files_say(finetuned: Path, here, tmp_path: Path) -> None:
    code, checks, _ = verified(finetuned, tmp_path / "checks.json")
    assert code == 0
    assert {name for name, check in checks.items() if check["result"] != "holds"} == {"weights"}, "none kept after 5"
    assert "nor those of members (seeds, folds)" in checks["figures"]["detail"]
    kept = json.loads((finetuned / "checkpoints" / "best.json").read_text())
    assert max(kept, key=lambda one: one[1])[0] < json.loads((finetuned / "metrics.json").read_text())["train_steps"]


def test_processes_of_their_own_compute_the_same(pretrained: Path, tmp_path: Path) -> None:
    code, checks, _ = verified(pretrained, tmp_path / "checks.json", "--verify.steps", "4", "--verify.checkpoint", "4",
                               "--verify.rescore", "false")  # fmt: skip
    assert code == 0
    assert "steps 5 to 8" in checks["steps"]["detail"] and "checkpoint-8" in checks["weights"]["detail"]
    assert {name for name, check in checks.items() if check["result"] == "left out"} == {"figures", "model"}


def test_from_the_start(pretrained: Path, here, tmp_path: Path) -> None:
    flags = ("--verify.checkpoint", "0", "--verify.steps", "2", "--verify.rescore", "false")
    _, checks, told = verified(pretrained, tmp_path / "checks.json", *flags)
    assert checks["steps"]["result"] == "holds" and "steps 1 to 2" in checks["steps"]["detail"]
    assert "from the start" in told


def test_a_run_without_steps_is_checked_as_far_as_that_goes(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.write_text("config.yaml", "data: {}\n")
    run.write_json("environment.json", {"recipe": "train_tokenizer", "versions": {}, "data": {}})
    rows = {"rows_read": 3, "rows_dropped": {"empty": 1}, "rows_kept": 2}
    run.write_json("receipt.json", {"train": {"rows": rows}, "validation": rows | {"rows_dropped": {}, "rows_kept": 3}})
    run.write_json("metrics.json", {"eval_bytes_per_token": 4.5})
    code, checks, _ = verified(run.path, tmp_path / "checks.json")
    assert code == 0
    assert checks["steps"] == {"result": "left out", "detail": "train_tokenizer keeps no steps to compute again: only "
                               "its files and counts are checked"}  # fmt: skip
    assert checks["receipt"]["detail"] == "2 sums of rows, tokens and positions close"


# ---------------------------------------------------------------- what is planted is named


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def change_step(folder: Path) -> None:
    """The loss of step 10, by the smallest amount that a number can differ by; and another version of torch."""
    lines = (folder / "steps.jsonl").read_text().splitlines()
    step = json.loads(lines[9])
    step["loss"] = torch.nextafter(torch.tensor(step["loss"], dtype=torch.float64), torch.tensor(9.0)).item()
    lines[9] = json.dumps(step)
    (folder / "steps.jsonl").write_text("\n".join(lines) + "\n")
    edit(folder / "environment.json", lambda all: all | {"versions": all["versions"] | {"torch": "1.0"}})


def change_figure(folder: Path) -> None:
    edit(folder / "metrics.json", lambda metrics: metrics | {"eval_loss": metrics["eval_loss"] - 0.25})


def change_receipt(folder: Path) -> None:
    def one_row_more(receipt: dict[str, Any]) -> dict[str, Any]:
        receipt["train"]["rows"]["rows_kept"] += 1
        return receipt

    edit(folder / "receipt.json", one_row_more)


def change_training(folder: Path) -> None:
    def one_target_more(receipt: dict[str, Any]) -> dict[str, Any]:
        receipt["training"]["targets_trained"] += 1
        return receipt

    edit(folder / "receipt.json", one_target_more)


def change_weight(path: Path) -> None:
    weights = load_file(path)
    weights["model.norm.weight"][3] += 0.5
    save_file(weights, path, metadata={"format": "pt"})


def change_model(folder: Path) -> None:
    change_weight(folder / "model" / "model.safetensors")


def change_checkpoint(folder: Path) -> None:
    change_weight(folder / "checkpoints" / "checkpoint-12" / "model.safetensors")
    reseal(folder / "checkpoints" / "checkpoint-12")


def change_optimizer(folder: Path) -> None:
    path = folder / "checkpoints" / "checkpoint-12" / "optimizer.pt"
    state = torch.load(path, weights_only=True)
    state["adamw"]["state"][0]["exp_avg"][0, 0] += 0.5
    torch.save(state, path)
    reseal(path.parent)


def change_start(folder: Path) -> None:
    """The checkpoint that steps are computed from is another than the run had."""
    change_weight(folder / "checkpoints" / "checkpoint-8" / "model.safetensors")
    reseal(folder / "checkpoints" / "checkpoint-8")


def tear_model(folder: Path) -> None:
    path = folder / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def drop_step(folder: Path) -> None:
    lines = (folder / "steps.jsonl").read_text().splitlines()
    (folder / "steps.jsonl").write_text("\n".join([*lines[:4], *lines[5:]]) + "\n")


def reseal(folder: Path) -> None:
    """Writes the checksums of a folder anew, as one would who wants to hide a change."""
    edit(folder / CHECKSUMS, lambda checksums: {name: sha256_of(folder / name) for name in checksums})


PLANTED: dict[str, tuple[Callable[[Path], None], tuple[str, ...], dict[str, list[str]]]] = {
    "loss of a step": (
        *(change_step, ("--verify.rescore", "false")),
        {
            "steps": [
                "step 10 differs first: loss ",
                "(off by ",
                "A likely cause, unless a file was changed: torch 1.0 then, ",
            ]
        },
    ),
    "figure": (
        *(change_figure, ("--verify.steps", "null")),
        {"figures": ["eval_loss ", "(off by 0.25)", "a file was changed, or the code"]},
    ),
    "weight of the model": (
        *(change_model, ("--verify.steps", "null")),
        {"model": ["model.norm.weight differs by up to 0.5. "]},
    ),
    "half of the model": (
        *(tear_model, ("--verify.steps", "null")),
        {"model": ["weights cannot be read: "]},
    ),
    "rows of the receipt": (
        *(change_receipt, FILES_ALONE),
        {"receipt": ["train: rows.rows_read + rows.moved_from_train = rows.rows_kept + ", " fails with 300 and 301"]},
    ),
    "targets of the receipt": (
        *(change_training, FILES_ALONE),
        {"receipt": ["training.targets_trained = targets of the last checkpoint fails with "]},
    ),
    "weight of a checkpoint": (
        *(change_checkpoint, ("--verify.rescore", "false")),
        {"weights": ["checkpoint-12: model.norm.weight differs by up to 0.5. "]},
    ),
    "state of the optimizer": (
        *(change_optimizer, ("--verify.rescore", "false")),
        {"weights": ["checkpoint-12: optimizer.adamw.state.0.exp_avg differs by up to 0.5. "]},
    ),
    "checkpoint to go on from": (
        *(change_start, ("--verify.rescore", "false")),
        {"steps": ["step 9 differs first: loss ", "4 of 4 steps differ"], "weights": ["checkpoint-12: "]},
    ),
    "step that is not recorded": (
        *(drop_step, FILES_ALONE),
        {"record": ["steps.jsonl has no line of step 5 of 12"]},
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_what_was_changed_is_found_though_the_checksums_fit(planted: str, copy: Path, here, tmp_path: Path) -> None:
    plant, flags, expected = PLANTED[planted]
    plant(copy)
    reseal(copy)
    code, checks, told = verified(copy, tmp_path / "checks.json", *flags)
    assert code == 2 and fails(checks) == expected.keys()
    for name, parts in expected.items():
        assert [part for part in parts if part not in checks[name]["detail"]] == []
        assert f"{name}: {checks[name]['detail']}" in told, "the message names it too"


@pytest.mark.parametrize(
    ("plant", "named"),
    [
        (change_step, "steps.jsonl has changed since it was written"),
        (change_figure, "metrics.json has changed since it was written"),
        (change_model, "model/model.safetensors has changed since it was written"),
        (lambda folder: (folder / "samples.json").unlink(), "samples.json is missing"),
        (lambda folder: (folder / "model" / "modeling.py").write_text("pass\n"), "model/modeling.py was added"),
    ],
)
def test_checksums_tell_of_any_change(plant: Callable[[Path], None], named: str, copy: Path, tmp_path: Path) -> None:
    plant(copy)
    code, checks, _ = verified(copy, tmp_path / "checks.json", *FILES_ALONE)
    assert code == 2 and fails(checks) == {"files"} and named in checks["files"]["detail"]


def test_a_flipped_byte_in_a_checkpoint_is_named_and_the_one_before_taken(copy: Path, here, tmp_path: Path) -> None:
    path = copy / "checkpoints" / "checkpoint-8" / "optimizer.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    code, checks, told = verified(copy, tmp_path / "checks.json", "--verify.steps", "1", "--verify.rescore", "false")
    assert code == 2 and fails(checks) == {"checkpoints"}
    assert checks["checkpoints"]["detail"] == "checkpoint-8: optimizer.pt has changed since it was written"
    assert "step 5 of run again from checkpoint-4" in told


def test_a_run_without_its_plan_is_not_verified(copy: Path, capsys: Any) -> None:
    (copy / "plan.json").unlink()
    edit(copy / CHECKSUMS, lambda checksums: {name: one for name, one in checksums.items() if name != "plan.json"})
    script = str(RECIPES / "verify_run.py")
    assert run_recipe(verify_run.main, verify_run.Config, script, [str(copy)], verify_run.POSITIONAL) == 2
    assert "plan.json cannot be read" in capsys.readouterr().err


def test_the_card_may_be_edited(copy: Path, tmp_path: Path) -> None:
    card = copy / "model" / "README.md"
    card.write_text(card.read_text() + "\nMy own words.\n")
    assert verified(copy, tmp_path / "checks.json", *FILES_ALONE)[0] == 0


@pytest.mark.parametrize("pushed", ["these weights", "others"])
def test_published_weights_are_those_of_the_run(pushed: str, copy: Path, tmp_path: Path) -> None:
    checksum = sha256_of(copy / "model" / "model.safetensors") if pushed == "these weights" else "0" * 64
    files = {"model.safetensors": checksum, "README.md": "1" * 64, "checkpoints/checkpoint-12/x.safetensors": "2" * 64}
    record = {"repo_id": "ada/small", "commit": "0123456789abcdef", "files": files}
    (copy / "published.json").write_text(json.dumps(record))
    code, checks, _ = verified(copy, tmp_path / "checks.json", *FILES_ALONE)
    assert (code, fails(checks)) == ((0, set()) if pushed == "these weights" else (2, {"published"}))
    assert "ada/small" in checks["published"]["detail"]


@pytest.mark.parametrize("flags", [("--verify.steps", "1"), ("--verify.steps", "null")])
def test_data_that_has_changed_is_told(
    flags: tuple[str, ...], copy: Path, corpus_file: Path, here, tmp_path: Path
) -> None:
    """Fewer documents make fewer blocks, which a run that goes on would refuse before it came to the data."""
    other = tmp_path / "other.jsonl"
    other.write_text("".join(corpus_file.read_text().splitlines(keepends=True)[:-40]))
    config = copy / "config.yaml"
    config.write_text(config.read_text().replace(str(corpus_file), str(other)))
    reseal(copy)
    code, checks, told = verified(copy, tmp_path / "checks.json", *flags)
    assert code == 2 and fails(checks) == {"data"}
    assert all(f"{name} has the fingerprint " in checks["data"]["detail"] for name in ("corpus", "tokenizer"))
    known = json.loads((copy / "environment.json").read_text())["data"]
    assert f"the run had {known['corpus']}" in checks["data"]["detail"]
    assert ".verify-" not in told and "overwrite" not in checks["data"]["detail"]
    for name in ("figures", "model", *(("steps", "weights") if flags[1] != "null" else ())):
        assert checks[name] == {"result": "left out", "detail": "data or tokenizer are not those of the run"}


def without_evaluation(folder: Path) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    del config["evaluation"]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(
    ("plant", "file", "named"),
    [
        (lambda folder: (folder / "metrics.jsonl").unlink(), "metrics.jsonl is missing", "metrics.jsonl is missing"),
        (without_evaluation, "config.yaml has changed", "config.yaml has no section 'evaluation'"),
    ],
)
def test_what_a_recipe_needs_and_is_not_there_is_told(
    plant: Callable[[Path], None], file: str, named: str, copy: Path, here, tmp_path: Path
) -> None:
    plant(copy)
    code, checks, told = verified(copy, tmp_path / "checks.json")
    assert code == 2 and fails(checks) == {"files", "steps", "figures"} and "Traceback" not in told
    assert file in checks["files"]["detail"]
    assert checks["steps"]["detail"] == checks["figures"]["detail"] == f"the recipe does not run again: {named}"


def test_what_was_checked_is_told_where_the_rest_cannot_be(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: Any) -> str:
        raise OSError("no memory")

    monkeypatch.setattr(rerun, "run_recipe_again", stop)
    (copy / "samples.json").unlink()
    with pytest.raises(OSError, match="no memory"):
        verify(finished_run_folder(str(copy)), VerifyConfig(), RECIPES)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["checkpoints", "files", "receipt", "record"]
    assert "samples.json is missing" in lines[2]


# ---------------------------------------------------------------- sums of other receipts

ROWS = {"rows_read": 10, "rows_dropped": {"empty": 1, "repeated": 2}, "rows_kept": 7, "bytes": 99}
FRAMED = {"documents": 7, "bytes": 99, "text_tokens": 50, "bos_tokens": 7, "eos_tokens": 7, "tokens": 64}
RECEIPTS = {
    "masked": {"rows": ROWS, "tokens": FRAMED, "blocks": {"blocks": 5, "block_size": 16, "positions": 80, "padding": 16,
               "text_positions": 50, "document_frame_positions": 14}},
    "denoising": {"rows": ROWS, "tokens": FRAMED, "blocks": {"blocks": 5, "block_size": 16, "text_tokens": 50,
                  "tokens_in_rows": 48, "tokens_in_parts_too_short": 2}},
    "contrastive": {"rows": ROWS, "tokens": FRAMED, "blocks": {"blocks": 5, "tokens_in_sentences": 45,
                    "tokens_in_parts_below_min_tokens": 5}},
    "labelled": {"rows": {name: ROWS[name] for name in ("rows_read", "rows_dropped", "rows_kept")},
                 "tokens": {"text_tokens": 30, "tokens_kept": 25, "tokens_truncated": 3, "tokens_of_dropped_rows": 2}},
}  # fmt: skip
SIZES = {("blocks", "blocks"): 5, ("blocks", "block_size"): 16}  # in no sum where there are no positions


@pytest.mark.parametrize("kind", RECEIPTS)
def test_a_receipt_closes_and_any_other_count_does_not(kind: str) -> None:
    split = RECEIPTS[kind]
    run = Run(RunFolder(Path("run")), {}, {"recipe": "other"}, {}, {"train": split, "validation": split}, {})
    assert check_receipt(run).result == "holds"
    for section, counts in split.items():
        for name, value in counts.items():
            if isinstance(value, int) and not ((section, name) in SIZES and "positions" not in counts):
                changed = split | {section: counts | {name: value + 1}}
                found = check_receipt(replace(run, receipt={"train": split, "validation": changed}))
                assert found.result == "fails" and "validation: " in found.detail, name
                assert f"{section}.{name}" in found.detail, "the sum that fails is named"
    assert check_receipt(replace(run, receipt={"train": split})).detail == "there is no split 'validation'"


# ---------------------------------------------------------------- comparisons


def test_steps_are_compared_bit_for_bit() -> None:
    steps = [{"step": step, "loss": 0.1 * step, "grad_norm": 1.0} for step in range(1, 6)]
    assert steps_difference(steps, steps[2:], 3, 5) is None
    other = [*steps[:3], steps[3] | {"grad_norm": 1.5}, steps[4] | {"loss": 0.0}]
    assert steps_difference(steps, other, 1, 5) == (
        "step 4 differs first: grad_norm 1.0 recorded, 1.5 computed again (off by 0.5); 2 of 5 steps differ"
    )
    assert steps_difference(steps, other, 1, 3) is None
    assert steps_difference(steps[:2], steps, 2, 3) == "step 3 is not in steps.jsonl"
    assert steps_difference(steps, steps[:2], 2, 3) == "step 3 was not made again"


def test_tensors_are_compared_as_bytes() -> None:
    here = {"a": torch.tensor([0.0, float("nan")]), "b": torch.tensor(1)}
    assert tensors_difference(here, {name: value.clone() for name, value in here.items()}) is None
    assert tensors_difference(here, here | {"a": torch.tensor([-0.0, float("nan")])}).startswith("a differs")
    assert tensors_difference(here, here | {"b": torch.tensor(3)}) == "b differs by up to 2"
    assert tensors_difference(here, {"a": here["a"]}) == "b is only in the run"
    assert tensors_difference(here, here | {"a": here["a"].double()}) == (
        "a is float32 (2,) here, float64 (2,) computed again"
    )


def test_figures_of_the_machine_are_not_compared() -> None:
    recorded = {"eval_loss": 1.0, "eval_bytes": 7, "eval_seconds": 1.0, "train_mfu": 0.5, "seeds_accuracy_mean": 0.5}
    assert figures_difference(recorded, {"eval_loss": 1.0, "eval_bytes": 7, "eval_seconds": 2.0}) == (2, [])
    assert figures_difference(recorded, {"eval_loss": 1.5, "eval_rows": 3})[1] == [
        "eval_loss 1.0 recorded, 1.5 computed again (off by 0.5)",
        "eval_bytes is only in metrics.json",
        "eval_rows is only in what was computed again",
    ]


# ---------------------------------------------------------------- recorded steps, and run.stop_at_step


def test_every_step_is_recorded_with_its_floats(pretrained: Path) -> None:
    steps = RunFolder(pretrained).steps_log()
    assert [one["step"] for one in steps] == list(range(1, 13))
    events = [event for event in RunFolder(pretrained).metrics_log() if "loss" in event]
    for one, event in zip(steps, events, strict=True):
        assert one["loss"] == torch.tensor(one["loss"], dtype=torch.float32).item(), "the very float of the step"
        assert one["loss"] == pytest.approx(event["loss"], abs=1e-4)
        assert one["grad_norm"] == event["grad_norm"]


def test_a_run_in_pieces_is_the_run_in_one(pretrained: Path, corpus_file: Path, tmp_path: Path) -> None:
    def go_on(before: str, name: str, *more: str) -> tuple[int, str]:
        if before:  # a copy: this process holds the lock of the folder itself
            shutil.copytree(tmp_path / before, tmp_path / name)
        flags = ("--training.save_total_limit", "null", "--evaluation.ngram_order", "2", *more)
        return train("pretrain_clm", *tiny_run(corpus_file, tmp_path / name, *flags))

    code, told = go_on("", "first", "--run.stop_at_step", "3")
    assert code == 130
    assert f"Stopped after step 3 of 12; the checkpoint is {tmp_path / 'first/checkpoints/checkpoint-3'}." in told
    assert "stop_at_step" not in (tmp_path / "first" / "config.yaml").read_text(), "--config of it goes to the end"
    assert len(RunFolder(tmp_path / "first").steps_log()) == 3
    code, told = go_on("first", "same", "--run.stop_at_step", "3")
    assert code == 2 and "run.stop_at_step is 3, but the run has come to step 3 already" in told
    assert hashes(tmp_path / "same") == hashes(tmp_path / "first")
    code, told = go_on("first", "second", "--run.stop_at_step", "12")
    assert code == 130 and "Stopped after step 12 of 12" in told and not (tmp_path / "second/metrics.json").exists()
    assert go_on("second", "third")[0] == 0
    for name in ("model/model.safetensors", "steps.jsonl", "samples.json"):
        assert (tmp_path / "third" / name).read_bytes() == (pretrained / name).read_bytes(), name


def test_the_command_that_goes_on_does_not_stop_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.run import command_line

    monkeypatch.setattr("sys.argv", ["r.py", "--run.stop_at_step", "3", "--data.card", "c", "--run.overwrite=true"])
    assert command_line().endswith("r.py --data.card c")


def test_steps_after_the_checkpoint_are_made_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in range(1, 6):
        folder.append_step({"step": step, "loss": 1 / step, "grad_norm": 0.1})
    with (tmp_path / "steps.jsonl").open("a") as torn:
        torn.write('{"step": 6, "lo')
    folder.rewind_metrics(3, 12)
    assert folder.steps_log() == [{"step": step, "loss": 1 / step, "grad_norm": 0.1} for step in (1, 2, 3)]


# ---------------------------------------------------------------- the library


def test_a_scratch_folder_is_deleted_when_verification_is_stopped(
    pretrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(rerun, "run_recipe_again", stop)
    with pytest.raises(KeyboardInterrupt):
        verify(finished_run_folder(str(pretrained)), VerifyConfig(), RECIPES)
    assert not list(pretrained.parent.glob(".verify-*"))


def test_a_recipe_that_does_not_run_again_is_told(
    pretrained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rerun, "run_recipe_again", lambda *_: "1 process\nDataError: no file.\nTraceback")
    with pytest.raises(VerificationError, match="figures: the recipe does not run again: DataError: no file.$"):
        verify(finished_run_folder(str(pretrained)), VerifyConfig(), RECIPES)


def test_a_recipe_that_is_run_again_ends_with_the_verification_and_sees_no_launcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    get_parent_death_signal = 2  # PR_GET_PDEATHSIG, prctl(2)
    script = tmp_path / "recipe.py"
    script.write_text(
        "import ctypes, os, sys\nsignal = ctypes.c_int()\n"
        f"ctypes.CDLL(None).prctl({get_parent_death_signal}, ctypes.byref(signal))\n"
        "print(signal.value, os.environ.get('RANK'), file=sys.stderr)\n"
    )
    monkeypatch.setenv("RANK", "1")
    assert rerun.run_recipe_again(script, [], 1).split() == [str(int(signal.SIGTERM)), "None"]


def test_checksums_are_those_of_sha256sum(pretrained: Path) -> None:
    checksums = json.loads((pretrained / CHECKSUMS).read_text())
    for name in ("metrics.json", "steps.jsonl", "receipt.json", "model/model.safetensors"):
        assert checksums[name] == hashlib.sha256((pretrained / name).read_bytes()).hexdigest()
    assert "model/README.md" not in checksums
    assert read_run(RunFolder(pretrained)).last_step == 12


def test_settings_are_read() -> None:
    config = parse_config(verify_run.Config, str(RECIPES / "verify_run.py"), ["runs/x", "--verify.steps", "null"],
                          verify_run.POSITIONAL)  # fmt: skip
    assert (config.run.dir, config.verify.steps, config.verify.rescore) == ("runs/x", None, True)
