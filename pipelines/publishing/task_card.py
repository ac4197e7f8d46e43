"""The model card of a fine-tuned model: README.md of its folder, made of the run's own figures."""

import json
from pathlib import Path
from typing import Any

from pipelines.reporting.scores import COUNTS, INTERVAL, baselines_of
from pipelines.reporting.words import label_of, number

# Key of the task -> what the Hub calls it, Auto class, and code that uses the model.
USES = {
    "text-classification": (
        "text-classification",
        "AutoModelForSequenceClassification",
        """batch = tokenizer("The room was clean and quiet.", return_tensors="pt")
logits = model(**batch).logits
print(model.config.id2label[logits.argmax(-1).item()])""",
    ),
    "token-classification": (
        "token-classification",
        "AutoModelForTokenClassification",
        """batch = tokenizer(["Ada", "Lovelace", "in", "London"], is_split_into_words=True, return_tensors="pt")
tags = model(**batch).logits.argmax(-1)[0].tolist()
print([(word, model.config.id2label[tag]) for word, tag in zip(batch.word_ids(), tags) if word is not None])""",
    ),
    "question-answering": (
        "question-answering",
        "AutoModelForQuestionAnswering",
        """batch = tokenizer("Where is the tower?", "The tower is in Paris.", return_tensors="pt")
spans = model(**batch)
start, end = spans.start_logits.argmax().item(), spans.end_logits.argmax().item()
print(tokenizer.decode(batch["input_ids"][0, start : end + 1]))""",
    ),
    "multiple-choice": (
        "multiple-choice",
        "AutoModelForMultipleChoice",
        """choices = ["It sorts the values.", "It opens a file."]
batch = tokenizer(["Returns the values in order."] * len(choices), choices, padding=True, return_tensors="pt")
logits = model(**{name: values[None] for name, values in batch.items()}).logits
print(choices[logits.argmax(-1).item()])""",
    ),
    "writer": (
        "text2text-generation",
        "AutoModelForSeq2SeqLM",
        """batch = tokenizer("Returns the sum of the values.", return_tensors="pt")
print(tokenizer.decode(model.generate(**batch, max_new_tokens=40)[0], skip_special_tokens=True))""",
    ),
    "decoder": (
        "text-generation",
        "AutoModelForCausalLM",
        """messages = [{"role": "user", "content": "What does numpy.sum do?"}]
batch = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")
print(tokenizer.decode(model.generate(**batch, max_new_tokens=40)[0, batch["input_ids"].shape[1] :]))""",
    ),
    "prompted": (
        "text-generation",
        "AutoModelForCausalLM",
        """batch = tokenizer("Returns the sum of the values.", return_tensors="pt")
print(tokenizer.decode(model.generate(**batch, max_new_tokens=40)[0]))""",
    ),
}


def write_task_card(
    folder: Path,
    task: str,
    plan: dict[str, Any],
    metrics: dict[str, float],
    split: str,
    corpus: str,
    licence: str | None,
    base: str | None,
) -> None:
    """Writes README.md with the Hub's metadata, what the model is, its scores beside baselines, and how to load it.

    Args:
        folder: the model folder.
        task: its key.
        plan: content of plan.json.
        metrics: final figures.
        split: what they are of.
        corpus: name of the data.
        licence: the data card's licence; a model's own licence is its author's to choose.
        base: the checkpoint that was fine-tuned, if one was.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tag, auto_class, example = USES[_use(folder, task, config)]
    names = [name.removeprefix("eval_") for name in metrics if name.startswith("eval_") and not name.endswith(INTERVAL)]
    names = [name for name in names if name not in COUNTS]
    columns = {"this model": {name: metrics[f"eval_{name}"] for name in names}} | {
        label_of(name): figures for name, figures in baselines_of(metrics).items()
    }
    lines = [f"| on the {split} split | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for name in names:
        cells = [number(figures.get(name), 4) for figures in columns.values()]
        if f"eval_{name}_ci_low" in metrics:
            cells[0] += f" [{', '.join(number(metrics[f'eval_{name}{end}'], 4) for end in INTERVAL)}]"
        lines.append(f"| {label_of(name)} | {' | '.join(cells)} |")
    adapter = "\n`adapter/` holds the LoRA updates alone, for `peft`.\n" if (folder / "adapter").is_dir() else ""
    metadata = ["library_name: transformers", f"pipeline_tag: {tag}", "tags: [plumbline]"]
    if base is not None and "://" not in base and not base.startswith(("/", ".", "~")):
        metadata.insert(2, f"base_model: {base}")
    (folder / "README.md").write_text(
        "\n".join(
            [
                "---",
                *metadata,
                "---",
                "",
                f"# {task.replace('-', ' ').capitalize()} trained on {corpus}",
                "",
                f"{plan['parameters']['total']:,} parameters, fine-tuned with Plumbline "
                f"{'from ' + base if base is not None else 'from random weights'} in {plan['steps']:,} steps of",
                f"{plan['rows_per_step']:,} rows ({plan['epochs']:.2f} epochs of {plan['train_documents']:,} rows). "
                f"Licence of the training data: {licence or 'not stated'}.",
                "",
                *lines,
                "",
                f"Scored on {metrics['eval_rows']:,} rows; brackets are 95 % intervals.",
                "",
                "```python",
                f"from transformers import {auto_class}, AutoTokenizer",
                "",
                'tokenizer = AutoTokenizer.from_pretrained(".")',
                f'model = {auto_class}.from_pretrained(".")',
                example,
                "```",
                adapter,
                "The scores are of rows like those of the data it was trained on, and say nothing of others.",
                "",
            ]
        ),
        encoding="utf-8",
    )


def _use(folder: Path, task: str, config: dict[str, Any]) -> str:
    """The key of USES for a model."""
    if task in USES:
        return task
    if config.get("is_encoder_decoder"):
        return "writer"
    has_template = "chat_template" in (folder / "tokenizer_config.json").read_text(encoding="utf-8")
    return "decoder" if has_template or (folder / "chat_template.jinja").is_file() else "prompted"
