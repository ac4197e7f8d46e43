"""lm-eval on a model of ours: its figures are those of our own log-likelihoods. Without lm-eval, what is told."""

import copy
import importlib.util
import json
import logging
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from architectures import SIZES
from conftest import sentences
from sklearn.metrics import matthews_corrcoef
from test_likelihood import POSITIONS, model_of, tokenizer_of

from pipelines.data.framing import frame_texts
from pipelines.errors import ConfigError, DataError
from pipelines.evaluation.likelihood import Scores, continuation_scores
from pipelines.suites import harness
from pipelines.suites.harness import HarnessResult, _results, run_harness

CHOICES = [" returns", " holds", " sorts its own shape."]
METRICS = ("acc", "acc_norm", "mcc")
TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "Text: {{{{question}}}}"
doc_to_choice: [" returns", " holds", " sorts its own shape."]
doc_to_target: {target}
target_delimiter: ""
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
  - {{metric: mcc, aggregation: matthews_corrcoef, higher_is_better: true}}
metadata: {{version: 2.5}}
"""


def questions(count: int = 24) -> list[dict[str, Any]]:
    draw = random.Random(5)
    return [
        {"question": text[: draw.randrange(9, 90)].rstrip(), "gold": draw.randrange(3)} for text in sentences(count)
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """Tasks, the group `both` of two of them, and their data, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(harness, "RESAMPLES", 20)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions()))
    for name, data, target in (
        ("rows", "rows.jsonl", "gold"),
        ("more", "rows.jsonl", "gold"),
        ("lost", "nowhere.jsonl", "gold"),
        ("broken", "rows.jsonl", '"{{golden}}"'),
        ("unlabelled", "rows.jsonl", "golden"),
    ):
        (tmp_path / f"{name}.yaml").write_text(TASK.format(name=name, data=data, target=target))
    mean = "aggregate_metric_list: [{metric: acc, aggregation: mean, weight_by_size: true}]"
    (tmp_path / "both.yaml").write_text(f"group: both\ntask: [rows, more]\n{mean}\nmetadata: {{version: 1}}\n")
    if importlib.util.find_spec("lm_eval") is not None:  # it asks the machine for a second what nobody asks here
        monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)
    return tmp_path


def run(folder: Path, *tasks: str, model: Any = None, tokenizer: Any = None, **options: Any) -> list[HarnessResult]:
    settings: dict[str, Any] = {"num_fewshot": None, "limit": None, "batch_size": 8, **options}
    model = model_of("llama") if model is None else model
    return run_harness(model, tokenizer or tokenizer_of(), list(tasks), str(folder), **settings)


def scores_of(model: Any, tokenizer: Any, rows: list[dict[str, Any]]) -> list[Scores]:
    requests = [(f"Text: {row['question']}", CHOICES) for row in rows]
    return continuation_scores(model, tokenizer, requests, 512, POSITIONS)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "recurrent"])
@pytest.mark.parametrize("begins", [True, False])
def test_figures_are_those_of_our_log_likelihoods(folder: Path, kind: str, begins: bool, capsys) -> None:
    model, tokenizer, rows = model_of(kind), tokenizer_of(begins), questions()
    scores = scores_of(model, tokenizer, rows)
    characters = [len(text) for text in CHOICES]
    picks = [
        [int(one.log_likelihoods_C.argmax()) for one in scores],
        [int((one.log_likelihoods_C / characters).argmax()) for one in scores],
    ]
    hits = [[pick == row["gold"] for pick, row in zip(some, rows, strict=True)] for some in picks]
    assert 0 < sum(hits[0]) < len(rows)
    assert len(set(picks[0])) > 1
    for batch_size in (1, 8):
        found = run(folder, "rows", model=model, tokenizer=tokenizer, batch_size=batch_size)
        found.sort(key=lambda row: row.metric)
        shown = [(row.task, row.metric, row.version, row.num_fewshot, row.samples, row.cut) for row in found]
        assert shown == [("rows", name, "2.5", 0, 24, 0) for name in METRICS]
        correlation = matthews_corrcoef([row["gold"] for row in rows], picks[0])
        assert [row.value for row in found] == [*(np.mean(some) for some in hits), pytest.approx(correlation)]
        assert 0 < found[2].stderr < 1
        for row, some in zip(found, hits, strict=False):
            assert row.stderr == pytest.approx(np.std(some, ddof=1) / len(some) ** 0.5)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("batch_size", [1, 8])
def test_log_likelihoods_are_ours(folder: Path, batch_size: int, monkeypatch) -> None:
    """What lm-eval is told of each choice, and so the choice."""
    import lm_eval.models.huggingface as huggingface

    told: dict[tuple[str, str], float] = {}
    score = huggingface.HFLM.loglikelihood

    def watched(self: Any, requests: list[Any], **options: Any) -> Any:
        found = score(self, requests, **options)
        told.update({one.args: value for one, (value, _) in zip(requests, found, strict=True)})
        return found

    monkeypatch.setattr(huggingface.HFLM, "loglikelihood", watched)
    run(folder, "rows", batch_size=batch_size)
    rows = questions()
    assert len(told) == len(rows) * len(CHOICES)
    for row, scores in zip(rows, scores_of(model_of("llama"), tokenizer_of(), rows), strict=True):
        theirs = [told[f"Text: {row['question']}", choice] for choice in CHOICES]
        np.testing.assert_allclose(scores.log_likelihoods_C, theirs, atol=1e-4, rtol=0)
        assert int(np.argmax(theirs)) == int(scores.log_likelihoods_C.argmax())


def test_groups_examples_and_limit(folder: Path, monkeypatch, capsys) -> None:
    """Everything is left as it was: model, tokenizer, random states, logs, and whether there is a network."""
    import datasets.config
    import lm_eval.tasks as tasks
    from huggingface_hub import constants

    manager = tasks.TaskManager  # lm-eval's own tasks take 6 s to list
    monkeypatch.setattr(tasks, "TaskManager", lambda **options: manager(**{**options, "include_defaults": False}))
    model, tokenizer = copy.deepcopy(model_of("gpt2")).train(), copy.deepcopy(tokenizer_of())
    tokenizer.pad_token = None

    def state() -> list[Any]:
        drawn = [random.getstate(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()]
        return [*drawn, constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE, model.training, tokenizer.pad_token]

    before = state()
    found = run(folder, "both", model=model, tokenizer=tokenizer, num_fewshot=3, limit=5)
    assert state() == before
    assert before[-2:] == [True, None]
    assert logging.getLogger("lm_eval").propagate
    shown = [(row.task, row.metric, row.num_fewshot, row.samples, row.version) for row in found]
    assert sorted(shown) == [
        ("both", "acc", 3, 10, "1"),
        *((name, metric, 3, 5, "2.5") for name in ("more", "rows") for metric in METRICS),
    ]
    assert all(row.cut > 0 for row in found)  # three examples do not fit into 96 positions
    assert len({row.value for row in found if row.metric == "acc"}) == 1
    assert "lm-eval warns" not in capsys.readouterr().err


def test_a_filter_is_named_behind_the_metric() -> None:
    results = {
        "results": {
            "gsm": {"alias": "gsm", "sample_len": 4, "em,strict": 0.5, "em_stderr,strict": "N/A", "em,none": 1}
        },
        "versions": {},
        "n-shot": {"gsm": 5},
    }
    assert list(_results(results, 0)) == [
        HarnessResult("gsm", "em,strict", 0.5, None, None, 5, 4, 0),
        HarnessResult("gsm", "em", 1.0, None, None, 5, 4, 0),
    ]


def test_what_is_wrong_with_a_task_is_told(folder: Path, capsys) -> None:
    with pytest.raises(ConfigError, match="has no task, group or tag 'roows', nor has .* Did you mean 'rows'"):
        run(folder, "rows", "roows")
    with pytest.raises(DataError, match="The data of lm-eval's task 'lost' cannot be read: .*nowhere.jsonl"):
        run(folder, "lost")
    with pytest.raises(ConfigError, match="cannot run the task 'broken': .*golden"):
        run(folder, "broken")
    run(folder, "unlabelled")
    assert "lm-eval warns 24 times: Label index was not in within range" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="No task of lm-eval is named"):
        run(folder)
    with pytest.raises(ConfigError, match="there is no such folder of task files"):
        run(folder / "none", "rows")


def test_what_cannot_be_run(folder: Path) -> None:
    from transformers import AutoConfig, AutoModelForMaskedLM

    encoder = AutoModelForMaskedLM.from_config(AutoConfig.for_model("bert", **SIZES, vocab_size=400))
    with pytest.raises(ConfigError, match="by causal language models only"):
        run(folder, "rows", model=encoder)
    framed = copy.deepcopy(tokenizer_of())
    frame_texts(framed)
    with pytest.raises(ConfigError, match=r"ends every text with '<\|eos\|>'"):
        run(folder, "rows", tokenizer=framed)
    nothing = copy.deepcopy(tokenizer_of(begins=False))
    nothing.eos_token = None
    with pytest.raises(ConfigError, match="neither BOS nor EOS"):
        run(folder, "rows", tokenizer=nothing)


def test_without_lm_eval(folder: Path, monkeypatch) -> None:
    for name in ("lm_eval", "lm_eval.tasks"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"is not installed .* Run: pip install .*\.\[lm-eval\]"):
        run(folder, "rows")
