"""Labelled tables: the same rows from every format, nested columns, names of labels, and each broken file explained."""

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.data import files
from pipelines.data.columns import RoleColumns
from pipelines.data.files import find_files
from pipelines.data.labelled import read_files
from pipelines.data.tables import Table, hub_table, read_table
from pipelines.errors import DataError

TEXTS = ["The first row.", "NA", 'A "quoted", comma', "  ünïcødé 🎉", "2020-01-01 00:00:00", "null", "", "1,000"]
LABELS = ["1", "0", "NA", "null", "-1", "1.0", "true", ""]
COLUMNS = {"text": TEXTS, "label": LABELS}
SENTENCES = [(["EU", "rejects", "it"], ["B-ORG", "O", "O"]), (["ünï", "🎉"], ["B-MISC", "I-MISC"])]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(name: str, data: bytes | str) -> str:
    Path(name).write_bytes(data.encode() if isinstance(data, str) else data)
    return name


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(name: str, *paths: str) -> Table:
    """What `read_table` makes of a file, checked to be told its columns once."""
    asked = []

    def choose(columns: object, shown: str) -> list[str]:
        asked.append((list(columns), shown))
        return list(paths)

    found = read_table(find_files(name, "data.files.train")[0], choose)
    assert len(asked) == 1
    assert asked[0][1] == name
    return found


def read(name: str, *paths: str) -> dict[str, list]:
    return table(name, *paths).columns.to_pydict()


def refused(name: str, message: str, *paths: str) -> str:
    with pytest.raises(DataError, match=message) as caught:
        read(name, *paths)
    return str(caught.value)


# ---------------------------------------------------------------- formats


def as_csv() -> bytes:
    quoted = [[field.replace('"', '""') for field in row] for row in zip(TEXTS, LABELS, strict=True)]
    return ("text,id,label\n" + "".join(f'"{text}",7,"{label}"\n' for text, label in quoted)).encode()


def as_parquet(columns: dict, **types: pa.DataType) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: pa.array(column, types.get(name)) for name, column in columns.items()}), sink)
    return sink.getvalue().to_pybytes()


def as_arrow(columns: dict, kind, chunk: int = 3) -> bytes:
    whole, sink = pa.table(columns), pa.BufferOutputStream()
    with kind(sink, whole.schema) as writer:
        writer.write_table(whole, max_chunksize=chunk)
    return sink.getvalue().to_pybytes()


ROWS = [{"text": text, "id": 7, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
FORMATS = {
    "a.jsonl": lines(*ROWS).encode(),
    "blank-lines.ndjson": "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode(),
    "crlf.json": "\r\n".join(json.dumps(row) for row in ROWS).encode(),
    "bom.jsonl": b"\xef\xbb\xbf" + lines(*ROWS).encode(),
    "list.json": json.dumps(ROWS, indent=2, ensure_ascii=False).encode(),
    "line.json": json.dumps(ROWS).encode(),
    "a.csv": as_csv(),
    "bom.csv": b"\xef\xbb\xbf" + as_csv(),
    "a.tsv": ("label\ttext\n" + "".join(f"{row['label']}\t{row['text']}\n" for row in ROWS)).encode(),
    "a.parquet": as_parquet(COLUMNS | {"id": list(range(8))}),
    "large.parquet": as_parquet(COLUMNS, text=pa.large_string()),
    "categories.parquet": as_parquet(COLUMNS, label=pa.dictionary(pa.int8(), pa.string())),
    "stream.arrow": as_arrow(COLUMNS, pa.ipc.new_stream),
    "file.arrow": as_arrow(COLUMNS, pa.ipc.new_file),
}


def zst(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


COMPRESSIONS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zst}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(name: str) -> None:
    assert read(put(name, FORMATS[name]), "text", "label") == COLUMNS
    assert read(name, "label") == {"label": LABELS}


@pytest.mark.parametrize("ending", COMPRESSIONS)
@pytest.mark.parametrize("name", ["a.jsonl", "list.json", "a.csv", "a.tsv", "a.parquet", "stream.arrow", "file.arrow"])
def test_compressed(name: str, ending: str) -> None:
    assert read(put(name + ending, COMPRESSIONS[ending](FORMATS[name])), "text", "label") == COLUMNS


def test_csv_fields_over_several_lines_and_tsv_quotes() -> None:
    assert read(put("a.csv", 'text,label\n"one\ntwo",1\n\n"three ""x""",0\n'), "text") == {
        "text": ["one\ntwo", 'three "x"']
    }
    assert read(put("a.tsv", 'text\tlabel\n"open\t1\nclosed"\t0\n'), "text") == {"text": ['"open', 'closed"']}


CONLL = {
    "blanks.conll": "EU B-ORG\nrejects O\nit O\n\nünï B-MISC\n🎉 I-MISC\n",
    "tabs.iob2": "EU\tB-ORG\nrejects\tO\nit\tO\n\nünï\tB-MISC\n🎉\tI-MISC",
    "four-columns.conll2003": (
        "-DOCSTART- -X- O O\n\nEU NNP I-NP B-ORG\nrejects VBZ I-VP O\nit PRP I-NP O\n\n\n\n"
        "-DOCSTART- -X- -X- O\n\nünï NN I-NP B-MISC\n🎉 SYM I-NP I-MISC \n\n"
    ),
    "crlf.bio": "\r\n\r\nEU B-ORG\r\nrejects O\r\nit O\r\n \t \r\nünï B-MISC\r\n🎉 I-MISC\r\n",
    "bom.conll": "\ufeffEU B-ORG\nrejects O\nit O\n\nünï B-MISC\n🎉 I-MISC\n",
    "packed.conll.gz": gzip.compress("EU B-ORG\nrejects O\nit O\n\nünï B-MISC\n🎉 I-MISC\n".encode()),
}


@pytest.mark.parametrize("name", CONLL)
def test_conll(name: str) -> None:
    found = read(put(name, CONLL[name]), "tokens", "tags")
    assert list(zip(found["tokens"], found["tags"], strict=True)) == SENTENCES
    assert read(name, "tags") == {"tags": [tags for _, tags in SENTENCES]}


def test_a_conll_token_may_hold_blanks_where_tabs_part() -> None:
    assert read(put("a.conll", "New York\tB-LOC\n"), "tokens", "tags") == {
        "tokens": [["New York"]],
        "tags": [["B-LOC"]],
    }


def test_files_give_their_types() -> None:
    rows = [
        {"number": 1, "share": 0.5, "is": True, "tags": [0, 2], "turns": [{"role": "user"}], "none": None},
        {"number": 2, "share": 1, "is": False, "tags": [], "turns": [], "none": None},
    ]
    names = list(rows[0])
    columns = {name: [row[name] for row in rows] for name in names}
    put("a.jsonl", lines(*rows))
    put("a.parquet", as_parquet(columns | {"share": [0.5, 1.0]}))
    assert read("a.jsonl", *names) == read("a.parquet", *names) == columns
    assert read(put("a.csv", "number,tags\n1,[0]\n"), "number", "tags") == {"number": ["1"], "tags": ["[0]"]}


def test_missing_fields_are_null() -> None:
    put("a.jsonl", lines({"text": "a"}, {"label": 1}, {"text": None, "label": 0}, {}))
    assert read("a.jsonl", "text", "label") == {"text": ["a", None, None, None], "label": [None, 1, 0, None]}


# ---------------------------------------------------------------- columns by path


PAIRS = [{"en": "one", "fr": "un"}, {"en": "two", "fr": None}, None]
NESTED = {
    "a.jsonl": lines(*({"translation": pair} for pair in PAIRS)),
    "list.json": json.dumps([{"translation": pair} for pair in PAIRS]),
    "a.parquet": as_parquet({"translation": PAIRS, "n": [1, 2, 3]}),
    "a.arrow": as_arrow({"translation": PAIRS, "n": [1, 2, 3]}, pa.ipc.new_stream),
}


@pytest.mark.parametrize("name", NESTED)
def test_nested_columns(name: str) -> None:
    put(name, NESTED[name])
    assert read(name, "translation.en", "translation.fr") == {
        "translation.en": ["one", "two", None],
        "translation.fr": ["un", None, None],
    }


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_column_whose_name_has_a_dot_comes_before_a_field(name: str) -> None:
    put("a.jsonl", lines({"a.b": 1, "a": {"b": 5, "c": {"d": 6}}}))
    put("a.parquet", as_parquet({"a.b": [1], "a": [{"b": 5, "c": {"d": 6}}]}))
    assert read(name, "a.b", "a.c.d") == {"a.b": [1], "a.c.d": [6]}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("a.jsonl"),
        "a.parquet",
        "a.arrow",
    ],
)
def test_unknown_field_of_a_struct(name: str) -> None:
    put(name, NESTED[name])
    refused(name, f"{name}: column 'translation' has no field 'de'. Fields found: 'en', 'fr'", "translation.de")


def test_field_of_a_column_that_has_none() -> None:
    put("a.parquet", as_parquet({"text": ["a"]}))
    refused("a.parquet", "column 'text' has no field 'en'. Fields found: none", "text.en")


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", "text,label\na,1\n"), ("a.tsv", "text\tlabel\na\t1\n"), ("a.conll", "text O\n")]
)
def test_formats_without_objects_have_no_fields(name: str, content: str) -> None:
    column = "tokens" if name.endswith("conll") else "text"
    refused(put(name, content), f"{name}: column {column!r} has no field 'en'", f"{column}.en")


def test_several_columns_of_choices() -> None:
    roles = RoleColumns({"a": "choices", "b.text": "choices", "q": "text"}, None, ("text", "choices"), ())
    put("a.jsonl", lines({"b": {"text": "no"}, "q": "?", "a": "yes"}, {"b": {"text": "0"}, "q": "!", "a": "1"}))
    rows = read_files(find_files("a.jsonl", "data.files.train"), roles).as_list
    assert [row["choices"] for row in rows] == [["yes", "no"], ["1", "0"]]
    assert [row["text"] for row in rows] == ["?", "!"]
    put("a.jsonl", lines({"b": {"text": 0}, "q": "?", "a": "yes"}))
    with pytest.raises(DataError, match=r"a.jsonl: the columns a, b.text have different types. Expected text in each"):
        read_files(find_files("a.jsonl", "data.files.train"), roles)


def test_files_of_one_split_are_joined() -> None:
    roles = RoleColumns({}, None, ("text", "label"), ("id",))
    put("a.jsonl", lines({"text": "a", "label": 1}, {"text": "b", "label": 0}))
    put("b.jsonl", lines({"label": 2.5, "text": "c", "id": "x"}))
    rows = read_files(find_files(["a.jsonl", "b.jsonl"], "data.files.train"), roles)
    assert [(row["text"], row["label"], row["id"]) for row in rows] == [("a", 1, None), ("b", 0, None), ("c", 2.5, "x")]
    assert [rows.where(index) for index in range(3)] == ["a.jsonl, row 1", "a.jsonl, row 2", "b.jsonl, row 1"]
    put("c.jsonl", lines({"text": "d", "label": "good"}))
    with pytest.raises(DataError, match="The files a.jsonl, c.jsonl have different types: .*label"):
        read_files(find_files(["a.jsonl", "c.jsonl"], "data.files.train"), roles)


# ---------------------------------------------------------------- names of labels


def labelled_dataset():
    from datasets import ClassLabel, Dataset, Features, List, Value

    features = Features(
        {
            "text": Value("string"),
            "intent": ClassLabel(names=["ask", "tell"]),
            "tags": List(ClassLabel(names=["O", "B-PER"])),
            "words": List(Value("string")),
            "pair": {"en": Value("string"), "label": Value("int64")},
        }
    )
    columns = {"text": ["a", "b"], "intent": [1, 0], "tags": [[0, 1], []], "words": [["x"], ["y"]]}
    return Dataset.from_dict(columns | {"pair": [{"en": "one", "label": 1}] * 2}, features=features)


NAMES = {"intent": ("ask", "tell"), "tags": ("O", "B-PER")}


def test_names_of_labels_that_datasets_wrote(tmp_path: Path) -> None:
    dataset = labelled_dataset()
    dataset.to_parquet("a.parquet")
    dataset.save_to_disk("folder")
    (arrow,) = Path("folder").glob("*.arrow")
    for name in ("a.parquet", str(arrow)):
        found = table(name, "intent", "tags", "pair.en")
        assert found.label_names == NAMES
        assert found.columns.to_pydict() == {"intent": [1, 0], "tags": [[0, 1], []], "pair.en": ["one", "one"]}


def test_parquet_of_others_states_no_names() -> None:
    assert table(put("a.parquet", FORMATS["a.parquet"]), "label").label_names == {}
    pq.write_table(pa.table({"label": [1]}).replace_schema_metadata({"pandas": "{}", "huggingface": "{}"}), "b.parquet")
    assert table("b.parquet", "label").label_names == {}


def test_a_hub_dataset() -> None:
    asked = []

    def choose(columns: object, shown: str) -> list[str]:
        asked.append((list(columns), shown))
        return ["pair.en", "intent"]

    found = hub_table(labelled_dataset().select([1]), choose, "The Hub dataset user/name, split train")
    assert found.columns.to_pydict() == {"pair.en": ["one"], "intent": [0]}
    assert found.label_names == NAMES
    assert asked == [(["text", "intent", "tags", "words", "pair"], "The Hub dataset user/name, split train")]
    with pytest.raises(DataError, match="user/name, split train: column 'pair' has no field 'fr'"):
        hub_table(labelled_dataset(), lambda *_: ["pair.fr"], "The Hub dataset user/name, split train")


# ---------------------------------------------------------------- large files


def test_chunks_keep_the_row_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    content = lines(*({"text": f"row {n}", "label": n} for n in range(1, 301)))
    columns = {"text": [f"row {n}" for n in range(1, 301)], "label": list(range(1, 301))}
    monkeypatch.setattr(files, "CHUNK_BYTES", 100)  # three or four lines
    put("a.jsonl", content)
    assert read("a.jsonl", "text", "label") == columns
    roles = RoleColumns({}, None, ("text", "label"), ())
    assert read_files(find_files("a.jsonl", "data.files.train"), roles).where(249) == "a.jsonl, row 250"
    assert read(put("a.json", json.dumps(json.loads(f"[{','.join(content.splitlines())}]"), indent=1)), "label") == {
        "label": columns["label"]
    }
    put("a.jsonl", content.replace('"row 250"', '"row 250'))
    refused("a.jsonl", "a.jsonl: line 250 is not valid JSON", "text")
    put("a.jsonl", "\n\n" + content.replace('"row 250"', "250"))
    message = refused("a.jsonl", "row 250: column 'text' holds a number", "text")  # blank lines are no rows
    assert "a number (250), but text ('row 1') before" in message


def test_chunks_keep_the_offset_of_a_byte_that_is_not_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", 20)
    start = lines(*({"text": f"row {n}"} for n in range(50))).encode()
    refused(put("a.jsonl", start + b'{"text": "\xe9"}\n'), rf"byte 0xe9 at offset {len(start) + 10:,}\.", "text")


# ---------------------------------------------------------------- broken files


MIXED = {
    "number before text": (1, "a", "holds text ('a'), but a number (1) before"),
    "text before number": ("a", 1, "holds a number (1), but text ('a') before"),
    "text before list": ("a", ["b"], "holds a list (['b']), but text ('a') before"),
    "number before list": (1, [1], "holds a list ([1]), but a number (1) before"),
    "list before object": ([1], {"b": 1}, "holds an object ({'b': 1}), but a list ([1]) before"),
    "truth before number": (True, 1, "holds a number (1), but true or false (True) before"),
    "text before truth": ("a", False, "holds true or false (False), but text ('a') before"),
}


@pytest.mark.parametrize(("first", "second", "told"), MIXED.values(), ids=MIXED)
@pytest.mark.parametrize("form", ["lines", "list"])
def test_a_column_of_two_types(first: object, second: object, told: str, form: str) -> None:
    rows = [{"n": 1}, {"a": first}, {"a": None}, {"a": first}, {"a": second}]
    name = put("a.jsonl", lines(*rows)) if form == "lines" else put("a.json", json.dumps(rows))
    message = refused(name, f"{name}, row 5: column 'a' ", "a")
    assert told in message
    assert message.endswith("Give all rows one type.")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        pytest.param(["O", 5], "a number", id="inside a list"),
        pytest.param(["\ud800"], "surrogate", id="half a surrogate"),
        pytest.param([2**70], str(2**70), id="number beyond 64 bits"),
    ],
)
def test_a_value_that_no_column_can_hold_is_told_with_its_row(value: list, told: str) -> None:
    before = [0] if isinstance(value[0], int) else ["O"]
    message = refused(put("a.jsonl", lines({"a": before}, {"a": value})), "a.jsonl, row 2: column 'a' ", "a")
    assert told in message
    assert "mixes types" not in message


def test_the_message_on_two_types_stays_short() -> None:
    message = refused(put("a.jsonl", lines({"a": ["word"] * 5_000}, {"a": "word " * 5_000})), "row 2", "a")
    assert len(message) < 500


BROKEN = {
    "plain text": ("a.txt", "good\nbad\n", "a.txt is plain text, which has no columns. .* csv, tsv, parquet, arrow or"),
    "broken line": ("a.jsonl", '{"text": "a"}\n\n{"text": "b\n', "a.jsonl: line 3 is not valid JSON: .*character 10"),
    "line that is no object": ("a.jsonl", '{"text": "a"}\n[1]\n', "a.jsonl: line 2 is a list, expected an object"),
    "line that is null": ("a.jsonl", '{"text": "a"}\nnull\n', "line 2 is null, expected an object"),
    "broken list": ("a.json", '[{"text": "a"},\n{"text" "b"}]', "a.json: line 2 is not valid JSON"),
    "row of a list that is no object": ("a.json", '[{"text": "a"}, 5]', "a.json: row 2 is a number, expected an"),
    "empty list": ("a.json", "[]", "a.json has no rows. Expected at least one"),
    "blank lines": ("a.jsonl", "\n \n", "a.jsonl has no rows"),
    "not UTF-8": ("a.jsonl", b'{"text": "\xe9"}\n', "a.jsonl is not UTF-8: byte 0xe9 at offset 10. .*iconv"),
    "csv not UTF-8": ("a.csv", b"text\nab\xe9\n", "a.csv is not UTF-8: byte 0xe9 at offset 7. .*iconv"),
    "csv header alone": ("a.csv", "text,label\n", "a.csv has no rows"),
    "csv with a field too many": ("a.csv", "text,label\na,1\nb,2,3\n", "line 3 has 3 fields, the header has 2"),
    "csv with a field too few": ("a.csv", "text,label\na\n", "line 2 has 1 fields, the header has 2"),
    "csv with an open quote": ("a.csv", 'text,label\n"a,1\n', "unexpected end of data"),
    "tsv with a tab in a field": ("a.tsv", "text\tlabel\na\tb\t1\n", "cannot hold a tab"),
    "conll without tag": (
        "a.conll",
        "EU B-ORG\nrejects\n",
        "a.conll, line 2: expected a token and its tag .*'rejects'",
    ),
    "conll of marks alone": ("a.conll", "-DOCSTART- -X- O O\n\n", "a.conll has no rows"),
    "conll not UTF-8": ("a.conll", b"EU B-ORG\nca\xe9 O\n", "a.conll is not UTF-8: byte 0xe9 at offset 11"),
    "torn gzip": ("a.jsonl.gz", gzip.compress(b'{"text": "a"}\n' * 999)[:-20], "Is it a whole .gz file"),
    "no parquet": ("a.parquet", b"text,label\n", "a.parquet cannot be read as parquet"),
    "torn parquet": ("a.parquet", FORMATS["a.parquet"][:-30], "a.parquet cannot be read as parquet"),
    "no arrow": ("a.arrow", b"not arrow at all", "a.arrow cannot be read as arrow"),
    "parquet without rows": ("a.parquet", as_parquet({"text": []}), "a.parquet has no rows"),
}


@pytest.mark.parametrize(("name", "content", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_files(name: str, content: bytes | str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(find_files(put(name, content), "data.files.train")[0], lambda columns, shown: list(columns)[:1])


def test_an_empty_file_is_refused_where_it_is_found() -> None:
    with pytest.raises(DataError, match=r"a.jsonl is empty \(0 bytes\)"):
        find_files(put("a.jsonl", ""), "data.files.train")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("rejects\t", id="no tag"),
        pytest.param("\tO", id="no token"),
    ],
)
def test_conll_with_a_tab_and_nothing_beside_it(line: str) -> None:
    refused(put("a.conll", f"EU\tB-ORG\n{line}\n"), "a.conll, line 2: expected a token and its tag", "tokens", "tags")
