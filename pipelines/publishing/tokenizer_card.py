"""What the card of a tokenizer says."""

from pipelines.publishing.description import Description
from pipelines.publishing.record import Record
from pipelines.run_folder import RunFolder

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


def describe_tokenizer(record: Record, source: str) -> Description:
    """What the card of a tokenizer says."""
    plan, metrics = record.plan, record.metrics
    details = RunFolder(record.folder).read_json("examples.json", "unknown_characters", "segmentations")
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
    pieces = "\n\n".join("|".join(pieces) for pieces in details["segmentations"])
    cut = f"\n\nThe beginnings of some held-out documents, cut into tokens:\n\n~~~text\n{pieces}\n~~~"
    return Description(
        title=f"Tokenizer ({plan['type']}) trained on {record.source['name']}",
        about=f"{plan['entries']:,} entries, trained with Plumbline on {plan['train_documents']:,} documents "
        f"({plan['train_bytes']:,} bytes). It is {ABOUT[plan['type']]}.",
        scores=lines,
        scored=f"Most frequent characters that it does not know: {unknown}."
        if unknown
        else "No character was unknown.",
        code=f"""from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{source}")
ids = tokenizer("Any text.")["input_ids"]
print(tokenizer.convert_ids_to_tokens(ids))
print(tokenizer.decode(ids, skip_special_tokens=True))""",
        limits="It cuts texts like those that it was trained on into few tokens; texts of other languages, and code, "
        "into more.",
        tags=("tokenizer",),
        more=f"Special tokens: {', '.join(f'`{token}`' for token in plan['special_tokens'])}. A text that spells one "
        "is read as such; to read it as text, call the tokenizer with `split_special_tokens=True`, as Plumbline's "
        "recipes do." + cut * record.shows_rows,
    )


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.3f} %" if name in SHARES else f"{value:.3f}"
