"""A corpus loaded before is found again without reading its source, and every change of the source is seen."""

import os
import time
from pathlib import Path

import pytest
from test_cards import VALID, changed, write_card
from test_loading import put, rows

from pipelines.checking import begin_check, leave_check
from pipelines.data import loaded, loading
from pipelines.data.loading import Corpus, load_corpus
from pipelines.errors import DataError
from pipelines.sections import CorpusConfig, DataFiles

HELD_OUT = "A text that is held out from training."


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUMBLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loaded, "SETTLED_SECONDS", 0.0)  # files of a test are new, and would not be trusted
    write(HELD_OUT, name="held-out.jsonl")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files that were read for documents."""
    names: list[str] = []
    read_texts = loading.read_texts

    def noted(file, *arguments):
        names.append(file.path.name)
        return read_texts(file, *arguments)

    monkeypatch.setattr(loading, "read_texts", noted)
    return names


def load(train: str | list[str] = "train.jsonl", **settings: object) -> Corpus:
    return load_corpus(CorpusConfig(files=DataFiles(train=train, validation="held-out.jsonl"), **settings))


def write(*texts: str, name: str = "train.jsonl") -> str:
    return rows(name, texts)


def same(first: Corpus, second: Corpus) -> bool:
    texts = [{split: documents["text"][:] for split, documents in one.splits.items()} for one in (first, second)]
    return texts[0] == texts[1] and (first.receipt, first.fingerprint, first.name, first.card) == (
        second.receipt,
        second.fingerprint,
        second.name,
        second.card,
    )


def test_a_second_start_reads_nothing_and_comes_to_the_same(reads: list[str]) -> None:
    write("one", "two", "")
    first = load()
    assert reads == ["train.jsonl", "held-out.jsonl"]
    assert same(first, load())
    assert len(reads) == 2


@pytest.mark.parametrize(
    "settings", [{"max_train_documents": 1}, {"decontaminate": "held-out.jsonl"}, {"columns": {"text": "text"}}]
)
def test_another_setting_is_another_corpus(settings: dict[str, object], reads: list[str]) -> None:
    write("one", "two")
    load()
    corpus = load(**settings)
    assert reads.count("train.jsonl") == 2
    assert corpus.splits["train"].num_rows == (1 if "max_train_documents" in settings else 2)


def same_size() -> None:
    write("one", "owt")


def same_size_and_time() -> None:
    before = os.stat("train.jsonl")
    time.sleep(0.02)  # a tick of the file system's clock, which no file of a run is read within
    write("one", "owt")
    os.utime("train.jsonl", ns=(before.st_atime_ns, before.st_mtime_ns))


def renamed() -> None:
    before = os.stat("train.jsonl")
    write("one", "owt", name="new.jsonl")
    os.utime("new.jsonl", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace("new.jsonl", "train.jsonl")


def linked() -> None:
    write("one", "owt", name="other.jsonl")
    os.unlink("train.jsonl")
    os.symlink("other.jsonl", "train.jsonl")


@pytest.mark.parametrize("change", [same_size, same_size_and_time, renamed, linked])
def test_a_changed_file_is_seen(change) -> None:
    write("one", "two")
    assert load().splits["train"]["text"][:] == ["one", "two"]
    time.sleep(0.02)
    change()
    assert load().splits["train"]["text"][:] == ["one", "owt"]


def test_a_touched_file_is_read_again_to_the_same(reads: list[str]) -> None:
    write("one", "two")
    first = load()
    os.utime("train.jsonl", ns=(1, 1))
    assert same(first, load())
    assert same(first, load())
    assert reads.count("train.jsonl") == 2


def test_a_file_written_just_before_is_not_trusted(reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded, "SETTLED_SECONDS", 60.0)
    write("one", "two")
    os.utime("train.jsonl", ns=(1, 1))  # its time of change is its own, what else it says
    os.utime("held-out.jsonl", ns=(1, 1))
    assert same(load(), load())
    assert reads.count("train.jsonl") == 2


def test_a_file_that_changes_while_it_is_read_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    write("one", "two")
    finish = loading._finish

    def slow(*arguments):
        time.sleep(0.02)
        same_size()
        return finish(*arguments)

    monkeypatch.setattr(loading, "_finish", slow)
    assert load().splits["train"]["text"][:] == ["one", "two"]
    monkeypatch.setattr(loading, "_finish", finish)
    assert load().splits["train"]["text"][:] == ["one", "owt"]


def test_a_file_more_in_a_glob(reads: list[str]) -> None:
    write("one", name="part-1.jsonl")
    write("two", name="part-2.jsonl")
    load("part-*.jsonl")
    write("three", name="part-3.jsonl")
    assert load("part-*.jsonl").splits["train"]["text"][:] == ["one", "two", "three"]
    os.unlink("part-2.jsonl")
    assert load("part-*.jsonl").splits["train"]["text"][:] == ["one", "three"]


def test_the_same_name_in_another_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write("one", "two")
    load()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    write("three", "four")
    write(HELD_OUT, name="held-out.jsonl")
    assert load().splits["train"]["text"][:] == ["three", "four"]


def test_an_edited_card_is_read_again(tmp_path: Path, reads: list[str]) -> None:
    folder = write_card(tmp_path / "reviews", VALID)
    put("reviews/a.jsonl", '{"review": "good", "stars": 5, "title": "A title"}\n')
    put("reviews/b.jsonl", '{"review": "fair", "stars": 3, "title": "B title"}\n')
    config = CorpusConfig(card=str(folder))
    assert same(load_corpus(config), load_corpus(config))
    assert reads == ["a.jsonl", "b.jsonl"]
    write_card(folder, changed("license", to="apache-2.0"))
    corpus = load_corpus(config)
    assert reads == ["a.jsonl", "b.jsonl"] * 2
    assert corpus.receipt["source"]["license"] == "apache-2.0"


def test_a_changed_evaluation_set_is_seen(reads: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    grams = "a sentence of so many different words that two texts do not share all of them by mere chance alone"
    write(f"One: {grams}.", "two")
    write("It is another text, of which nothing stands in the documents.", name="evaluation.jsonl")
    names = ["evaluation.jsonl"]
    assert load(decontaminate=names).splits["train"].num_rows == 2
    time.sleep(0.02)
    write(grams, name="evaluation.jsonl")
    first = load(decontaminate=names)
    assert first.splits["train"]["text"][:] == ["two"]
    told = capsys.readouterr().err
    assert "1 of 2 training documents share words with evaluation sets" in told
    assert same(first, load(decontaminate=names))
    assert capsys.readouterr().err == told[told.index("1 of 2") :]
    assert reads.count("train.jsonl") == 2


def test_a_leak_is_told_at_each_start(capsys: pytest.CaptureFixture[str]) -> None:
    write("one", HELD_OUT)
    first = load()
    told = capsys.readouterr().err
    assert told.startswith("WARNING: 1 of 1 texts of validation stand in the training split too")
    assert same(first, load())
    assert capsys.readouterr().err == told
    load_corpus(CorpusConfig(files=DataFiles(train="train.jsonl", validation="held-out.jsonl")), is_trained_on=False)
    assert capsys.readouterr().err == ""


def cached(corpus: Corpus) -> Path:
    return Path(corpus.splits["train"].cache_files[0]["filename"])


def test_a_deleted_corpus_is_made_again(reads: list[str]) -> None:
    write("one", "two")
    first = load()
    for path in cached(first).parent.iterdir():
        path.unlink()
    cached(first).parent.rmdir()
    assert load().splits["train"]["text"][:] == ["one", "two"]
    load()
    assert reads.count("train.jsonl") == 2


@pytest.mark.parametrize(
    "damage", [lambda data: data.replace(b"two", b"owt"), lambda data: data[:60], lambda data: b""]
)
def test_a_damaged_corpus_is_refused(damage) -> None:
    write("one", "two")
    path = cached(load())
    time.sleep(0.02)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="The cached corpus .* is damaged: .*Delete it"):
        load()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_record_counts_as_none(content: str, reads: list[str], tmp_path: Path) -> None:
    write("one", "two")
    first = load()
    (record,) = (tmp_path / "cache").glob("loaded-*.json")
    record.write_text(content)
    assert same(first, load())
    assert reads.count("train.jsonl") == 2


def test_a_sample_of_a_check_and_a_whole_corpus_do_not_meet(reads: list[str]) -> None:
    texts = [f"text {n} " + "x" * 1_000 for n in range(100)]
    write(*texts)

    def checked() -> int:
        check = begin_check()
        check.settings.sample_megabytes = 0.02
        try:
            return load().splits["train"].num_rows
        finally:
            leave_check()

    assert 0 < checked() < 100
    assert load().splits["train"].num_rows == 100
    assert 0 < checked() < 100
    assert load().splits["train"].num_rows == 100
    assert reads.count("train.jsonl") == 1


def test_another_version_of_the_code_reads_again(reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    write("one", "two")
    load()
    monkeypatch.setattr(loaded, "_code", lambda: "another")
    load()
    assert reads.count("train.jsonl") == 2
