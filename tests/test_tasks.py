"""What each task makes of rows: encoding, decoding and figures, by hand-made cases."""

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from architectures import DECODERS
from task_step import BERT, CONFIGS, make_task, prepared, rows_of, tokenizer_of
from transformers import AutoConfig, AutoModelForCausalLM

from pipelines.data.labelled import FILE, NUMBER, Problem, Rows
from pipelines.data.packing import IGNORE_INDEX
from pipelines.errors import ConfigError, DataError
from pipelines.sections import Seq2SeqModelConfig
from pipelines.task_sections import (
    ChatConfig,
    ClassificationConfig,
    LoraConfig,
    QuestionAnsweringConfig,
    SummarizationConfig,
    TokenClassificationConfig,
)
from pipelines.tasks import relations
from pipelines.tasks.chat import Chat
from pipelines.tasks.classification import TextClassification
from pipelines.tasks.conversation import CHATML, encode_conversation, next_token_labels
from pipelines.tasks.question_answering import QuestionAnswering, Window, best_threshold
from pipelines.tasks.task import Limit, choose_limit
from pipelines.tasks.text_generation import Summarization
from pipelines.tasks.token_classification import TokenClassification, _windows, join
from pipelines.tasks.writing import pad_left, write
from pipelines.training.lora import add_lora


def rows(*values: dict[str, Any]) -> Rows:
    return Rows(pa.Table.from_pylist([one | {FILE: "f", NUMBER: place} for place, one in enumerate(values, start=1)]))


def ready(task: Any, data: Rows, model: dict[str, Any] = BERT) -> Any:
    task.learn(data, None)
    task.use_tokenizer(copy.deepcopy(tokenizer_of("words")), Seq2SeqModelConfig(config=model))
    return task


# ---------------------------------------------------------------- classification


def test_texts_stand_between_begin_and_end() -> None:
    data = rows({"text": "the array", "label": "a"}, {"text": "its sum", "label": "b"})
    task = ready(TextClassification(ClassificationConfig()), data)
    examples = task.encode(data, Limit(16, "truncate"), training=True)
    tokenizer = task.tokenizer
    first = examples.block(0)
    assert tokenizer.decode(first["input_ids"]) == "<|bos|>the array<|eos|>"
    assert first["labels"].tolist() == [0]
    batch = task.collate([examples.block(0), examples.block(1)])
    assert batch["input_ids"].shape[1] % 8 == 0
    assert batch["attention_mask"].sum(dim=1).tolist() == [
        len(examples.block(0)["input_ids"]),
        len(examples.block(1)["input_ids"]),
    ]


def test_truncation_is_counted_and_drop_spares_what_is_scored() -> None:
    long = "the array holds value for each row and returns its sum"
    data = rows({"text": long, "label": 0}, {"text": "sum", "label": 1})
    task = ready(TextClassification(ClassificationConfig()), data)
    length = len(task.tokenizer(long)["input_ids"])
    cut = task.encode(data, Limit(8, "truncate"), training=True)
    assert cut.counts["tokens_truncated"] == length - 8
    assert cut.counts["rows_truncated"] == 1
    assert cut.counts["text_tokens"] == cut.counts["tokens_kept"] + length - 8
    dropped = task.encode(data, Limit(8, "drop"), training=True)
    assert dropped.row_E.tolist() == [1]
    assert dropped.counts["rows_dropped_overlength"] == 1
    assert dropped.counts["tokens_of_dropped_rows"] == length
    assert task.encode(data, Limit(8, "drop"), training=False).row_E.tolist() == [0, 1]
    with pytest.raises(DataError, match=f"f, row 1 has {length} tokens, more than data.max_length \\(8\\)"):
        task.encode(data, Limit(8, "error"), training=True)


def test_limits() -> None:
    task = TextClassification(ClassificationConfig())
    assert choose_limit(task, None, None, 128) == Limit(128, "truncate")
    assert choose_limit(task, None, None, 8192) == Limit(512, "truncate")
    assert choose_limit(task, None, None, None) == Limit(512, "truncate")
    with pytest.raises(ConfigError, match="has 128 positions. Set --data.max_length 128"):
        choose_limit(task, 200, None, 128)
    with pytest.raises(ConfigError, match="'split', which text classification does not have"):
        choose_limit(task, None, "split", 128)


def test_figures_of_single_labels_by_hand() -> None:
    data = rows(*({"text": "the", "label": label} for label in (0, 1, 1, 0, 1)))
    task = ready(TextClassification(ClassificationConfig()), data)
    said = [{"label": one, "probabilities": [1.0 - one, float(one)]} for one in (0, 1, 0, 1, 1)]
    scored = task.score(said, data.as_list)
    assert scored.metrics["accuracy"] == pytest.approx(3 / 5)
    assert scored.metrics["f1"] == pytest.approx(2 / 3)  # 2 of 3 predicted, 2 of 3 there
    assert scored.metrics["matthews_correlation"] == pytest.approx((2 * 1 - 1 * 1) / math.sqrt(3 * 3 * 2 * 2))
    assert scored.metrics["expected_calibration_error"] == pytest.approx(0.4)  # always sure, right 3 times of 5
    assert scored.correct_R.tolist() == [True, True, False, False, True]
    assert scored.statistic(np.array([0, 0, 2])) == pytest.approx(2 / 3)


def test_figures_of_several_labels_by_hand() -> None:
    data = rows({"text": "the", "label": ["a", "b"]}, {"text": "sum", "label": []}, {"text": "row", "label": ["c"]})
    task = ready(TextClassification(ClassificationConfig()), data)
    assert task.problem_type == "multi_label_classification"
    assert task.target(data.as_list[0]) == [1.0, 1.0, 0.0]
    said = [task._prediction(np.array(one)) for one in ([0.9, 0.2, 0.6], [0.1, 0.1, 0.1], [0.1, 0.1, 0.7])]
    scored = task.score(said, data.as_list)
    assert scored.metrics["f1_micro"] == pytest.approx(2 * 2 / (3 + 3))
    assert scored.metrics["accuracy"] == pytest.approx(2 / 3)
    assert scored.metrics["f1_macro"] == pytest.approx((1 + 0 + 2 / 3) / 3)
    assert task.public(said[0])["labels"] == ["a", "c"]


def test_a_label_named_twice_is_none() -> None:
    """Such as a list of 0 and 1 for all labels, whose numbers would be read as those of labels."""
    task = TextClassification(ClassificationConfig())
    task.learn(rows({"text": "the", "label": ["a", "b"]}, {"text": "sum", "label": ["c"]}), ("a", "b", "c"))
    for label in (["a", "a"], [0, 1, 0], ["a", 0]):
        found = task.target({"text": "row", "label": label})
        assert isinstance(found, Problem) and found.reason == "label_twice", label
    assert task.target({"text": "row", "label": [2, 0]}) == [1.0, 0.0, 1.0]


def test_a_single_label_that_may_hold_or_not() -> None:
    data = rows({"text": "the array", "label": ["a"]}, {"text": "sum", "label": []}, {"text": "row is", "label": ["a"]})
    task = ready(TextClassification(ClassificationConfig()), data)
    model = task.build(Seq2SeqModelConfig(config=BERT), 16).eval()
    examples, loss = task.encode(data, Limit(16, "truncate"), training=True), task.loss(model, bf16=False)
    batch = task.collate([examples.block(place) for place in range(3)])
    assert batch["labels"].tolist() == [1.0, 0.0, 1.0]
    with torch.no_grad():
        logits = loss.logits(model, batch)
    assert logits.shape == (3, 1)
    truth = torch.tensor([[1.0], [0.0], [1.0]])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="sum")
    assert float(loss.loss_of(logits, batch)) == pytest.approx(float(expected), abs=1e-6)
    assert int(loss.count(batch)) == 3
    said = task.predictions(task.outputs(logits, batch), examples, data.as_list)
    assert 0.0 <= task.score(said, data.as_list).metrics["f1_micro"] <= 1.0
    assert [name for name, _ in task.baselines(data, data.as_list, 0)] == ["majority", "tfidf"]


@pytest.mark.parametrize("case", ["single-llama", "single-gpt2"])
def test_a_decoder_without_a_padding_token_reads_texts_to_their_end(case: str, tmp_path: Path) -> None:
    """From random weights and from a checkpoint, alone and beside longer texts: the same predictions."""
    data, config = rows_of("single"), {"model_type": case.split("-")[1], **DECODERS[case.split("-")[1]]}
    AutoModelForCausalLM.from_config(AutoConfig.for_model(**config, vocab_size=320)).save_pretrained(tmp_path)
    for source in (Seq2SeqModelConfig(config=config), Seq2SeqModelConfig(name=str(tmp_path))):
        task, tokenizer = make_task("single"), copy.deepcopy(tokenizer_of("words"))
        tokenizer.pad_token = None
        task.learn(data, None)
        task.use_tokenizer(tokenizer, source)
        torch.manual_seed(0)
        model = task.build(source, 64).eval()
        model.save_pretrained(tmp_path / "saved")
        saved = json.loads((tmp_path / "saved" / "config.json").read_text())
        assert saved["pad_token_id"] == tokenizer.pad_token_id is not None
        examples, loss = task.encode(data, Limit(40, "truncate"), training=False), task.loss(model, bf16=False)

        def said(places: list[int], task: Any = task, examples: Any = examples, model: Any = model, loss: Any = loss):
            with torch.no_grad():
                batch = task.collate([examples.block(place) for place in places])
                return np.array(task.outputs(loss.logits(model, batch), batch))

        alone = np.concatenate([said([place]) for place in range(8)])
        assert len(np.unique(alone.round(5), axis=0)) == 8
        np.testing.assert_allclose(said(list(range(8))), alone, atol=1e-5)


def test_figures_of_numbers_by_hand() -> None:
    data = rows(*({"text": "the", "label": label} for label in (1.0, 2.0, 3.0, 4.0)))
    task = ready(TextClassification(ClassificationConfig(problem_type="regression")), data)
    scored = task.score([{"value": one} for one in (1.0, 3.0, 2.0, 4.0)], data.as_list)
    assert scored.metrics["mse"] == pytest.approx(0.5)
    assert scored.metrics["spearmanr"] == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert scored.metrics["pearsonr"] == pytest.approx(0.8)


def test_relations_mark_both_entities() -> None:
    assert relations.mark("Ann met Bob.", "Bob", "Ann") == "[E2] Ann [/E2] met [E1] Bob [/E1]."
    assert relations.mark("Ann met Ann.", [0, 3], {"start": 8, "end": 11}) == "[E1] Ann [/E1] met [E2] Ann [/E2]."
    for head, tail, reason in (
        ("Ann", "Bo", "tail_not_found"),
        ("n", "met", "head_not_found"),  # stands twice
        ([0, 7], [4, 9], "entities_overlap"),
        ([0, 99], "met", "head_not_found"),
    ):
        found = relations.mark("Ann met x.", head, tail)
        assert isinstance(found, Problem) and found.reason == reason


def test_relation_markers_are_tokens_of_their_own() -> None:
    data = rows(
        {"text": "the array holds row", "head": "array", "tail": "row", "label": "has"},
        {"text": "the sum returns zero", "head": "sum", "tail": "zero", "label": "is"},
    )
    task = ready(TextClassification(ClassificationConfig()), data)
    ids = task.encode(data, Limit(32, "truncate"), training=True).block(0)["input_ids"]
    pieces = task.tokenizer.convert_ids_to_tokens(ids)
    assert [one for one in pieces if one in relations.MARKERS] == ["[E1]", "[/E1]", "[E2]", "[/E2]"]


# ---------------------------------------------------------------- question answering

CONTEXT = (
    "the array holds value for each row and returns its sum when axis is zero and the row is each" + " for the row" * 9
)


def question(answer: str, start: int | None = None) -> dict[str, Any]:
    place = CONTEXT.find(answer) if start is None else start
    return {"question": "what holds", "context": CONTEXT, "answers": {"text": [answer], "answer_start": [place]}}


def test_windows_show_every_token_and_find_the_answer() -> None:
    data = rows(question("its sum"), question("zero"))
    task = ready(QuestionAnswering(QuestionAnsweringConfig(stride=4)), data)
    examples = task.encode(data, Limit(28, "split"), training=False)
    assert len(examples) > 4 and set(examples.row_E) == {0, 1}
    assert examples.counts["rows_in_several_windows"] == 2
    for row in (0, 1):
        windows = [examples.info[index] for index in np.flatnonzero(examples.row_E == row)]
        covered = {place for window in windows for low, high in window.offsets for place in range(low, high)}
        assert covered == set(range(len(CONTEXT)))
        answer = data.as_list[row]["answers"]["text"][0]
        whole = 0
        for index in np.flatnonzero(examples.row_E == row):
            block, window = examples.block(index), examples.info[index]
            start, end = int(block["start_positions"][0]), int(block["end_positions"][0])
            if start:
                whole += 1
                low = window.offsets[start - window.first][0]
                high = window.offsets[end - window.first][1]
                assert CONTEXT[low:high].strip() == answer
                assert task.tokenizer.decode(block["input_ids"][start : end + 1]).strip() == answer
            else:
                assert end == 0
        assert whole >= 1
    tokens = sum(len(examples.block(index)["input_ids"]) for index in range(len(examples)))
    assert tokens == examples.counts["tokens_kept"] + examples.counts["tokens_read_again_in_overlaps"]


def test_the_best_span_of_all_windows_wins() -> None:
    data = rows(question("array"))
    task = ready(QuestionAnswering(QuestionAnsweringConfig(max_answer_tokens=2, n_best=3)), data)
    window = Window(2, [(0, 3), (4, 9), (10, 15)])  # the, array, holds
    logits = np.full((2, 6), -5.0)
    logits[0, 3], logits[1, 3], logits[1, 4] = 2.0, 1.0, 1.5
    logits[0, 2] = 9.0  # "the" to "holds" would be three tokens: too long; "the array" scores 9 + 1
    best = task._prediction(CONTEXT, task._best_spans(logits, window), math.inf)
    assert (best["text"], best["start"], best["end"]) == ("the array", 0, 9)
    assert [one["text"] for one in best["n_best"]] == ["the array", "the", "array holds"]
    assert sum(one["score"] for one in best["n_best"]) == pytest.approx(1.0)


def test_answers_have_no_blanks_around_them() -> None:
    """Tokens of bytes hold the blank before a word, and rows may have answers with blanks: spans are told without."""
    data = rows(question(" its sum "), question("returns its "), question("the array"))
    task = ready(QuestionAnswering(QuestionAnsweringConfig(stride=4)), data)
    examples = task.encode(data, Limit(60, "split"), training=False)
    draw = np.random.default_rng(0)
    outputs = [draw.normal(size=(2, len(examples.block(index)["input_ids"]))) for index in range(len(examples))]
    for index, logits_2T in enumerate(outputs):
        block = examples.block(index)
        if block["start_positions"][0]:
            logits_2T[0, block["start_positions"][0]] = logits_2T[1, block["end_positions"][0]] = 99.0
    said = task.predictions(outputs, examples, data.as_list)
    assert [one["text"] for one in said] == ["its sum", "returns its", "the array"]
    for one in (span for row in said for span in (row, *row["n_best"])):
        assert one["text"] == one["text"].strip() == CONTEXT[one["start"] : one["end"]]


def test_figures_of_questions_without_an_answer_by_hand() -> None:
    none = {**question("array"), "answers": {"text": [], "answer_start": []}}
    data = rows(none, none, question("its sum"), question("array"))
    task = ready(QuestionAnswering(QuestionAnsweringConfig()), data)
    task.threshold = 0.0
    texts, margins = ("array", "array", "its sum", "zero"), (1.0, -1.0, -1.0, -1.0)
    said = [{"text": text, "no_answer_margin": margin} for text, margin in zip(texts, margins, strict=True)]
    scored = task.score(said, data.as_list)
    assert scored.metrics["f1"] == scored.metrics["exact_match"] == 50.0  # the first and the third are right
    assert (scored.metrics["f1_no_answer"], scored.metrics["f1_has_answer"]) == (50.0, 50.0)
    assert scored.statistic(np.arange(4)) == scored.metrics["f1"]
    assert scored.worth_R.tolist() == [100.0, 0.0, 100.0, 0.0]
    assert [one["answer"] for one in said] == ["", "array", "its sum", "zero"]


def test_no_answer_threshold_by_hand() -> None:
    margin = np.array([-3.0, -1.0, 0.5, 2.0])
    with_span, with_none = np.array([1.0, 0.2, 0.0, 0.0]), np.array([0.0, 0.0, 1.0, 1.0])
    assert best_threshold(margin, with_span, with_none) == pytest.approx(-0.25)  # between -1 and 0.5
    assert best_threshold(margin, with_none, with_span) > 2.0
    assert best_threshold(margin, np.zeros(4), np.ones(4)) < -3.0
    equal = np.array([1.0, 1.0, 1.0])
    assert best_threshold(equal, np.array([1.0, 0, 0]), np.array([0.0, 1, 1])) < 1.0  # they fall on one side together


def test_no_row_is_answered_by_a_threshold_its_own_answer_chose() -> None:
    data = rows(
        *(
            {**question("array"), "group": f"g{place}", "answers": {"text": [], "answer_start": []}}
            for place in range(20)
        ),
        *({**question("array"), "group": f"h{place}"} for place in range(20)),
    )
    task = ready(QuestionAnswering(QuestionAnsweringConfig()), data)
    assert task.with_no_answer
    said = [{"text": "array", "no_answer_margin": 1.0 if place < 20 else -1.0} for place in range(40)]
    assert task._answers(said, data.as_list) == [""] * 20 + ["array"] * 20
    scored = task.score(said, data.as_list)
    assert scored.metrics["f1"] == 100.0 and scored.metrics["exact_match"] == 100.0
    # One row turned round moves the threshold of the other half alone.
    halves = [task._answers([{**one, "no_answer_margin": -one["no_answer_margin"]} for one in said], data.as_list)]
    assert halves[0] != [""] * 20 + ["array"] * 20
    task.tune(said, data.as_list)
    assert -1.0 < task.threshold < 1.0


# ---------------------------------------------------------------- tags


def test_first_piece_carries_the_tag() -> None:
    data = rows({"tokens": ["the", "unknowable", "array"], "tags": ["O", "B-X", "I-X"]})
    task = ready(TokenClassification(TokenClassificationConfig()), data)
    assert task.unit == "entities"
    block = task.encode(data, Limit(64, "split"), training=True).block(0)
    pieces = [len(task.tokenizer(word, add_special_tokens=False)["input_ids"]) for word in data.as_list[0]["tokens"]]
    names = [task.labels.names[label] if label != IGNORE_INDEX else "-" for label in block["labels"]]
    assert pieces[1] > 1
    expected = ["-", "O"] + ["-"] * (pieces[0] - 1) + ["B-X"] + ["-"] * (pieces[1] - 1)
    expected += ["I-X"] + ["-"] * (pieces[2] - 1) + ["-"]
    assert names == expected


def test_long_rows_are_cut_between_words_and_put_together_again() -> None:
    words = ["the", "array", "holds", "value"] * 10
    data = rows({"tokens": words, "tags": ["B-X", "O", "O", "O"] * 10}, {"tokens": ["sum"], "tags": ["O"]})
    task = ready(TokenClassification(TokenClassificationConfig()), data)
    examples = task.encode(data, Limit(12, "split"), training=True)
    assert examples.targets_E.sum() == 41
    assert examples.counts["rows_in_several_windows"] == 1
    assert max(len(examples.block(index)["input_ids"]) for index in range(len(examples))) <= 12
    outputs = [
        ([int(one) for one in examples.block(i)["labels"] if one != IGNORE_INDEX],) * 2 for i in range(len(examples))
    ]
    said = task.predictions(outputs, examples, data.as_list)
    assert [task.labels.names[tag] for tag in said[0]["tags"]] == data.as_list[0]["tags"]
    assert task.score(said, data.as_list).metrics["f1"] == 1.0
    assert _windows([3, 3, 3], 6) == [(0, 2), (2, 3)]


def test_a_word_that_leaves_no_token_still_has_a_tag() -> None:
    data = rows({"tokens": ["the", "", "array"], "tags": ["O", "B-X", "O"]})
    task = ready(TokenClassification(TokenClassificationConfig()), data)
    examples = task.encode(data, Limit(32, "split"), training=True)
    assert examples.targets_E.tolist() == [3]
    assert examples.counts["words_without_token"] == 1


def test_words_are_read_as_they_stand_in_a_text() -> None:
    """Byte-level tokens begin with the blank before a word; a word given by itself gets one too."""
    data = rows({"tokens": ["the", "array", "holds"], "tags": ["O", "B-X", "O"]})
    task = ready(TokenClassification(TokenClassificationConfig()), data)
    ids = task.encode(data, Limit(32, "split"), training=True).block(0)["input_ids"]
    assert ids.tolist() == task.tokenizer("the array holds")["input_ids"]
    chinese = rows({"tokens": list("北京"), "tags": ["B-X", "I-X"]})
    task = ready(TokenClassification(TokenClassificationConfig()), chinese)
    ids = task.encode(chinese, Limit(32, "split"), training=True).block(0)["input_ids"]
    assert ids.tolist() == task.tokenizer("北京")["input_ids"]


def test_a_saved_tokenizer_reads_words_as_they_stand_in_a_text() -> None:
    """Whoever trained it; and languages without blanks still get none."""
    english, chinese = ["the", "array", "holds"], list("北京")
    for words, text in ((english, " the array holds"), (chinese, "北京")):
        data = rows({"tokens": words, "tags": ["B-X", *["I-X"] * (len(words) - 1)]})
        first = ready(TokenClassification(TokenClassificationConfig()), data)
        task, tokenizer = TokenClassification(TokenClassificationConfig()), copy.deepcopy(tokenizer_of("words"))
        expected = tokenizer(text)["input_ids"]
        task.load_state(first.state())
        assert task.has_blanks == (words == english)
        task.use_saved_tokenizer(tokenizer)
        examples = task.encode(data, Limit(32, "split"), training=False)
        assert examples.block(0)["input_ids"].tolist() == expected


def test_rows_without_tokens_teach_nothing() -> None:
    good = {"tokens": ["the", "array"], "tags": ["O", "B-X"]}
    data = rows({"tokens": None, "tags": ["O", "I-X"]}, {"tokens": ["the", None], "tags": ["O", "O"]}, good)
    task = TokenClassification(TokenClassificationConfig())
    task.learn(data, None)
    assert {"O", "B-X"} <= set(task.labels.names) and task.has_blanks
    found = [task.problem(row) for row in data]
    assert [one and one.reason for one in found] == ["tokens_not_list", "tokens_not_list", None]


def test_words_are_scored_by_their_ends() -> None:
    data = rows(
        {"tokens": list("我们在北京"), "tags": ["B", "E", "S", "B", "E"]},
        {"tokens": list("三天半"), "tags": ["B", "M", "E"]},
    )
    task = ready(TokenClassification(TokenClassificationConfig()), data)
    assert task.unit == "words"
    index = task.labels.names.index
    said = [{"tags": [index(tag) for tag in tags], "scores": [1.0] * len(tags)} for tags in ("BESSS", "BME")]
    scored = task.score(said, data.as_list)
    assert scored.metrics["precision"] == pytest.approx(3 / 5)  # 我们, 在, 三天半 of five
    assert scored.metrics["recall"] == pytest.approx(3 / 4)
    assert [one["start"] for one in task.public(said[0])["words"]] == [0, 2, 3, 4]
    assert join(list("北京")) == "北京" and join(["a", "b"]) == "a b"


# ---------------------------------------------------------------- multiple choice


def test_rows_of_different_numbers_of_choices_in_one_batch() -> None:
    task, examples, model = prepared("choice-bert")
    counts = [len(examples.block(index)["choice_lengths"]) for index in range(8)]
    assert set(counts) == {2, 3, 4}
    loss = task.loss(model, bf16=False)
    with torch.no_grad():
        model.eval()
        batch = task.collate([examples.block(index) for index in range(8)])
        outputs = task.outputs(loss.logits(model, batch), batch)
        alone = [task.collate([examples.block(index)]) for index in range(8)]
        singly = [task.outputs(loss.logits(model, one), one)[0] for one in alone]
    for count, together, by_itself in zip(counts, outputs, singly, strict=True):
        assert len(together) == count and together.sum() == pytest.approx(1.0)
        assert together == pytest.approx(by_itself, abs=1e-5)


def test_a_label_is_a_place_a_letter_or_words() -> None:
    task = make_task("choice")
    row = {"text": "the", "choices": ["sum", "row", "axis"]}
    assert [task.target(row | {"label": label}) for label in (1, "1", "B", "row", 1.0)] == [1] * 5
    for label in (3, -1, "D", "none", None, 0.5):
        assert isinstance(task.target(row | {"label": label}), Problem), label


# ---------------------------------------------------------------- writing


def test_only_the_assistants_words_and_its_stop_are_learnt() -> None:
    data = rows_of("chat")
    task = ready(Chat(ChatConfig(chat_template="chatml")), data)
    tokenizer = task.tokenizer
    messages = [
        {"role": "system", "content": "sum"},
        {"role": "user", "content": "the array"},
        {"role": "assistant", "content": "holds value"},
        {"role": "user", "content": "each row"},
        {"role": "assistant", "content": "is zero"},
    ]
    ids, supervised = encode_conversation(tokenizer, messages)
    learnt = [token for token, is_learnt in zip(ids, supervised, strict=True) if is_learnt]
    assert tokenizer.decode(learnt) == "holds value<|im_end|>is zero<|im_end|>"
    assert tokenizer.decode(ids).count("<|im_start|>") == 5
    labels = next_token_labels(ids, supervised)
    assert [label for label in labels if label != IGNORE_INDEX] == learnt
    for position, label in enumerate(labels):
        assert label in (IGNORE_INDEX, ids[min(position + 1, len(ids) - 1)])


def test_a_template_that_never_stops_is_refused() -> None:
    tokenizer = copy.deepcopy(tokenizer_of("words"))
    tokenizer.chat_template = CHATML.replace("<|im_end|>", "")
    with pytest.raises(ConfigError, match="without its stop token"):
        encode_conversation(tokenizer, [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    tokenizer.chat_template = "{% for m in messages %}{{ m.content if loop.last else '' }}<|eos|>{% endfor %}"
    with pytest.raises(ConfigError, match="differently when another follows"):
        encode_conversation(
            tokenizer,
            [
                {"role": "assistant", "content": "b"},
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "c"},
            ],
        )


def test_pad_may_be_eos_and_eos_is_still_learnt() -> None:
    task, examples, _ = prepared("summary-llama")
    task.tokenizer.pad_token = task.tokenizer.eos_token
    batch = task.collate([examples.block(index) for index in range(len(examples))])
    for row in batch["labels"]:
        learnt = row[row != IGNORE_INDEX]
        assert learnt[-1] == task.tokenizer.eos_token_id and (learnt == task.tokenizer.eos_token_id).sum() == 1


def test_a_long_source_is_cut_before_the_target() -> None:
    document = " ".join(["the array holds value for each row and"] * 6)
    data = rows({"document": document, "summary": "its sum"})
    task = ready(
        Summarization(SummarizationConfig(max_target_length=8, prompt="sum {text} is")), data, CONFIGS["summary-llama"]
    )
    examples = task.encode(data, Limit(24, "truncate"), training=False)
    text = task.tokenizer.decode(examples.block(0)["input_ids"])
    assert len(examples.block(0)["input_ids"]) <= 24
    assert text.startswith("<|bos|>sum the array") and text.endswith(" is its sum<|eos|>")
    assert task.tokenizer.decode(examples.info[0]).endswith(" is")
    full = len(task.tokenizer(document, add_special_tokens=False)["input_ids"])
    assert examples.counts["tokens_truncated"] > 0 and examples.counts["tokens_truncated"] < full


LONG = " ".join(["the array holds value for each row and"] * 12)
TARGETS = ("its sum", "zero", "qqq zz", "the array holds value for each", " ".join(["array"] * 20))


def summarizer(data: Rows, case: str, **settings: Any) -> Summarization:
    return ready(Summarization(SummarizationConfig(max_target_length=8, **settings)), data, CONFIGS[case])


@pytest.mark.parametrize("template", [None, CHATML.replace("<|im_end|>", "<|eos|>")], ids=["text", "chat"])
def test_a_prompt_has_room_for_any_target_and_does_not_depend_on_its_own(template: str | None) -> None:
    data = rows(*({"document": LONG, "summary": target} for target in TARGETS))
    task = summarizer(data, "summary-llama", prompt="sum {text} is")
    task.tokenizer.chat_template = template
    limit = Limit(60, "truncate")
    prompts = task.encode(data, limit, training=False).info
    assert all(20 < len(prompt) <= 60 - 8 for prompt in prompts)
    asked = task.encode(Rows(data.table.drop_columns(["summary"])), limit, training=False).info
    assert {tuple(prompt) for prompt in prompts} == {tuple(asked[0])}
    examples = task.encode(data, limit, training=True)
    for index, prompt in enumerate(prompts):  # what is learnt goes on from the prompt that is written from
        block = examples.block(index)
        assert len(block["input_ids"]) <= 60 and block["input_ids"][: len(prompt)].tolist() == prompt
        assert (block["labels"][: len(prompt) - 1] == IGNORE_INDEX).all()
        assert block["labels"][len(prompt) - 1] == block["input_ids"][len(prompt)]


@pytest.mark.parametrize("case", ["summary-llama", "summary-t5"])
def test_rows_that_are_too_long_are_dropped_from_training_alone(case: str) -> None:
    short = {"document": "the array", "summary": "sum"}
    data = rows(short, short | {"document": LONG}, short | {"summary": TARGETS[-1]})
    task = summarizer(data, case, prompt="sum {text} is")
    dropped = task.encode(data, Limit(32, "drop"), training=True)
    assert dropped.row_E.tolist() == [0] and dropped.counts["rows_dropped_overlength"] == 2
    assert task.encode(data, Limit(32, "drop"), training=False).row_E.tolist() == [0, 1, 2]


@pytest.mark.parametrize("starts", [False, True], ids=["start of its own", "starts with BOS"])
def test_a_target_that_is_cut_keeps_its_stop(starts: bool) -> None:
    data = rows({"document": "the array", "summary": TARGETS[-1]})
    task = summarizer(data, "summary-t5")
    task.start_token_id = task.tokenizer.bos_token_id if starts else task.tokenizer.pad_token_id
    labels = task.encode(data, Limit(32, "truncate"), training=True).block(0)["labels"].tolist()
    assert len(labels) == 8 and labels[-1] == task.tokenizer.eos_token_id
    assert (labels[0] == task.tokenizer.bos_token_id) == (not starts)  # a decoder has its start token anyway


def test_a_prompt_stands_in_what_an_encoder_reads() -> None:
    data = rows({"document": "the array", "summary": "sum"})
    for prompt, text in ((None, "the array"), ("say: {text}", "say: the array")):
        task = summarizer(data, "summary-t5", prompt=prompt)
        read = task.encode(data, Limit(32, "truncate"), training=False).block(0)["input_ids"]
        assert task.tokenizer.decode(read) == f"<|bos|>{text}<|eos|>"


def test_a_conversation_leaves_room_for_the_answer() -> None:
    messages = [{"role": "user", "content": LONG}, {"role": "assistant", "content": "its sum"}]
    data = rows({"messages": messages})
    task = ready(Chat(ChatConfig(chat_template="chatml", max_new_tokens=10)), data, CONFIGS["chat-qwen3"])
    for positions, room in ((None, 29), (64, 29), (32, 22), (11, 1)):
        task.positions = positions
        prompt = task.encode(data, Limit(30, "truncate"), training=False).info[0]
        assert len(prompt) == room, positions
        assert task.tokenizer.decode(prompt).endswith("assistant\n"[-room:])
    task.positions = 10
    with pytest.raises(ConfigError, match="task.max_new_tokens is 10, which leaves no room .* in the 10 positions"):
        task.encode(data, Limit(10, "truncate"), training=False)


def test_a_checkpoints_own_settings_of_writing_have_no_influence() -> None:
    """But for the tokens that it stops at; with LoRA, too, whose model holds the checkpoint."""
    from transformers import GenerationConfig

    _, _, model = prepared("summary-llama", seed=3)
    adapted = add_lora(model, LoraConfig(r=2), Seq2SeqModelConfig(name="a checkpoint"), []).eval()
    inputs = pad_left([[0, 20, 30, 40]], 2)

    def written(stops: list[int] | None = None, settings: dict[str, Any] | None = None, **saved: Any) -> list[int]:
        model.generation_config = own = GenerationConfig(**saved)
        ids = write(adapted, inputs, False, stops or [], 2, max_new_tokens=12, **(settings or {}))[0]
        assert model.generation_config is own
        return ids

    plain = written()
    assert len(plain) == 12
    for settings in ({"repetition_penalty": 5.0}, {"suppress_tokens": [plain[0]]}, {"min_new_tokens": 20}):
        assert written(**settings) == plain, settings
    for settings in ({"repetition_penalty": 5.0}, {"suppress_tokens": [plain[0]]}):
        assert written(settings=settings) != plain, settings  # they would have one
    last = next(token for token in plain if token != plain[0])
    cut = plain[: plain.index(last)]
    for stops, named in (([last], None), ([], last), ([], [1, last]), ([1], [last])):
        assert written(stops, eos_token_id=named) == cut, (stops, named)


def test_an_encoder_decoder_ends_its_targets() -> None:
    task, examples, model = prepared("summary-t5")
    for index in range(len(examples)):
        assert examples.block(index)["labels"][-1] == task.tokenizer.eos_token_id
    batch = task.collate([examples.block(0), examples.block(3)])
    assert batch["decoder_input_ids"][:, 0].tolist() == [model.config.decoder_start_token_id] * 2
    assert examples.has_decoder and (examples.lengths_E > examples.fields["input_ids"].lengths).all()


def test_writing_does_not_depend_on_the_batch() -> None:
    """Prompts of different length, together and alone: the same words."""
    for case in ("summary-llama", "summary-gpt2", "summary-t5", "summary-marian", "chat-qwen3"):
        task, _, model = prepared(case, seed=3)
        data = rows_of(case)
        examples = task.encode(data, Limit(40, "truncate"), training=False)
        loss = task.loss(model.eval(), bf16=False)
        every = list(range(len(examples)))

        def written(
            places: list[int], task: Any = task, examples: Any = examples, model: Any = model, loss: Any = loss
        ) -> list:
            batch = task.collate([examples.block(place) for place in places])
            return task.write(model, batch, [examples.info[place] for place in places], loss)

        together = written(every)
        assert len(set(together)) > 1, case
        assert together == [written([place])[0] for place in every], case


def test_state_comes_back() -> None:
    for case in ("single", "multi", "regression", "tokens", "question", "summary"):
        task = ready(make_task(case), rows_of(case))
        again = type(task)(task.config)
        again.load_state(task.state())
        assert again.state() == task.state()
        assert getattr(again, "labels", None) is None or again.labels.names == task.labels.names
