"""One optimizer step of every task head on eight ragged rows; as a script, the same under torchrun.

torchrun --nproc-per-node 2 task_step.py OUTPUT_DIR ROWS_PER_PROCESS ACCUMULATION CASE [CASE ...]
"""

import sys
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from architectures import DECODERS, ENCODERS
from exact_step import main, sgd_step

from pipelines.data.examples import Examples, TokenBudget
from pipelines.data.labelled import FILE, NUMBER, Rows
from pipelines.data.packing import TrainingBlocks, TrainingOrder
from pipelines.data.tokenizer_training import train_tokenizer
from pipelines.sections import ModelConfig, Seq2SeqModelConfig
from pipelines.task_sections import (
    ChatConfig,
    ClassificationConfig,
    MultipleChoiceConfig,
    QuestionAnsweringConfig,
    SummarizationConfig,
    TokenClassificationConfig,
)
from pipelines.tasks.chat import Chat
from pipelines.tasks.classification import TextClassification
from pipelines.tasks.multiple_choice import MultipleChoice
from pipelines.tasks.question_answering import QuestionAnswering
from pipelines.tasks.task import Limit, Task
from pipelines.tasks.text_generation import Summarization
from pipelines.tasks.token_classification import TokenClassification

WORDS = [
    "the",
    "array",
    "holds",
    "value",
    "for",
    "each",
    "row",
    "and",
    "returns",
    "its",
    "sum",
    "when",
    "axis",
    "is",
    "zero",
]
BERT = {"model_type": "bert", **ENCODERS["bert"]}
T5 = {
    "model_type": "t5", "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "dropout_rate": 0.0,
}  # fmt: skip
MARIAN = {
    "model_type": "marian", "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "dropout": 0.0,
}  # fmt: skip


def text(place: int, length: int) -> str:
    return " ".join(WORDS[(place * 5 + step * (place + 1)) % len(WORDS)] for step in range(length))


LENGTHS = (3, 17, 2, 9, 25, 4, 12, 1)
TEXTS = [text(place, length) for place, length in enumerate(LENGTHS)]


def row(case: str, place: int) -> dict[str, Any]:
    """Row `place` of eight, of the columns that a case reads."""
    words = TEXTS[place].split()
    task = case.split("-")[0]
    return {
        "single": {"text": TEXTS[place], "label": place % 3},
        "pair": {"text": TEXTS[place], "text_pair": TEXTS[7 - place], "label": place % 2},
        "multi": {"text": TEXTS[place], "label": [one for one in range(3) if (place >> one) & 1]},
        "regression": {"text": TEXTS[place], "label": place / 2},
        "tokens": {"tokens": words, "tags": ["O" if len(word) < 4 else "B-X" for word in words]},
        "question": {
            "question": "what holds",
            "context": TEXTS[place] + " end",
            "answers": {"text": [words[-1]], "answer_start": [TEXTS[place].rfind(words[-1])]},
        },
        "choice": {
            "text": TEXTS[place],
            "choices": [text(place + one, 2 + one) for one in range(2 + place % 3)],
            "label": 1,
        },
        "summary": {"document": TEXTS[place], "summary": text(place, 1 + place % 4)},
        "chat": {
            "messages": [
                {"role": "user", "content": TEXTS[place]},
                {"role": "assistant", "content": text(place, 1 + place % 4)},
            ]
        },
    }[task]


def make_task(case: str) -> Task:
    """The task of a case."""
    task = case.split("-")[0]
    if task in ("single", "pair", "multi"):
        return TextClassification(ClassificationConfig())
    if task == "regression":
        return TextClassification(ClassificationConfig(problem_type="regression"))
    if task == "summary":
        return Summarization(SummarizationConfig(max_target_length=8, prompt="sum {text}"))
    return {
        "tokens": lambda: TokenClassification(TokenClassificationConfig()),
        "question": lambda: QuestionAnswering(QuestionAnsweringConfig(stride=2)),
        "choice": lambda: MultipleChoice(MultipleChoiceConfig()),
        "chat": lambda: Chat(ChatConfig(chat_template="chatml")),
    }[task]()


CONFIGS: dict[str, dict[str, Any]] = {
    "single-bert": BERT,
    "single-modernbert": {"model_type": "modernbert", **ENCODERS["modernbert"]},
    "single-distilbert": {"model_type": "distilbert", **ENCODERS["distilbert"], "seq_classif_dropout": 0.0},
    "single-llama": {"model_type": "llama", **DECODERS["llama"]},
    "pair-bert": BERT,
    "multi-bert": BERT,
    "regression-roberta": {"model_type": "roberta", **ENCODERS["roberta"]},
    "tokens-bert": BERT,
    "tokens-modernbert": {"model_type": "modernbert", **ENCODERS["modernbert"]},
    "question-bert": BERT,
    "question-electra": {"model_type": "electra", **ENCODERS["electra"]},
    "choice-bert": BERT,
    "summary-t5": T5,
    "summary-marian": MARIAN,
    "summary-llama": {"model_type": "llama", **DECODERS["llama"]},
    "summary-gpt2": {"model_type": "gpt2", **DECODERS["gpt2"]},
    "chat-qwen3": {"model_type": "qwen3", **DECODERS["qwen3"]},
}


@cache
def tokenizer_of(kind: str) -> Any:
    """A tokenizer of whole words and pieces of them."""
    return train_tokenizer([[*TEXTS, " ".join(WORDS)] * 4], "bpe", 320)


def rows_of(case: str) -> Rows:
    """The eight rows."""
    table = pa.Table.from_pylist([row(case, place) | {FILE: "rows", NUMBER: place + 1} for place in range(8)])
    return Rows(table)


def prepared(case: str, seed: int = 0) -> tuple[Task, Examples, Any]:
    """Task, examples and model of a case; the same every time."""
    import copy

    task, rows = make_task(case), rows_of(case)
    task.learn(rows, None)
    assert all(task.problem(one) is None for one in rows)
    config = (Seq2SeqModelConfig if case.startswith("summary") else ModelConfig)(config=CONFIGS[case])
    task.use_tokenizer(copy.deepcopy(tokenizer_of("words")), config)
    torch.manual_seed(seed)
    model = task.build(config, 64)
    return task, task.encode(rows, Limit(40, task.policies[0]), training=True), model


def one_step(
    case: str, rows: int, accumulation: int, folder: Path, max_tokens: int | None = None
) -> tuple[float, dict[str, torch.Tensor]]:
    """(logged loss, weights afterwards) of one SGD step with learning rate 1 over all rows."""
    task, examples, model = prepared(case)
    order = TrainingOrder(len(examples), seed=0)
    places = -(-len(examples) // 8) * 8
    blocks = TrainingBlocks(examples, order, places, len(examples))
    assert places == 8, len(examples)
    loss = task.loss(model, bf16=False)
    return sgd_step(
        model, blocks, TokenBudget(task.collate, max_tokens, examples.has_decoder), loss, rows, accumulation, folder
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:], one_step)
