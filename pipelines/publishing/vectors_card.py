"""The card of static word vectors: README.md of a run's model folder, made of the run's own figures."""

import json
from pathlib import Path
from typing import Any

TITLES = {"skipgram": "Skip-gram", "cbow": "CBOW", "fasttext": "fastText", "glove": "GloVe"}


def write_vectors_card(
    folder: Path, plan: dict[str, Any], metrics: dict[str, float], corpus: str, licence: str | None, example: str
) -> None:
    """Writes README.md with the Hub's metadata, what the vectors are, their scores, and how to load them.

    Args:
        folder: the model folder.
        plan: content of plan.json.
        metrics: final figures.
        corpus: name of the training data.
        licence: the data card's licence; that of the vectors is their author's to choose.
        example: a word of the vocabulary.
    """
    baselines = {"random": "random vectors", "ppmi_svd": "PPMI and SVD"}
    baselines = {name: label for name, label in baselines.items() if any(f"baseline_{name}_" in key for key in metrics)}
    lines = [f"| score | covered | these vectors |{''.join(f' {label} |' for label in baselines.values())}"]
    lines.append("|---|---|---|" + "---|" * len(baselines))
    for key in metrics:
        name, _, kind = key.removeprefix("eval_").rpartition("_")
        if key.startswith("eval_") and kind in ("spearman", "accuracy"):
            measure = {"spearman": "Spearman's rho", "accuracy": "accuracy, 3CosAdd"}[kind]
            columns = [key, *(f"baseline_{baseline}_{name}_{kind}" for baseline in baselines)]
            cells = [f"{metrics[column]:.3f}" if column in metrics else "–" for column in columns]
            if f"{key}_low" in metrics:
                cells[0] += f" ({metrics[f'{key}_low']:.3f} to {metrics[f'{key}_high']:.3f})"
            covered = f"{100 * metrics[f'eval_{name}_coverage']:.1f} %"
            lines.append(f"| {name}, {measure} | {covered} | {' | '.join(cells)} |")
    scores = (
        "\n".join(lines) if len(lines) > 2 else "Nothing was scored: no evaluation set shares words with the corpus."
    )
    unknown = "\nUnknown words get the mean vector of their character n-grams." if plan["method"] == "fasttext" else ""
    data_licence = licence or "not stated"
    word = json.dumps(example, ensure_ascii=False)
    (folder / "README.md").write_text(
        f"""---
tags: [plumbline, word-vectors]
---

# {TITLES[plan["method"]]} word vectors trained on {corpus}

{plan["vocab_size"]:,} words of {plan["vector_size"]} numbers, trained with Plumbline on {plan["words"]:,} words
({plan["epochs"]} epochs, {plan["window"]} words to each side). Licence of the training data: {data_licence}.{unknown}

{scores}

Scores are over the covered part: the pairs or questions all of whose words have a vector. In brackets: the 95 %
confidence interval.

```python
from pipelines.models.static_vectors import StaticVectors

vectors = StaticVectors.load(".")
print(vectors.vector({word})[:4])
print(vectors.nearest({word}, n=5))
```

Without Plumbline, `vectors.txt` is word2vec's text format:

```python
from gensim.models import KeyedVectors

vectors = KeyedVectors.load_word2vec_format("vectors.txt")
print(vectors.most_similar({word}, topn=5))
```

The vectors repeat how words are used in their training text, its prejudices included.
""",
        encoding="utf-8",
    )
