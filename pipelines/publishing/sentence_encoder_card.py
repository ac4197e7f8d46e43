"""What makes a saved encoder one of sentences: its pooling, as sentence-transformers reads it; what its card says."""

import json
from pathlib import Path
from typing import Any, Literal

from pipelines.publishing.description import Description
from pipelines.publishing.record import Record

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


def describe_sentence_encoder(record: Record, source: str) -> Description:
    """What the card of a sentence encoder says."""
    plan, metrics, contrastive = record.plan, record.metrics, record.config["contrastive"]
    columns = {key: label for key, label in COLUMNS.items() if any(f"{key}_{score}" in metrics for score in SCORES)}
    lines = [f"| on held-out text | {' | '.join(columns.values())} |", "|---|" + "---|" * len(columns)]
    for score, label in SCORES.items():
        if f"eval_{score}" in metrics:
            cells = [metrics.get(f"{column}_{score}") for column in columns]
            lines.append(f"| {label} | {' | '.join('–' if cell is None else f'{cell:.4f}' for cell in cells)} |")
    return Description(
        title=f"Sentence encoder trained on {record.source['name']}",
        about=f"{plan['parameters']['total']:,} parameters, trained with Plumbline by unsupervised SimCSE (Gao, Yao "
        "and Chen 2021): a sentence, encoded twice with dropout, is to find itself among the "
        f"{plan['rows_per_step']:,} of a step. {plan['steps']:,} steps, {plan['epochs']:.2f} epochs of "
        f"{plan['train_blocks']:,} sentences, at most {plan['block_size']} tokens each; temperature "
        f"{contrastive['temperature']:g}. Pooling: {contrastive['pooling']}.",
        scores=lines,
        scored=f"{metrics['eval_retrieval_documents']:,} held-out documents, whose first half is to find its second "
        "among all second halves.",
        code=f"""import torch
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{source}")
model = AutoModel.from_pretrained("{source}")
texts = ["Returns the sum of the array.", "Adds up all elements.", "Opens a file for reading."]
batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
with torch.no_grad():
    states = model(**batch).last_hidden_state
{POOLED[contrastive["pooling"]]}
embeddings = torch.nn.functional.normalize(embeddings, dim=-1)
print(embeddings @ embeddings.T)""",
        limits="Cosines rank texts by likeness. They are no probabilities, and mean nothing between two models.",
        pipeline_tag="sentence-similarity",
        library_name="sentence-transformers",
        tags=("sentence-transformers",),
        more=f'`SentenceTransformer("{source}").encode(texts)` of sentence-transformers gives the same vectors, not '
        "yet of length 1.",
    )
