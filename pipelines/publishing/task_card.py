"""What the card of a fine-tuned model says."""

import json
from pathlib import Path
from typing import Any

from pipelines.publishing.description import Description
from pipelines.publishing.record import Record
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


def describe_task(record: Record, source: str, adapter_of: str | None = None) -> Description:
    """What the card of a fine-tuned model says; of an adapter, adapter_of is its base model on the Hub."""
    task, plan, metrics = str(record.task), record.plan, dict(record.metrics)
    config = json.loads((record.model / "config.json").read_text(encoding="utf-8"))
    tag, auto_class, example = USES[_use(record.model, task, config)]
    tag = task if task in ("summarization", "translation") else tag
    example = _fitted(example, record)
    names = [name.removeprefix("eval_") for name in metrics if name.startswith("eval_") and not name.endswith(INTERVAL)]
    names = [name for name in names if name not in COUNTS]
    columns = {"this model": {name: metrics[f"eval_{name}"] for name in names}} | {
        label_of(name): figures for name, figures in baselines_of(metrics).items()
    }
    lines = [f"| on the {record.split} split | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for name in names:
        cells = [number(figures.get(name), 4) for figures in columns.values()]
        if f"eval_{name}_ci_low" in metrics:
            cells[0] += f" [{', '.join(number(metrics[f'eval_{name}{end}'], 4) for end in INTERVAL)}]"
        lines.append(f"| {label_of(name)} | {' | '.join(cells)} |")
    done = {"steps": metrics.get("train_steps", plan["steps"]), "epochs": plan["epochs"]}
    done |= {"epochs": record.receipt["training"]["epochs"]} if "training" in record.receipt else {}
    base = "from random weights" if record.base is None else f"from {record.base.shown}"
    return Description(
        title=f"{task.replace('-', ' ').capitalize()} trained on {record.source['name']}",
        about=f"{plan['parameters']['total']:,} parameters, fine-tuned with Plumbline {base} in {done['steps']:,.0f} "
        f"steps of {plan['rows_per_step']:,} rows ({done['epochs']:.2f} epochs of {plan['train_documents']:,} rows).",
        scores=lines,
        scored=f"Scored on {metrics['eval_rows']:,} rows; brackets are 95 % intervals.",
        code=f"""{_loading(auto_class, source, adapter_of)}
{example}""",
        limits="The scores are of rows like those of the data it was trained on, and say nothing of others.",
        pipeline_tag=tag,
    )


def _fitted(example: str, record: Record) -> str:
    """The example with two texts for a model of pairs, a number or several labels where these are its answer, and the
    prompt that it was trained with."""
    written = json.loads((record.model / "plumbline.json").read_text(encoding="utf-8"))
    state = written["state"]
    if state.get("has_pairs"):
        example = example.replace('quiet.",', 'quiet.", "It was a good room.",')
    if state.get("problem_type") == "regression":
        example = example.replace("model.config.id2label[logits.argmax(-1).item()]", "logits.item()")
    if state.get("problem_type") == "multi_label_classification":
        limit = written["config"]["threshold"]
        chosen = f"[model.config.id2label[i] for i, p in enumerate(logits.sigmoid()[0]) if p > {limit}]"
        example = example.replace("model.config.id2label[logits.argmax(-1).item()]", chosen)
    if state.get("prompt"):
        text = state["prompt"].replace("{text}", "Returns the sum of the values.")
        example = example.replace('tokenizer("Returns the sum of the values.",', f"tokenizer({json.dumps(text)},")
        example = example.replace('"content": "What does numpy.sum do?"', f'"content": {json.dumps(text)}')
    return example


def _loading(auto_class: str, source: str, adapter_of: str | None) -> str:
    if adapter_of is None:
        return f"""from transformers import {auto_class}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{source}")
model = {auto_class}.from_pretrained("{source}")"""
    return f"""from peft import PeftModel
from transformers import AutoConfig, {auto_class}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{source}")
config = AutoConfig.from_pretrained("{source}")  # knows the labels, which the base model does not
model = {auto_class}.from_pretrained("{adapter_of}", config=config, ignore_mismatched_sizes=True)
model = PeftModel.from_pretrained(model, "{source}")"""


def _use(folder: Path, task: str, config: dict[str, Any]) -> str:
    """The key of USES for a model."""
    if task in USES:
        return task
    if config.get("is_encoder_decoder"):
        return "writer"
    has_template = "chat_template" in (folder / "tokenizer_config.json").read_text(encoding="utf-8")
    return "decoder" if has_template or (folder / "chat_template.jinja").is_file() else "prompted"
