"""What a tokenizer makes of text: how short, what it does not know, and what comes back. By split and by script."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.data.loading import text_batches
from pipelines.data.tokenization import token_bytes
from pipelines.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

    from pipelines.data.loading import Corpus

# First word of a letter's Unicode name -> script; all other letters, such as mathematical ones, are of none.
SCRIPTS = {
    name.upper(): name
    for name in (
        *("latin", "cyrillic", "greek", "arabic", "hebrew", "armenian", "georgian", "hangul", "ethiopic"),
        *("devanagari", "bengali", "gujarati", "gurmukhi", "kannada", "malayalam", "oriya", "sinhala", "tamil"),
        *("telugu", "thai", "lao", "khmer", "myanmar", "tibetan"),
    )
} | {"CJK": "han", "HIRAGANA": "kana", "KATAKANA": "kana"}
NO_SCRIPT = "other"
WITHOUT_BLANKS = ("han", "kana", "thai", "lao", "khmer", "myanmar", "tibetan")  # words do not stand apart
SPLIT_PREFIXES = {"validation": "eval", "test": "test", "train": "training"}
OF_SCRIPTS = ("documents", "bytes_per_token", "characters_per_token", "tokens_per_word", "unknown_rate")


@dataclass
class Tally:
    """What was counted on some documents; tallies add up."""

    documents: int = 0
    bytes: int = 0
    characters: int = 0
    words: int = 0
    """Runs of characters between blanks, in documents whose script sets words apart."""
    tokens: int = 0
    tokens_of_words: int = 0
    """Tokens of the documents whose words were counted."""
    unknown_tokens: int = 0
    unknown_characters: int = 0
    """Characters that unknown tokens stand for."""
    bytes_of_tokens: int = 0
    """As training counts them for bits per byte: the blanks before a token are the token's."""
    bytes_between: int = 0
    """Bytes of blanks that no token stands for."""
    surviving_characters: int = 0
    """Characters that the decoded documents still have, counted with repetition, wherever they stand."""
    exact_documents: int = 0
    """Documents that decode to themselves."""
    used: set[int] = field(default_factory=set)
    """Ids that occurred."""
    lost: Counter[str] = field(default_factory=Counter)
    """Characters that unknown tokens stand for."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            **{
                item.name: getattr(self, item.name) | getattr(other, item.name)
                if item.name == "used"
                else getattr(self, item.name) + getattr(other, item.name)
                for item in fields(self)
            }
        )

    def figures(self) -> dict[str, float]:
        """The rates, by name. tokens_per_word (fertility) is left out where most of the text has no words to count."""
        in_words = 2 * self.tokens_of_words > self.tokens
        words = {"tokens_per_word": self.tokens_of_words / self.words} if in_words else {}
        return {
            "bytes_per_token": self.bytes / self.tokens,
            "characters_per_token": self.characters / self.tokens,
            **words,
            "unknown_rate": self.unknown_tokens / self.tokens,
            "unknown_character_rate": self.unknown_characters / self.characters,
            "character_coverage": self.surviving_characters / self.characters,
            "round_trip_rate": self.exact_documents / self.documents,
        }


def measure(batches: Iterable[list[str]], tokenizer: "PreTrainedTokenizerFast") -> dict[str, Tally]:
    """Encodes and decodes documents, without special tokens, and counts.

    Args:
        batches: texts, none of them empty.
        tokenizer: a fast one.

    Returns:
        A tally for each script that documents are written in.

    Raises:
        DataError: characters other than blanks are in no token.
    """
    tallies: dict[str, Tally] = {}
    for texts in batches:
        encoded = tokenizer(
            texts,
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=True,
            verbose=False,
        )
        decoded = tokenizer.batch_decode(encoded["input_ids"], skip_special_tokens=True)  # leaves out unknown tokens
        for text, ids, offsets, back in zip(
            texts, encoded["input_ids"], encoded["offset_mapping"], decoded, strict=True
        ):
            tally = tallies.setdefault(script_of(text), Tally())
            _count(tally, text, ids, offsets, back, tokenizer.unk_token_id, script_of(text) not in WITHOUT_BLANKS)
    return tallies


def _count(
    tally: Tally, text: str, ids: list[int], offsets: list[tuple[int, int]], back: str, unk: int | None, words: bool
) -> None:
    tally.documents += 1
    tally.bytes += len(text.encode())
    tally.characters += len(text)
    tally.tokens += len(ids)
    tally.used.update(ids)
    if words:
        tally.words += len(text.split())
        tally.tokens_of_words += len(ids)
    if unk is not None:
        lost = "".join(text[slice(*span)] for token, span in zip(ids, offsets, strict=True) if token == unk)
        tally.unknown_tokens += ids.count(unk)
        tally.unknown_characters += len(lost)
        tally.lost.update(lost)
    tally.bytes_of_tokens += int(token_bytes(text, offsets).sum())
    tally.bytes_between += len(_between(text, offsets).encode())
    tally.exact_documents += back == text
    tally.surviving_characters += len(text) if back == text else (Counter(text) & Counter(back)).total()


def _between(text: str, offsets: list[tuple[int, int]]) -> str:
    """The characters that are in no token."""
    spans_T2 = np.array(offsets, dtype=np.int64).reshape(-1, 2)
    ends_T = np.concatenate(([0], np.maximum.accumulate(spans_T2[:, 1])))
    starts_T = np.append(spans_T2[:, 0], len(text))
    gaps = np.flatnonzero(starts_T > ends_T)
    between = "".join(text[ends_T[gap] : starts_T[gap]] for gap in gaps)
    if between.strip():
        raise DataError(
            f"The tokenizer passes over {between.strip()[:40]!r} in {text[:60]!r} without an unknown token."
        )
    return between


def script_of(text: str) -> str:
    """The script that most letters of a text are of; the first by name of several."""
    counts = Counter[str]()
    for character, count in Counter(text).items():
        script = _script_of_letter(character)
        if script is not None:
            counts[script] += count
    return min(counts, key=lambda script: (-counts[script], script)) if counts else NO_SCRIPT


@lru_cache(maxsize=100_000)
def _script_of_letter(character: str) -> str | None:
    if not character.isalpha():
        return None
    return SCRIPTS.get(unicodedata.name(character, "").split(" ")[0], NO_SCRIPT)


def evaluate_tokenizer(
    corpus: "Corpus", tokenizer: "PreTrainedTokenizerFast", max_documents: int | None
) -> tuple[dict[str, float], dict[str, Any], list[tuple[str, int]]]:
    """Measures a tokenizer on every split of the corpus that it was trained on.

    Args:
        corpus: its splits are measured.
        tokenizer: a fast one.
        max_documents: measure on so many documents of each split, evenly spread; None: on all.

    Returns:
        Figures as in `Tally.figures`, and vocabulary_used, the share of the entries that occurred: eval_<figure> for
        the validation split, eval_<script>_<figure> if it has several scripts, test_<figure>, training_<figure>. The
        receipt of each split. And the most frequent characters, over all splits, that the tokenizer does not know.

    Raises:
        DataError: text is lost without an unknown token, or the bytes of the tokens are not those of the text.
    """
    metrics: dict[str, float] = {}
    receipt: dict[str, Any] = {}
    lost = Counter[str]()
    special = set(tokenizer.all_special_ids)
    for split, prefix in SPLIT_PREFIXES.items():
        if split not in corpus.splits:
            continue
        tallies = measure(text_batches(spread(corpus.splits[split], max_documents)), tokenizer)
        whole = sum(tallies.values(), Tally())
        metrics |= {f"{prefix}_{name}": value for name, value in whole.figures().items()}
        metrics[f"{prefix}_vocabulary_used"] = len(whole.used - special) / (len(tokenizer) - len(special))
        if split == "validation":
            metrics |= {f"eval_{name}": getattr(whole, name) for name in ("documents", "tokens", "bytes")}
            for script, tally in sorted(tallies.items()) if len(tallies) > 1 else ():
                figures = {"documents": tally.documents, **tally.figures()}
                metrics |= {f"eval_{script}_{name}": figures[name] for name in OF_SCRIPTS if name in figures}
        receipt[split] = {"rows": corpus.receipt[split], "tokens": _receipt(whole)}
        lost += whole.lost
    return metrics, receipt, _unknown_alone(lost, tokenizer)


def compare(
    corpus: "Corpus", others: dict[str, "PreTrainedTokenizerFast"], max_documents: int | None
) -> dict[str, float]:
    """Figures of the validation split for tokenizers beside the one evaluated, and for bytes as tokens.

    Returns:
        baseline_<type>_<figure>, where bytes are a type too.
    """
    metrics: dict[str, float] = {}
    for kind, tokenizer in others.items():
        tallies = measure(text_batches(spread(corpus.splits["validation"], max_documents)), tokenizer)
        figures = sum(tallies.values(), Tally()).figures()
        metrics |= {f"baseline_{kind}_{name}": value for name, value in figures.items()}
    text_bytes = characters = 0
    for texts in text_batches(spread(corpus.splits["validation"], max_documents)):
        text_bytes += sum(len(text.encode()) for text in texts)
        characters += sum(map(len, texts))
    rates = {"bytes_per_token": 1.0, "characters_per_token": characters / text_bytes, "unknown_rate": 0.0}
    rates |= {"unknown_character_rate": 0.0, "character_coverage": 1.0, "round_trip_rate": 1.0}
    return metrics | {f"baseline_bytes_{name}": value for name, value in rates.items()}


def cut_examples(
    corpus: "Corpus", tokenizer: "PreTrainedTokenizerFast", examples: int = 4, characters: int = 120
) -> list[list[str]]:
    """The tokens of the beginnings of some held-out documents, each decoded by itself, line ends and tabs visible."""
    documents = spread(corpus.splits["validation"], examples)
    pieces = []
    for text in (text for texts in text_batches(documents) for text in texts):
        ids = tokenizer(text[:characters], add_special_tokens=False, split_special_tokens=True)["input_ids"]
        pieces.append([str(tokenizer.decode([token])).replace("\n", "↵").replace("\t", "⇥") for token in ids])
    return pieces


def spread(documents: "Dataset", most: int | None) -> "Dataset":
    """So many documents at even distances, or all if there are no more."""
    if most is None or len(documents) <= most:
        return documents
    return documents.select([place * len(documents) // most for place in range(most)])


def _receipt(tally: Tally) -> dict[str, int]:
    if tally.bytes_of_tokens != tally.bytes:
        raise DataError(
            f"The receipt does not close: the documents measured have {tally.bytes:,} bytes, their tokens "
            f"{tally.bytes_of_tokens:,}. This is a defect of Plumbline."
        )
    return {
        "documents_measured": tally.documents,
        "bytes_measured": tally.bytes,
        "bytes_of_tokens": tally.bytes_of_tokens,
        "bytes_between_tokens": tally.bytes_between,
        "unknown_tokens": tally.unknown_tokens,
        "text_tokens": tally.tokens,
        "tokens": tally.tokens,
    }


def _unknown_alone(lost: Counter[str], tokenizer: "PreTrainedTokenizerFast", most: int = 20) -> list[tuple[str, int]]:
    """Of the characters that were lost, the most frequent that are unknown by themselves, and not for their word."""
    found: list[tuple[str, int]] = []
    for character, count in sorted(lost.items(), key=lambda item: (-item[1], item[0])):
        ids = tokenizer(character, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        if len(found) < most and tokenizer.unk_token_id in ids:
            found.append((character, count))
    return found
