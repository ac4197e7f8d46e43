"""The checks of benchmarks/trainer_defects.py: Plumbline holds; what README says of the pinned Trainer is so."""

import gc
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version

import pytest
from conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY))

from benchmarks import trainer_defects
from benchmarks.finding import Finding
from benchmarks.trainer_defects import CHECKS, HEADINGS, measure, prepare, table

# The checks in one process, on few heads.
FAST = {
    "gradients": (("classification BERT", "tags BERT", "masked ModernBERT", "causal Llama"),),
    "by_hand": (("classification BERT", "answers BERT", "causal GPT-2"),),
    "eval_batches": (("tags BERT",), (1, 8)),
    "not_a_number": (),
    "packing": (),
    "eos": (),
    "dropped": (1_200, 128),
    "truncation": (),
    "predict": (),
    "masks": (),
    "damaged_checkpoint": (),
    "fields": (),
}


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> Iterator[None]:
    """As `main` does, see `prepare`."""
    prepare(FAST)
    yield
    gc.unfreeze()


@cache
def found(check: str) -> dict[str, Finding]:
    """The findings of a check by their names."""
    return {one.check: one for one in measure(check, *FAST[check])}


def pinned(package: str) -> str:
    lock = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    return re.search(rf"^{package}==(\S+)$", lock, flags=re.M)[1]


@pytest.mark.parametrize("check", FAST)
def test_plumbline_holds(check: str) -> None:
    for one in found(check).values():
        assert one.plumbline_holds, one.trainer if one.holds is None else one.plumbline


@pytest.mark.parametrize("check", FAST)
def test_a_finding_says_what_was_expected_and_what_both_did(check: str) -> None:
    for name, one in found(check).items():
        assert name.split(":")[0] == check
        assert one.holds is not None, one.trainer
        assert one.should_hold and one.trainer and one.plumbline
        assert one.figures.keys() >= {"trainer", "plumbline"} or check == "by_hand"
        json.dumps(one.figures)


DOES_NOT_HOLD = {
    "gradients": ["gradients"],
    "eval_batches": ["eval_batches"],
    "packing": ["packing: decoders, attention_mask", "packing: encoders and OPT"],
    "eos": ["eos"],
    "dropped": ["dropped"],
    "masks": ["masks: resume", "masks: two evaluations"],
    "damaged_checkpoint": ["damaged_checkpoint"],
}


@pytest.mark.skipif(
    version("transformers") != pinned("transformers"),
    reason=f"README speaks of transformers {pinned('transformers')}, installed is {version('transformers')}",
)
@pytest.mark.parametrize(("check", "names"), DOES_NOT_HOLD.items(), ids=DOES_NOT_HOLD)
def test_what_readme_says_of_trainer(check: str, names: list[str]) -> None:
    for name in names:
        assert found(check)[name].holds is False, found(check)[name].trainer


@pytest.mark.skipif(version("transformers") != pinned("transformers"), reason="figures of the pinned version")
def test_figures_of_trainer() -> None:
    """The claims in numbers; and where Trainer is right, the benchmark says so."""
    heads = found("gradients")["gradients"].figures["trainer"]
    assert heads["classification BERT"]["gradient_ratio"] == pytest.approx(2, abs=1e-4)
    assert heads["classification BERT"]["loss_ratio"] == pytest.approx(2, abs=1e-4)
    assert heads["tags BERT"]["gradient_ratio"] > 2
    for right in ("causal Llama", "masked ModernBERT"):
        assert heads[right]["gradient_off_by"] < 1e-5
    assert found("packing")["packing: decoders"].holds
    torn = found("damaged_checkpoint")["damaged_checkpoint"].figures["trainer"]
    assert torn["no optimizer.pt"].startswith("goes on from checkpoint-10")
    assert torn["killed while saving (no trainer_state.json)"] == "ends with FileNotFoundError"


def test_both_sides_train_on_the_same_rows() -> None:
    """Where Trainer is right, in one batch of one label a row, its gradient is Plumbline's."""
    from benchmarks.loss_checks import compared, one_batch

    found("gradients")
    for head in ("classification BERT", "tags BERT", "masked ModernBERT", "causal Llama"):
        difference = compared(one_batch("plumbline", head), one_batch("trainer", head))
        assert difference["gradient_off_by"] < 1e-5
        assert difference["loss_ratio"] == pytest.approx(1, abs=1e-5)


def test_one_check_by_its_name(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "found.json"
    assert trainer_defects.main(["--only", "eos", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert f"transformers {version('transformers')}, torch {version('torch')}" in printed
    rows = [line for line in printed.splitlines() if line.startswith("|")]
    assert rows[0] == f"| {' | '.join(HEADINGS)} |" and len(rows) == 3 and rows[2].startswith("| eos |")
    written = json.loads(file.read_text())
    assert [one["check"] for one in written["findings"]] == ["eos"]
    assert written["versions"].keys() == set(trainer_defects.PACKAGES)
    assert written["hardware"]["cores"] > 0


def test_an_unknown_check_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        trainer_defects.main(["--only", "gradient"])
    assert "gradients" in capsys.readouterr().err


def test_a_check_that_cannot_run_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.data_checks.eos", lambda: 1 / 0)
    (one,) = measure("eos")
    assert one.holds is None and "ZeroDivisionError" in one.trainer
    assert "| not measured |" in table([one])


def test_every_check_is_a_function_that_says_how_a_user_meets_it() -> None:
    import importlib

    for check, module in CHECKS.items():
        told = getattr(importlib.import_module(f"benchmarks.{module}"), check).__doc__
        assert "A user meets it" in told, check
