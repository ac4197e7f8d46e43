"""What the card of static word vectors says."""

import json

from pipelines.publishing.description import Description
from pipelines.publishing.record import Record

TITLES = {"skipgram": "Skip-gram", "cbow": "CBOW", "fasttext": "fastText", "glove": "GloVe"}


def describe_vectors(record: Record, source: str) -> Description:
    """What the card of static word vectors says."""
    plan, metrics = record.plan, record.metrics
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
    words = json.loads((record.model / "vocabulary.json").read_text(encoding="utf-8"))
    word = json.dumps(list(words)[len(words) // 100], ensure_ascii=False)
    text = '"vectors.txt"' if source == "." else f'hf_hub_download("{source}", "vectors.txt")'
    folder = '"."' if source == "." else f'snapshot_download("{source}")'
    unknown = " Unknown words get the mean vector of their character n-grams." if plan["method"] == "fasttext" else ""
    return Description(
        title=f"{TITLES[plan['method']]} word vectors trained on {record.source['name']}",
        about=f"{plan['vocab_size']:,} words of {plan['vector_size']} numbers, trained with Plumbline on "
        f"{plan['words']:,} words ({plan['epochs']} epochs, {plan['window']} words to each side).{unknown}",
        scores=lines if len(lines) > 2 else ["Nothing was scored: no evaluation set shares words with the corpus."],
        scored="Scores are over the covered part: the pairs or questions all of whose words have a vector. In brackets "
        "the 95 % confidence interval.",
        code=f"""{_import(source, "snapshot_download")}from pipelines.models.static_vectors import StaticVectors

vectors = StaticVectors.load({folder})
print(vectors.vector({word})[:4])
print(vectors.nearest({word}, n=5))""",
        limits="The vectors repeat how words are used in their training text, its prejudices included.",
        library_name=None,
        tags=("word-vectors",),
        more=f"""Without Plumbline, `vectors.txt` is word2vec's text format:

```python
from gensim.models import KeyedVectors
{_import(source, "hf_hub_download")}
vectors = KeyedVectors.load_word2vec_format({text})
print(vectors.most_similar({word}, topn=5))
```""",
    )


def _import(source: str, name: str) -> str:
    return "" if source == "." else f"from huggingface_hub import {name}\n"
