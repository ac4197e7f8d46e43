"""Labelled rows: columns by role, each row checked and counted, splits drawn by group, labels, fingerprints."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_cards import VALID, changed, write_card

from pipelines.data.labelled import FILE, NUMBER, LabelledData, Rows, load_labelled
from pipelines.errors import CardError, ConfigError, DataError
from pipelines.sections import DataFiles
from pipelines.task_sections import (
    ClassificationConfig,
    LabelledDataConfig,
    MultipleChoiceConfig,
    QuestionAnsweringConfig,
    SummarizationConfig,
    TokenClassificationConfig,
)
from pipelines.tasks.classification import TextClassification
from pipelines.tasks.multiple_choice import MultipleChoice
from pipelines.tasks.question_answering import QuestionAnswering
from pipelines.tasks.text_generation import Summarization
from pipelines.tasks.token_classification import TokenClassification


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(name: str, rows: list[dict]) -> str:
    """Rows as json lines or, for the ending .parquet, as typed columns."""
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), name)
    else:
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def review(n: int, **others: object) -> dict:
    return {"text": f"film {n}", "label": n % 2} | others


def classifier(**settings: object) -> TextClassification:
    return TextClassification(ClassificationConfig(**settings))


def load(train: list[dict], task=None, validation=None, test=None, with_test: bool = False, **settings) -> LabelledData:
    """Loads rows by way of json lines; validation=... draws none: it is one good review."""
    files = {"train": put("train.jsonl", train)}
    if validation is ...:
        validation = [{"text": "held out", "label": train[0]["label"]}]
    files |= {name: put(f"{name}.jsonl", rows) for name, rows in (("validation", validation), ("test", test)) if rows}
    return load_labelled(LabelledDataConfig(files=DataFiles(**files), **settings), task or classifier(), with_test)


def refused(message: str, train: list[dict], *args: object, error: type[Exception] = DataError, **more: object) -> str:
    with pytest.raises(error, match=message) as caught:
        load(train, *args, **more)
    return str(caught.value)


def texts(rows: Rows) -> list[str]:
    return [row["text"] for row in rows]


def closes(receipt: dict) -> bool:
    """Whether each row of the splits of a receipt was kept, dropped or moved."""
    return all(
        one["rows_read"] + one.get("moved_from_train", 0)
        == one["rows_kept"] + sum(one["rows_dropped"].values()) + one.get("moved_to_validation", 0)
        for one in (receipt[split] for split in ("train", "validation", "test") if split in receipt)
    )


# ---------------------------------------------------------------- columns and roles


def test_columns_are_found_by_the_names_of_their_roles() -> None:
    data = load([{"label": 1, "stars": 5, "text": "good"}, {"label": 0, "stars": 1, "text": "bad"}], validation=...)
    assert data.train.table.column_names == ["text", "label", FILE, NUMBER]
    assert list(data.train) == [
        {"text": "good", "label": 1, FILE: "train.jsonl", NUMBER: 1},
        {"text": "bad", "label": 0, FILE: "train.jsonl", NUMBER: 2},
    ]
    assert data.name == "train"
    assert (data.card, data.receipt["source"]["license"], data.test) == (None, None, None)
    assert list(data.splits) == ["train", "validation"]
    assert data.receipt["files"] == {"train": ["train.jsonl"], "validation": ["validation.jsonl"]}


def test_columns_are_mapped_and_dots_reach_into_objects() -> None:
    rows = [{"body": {"en": f"film {n}"}, "text": "not this one", "meta": {"stars": {"of5": n}}} for n in (1, 2)]
    columns = {"body.en": "text", "meta.stars.of5": "label"}
    data = load(rows, validation=rows, columns=columns)
    assert [(row["text"], row["label"]) for row in data.train] == [("film 1", 1), ("film 2", 2)]


def test_a_mapped_name_is_no_role_by_itself() -> None:
    rows = [{"text": 0, "body": "good"}, {"text": 1, "body": "bad"}]
    data = load(rows, validation=rows, columns={"text": "label", "body": "text"})
    assert [(row["text"], row["label"]) for row in data.train] == [("good", 0), ("bad", 1)]
    refused("has no column 'text'. Columns found: 'text', 'body'", rows, columns={"text": "label"})


def test_roles_that_the_task_does_not_read_are_refused() -> None:
    rows = [review(n, document="x") for n in range(4)]
    message = refused("'document'", rows, error=ConfigError, columns={"document": "document"})
    assert message == (
        "data.columns gives column 'document' the role 'document', which text classification does not read. It reads: "
        "text, label; if given: text_pair, head, tail, id, group."
    )
    refused("'txt', which is none. Did you mean 'text'", rows, error=ConfigError, columns={"document": "txt"})
    refused("'text', 'label' all the role 'text'", rows, error=ConfigError, columns={"text": "text", "label": "text"})


@pytest.mark.parametrize("role", ["head", "tail"])
def test_a_relation_needs_both_entities(role: str) -> None:
    rows = [{"text": f"Ann met Bob in {n}", role: "Ann", "label": n % 2} for n in range(4)]
    refused("head and tail", rows, error=ConfigError, columns={role: role})


def test_missing_columns_are_explained() -> None:
    rows = [{"Text ": "a", "label": n} for n in range(2)]
    message = refused("train.jsonl has no column 'text'", rows)
    assert "Columns found: 'Text ', 'label'. Did you mean 'Text ' (with blanks around it)?" in message
    assert message.endswith("""Say which column holds it with --data.columns '{"Text ": text}'.""")
    refused(
        "data.columns maps column 'txt', but train.jsonl has no column 'txt'. .*'Text '", rows, columns={"txt": "text"}
    )
    refused("validation.jsonl has no column 'label'", [review(0), review(1)], validation=[{"text": "a"}])


def test_choices_may_be_spread_over_columns() -> None:
    rows = [{"text": f"q {n}", "a": "yes", "b": "no", "label": n % 2} for n in range(4)]
    task = MultipleChoice(MultipleChoiceConfig())
    data = load(rows, task, validation=rows, columns={"b": "choices", "a": "choices"})
    assert [row["choices"] for row in data.train] == [["no", "yes"]] * 4
    assert [task.target(row) for row in data.train] == [0, 1, 0, 1]


@pytest.mark.parametrize("column", ["text_pair", "head"])
def test_a_split_without_an_optional_column_of_the_training_split(column: str) -> None:
    more = {"text_pair": "x"} if column == "text_pair" else {"head": "Ann", "tail": "Bob"}
    rows = [{"text": f"Ann met Bob in {n}", "label": n % 2, **more} for n in range(4)]
    lacking = [{name: value for name, value in row.items() if name != column} for row in rows]
    refused(f"validation.jsonl.*'?{column}'?", rows, validation=lacking)


# ---------------------------------------------------------------- rows that cannot be used


BAD = [
    review(0),
    review(1, text=" "),
    review(2),
    review(3, label=None),
    review(4, text=None),
    review(5, text=""),
    review(7),
    review(8, label=-1),
    review(9, label=None),
]


def test_the_first_bad_row_stops_the_run() -> None:
    assert refused("row 2", BAD) == (
        "train.jsonl, row 2: the text is empty. 5 other row(s) of train cannot be used either. Mend the data, or leave "
        "such rows out, counted by reason, with --data.invalid_rows drop."
    )
    message = refused("validation.jsonl, row 1: the label is missing", BAD[:3:2] + BAD[6:7], validation=BAD[3:4])
    assert "other row(s)" not in message


def test_bad_rows_are_left_out_and_counted_by_reason(capsys: pytest.CaptureFixture[str]) -> None:
    data = load(BAD, validation=[review(10, label=7), review(11)], invalid_rows="drop")
    assert texts(data.train) == ["film 0", "film 2", "film 7"]
    assert [data.train.where(index) for index in range(3)] == [f"train.jsonl, row {row}" for row in (1, 3, 7)]
    dropped = {"empty_text": 2, "null_label": 2, "text_not_text": 1, "hidden_label": 1}
    assert data.receipt["train"] == {"rows_read": 9, "rows_dropped": dropped, "rows_kept": 3}
    validation = {"rows_read": 2, "rows_dropped": {"unknown_label": 1}, "rows_kept": 1, "rows_also_in_train": 0}
    assert data.receipt["validation"] == validation
    assert closes(data.receipt)
    told = capsys.readouterr().err
    assert "train: 6 of 9 rows left out" in told
    assert "validation: 1 of 2 rows left out" in told


def test_totals_close_with_all_that_can_happen_to_a_row() -> None:
    rows = [review(n) for n in range(40)] + [review(n, text="") for n in range(3)] + [review(1, label=None)]
    data = load(rows, invalid_rows="drop", validation_share=0.25, max_train_rows=7)
    assert len(data.validation) == 10
    assert data.receipt["train"] == {
        "rows_read": 44,
        "rows_dropped": {"empty_text": 3, "null_label": 1, "max_train_rows": 23},
        "moved_to_validation": 10,
        "rows_kept": 7,
    }
    assert data.receipt["validation"] | {"rows_also_in_train": 0} == {
        "rows_read": 0,
        "rows_dropped": {},
        "moved_from_train": 10,
        "rows_kept": 10,
        "rows_also_in_train": 0,
    }
    assert closes(data.receipt)


def test_nothing_left() -> None:
    rows = [review(n, text="") for n in range(3)]
    refused(
        "Every one of the 3 rows of train was dropped: 3 empty_text. The first: train.jsonl, row 1",
        rows,
        invalid_rows="drop",
    )


def test_ids_that_stand_twice() -> None:
    rows = [review(n, id=one) for n, one in enumerate(["a", "b", None, "a", None, "a", "c"])]
    message = refused("train.jsonl, row 4: the id 'a' stands in row 1 too. Ids must differ", rows)
    assert "1 other row(s)" in message
    data = load(rows, validation=[review(9, id="a"), review(10, id=None)], invalid_rows="drop")
    assert [row["id"] for row in data.train] == ["a", "b", None, None, "c"]
    assert data.receipt["train"]["rows_dropped"] == {"duplicate_id": 2}
    assert [row["id"] for row in data.validation] == ["a", None]  # another split may count anew


def test_the_id_of_a_bad_row_is_free() -> None:
    data = load([review(0, id=1, text=""), review(1, id=1), review(2)], validation=..., invalid_rows="drop")
    assert data.receipt["train"]["rows_dropped"] == {"empty_text": 1}
    assert texts(data.train) == ["film 1", "film 2"]


def test_an_id_that_is_no_value() -> None:
    refused("train.jsonl, row 1: the id", [review(n, id=[n]) for n in range(4)])


# ---------------------------------------------------------------- drawn validation


def test_rows_with_one_text_are_drawn_together() -> None:
    rows = [review(n % 40, label=n % 2) for n in range(120)]  # each text three times, with both labels
    data = load(rows, validation_share=0.2)
    assert len(set(texts(data.validation))) == 8
    assert len(data.validation) == 24
    assert not set(texts(data.train)) & set(texts(data.validation))
    assert sorted(texts(data.train) + texts(data.validation)) == sorted(row["text"] for row in rows)
    assert data.receipt["validation_split"] == {"method": "hash", "share": 0.2, "seed": 0}
    assert data.receipt["validation"]["rows_also_in_train"] == 0
    numbers = [row[NUMBER] for row in data.train]
    assert numbers == sorted(numbers), "rows keep their order"


def test_pairs_with_one_text_may_part() -> None:
    rows = [{"text": "premise", "text_pair": f"claim {n}", "label": n % 2} for n in range(10)]
    data = load(rows, validation_share=0.3)
    assert len(data.validation) == 3
    assert closes(data.receipt)


def test_questions_of_one_context_are_drawn_together() -> None:
    def question(n: int) -> dict:
        context = f"Number {n % 10} is even or odd."
        return {"question": f"What {n}?", "context": context, "answers": {"text": ["even"], "answer_start": [12]}}

    data = load([question(n) for n in range(30)], QuestionAnswering(QuestionAnsweringConfig()), validation_share=0.2)
    drawn = {row["context"] for row in data.validation}
    assert len(drawn) == 2
    assert len(data.validation) == 6
    assert not drawn & {row["context"] for row in data.train}


def test_a_group_column_decides() -> None:
    rows = [review(n, group=n // 10) for n in range(50)] + [review(n, group=None) for n in range(50, 55)]
    data = load(rows, validation_share=0.3)  # of 10 groups: 5 of ten rows, 5 of one
    groups = {row["group"] for row in data.validation if row["group"] is not None}
    alone = sum(row["group"] is None for row in data.validation)
    assert len(groups) + alone == 3
    assert len(data.validation) == 10 * len(groups) + alone
    assert not groups & {row["group"] for row in data.train}


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    rows = [review(n) for n in range(60)]
    drawn = {seed: set(texts(load(rows, split_seed=seed).validation)) for seed in range(4)}
    assert all(len(one) == 6 for one in drawn.values())
    assert len({frozenset(one) for one in drawn.values()}) == 4
    assert set(texts(load(rows[::-1], split_seed=1).validation)) == drawn[1]


def test_the_draw_is_the_same_in_another_process() -> None:
    here = sorted(texts(load([review(n) for n in range(60)]).validation))
    code = (
        "from pipelines.data.labelled import load_labelled\n"
        "from pipelines.sections import DataFiles\n"
        "from pipelines.task_sections import ClassificationConfig, LabelledDataConfig\n"
        "from pipelines.tasks.classification import TextClassification\n"
        "config = LabelledDataConfig(files=DataFiles(train='train.jsonl'))\n"
        "data = load_labelled(config, TextClassification(ClassificationConfig()), False)\n"
        "print(*sorted(row['text'] for row in data.validation), sep='|')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip().split("|") == here


@pytest.mark.parametrize(("share", "drawn"), [(0.001, 1), (0.1, 1), (0.25, 2), (0.5, 5), (0.99, 9)])
def test_shares(share: float, drawn: int) -> None:
    data = load([review(n) for n in range(10)], validation_share=share)
    assert (len(data.train), len(data.validation)) == (10 - drawn, drawn)


def test_one_group_cannot_be_parted() -> None:
    message = refused("3 row\\(s\\) of 1 group\\(s\\)", [review(0, label=n) for n in range(3)])
    assert message.endswith("Give more rows, or --data.files.validation.")


def card(folder: str, file: str = "train.jsonl", drawn: dict | None = None, **info: object) -> str:
    """A card whose training file stands beside it, with columns review and stars."""
    front = changed("configs", 0, "data_files", to=[{"split": "train", "path": file}])
    front["train-eval-index"][0]["splits"] = {"train_split": "train"}
    front["dataset_info"] |= info
    if drawn is not None:
        front["plumbline"] = {"drawn_splits": [{"split": "validation", "from": "train"} | drawn]}
    return str(write_card(Path(folder), front))


def of_card(folder: str, rows: list[dict], **settings: object) -> LabelledData:
    put(f"{folder}/train.jsonl", rows)
    return load_labelled(LabelledDataConfig(card=folder, **settings), classifier(), with_test=False)


def stars(n: int) -> dict:
    return {"review": f"film {n}", "stars": n % 2}


def test_a_card_draws_its_own_split() -> None:
    folder = card("c", drawn={"method": "hash", "share": 0.5, "seed": 3})
    data = of_card(folder, [stars(n) for n in range(20)])
    assert len(data.validation) == 10
    assert data.receipt["validation_split"] == {"method": "hash", "share": 0.5, "seed": 3}
    assert texts(data.validation) == texts(
        load([review(n) for n in range(20)], validation_share=0.5, split_seed=3).validation
    )
    assert (data.name, data.receipt["source"]["license"]) == ("c", "mit")


def test_a_card_that_draws_the_tail() -> None:
    folder = card("c", drawn={"method": "tail", "share": 0.25})
    data = of_card(folder, [stars(n) for n in range(8)])
    assert texts(data.validation) == ["film 6", "film 7"]
    assert data.receipt["validation_split"]["method"] == "tail"


def test_a_card_and_a_config_that_both_draw() -> None:
    folder = card("c", drawn={"method": "hash", "share": 0.5})
    with pytest.raises(ConfigError, match="validation"):
        of_card(folder, [stars(n) for n in range(8)], validation_share=0.25)


# ---------------------------------------------------------------- limits, overlap, splits


def test_max_train_rows_takes_the_first_of_those_that_are_left() -> None:
    rows = [review(n) for n in range(10)]
    data = load([review(0, text=""), *rows], validation=..., max_train_rows=4, invalid_rows="drop")
    assert texts(data.train) == ["film 0", "film 1", "film 2", "film 3"]
    assert data.receipt["train"]["rows_dropped"] == {"empty_text": 1, "max_train_rows": 6}
    whole = load(rows, validation=..., max_train_rows=10)
    assert whole.receipt["train"] == {"rows_read": 10, "rows_dropped": {}, "rows_kept": 10}
    assert texts(load(rows, max_train_rows=4).validation) == texts(load(rows).validation)


def test_training_rows_inside_other_splits_are_told_and_stay(capsys: pytest.CaptureFixture[str]) -> None:
    train = [review(n) for n in range(10)]
    test = [review(3), review(3, label=0), review(4), review(50)]
    data = load(train, validation=[review(60)], test=test, with_test=True)
    assert texts(data.test) == ["film 3", "film 3", "film 4", "film 50"]
    assert data.receipt["test"]["rows_also_in_train"] == 3
    assert data.receipt["validation"]["rows_also_in_train"] == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("WARNING")]
    assert warnings == [
        "WARNING: 3 of 4 rows of test have the same input as a training row. "
        "The score on them is not one of unseen text."
    ]


def test_overlap_is_of_inputs_not_of_answers() -> None:
    task = Summarization(SummarizationConfig())
    train = [{"document": f"text {n}", "summary": f"said {n}"} for n in range(4)]
    data = load(train, task, validation=[{"document": "text 1", "summary": "otherwise"}])
    assert data.receipt["validation"]["rows_also_in_train"] == 1


def test_overlap_is_with_the_rows_that_are_trained_on() -> None:
    data = load([review(n) for n in range(4)], validation=[review(0), review(3)], max_train_rows=2)
    assert data.receipt["validation"]["rows_also_in_train"] == 1


def test_the_test_split_is_read_only_when_asked_for() -> None:
    train, hidden = [review(n) for n in range(4)], [review(9, label=-1)]
    data = load(train, validation=..., test=hidden)
    assert data.test is None
    assert "test" not in data.receipt
    refused("test.jsonl, row 1: the label is -1, which marks a hidden one", train, test=hidden, with_test=True)
    refused("evaluation.split is test, but train has no test split", train, error=ConfigError, with_test=True)


def test_a_source_that_is_none_or_two() -> None:
    for config, message in (
        (LabelledDataConfig(), "found none"),
        (LabelledDataConfig(card="a", files=DataFiles(train="b")), "found data.card and data.files"),
        (LabelledDataConfig(files=DataFiles(test="b")), "no training files"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_labelled(config, classifier(), with_test=False)


# ---------------------------------------------------------------- labels


def with_names(names: list[str]) -> str:
    """A Parquet file that states names of its labels, as `datasets` writes them."""
    from datasets import ClassLabel, Dataset, Features, Value

    columns = {"review": [f"film {n}" for n in range(6)], "stars": [n % 2 for n in range(6)]}
    features = Features({"review": Value("string"), "stars": ClassLabel(names=names)})
    Dataset.from_dict(columns, features=features).to_parquet("named.parquet")
    return "named.parquet"


FEATURES = [
    {"name": "review", "dtype": "string"},
    {"name": "stars", "dtype": {"class_label": {"names": {"0": "card bad", "1": "card good"}}}},
]


def test_names_of_labels_come_from_config_then_card_then_file_then_values() -> None:
    columns = {"review": "text", "stars": "label"}
    plain = [stars(n) for n in range(6)]
    named = DataFiles(train=with_names(["file bad", "file good"]))
    folder = card("c", "named.parquet", features=FEATURES)
    Path("c/named.parquet").write_bytes(Path("named.parquet").read_bytes())

    def names(**settings: object) -> tuple[str, ...]:
        task = classifier()
        load_labelled(LabelledDataConfig(**settings), task, with_test=False)
        assert [task.target({"label": value}) for value in (0, 1)] == [0, 1]
        return task.labels.names

    given = ["config bad", "config good"]
    assert names(card=folder, label_names=given) == ("config bad", "config good")
    assert names(card=folder) == ("card bad", "card good")
    assert names(card=folder, columns=columns) == ("card bad", "card good")
    assert names(files=named, columns=columns, label_names=given) == ("config bad", "config good")
    assert names(files=named, columns=columns) == ("file bad", "file good")
    assert names(files=DataFiles(train=put("plain.jsonl", plain)), columns=columns) == ("0", "1")


def test_a_card_that_states_other_rows() -> None:
    folder = card("c", splits=[{"name": "train", "num_examples": 7}])
    with pytest.raises(CardError, match="states 7 rows for train .* its files have 6"):
        of_card(folder, [stars(n) for n in range(6)])


def test_a_card_for_another_task() -> None:
    config = LabelledDataConfig(card=str(write_card(Path("c"), VALID)))
    with pytest.raises(CardError, match="gives no column the role 'document', which this recipe reads. .* 'text'"):
        load_labelled(config, Summarization(SummarizationConfig()), with_test=False)


@pytest.mark.parametrize("kind", [int, str])
def test_numeric_labels_are_in_the_order_of_their_size(kind: type) -> None:
    task = classifier()
    load([review(n, label=kind(n % 10 + 1)) for n in range(30)][::-1], task)
    assert task.labels.names == tuple(str(n) for n in range(1, 11))
    assert [task.target({"label": kind(n)}) for n in range(1, 11)] == list(range(10))


def test_words_are_in_alphabetical_order_behind_numbers() -> None:
    task = classifier()
    load([review(n, label=one) for n, one in enumerate(["good", "10", "bad", "9", "Zoo"] * 3)], task)
    assert task.labels.names == ("9", "10", "Zoo", "bad", "good")


def test_truths_are_labels() -> None:
    task = classifier()
    load([review(n, label=n % 3 == 0) for n in range(9)], task)
    assert task.labels.names == ("False", "True")
    assert [task.target({"label": value}) for value in (False, True)] == [0, 1]


def test_named_labels_by_number_by_text_and_by_name() -> None:
    task = classifier()
    load([review(n, label=["bad", "good", "0", "1"][n % 4]) for n in range(8)], task, label_names=["bad", "good"])
    assert [task.target({"label": value}) for value in ("bad", "good", "0", "1", 0, 1)] == [0, 1, 0, 1, 0, 1]
    assert task.target({"label": 2}).reason == "unknown_label"


def test_tags_have_names_too() -> None:
    task = TokenClassification(TokenClassificationConfig())
    rows = [{"tokens": ["Ann", f"w{n}"], "tags": [1, 0]} for n in range(4)]
    load(rows, task, validation=rows, label_names=["O", "B-PER"])
    assert (task.labels.names, task.unit, task.spans) == (("O", "B-PER"), "entities", ("O", "B-PER"))
    assert task.targets(rows[0]) == [1, 0]


def test_labels_of_validation_are_no_labels() -> None:
    train = [review(n) for n in range(4)]
    refused("validation.jsonl, row 2: the label 7 is none of the 2 of the training split or card: '0', '1'", train,
            validation=[review(8), review(9, label=7)])  # fmt: skip


def test_as_many_labels_as_rows() -> None:
    refused("60 different labels in 60 rows, '0' among them", [review(n, label=n) for n in range(60)])
    assert len(load([review(n, label=n % 50) for n in range(60)]).train) == 54


@pytest.mark.parametrize("names", [["positive", "neg"], ["Pos", "neg"]])
def test_misspelt_names_of_labels_are_told(names: list[str]) -> None:
    rows = [review(n, label=("pos", "neg")[n % 2]) for n in range(6)]
    refused(f"train.jsonl, row 1: the label 'pos' is none of the 2 .*'{names[0]}', 'neg'", rows, label_names=names)


def test_names_that_are_numbers() -> None:
    """Numbers count from 0 whatever the names are: in class labels of `datasets`, 0 may well be called '1'."""
    task = classifier()
    load([review(n, label=n % 3) for n in range(9)], task, label_names=["1", "2", "3"])
    assert [task.target({"label": n}) for n in range(3)] == [0, 1, 2]
    assert [task.target({"label": str(n)}) for n in (1, 2, 3)] == [0, 1, 2]


def test_numbers_beside_names_that_are_numbers() -> None:
    rows = [review(n, label=n % 3 + 1) for n in range(9)]
    assert "Did you mean" not in refused("row 3: the label 3 is none", rows, label_names=["1", "2", "3"])


def test_a_number_and_the_same_number_as_text_are_one_label() -> None:
    task = classifier()
    load([review(n) for n in range(4)], task, validation=[review(8, label="0"), review(9, label="1")])
    assert [task.target({"label": value}) for value in (0, "0", 1, "1")] == [0, 0, 1, 1]


def test_an_empty_label_is_a_missing_one() -> None:
    refused(
        "train.jsonl, row 4: the label is missing", [review(n, label=["pos", "neg", "pos", ""][n]) for n in range(4)]
    )


def test_the_row_with_the_float_is_named() -> None:
    refused(
        r"train.jsonl, row 5: the label is the number 1\.5",
        [review(n, label=n % 2 if n < 4 else 1.5) for n in range(6)],
    )


def test_lists_of_labels_that_are_all_empty() -> None:
    refused("train", [review(n, label=[]) for n in range(6)])


def test_one_label_that_some_rows_have() -> None:
    task = classifier()
    load([review(n, label=["new"] if n % 2 else []) for n in range(6)], task)
    assert [task.target({"label": value}) for value in (["new"], [])] == [[1.0], [0.0]]


def test_several_labels() -> None:
    task = classifier()
    load([review(n, label=[["b"], [], ["a", "b"]][n % 3]) for n in range(6)], task)
    assert (task.problem_type, task.labels.names) == ("multi_label_classification", ("a", "b"))
    assert [task.target({"label": value}) for value in (["b"], [], ["a", "b"])] == [[0.0, 1.0], [0.0, 0.0], [1.0, 1.0]]


def test_numbers_of_a_csv_file() -> None:
    Path("a.csv").write_text("text,label\n" + "".join(f"film {n},{n / 2}\n" for n in range(8)), encoding="utf-8")
    task = classifier(problem_type="regression")
    data = load_labelled(LabelledDataConfig(files=DataFiles(train="a.csv")), task, with_test=False)
    assert sorted(task.target(row) for row in [*data.train, *data.validation]) == [n / 2 for n in range(8)]


def test_numbers_of_a_csv_file_are_shown() -> None:
    shown = classifier(problem_type="regression").shown({"text": "film", "label": "2.50"}, {"value": 2.0})
    assert shown == {"input": "film", "expected": "2.5", "predicted": "2.000"}


def test_equal_numbers_of_a_csv_file() -> None:
    rows = [review(n, label="3.0") for n in range(4)]
    refused(
        "All numbers of the training split are 3: there is nothing to learn",
        rows,
        classifier(problem_type="regression"),
    )


def test_equal_numbers() -> None:
    rows = [review(n, label=3.0) for n in range(4)]
    refused(
        "All numbers of the training split are 3: there is nothing to learn",
        rows,
        classifier(problem_type="regression"),
    )


def choice(label: object, choices: tuple[str, ...] = ("red", "green", "blue")) -> object:
    return MultipleChoice(MultipleChoiceConfig()).target({"label": label, "choices": list(choices)})


def test_the_right_choice_by_place_letter_and_words() -> None:
    assert [choice(one) for one in (0, 2, "0", "2", "A", " C ", "green", 1.0)] == [0, 2, 0, 2, 0, 2, 1, 1]
    assert choice("1", ("2", "1")) == 1, "words come before places"
    assert [choice(one).reason for one in (3, -1, "D", 1.5, "x", [0], "3")] == ["unknown_label"] * 7
    assert choice(None).reason == "null_label"


@pytest.mark.parametrize(
    ("label", "choices"),
    [
        pytest.param("", 3),
        pytest.param(" ", 3),
        pytest.param("BC", 3),
        pytest.param(float("inf"), 3),
        pytest.param("Z", 11),
    ],
)
def test_labels_that_are_no_choice(label: object, choices: int) -> None:
    assert choice(label, tuple(f"choice {n}" for n in range(choices))).reason in ("unknown_label", "null_label")


# ---------------------------------------------------------------- fingerprints and rows


def test_fingerprints_change_with_values_order_and_roles() -> None:
    rows = [review(n, id=n) for n in range(4)]
    changes = {
        "text": [*rows[:3], review(3, id=3, text="film 03")],
        "label": [*rows[:3], review(3, id=3, label=0)],
        "id": [*rows[:3], review(3, id=9)],
        "order": [rows[1], rows[0], *rows[2:]],
        "one fewer": rows[:3],
        "no ids": [review(n) for n in range(4)],
    }
    seen = {name: load(one, validation=...).train.fingerprint() for name, one in ({"same": rows} | changes).items()}
    assert len(set(seen.values())) == len(seen)
    assert all(len(one) == 32 for one in seen.values())


def test_fingerprints_are_of_what_is_read_not_of_where_it_stands() -> None:
    rows = [review(n) for n in range(4)]
    first = load(rows, validation=[review(9)])
    Path("data").mkdir()
    put("data/a.parquet", [row | {"other": n} for n, row in enumerate(rows)])
    put("data/b.parquet", [review(9)])
    files = DataFiles(train="data/a.parquet", validation="data/b.parquet")
    assert load_labelled(LabelledDataConfig(files=files), classifier(), False).hashes() == first.hashes()
    assert first.hashes() == {"train": first.train.fingerprint(), "validation": first.validation.fingerprint()}


def test_take_and_where() -> None:
    rows = load([review(n, label=[n % 2, (n + 1) % 2]) for n in range(5)], validation=...).train
    picked = rows.take([4, 0, 2, 0])
    assert texts(picked) == ["film 4", "film 0", "film 2", "film 0"]
    assert [picked.where(index) for index in range(4)] == [f"train.jsonl, row {n}" for n in (5, 1, 3, 1)]
    assert len(rows.take([])) == 0


def test_row_numbers_above_a_thousand_have_commas_and_batches_keep_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = load([review(n) for n in range(1_300)], validation=...).train
    assert rows.where(1_233) == "train.jsonl, row 1,234"
    monkeypatch.setattr("pipelines.data.labelled.BATCH_ROWS", 7)
    assert texts(rows) == [f"film {n}" for n in range(1_300)]
