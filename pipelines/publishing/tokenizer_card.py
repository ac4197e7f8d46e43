"""The card of a tokenizer: README.md of a run's model folder, made of the run's own figures."""

from pathlib import Path
from typing import Any

ROWS = {
    "bytes_per_token": "bytes per token",
    "characters_per_token": "characters per token",
    "tokens_per_word": "tokens per word",
    "unknown_rate": "unknown tokens",
    "character_coverage": "characters that survive",
    "round_trip_rate": "documents that come back exactly",
}
SHARES = ("unknown_rate", "character_coverage", "round_trip_rate")
ABOUT = {
    "bpe": "byte-level BPE: it knows every text, and every text comes back from its tokens exactly",
    "unigram": "unigram over bytes: it knows every text, and every text comes back from its tokens exactly",
    "wordpiece": "WordPiece as in BERT, cased: tabs, line ends and runs of blanks do not come back, and a word with a "
    "character that it has no entry for is one unknown token",
    "char": "one entry per character; other characters are unknown tokens",
}


def write_tokenizer_card(
    folder: Path,
    plan: dict[str, Any],
    metrics: dict[str, float],
    details: dict[str, Any],
    corpus: str,
    licence: str | None,
) -> None:
    """Writes README.md with the Hub's metadata, what the tokenizer is, its figures, and how to load it.

    Args:
        folder: the model folder.
        plan: content of plan.json.
        metrics: final figures.
        details: content of examples.json: unknown characters, and documents as they are cut.
        corpus: name of the training data.
        licence: the data card's licence; that of the tokenizer is its author's to choose.
    """
    columns = {"this tokenizer": "eval_"} | {
        name.removeprefix("baseline_").removesuffix("_bytes_per_token"): name.removesuffix("bytes_per_token")
        for name in metrics
        if name.startswith("baseline_") and name.endswith("_bytes_per_token")
    }
    lines = [f"| on the validation split | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for name, label in ROWS.items():
        if f"eval_{name}" in metrics:
            cells = [_cell(name, metrics.get(f"{prefix}{name}")) for prefix in columns.values()]
            lines.append(f"| {label} | {' | '.join(cells)} |")
    unknown = ", ".join(
        f"{character if character.isprintable() else ''} U+{ord(character):04X} ({count:,})".strip()
        for character, count in details["unknown_characters"]
    )
    cut = "\n\n".join("|".join(pieces) for pieces in details["segmentations"])
    (folder / "README.md").write_text(
        f"""---
library_name: transformers
tags: [plumbline, tokenizer]
---

# Tokenizer ({plan["type"]}) trained on {corpus}

{plan["entries"]:,} entries, trained with Plumbline on {plan["train_documents"]:,} documents ({plan["train_bytes"]:,}
bytes). Licence of the training data: {licence or "not stated"}.

It is {ABOUT[plan["type"]]}.

{chr(10).join(lines)}

{f"Most frequent characters that it does not know: {unknown}." if unknown else "No character was unknown."}

```python
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
ids = tokenizer("Any text.")["input_ids"]
print(tokenizer.convert_ids_to_tokens(ids))
print(tokenizer.decode(ids, skip_special_tokens=True))
```

Special tokens: {", ".join(f"`{token}`" for token in plan["special_tokens"])}. A text that spells
one is read as such; to read it as text, call the tokenizer with `split_special_tokens=True`, as Plumbline's recipes do.

The beginnings of some held-out documents, cut into tokens:

~~~text
{cut}
~~~
""",
        encoding="utf-8",
    )


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.3f} %" if name in SHARES else f"{value:.3f}"
