"""The model card: README.md of a run's model folder, made of the run's own figures."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines.reporting.scores import baselines_of
from pipelines.reporting.words import label_of


@dataclass(frozen=True)
class Kind:
    """What a card says of a kind of model."""

    title: str
    pipeline_tag: str
    columns: dict[str, str]
    """Metric -> heading of its column."""
    auto_class: str
    example: str
    limits: str


KINDS = {
    "causal": Kind(
        "Causal language model",
        "text-generation",
        {"loss": "nats per token", "bits_per_byte": "bits per byte"},
        "AutoModelForCausalLM",
        """prompt = tokenizer("Returns", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=40, do_sample=True)[0]))""",
        "The model continues text in the manner of its training data. It states no facts and follows no instructions.",
    ),
    "masked": Kind(
        "Masked language model",
        "fill-mask",
        {"loss": "nats per masked token", "accuracy": "masked tokens found"},
        "AutoModelForMaskedLM",
        """text = tokenizer(f"Returns the{tokenizer.mask_token} of the array.", return_tensors="pt")
masked = text["input_ids"][0] == tokenizer.mask_token_id
print(tokenizer.decode(model(**text).logits[0, masked].argmax(-1)))""",
        "The model fills gaps in the manner of its training data. It is a start for fine-tuning, and states no facts.",
    ),
    "seq2seq": Kind(
        "Sequence-to-sequence model",
        "text2text-generation",
        {"loss": "nats per target token", "accuracy": "target tokens found"},
        "AutoModelForSeq2SeqLM",
        """text = tokenizer("Returns the sum of the array.", return_tensors="pt", return_token_type_ids=False)
print(tokenizer.decode(model.generate(**text, max_new_tokens=40)[0]))""",
        "The model restores damaged text. It is a start for fine-tuning, and does nothing useful by itself.",
    ),
}


def write_model_card(
    folder: Path,
    plan: dict[str, Any],
    metrics: dict[str, float],
    corpus: str,
    licence: str | None,
    kind: Literal["causal", "masked", "seq2seq"] = "causal",
) -> None:
    """Writes a minimal README.md with the Hub's metadata, what the model is, its scores, and how to load it.

    Args:
        folder: the model folder.
        plan: content of plan.json.
        metrics: final figures.
        corpus: name of the training data.
        licence: the data card's licence; a model's own licence is its author's to choose.
        kind: what the model was trained for.
    """
    card = KINDS[kind]
    own = {name: metrics[f"eval_{name}"] for name in card.columns}
    baselines = {f"{label_of(name)}, same data": figures for name, figures in baselines_of(metrics).items()}
    rows = {"this model": own} | {
        name: figures for name, figures in baselines.items() if figures.keys() >= card.columns.keys()
    }
    scores = "\n".join(
        f"| {name} | {' | '.join(f'{figures[column]:.4f}' for column in card.columns)} |"
        for name, figures in rows.items()
    )
    model_type = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    registration = (
        "import pipelines.models.recurrent  # a model type of Plumbline\n" if model_type == "recurrent" else ""
    )
    (folder / "README.md").write_text(
        f"""---
library_name: transformers
pipeline_tag: {card.pipeline_tag}
tags: [plumbline]
---

# {card.title} trained on {corpus}

{plan["parameters"]["total"]:,} parameters, trained from scratch or continued with Plumbline on {plan["total_tokens"]:,}
tokens ({plan["epochs"]:.2f} epochs of {plan["train_tokens"]:,}) in {plan["steps"]:,} steps of
{plan["tokens_per_step"]:,} tokens. Licence of the training data: {licence or "not stated"}.

| on the validation split | {" | ".join(card.columns.values())} |
|{"---|" * (1 + len(card.columns))}
{scores}

```python
{registration}from transformers import {card.auto_class}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = {card.auto_class}.from_pretrained(".")
{card.example}
```

{card.limits}
""",
        encoding="utf-8",
    )
