"""The model card: README.md of a run's model folder, made of the run's own figures."""

from pathlib import Path
from typing import Any


def write_model_card(
    folder: Path, plan: dict[str, Any], metrics: dict[str, float], corpus: str, licence: str | None
) -> None:
    """Writes a minimal README.md with the Hub's metadata, what the model is, its scores, and how to load it.

    Args:
        folder: the model folder.
        plan: content of plan.json.
        metrics: final figures.
        corpus: name of the training data.
        licence: the data card's licence; a model's own licence is its author's to choose.
    """
    baseline = next(
        (name for name in metrics if name.startswith("baseline_") and name.endswith("_bits_per_byte")), None
    )
    rows = [("this model", metrics["eval_loss"], metrics["eval_bits_per_byte"])]
    if baseline is not None:
        loss = metrics[baseline.replace("_bits_per_byte", "_loss")]
        label = baseline.removeprefix("baseline_").removesuffix("_bits_per_byte").replace("_", " ")
        rows.append((f"{label}, same tokens", loss, metrics[baseline]))
    scores = "\n".join(f"| {name} | {loss:.4f} | {bits:.4f} |" for name, loss, bits in rows)
    (folder / "README.md").write_text(
        f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [plumbline]
---

# Causal language model trained on {corpus}

{plan["parameters"]["total"]:,} parameters, trained from scratch or continued with Plumbline on {plan["total_tokens"]:,}
tokens ({plan["epochs"]:.2f} epochs of {plan["train_tokens"]:,}) in {plan["steps"]:,} steps of
{plan["tokens_per_step"]:,} tokens. Licence of the training data: {licence or "not stated"}.

| on the validation split | nats per token | bits per byte |
|---|---|---|
{scores}

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
prompt = tokenizer("Returns", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=40, do_sample=True)[0]))
```

The model continues text in the manner of its training data. It states no facts and follows no instructions.
""",
        encoding="utf-8",
    )
