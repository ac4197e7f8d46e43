"""What makes a saved encoder one of sentences: its pooling, as sentence-transformers reads it, and its card."""

import json
from pathlib import Path
from typing import Any, Literal

POOLED = {
    "cls": "embeddings = states[:, 0]",
    "mean": """mask = batch["attention_mask"][..., None]
embeddings = (states * mask).sum(dim=1) / mask.sum(dim=1)""",
}
SCORES = {
    "spearman": "scored pairs, Spearman's rho",
    "pearson": "scored pairs, Pearson's r",
    "retrieval_accuracy": "own half found first",
    "retrieval_mrr": "own half, mean reciprocal rank",
    "alignment": "alignment of halves (0 at best)",
    "uniformity": "uniformity of halves (lower is better)",
}
COLUMNS = {
    "eval": "this model",
    "baseline_start": "before training",
    "baseline_token_vectors": "mean of its first token vectors",
    "baseline_tfidf": "TF-IDF",
}


def write_pooling(folder: Path, pooling: Literal["cls", "mean"], hidden_size: int, max_tokens: int) -> None:
    """Writes the files by which sentence-transformers (any version from 2.0 on) loads the folder with its pooling.

    Args:
        folder: the model folder.
        pooling: see pipelines/models/pooling.py.
        hidden_size: numbers in an embedding.
        max_tokens: longer texts are cut.
    """
    steps = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(steps)
    ]
    modes = {f"pooling_mode_{name}": name == f"{pooling}_tokens" for name in ("mean_tokens", "max_tokens")}
    files: dict[str, Any] = {
        "modules.json": modules,
        "1_Pooling/config.json": {
            "word_embedding_dimension": hidden_size,
            "pooling_mode_cls_token": pooling == "cls",
            **modes,
        },
        "sentence_bert_config.json": {"max_seq_length": max_tokens, "do_lower_case": False},
        "config_sentence_transformers.json": {"similarity_fn_name": "cosine"},
    }
    (folder / "1_Pooling").mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_sentence_encoder_card(
    folder: Path,
    plan: dict[str, Any],
    metrics: dict[str, float],
    corpus: str,
    licence: str | None,
    contrastive: dict[str, Any],
) -> None:
    """Writes README.md with the Hub's metadata, what the model is, its scores, and how to use it.

    Args:
        folder: the model folder.
        plan: content of plan.json.
        metrics: final figures.
        corpus: name of the training data.
        licence: the data card's licence; a model's own licence is its author's to choose.
        contrastive: the section of the config.
    """
    columns = {key: label for key, label in COLUMNS.items() if any(f"{key}_{score}" in metrics for score in SCORES)}
    lines = [f"| on held-out text | {' | '.join(columns.values())} |", "|---|" + "---|" * len(columns)]
    for score, label in SCORES.items():
        if f"eval_{score}" in metrics:
            cells = [metrics.get(f"{column}_{score}") for column in columns]
            lines.append(f"| {label} | {' | '.join('–' if cell is None else f'{cell:.4f}' for cell in cells)} |")
    scores = "\n".join(lines)
    (folder / "README.md").write_text(
        f"""---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags: [plumbline, sentence-transformers]
---

# Sentence encoder trained on {corpus}

{plan["parameters"]["total"]:,} parameters, trained with Plumbline by unsupervised SimCSE (Gao, Yao and Chen 2021): a
sentence, encoded twice with dropout, is to find itself among the {plan["rows_per_step"]:,} of a step.
{plan["steps"]:,} steps, {plan["epochs"]:.2f} epochs of {plan["train_blocks"]:,} sentences, at most
{plan["block_size"]} tokens each; temperature {contrastive["temperature"]:g}. Pooling: {contrastive["pooling"]}.
Licence of the training data: {licence or "not stated"}.

{scores}

{metrics["eval_retrieval_documents"]:,} held-out documents, whose first half is to find its second among all second
halves.

```python
import torch
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModel.from_pretrained(".")
texts = ["Returns the sum of the array.", "Adds up all elements.", "Opens a file for reading."]
batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
with torch.no_grad():
    states = model(**batch).last_hidden_state
{POOLED[contrastive["pooling"]]}
embeddings = torch.nn.functional.normalize(embeddings, dim=-1)
print(embeddings @ embeddings.T)
```

`SentenceTransformer(".").encode(texts)` of sentence-transformers gives the same vectors, not yet of length 1.

Cosines rank texts by likeness. They are no probabilities, and mean nothing between two models.
""",
        encoding="utf-8",
    )
