"""Contamination: planted copies are found however they are written, nothing else is, and training can do without."""

import importlib
import json
import re
import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import RECIPES, sentences, tiny_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_cards import VALID, write_card

from pipelines import hub
from pipelines.config import config_to_yaml, parse_config
from pipelines.data import contamination
from pipelines.data.contamination import Contamination, find_contaminated, words_of
from pipelines.data.decontamination import read_evaluation_texts
from pipelines.data.loading import load_corpus, training_documents
from pipelines.errors import CardError, ConfigError, DataError, HubError, PlumblineError
from pipelines.sections import CorpusConfig, DataFiles

ROW = "The committee of nine old men had met twice, in a well-known inn, before the bridge fell; it didn't meet again."
SHORT_ROW = "Nobody had expected that the bridge would ever fall."  # 9 words
QUESTION = "Who fell into the river?"  # 5 words
FILLER = "Some words that have nothing to do with it come first and some come after them too. " * 20


def find(rows: Sequence[str | list[str]], *batches: list[str], **settings: int) -> Contamination:
    return find_contaminated([[row] if isinstance(row, str) else row for row in rows], batches, **settings)


def number_words(count: int, start: int = 0) -> str:
    return " ".join(f"w{number}" for number in range(start, start + count))


# ---------------------------------------------------------------- what is found


@pytest.mark.parametrize(
    "copy",
    [
        ROW,
        ROW.upper(),
        "the committee of nine old men had met twice , in a well @-@ known inn , before the bridge fell",
        "the committee of nine old men had met twice\n\n* in a *well-known* inn\t(before) the bridge fell",
        "in a ``well-known'' inn , before the bridge fell ; it did n't meet again .",
        "in a “well-known” inn, before the bridge fell; it didn’t meet again.",
        "in a well-known inn before the bridge fell it didn 't meet again",
        "ｉｎ a well-known inn before the bridge fell it didn 't meet again",
    ],
)
def test_a_copy_is_found_however_it_is_written(copy: str) -> None:
    for document in (copy, FILLER + copy + " " + FILLER):
        found = find(
            [ROW, SHORT_ROW, "Rows that stand nowhere at all are clean, also when they are long enough."], [document]
        )
        assert found.contaminated_R.tolist() == [True, False, False]
        assert not found.too_short_R.any()
        assert (found.documents, found.rows_contaminated, found.share) == (1, 1, 1 / 3)
    assert 0 < found.share_R[0] <= 1
    assert found.share_R[1:].tolist() == [0, 0]


def test_grams_found_are_told_with_their_first_document() -> None:
    documents = [["nothing"], [], ["x " + ROW, ROW], [SHORT_ROW]]
    found = find([SHORT_ROW, ROW, ROW], *documents, samples=2)
    assert found.rows_contaminated == 3
    assert [(one.row, one.document) for one in found.samples] == [(1, 4), (2, 2)]
    assert found.samples[0].words == "nobody had expected that the bridge would ever"
    assert found.samples[1].words == "the committee of nine old men had met twice in a well known"
    told = found.as_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert (told["rows"], told["rows_contaminated"], told["rows_too_short"], told["documents"]) == (3, 3, 0, 4)
    assert len(find([ROW] * 9, [ROW]).samples) == 5


def test_twelve_words_are_not_thirteen() -> None:
    row = number_words(30)
    for shared, expected in ((12, False), (13, True)):
        found = find([row], [f"other {number_words(shared, start=9)} words"])
        assert found.contaminated_R.tolist() == [expected]
    assert found.share_R.tolist() == [1 / 18]
    assert find([row], [number_words(12, start=9)], gram_words=12).rows_contaminated == 1


def test_shorter_texts_are_looked_for_by_eight_words_or_whole() -> None:
    assert find([number_words(12)], [number_words(8, start=2)]).share_R.tolist() == [1 / 5]
    assert find([number_words(12)], [number_words(7, start=2)]).rows_contaminated == 0
    assert find([QUESTION], ["He asked: who fell into THE river"]).rows_contaminated == 1
    assert find([QUESTION], ["Who fell into the"]).rows_contaminated == 0
    # Beside a text of eight words, a short one is not looked for.
    found = find([[QUESTION, SHORT_ROW], [QUESTION, "Ann"]], [QUESTION])
    assert found.contaminated_R.tolist() == [False, True]
    assert (found.texts, found.texts_too_short) == (4, 2)


def test_rows_too_short_to_tell_are_counted_as_that() -> None:
    found = find(["Who fell into it?", "...", [], ["", "yes"], ROW], ["Who fell into it? ... yes"])
    assert found.too_short_R.tolist() == [True, True, True, True, False]
    assert (found.rows, found.rows_too_short, found.rows_contaminated, found.share) == (5, 4, 0, 0)
    assert np.isnan(found.share_R[:4]).all()
    only_short = find(["a b"], ["a b"])
    assert (only_short.share, only_short.documents, only_short.as_dict()["share"]) == (None, 1, None)
    nothing = find_contaminated([], [])
    assert (nothing.rows, nothing.share, nothing.documents) == (0, None, 0)


def test_grams_cross_neither_texts_nor_documents() -> None:
    parts = [number_words(10), number_words(10, start=10)]
    whole = " ".join(parts)
    assert find([whole], parts).rows_contaminated == 0
    assert find([whole], [parts[0]], [parts[1]]).rows_contaminated == 0
    assert find([parts], [number_words(14, start=3)]).contaminated_R.tolist() == [False]
    assert find([whole], [whole]).rows_contaminated == 1


def test_scripts_without_blanks_are_looked_for_by_characters() -> None:
    row = "昨天下午三点在北京西站附近发生了一起交通事故。"
    assert len(words_of(row)) == 22
    found = find([row], ["据报道，北京 西站 附近 发生了 一起 交通 事故，无人 受伤。"])
    assert found.rows_contaminated == 1
    assert find([row], ["昨天下午三点在上海。"]).rows_contaminated == 0


def test_a_long_document_is_cut_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contamination, "PIECE_CHARACTERS", 50)
    monkeypatch.setattr(contamination, "CHUNK_WORDS", 7)
    rows = [number_words(13, start) for start in range(0, 400, 7)]
    assert find(rows, [number_words(500)]).rows_contaminated == len(rows)
    assert find([" ".join(reversed(row.split())) for row in rows], [number_words(500)]).rows_contaminated == 0


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 8"):
        find([ROW], [ROW], gram_words=7)
    with pytest.raises(TypeError, match="Row 0 is a str"):
        find_contaminated([ROW], [[ROW]])
    with pytest.raises(TypeError, match="batch of documents is a str"):
        find_contaminated([[ROW]], [ROW])


# ---------------------------------------------------------------- against sets of tuples


def naive_words(text: str) -> list[str]:
    text = unicodedata.normalize("NFKC", text).lower()
    text = re.sub("n ?['’] ?t(?![^\\W_])", " nt", text)
    spaced = "".join(f" {one} " if "一" <= one <= "鿿" else one if one.isalnum() else " " for one in text)
    return spaced.split()


def naive_grams(row: list[str]) -> set[tuple[str, ...]]:
    texts = [naive_words(text) for text in row]
    longest = max(map(len, texts), default=0)
    found = set()
    for words in texts:
        size = 13 if len(words) >= 13 else 8 if len(words) >= 8 else len(words)
        if size >= 8 or (longest < 8 and size >= 5):
            found |= {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}
    return found


few_words = st.sampled_from(["a", "B", "don't", "do n't", "c1", "É", "北京"])
few_marks = st.sampled_from([" ", " ", " ", "-", ", ", "\n", "_", " … "])
random_text = st.lists(st.tuples(few_words, few_marks), max_size=40).map(lambda parts: "".join(a + b for a, b in parts))


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(st.lists(random_text, max_size=3), max_size=6),
    batches=st.lists(st.lists(random_text, max_size=4), max_size=4),
    piece=st.sampled_from([5, 60, 1 << 20]),
    chunk=st.sampled_from([1, 20, 1 << 17]),
)
def test_equal_to_sets_of_tuples(rows: list, batches: list, piece: int, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contamination, "PIECE_CHARACTERS", piece)
        patch.setattr(contamination, "CHUNK_WORDS", chunk)
        found = find_contaminated(rows, batches, samples=100)
    documents = [naive_words(text) for batch in batches for text in batch]
    inside = [
        {tuple(words[start : start + size]) for size in (5, 6, 7, 8, 13) for start in range(len(words) - size + 1)}
        for words in documents
    ]
    every: set = set().union(*inside)
    for number, row in enumerate(rows):
        grams = naive_grams(row)
        assert found.too_short_R[number] == (not grams)
        assert found.contaminated_R[number] == bool(grams & every)
        if grams:
            assert found.share_R[number] == len(grams & every) / len(grams)
    assert found.documents == len(documents)
    assert [one.row - 1 for one in found.samples] == np.flatnonzero(found.contaminated_R).tolist()
    for one in found.samples:
        gram = tuple(one.words.split())
        assert gram in naive_grams(rows[one.row - 1])
        assert one.document - 1 == next(place for place, grams in enumerate(inside) if gram in grams)


# ---------------------------------------------------------------- corpora without evaluation texts


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    hub.hub_is_reachable.cache_clear()
    yield tmp_path


def jsonl(path: str | Path, rows: Sequence[dict]) -> str:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def corpus(name: str = "corpus.jsonl", planted: tuple[int, ...] = (7,)) -> list[str]:
    """Writes 30 documents, some with ROW in them; returns them."""
    texts = sentences(30)
    for place in planted:
        texts[place] = f"{FILLER}{ROW.upper()} {FILLER}"
    jsonl(name, [{"text": text} for text in texts])
    return texts


def load(names: str | list[str] | None, **settings: object):
    return load_corpus(CorpusConfig(files=DataFiles(train="corpus.jsonl"), decontaminate=names, **settings))


def test_exactly_the_planted_documents_are_dropped(here: Path) -> None:
    texts = corpus(planted=(3, 12))
    jsonl("evaluation.jsonl", [{"premise": "Yes.", "label": 0, "hypothesis": ROW}, {"premise": "No.", "label": 1}])
    plain = load(None, validation_share=0.1)
    clean = load("evaluation.jsonl", validation_share=0.1)
    planted = {texts[3], texts[12]}
    assert clean.splits["validation"]["text"][:] == plain.splits["validation"]["text"][:]
    kept = [text for text in plain.splits["train"]["text"][:] if text not in planted]
    assert clean.splits["train"]["text"][:] == kept
    assert clean.fingerprint != plain.fingerprint
    dropped = len(plain.splits["train"]) - len(kept)
    assert dropped > 0
    counts = clean.receipt["train"]
    assert counts["rows_dropped"] == {"null": 0, "empty": 0, "contaminated": dropped}
    assert counts["rows_read"] == counts["rows_kept"] + dropped + counts["moved_to_validation"]
    told = clean.receipt["decontamination"]
    assert told["gram_words"] == 13
    assert told["evaluation"] == [
        {"name": "evaluation.jsonl", "read_from": ["evaluation.jsonl"], "rows": 2, "rows_too_short": 1}
    ]
    assert len(told["samples"]) == dropped
    for sample in told["samples"]:
        assert plain.splits["train"]["text"][sample["document"] - 1] in planted
        assert sample["evaluation"] == "evaluation.jsonl"
        assert sample["words"] == "the committee of nine old men had met twice in a well known"
    assert "decontamination" not in plain.receipt


def test_documents_are_dropped_before_they_are_limited(here: Path) -> None:
    texts = corpus(planted=(0, 2))
    jsonl("held-out.jsonl", [{"text": ROW}])
    jsonl("evaluation.jsonl", [{"text": ROW}])
    files = DataFiles(train="corpus.jsonl", validation="held-out.jsonl")
    found = load_corpus(CorpusConfig(files=files, decontaminate=["evaluation.jsonl"], max_train_documents=5))
    assert found.splits["train"]["text"][:] == [texts[place] for place in (1, 3, 4, 5, 6)]
    assert found.receipt["train"]["rows_dropped"] == {
        **{"null": 0, "empty": 0, "contaminated": 2},
        "max_train_documents": 23,
    }
    assert found.splits["validation"]["text"][:] == [ROW]  # validation is not trained on


def test_nothing_shared_changes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus()
    jsonl("other.jsonl", [{"text": SHORT_ROW}])
    jsonl("short.jsonl", [{"text": "too short"}])
    found = load(["other.jsonl", "short.jsonl"])
    assert found.receipt["train"]["rows_dropped"]["contaminated"] == 0
    assert found.fingerprint == load(None).fingerprint == load([]).fingerprint
    assert "every one of the 1 rows of short.jsonl is too short" in capsys.readouterr().err


def test_every_kind_of_evaluation_set_is_read(here: Path) -> None:
    jsonl("a.jsonl", [{"id": 1, "choices": ["One thing.", ROW], "messages": [{"role": "user", "content": "Hi you"}]}])
    Path("b.csv").write_text(f'label,review\n1,"{ROW}"\n')
    columns = {"tokens": [ROW.split()], "tags": [[0]], "answers": [{"text": ["yes", "no"], "answer_start": [1, 2]}]}
    pq.write_table(pa.table(columns), "c.parquet")
    Path("d.txt").write_text(f"{ROW}\n\n{SHORT_ROW}\n")
    read = {one.name: one for one in read_evaluation_texts(["a.jsonl", "b.csv", "c.parquet", "d.txt", "[b].*"])}
    assert read["a.jsonl"].rows == [["One thing.", ROW, "user", "Hi you"]]
    assert read["b.csv"].rows == [["1", ROW]]
    assert read["c.parquet"].rows == [[ROW, "yes no"]]
    assert [row for row in read["d.txt"].rows if row != [""]] == [[ROW], [SHORT_ROW]]


def card_of(folder: Path, **splits: str) -> dict:
    data_files = [{"split": split, "path": f"{split}.jsonl"} for split in splits]
    for split, text in splits.items():
        folder.mkdir(parents=True, exist_ok=True)
        jsonl(folder / f"{split}.jsonl", [{"passage": text, "name": ROW, "stars": 1}])
    return {**VALID["configs"][0], "data_files": data_files}


def card(folder: Path, configs: dict[str, dict], roles: dict[str, str]) -> None:
    front = {key: value for key, value in VALID.items() if key not in ("dataset_info", "plumbline")}
    front["configs"] = [{**config, "config_name": name} for name, config in configs.items()]
    front["train-eval-index"] = [
        {"config": name, "task": "text-classification", "splits": {"train_split": "train"}, "col_mapping": roles}
        for name in configs
    ]
    write_card(folder, front)


def test_a_card_stands_for_its_evaluation_splits_and_text_columns(here: Path) -> None:
    roles = {"passage": "text", "stars": "label"}
    configs = {
        "full": card_of(here / "suite", train="train text", validation="validation text", test="test text"),
        "bare": card_of(here / "suite", train="train text"),
    }
    card(here / "suite", configs, roles)
    (one,) = read_evaluation_texts("./suite/full")
    assert one.rows == [["validation text"], ["test text"]]
    assert [Path(path).name for path in one.read_from] == ["validation.jsonl", "test.jsonl"]
    assert read_evaluation_texts(["suite/bare"])[0].rows == [["train text"]]
    assert read_evaluation_texts("suite")[0].rows == [["validation text"], ["test text"], ["train text"]]
    corpus()
    (here / "suite" / "test.jsonl").write_text(json.dumps({"passage": ROW, "name": "", "stars": 1}) + "\n")
    found = load(["suite/full"], validation_share=0.01)
    assert found.receipt["train"]["rows_dropped"]["contaminated"] == 1
    with pytest.raises(CardError, match="no config 'ful'. Did you mean 'full'"):
        load(["suite/ful"])
    card(here / "labels", {"default": configs["bare"]}, {"stars": "label"})
    shutil.copy(here / "suite" / "train.jsonl", here / "labels")
    with pytest.raises(CardError, match="a role of text"):
        load("labels")


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("docs_qestions", CardError, "data.decontaminate names 'docs_qestions', .* Did you mean 'docs_questions'"),
        ("gloo/rte", CardError, "no data card, no config of one"),
        ("", CardError, "no data card"),
        ("squad/plain", CardError, "has no config 'plain'"),
        ("squad", HubError, "data.decontaminate names 'squad', whose files are not on this machine"),
        ("corpus.json", DataError, "data.decontaminate is 'corpus.json', .*no such file. Did you mean 'corpus.jsonl'"),
        ("nothing-*.parquet", DataError, "no file matches"),
        ("numbers.jsonl", DataError, "numbers.jsonl holds no text.*Columns read: 'a', 'b'"),
        ("hf://nonsense", DataError, "expected a path"),
        (".", CardError, "holds no README.md"),
        ("corpus.jsonl", DataError, "Every one of the .* training documents shares words"),
    ],
)
def test_mistakes_are_named(here: Path, name: str, error: type[PlumblineError], message: str) -> None:
    texts = corpus(planted=())
    jsonl("corpus.jsonl", [{"text": f"{text} {ROW}"} for text in texts])
    jsonl("numbers.jsonl", [{"a": 1, "b": [2]}])
    with pytest.raises(error, match=message) as caught:
        load([name])
    assert "--data.files.train" not in str(caught.value)


# ---------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pretrain_clm run of two steps on a corpus with a planted document, beside that corpus."""
    import pretrain_clm

    folder = tmp_path_factory.mktemp("decontaminated")
    texts = [*sentences(60), FILLER + ROW]
    train = jsonl(folder / "train.jsonl", [{"text": text} for text in texts])
    evaluation = jsonl(folder / "evaluation.jsonl", [{"question": "Why?", "context": ROW}])
    held_out = jsonl(folder / "held-out.jsonl", [{"text": text} for text in sentences(5, seed=1)])
    flags = tiny_run(Path(train), folder / "run", "--data.decontaminate", evaluation)
    flags += [
        "--data.files.validation",
        held_out,
        "--training.max_steps",
        "2",
        "--evaluation.ngram_order",
        "null",
        "--proof.enabled",
        "false",
    ]
    pretrain_clm.main(parse_config(pretrain_clm.Config, str(RECIPES / "pretrain_clm.py"), flags))
    return folder


def test_a_recipe_trains_without_the_planted_document(run: Path) -> None:
    receipt = json.loads((run / "run" / "receipt.json").read_text())
    assert receipt["train"]["rows"]["rows_dropped"]["contaminated"] == 1
    assert receipt["train"]["rows"]["rows_kept"] == receipt["train"]["tokens"]["documents"] == 60
    assert receipt["decontamination"]["samples"][0]["document"] == 61
    assert "ontaminat" in (run / "run" / "report.html").read_text()


def test_the_documents_of_a_run_are_read_again(run: Path) -> None:
    documents = training_documents(run / "run")
    assert documents is not None
    assert [text for batch in documents for text in batch] == sentences(60)
    found = find_contaminated([[sentences(60)[9]], [ROW]], training_documents(run / "run") or [])
    assert found.contaminated_R.tolist() == [True, False]
    assert found.documents == 60


@pytest.mark.parametrize("changed", ["train", "evaluation"])
def test_a_changed_corpus_is_refused(run: Path, tmp_path: Path, changed: str) -> None:
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("config.yaml", "environment.json"):
        text = (run / "run" / name).read_text()
        (copy / name).write_text(text.replace(str(run / f"{changed}.jsonl"), str(tmp_path / f"{changed}.jsonl")))
    shutil.copy(run / f"{changed}.jsonl", tmp_path)
    assert training_documents(copy) is not None
    jsonl(tmp_path / f"{changed}.jsonl", [{"text": text} for text in sentences(59)])
    with pytest.raises(DataError, match="has changed since the run in .*states the fingerprint"):
        training_documents(copy)
    (tmp_path / f"{changed}.jsonl").unlink()
    with pytest.raises(DataError, match=f"corpus of the run in {copy} cannot be read again: .*no such file"):
        training_documents(copy)


@pytest.mark.parametrize(
    "recipe", ["pretrain_clm", "pretrain_mlm", "pretrain_seq2seq", "pretrain_contrastive", "train_embeddings"]
)
def test_the_config_of_every_recipe_on_text_is_understood(here: Path, recipe: str) -> None:
    texts = corpus()
    jsonl("evaluation.jsonl", [{"text": ROW}])
    flags = ["--data.files.train", "corpus.jsonl", "--data.files.validation", "corpus.jsonl"]
    flags += ["--data.decontaminate", "[evaluation.jsonl]"]
    module = importlib.import_module(recipe)
    config = parse_config(module.Config, str(RECIPES / f"{recipe}.py"), flags)
    Path("config.yaml").write_text(config_to_yaml(config))
    documents = training_documents(here)
    assert documents is not None
    assert [text for batch in documents for text in batch] == texts[:7] + texts[8:]


def test_folders_without_a_corpus(here: Path) -> None:
    import finetune_classification

    assert training_documents(here) is None
    config = parse_config(finetune_classification.Config, str(RECIPES / "finetune_classification.py"), [])
    Path("config.yaml").write_text(config_to_yaml(config))
    assert training_documents(here) is None
    Path("config.yaml").write_text("data: {sample_by: document, files: {trian: x}}")
    with pytest.raises(ConfigError, match="data.files is not that of a run"):
        training_documents(here)
    Path("config.yaml").write_text("data: [")
    with pytest.raises(ConfigError, match="config.yaml cannot be read"):
        training_documents(here)
