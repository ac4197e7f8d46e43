"""Rows that a task cannot use, and settings at odds with them: one message, exit code 2, no run folder."""

import importlib
import io
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import RECIPES, TINY_MODEL
from task_step import prepared, rows_of
from test_cards import changed, write_card

from pipelines.config import parse_config
from pipelines.errors import ConfigError
from pipelines.run import run_recipe
from pipelines.tasks.task import Limit

ENCODER = (
    "{model_type: bert, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2, "
    "hidden_dropout_prob: 0.0}"
)
SEQ2SEQ = "{model_type: t5, d_model: 32, d_ff: 64, d_kv: 16, num_layers: 1, num_heads: 2}"
MARIAN = (
    "{model_type: marian, d_model: 32, encoder_layers: 1, decoder_layers: 1, encoder_attention_heads: 2, "
    "decoder_attention_heads: 2, encoder_ffn_dim: 64, decoder_ffn_dim: 64, max_position_embeddings: 64}"
)
MODELS = {
    "finetune_classification": ENCODER,
    "finetune_qa": ENCODER,
    "finetune_ner": ENCODER,
    "finetune_multiple_choice": ENCODER,
    "finetune_summarization": SEQ2SEQ,
    "finetune_translation": SEQ2SEQ,
    "finetune_chat": TINY_MODEL,
}
KINDS = ("ConfigError: ", "DataError: ", "CardError: ", "CheckpointError: ", "HubError: ")
MEND = "Mend the data, or leave such rows out, counted by reason, with --data.invalid_rows drop."


def run(recipe: str, *flags: str, positional: str | None = None) -> int:
    module = importlib.import_module(recipe)
    return run_recipe(module.main, module.Config, str(RECIPES / f"{recipe}.py"), list(flags), positional)


def fail(capsys: pytest.CaptureFixture[str], recipe: str, *flags: str, positional: str | None = None) -> str:
    """The one message of a run that must end with exit code 2."""
    capsys.readouterr()
    code = run(recipe, *flags, positional=positional)
    told = capsys.readouterr()
    assert code == 2, told.err
    assert "Traceback" not in told.err
    assert told.out == ""
    lines = told.err.splitlines()
    begins = [place for place, line in enumerate(lines) if line.startswith(KINDS)]
    assert len(begins) == 1, lines
    message = lines[begins[0] :]
    assert len(message) <= 3, message
    return "\n".join(message)


def put(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def data(folder: Path, rows: list[dict] | dict[str, list[dict]]) -> list[str]:
    splits = rows if isinstance(rows, dict) else {"train": rows}
    return [
        part
        for split, content in splits.items()
        for part in (f"--data.files.{split}", str(put(folder / f"{split}.jsonl", content)))
    ]


def flags(recipe: str, folder: Path, *more: str) -> list[str]:
    """Flags of a run of two steps of a model of some ten thousand parameters; later ones replace them."""
    given = {
        "--model.config": MODELS[recipe],
        "--tokenizer.vocab_size": "300",
        "--tokenizer.type": "bpe",
        "--run.dir": str(folder / "run"),
        "--run.threads": "1",
        "--training.max_steps": "2",
        "--training.bf16": "false",
        "--evaluation.baselines": "false",
    }
    if "--model.name" in more:
        del given["--model.config"], given["--tokenizer.vocab_size"]
    given |= dict(zip(more[::2], more[1::2], strict=True))
    return [part for pair in given.items() for part in pair]


# ---------------------------------------------------------------- rows


def review(n: int, **others: Any) -> dict:
    return {"text": f"film {n}", "label": n % 2} | others


def relation(n: int, **others: Any) -> dict:
    return {"text": f"Ann met Bob in {n}", "head": "Ann", "tail": "Bob", "label": n % 2} | others


def question(n: int, **others: Any) -> dict:
    answers = {"text": ["sort"], "answer_start": [4]}
    return {"question": f"Which {n}?", "context": f"The sort function, {n}.", "answers": answers} | others


def sentence(n: int, **others: Any) -> dict:
    return {"tokens": ["Ann", f"w{n}", "."], "tags": ["B-PER", "O", "O"]} | others


def riddle(n: int, **others: Any) -> dict:
    return {"text": f"riddle {n}", "choices": ["red", "green", "blue"], "label": n % 3} | others


def document(n: int, **others: Any) -> dict:
    return {"document": f"Function {n} returns nothing at all.", "summary": f"Returns {n}."} | others


def pair(n: int, **others: Any) -> dict:
    return {"source": f"one {n}", "target": f"un {n}"} | others


def talk(n: int, *turns: tuple[str, Any], **others: Any) -> dict:
    spoken = turns or (("user", f"hi {n}"), ("assistant", f"hello {n}"))
    return {"messages": [{"role": role, "content": content} for role, content in spoken]} | others


def four(row: Any, *bad: dict) -> list[dict]:
    """Four good rows and then bad ones, the first of which is row 5."""
    return [*(row(n) for n in range(4)), *bad]


class Case(NamedTuple):
    """Rows, or rows by split; what the message must hold; flags."""

    rows: list[dict] | dict[str, list[dict]]
    parts: list[str]
    flags: tuple[str, ...] = ()


LONG = "word " * 100
REGRESSION = ("--task.problem_type", "regression")
SEVERAL = ("--task.problem_type", "multi_label_classification")
CLASSIFICATION = {
    "label that is none of the names": Case(
        four(review, review(4, label="godo")),
        ["train.jsonl, row 5", "'godo'", "column 'label' holds text ('godo'), but a number (0) before"],
    ),
    "name that is near": Case(
        [review(n, label=one) for n, one in enumerate(["bad", "good", "bad", "godo"])],
        ["train.jsonl, row 4: the label 'godo' is none of the 2", "'bad', 'good'", "Did you mean 'good'?", MEND],
        ("--data.label_names", "[bad, good]"),
    ),
    "number beyond the names": Case(
        four(review, review(4, label=2)),
        ["row 5: the label 2 is none of the 2 of the training split or card: 'bad', 'good'"],
        ("--data.label_names", "[bad, good]"),
    ),
    "label that training lacks": Case(
        {"train": four(review), "validation": [review(8), review(9, label=5)]},
        ["validation.jsonl, row 2: the label 5 is none of the 2", "'0', '1'"],
    ),
    "null label": Case(four(review, review(4, label=None)), ["train.jsonl, row 5: the label is missing.", MEND]),
    "hidden label": Case(four(review, review(4, label=-1)), ["row 5: the label is -1, which marks a hidden one"]),
    "labels are shares": Case(
        [review(n, label=n / 2) for n in range(4)],
        ["row 2: the label is the number 0.5, expected a class", "--task.problem_type regression"],
    ),
    "list among numbers": Case(
        four(review, review(4, label=[1])), ["row 5: column 'label' holds a list ([1]), but a number (0) before"]
    ),
    "lists, but one label asked for": Case(
        [review(n, label=[n % 2]) for n in range(4)],
        ["row 1: the label is the list [0], expected one", "--task.problem_type multi_label_classification"],
        ("--task.problem_type", "single_label_classification"),
    ),
    "one label, but lists asked for": Case(
        four(review),
        ["row 1: the label is the number 0, expected a list of labels (it may be empty).", "3 other row(s)"],
        SEVERAL,
    ),
    "null in a list": Case(
        [review(n, label=["a", "b"][: n % 3]) for n in range(5)] + [review(5, label=["a", None])],
        ["row 6: the label is missing"],
    ),
    "label named twice": Case(
        [review(n, label=["a", "b"][: n % 3]) for n in range(5)] + [review(5, label=["a", "a"])],
        ["row 6: the label is ['a', 'a'], which names one twice; expected the labels that hold, each once.", MEND],
    ),
    "zeros and ones for all labels": Case(
        [review(n, label=[int(n % 3 == place) for place in range(3)]) for n in range(4)],
        ["row 1: the label is [1, 0, 0], which names one twice", "A list of 0 and 1 for all labels is not read."],
        ("--data.label_names", "[a, b, c]"),
    ),
    "text for a number": Case(
        [review(n, label="good") for n in range(4)], ["row 1: the label 'good' is no finite number."], REGRESSION
    ),
    "empty text": Case(four(review, review(4, text="")), ["train.jsonl, row 5: the text is empty."]),
    "null text": Case(four(review, review(4, text=None)), ["row 5: the text must be text; found nothing."]),
    "texts are numbers": Case(
        [review(n, text=n) for n in range(4)], ["row 1: the text must be text; found the number 0."]
    ),
    "pair that a row lacks": Case(
        [review(n, text_pair="x") for n in range(4)] + [review(4)],
        ["row 5: the text_pair must be text; found nothing."],
    ),
    "one class": Case(
        [review(n, label="good") for n in range(4)],
        ["All rows of the training split have the label 'good'", "nothing to learn", "--data.columns"],
    ),
    "one text": Case([review(0, label=n % 2) for n in range(4)], ["4 row(s) of 1 group(s)", "--data.files.validation"]),
    "duplicate ids": Case(
        [review(n, id=n % 3) for n in range(4)], ["train.jsonl, row 4: the id 0 stands in row 1 too", MEND]
    ),
    "as many labels as rows": Case(
        [review(n, label=f"name {n}") for n in range(60)],
        ["60 different labels in 60 rows", "Is another column the label?", "--task.problem_type regression"],
    ),
    "head that is not there": Case(
        four(relation, relation(4, head="Zoe")), ["row 5: the head 'Zoe' stands in the text 0 times, expected once."]
    ),
    "head that stands twice": Case(
        four(relation, relation(4, text="Ann met Ann and Bob")),
        ["row 5: the head 'Ann' stands in the text 2 times, expected once. Give its place as [start, end]."],
    ),
    "null tail": Case(
        four(relation, relation(4, tail=None)), ["row 5: the tail None is neither words of the text nor a place"]
    ),
    "entities that overlap": Case(
        four(relation, relation(4, head="Ann met", tail="met Bob")),
        ["row 5: head 'Ann met' and tail 'met Bob' overlap."],
    ),
    "place beyond the text": Case(
        [relation(n, head=[0, 3] if n else [0, 99], tail=[8, 11]) for n in range(4)],
        ["row 1: the head [0, 99] is no place in a text of 16 characters."],
    ),
    "relations of pairs": Case(
        [relation(n, text_pair="x") for n in range(4)], ["leave the role text_pair, or head and tail, out."]
    ),
}
QUESTIONS = {
    "answer beside its offset": Case(
        four(question, question(4, answers={"text": ["sort"], "answer_start": [5]})),
        ["row 5: the answer 'sort' does not stand at character 5 of the context, but 'ort '. It begins at 4.", MEND],
    ),
    "second answer elsewhere": Case(
        four(question, question(4, answers={"text": ["sort", "nowhere"], "answer_start": [4, 4]})),
        ["row 5: the answer 'nowhere' does not stand at character 4", "It is nowhere in the context."],
    ),
    "empty answer": Case(
        four(question, question(4, answers={"text": [""], "answer_start": [0]})), ["row 5: the answer ''"]
    ),
    "answers and offsets of two lengths": Case(
        four(question, question(4, answers={"text": ["sort"], "answer_start": [4, 5]})),
        ["row 5: answers are", "expected {'text': [...], 'answer_start': [...]} of one length."],
    ),
    "answers are text": Case([question(n, answers="sort") for n in range(4)], ["row 1: answers are 'sort'; expected"]),
    "null answers": Case(four(question, question(4, answers=None)), ["row 5: answers are nothing; expected"]),
    "empty question": Case(four(question, question(4, question=" ")), ["row 5: the question is empty."]),
    "no answer where training has one": Case(
        {"train": four(question), "validation": [question(9, answers={"text": [], "answer_start": []})]},
        ["validation.jsonl, row 1: there is no answer, though every training row has one."],
    ),
    "stride too large": Case(
        four(question),
        ["task.stride is 300", "data.max_length 384 shows 184 tokens of the context", "smaller --task.stride"],
        ("--task.stride", "300"),
    ),
    "overlength that there is not": Case(
        four(question),
        ["data.overlength is 'truncate', which question answering does not have. Choose: split, drop, error."],
        ("--data.overlength", "truncate"),
    ),
    "overlength error": Case(
        four(question, question(4, context=f"The sort {LONG}")),
        ["more than data.max_length (64)", "--data.overlength"],
        ("--data.overlength", "error", "--data.max_length", "64", "--task.stride", "8"),
    ),
    "every row too long": Case(
        [question(n, context=f"The sort {n} {LONG}") for n in range(4)],
        ["Every row is longer than data.max_length (64) and was dropped."],
        ("--data.overlength", "drop", "--data.max_length", "64", "--task.stride", "8"),
    ),
}
TAGS = {
    "more tags than tokens": Case(
        four(sentence, sentence(4, tags=["O"] * 4)), ["row 5: there are 3 tokens and 4 tags; each token needs one."]
    ),
    "tokens are text": Case(
        [sentence(n, tokens="Ann w .") for n in range(4)], ["row 1: tokens must be a list of text; found 'Ann w .'."]
    ),
    "null token": Case(four(sentence, sentence(4, tokens=["a", None, "b"])), ["row 5: tokens must be a list of text"]),
    "no tokens": Case(four(sentence, sentence(4, tokens=[], tags=[])), ["row 5: there are no tokens."]),
    "null tags": Case(four(sentence, sentence(4, tags=None)), ["row 5: there are 3 tokens", "each token needs one."]),
    "null tag": Case(four(sentence, sentence(4, tags=["O", None, "O"])), ["row 5: the tag is missing."]),
    "unknown tag": Case(
        four(sentence, sentence(4, tags=["O", "B-PRE", "O"])),
        ["row 5: the tag 'B-PRE' is none of the 2", "'O', 'B-PER'", "Did you mean 'B-PER'?"],
        ("--data.label_names", "[O, B-PER]"),
    ),
    "one tag": Case([sentence(n, tags=["O"] * 3) for n in range(4)], ["'O'", "nothing to learn"]),
    "no word of a setting that tags do not have": Case(
        [sentence(n, tags=[0.5, 1.5, 2.5]) for n in range(4)],
        ["row 1: the tag is the number 0.5, expected a class (a whole number or text). 3 other row(s)"],
    ),
    "unit of other tags": Case(
        four(sentence),
        ["task.unit is words, but the tags are B-PER, O: they mark entities."],
        ("--task.unit", "words"),
    ),
    "entities of plain tags": Case(
        [sentence(n, tags=["NOUN", "VERB", "PUNCT"]) for n in range(4)],
        ["task.unit is entities, but the tags are NOUN, PUNCT, VERB: they mark tokens."],
        ("--task.unit", "entities"),
    ),
    "every row too long": Case(
        [sentence(n, tokens=[f"Ann{n}", LONG, "."]) for n in range(4)],
        ["Every row is longer than data.max_length (32) and was dropped."],
        ("--data.overlength", "drop", "--data.max_length", "32"),
    ),
    "overlength error": Case(
        four(sentence, sentence(4, tokens=["Ann", LONG, "."])),
        ["row 5 has", "more than data.max_length (32)"],
        ("--data.overlength", "error", "--data.max_length", "32"),
    ),
}
CHOICES = {
    "one choice": Case(four(riddle, riddle(4, choices=["red"])), ["row 5: expected at least two choices, found 1."]),
    "label beyond the choices": Case(
        four(riddle, riddle(4, label=3)), ["row 5: the label 3 is no choice: expected 0 to 2, A to C, or words."]
    ),
    "words that are no choice": Case(
        [riddle(n, label="red" if n else "rot") for n in range(4)], ["row 1: the label 'rot' is no choice"]
    ),
    "choices are text": Case(
        [riddle(n, choices="red") for n in range(4)], ["row 1: choices must be a list of text; found 'red'."]
    ),
    "empty choice": Case(four(riddle, riddle(4, choices=["red", " "])), ["row 5: choices must be a list of text"]),
    "null choices": Case(four(riddle, riddle(4, choices=None)), ["row 5: choices must be a list of text"]),
    "null question": Case(
        [riddle(n, question="why?" if n else None) for n in range(4)], ["row 1: the question must be text"]
    ),
    "overlength error": Case(
        four(riddle, riddle(4, choices=["red", LONG])),
        ["more than data.max_length (32)"],
        ("--data.overlength", "error", "--data.max_length", "32"),
    ),
}
DECODER = ("--model.config", TINY_MODEL)
TWO_SIDES = {"train": four(document), "validation": [document(9)]}
SUMMARIES = {
    "blank summary": Case(four(document, document(4, summary=" ")), ["row 5: the summary is empty."]),
    "null document": Case(
        four(document, document(4, document=None)), ["row 5: the document must be text; found nothing."]
    ),
    "overlength that there is not": Case(
        four(document),
        ["'split', which summarization does not have. Choose: truncate, drop, error."],
        ("--data.overlength", "split"),
    ),
    "overlength error": Case(
        TWO_SIDES | {"train": four(document, document(4, document=LONG))},
        ["train.jsonl, row 5 has", "more than data.max_length (64)", "--data.overlength"],
        ("--data.overlength", "error", "--data.max_length", "64"),
    ),
    "target too long": Case(
        TWO_SIDES | {"train": four(document, document(4, summary=LONG))},
        ["train.jsonl, row 5", "task.max_target_length"],
        ("--data.overlength", "error", "--data.max_length", "128", "--task.max_target_length", "16"),
    ),
    "target longer than the model": Case(
        TWO_SIDES,
        ["task.max_target_length is 100, but the model has 64 positions", "--task.max_target_length 64 or less"],
        ("--model.config", MARIAN, "--task.max_target_length", "100", "--data.max_length", "null"),
    ),
    "target longer than the model, source not": Case(
        TWO_SIDES,
        ["task.max_target_length is 100, but the model has 64 positions", "--task.max_target_length 64 or less"],
        ("--model.config", MARIAN, "--task.max_target_length", "100", "--data.max_length", "32"),
    ),
    "prompt that leaves no room": Case(
        four(document),
        ["leave no room for a source in data.max_length 32", "--task.max_target_length"],
        (*DECODER, "--data.max_length", "32"),
    ),
}
TRANSLATIONS = {
    "null target": Case(four(pair, pair(4, target=None)), ["row 5: the target must be text; found nothing."]),
    "empty source": Case(four(pair, pair(4, source="")), ["row 5: the source is empty."]),
    "language that pairs do not have": Case(
        [{"translation": {"en": f"one {n}", "fr": f"un {n}"}} for n in range(4)],
        ["train.jsonl", "'de'"],
        ("--data.columns", "{translation.en: source, translation.de: target}"),
    ),
}
TALKS = {
    "messages are text": Case(
        [{"messages": f"hi {n}"} for n in range(4)],
        ["row 1: messages must be a list of {role, content}; found 'hi 0'."],
    ),
    "no messages": Case(four(talk, talk(4, messages=[])), ["row 5: messages must be a list of {role, content}"]),
    "messages of another form": Case(
        [{"messages": [{"from": "human", "value": f"hi {n}"}]} for n in range(4)],
        ["row 1: message 1 is", "expected {role, content}."],
    ),
    "unknown role": Case(
        four(talk, talk(4, ("human", "hi"), ("assistant", "hello"))),
        ["row 5: message 1 has the role 'human'; roles are system, user, assistant, tool."],
    ),
    "empty content": Case(
        four(talk, talk(4, ("user", "hi"), ("assistant", " "))), ["row 5: message 2 (assistant) has no content."]
    ),
    "nobody answers": Case(
        four(talk, talk(4, ("user", "hi"), ("assistant", "hello"), ("user", "well?"))),
        ["row 5: the last turn is the user's, which nobody answers."],
    ),
    "tokenizer without a template": Case(
        four(talk),
        ["The tokenizer has no chat template", "--task.chat_template chatml"],
        ("--task.chat_template", "null"),
    ),
    "template that is not there": Case(
        four(talk),
        ["task.chat_template is 'nowhere.jinja'; expected chatml, or the path of a Jinja file."],
        ("--task.chat_template", "nowhere.jinja"),
    ),
    "nothing to learn": Case(
        four(talk),
        ["No row has anything to learn within data.max_length (8)."],
        ("--data.max_length", "8", "--task.max_new_tokens", "4"),
    ),
    "answers as long as the model": Case(
        four(talk),
        ["task.max_new_tokens is 64", "leaves no room for a conversation in the 64 positions of the model", "fewer"],
        ("--data.max_length", "64", "--task.max_new_tokens", "64"),
    ),
    "overlength error": Case(
        four(talk),
        ["row 1 has", "more than data.max_length (8)"],
        ("--data.overlength", "error", "--data.max_length", "8", "--task.max_new_tokens", "4"),
    ),
    "encoder": Case(
        four(talk),
        ["bert model", "positions see later ones"],
        ("--model.config", ENCODER, "--task.max_new_tokens", "4"),
    ),
    "encoder-decoder": Case(
        four(talk), ["A t5 model is no causal language model. Use a decoder"], ("--model.config", SEQ2SEQ)
    ),
}
ROWS = {
    "finetune_classification": CLASSIFICATION,
    "finetune_qa": QUESTIONS,
    "finetune_ner": TAGS,
    "finetune_multiple_choice": CHOICES,
    "finetune_summarization": SUMMARIES,
    "finetune_translation": TRANSLATIONS,
    "finetune_chat": TALKS,
}


@pytest.mark.parametrize(
    ("recipe", "case"),
    [
        pytest.param(
            recipe,
            case,
            id=f"{recipe.removeprefix('finetune_')}: {name}",
        )
        for recipe, cases in ROWS.items()
        for name, case in cases.items()
    ],
)
def test_bad_rows(recipe: str, case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = fail(capsys, recipe, *data(tmp_path, case.rows), *flags(recipe, tmp_path, *case.flags))
    for part in case.parts:
        assert part in message
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- settings of all tasks

CHECKED = "finetune_classification"
SETTINGS = {
    "column that is not there": (
        ["--data.columns", "{txt: text}"],
        ["data.columns maps column 'txt'", "train.jsonl has no column 'txt'", "Did you mean 'text'?"],
    ),
    "misspelt role": (["--data.columns", "{text: txt}"], ["the role 'txt', which is none. Did you mean 'text'?"]),
    "role of another task": (
        ["--data.columns", "{text: document}"],
        ["'document', which text classification does not read. It reads: text, label; if given: text_pair, head, tail"],
    ),
    "missing column": (["--data.columns", "{text: label}"], ["has no column 'text'", "--data.columns"]),
    "overlength that there is not": (
        ["--data.overlength", "split"],
        ["data.overlength is 'split', which text classification does not have. Choose: truncate, drop, error."],
    ),
    "overlength that nobody has": (["--data.overlength", "cut"], ["data.overlength", "'cut'"]),
    "too long a row": (
        ["--data.overlength", "error", "--data.max_length", "3"],
        ["train.jsonl, row 1 has", "more than data.max_length (3)", "--data.overlength"],
    ),
    "lora without a checkpoint": (
        ["--lora.r", "4"],
        ["lora.r is set, but the model is drawn at random", "Set model.name."],
    ),
    "test split that is not there": (
        ["--evaluation.split", "test"],
        ["evaluation.split is test, but train has no test split. Give --data.files.test."],
    ),
    "decoder without that head": (
        ["--model.preset", "lstm-tiny", "--model.config", "null"],
        ["A recurrent model is no sequence classifier. Use an encoder"],
    ),
    "Hub model without network": (["--model.name", "user/model"], ["user/model", "cannot be reached"]),
    "missing checkpoint": (["--model.name", "./nowhere"], ["model.name is './nowhere': there is no such folder."]),
}


@pytest.mark.parametrize(("more", "parts"), SETTINGS.values(), ids=SETTINGS)
def test_bad_settings(more: list[str], parts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = data(tmp_path, [review(n) for n in range(4)])
    message = fail(capsys, CHECKED, *rows, *flags(CHECKED, tmp_path, *more))
    for part in parts:
        assert part in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("recipe", MODELS)
def test_no_data(recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = fail(capsys, recipe, "--data.card", "null", *flags(recipe, tmp_path))
    assert "Expected one source of data, data.card, data.name or data.files.train; found none." in message
    assert not (tmp_path / "run").exists()


def test_data_files_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = put(tmp_path / "rows.jsonl", [review(n) for n in range(4)])
    more = flags(CHECKED, tmp_path)
    assert "Did you mean 'rows.jsonl'?" in fail(capsys, CHECKED, "--data.files.train", str(rows)[:-1], *more)
    assert "no training files" in fail(capsys, CHECKED, "--data.files.validation", str(rows), *more)
    (tmp_path / "rows.txt").write_text("good\nbad\n")
    assert "plain text" in fail(capsys, CHECKED, "--data.files.train", str(tmp_path / "rows.txt"), *more)
    assert not (tmp_path / "run").exists()


def test_labels_of_a_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = {"class_label": {"names": {"0": "bad", "1": "good"}}}
    features = [{"name": "review", "dtype": "string"}, {"name": "stars", "dtype": labels}]
    folder = write_card(tmp_path / "card", changed("dataset_info", "features", to=features))
    rows = [{"review": f"film {n}", "stars": n % 2} for n in range(4)]
    put(folder / "a.jsonl", [*rows, {"review": "film 4", "stars": 2}])
    put(folder / "b.jsonl", rows)
    message = fail(capsys, CHECKED, "--data.card", str(folder), *flags(CHECKED, tmp_path))
    assert "a.jsonl, row 5: the label 2 is none of the 2 of the training split or card: 'bad', 'good'." in message
    put(folder / "a.jsonl", [{"review": row["review"], "label": 1} for row in rows])
    message = fail(capsys, CHECKED, "--data.card", str(folder), *flags(CHECKED, tmp_path))
    assert message.startswith("CardError: The card ")
    assert "maps column 'stars', but" in message
    assert not (tmp_path / "run").exists()


TEMPLATES = {
    "never stops": (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}",
        ["train.jsonl, row 1", "ends a turn of the assistant without its stop token", "would never stop"],
    ),
    "is torn": ("{% for m in messages %}{{ m['role'", ["row 1", "refuses a conversation of user, assistant"]),
    "refuses": ("{{ raise_exception('no talk today') }}", ["row 1", "refuses a conversation", "no talk today"]),
    "changes earlier turns": (
        "{% for m in messages %}{{ messages | length ~ m['content'] + eos_token }}{% endfor %}",
        ["row 1", "writes a turn differently when another follows it"],
    ),
}


@pytest.mark.parametrize(("template", "parts"), TEMPLATES.values(), ids=TEMPLATES)
def test_bad_templates(template: str, parts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "my.jinja"
    path.write_text(template, encoding="utf-8")
    turns = (("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"))
    rows = data(tmp_path, [talk(n, *turns, ("user", f"{n}"), ("assistant", "e")) for n in range(4)])
    message = fail(capsys, "finetune_chat", *rows, *flags("finetune_chat", tmp_path, "--task.chat_template", str(path)))
    for part in parts:
        assert part in message
    assert not (tmp_path / "run").exists()


def test_a_template_that_is_not_utf8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my.jinja").write_bytes(b"{{ '\xe9' }}")
    more = flags("finetune_chat", tmp_path, "--task.chat_template", str(tmp_path / "my.jinja"))
    assert "my.jinja" in fail(capsys, "finetune_chat", *data(tmp_path, four(talk)), *more)


def test_answers_that_all_lie_beyond_the_length_cannot_be_scored(tmp_path: Path, capsys) -> None:
    rows = {"train": four(talk), "validation": [talk(n, ("user", LONG), ("assistant", "hi")) for n in range(2)]}
    more = flags("finetune_chat", tmp_path, "--data.max_length", "64", "--task.max_new_tokens", "4")
    message = fail(capsys, "finetune_chat", *data(tmp_path, rows), *more)
    assert (
        "None of 2 rows has an answer within data.max_length (64), so that nothing can be learnt or scored." in message
    )


def test_rows_of_the_test_split_in_training_are_told_and_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {
        "train": [review(n) for n in range(6)],
        "validation": [review(8), review(9)],
        "test": [review(n) for n in (2, 3, 10, 11, 12)],
    }
    assert run(CHECKED, *data(tmp_path, rows), *flags(CHECKED, tmp_path, "--evaluation.split", "test")) == 0
    told = capsys.readouterr().err
    assert "WARNING: 2 of 5 rows of test have the same input as a training row." in told
    receipt = json.loads((tmp_path / "run/receipt.json").read_text())
    assert receipt["test"]["rows_also_in_train"] == 2
    assert json.loads((tmp_path / "run/metrics.json").read_text())["eval_rows"] == 5


@pytest.mark.parametrize(
    "case",
    [
        "single-bert",
        "pair-bert",
        "tokens-bert",
        pytest.param("question-bert"),
        "choice-bert",
        "summary-t5",
        pytest.param("summary-llama"),
        "chat-qwen3",
    ],
)
def test_rows_have_as_many_tokens_dropped_as_cut(case: str) -> None:
    task, _, _ = prepared(case)
    rows = rows_of(case)
    cut, dropped = (task.encode(rows, Limit(24, policy), training=True).counts for policy in (task.policies[0], "drop"))
    assert 0 < dropped["rows_dropped_overlength"] < len(rows)
    assert dropped["tokens_of_dropped_rows"] > 0
    assert cut["text_tokens"] == dropped["text_tokens"]


def test_more_folds_than_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = data(tmp_path, [review(n) for n in range(4)])
    message = fail(capsys, CHECKED, *rows, *flags(CHECKED, tmp_path, "--evaluation.folds", "9"))
    assert "evaluation.folds is 9" in message
    assert "3 groups" in message
    assert not (tmp_path / "run").exists()


def test_more_tokens_than_positions(tmp_path: Path, capsys) -> None:
    config = ENCODER.replace("}", ", max_position_embeddings: 16}")
    more = flags(CHECKED, tmp_path, "--model.config", config, "--data.max_length", "32")
    message = fail(capsys, CHECKED, *data(tmp_path, [review(n) for n in range(4)]), *more)
    assert "data.max_length is 32" in message
    assert "the model has 16 positions" in message
    assert "block_size" not in message


def test_text_longer_than_a_max_length_that_is_no_multiple_of_8(tmp_path: Path) -> None:
    rows = data(tmp_path, [review(n, text=f"film {n} {LONG}") for n in range(4)])
    assert run(CHECKED, *rows, *flags(CHECKED, tmp_path, "--data.max_length", "20")) == 0


@pytest.mark.parametrize("model", [("--model.config", SEQ2SEQ), ("--model.preset", "tiny"), ("--model.name", "x")])
def test_a_model_of_the_command_line_replaces_both_of_the_default(model: tuple[str, str]) -> None:
    module = importlib.import_module("finetune_summarization")
    recipe = str(RECIPES / "finetune_summarization.py")
    assert parse_config(module.Config, recipe, []).model.decoder_name is not None
    assert parse_config(module.Config, recipe, list(model)).model.decoder_name is None


NUMBERS = [
    ("finetune_classification", "data.validation_share", "1.0"),
    ("finetune_classification", "data.validation_share", "0"),
    ("finetune_classification", "data.max_length", "0"),
    ("finetune_classification", "data.max_length", "-5"),
    ("finetune_classification", "data.max_train_rows", "0"),
    ("finetune_classification", "evaluation.max_rows", "0"),
    ("finetune_classification", "evaluation.seeds", "0"),
    ("finetune_classification", "evaluation.folds", "1"),
    ("finetune_classification", "evaluation.resamples", "0"),
    ("finetune_classification", "lora.r", "0"),
    ("finetune_classification", "lora.lora_dropout", "1.5"),
    ("finetune_classification", "task.threshold", "7"),
    ("finetune_classification", "training.max_tokens_per_batch", "0"),
    ("finetune_qa", "task.stride", "-1"),
    ("finetune_qa", "task.max_answer_tokens", "0"),
    ("finetune_qa", "task.n_best", "0"),
    ("finetune_summarization", "task.max_target_length", "0"),
    ("finetune_summarization", "task.num_beams", "0"),
    ("finetune_chat", "task.max_new_tokens", "0"),
    ("predict", "predict.batch_size", "0"),
    ("predict", "predict.threads", "0"),
    ("generate", "generate.max_new_tokens", "0"),
    ("generate", "generate.temperature", "0"),
    ("generate", "generate.top_p", "2"),
    ("generate", "generate.batch_size", "0"),
    ("generate", "generate.threads", "0"),
]


@pytest.mark.parametrize(("recipe", "key", "value"), NUMBERS)
def test_numbers_out_of_range(recipe: str, key: str, value: str) -> None:
    module = importlib.import_module(recipe)
    with pytest.raises(ConfigError, match=f"{key} must be .*; found"):
        parse_config(module.Config, str(RECIPES / f"{recipe}.py"), [f"--{key}", value])


# ---------------------------------------------------------------- saved models

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "bad", "film", "what", "is", "it", "?"]
SHAPE = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny models made with transformers: an encoder, one with the head of each task, and a decoder."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **names)
    folder = tmp_path_factory.mktemp("saved")
    heads = {
        "encoder": ("BertModel", {}),
        "classifier": ("BertForSequenceClassification", {"id2label": {0: "neg", 1: "pos"}}),
        "tagger": ("BertForTokenClassification", {"id2label": {0: "O", 1: "B-PER"}}),
        "reader": ("BertForQuestionAnswering", {}),
        "chooser": ("BertForMultipleChoice", {}),
    }
    built = {name: getattr(transformers, kind)(BertConfig(**SHAPE, **more)) for name, (kind, more) in heads.items()}
    built["decoder"] = LlamaForCausalLM(LlamaConfig(**SHAPE, num_key_value_heads=2))
    for name in ("pairs", "relations"):
        built[name] = built["classifier"]
    for name, model in built.items():
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    for name in ("pairs", "relations"):
        state = {
            "problem_type": "single_label_classification",
            "has_pairs": name == "pairs",
            "has_entities": name == "relations",
            "label_names": ["neg", "pos"],
        }
        told = {"task": "text-classification", "max_length": 32, "config": {}, "state": state}
        (folder / name / "plumbline.json").write_text(json.dumps(told))
    (folder / "empty").mkdir()
    return folder


LORA = {
    "layers that there are not": (["--lora.target_modules", "[quer]"], ["Linear layers:", "query", "value"]),
    "layers of a pattern that fits none": (["--lora.target_modules", ".*quer"], ["Linear layers:", "query"]),
    "dropout of all": (["--lora.lora_dropout", "1.5"], ["dropout", "1.5"]),
}
LORA_DEFECTS = {
    "one layer of two that there is not": (["--lora.target_modules", "[query, valeu]"], ["valeu", "value"]),
    "saved layer that there is not": (["--lora.modules_to_save", "[poolr]"], ["poolr", "pooler"]),
}


@pytest.mark.parametrize(
    ("more", "parts"),
    [pytest.param(*case, id=name) for name, case in LORA.items()]
    + [pytest.param(*case, id=name) for name, case in LORA_DEFECTS.items()],
)
def test_lora_of_layers_that_there_are_not(more, parts, saved, tmp_path, capsys) -> None:
    model = ("--model.name", str(saved / "encoder"), "--data.max_length", "32", "--lora.r", "2")
    rows = data(tmp_path, [review(n) for n in range(4)])
    message = fail(capsys, CHECKED, *rows, *flags(CHECKED, tmp_path, *model, *more))
    for part in parts:
        assert part in message
    assert not (tmp_path / "run").exists()


def test_more_tokens_than_a_checkpoint_has_positions(saved: Path, tmp_path: Path, capsys) -> None:
    more = flags(CHECKED, tmp_path, "--model.name", str(saved / "encoder"), "--data.max_length", "33")
    message = fail(capsys, CHECKED, *data(tmp_path, [review(n) for n in range(4)]), *more)
    assert "data.max_length is 33, but the model has 32 positions. Set --data.max_length 32 or less" in message
    assert not (tmp_path / "run").exists()


class Saved(NamedTuple):
    """A model folder (None: no argument), what stands on standard input, flags, and what the message must hold."""

    model: str | None
    parts: list[str]
    stdin: str = ""
    flags: tuple[str, ...] = ()


PREDICT = {
    "no model": Saved(None, ["No model: give a run folder, a model folder or a Hub id as the first argument."]),
    "folder that is no model": Saved("empty", ["empty", "that folder holds no config that transformers can load"]),
    "missing folder": Saved("nowhere", ["there is no such folder"]),
    "decoder": Saved("decoder", ["is a LlamaForCausalLM", "does not say what to predict", "recipes/generate.py"], "a"),
    "encoder without a head": Saved("encoder", ["is a BertModel", "does not say what to predict"], "a"),
    "missing file": Saved("classifier", ["predict.input is 'no.csv'"], flags=("--predict.input", "no.csv")),
    "nothing on standard input": Saved("classifier", ["Standard input has no rows. Expected json lines, or one text"]),
    "blank lines": Saved("classifier", ["Standard input has no rows."], " \n\n"),
    "broken json": Saved("classifier", ["standard input: line 1 is not valid JSON"], '{"text": "a"\n'),
    "missing column": Saved("classifier", ["standard input has no column 'text'", "'txt'"], '{"txt": "a"}\n'),
    "empty text": Saved("classifier", ["standard input, row 2: the text is empty."], '{"text":"a"}\n{"text":""}\n'),
    "null text": Saved(
        "classifier", ["standard input, row 2: the text must be text; found nothing."], '{"text":"a"}\n{}\n'
    ),
    "role of answers": Saved(
        "classifier", ["'label', which text classification does not read"], "a", ("--predict.columns", "{text: label}")
    ),
    "misspelt role": Saved(
        "classifier", ["'txt', which is none. Did you mean 'text'?"], "a", ("--predict.columns", "{text: txt}")
    ),
    "column flags of this recipe": Saved("classifier", ["--predict.columns"], '{"txt": "a"}\n'),
    "plain text for a question": Saved(
        "reader",
        ["plain text, but this model reads question and context", '{"question": "...", "context": "..."}'],
        "a",
    ),
    "plain text for choices": Saved("chooser", ["plain text, but this model reads text and choices."], "a"),
    "plain text for tokens": Saved("tagger", ["plain text, but this model reads tokens."], "a"),
    "plain text for a pair": Saved("pairs", ["text_pair"], "a good film\n"),
    "row without its pair": Saved(
        "pairs", ["row 1: the text_pair"], '{"text":"a","text_pair":null}\n{"text":"a","text_pair":"b"}\n'
    ),  # fmt: skip
    "plain text for a relation": Saved("relations", ["head", "tail"], "a film\n"),
    "entity that is not there": Saved(
        "relations", ["row 1: the head 'x' stands in the text 0 times"], '{"text":"a film","head":"x","tail":"film"}\n'
    ),  # fmt: skip
    "number for a text": Saved("classifier", ["row 1: the text must be text"], '{"text": 5}\n'),
    "text for tokens": Saved("tagger", ["row 1: tokens must be"], '{"tokens":"a"}\n'),
    "null token": Saved("tagger", ["row 1: tokens must be"], '{"tokens":["a",null]}\n'),
    "text for choices": Saved("chooser", ["row 1: choices must be"], '{"text":"a","choices":"b"}\n'),
    "one choice": Saved("chooser", ["row 1: expected at least two choices, found 1"], '{"text":"a","choices":["b"]}\n'),
    "output in a missing folder": Saved(
        "classifier", ["predict.output"], "a\n", ("--predict.output", "nowhere/out.jsonl")
    ),
}
GENERATE = {
    "no model": Saved(None, ["No model: give a run folder, a model folder or a Hub id as the first argument."]),
    "folder that is no model": Saved("empty", ["that folder holds no config that transformers can load"]),
    "classifier": Saved("classifier", ["is a BertForSequenceClassification, which does not write", "predict.py"]),
    "missing file": Saved(
        "decoder", ["generate.input is 'no.txt': there is no such file."], flags=("--generate.input", "no.txt")
    ),
    "prompt and file": Saved(
        "decoder", ["exclude each other"], flags=("--generate.input", "-", "--generate.prompt", "a")
    ),
    "no prompts": Saved("decoder", ["has no prompts."], " \n", ("--generate.input", "-")),
    "row that is no prompt": Saved(
        "decoder",
        ["line 2 has neither 'prompt' nor 'messages'. Found: promt."],
        'a\n{"promt": "a"}\n',
        ("--generate.input", "-"),
    ),  # fmt: skip
    "broken json": Saved("decoder", ["line 1 is not valid JSON"], '{"prompt": "a"\n', ("--generate.input", "-")),
    "no messages": Saved("decoder", ["line 1", "messages"], '{"messages": []}\n', ("--generate.input", "-")),
    "messages are texts": Saved("decoder", ["line 1", "message 1"], '{"messages": ["a"]}\n', ("--generate.input", "-")),
    "chat without a template": Saved(
        "decoder", ["has no chat template"], flags=("--generate.prompt", "a", "--generate.chat", "true")
    ),
    "beams and sampling": Saved(
        "decoder", ["--generate.do_sample false"], flags=("--generate.prompt", "a", "--generate.num_beams", "2")
    ),
    "output in a missing folder": Saved(
        "decoder", ["generate.output"], "a\n", ("--generate.input", "-", "--generate.output", "nowhere/out.jsonl")
    ),
}


@pytest.mark.parametrize(
    ("recipe", "case"),
    [
        pytest.param(recipe, case, id=f"{recipe}: {name}")
        for recipe, cases in {"predict": PREDICT, "generate": GENERATE}.items()
        for name, case in cases.items()
    ],
)
def test_saved_models(recipe: str, case: Saved, saved: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO(case.stdin))
    named = [] if case.model is None else [str(saved / case.model)]
    message = fail(capsys, recipe, *named, *case.flags, positional="model.name")
    for part in case.parts:
        assert part in message
    assert list(tmp_path.iterdir()) == []


def test_a_model_folder_whose_task_cannot_be_read(saved: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    import shutil

    shutil.copytree(saved / "pairs", tmp_path / "model")
    monkeypatch.setattr(sys, "stdin", io.StringIO("a\n"))
    told = tmp_path / "model/plumbline.json"
    whole = json.loads(told.read_text())
    for content, part in (
        ('{"task": ', "plumbline.json of"),
        (json.dumps({"task": "text-classification"}), "Is the model folder whole?"),
        (json.dumps(whole | {"task": "dancing"}), "is a model for 'dancing', which this version of Plumbline does not"),
    ):
        told.write_text(content)
        assert part in fail(capsys, "predict", str(tmp_path), positional="model.name")
