"""Corpora: every format read to the same documents, splits that lose nothing, and each bad input explained."""

import bz2
import gzip
import json
import lzma
import os
import shutil
import socket
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_cards import VALID, changed, write_card

from pipelines import hub
from pipelines.data import remote, sources
from pipelines.data.loading import fingerprint, load_corpus
from pipelines.data.splits import draw_by_hash, draw_tail, text_hashes
from pipelines.errors import CardError, ConfigError, DataError, HubError
from pipelines.sections import DataConfig, DataFiles

TEXTS = [
    "The first document.",
    "NA",
    'A "quoted", comma\nand line',
    "2020-01-01 00:00:00",
    "  ünïcødé 🎉",
    "null",
    "last",
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUMBLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    hub.hub_is_reachable.cache_clear()


def put(name: str, data: bytes | str) -> str:
    Path(name).write_bytes(data.encode() if isinstance(data, str) else data)
    return name


def rows(name: str = "held-out.jsonl", texts: tuple[str | None, ...] = ("held out",)) -> str:
    return put(name, "".join(json.dumps({"text": text}) + "\n" for text in texts))


def load(train: str | list[str], **settings: object):
    """Loads with a given validation file, so that train comes out as it was read."""
    return load_corpus(DataConfig(files=DataFiles(train=train, validation=rows()), **settings))


def train_texts(train: str | list[str], **settings: object) -> list[str]:
    return load(train, **settings).splits["train"]["text"][:]


def refused(train: str | list[str], message: str, error: type[Exception] = DataError, **settings: object) -> str:
    with pytest.raises(error, match=message) as caught:
        load(train, **settings)
    return str(caught.value)


# ---------------------------------------------------------------- formats


def as_csv(texts: list[str]) -> str:
    return "id,text\n" + "".join(f'{n},"{text.replace(chr(34), chr(34) * 2)}"\n' for n, text in enumerate(texts))


def as_parquet(texts: list[str], arrow_type: pa.DataType | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": range(len(texts)), "text": pa.array(texts, arrow_type or pa.string())}), sink)
    return sink.getvalue().to_pybytes()


def as_arrow(texts: list[str], kind) -> bytes:
    table = pa.table({"text": pa.array(texts, pa.large_string()), "id": range(len(texts))})
    sink = pa.BufferOutputStream()
    with kind(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue().to_pybytes()


FORMATS = {
    "a.jsonl": "".join(json.dumps({"id": n, "text": text}) + "\n" for n, text in enumerate(TEXTS)).encode(),
    "a.ndjson": "\n\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in TEXTS).encode(),
    "list.json": json.dumps([{"text": text} for text in TEXTS], indent=2).encode(),
    "lines.json": "\r\n".join(json.dumps({"text": text}) for text in TEXTS).encode(),
    "bom.jsonl": b"\xef\xbb\xbf" + "\n".join(json.dumps({"text": text}) for text in TEXTS).encode(),
    "a.csv": as_csv(TEXTS).encode(),
    "bom.csv": b"\xef\xbb\xbf" + as_csv(TEXTS).encode(),
    "a.parquet": as_parquet(TEXTS),
    "large.parquet": as_parquet(TEXTS, pa.large_string()),
    "dictionary.parquet": as_parquet(TEXTS, pa.dictionary(pa.int32(), pa.string())),
    "stream.arrow": as_arrow(TEXTS, pa.ipc.new_stream),
    "file.arrow": as_arrow(TEXTS, pa.ipc.new_file),
}


def zst(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


COMPRESSIONS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zst}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_documents(name: str) -> None:
    corpus = load(put(name, FORMATS[name]))
    assert corpus.splits["train"]["text"][:] == TEXTS
    assert corpus.splits["train"].column_names == ["text"]
    assert corpus.splits["train"].features["text"].dtype == "string"
    assert corpus.receipt["train"]["bytes"] == sum(len(text.encode()) for text in TEXTS)
    assert corpus.fingerprint == load(put("other.parquet", FORMATS["a.parquet"])).fingerprint


@pytest.mark.parametrize("ending", COMPRESSIONS)
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet", "file.arrow"])
def test_compressed(name: str, ending: str) -> None:
    assert train_texts(put(name + ending, COMPRESSIONS[ending](FORMATS[name]))) == TEXTS


def test_tsv_has_no_quoting() -> None:
    assert train_texts(put("a.tsv", 'text\tlabel\n"Open quote\t1\nclosed" here\t0\n')) == [
        '"Open quote',
        'closed" here',
    ]


def test_text_files() -> None:
    content = "\ufeffOne\r\ntwo\n\n\nthree  \n\nfour\n"
    name = put("book.txt", content)
    assert train_texts(name) == ["One\ntwo\n\n\nthree  \n\nfour\n"]
    assert train_texts(name, sample_by="paragraph") == ["One\ntwo", "three  ", "four"]
    lines = load(name, sample_by="line")
    assert lines.splits["train"]["text"][:] == ["One", "two", "three  ", "four"]
    assert lines.receipt["train"]["rows_dropped"] == {"null": 0, "empty": 3}
    assert train_texts([name, put("b.md.gz", gzip.compress(b"more"))], columns={"text": "text"})[1] == "more"


def test_text_chunks_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.data import files

    content = "".join(f"line {n}\n" + "\n" * (n % 4) for n in range(200))
    whole = [train_texts(put("a.txt", content), sample_by=kind) for kind in ("line", "paragraph")]
    jsonl = put("a.jsonl", "".join(json.dumps({"text": f"row {n}"}) + "\n" for n in range(300)))
    monkeypatch.setattr(files, "CHUNK_BYTES", 7)
    assert [train_texts("a.txt", sample_by=kind) for kind in ("line", "paragraph")] == whole
    assert whole[0] == [f"line {n}" for n in range(200)]
    assert train_texts(jsonl) == [f"row {n}" for n in range(300)]


def test_json_rows_may_differ_in_their_other_keys() -> None:
    name = put(
        "a.jsonl", '{"text": "a"}\n{"text": "b", "meta": {"x": 1}}\n{"meta": "s"}\n{"text": null}\n{"text": " "}\n'
    )
    corpus = load(name)
    assert corpus.splits["train"]["text"][:] == ["a", "b"]
    assert corpus.receipt["train"] | {"bytes": 0} == {
        "rows_read": 5,
        "rows_dropped": {"null": 2, "empty": 1},
        "rows_kept": 2,
        "bytes": 0,
    }


def test_globs_and_several_files() -> None:
    for n in (2, 1):
        rows(f"part-{n}.jsonl", (f"text {n}",))
    assert train_texts("part-*.jsonl") == ["text 1", "text 2"]
    assert train_texts(["part-2.jsonl", str(Path("part-1.jsonl").resolve())]) == ["text 2", "text 1"]


def test_a_replaced_file_is_seen_even_with_the_same_size_and_time() -> None:
    for text in ("one", "two"):
        name = rows("a.jsonl", (text,))
        os.utime(name, (1, 1))
        assert train_texts(name) == [text]


def test_max_train_documents_and_totals() -> None:
    name = rows("a.jsonl", tuple(f"text {n}" for n in range(10)))
    counts = load(name, max_train_documents=4).receipt["train"]
    assert counts["rows_kept"] == 4
    assert counts["rows_dropped"]["max_train_documents"] == 6
    drawn = load_corpus(DataConfig(files=DataFiles(train=name), validation_share=0.2, max_train_documents=4))
    assert drawn.receipt["train"]["moved_to_validation"] == 2
    assert drawn.receipt["train"]["rows_dropped"]["max_train_documents"] == 4
    assert drawn.receipt["validation"]["rows_kept"] == 2


def test_texts_in_both_given_files_are_kept_counted_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    corpus = load(rows("a.jsonl", ("held out", "b", "held out")))
    assert "WARNING: 1 of 1 texts of validation stand in the training split too" in capsys.readouterr().err
    assert corpus.receipt["train_texts_in_validation"] == 1
    assert len(corpus.splits["train"]) == 3


def test_damaged_cache_is_named() -> None:
    name = rows("a.jsonl", ("a", "b"))
    folder = Path(os.environ["PLUMBLINE_CACHE"]) / f"corpus-{load(name).fingerprint}"
    shutil.copy(folder / "validation.arrow", folder / "train.arrow")
    assert str(folder) in refused(name, "is damaged: train has 1 rows")


# ---------------------------------------------------------------- splits

texts_strategy = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=6), min_size=1, max_size=40)
several = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def table_of(texts: list[str], chunk: int = 7) -> pa.Table:
    chunks = [pa.array(texts[start : start + chunk], pa.string()) for start in range(0, len(texts), chunk)]
    return pa.table({"text": pa.chunked_array(chunks, pa.string())})


def texts_of(batches: list[pa.RecordBatch]) -> list[str]:
    return [text for batch in batches for text in batch.column(0).to_pylist()]


@several
@given(texts_strategy, st.floats(0.001, 0.999), st.integers(0, 3))
def test_hash_split(texts: list[str], share: float, seed: int) -> None:
    table = table_of(texts)
    distinct = len(set(texts))
    if distinct < 2:
        with pytest.raises(DataError, match="--data.split_method tail"):
            draw_by_hash(table, text_hashes(table, seed), share)
        return
    drawn = draw_by_hash(table, text_hashes(table, seed), share)
    train, validation = texts_of(drawn.train), texts_of(drawn.validation)
    assert Counter(train) + Counter(validation) == Counter(texts)
    assert not set(train) & set(validation)
    assert len(set(validation)) == max(1, int(share * distinct))
    assert train == [text for text in texts if text in set(train)]
    assert (drawn.moved, drawn.cut) == (len(validation), 0)
    assert text_hashes(table, seed).tolist() == text_hashes(table_of(texts, 3), seed).tolist()


@several
@given(texts_strategy, st.floats(0.001, 0.999))
def test_tail_split(texts: list[str], share: float) -> None:
    whole = "".join(texts)
    cut = int(len(whole) * (1 - share))
    if not 0 < cut < len(whole):
        with pytest.raises(DataError, match="--data.validation_share"):
            draw_tail(table_of(texts), share)
        return
    drawn = draw_tail(table_of(texts), share)
    train, validation = texts_of(drawn.train), texts_of(drawn.validation)
    assert "".join(train) == whole[:cut]
    assert "".join(validation) == whole[cut:]
    assert all(train + validation)
    assert len(train) == len(texts) - drawn.moved
    assert len(validation) == drawn.moved + drawn.cut
    assert fingerprint({"train": table_of(texts)}) == fingerprint({"train": table_of(texts, 2)})


def test_tail_split_of_a_text_longer_than_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.data import splits

    monkeypatch.setattr(splits, "PIECE_BYTES", 5)
    text = "añ🎉b€" * 20
    for share in (0.01, 0.33, 0.5, 0.98):
        drawn = draw_tail(table_of(["first", text]), share)
        assert "".join(texts_of(drawn.train)) == ("first" + text)[: int(105 * (1 - share))]
        assert "".join(texts_of(drawn.train) + texts_of(drawn.validation)) == "first" + text


def test_fingerprint_sees_boundaries_order_and_splits() -> None:
    tables = [["ab", "c"], ["a", "bc"], ["c", "ab"], ["abc"], ["ab", "c", ""]]
    seen = {fingerprint({"train": table_of(texts)}) for texts in tables} | {fingerprint({"test": table_of(tables[0])})}
    assert len(seen) == len(tables) + 1


def test_one_book() -> None:
    book = "".join(chr(97 + n % 26) for n in range(1_003))
    name = put("book.txt", book)
    with pytest.raises(DataError, match="is one document.*--data.split_method tail.*--data.files.validation"):
        load_corpus(DataConfig(files=DataFiles(train=name)))
    corpus = load_corpus(DataConfig(files=DataFiles(train=name), split_method="tail", validation_share=0.1))
    assert corpus.splits["train"]["text"][:] == [book[: int(1_003 * 0.9)]]
    assert corpus.splits["validation"]["text"][:] == [book[int(1_003 * 0.9) :]]
    assert corpus.receipt["validation_split"]["documents_cut"] == 1
    assert corpus.name == "book"


def test_split_seed_changes_the_split() -> None:
    name = rows("a.jsonl", tuple(f"text {n}" for n in range(50)))
    drawn = [
        load_corpus(DataConfig(files=DataFiles(train=name), validation_share=0.2, split_seed=seed))
        for seed in (0, 0, 1)
    ]
    first, again, other = (corpus.splits["validation"]["text"][:] for corpus in drawn)
    assert first == again != other
    assert drawn[0].fingerprint == drawn[1].fingerprint != drawn[2].fingerprint


# ---------------------------------------------------------------- settings and columns


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DataConfig(), "found none"),
        (DataConfig(card="a", name="b/c"), "found data.card and data.name"),
        (DataConfig(files=DataFiles(validation="a.txt")), "no training files"),
        (DataConfig(files=DataFiles(train="a.txt"), revision="main"), "needs data.name"),
        (DataConfig(files=DataFiles(train="a.txt"), config_name="x"), "files have none"),
        (DataConfig(files=DataFiles(train="a.txt"), validation_share=1.0), "between 0 and 1"),
        (DataConfig(files=DataFiles(train="a.txt"), max_train_documents=0), "expected 1 or more"),
        (DataConfig(files=DataFiles(train="a.txt"), columns={"a": "txt"}), "'txt', which is none. Did you mean 'text'"),
        (
            DataConfig(files=DataFiles(train="a.txt"), columns={"a": "text", "b": "text"}),
            "'a', 'b' all the role 'text'",
        ),
        (DataConfig(name="json"), "expected a dataset on the Hugging Face Hub"),
        (DataConfig(name="./x"), "--data.files.train"),
    ],
)
def test_wrong_settings(config: DataConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_corpus(config)


def test_columns() -> None:
    name = put("reviews.csv", "Text ,stars\ngood,5\nbad,1\n")
    message = refused(name, "has no column 'text'")
    assert "Columns found: 'Text ', 'stars'. Did you mean 'Text '" in message
    assert message.endswith("""Map it with --data.columns '{"Text ": text}'.""")
    mapped = DataConfig(files=DataFiles(train=name, validation=name), columns={"Text ": "text", "stars": "label"})
    assert load_corpus(mapped).splits["train"]["text"][:] == ["good", "bad"]
    refused(name, "maps column 'Text', but .* Did you mean 'Text '", columns={"Text": "text"})
    refused(name, "column 'stars' holds numbers only, expected text", columns={"stars": "text"})
    refused(name, "has no column 'text'", columns={"stars": "label"})
    refused(put("two.csv", "text,text\na,b\n"), "has 2 columns named 'text'")
    refused(
        put("none.csv", "body,stars\na,b\n"),
        r"Say which column holds the text with --data.columns '\{\"<column>\": text\}'",
    )
    refused(put("a.txt", "abc"), "a text file has the one column 'text'", ConfigError, columns={"body": "text"})


# ---------------------------------------------------------------- bad files


def test_paths() -> None:
    rows("reviews.jsonl")
    os.mkdir("folder")
    put("folder/a.csv", "text\na\n")
    refused("review.jsonl", "no such file. Did you mean 'reviews.jsonl'")
    refused("nowhere/a.jsonl", "there is no folder 'nowhere'")
    refused("folder", r"which is a folder. Name its files, such as 'folder/\*.csv'. It holds: 'a.csv'")
    refused("*.parquet", "no file matches")
    refused([], "found none|no training files", ConfigError)
    refused(["reviews.jsonl", "folder/a.csv"], "mixes formats: reviews.jsonl is json, folder/a.csv is csv")
    refused(put("a.docx", "x"), "'.docx', which tells no known format.* Known: .json")
    refused(put("a.jsonk", "x"), "Did you mean '.json")
    refused(put("data", "x"), "no ending")
    refused(put("empty.jsonl", ""), r"empty \(0 bytes\)")
    refused("ftp://a/b.txt", "expected a path, hf://datasets/")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "a"}\n\n{"text": "b\n{"text": "c"}\n', "a.jsonl: line 3 is not valid JSON"),
        ("a.jsonl", b'{"text": "a"}\n[1]\n', "line 2 is a list, expected an object"),
        ("a.jsonl", b'{"text": "a"}\n{"text": 5}\n', "a.jsonl, line 2: column 'text' holds a number, expected text"),
        ("a.jsonl", b'{"text": ["a"]}\n', "line 1: column 'text' holds a list"),
        ("a.jsonl", b'{"text": "a\\ud800"}\n', "line 1: column 'text' holds half a surrogate pair"),
        ("a.jsonl", b'{"text": "a", "text": "b"}\n', "cannot be read as JSON lines"),
        ("a.json", b'[{"text": "a"}, 5]', "row 2 is a number, expected an object"),
        ("a.json", b'[{"text": "a"}, {"text": 1.5}]', "a.json, row 2: column 'text' holds a number"),
        ("a.json", b'[{"text": "a"},\n', "line 2 is not valid JSON"),
        ("a.json", b"[]", "has no rows"),
        ("a.jsonl", b"\n\n", "has no rows"),
        (
            "a.jsonl",
            b'{"text": "a"}\n{"text": "\xe9"}\n',
            "byte 0xe9 at offset 24. .* iconv -f LATIN1 -t UTF-8 a.jsonl",
        ),
        ("a.csv", b'text,b\n"a" b,1\n', "a.csv: line 2: .* each quote in it doubled"),
        ("a.csv", b"text,b\na,1\nb,2,3\n", "ends in line 3 has 3 fields, the header has 2"),
        ("a.csv", b"text,b\na\n", "ends in line 2 has 1 fields"),
        ("a.csv", b'text,b\n"a,1\n', "unexpected end of data"),
        ("a.csv", b"text,b\n", "has no rows"),
        ("a.csv", b"text,b\nabc,1\n\xe9,2\n", "byte 0xe9 at offset 13"),
        ("a.tsv", b"text\tb\na\tb\tc\n", "cannot hold a tab"),
        ("a.txt", b"abc\xe9", "a.txt is not UTF-8: byte 0xe9 at offset 3. .* iconv"),
        ("a.txt", b"ab\xe2\x82", "byte 0xe2 at offset 2"),
        ("a.txt.gz", gzip.compress(b"abc\xe9", mtime=0), "offset 3 of the decompressed text.* a.txt >"),
        ("a.txt", b" \n", "Every one of the 1 rows of train was dropped: 1 empty"),
        ("a.jsonl", b'{"text": null}\n{"text": ""}\n', "2 rows of train was dropped: 1 empty .*, 1 null"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "a"}\n' * 999, mtime=0)[:-20], "whole .gz file"),
        ("a.jsonl.xz", b"not xz", "whole .xz file"),
        ("a.jsonl.zst", zst(os.urandom(9_999))[:-20], "whole .zst file"),
        ("a.parquet", b"not parquet", "cannot be read as parquet"),
        ("a.parquet", FORMATS["a.parquet"][:-30], "cannot be read as parquet"),
        ("a.arrow", b"not arrow at all", "cannot be read as arrow"),
        ("a.parquet", as_parquet([]), "has no rows"),
    ],
)
def test_bad_content(name: str, content: bytes, message: str) -> None:
    text = refused(put(name, content), message)
    assert name in text or "rows of train" in text


def test_typed_columns_that_are_not_text() -> None:
    put("a.parquet", as_parquet(TEXTS))
    refused("a.parquet", "a.parquet: column 'id' holds int64, expected text", columns={"id": "text"})
    put("a.arrow", as_arrow(TEXTS, pa.ipc.new_file))
    refused("a.arrow", "column 'id' holds int64", columns={"id": "text"})


def test_parquet_that_only_claims_utf8() -> None:
    array = pa.Array.from_buffers(pa.string(), 1, pa.array([b"ab\xe9"]).buffers())
    pq.write_table(pa.table({"text": array}), "a.parquet")
    refused("a.parquet", "cannot be read as parquet after row 0: .*UTF8")


# ---------------------------------------------------------------- cards and the Hub


def test_card_with_local_files(tmp_path: Path) -> None:
    folder = write_card(tmp_path / "reviews", VALID)
    put("reviews/a.jsonl", '{"review": "good", "stars": 5}\n{"review": "bad", "stars": 1}\n')
    put("reviews/b.jsonl", '{"review": "fair", "stars": 3}\n')
    corpus = load_corpus(DataConfig(card=str(folder)))
    assert corpus.name == "reviews"
    assert corpus.card is not None
    assert corpus.card.license == "mit"
    assert {split: dataset["text"][:] for split, dataset in corpus.splits.items()} == {
        "train": ["good", "bad"],
        "validation": ["fair"],
    }
    put("reviews/b.jsonl", '{"reviews": "fair", "stars": 3}\n')
    with pytest.raises(CardError, match="README.md maps column 'review', but .*b.jsonl has no .* mean 'reviews'"):
        load_corpus(DataConfig(card=str(folder)))
    with pytest.raises(DataError, match="data.columns maps column 'reviews', but .*a.jsonl"):
        load_corpus(DataConfig(card=str(folder), columns={"reviews": "text"}))
    os.remove("reviews/b.jsonl")
    with pytest.raises(DataError, match="validation of the card .*no such file. Did you mean 'a.jsonl'"):
        load_corpus(DataConfig(card=str(folder)))


def test_card_without_text(tmp_path: Path) -> None:
    folder = write_card(tmp_path / "c", changed("train-eval-index", 0, "col_mapping", to={"stars": "label"}))
    with pytest.raises(CardError, match="gives no column the role 'text'"):
        load_corpus(DataConfig(card=str(folder)))


def test_card_row_counts(tmp_path: Path) -> None:
    front = changed("dataset_info", "splits", to=[{"name": "train", "num_examples": 3}])
    folder = write_card(tmp_path / "c", front)
    for name in "ab":
        put(f"c/{name}.jsonl", '{"review": "good", "stars": 5}\n')
    with pytest.raises(CardError, match="states 3 rows for train .* its files have 1"):
        load_corpus(DataConfig(card=str(folder)))


def test_card_that_draws_its_split(tmp_path: Path) -> None:
    front = changed("configs", 0, "data_files", to=[{"split": "train", "path": "a.jsonl"}])
    entry = {"split": "validation", "from": "train", "method": "tail", "share": 0.25}
    folder = write_card(tmp_path / "c", front | {"plumbline": {"drawn_splits": [entry]}})
    put("c/a.jsonl", "".join(f'{{"review": "good{n}", "stars": 5}}\n' for n in range(8)))
    corpus = load_corpus(DataConfig(card=str(folder)))
    assert corpus.splits["validation"]["text"][:] == ["good6", "good7"]
    assert corpus.receipt["validation_split"] == {"method": "tail", "share": 0.25, "seed": None, "documents_cut": 0}
    with pytest.raises(ConfigError, match="states how its validation split is drawn"):
        load_corpus(DataConfig(card=str(folder), validation_share=0.5))


def test_builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = {split: tmp_path / f"{split}.parquet" for split in ("train", "validation", "test")}
    for split, path in built.items():
        path.write_bytes(as_parquet([f"{split} {n}" for n in range(3)]))
    (tmp_path / "receipt.json").write_text('{"documents": 9}')
    monkeypatch.setattr(sources, "build", lambda name: built)
    corpus = load_corpus(DataConfig(card="installed_docs"))
    assert list(corpus.splits) == ["train", "validation", "test"]
    assert corpus.splits["test"]["text"][:] == ["test 0", "test 1", "test 2"]
    assert corpus.receipt["builder"] == {"documents": 9}
    assert corpus.receipt["validation_split"] is None


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    "config",
    [
        DataConfig(name="nobody-here/no-such-data"),
        DataConfig(files=DataFiles(train="hf://datasets/nobody-here/no-such-data/*.parquet")),
    ],
)
def test_no_network_fails_fast(config: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    for proxy in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(proxy, raising=False)
    started = time.monotonic()
    with pytest.raises(HubError, match="cannot be reached from here .*--data.files.train.*HF_ENDPOINT"):
        load_corpus(config)
    assert time.monotonic() - started < 8
    hub.hub_is_reachable.cache_clear()


def hub_holds(monkeypatch: pytest.MonkeyPatch, result: object) -> None:
    """Makes datasets.load_dataset return `result`, or raise it."""
    import datasets

    def load_dataset(*args: object, **kwargs: object) -> object:
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


def test_hub_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    split = datasets.Dataset.from_dict({"body": ["a", "b", ""], "n": [1, 2, 3]})
    hub_holds(monkeypatch, datasets.DatasetDict({"train": split, "unsupervised": split, "test": split}))
    config = DataConfig(name="user/name", columns={"body": "text"})
    corpus = load_corpus(config)
    assert list(corpus.splits) == ["train", "validation", "test"]
    assert corpus.name == "user/name"
    assert corpus.receipt["test"]["rows_dropped"]["empty"] == 1
    with pytest.raises(DataError, match="The Hub dataset user/name has no column 'text'. Columns found: 'body', 'n'"):
        load_corpus(DataConfig(name="user/name"))
    with pytest.raises(DataError, match="column 'n' holds int64"):
        load_corpus(DataConfig(name="user/name", columns={"n": "text"}))
    hub_holds(monkeypatch, datasets.DatasetDict({"test": split}))
    with pytest.raises(DataError, match="has no split 'train'. Splits found: 'test'"):
        load_corpus(config)


def test_hub_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    config = DataConfig(name="user/name")
    gated = datasets.exceptions.DatasetNotFoundError("Dataset 'user/name' is a gated dataset on the Hub.")
    hub_holds(monkeypatch, gated)
    with pytest.raises(HubError, match="gated dataset on the Hub. Check the name at .* `hf auth login`"):
        load_corpus(config)
    hub_holds(monkeypatch, ValueError("Config name is missing. Please pick one among: ['a', 'b']"))
    with pytest.raises(ConfigError, match=r"\['a', 'b'\] Set --data.config_name"):
        load_corpus(config)


def test_cached_hub_dataset_of_another_revision_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    commit = "0123456789abcdef0123456789abcdef01234567"
    (tmp_path / commit).mkdir()
    path = tmp_path / commit / "train.arrow"
    path.write_bytes(as_arrow(TEXTS, pa.ipc.new_stream))
    hub_holds(monkeypatch, datasets.DatasetDict({"train": datasets.Dataset.from_file(str(path))}))
    assert len(load_corpus(DataConfig(name="user/name", revision=commit)).splits) == 2
    with pytest.raises(HubError, match=f"data.revision is 'main', but .* whose commit is '{commit}'"):
        load_corpus(DataConfig(name="user/name", revision="main"))


def test_hub_files_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    folder = tmp_path / "snapshot"
    folder.mkdir()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *args, **kwargs: str(folder))
    for n in (0, 1):
        (folder / f"train-0000{n}-of-00002.parquet").write_bytes(as_parquet([f"text {n}"]))
    url = "hf://datasets/user/name@main/train-*.parquet"
    assert train_texts(url) == ["text 0", "text 1"]
    (folder / "train-00001-of-00002.parquet").unlink()
    refused(url, "only 1 of the 2 shards of train are here", HubError)
    refused("hf://datasets/user/name/test-*", "cannot be reached", HubError)


def test_datasets_stay_as_talkative_as_they_were() -> None:
    import datasets

    before = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    with remote.quiet_datasets():
        assert datasets.are_progress_bars_disabled()
    assert (datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()) == before
