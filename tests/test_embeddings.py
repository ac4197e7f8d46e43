"""recipes/train_embeddings.py from its flags to its run folder, and every mistake a user can make with it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import train_embeddings
from conftest import RECIPES

from pipelines.config import parse_config
from pipelines.models.static_vectors import StaticVectors
from pipelines.run import run_recipe

RECIPE = str(RECIPES / "train_embeddings.py")


def run(*flags: str) -> None:
    train_embeddings.main(parse_config(train_embeddings.Config, RECIPE, list(flags)))


def fail(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """The one message of a run that must end with exit code 2."""
    capsys.readouterr()
    assert run_recipe(train_embeddings.main, train_embeddings.Config, RECIPE, list(flags)) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert message.count("Error:") == 1
    return message


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A similarity set and an analogy set of words of the test corpus, each with something unknown."""
    folder = tmp_path_factory.mktemp("sets")
    similarity, analogies = folder / "My Pairs.tsv", folder / "verbs.txt"
    similarity.write_text(
        "# word\tword\tscore\nreturns\tholds\t8\nreturns\tarray\t2\ncopies\tsorts\t9\nfunction\tclass\t7\n"
        "tensor\tarray\t9.5\nunseen\tarray\t1\n"
    )
    analogies.write_text(
        ": verbs\nreturns holds copies sorts\nreturns holds unseen sorts\n: nouns\narray tensor row axis\n"
    )
    return similarity, analogies


def tiny(corpus_file: Path, run_dir: Path, *flags: str) -> list[str]:
    return [
        *("--data.files.train", str(corpus_file), "--data.validation_share", "0.1", "--run.dir", str(run_dir)),
        *("--embeddings.vector_size", "12", "--embeddings.min_count", "2", "--embeddings.epochs", "2"),
        *("--embeddings.fasttext.buckets", "300", "--run.threads", "1", "--evaluation.samples", "3"),
        *flags,
    ]


@pytest.fixture(scope="module", params=["skipgram", "cbow", "fasttext", "glove"])
def finished(
    request: pytest.FixtureRequest, corpus_file: Path, sets: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("runs") / request.param
    own = ("--evaluation.similarity_files", str(sets[0]), "--evaluation.analogy_files", str(sets[1]))
    run(*tiny(corpus_file, folder, "--embeddings.method", request.param, *own))
    return folder


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text())


def test_the_run_folder_is_complete(finished: Path) -> None:
    names = {path.name for path in finished.iterdir() if not path.name.startswith(".")}
    expected = {"config.yaml", "environment.json", "plan.json", "receipt.json", "metrics.json", "report.html", "model"}
    expected |= {"evaluation.json", "neighbours.json", "checksums.json"} | (
        {"metrics.jsonl"} if finished.name == "glove" else set()
    )
    assert names == expected
    assert {path.name for path in (finished / "model").iterdir()} == {
        *("README.md", "config.json", "model.safetensors", "vocabulary.json", "vectors.txt")
    }
    assert read(finished, "environment.json")["versions"]["gensim"]


def test_scores_stand_beside_baselines_of_equal_coverage(finished: Path) -> None:
    metrics = read(finished, "metrics.json")
    assert metrics["eval_my_pairs_pairs"] == 6
    assert metrics["eval_my_pairs_coverage"] == pytest.approx(5 / 6)
    assert metrics["eval_verbs_coverage"] == pytest.approx(2 / 3)
    for name in ("my_pairs_spearman", "my_pairs_spearman_all", "verbs_accuracy", "verbs_accuracy_all"):
        for model in ("eval", "baseline_random", "baseline_ppmi_svd"):
            assert -1 <= metrics[f"{model}_{name}"] <= 1
    assert ("eval_my_pairs_spearman_subword" in metrics) == (finished.name == "fasttext")
    assert metrics["eval_wordsim353_pairs"] == 353
    assert metrics["eval_analogy_coverage"] == 0  # said, not hidden; an accuracy of no question there is not
    assert "eval_analogy_accuracy" not in metrics
    details = read(finished, "evaluation.json")
    assert details["uncovered_words"]["my_pairs"] == ["unseen"]
    assert details["analogies"]["eval"]["verbs"]["nouns"]["questions"] == 1
    assert len(read(finished, "neighbours.json")) > 1


def test_the_receipt_closes(finished: Path) -> None:
    receipt, plan = read(finished, "receipt.json"), read(finished, "plan.json")
    rows, words, training = receipt["train"]["rows"], receipt["train"]["words"], receipt["training"]
    assert rows["rows_read"] == 300
    assert rows["rows_kept"] + receipt["validation"]["rows"]["rows_kept"] == 300
    assert words["words"] == words["kept"] + words["below_min_count"] + words["beyond_max_vocabulary"]
    assert words["below_min_count"] > 0
    assert words["kept"] == plan["words"]
    assert plan["vocab_size"] == words["distinct_words_kept"]
    assert training["words_read"] == plan["words_to_train"]
    if finished.name == "glove":
        assert training["pairs_trained"] == 2 * training["distinct_pairs_both_ways"]
        events = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
        assert [event["epoch"] for event in events] == [1, 2]
        assert events[1]["loss"] < events[0]["loss"]
    else:
        assert plan["words_to_train"] == 2 * words["kept"]
        assert training["words_read"] == training["words_trained"] + training["words_left_out_by_subsampling"]
    metrics = read(finished, "metrics.json")
    assert metrics["train_words_per_second"] == pytest.approx(training["words_read"] / metrics["train_seconds"])


def test_the_model_card_code_runs(finished: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    card = (finished / "model" / "README.md").read_text()
    blocks = [part.split("```")[0] for part in card.split("```python\n")[1:]]
    assert len(blocks) == 2
    monkeypatch.chdir(finished / "model")
    for block in blocks:
        capsys.readouterr()
        exec(compile(block, "README.md", "exec"), {})
        assert capsys.readouterr().out.strip()
    assert f"{read(finished, 'metrics.json')['eval_my_pairs_spearman']:.3f} (" in card


def test_unknown_words_have_vectors_with_fasttext_alone(finished: Path) -> None:
    vectors = StaticVectors.load(finished / "model")
    assert vectors.method == finished.name
    assert np.isfinite(vectors.embeddings_VD).all()
    if finished.name == "fasttext":
        assert vectors.nearest("functional", 1)
    else:
        assert vectors.ngrams is None


def test_a_finished_run_is_told_and_not_run_again(finished: Path, capsys) -> None:
    before = (finished / "model" / "model.safetensors").stat().st_mtime_ns
    run("--config", str(finished / "config.yaml"), "--run.dir", str(finished))
    told = capsys.readouterr()
    assert "This run is finished" in told.err
    assert "eval_my_pairs_spearman" in told.out
    assert (finished / "model" / "model.safetensors").stat().st_mtime_ns == before


def test_the_saved_config_repeats_the_run_bitwise(finished: Path, tmp_path: Path) -> None:
    run("--config", str(finished / "config.yaml"), "--run.dir", str(tmp_path / "again"))
    for name in ("model/model.safetensors", "model/vectors.txt", "neighbours.json", "evaluation.json"):
        assert (tmp_path / "again" / name).read_bytes() == (finished / name).read_bytes()


def test_an_interrupted_run_begins_again(corpus_file: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    folder = tmp_path / "run"
    flags = tiny(corpus_file, folder, "--embeddings.method", "glove")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("pipelines.training.embeddings.save_vectors", interrupt)
        assert run_recipe(train_embeddings.main, train_embeddings.Config, RECIPE, flags) == 130
    told = capsys.readouterr().err
    assert "keeps no checkpoints" in told
    assert "run the same command again" in told
    assert not (folder / "metrics.json").exists()
    run(*flags)
    assert "Starting again from the beginning" in capsys.readouterr().err
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2  # those of the first try are gone
    assert (folder / "metrics.json").is_file()


@pytest.mark.processes
def test_sigterm_ends_training_and_the_same_command_takes_over(corpus_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    flags = tiny(corpus_file, folder, "--embeddings.epochs", "100000")
    with subprocess.Popen([sys.executable, RECIPE, *flags], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if line.startswith("epoch 2 of"))
        process.send_signal(signal.SIGTERM)
        told = process.stderr.read()
        assert process.wait(timeout=60) == 130
    assert "keeps no checkpoints" in told
    saved = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(saved.replace("epochs: 100000", "epochs: 2"))  # to see its end
    run(*tiny(corpus_file, folder))
    assert (folder / "metrics.json").is_file()


def test_a_vector_larger_than_the_vocabulary_is_fine(corpus_file: Path, tmp_path: Path) -> None:
    small = ("--embeddings.vector_size", "40", "--embeddings.max_vocabulary", "9")
    run(*tiny(corpus_file, tmp_path / "run", *small, "--embeddings.min_count", "1"))
    assert read(tmp_path / "run", "plan.json")["vocab_size"] == 9
    assert read(tmp_path / "run", "receipt.json")["train"]["words"]["beyond_max_vocabulary"] > 0


def test_nothing_need_be_scored(corpus_file: Path, tmp_path: Path) -> None:
    off = ("--evaluation.builtin_sets", "false", "--evaluation.baselines", "false", "--evaluation.samples", "0")
    run(*tiny(corpus_file, tmp_path / "run", *off))
    assert not any("spearman" in name or name.startswith("baseline") for name in read(tmp_path / "run", "metrics.json"))
    assert "Nothing was scored" in (tmp_path / "run" / "model" / "README.md").read_text()


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (
            ("--embeddings.method", "skipgam"),
            ("'skipgam'", "skipgram, cbow, fasttext, glove", "Did you mean 'skipgram'?"),
        ),
        (("--embeddings.window", "0"), ("embeddings.window must be at least 1; found 0",)),
        (("--embeddings.min_count", "99999"), ("leaves 0", "words", "distinct", "stands", "--embeddings.min_count")),
        (("--embeddings.fasttext.ngram_min", "7"), ("ngram_min is 7 and ngram_max 6",)),
        (("--embeddings.vectorsize", "7"), ("'embeddings.vectorsize'", "Did you mean 'embeddings.vector_size'?")),
        (("--embeddings.subsample", "2"), ("embeddings.subsample must be", "at most 1")),
        (("--evaluation.analogy_files", "nowhere.txt"), ("nowhere.txt cannot be read: No such file",)),
    ],
)
def test_mistakes_are_told_before_anything_is_written(corpus_file, tmp_path, capsys, flags, parts) -> None:
    message = fail(capsys, *tiny(corpus_file, tmp_path / "run", *flags))
    for part in parts:
        assert part in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("key", "content", "parts"),
    [
        ("analogy_files", ": a\nking man queen woman\nking man queen\n", ("line 3", "four words", "'king man queen'")),
        ("analogy_files", "king man queen woman\n", ("line 1", "a section, as in ': capitals'")),
        ("analogy_files", ": a\n", ("has no questions",)),
        ("similarity_files", "a\tb\t1\n\na\tc\tmuch\n", ("line 3", "word, word and score", r"'a\tc\tmuch'")),
        ("similarity_files", "a b\n", ("line 1", "'a b'")),
        ("similarity_files", "a b nan\n", ("line 1",)),
        ("similarity_files", "a b 1\n", ("has 1 pairs",)),
        ("similarity_files", b"\xff\xfea b 1\n", ("is not UTF-8",)),
    ],
)
def test_a_malformed_set_is_told_by_file_and_line(corpus_file, tmp_path, capsys, key, content, parts) -> None:
    path = tmp_path / "set.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    message = fail(capsys, *tiny(corpus_file, tmp_path / "run", f"--evaluation.{key}", str(path)))
    for part in (str(path), *parts):
        assert part in message
    assert not (tmp_path / "run").exists()


def test_two_sets_of_one_name_are_refused(corpus_file, sets, tmp_path, capsys) -> None:
    both = f"[{sets[0]}, {sets[0]}]"
    message = fail(capsys, *tiny(corpus_file, tmp_path / "run", "--evaluation.similarity_files", both))
    assert "called 'my_pairs'" in message


def test_gensim_is_asked_for_by_name(corpus_file, tmp_path, capsys, monkeypatch) -> None:
    import importlib.util

    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "gensim" else find_spec(name, *rest)
    )
    assert "pip install -e '.[embeddings]'" in fail(capsys, *tiny(corpus_file, tmp_path / "run"))
    glove = ("--embeddings.method", "glove")
    assert "--evaluation.builtin_sets false" in fail(capsys, *tiny(corpus_file, tmp_path / "run", *glove))
    run(*tiny(corpus_file, tmp_path / "run", *glove, "--evaluation.builtin_sets", "false"))  # needs none


@pytest.mark.processes
def test_help_loads_nothing_heavy() -> None:
    code = (
        "import json, runpy, sys; sys.argv = ['train_embeddings.py', '--help']\n"
        f"try: runpy.run_path({RECIPE!r}, run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(json.dumps([name for name in ('torch', 'gensim', 'datasets', 'scipy', 'numpy') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=RECIPES)
    *shown, loaded = done.stdout.splitlines()
    assert json.loads(loaded) == []
    assert any("--embeddings.glove.x_max" in line for line in shown)
