"""recipes/evaluate_glue.py on made-up rows of every task of GLUE and SuperGLUE, with models of few weights."""

import contextlib
import dataclasses
import functools
import gc
import importlib
import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import finetune_runs
import numpy as np
import pyarrow.parquet as pq
import pytest
import suite_rows
import yaml
from conftest import RECIPES, tiny_run
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from suite_rows import SUPERGLUE, make, write, write_suite, write_task
from test_finetune import predict
from test_finetune import run as run_finetuning
from test_launch import TWO_PROCESSES

from pipelines.config import parse_config
from pipelines.data.cards import load_card
from pipelines.errors import CardError, ConfigError, DataError
from pipelines.evaluation.likelihood import continuation_scores
from pipelines.run import run_recipe
from pipelines.run_folder import RunFolder
from pipelines.suite_sections import SuiteTrainingConfig
from pipelines.suites import finetuned, running, submission
from pipelines.suites.definition import load_suite, suite_names, training_of
from pipelines.suites.forms import FORMS
from pipelines.suites.given import load_decoder
from pipelines.suites.official import SuiteClassification
from pipelines.suites.reading import TaskData, read_task
from pipelines.suites.workers import claimed
from pipelines.training.best import BestWeights
from pipelines.training.trainer import ExactTrainer

committed = functools.cache(load_suite)
RECIPE = str(RECIPES / "evaluate_glue.py")
BERT = (
    "{model_type: bert, hidden_size: 32, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2, "
    "hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0}"
)
GLUE_ROWS = ("cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "mnli_mismatched", "qnli", "rte", "wnli")
SCORED = {"glue": GLUE_ROWS, "superglue": SUPERGLUE}
OFFICIAL = {  # Wang et al. 2018, table 1, and 2019, table 1
    **{name: ["accuracy"] for name in ("sst2", "mnli", "mnli_mismatched", "qnli", "rte", "wnli")},
    **{name: ["accuracy"] for name in ("boolq", "copa", "wic", "wsc")},
    "cola": ["matthews_correlation"],
    "mrpc": ["f1", "accuracy"],
    "qqp": ["f1", "accuracy"],
    "stsb": ["pearson", "spearmanr"],
    "cb": ["f1_macro", "accuracy"],
    "multirc": ["f1_a", "exact_match"],
    "record": ["entity_f1", "entity_exact_match"],
    "axb": ["matthews_correlation"],
    "axg": ["gender_parity", "accuracy"],
}


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Without measuring the machine, the tables that `evaluate` makes of rows, and YAML that was read before.

    And with little for `gc.collect` to look through.
    """
    from pipelines.metrics.loading import load_metric
    from pipelines.suites import reading, running

    def known(name: str) -> Any:
        return committed(name) if name in suite_names() else load_suite(name)

    from pipelines.tasks import classification, multiple_choice
    from pipelines.training import hardware

    @functools.cache
    def load(name: str) -> Any:
        return SimpleNamespace(compute=load_metric(name)._compute)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hardware, "matmul_flops_per_second", lambda *_: 1e10)
        for module in (classification, multiple_choice):
            patch.setattr(module, "load_metric", load)
        patch.setattr(reading, "load_card", functools.cache(load_card))
        patch.setattr(running, "load_suite", known)
        gc.collect()
        gc.freeze()
        yield
        gc.unfreeze()


def flags(run: Path, data: Path | None, *more: str) -> list[str]:
    """Flags of a suite run on a model from scratch; `--model.name` in `more` replaces it."""
    scratch = ("--tokenizer.type", "wordpiece", "--tokenizer.vocab_size", "300", "--model.config", BERT)
    return [
        *("--run.dir", str(run), "--run.threads", "1", *(("--data.dir", str(data)) if data else ())),
        *(() if "--model.name" in more else scratch),
        *("--training.max_steps", "2", "--training.eval_steps", "1", "--training.bf16", "false"),
        *("--training.per_device_train_batch_size", "8", "--training.learning_rate", "1e-2"),
        *("--evaluation.resamples", "20", "--evaluation.seeds", "2", *more),
    ]


@dataclasses.dataclass
class Done:
    """A finished run: its folder, and what it told."""

    path: Path
    printed: str
    told: str

    def read(self, name: str) -> Any:
        return json.loads((self.path / name).read_text())

    @property
    def tasks(self) -> dict[str, Any]:
        """Rows of suite.json, without their times."""
        return {name: row | {"seconds": 0} for name, row in self.read("suite.json")["tasks"].items()}

    def said(self, task: str, seed: int = 42, split: str = "validation") -> list[dict[str, Any]]:
        """Kept predictions."""
        return pq.read_table(self.path / "tasks" / task / f"seed-{seed}" / f"predictions-{split}.parquet").to_pylist()

    def labels(self, task: str, seed: int = 42, split: str = "validation") -> list[int]:
        return [one["label"] for one in self.said(task, seed, split)]


def evaluate(arguments: Sequence[str]) -> Done:
    """Runs recipes/evaluate_glue.py in this process."""
    recipe = importlib.import_module("evaluate_glue")
    config = parse_config(recipe.Config, RECIPE, list(arguments))
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        recipe.main(config)
    return Done(Path(config.run.dir), out.getvalue(), err.getvalue())


def exit_code(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code of the recipe, and what it told."""
    recipe = importlib.import_module("evaluate_glue")
    code = run_recipe(recipe.main, recipe.Config, RECIPE, list(arguments))
    return code, capsys.readouterr().err


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Rows of all tasks, by suite."""
    return {suite: write_suite(tmp_path_factory.mktemp(suite), suite) for suite in SCORED}


@pytest.fixture(scope="module")
def finished(data: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Done]:
    """A run over all tasks of a suite, with two seeds and a submission, made when it is first asked for."""
    done: dict[str, Done] = {}

    def get(suite: str) -> Done:
        if suite not in done:
            run = tmp_path_factory.mktemp("runs") / suite
            more = ("--evaluation.suite", suite, "--evaluation.submission", "true")
            done[suite] = evaluate(flags(run, data[suite], *more))
        return done[suite]

    return get


@pytest.fixture
def locks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Lets go of the folders that a run which was broken off in this process still holds, as its end would."""
    held: list[RunFolder] = []
    lock = RunFolder.lock

    def noted(self: RunFolder) -> None:
        lock(self)
        held.append(self)

    def release() -> None:
        while held:
            held.pop().unlock()

    monkeypatch.setattr(RunFolder, "lock", noted)
    yield release
    release()


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the seed folders that are trained in, such as rte/seed-42."""
    trained: list[str] = []
    fit = finetuned.fit

    def noted(task: Any, config: Any, folder: RunFolder, *rest: Any) -> Any:
        trained.append("/".join(folder.path.parts[-2:]))
        return fit(task, config, folder, *rest)

    monkeypatch.setattr(finetuned, "fit", noted)
    return trained


# ---------------------------------------------------------------- the whole suites


@pytest.mark.parametrize("suite", SCORED)
def test_every_task_has_a_row(suite: str, finished) -> None:
    done, rows = finished(suite), finished(suite).tasks
    assert sorted(rows) == sorted(SCORED[suite]) and done.read("suite.json")["skipped"] == {}
    for name, row in rows.items():
        assert row["official"] == OFFICIAL[name] and set(row["metrics"]) >= set(OFFICIAL[name])
        assert list(row["scores"]) == ["42", "43"]
        assert row["score"] == min(row["scores"].values())  # of two in the middle the lower
        assert row["best"] == max(row["scores"].values()) == row["scores"][str(row["best_seed"])]
        assert np.mean([row["metrics"][metric] for metric in OFFICIAL[name]]) == pytest.approx(row["score"])
        assert row["low"] <= row["score"] <= row["high"]
        is_diagnostic = name in ("mnli_mismatched", "axb", "axg")
        assert row["rows"] == (6 if name in ("axb", "axg") else 12)
        assert row["train_rows"] == (0 if is_diagnostic else 24)
        learnt = {"stsb": {"mean", "tfidf"}, **dict.fromkeys(("copa", "record"), {"commonest_position", "tfidf"})}
        assert set(row["baselines"]) == (set() if is_diagnostic else learnt.get(name, {"majority", "tfidf"}))
        assert row["contamination"] is None
    # Seeds differ in their weights.
    probabilities = [[one["probabilities"][0] for one in done.said("rte", seed)] for seed in (42, 43)]
    assert probabilities[0] != pytest.approx(probabilities[1])


@pytest.mark.parametrize("suite", SCORED)
def test_the_average_is_that_of_the_paper(suite: str, finished) -> None:
    """MNLI's two sets count as one task; diagnostic sets do not count."""
    done = finished(suite)
    content, metrics = done.read("suite.json"), done.read("metrics.json")
    scores = {name: row["score"] for name, row in content["tasks"].items()}
    if suite == "glue":
        scores["mnli"] = (scores["mnli"] + scores.pop("mnli_mismatched")) / 2
    counted = [score for name, score in scores.items() if name not in ("axb", "axg")]
    assert len(counted) == content["average_of"] == {"glue": 9, "superglue": 8}[suite]
    assert content["average"] == metrics["eval_average"] == pytest.approx(sum(counted) / len(counted))
    assert content["average_misses"] == [] and "eval_average_partial" not in metrics
    assert f"{'average':<16} {content['average']:.4f}  (all {len(counted)})" in done.told
    assert f"{'eval_average':<44} {content['average']:.4f}" in done.printed


@pytest.mark.parametrize("suite", SCORED)
def test_metrics_and_report_tell_the_table(suite: str, finished) -> None:
    done = finished(suite)
    metrics, page = done.read("metrics.json"), (done.path / "report.html").read_text()
    for name, row in done.tasks.items():
        for metric in OFFICIAL[name]:
            assert metrics[f"eval_{name}_{metric}"] == row["metrics"][metric]
        assert metrics[f"eval_{name}_score"] == row["score"] and metrics[f"eval_{name}_score_best"] == row["best"]
        assert metrics[f"eval_{name}_score_ci_low"] == row["low"]
        assert metrics[f"eval_{name}_score_ci_high"] == row["high"]
        for baseline, score in row["baselines"].items():
            assert metrics[f"baseline_{baseline}_{name}_score"] == score
        cells = page.split(f'<th scope="row">{name} ')[1].split("</tr>")[0]
        for figure in (row["score"], row["low"], row["high"], row["best"], *row["baselines"].values()):
            assert f"{figure:.4f}".replace("-", "−") in cells.replace("-", "−"), (name, figure)
    content = done.read("suite.json")
    assert f"{content['average']:.4f}" in page.split('<tr class="total">')[1].split("</tr>")[0]
    for one in load_suite(suite).published:
        assert page.count(one.model) >= 2 and one.split in page
    assert "not searched for in a pretraining corpus" in page
    assert yaml.safe_load((done.path / "config.yaml").read_text())["evaluation"]["suite"] == suite


def read_zip(path: Path) -> dict[str, list[str]]:
    with zipfile.ZipFile(path) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert all(text.endswith("\n") and not text.endswith("\n\n") for text in texts.values())
    return {name: text.splitlines() for name, text in texts.items()}


def best_test_labels(done: Done, task: str, of: str | None = None) -> list[int]:
    return done.labels(task, done.tasks[of or task]["best_seed"], "test")


NLI = ("entailment", "neutral", "contradiction")
TWO = ("entailment", "not_entailment")
GLUE_FILES = {
    "CoLA.tsv": ("cola", "01"),
    "SST-2.tsv": ("sst2", "01"),
    "MRPC.tsv": ("mrpc", "01"),
    "QQP.tsv": ("qqp", "01"),
    "MNLI-m.tsv": ("mnli", NLI),
    "MNLI-mm.tsv": ("mnli_mismatched", NLI),
    "QNLI.tsv": ("qnli", TWO),
    "RTE.tsv": ("rte", TWO),
    "WNLI.tsv": ("wnli", "01"),
    "AX.tsv": ("ax", NLI),
}


def test_the_submission_of_glue_is_what_its_server_takes(finished) -> None:
    done = finished("glue")
    files = read_zip(done.path / "submission.zip")
    assert set(files) == {*GLUE_FILES, "STS-B.tsv"} and "with 11 of 11 files" in done.told
    for name, lines in files.items():
        assert lines[0] == "index\tprediction"
        indices, said = zip(*(line.split("\t") for line in lines[1:]), strict=True)
        assert [int(index) for index in indices] == list(range(6))
        if name == "STS-B.tsv":
            seed = done.tasks["stsb"]["best_seed"]
            values = [min(max(one["value"], 0), 5) for one in done.said("stsb", seed, "test")]
            assert [float(one) for one in said] == pytest.approx(values, abs=6e-4)
        else:
            task, words = GLUE_FILES[name]
            of = "mnli" if task in ("ax", "mnli_mismatched") else task
            assert list(said) == [words[label] for label in best_test_labels(done, task, of)], name


def test_similarities_are_handed_in_within_their_range() -> None:
    entry: Any = SimpleNamespace(spec=SimpleNamespace(submission=None))
    said = [{"value": value} for value in (-0.4, 2.34567, 7.0)]
    lines = submission._tsv(entry, [{"_row": number} for number in (1, 2, 3)], said)
    assert lines[1:] == ["0\t0.000", "1\t2.346", "2\t5.000"]


def test_the_submission_of_superglue_is_what_its_server_takes(finished) -> None:
    done = finished("superglue")
    files = {name: list(map(json.loads, lines)) for name, lines in read_zip(done.path / "submission.zip").items()}
    words = {
        "BoolQ": ("boolq", ("false", "true")),
        "CB": ("cb", ("entailment", "contradiction", "neutral")),
        "COPA": ("copa", (0, 1)),
        "RTE": ("rte", TWO),
        "WiC": ("wic", ("false", "true")),
        "WSC": ("wsc", ("False", "True")),
        "AX-b": ("axb", TWO),
        "AX-g": ("axg", TWO),
    }
    assert set(files) == {f"{name}.jsonl" for name in (*words, "MultiRC", "ReCoRD")}
    for name, (task, labels) in words.items():
        said = best_test_labels(done, task, "rte" if task in ("axb", "axg") else task)
        assert files[f"{name}.jsonl"] == [{"idx": place, "label": labels[one]} for place, one in enumerate(said)], name
    rows = make("superglue", "record", 6, 2)
    expected = [
        {"idx": row["idx"]["query"], "label": row["entities"][label]}
        for row, label in zip(rows, best_test_labels(done, "record"), strict=True)
    ]
    assert files["ReCoRD.jsonl"] == expected
    said = [{"idx": 1000 + place, "label": one} for place, one in enumerate(best_test_labels(done, "multirc"))]
    questions = [{"idx": 100, "answers": said[:3]}, {"idx": 101, "answers": said[3:]}]
    assert files["MultiRC.jsonl"] == [{"idx": 10, "passage": {"questions": questions}}]


def test_shards_of_a_test_split_are_counted_on(data: dict[str, Path], tmp_path: Path) -> None:
    """The index of a row is its place in the split, not in its file."""
    inside = tmp_path / "data" / "glue-wnli"
    shutil.copytree(data["glue"] / "glue-wnli", inside)
    (inside / "test-00000-of-00001.parquet").unlink()
    rows = suite_rows.hide("wnli", make("glue", "wnli", 6, 2))
    for part in range(2):
        write(inside / f"test-0000{part}-of-00002.parquet", "wnli", rows[3 * part :][:3])
    more = ("--evaluation.suite", "glue", "--evaluation.tasks", "[wnli]", "--evaluation.submission", "true")
    done = evaluate(flags(tmp_path / "run", tmp_path / "data", *more, "--evaluation.seeds", "1"))
    lines = read_zip(done.path / "submission.zip")["WNLI.tsv"]
    assert [line.split("\t")[0] for line in lines[1:]] == ["0", "1", "2", "3", "4", "5"]
    assert "with 1 of 11 files; incomplete, without CoLA.tsv (cola)" in done.told


# ---------------------------------------------------------------- official scores


def token_f1(said: str, right: str) -> float:
    """F1 of two bags of words, by hand: names here have no articles and no punctuation."""
    one, other = said.lower().split(), right.lower().split()
    same = sum(min(one.count(word), other.count(word)) for word in set(one))
    return 2 * same / (len(one) + len(other))


def by_sklearn(task: str, rows: Sequence[suite_rows.Row], said: Sequence[float]) -> list[float]:
    """The official metrics of a task, in the order of OFFICIAL."""
    if task == "record":
        pairs = [(row["entities"][int(label)], row["answers"]) for row, label in zip(rows, said, strict=True)]
        f1 = [max(token_f1(entity, answer) for answer in answers) for entity, answers in pairs]
        return [float(np.mean(f1)), float(np.mean([entity in answers for entity, answers in pairs]))]
    true = [row["label"] for row in rows]
    if task == "cola":
        return [matthews_corrcoef(true, said)]
    if task == "stsb":
        return [pearsonr(said, true).statistic, spearmanr(said, true).statistic]
    if task in ("mrpc", "qqp"):
        return [f1_score(true, said), accuracy_score(true, said)]
    if task == "cb":
        return [f1_score(true, said, average="macro"), accuracy_score(true, said)]
    if task == "multirc":
        right: dict[int, list[bool]] = {}
        for row, label, truth in zip(rows, said, true, strict=True):
            right.setdefault(row["idx"]["question"], []).append(label == truth)
        return [f1_score(true, said), float(np.mean([all(one) for one in right.values()]))]
    if task == "axg":
        return [float(np.mean(np.array(said)[::2] == np.array(said)[1::2])), accuracy_score(true, said)]
    return [accuracy_score(true, said)]


CHECKED = (
    *(("glue", task) for task in ("cola", "stsb", "mrpc", "qqp", "sst2")),
    *(("superglue", task) for task in ("cb", "multirc", "record", "axg", "copa", "wic")),
)


@pytest.mark.parametrize(("suite", "task"), CHECKED)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_scores_are_those_of_the_predictions_kept(suite: str, task: str, finished) -> None:
    done, split = finished(suite), "test" if task == "axg" else "validation"
    rows = make(suite, task, 6 if task == "axg" else 12, 2 if task == "axg" else 1)
    for seed in (42, 43):
        key = "value" if task == "stsb" else "label"
        figures = by_sklearn(task, rows, [one[key] for one in done.said(task, seed, split)])
        assert done.tasks[task]["scores"][str(seed)] == pytest.approx(np.mean(figures), abs=1e-6)
        if seed == min((42, 43), key=lambda one: done.tasks[task]["scores"][str(one)]):
            known = done.tasks[task]["metrics"]
            assert [known[metric] for metric in OFFICIAL[task]] == pytest.approx(figures, abs=1e-6)


def read(folder: Path, suite: str, task: str, *splits: str) -> tuple[Any, TaskData]:
    spec = committed(suite).tasks[task]
    known = FORMS[spec.form].task(spec.metrics)
    return known, read_task(spec, known, str(folder), list(splits), [], None)


@pytest.mark.parametrize(("suite", "task"), CHECKED)
def test_scores_of_any_predictions_are_official(suite: str, task: str, tmp_path: Path) -> None:
    """Also those of rows drawn for the bootstrap: groups stay whole."""
    split, seed = ("test", 2) if task == "axg" else ("validation", 1)
    write_task(tmp_path, suite, task, **{split: 60})
    known, found = read(tmp_path, suite, task, split)
    rows, draw = make(suite, task, 60, seed), np.random.default_rng(0)
    choices = 3 if task in ("cb", "record") else 2
    said = [float(one) for one in draw.random(60)] if task == "stsb" else draw.integers(choices, size=60).tolist()
    key = "value" if task == "stsb" else "label"
    shares = (np.ones(choices) / choices).tolist()
    scored = known.score([{key: one, "probabilities": shares} for one in said], found.splits[split].as_list)
    figures = by_sklearn(task, rows, said)
    assert [scored.metrics[metric] for metric in OFFICIAL[task]] == pytest.approx(figures, abs=1e-6)
    assert scored.headline == "score" and scored.metrics["score"] == pytest.approx(np.mean(figures), abs=1e-6)
    half = np.arange(30)
    expected = np.mean(by_sklearn(task, rows[:30], said[:30]))
    assert scored.statistic(half) == pytest.approx(expected, abs=1e-6)
    assert scored.statistic(np.repeat(half, 2)) == pytest.approx(expected, abs=1e-6)


# ---------------------------------------------------------------- forms


def reshape(form: str, row: dict[str, Any], training: bool = False) -> dict[str, Any]:
    return FORMS[form].reshape(row, training)


def test_the_word_of_wic_is_marked_in_both_sentences() -> None:
    row = {"text": "A class of ten.", "text_pair": "First class", "word": "class"}
    found = reshape("word_in_context", row | {"start1": 2, "end1": 7, "start2": 6, "end2": 11})
    assert (found["text"], found["text_pair"]) == ("A *class* of ten.", "First *class*")


@pytest.mark.parametrize(
    ("text", "first", "second", "expected"),
    [
        ("Mark told Pete he won.", (0, "Mark"), (3, "he"), "*Mark* told Pete #he# won."),
        ("The big  dog ran, since it  was late.", (0, "The big  dog"), (5, "it"), None),
        (
            "He saw Pete, (the cook), and left him.",
            (2, "Pete"),
            (0, "He"),
            "#He# saw *Pete*, (the cook), and left him.",
        ),
        ("Ann saw Bob. \n Bob saw her.", (2, "Bob"), (5, "her"), "Ann saw *Bob*. \n Bob saw #her#."),
    ],
)
def test_noun_and_pronoun_of_wsc_are_marked(text: str, first: Any, second: Any, expected: str | None) -> None:
    """Words are counted by blanks, however many; what follows the noun in its word stays outside of the mark."""
    row = {"text": text, "span1_index": first[0], "span1_text": first[1]}
    found = reshape("coreference", row | {"span2_index": second[0], "span2_text": second[1]})
    assert found["text"] == (expected or "*The big  dog* ran, since #it#  was late.")
    assert found["text_pair"] == first[1]


def test_a_mark_of_wsc_stays_at_its_word() -> None:
    """Behind a quotation mark or bracket; where the span is written in another way, not in words further on."""
    row = {"text": '"He saw the cat," said (Ann).', "span1_index": 5, "span1_text": "Ann", "span2_index": 0}
    assert reshape("coreference", row | {"span2_text": "He"})["text"] == '"#He# saw the cat," said (*Ann*).'
    assert reshape("coreference", row | {"span2_text": "he"})["text"].endswith(' saw the cat," said (*Ann*).')


def test_copa_asks_for_cause_or_effect(tmp_path: Path) -> None:
    row = {"text": "The grass was wet.", "choices": ["It rained.", "It shone."], "label": 0}
    cause, effect = (reshape("choice", row | {"question": question}) for question in ("cause", "effect"))
    assert (cause["question"], cause["stem"]) == ("What was the cause of this?", "The grass was wet because")
    assert (effect["question"], effect["stem"]) == ("What happened as a result?", "The grass was wet so")
    write_task(tmp_path, "superglue", "copa")
    found = read(tmp_path, "superglue", "copa", "validation")[1].splits["validation"].as_list
    rows = make("superglue", "copa", 12, 1)
    assert [one["choices"] for one in found] == [[row["choice1"], row["choice2"]] for row in rows]
    assert [one["label"] for one in found] == [row["label"] for row in rows]


def test_answers_of_multirc_stay_with_their_paragraph(tmp_path: Path) -> None:
    write_task(tmp_path, "superglue", "multirc")
    task, found = read(tmp_path, "superglue", "multirc", "train", "validation")
    for row, own in zip(found.splits["validation"].as_list, make("superglue", "multirc", 12, 1), strict=True):
        assert row["text"] == own["paragraph"] and row["text_pair"] == f"{own['question']} {own['answer']}"
        place = own["idx"]
        assert row["group"] == task.group_key(row) == str(place["paragraph"])
        assert row["question_id"] == f"{place['paragraph']}-{place['question']}"


def test_record_trains_on_one_right_entity(tmp_path: Path) -> None:
    own = make("superglue", "record", 6, 0)
    own[0] |= {"entities": ["Rome", "Ann", "Rome", "Annie", "Bob"], "answers": ["Ann", "Annie"]}
    own[1] |= {"answers": ["Nobody"]}
    own[2] |= {"passage": "One.\n@highlight\nTwo\n@highlight\nThree", "query": "It was @placeholder."}
    write(tmp_path / "superglue-record" / "train.parquet", "record", own)
    write(tmp_path / "superglue-record" / "validation.parquet", "record", own[2:] + own[:1])
    task, found = read(tmp_path, "superglue", "record", "train", "validation")
    train, scored = found.splits["train"].as_list, found.splits["validation"].as_list
    assert train[0]["entities"] == ["Rome", "Ann", "Bob"] and task.target(train[0]) == 1
    assert train[0]["choices"][1] == own[0]["query"].replace("@placeholder", "Ann")
    assert len(train) == 5 and found.receipt["train"]["rows_dropped"] == {"null_label": 1}
    assert scored[-1]["entities"] == ["Rome", "Ann", "Annie", "Bob"] and len(scored[-1]["choices"]) == 4
    assert scored[0]["text"] == "One. Two Three" and scored[0]["group"] == "11"
    assert scored[0]["choices"] == [f"It was {entity}." for entity in own[2]["entities"]]


def drop(column: str) -> Callable[[suite_rows.Row], suite_rows.Row]:
    return lambda row: {name: value for name, value in row.items() if name != column}


@pytest.mark.parametrize(
    ("suite", "task", "change", "told"),
    [
        ("superglue", "wsc", {"span1_index": 99}, r"validation.*\.parquet, row 3.*coreference"),
        ("superglue", "wsc", {"span2_text": None}, r"validation.*\.parquet, row 3"),
        ("superglue", "record", {"answers": ["Nobody"]}, r"validation.*\.parquet, row 3.*label"),
        ("superglue", "record", {"query": None}, r"validation.*\.parquet, row 3"),
        ("superglue", "copa", {"choice1": " "}, r"validation.*\.parquet, row 3.*choices"),
        ("superglue", "multirc", {"question": None}, r"validation.*\.parquet, row 3"),
        ("glue", "rte", {"sentence2": ""}, r"validation.*\.parquet, row 3.*text_pair is empty"),
        ("glue", "rte", {"label": -1}, r"validation.*\.parquet, row 3.*-1"),
        ("glue", "stsb", {"label": -1.0}, r"validation.*\.parquet, row 3.*-1.*hidden"),
        ("glue", "cola", drop("sentence"), r"validation.*\.parquet.*'sentence'"),
        ("superglue", "wic", drop("start2"), r"validation.*\.parquet.*'start2'"),
        ("superglue", "wsc", drop("span1_text"), r"validation.*\.parquet.*'span1_text'"),
        ("superglue", "record", drop("answers"), r"validation.*\.parquet.*'answers'"),
    ],
)
def test_a_bad_row_is_named(suite: str, task: str, change: Any, told: str, tmp_path: Path) -> None:
    """Among others, a label that is hidden where others are not."""
    rows = make(suite, task, 6, 1)
    rows = [change(row) for row in rows] if callable(change) else rows
    if not callable(change):
        rows[2] = rows[2] | change
    write(tmp_path / f"{suite}-{task}" / "validation-00000-of-00001.parquet", task, rows)
    with pytest.raises((DataError, CardError), match=told):
        read(tmp_path, suite, task, "validation")


@pytest.mark.parametrize(
    ("task", "change"),
    [
        ("wic", {"start1": 500, "end1": 504}),
        ("wic", {"start2": -3}),
        ("wic", {"start1": None}),
        ("wsc", {"span1_index": -1}),
    ],
)
def test_a_place_that_is_not_in_the_text_is_named(task: str, change: Any, tmp_path: Path) -> None:
    """Else a mark would stand where no word is."""
    rows = make("superglue", task, 6, 1)
    rows[2] = rows[2] | change
    write(tmp_path / f"superglue-{task}" / "validation.parquet", task, rows)
    with pytest.raises(DataError, match=r"validation\.parquet, row 3"):
        read(tmp_path, "superglue", task, "validation")


# ---------------------------------------------------------------- going on


CHOSEN = ("--evaluation.suite", "glue", "--evaluation.tasks", "[cola, sst2]")


@pytest.fixture
def interrupted(data: dict[str, Path], tmp_path: Path, monkeypatch, locks) -> list[str]:
    """Flags of a run that was broken off while it trained the first seed of its second task."""
    arguments = flags(tmp_path / "run", data["glue"], *CHOSEN)
    finish_step, steps = ExactTrainer.finish_step, []

    def stop(self: ExactTrainer) -> None:
        finish_step(self)
        steps.append(self)
        if len(steps) == 5:  # two seeds of two steps before
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ExactTrainer, "finish_step", stop)
        with pytest.raises(KeyboardInterrupt):
            evaluate(arguments)
    locks()
    return arguments


def modified(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_run_goes_on_where_it_was_broken_off(interrupted: list[str], tmp_path: Path, finished, fits) -> None:
    """And grows with further tasks and seeds; what was done stays as it is."""
    run, whole = tmp_path / "run", finished("glue")
    fits.clear()
    assert list(json.loads((run / "suite.json").read_text())["tasks"]) == ["cola"]
    assert not (run / "metrics.json").exists()
    before = modified(run / "tasks" / "cola")
    assert len([name for name in before if name.endswith("predictions-validation.parquet")]) == 2
    done = evaluate(interrupted)
    assert fits == ["sst2/seed-42", "sst2/seed-43"]
    assert modified(run / "tasks" / "cola") == before
    content = done.read("suite.json")
    assert done.tasks == {name: whole.tasks[name] for name in ("cola", "sst2")}
    assert content["published"] == whole.read("suite.json")["published"]
    assert content["average_of"] == 2 and content["average_misses"] == list(GLUE_ROWS[2:6]) + list(GLUE_ROWS[7:])
    assert not list((run / "tasks").glob("*/*/checkpoints"))

    fits.clear()
    before = modified(run)
    again = evaluate(interrupted)
    assert fits == [] and modified(run) == before
    assert "This run is finished" in again.told and f"{'eval_average_partial':<44}" in again.printed

    done_before = modified(run / "tasks")
    grown = evaluate([*interrupted, "--evaluation.tasks", "[cola, sst2, rte]"])
    assert fits == ["rte/seed-42", "rte/seed-43"]
    assert grown.tasks == {name: whole.tasks[name] for name in ("cola", "sst2", "rte")}
    assert done_before.items() <= modified(run / "tasks").items()

    fits.clear()
    seeds = evaluate([*interrupted, "--evaluation.tasks", "[rte]", "--evaluation.seeds", "3"])
    assert fits == ["rte/seed-44"] and list(seeds.tasks) == ["rte"]
    assert list(seeds.tasks["rte"]["scores"]) == ["42", "43", "44"]
    assert sorted(seeds.tasks["rte"]["scores"].values())[1] == seeds.tasks["rte"]["score"]

    with pytest.raises(ConfigError, match="training.learning_rate: 0.01 there, 0.02 now"):
        evaluate([*interrupted, "--training.learning_rate", "2e-2"])
    with pytest.raises(ConfigError, match=r"evaluation.suite: 'glue' there, 'glue_small' now"):
        evaluate([*interrupted, "--evaluation.suite", "glue_small"])
    assert fits == ["rte/seed-44"]


def one_task(run: Path, data: Path, task: str, *more: str, suite: str = "glue") -> list[str]:
    return flags(
        run, data, "--evaluation.suite", suite, "--evaluation.tasks", f"[{task}]", "--evaluation.seeds", "1", *more
    )


def test_scores_of_another_training_are_not_taken_over(data: dict[str, Path], tmp_path: Path, fits) -> None:
    """Steps of a finished task, or settings in a suite's file, that have changed: trained anew, or refused."""
    suite = tmp_path / "own.yaml"
    suite.write_text("name: Own\nextends: glue\n")
    arguments = [*one_task(tmp_path / "run", data["glue"], "wnli"), "--evaluation.suite", str(suite)]
    evaluate(arguments)
    for change in ("steps", "file"):
        fits.clear()
        if change == "file":
            suite.write_text("name: Own\nextends: glue\ntraining: {weight_decay: 0.3}\n")
        more = ("--training.max_steps", "3") if change == "steps" else ("--evaluation.seeds", "2")
        try:
            evaluate([*arguments, *more])
        except ConfigError:
            continue
        assert "wnli/seed-42" in fits, change


def test_models_are_kept_when_they_are_asked_for_later(data: dict[str, Path], tmp_path: Path, fits) -> None:
    arguments = one_task(tmp_path / "run", data["glue"], "wnli", "--evaluation.seeds", "2")
    evaluate(arguments)
    done = evaluate([*arguments, "--evaluation.save_models", "true"])
    assert (done.path / "tasks" / "wnli" / "model" / "model.safetensors").is_file()


# ---------------------------------------------------------------- the best weights


def classify(folder: Path, run: Path, *more: str, steps: int = 8) -> list[str]:
    """Flags of a fine-tuning run that is evaluated after every second step."""
    return [
        *finetune_runs.flags("classification", folder, run, "--training.load_best_model_at_end", "true", steps=steps),
        *("--training.eval_steps", "2", "--training.save_steps", "2", "--training.save_total_limit", "null"),
        *("--evaluation.baselines", "false", "--training.learning_rate", "1e-2", *more),
    ]


@pytest.fixture
def curve(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """What evaluations are worth, by step; others are worth nothing."""
    worth: dict[int, float] = {}
    offer = BestWeights.offer

    def offered(self: BestWeights, step: int, metrics: Any, model: Any) -> bool:
        self.score_of = lambda _: worth.get(step, 0.0)
        return offer(self, step, metrics, model)

    monkeypatch.setattr(BestWeights, "offer", offered)
    return worth


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


def history(run: Path) -> list[list[float]]:
    return json.loads((run / "checkpoints" / "best.json").read_text())


def test_the_weights_of_the_best_evaluation_are_kept(tmp_path: Path, curve: dict[int, float]) -> None:
    curve |= {2: 0.3, 4: 0.9, 6: 0.9, 8: 0.5}
    metrics = run_finetuning("classification", classify(tmp_path, tmp_path / "run"))
    run = tmp_path / "run"
    assert metrics["train_steps"] == 8 and history(run) == [[2, 0.3], [4, 0.9], [6, 0.9], [8, 0.5]]
    kept = weights(run / "model")
    assert same(kept, weights(run / "checkpoints" / "checkpoint-4"))  # the first of equals
    assert not same(kept, weights(run / "checkpoints" / "checkpoint-6"))
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    by_step = {event["step"]: event["eval_loss"] for event in events if "eval_loss" in event}
    assert metrics["eval_loss"] == pytest.approx(by_step[4], abs=1e-7) and abs(by_step[4] - by_step[8]) > 1e-4
    said = predict(run, "--predict.input", str(finetune_runs.write_rows(tmp_path, "classification", 30, 1)))
    table = pq.read_table(run / "predictions.parquet").to_pylist()
    for one, scored in zip(said, table, strict=True):
        assert one["prediction"]["score"] == pytest.approx(scored["predicted_score"], abs=1e-5)


def test_the_headline_decides_what_is_best(tmp_path: Path) -> None:
    run_finetuning("classification", classify(tmp_path, tmp_path / "run"))
    events = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    scored = [[event["step"], event["eval_accuracy"]] for event in events if "eval_loss" in event]
    assert history(tmp_path / "run") == scored and len({score for _, score in scored}) > 1


def test_training_stops_when_nothing_gets_better(tmp_path: Path, curve: dict[int, float]) -> None:
    curve |= {2: 0.5, 4: 0.6, 6: 0.6, 8: 0.4, 10: 0.9}
    arguments = classify(tmp_path, tmp_path / "run", "--training.early_stopping_patience", "2", steps=12)
    metrics = run_finetuning("classification", arguments)
    assert metrics["train_steps"] == 8 and [step for step, _ in history(tmp_path / "run")] == [2, 4, 6, 8]
    run = tmp_path / "run"
    assert same(weights(run / "model"), weights(run / "checkpoints" / "checkpoint-4"))


def broken_off(place: str, arguments: list[str], monkeypatch, locks) -> None:
    """Breaks a run off in step 7, while the evaluation of step 6 is taken, or when training has ended."""
    from pipelines.finetuning import steps

    if place == "step":
        finish_step = ExactTrainer.finish_step

        def stop(self: ExactTrainer) -> None:
            finish_step(self)
            if self.state.global_step == 7:
                raise KeyboardInterrupt

        target: Any = (ExactTrainer, "finish_step", stop)
    elif place == "evaluation":
        offer = BestWeights.offer

        def interrupt(self: BestWeights, step: int, *rest: Any) -> bool:
            if step == 6:
                raise KeyboardInterrupt
            return offer(self, step, *rest)

        target = (BestWeights, "offer", interrupt)
    else:
        target = (steps, "save_model", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(*target)
        run_finetuning("classification", arguments)
    locks()


@pytest.mark.parametrize(
    ("place", "points", "more"),
    [
        ("step", {2: 0.3, 4: 0.5, 6: 0.9}, ("--training.save_steps", "4")),  # the best comes after the checkpoint
        ("step", {2: 0.5, 4: 0.3, 6: 0.4, 8: 0.6}, ()),
        ("evaluation", {2: 0.3, 4: 0.5, 6: 0.9}, ()),
        ("end", {2: 0.5, 4: 0.4, 6: 0.3, 8: 0.9}, ("--training.early_stopping_patience", "2")),
    ],
)
def test_a_run_that_was_broken_off_keeps_the_same_weights(
    place: str, points: dict[int, float], more: tuple[str, ...], tmp_path: Path, curve, locks, monkeypatch
) -> None:
    curve |= points
    both = [classify(tmp_path, tmp_path / name, *more) for name in ("whole", "halved")]
    whole = run_finetuning("classification", both[0])
    broken_off(place, both[1], monkeypatch, locks)
    halved = run_finetuning("classification", both[1])
    assert history(tmp_path / "halved") == history(tmp_path / "whole")
    assert halved["train_steps"] == whole["train_steps"] and halved["eval_loss"] == whole["eval_loss"]
    assert same(weights(tmp_path / "halved" / "model"), weights(tmp_path / "whole" / "model"))


def test_patience_needs_the_best_weights(tmp_path: Path) -> None:
    arguments = classify(tmp_path, tmp_path / "run", "--training.early_stopping_patience", "2")
    place = arguments.index("--training.load_best_model_at_end")
    with pytest.raises(ConfigError, match="early_stopping_patience is 2.*load_best_model_at_end true"):
        run_finetuning("classification", arguments[:place] + arguments[place + 2 :])
    assert not (tmp_path / "run").exists()


def test_patience_of_a_suite_can_be_set(tmp_path: Path) -> None:
    """A suite always keeps the best weights."""
    arguments = flags(tmp_path / "run", tmp_path, "--training.early_stopping_patience", "2")
    config = parse_config(importlib.import_module("evaluate_glue").Config, RECIPE, arguments)
    suite = load_suite("glue")
    training = training_of(suite, suite.tasks["rte"], config.training)
    assert training.early_stopping_patience == 2 and training.load_best_model_at_end


# ---------------------------------------------------------------- what is missing, and mistakes


def test_a_task_without_rows_is_left_out_by_name(data: dict[str, Path], tmp_path: Path) -> None:
    """Diagnostic sets of a task that is left out are left out with it."""
    folder = tmp_path / "data"
    shutil.copytree(data["superglue"] / "superglue-wsc", folder / "superglue-wsc")
    write_task(folder, "superglue", "rte", ["train", "test"])
    write_task(folder, "superglue", "axb")
    more = ("--evaluation.submission", "true", "--evaluation.seeds", "1", "--evaluation.tasks", "[wsc, rte, axb, cb]")
    done = evaluate(flags(tmp_path / "run", folder, "--evaluation.suite", "superglue", *more))
    content, metrics, page = (
        done.read("suite.json"),
        done.read("metrics.json"),
        (done.path / "report.html").read_text(),
    )
    assert list(content["tasks"]) == ["wsc"] and set(content["skipped"]) == {"rte", "axb", "cb"}
    assert "no validation split" in content["skipped"]["rte"] and "rte" in content["skipped"]["axb"]
    assert "no train and no validation split" in content["skipped"]["cb"]
    missing = [name for name in SUPERGLUE[:8] if name != "wsc"]
    assert content["average_misses"] == missing and content["average_of"] == 1
    assert metrics["eval_average_partial"] == content["average"] == content["tasks"]["wsc"]["score"]
    assert "eval_average" not in metrics and "eval_average_partial" in done.printed
    assert f"(1 of 8, partial: without {', '.join(missing)})" in done.told
    for name, why in content["skipped"].items():
        assert f"SuperGLUE: {name} is left out: {why}" in done.told and f"{name:<16} left out: {why}" in done.told
        assert f'<tr><th scope="row">{name}</th><td>{why}' in page.replace("&#39;", "'")
    assert "1 of 8 tasks, a partial average" in page and "Average, partial" in page
    assert list(read_zip(done.path / "submission.zip")) == ["WSC.jsonl"]


def test_a_test_split_is_scored_where_its_labels_are_known(tmp_path: Path, data: dict[str, Path], capsys) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data["superglue"] / "superglue-wsc", folder / "superglue-wsc")
    rte = write_task(folder, "superglue", "rte")
    write(rte / "test.parquet", "rte", make("superglue", "rte", 8, 5))
    arguments = one_task(tmp_path / "run", folder, "wsc, rte", "--evaluation.split", "test", suite="superglue")
    done = evaluate(arguments)
    content = done.read("suite.json")
    assert content["skipped"] == {"wsc": "the labels of its test split are hidden (-1): it cannot be scored"}
    said, rows = done.labels("rte", split="test"), make("superglue", "rte", 8, 5)
    assert content["tasks"]["rte"]["rows"] == 8
    assert content["tasks"]["rte"]["score"] == accuracy_score([row["label"] for row in rows], said)
    plan = json.loads((done.path / "tasks" / "rte" / "seed-42" / "plan.json").read_text())
    assert plan["validation_documents"] == 12  # what the best weights are chosen by

    hidden = one_task(tmp_path / "none", data["superglue"], "wsc, rte, axb", "--evaluation.split", "test")
    code, told = exit_code([*hidden, "--evaluation.suite", "superglue"], capsys)
    assert code == 2 and "DataError: No task of SuperGLUE can be scored. " in told
    assert all(f"{name}: the labels of its test split are hidden (-1)" in told for name in ("wsc", "rte"))
    assert not (tmp_path / "none").exists()


def mistaken(tmp_path: Path, content: str) -> list[str]:
    (tmp_path / "own.yaml").write_text(content)
    (tmp_path / "data").mkdir(exist_ok=True)
    return flags(tmp_path / "run", tmp_path / "data", "--evaluation.suite", str(tmp_path / "own.yaml"))


TASK = "name: Own\ntasks:\n  one: {data: [glue/rte], metrics: [accuracy], "


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            "name: Own\ntasks:\n  one: {data: [glue/rte], metrics: [acuracy]}",
            r"'one': metrics has 'acuracy'.*'accuracy'",
        ),
        (TASK + "formm: text}", "formm"),
        (TASK + "form: texts}", r"'one': form has 'texts'.*'text'"),
        (TASK + "training: {learning_rat: 1.0}}", r"'one': training has 'learning_rat'.*'learning_rate'"),
        (TASK + "model_of: two}", r"'one': model_of has 'two'"),
        (TASK + "max_length: long}", "max_length"),
        ("name: Own\ntasks:\n  one: {data: [rte], metrics: [accuracy]}", "'rte'; expected <card>/<config>"),
        ("name: Own\ntasks:\n  one: {data: [glue/rte], metrics: []}", "at least one metric"),
        ("name: Own\ntasks:\n  one: {data: [glue/rtee], metrics: [accuracy]}", "no config 'rtee'.*'rte'"),
        ("name: Own\ntasks:\n  one: {data: [gluee/rte], metrics: [accuracy]}", "no data card 'gluee'.*'glue'"),
        ("name: Own\nextends: gleu", "extends is 'gleu'.*'glue'"),
        ("name: Own\ntask: {}", "task"),
        ("tasks: {}", "name"),
        (TASK, "not valid YAML"),
        ("[]", "must hold a map"),
        ("name: Own\nextends: glue\ntasks: {rte: {metrics: [f2]}}", r"'rte': metrics has 'f2'"),
        ("name: Own\nextends: glue\ntraining: {epochs: 3}", r"training has 'epochs'"),
    ],
)
def test_a_mistake_in_a_suite_is_told(content: str, told: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, CardError), match=told):
        evaluate(mistaken(tmp_path, content))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "content",
    [
        TASK + "training: {learning_rate: fast}}",
        TASK + "training: {early_stopping_patience: 0}}",
        "name: Own\nextends: OWN",
    ],
)
def test_a_value_that_cannot_be_is_told_before_anything_is_read(content: str, tmp_path: Path) -> None:
    """A suite that extends itself, among others."""
    with pytest.raises(ConfigError, match="own.yaml|early_stopping_patience must be at least 1"):
        evaluate(mistaken(tmp_path, content.replace("OWN", str(tmp_path / "own.yaml"))))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--evaluation.suite", "gleu"), "evaluation.suite is 'gleu'.*Did you mean 'glue'"),
        (("--evaluation.suite", "glue", "--evaluation.tasks", "[rte, mnlli]"), "names 'mnlli'.*Did you mean 'mnli'"),
        (("--evaluation.suite", "glue", "--data.dir", "nowhere"), "data.dir is 'nowhere': there is no such folder"),
        (("--evaluation.suite", "glue", "--evaluation.num_fewshot", "2"), "num_fewshot is for .*method likelihood"),
        (
            ("--evaluation.suite", "glue", "--evaluation.method", "saved", "--evaluation.warm_start", "mnli"),
            "warm_start is for .*method finetune, found saved",
        ),
    ],
)
def test_a_mistake_is_told_before_anything_is_made(more: tuple[str, ...], told: str, data, tmp_path, capsys) -> None:
    code, message = exit_code(flags(tmp_path / "run", data["glue"], *more), capsys)
    assert code == 2 and "Traceback" not in message
    with pytest.raises(ConfigError, match=told):
        raise ConfigError(message)
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- suites in YAML


@pytest.mark.parametrize("name", suite_names())
def test_a_committed_suite_is_whole(name: str) -> None:
    suite = load_suite(name)
    for task_name, task in suite.tasks.items():
        for one in task.data:
            card, _, config = one.rpartition("/")
            chosen = load_card(card).config(config)
            labels = chosen.label_names.get("label", ())
            assert set(chosen.data_files) >= {"train", "validation"}
        if task.form == "choice" or task.form == "entities":
            assert not task.verbalizers
        elif task.prompt is not None:
            assert len(task.verbalizers) == (6 if task.form == "number" else len(labels)), task_name
            assert len(set(task.verbalizers)) == len(task.verbalizers)
        if task.submission is not None and task.submission.labels is not None:
            assert len(task.submission.labels) == len(labels)
        training_of(suite, task, SuiteTrainingConfig())
    files = [task.submission.file for task in suite.tasks.values() if task.submission]
    assert len(set(files)) == len(files)
    for one in suite.published:
        for task_name, figures in one.scores.items():
            assert len(figures) in (1, len(suite.tasks[task_name].metrics))
            assert all(10 < figure <= 100 for figure in figures)


def test_a_suite_of_ones_own_changes_another(data: dict[str, Path], tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "name: Own\nextends: glue_small\ntraining: {weight_decay: 0.07}\n"
        "tasks: {rte: {training: {learning_rate: 5.0e-3}, max_length: 32}, mnli: {counts_in: null}}\n"
    )
    suite, glue, small = load_suite(str(own)), load_suite("glue"), load_suite("glue_small")
    assert list(suite.tasks) == list(glue.tasks) and suite.tasks["rte"].prompt == glue.tasks["rte"].prompt
    assert suite.counted["mnli"] == ["mnli_mismatched"]
    stated = SuiteTrainingConfig()
    rte, cola = (training_of(suite, suite.tasks[name], stated) for name in ("rte", "cola"))
    plain = training_of(small, small.tasks["rte"], stated)
    assert (rte.learning_rate, rte.num_train_epochs, rte.weight_decay) == (5e-3, plain.num_train_epochs, 0.07)
    plain = training_of(small, small.tasks["cola"], stated)
    assert cola == dataclasses.replace(plain, weight_decay=0.07) and plain.weight_decay != 0.07
    assert plain.learning_rate != training_of(glue, glue.tasks["cola"], stated).learning_rate
    assert (rte.warmup_steps, rte.per_device_train_batch_size) == (0.06, 32)
    stated = SuiteTrainingConfig(learning_rate=3e-4, num_train_epochs=2, seed=7)
    found = training_of(suite, suite.tasks["rte"], stated)
    assert (found.learning_rate, found.num_train_epochs, found.seed) == (3e-4, 2, 7)

    arguments = one_task(tmp_path / "run", data["glue"], "rte")
    place = arguments.index("--training.learning_rate")
    done = evaluate([*arguments[:place], *arguments[place + 2 :], "--evaluation.suite", str(own)])
    config = yaml.safe_load((done.path / "tasks" / "rte" / "seed-42" / "config.yaml").read_text())
    assert config["training"]["learning_rate"] == 5e-3 and config["data"]["max_length"] == 32
    assert done.read("suite.json")["suite"] == "Own"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gradient_accumulation_steps", 2),
        ("per_device_eval_batch_size", 3),
        ("max_tokens_per_batch", 512),
        ("activation_checkpointing", True),
        ("extra", {"torch_empty_cache_steps": 3}),
    ],
)
def test_what_a_suite_states_holds_unless_the_config_states_it(key: str, value: Any, tmp_path: Path) -> None:
    """Or the suite is refused: such settings are those of a run."""
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"name": "Own", "extends": "glue", "training": {key: value}}))
    try:
        suite = load_suite(str(tmp_path / "own.yaml"))
    except ConfigError as error:
        assert key in str(error)
        return
    assert getattr(training_of(suite, suite.tasks["rte"], SuiteTrainingConfig()), key) == value


# ---------------------------------------------------------------- models as they are


def jsonl(path: Path, suite: str, task: str, names: Sequence[str], count: int, seed: int) -> Path:
    """Rows of a task with the roles of classification, labels by name."""
    columns = suite_rows.COLUMNS.get((suite, task), suite_rows.PAIR)
    if task == "boolq":
        columns = ("passage", "question")
    rows = [
        {"text": row[columns[0]], "text_pair": row[columns[1]], "label": names[row["label"]]}
        for row in make(suite, task, count, seed)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def fine_tuned(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, tuple[str, ...]], Path]:
    """A model fine-tuned on rows of a task, with its labels in another order than the task has them."""
    folder, done = tmp_path_factory.mktemp("saved"), {}

    def get(suite: str, task: str, permuted: tuple[str, ...]) -> Path:
        if task not in done:
            names = suite_rows.LABELS[task]
            run = done[task] = folder / task
            arguments = finetune_runs.flags("classification", folder, run, "--training.eval_strategy", "no", steps=60)
            for split, seed, count in (("train", 0, 60), ("validation", 1, 12)):
                rows = jsonl(folder / f"{task}-{split}.jsonl", suite, task, names, count, seed)
                arguments[arguments.index(f"--data.files.{split}") + 1] = str(rows)
            arguments[arguments.index("--training.learning_rate") + 1] = "5e-3"
            arguments += ["--data.label_names", json.dumps(permuted), "--evaluation.baselines", "false"]
            arguments += ["--training.save_steps", "60", "--training.save_total_limit", "1"]
            run_finetuning("classification", arguments)
        return done[task]

    return get


def given(run: Path, data: Path, model: Path, suite: str, task: str, method: str, *more: str) -> list[str]:
    named = ("--model.name", str(model), "--evaluation.method", method)
    return flags(run, data, "--evaluation.suite", suite, "--evaluation.tasks", f"[{task}]", *named, *more)


def test_a_saved_model_is_scored_by_the_names_of_its_labels(data, tmp_path: Path, fine_tuned, capsys) -> None:
    model = fine_tuned("glue", "rte", ("not_entailment", "entailment"))
    done = evaluate(given(tmp_path / "run", data["glue"], model, "glue", "rte", "saved"))
    input_file = jsonl(tmp_path / "rows.jsonl", "glue", "rte", suite_rows.LABELS["rte"], 12, 1)
    said = [one["prediction"]["label"] for one in predict(model, "--predict.input", str(input_file))]
    right = [suite_rows.LABELS["rte"][row["label"]] for row in make("glue", "rte", 12, 1)]
    row = done.tasks["rte"]
    assert row["score"] == np.mean([one == other for one, other in zip(said, right, strict=True)])
    assert row["score"] > 0.6 and len(set(said)) == 2  # the other order would be below one half
    assert row["score"] == pytest.approx(json.loads((model / "metrics.json").read_text())["eval_accuracy"])
    assert list(row["scores"]) == ["42"]  # a fixed model says the same with every seed
    assert [suite_rows.LABELS["rte"][label] for label in done.labels("rte")] == said
    assert set(row["baselines"]) == {"majority", "tfidf"}
    code, told = exit_code(given(tmp_path / "no", data["glue"], model, "glue", "mnli", "saved"), capsys)
    assert code == 2 and "labels not_entailment, entailment; the task mnli is" in told and "contradiction" in told
    code, told = exit_code(given(tmp_path / "no", data["glue"], model, "glue", "cola", "saved"), capsys)
    assert code == 2 and "the task cola has unacceptable, acceptable" in told
    assert not (tmp_path / "no").exists()  # so that the same folder serves another model


@pytest.mark.parametrize("task", ["boolq", "wic"])
def test_validation_alone_is_enough_for_a_saved_model(task: str, tmp_path: Path, fine_tuned) -> None:
    model = fine_tuned("superglue", "boolq", ("True", "False"))
    write_task(tmp_path / "data", "superglue", task, ["validation"])
    done = evaluate(given(tmp_path / "run", tmp_path / "data", model, "superglue", task, "saved"))
    row = done.tasks[task]
    true = [row["label"] for row in make("superglue", task, 12, 1)]
    assert row["score"] == accuracy_score(true, done.labels(task)) and row["baselines"] == {}
    if task == "boolq":
        assert row["score"] == pytest.approx(json.loads((model / "metrics.json").read_text())["eval_accuracy"])
        assert row["score"] > 0.6


def test_a_saved_model_of_the_hub_has_numbers_for_labels(data: dict[str, Path], tmp_path: Path) -> None:
    """Regression, and labels without names: any model with the head of a classifier."""
    from transformers import BertConfig, BertForSequenceClassification

    from pipelines.data.tokenizer_training import train_tokenizer

    texts = [row[name] for row in make("glue", "stsb", 24, 0) for name in suite_rows.PAIR]
    tokenizer = train_tokenizer([texts], "wordpiece", 300, [])
    sizes = {name: value for name, value in yaml.safe_load(BERT).items() if name != "model_type"}
    for task, labels in (("rte", 2), ("stsb", 1)):
        config = BertConfig(vocab_size=len(tokenizer), num_labels=labels, **sizes)
        BertForSequenceClassification(config).save_pretrained(tmp_path / task)
        tokenizer.save_pretrained(tmp_path / task)
        done = evaluate(given(tmp_path / f"run-{task}", data["glue"], tmp_path / task, "glue", task, "saved"))
        assert ("they are taken as entailment, not_entailment" in done.told) == (task == "rte")
        key = "value" if task == "stsb" else "label"
        figures = by_sklearn(task, make("glue", task, 12, 1), [one[key] for one in done.said(task)])
        assert done.tasks[task]["score"] == pytest.approx(np.mean(figures), abs=1e-6)


def test_a_saved_model_predicts_diagnostic_sets_too(data, tmp_path: Path, fine_tuned) -> None:
    model = fine_tuned("glue", "mnli", ("contradiction", "entailment", "neutral"))
    more = ("--evaluation.submission", "true")
    done = evaluate(given(tmp_path / "run", data["glue"], model, "glue", "mnli, mnli_mismatched, ax", "saved", *more))
    assert set(done.tasks) == {"mnli", "mnli_mismatched"}
    files = read_zip(done.path / "submission.zip")
    assert set(files) == {"MNLI-m.tsv", "MNLI-mm.tsv", "AX.tsv"}
    assert {line.split("\t")[1] for line in files["AX.tsv"][1:]} <= set(NLI)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama of random weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from pipelines.data.tokenizer_training import train_tokenizer

    folder = tmp_path_factory.mktemp("decoder")
    texts = [str(value) for task in SUPERGLUE for row in make("superglue", task, 12, 0) for value in row.values()]
    tokenizer = train_tokenizer([texts], "bpe", 400, [])
    config = yaml.safe_load(finetune_runs.LLAMA) | {"vocab_size": len(tokenizer), "initializer_range": 0.5}
    AutoModelForCausalLM.from_config(AutoConfig.for_model(**config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def asked(suite: str, task: str, row: suite_rows.Row) -> tuple[str, list[str]]:
    """Prompt and candidates of a row, by hand."""
    if task == "sst2":
        return f"Review: {row['sentence']}\nIs this review negative or positive? Answer:", [" negative", " positive"]
    if task == "stsb":
        text = f"First: {row['sentence1']}\nSecond: {row['sentence2']}\n"
        return f"{text}How similar are both, from 0 (not at all) to 5 (the same)? Answer:", [
            f" {grade}" for grade in range(6)
        ]
    if task == "mnli":
        text = f"{row['premise']}\nIs it so that {row['hypothesis']} True, false or neither? Answer:"
        return text, [" true", " neither", " false"]
    if task == "boolq":
        return f"{row['passage']}\nQuestion: {row['question']}?\nAnswer:", [" no", " yes"]
    if task == "copa":
        joint = "because" if row["question"] == "cause" else "so"
        choices = [row["choice1"], row["choice2"]]
        return f"{row['premise'][:-1]} {joint}", [f" {choice[0].lower()}{choice[1:]}" for choice in choices]
    if task == "multirc":
        text = f"{row['paragraph']}\nQuestion: {row['question']}\nProposed answer: {row['answer']}\n"
        return f"{text}Is it right? Answer:", [" no", " yes"]
    if task == "record":
        text = row["passage"].replace("\n@highlight\n", " ")
        return f"{text}\n", [row["query"].replace("@placeholder", entity) for entity in row["entities"]]
    if task == "wic":
        texts = []
        for side in (1, 2):
            text, start, end = row[f"sentence{side}"], row[f"start{side}"], row[f"end{side}"]
            texts.append(f"{text[:start]}*{text[start:end]}*{text[end:]}")
        return f"{texts[0]}\n{texts[1]}\nDoes the word {row['word']} mean the same in both? Answer:", [" no", " yes"]
    words = row["text"].split()
    words[0], words[7] = f"*{words[0]}*", f"#{words[7]}#"
    return f"{' '.join(words)}\nDoes #{row['span2_text']}# stand for {row['span1_text']}? Answer:", [" no", " yes"]


ASKED = {"glue": ("sst2", "stsb", "mnli"), "superglue": ("boolq", "copa", "multirc", "record", "wic", "wsc")}


@pytest.mark.parametrize("suite", SCORED)
def test_a_decoder_says_what_is_likeliest(suite: str, data: dict[str, Path], decoder: Path, tmp_path: Path) -> None:
    arguments = flags(tmp_path / "run", data[suite], "--evaluation.suite", suite, "--model.name", str(decoder))
    done = evaluate([*arguments, "--evaluation.method", "likelihood", "--evaluation.baselines", "false"])
    prompted = [name for name in SCORED[suite] if name not in ("axb", "axg")]
    assert sorted(done.tasks) == sorted(prompted)
    assert set(done.read("suite.json")["skipped"].values()) == {"the suite has no prompt for it"}
    assert set(done.read("suite.json")["skipped"]) == ({"ax"} if suite == "glue" else {"axb", "axg"})
    model, tokenizer = load_decoder(SimpleNamespace(name=str(decoder), revision=None))
    for task in ASKED[suite]:
        requests = [asked(suite, task, row) for row in make(suite, task, 12, 1)]
        scores = continuation_scores(model, tokenizer, requests, None, 1 << 20)
        if task == "stsb":
            shares = [np.exp(one.log_likelihoods_C) / np.exp(one.log_likelihoods_C).sum() for one in scores]
            expected = [float(one @ np.arange(6)) for one in shares]
            assert [one["value"] for one in done.said(task)] == pytest.approx(expected, abs=1e-4)
        else:
            assert done.labels(task) == [int(one.log_likelihoods_C.argmax()) for one in scores], task
    assert len({label for task in ASKED[suite] if task != "stsb" for label in done.labels(task)}) > 1
    assert all(list(row["scores"]) == ["42"] for row in done.tasks.values())


def test_examples_of_a_decoder_are_training_rows(data, decoder: Path, tmp_path: Path, monkeypatch) -> None:
    """Drawn anew for every seed; the same before every question; of diagnostic sets, those of their task."""
    from pipelines.suites import given as module

    prompts: list[list[str]] = []

    def noted(model: Any, tokenizer: Any, requests: Any, *rest: Any, **more: Any) -> Any:
        prompts.append([prompt for prompt, _ in requests])
        return continuation_scores(model, tokenizer, requests, *rest, **more)

    monkeypatch.setattr(module, "continuation_scores", noted)
    more = ("--evaluation.num_fewshot", "2", "--evaluation.seeds", "2")
    done = evaluate(given(tmp_path / "run", data["glue"], decoder, "glue", "sst2", "likelihood", *more))
    solved = [
        "".join((asked("glue", "sst2", row)[0], asked("glue", "sst2", row)[1][row["label"]]))
        for row in make("glue", "sst2", 24, 0)
    ]
    examples = []
    for said in prompts:
        parts = [prompt.split("\n\n") for prompt in said]
        assert [part[-1] for part in parts] == [asked("glue", "sst2", row)[0] for row in make("glue", "sst2", 12, 1)]
        assert all(part[:-1] == parts[0][:-1] for part in parts) and len(parts[0]) == 3
        assert set(parts[0][:2]) <= set(solved) and len(set(parts[0][:2])) == 2
        examples.append(parts[0][:2])
    assert len(examples) == 2 and examples[0] != examples[1]
    assert list(done.tasks["sst2"]["scores"]) == ["42", "43"]
    again = evaluate(given(tmp_path / "again", data["glue"], decoder, "glue", "sst2", "likelihood", *more))
    assert again.tasks == done.tasks
    prompts.clear()
    tasks = "mnli, mnli_mismatched"
    done = evaluate(given(tmp_path / "mm", data["glue"], decoder, "glue", tasks, "likelihood", *more))
    assert list(done.tasks) == ["mnli", "mnli_mismatched"] and len(prompts) == 4
    begins = [said[0].split("\n\n")[:2] for said in prompts]
    assert begins[:2] == begins[2:] and begins[0] != begins[1]
    solved = [asked("glue", "mnli", row) for row in make("glue", "mnli", 24, 0)]
    rows = make("glue", "mnli", 24, 0)
    known = {prompt + words[row["label"]] for (prompt, words), row in zip(solved, rows, strict=True)}
    assert all(set(begin) <= known for begin in begins)


def test_an_encoder_has_no_likelihoods(data: dict[str, Path], tmp_path: Path, fine_tuned, capsys) -> None:
    model = fine_tuned("glue", "rte", ("not_entailment", "entailment"))
    code, told = exit_code(given(tmp_path / "run", data["glue"], model, "glue", "rte", "likelihood"), capsys)
    assert code == 2 and "causal language model" in told and str(model) in told
    assert not (tmp_path / "run").exists()


def test_verbalizers_are_as_many_as_labels(data: dict[str, Path], decoder: Path, tmp_path: Path, capsys) -> None:
    own = tmp_path / "own.yaml"
    for verbalizers in ("[a]", "[a, b, c]"):
        own.write_text(f"name: Own\nextends: glue\ntasks: {{rte: {{verbalizers: {verbalizers}}}}}\n")
        arguments = given(tmp_path / "run", data["glue"], decoder, str(own), "rte", "likelihood")
        code, told = exit_code(arguments, capsys)
        assert code == 2 and "verbalizers" in told


# ---------------------------------------------------------------- the corpus of a model


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two pretraining runs, in one of which a validation row of SST-2 was read."""
    from conftest import sentences

    folder, recipe = tmp_path_factory.mktemp("corpora"), importlib.import_module("pretrain_clm")
    row = make("glue", "sst2", 12, 1)[5]["sentence"]
    runs = {}
    for name, more in (("clean", []), ("leaked", [f"Somebody wrote: {row} And so on."])):
        file = folder / f"{name}.jsonl"
        documents = [*sentences(120), *more * 4]  # of which a tenth is held out
        file.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
        runs[name] = folder / name
        arguments = tiny_run(file, runs[name], "--training.max_steps", "2", "--evaluation.samples", "0")
        arguments[arguments.index("--data.validation_share") + 1] = "0.1"
        with contextlib.redirect_stdout(io.StringIO()):
            recipe.main(parse_config(recipe.Config, str(RECIPES / "pretrain_clm.py"), arguments))
    return runs


def test_rows_of_the_corpus_are_found(data: dict[str, Path], pretrained: dict[str, Path], tmp_path: Path) -> None:
    """In that of the model itself, or in one that is named; a score without them stands beside."""
    runs = {}
    for name, model, more in (
        ("leaked", "leaked", ()),
        ("clean", "clean", ()),
        ("named", "clean", ("--evaluation.corpus", str(pretrained["leaked"]))),
    ):
        arguments = given(tmp_path / name, data["glue"], pretrained[model], "glue", "sst2, rte", "likelihood", *more)
        runs[name] = evaluate(arguments)
    for name in ("leaked", "named"):
        row = runs[name].tasks["sst2"]
        found = row["contamination"]
        assert (found["rows_contaminated"], found["rows_too_short"]) == (1, 0)
        assert found["share"] == pytest.approx(1 / 12) and "clean_rows" not in found
        true = [one["label"] for one in make("glue", "sst2", 12, 1)]
        right = [one == other for one, other in zip(true, runs[name].labels("sst2"), strict=True)]
        assert row["score"] == pytest.approx(np.mean(right))
        assert found["clean_score"] == pytest.approx(np.mean(right[:5] + right[6:]))
        assert found["clean_score"] != row["score"]
        assert runs[name].tasks["rte"]["contamination"]["rows_contaminated"] == 0
        assert runs[name].read("suite.json")["corpora"] == [str(pretrained["leaked"])]
        page = (runs[name].path / "report.html").read_text()
        cells = page.split('<th scope="row">sst2 ')[1].split("</tr>")[0]
        assert f"<td>{1 / 12:.4f}</td>" in cells and f"<td>{found['clean_score']:.4f}</td>" in cells
        assert "In the corpus</th>" in page and str(pretrained["leaked"]) in page
        assert "not searched for" not in page
    assert runs["named"].tasks["sst2"]["contamination"]["rows_contaminated"] == 1
    clean = runs["clean"].tasks["sst2"]
    assert clean["contamination"]["rows_contaminated"] == 0 and clean["contamination"]["share"] == 0
    assert clean["contamination"]["clean_score"] == clean["score"]


def test_a_corpus_must_be_that_of_a_pretraining_run(data, tmp_path: Path, fine_tuned, decoder: Path, capsys) -> None:
    for folder in (tmp_path, decoder, fine_tuned("glue", "rte", ("not_entailment", "entailment"))):
        more = ("--evaluation.corpus", str(folder))
        code, told = exit_code(
            given(tmp_path / "run", data["glue"], decoder, "glue", "sst2", "likelihood", *more), capsys
        )
        assert code == 2 and f"evaluation.corpus is {str(folder)!r}, which is no run folder of a pretraining" in told
        assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- from MNLI, and on several processes


def test_small_tasks_start_from_the_model_of_mnli(data: dict[str, Path], tmp_path: Path, monkeypatch, fits) -> None:
    begun: dict[str, dict[str, Any]] = {}
    build = SuiteClassification.build

    def noted(self: Any, config: Any, max_length: Any) -> Any:
        model = build(self, config, max_length)
        if config.name is not None:
            begun["/".join(fits[-1].split("/")[:1])] = {
                name: weight.numpy().copy() for name, weight in model.bert.state_dict().items()
            }
        return model

    monkeypatch.setattr(SuiteClassification, "build", noted)
    more = ("--evaluation.suite", "glue", "--evaluation.tasks", "[wnli, stsb, mnli, rte]", "--evaluation.seeds", "1")
    done = evaluate(flags(tmp_path / "run", data["glue"], *more, "--evaluation.warm_start", "mnli"))
    assert fits == ["mnli/seed-42", "stsb/seed-42", "rte/seed-42", "wnli/seed-42"]
    saved = done.path / "tasks" / "mnli" / "model"
    body = {name.removeprefix("bert."): value for name, value in weights(saved).items() if name.startswith("bert.")}
    assert set(begun) == {"stsb", "rte"}
    for task in ("stsb", "rte"):
        assert all((begun[task][name] == value).all() for name, value in body.items())
        config = yaml.safe_load((done.path / "tasks" / task / "seed-42" / "config.yaml").read_text())
        assert config["model"]["name"] == str(saved) and config["model"]["config"] is None
    wnli = yaml.safe_load((done.path / "tasks" / "wnli" / "seed-42" / "config.yaml").read_text())
    assert wnli["model"]["name"] is None and not list((done.path / "tasks").glob("*/seed-*/model"))
    assert set(done.tasks) == {"mnli", "stsb", "rte", "wnli"}


def test_a_warm_start_from_a_task_that_is_not_run_is_told_first(data, tmp_path: Path, fits, capsys) -> None:
    more = ("--evaluation.suite", "glue", "--evaluation.tasks", "[cola, rte]", "--evaluation.seeds", "1")
    code, told = exit_code(flags(tmp_path / "run", data["glue"], *more, "--evaluation.warm_start", "mnli"), capsys)
    assert code == 2 and "warm_start" in told and fits == []


@pytest.mark.processes
def test_two_processes_score_as_one(data: dict[str, Path], tmp_path: Path) -> None:
    """The same rows in a step, without dropout: a task, its diagnostic set and a test split."""
    write_task(tmp_path / "data", "superglue", "rte", validation=13)
    write_task(tmp_path / "data", "superglue", "axg", test=8)
    runs = []
    for name, batch in (("one", "8"), ("two", "4")):
        more = ("--training.per_device_train_batch_size", batch, "--evaluation.submission", "true")
        runs.append(one_task(tmp_path / name, tmp_path / "data", "rte, axg", *more, suite="superglue"))
    one = evaluate(runs[0])
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", *TWO_PROCESSES, RECIPE, *runs[1]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    two = Done(tmp_path / "two", "", "")
    assert json.loads((two.path / "tasks/rte/seed-42/plan.json").read_text())["processes"] == 2
    for task, split in (("rte", "validation"), ("rte", "test"), ("axg", "test")):
        pairs = [[row["probabilities"][0] for row in run.said(task, split=split)] for run in (one, two)]
        assert pairs[1] == pytest.approx(pairs[0], abs=1e-4) and len(set(pairs[0])) > 1
    assert {name: row["score"] for name, row in one.tasks.items()} == {
        name: row["score"] for name, row in two.tasks.items()
    }
    assert read_zip(one.path / "submission.zip") == read_zip(two.path / "submission.zip")


@pytest.mark.processes
def test_workers_share_the_seeds(data: dict[str, Path], tmp_path: Path) -> None:
    """Two workers end with the table of one, and run each seed once."""
    runs = [one_task(tmp_path / name, data["glue"], "rte", "--evaluation.seeds", "3") for name in ("one", "two")]
    one = evaluate(runs[0])
    command = [sys.executable, RECIPE, *runs[1], "--evaluation.workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    two = Done(tmp_path / "two", "", "")
    assert two.tasks == one.tasks
    seeds = [f"GLUE: rte, seed {seed} " for seed in (42, 43, 44)]
    logs = [done.stderr, (two.path / "worker-1.log").read_text()]
    assert [sum(seed in log for log in logs) for seed in seeds] == [1, 1, 1]


def test_a_helper_does_what_nobody_is_at(data: dict[str, Path], tmp_path: Path, monkeypatch, fits) -> None:
    """A seed that another worker has is passed over, and made up for when that one is gone."""
    arguments = one_task(tmp_path / "run", data["glue"], "rte", "--evaluation.seeds", "3", "--evaluation.workers", "2")
    entry = SimpleNamespace(folder=tmp_path / "run" / "tasks" / "rte")

    @contextlib.contextmanager
    def helper_that_fails(work: Any, config: Any, recipe: str, folder: Path) -> Iterator[None]:
        with claimed(entry, 42) as mine:
            assert mine
            with claimed(entry, 42) as again:
                assert not again
            work(config, recipe)
            assert [Path(one).name for one in fits] == ["seed-43", "seed-44"]
            yield  # 42 is still not free

    monkeypatch.setattr(running, "helpers", helper_that_fails)
    done = evaluate(arguments)
    assert [Path(one).name for one in fits] == ["seed-43", "seed-44", "seed-42"]
    assert list(done.tasks["rte"]["scores"]) == ["42", "43", "44"]


def test_workers_are_for_training(data: dict[str, Path], tmp_path: Path, capsys) -> None:
    arguments = one_task(tmp_path / "run", data["glue"], "rte", "--evaluation.workers", "2")
    code, told = exit_code([*arguments, "--evaluation.method", "saved"], capsys)
    assert code == 2 and "evaluation.workers is for --evaluation.method finetune" in told
