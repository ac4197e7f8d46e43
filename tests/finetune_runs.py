"""Small labelled files, and flags of fine-tuning runs of some seconds, one for every recipe and more for some tasks."""

import json
import random
from pathlib import Path
from typing import Any

BERT = (
    "{model_type: bert, hidden_size: 32, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2, "
    "hidden_dropout_prob: 0.1}"
)
LLAMA = (
    "{model_type: llama, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2, "
    "num_key_value_heads: 2}"
)
T5 = "{model_type: t5, d_model: 32, d_kv: 16, d_ff: 64, num_layers: 1, num_heads: 2, dropout_rate: 0.0}"
GOOD, BAD = ("clean", "quiet", "bright", "friendly"), ("dirty", "loud", "dark", "rude")
NAMES, PLACES = ("Ann", "Bob", "Eve", "Tom"), ("Rome", "Oslo", "Kyiv", "Lima")


def sentence(draw: random.Random, words: tuple[str, ...]) -> str:
    where = draw.choice(("room", "bath", "hall", "bar"))
    return f"The {where} {draw.randrange(100)} was {draw.choice(words)} and {draw.choice(words)}."


def row(task: str, draw: random.Random) -> dict[str, Any]:
    """One row of a task that a linear model can learn; of qa_none, about half the questions have no answer."""
    is_good = draw.random() < 0.5
    text = sentence(draw, GOOD if is_good else BAD)
    name, place, number = draw.choice(NAMES), draw.choice(PLACES), draw.randrange(1000)
    if task == "classification":
        return {"text": text, "label": "good" if is_good else "bad"}
    if task == "regression":
        return {"text": text, "label": is_good + number / 1000}
    if task in ("qa", "qa_none"):
        context = f"{name} lives in {place} since {number}. {text}"
        answered = task == "qa" or is_good
        return {
            "question": f"Where does {name if answered else 'Zoe'} live?",
            "context": context,
            "answers": {"text": [place] * answered, "answer_start": [context.index(place)] * answered},
        }
    if task == "ner":
        words = f"{name} went to {place} {number}".split()
        return {"tokens": words, "tags": ["B-PER", "O", "O", "B-LOC", "O"]}
    if task == "words":
        return {"tokens": list("我来到北京。"), "tags": ["S", "B", "E", "B", "E", "S"]}
    if task == "summarization":
        return {"document": f"{text} {name} came from {place}. It was {number}.", "summary": f"{name} came."}
    if task == "translation":
        return {"source": f"{name} in {place} {number}", "target": f"{place} : {name} {number}"}
    if task == "multiple_choice":
        choices = [sentence(draw, BAD) for _ in range(3)]
        label = draw.randrange(3)
        choices[label] = sentence(draw, GOOD)
        return {"text": f"Which is nice, {number}?", "choices": choices, "label": label}
    user = {"role": "user", "content": f"Where is {name} {number}?"}
    return {"messages": [user, {"role": "assistant", "content": f"{name} is in {place}."}]}


def write_rows(folder: Path, task: str, count: int = 60, seed: int = 0) -> Path:
    """A file of rows of a task, different for every seed."""
    draw = random.Random(seed)
    path = folder / f"{task}-{seed}.jsonl"
    path.write_text("".join(json.dumps(row(task, draw)) + "\n" for _ in range(count)), encoding="utf-8")
    return path


MODELS = {"summarization": T5, "translation": T5, "chat": LLAMA}
MORE = {
    "regression": ("--task.problem_type", "regression"),
    "qa": ("--task.stride", "8"),
    "qa_none": ("--task.stride", "8"),
    "ner": ("--tokenizer.type", "wordpiece"),
    "summarization": ("--task.max_target_length", "8"),
    "translation": ("--task.max_target_length", "16"),
    "chat": ("--task.chat_template", "chatml", "--task.max_new_tokens", "8"),
}


def flags(task: str, folder: Path, run: Path, *more: str, steps: int = 6) -> list[str]:
    """Flags of a run on 60 training and 30 validation rows."""
    return [
        *("--data.files.train", str(write_rows(folder, task)), "--run.dir", str(run), "--run.threads", "1"),
        *("--data.files.validation", str(write_rows(folder, task, 30, 1)), "--data.max_length", "64"),
        *("--tokenizer.type", "bpe", "--tokenizer.vocab_size", "320", "--model.config", MODELS.get(task, BERT)),
        *("--training.max_steps", str(steps), "--training.per_device_train_batch_size", "8"),
        *("--training.learning_rate", "1e-3", "--training.logging_steps", "1", "--training.save_steps", "2"),
        *("--training.eval_steps", "3", "--training.bf16", "false", "--evaluation.resamples", "100"),
        *("--proof.enabled", "false"),
        *MORE.get(task, ()),
        *more,
    ]
