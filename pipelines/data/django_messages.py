"""`django_messages_fr`, `_de`, `_zh`: messages of Django's interface in English and their translations."""

import re
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from pipelines.data.builders import SPLITS, Fate, build_rows, sample_package
from pipelines.errors import DataError

VERSION = 1
HELD_OUT_SHARE = 0.1  # of the messages, for each of validation and test

_KEYWORD = re.compile(r'(msgctxt|msgid_plural|msgid|msgstr(?:\[\d+\])?)\s+(".*")')
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


class Message(NamedTuple):
    """An entry of a .po file; of an entry with plural forms, the singular."""

    source: str
    target: str
    is_fuzzy: bool  # the translator was not sure, or a program guessed


def django_messages_fr(cache_dir: Path) -> dict[str, Path]:
    """English to French, see `build_messages`."""
    return _build_installed("django_messages_fr", "fr", cache_dir)


def django_messages_de(cache_dir: Path) -> dict[str, Path]:
    """English to German, see `build_messages`."""
    return _build_installed("django_messages_de", "de", cache_dir)


def django_messages_zh(cache_dir: Path) -> dict[str, Path]:
    """English to Chinese in simplified characters, see `build_messages`."""
    return _build_installed("django_messages_zh", "zh_Hans", cache_dir)


def _build_installed(name: str, language: str, cache_dir: Path) -> dict[str, Path]:
    version, folder = sample_package(name, "django")
    return build_messages(name, language, folder, version, cache_dir)


def build_messages(
    name: str, language: str, folder: Path, version: str, cache_dir: Path, held_out_share: float = HELD_OUT_SHARE
) -> dict[str, Path]:
    """Parquet path of each split, columns source and target (str), from the .po files of a language below `folder`.

    Placeholders (`%(name)s`, `{}`) and line breaks stay; blanks around are cut. Dropped are entries `not_translated`,
    `fuzzy`, with `no_letters`, those whose source stood earlier (`repeated`) or is `known` (see `build_rows`). Sources
    that are near duplicates fall into one split; it depends on the English text alone, so languages agree.
    """
    import pyarrow as pa

    def read() -> Iterator[Fate]:
        from pipelines.data.near_duplicates import assign_splits

        paths = sorted(folder.rglob(f"locale/{language}/LC_MESSAGES/*.po"))
        messages = [message for path in paths for message in read_po(path)]
        splits, _, _ = assign_splits([message.source for message in messages], held_out_share)
        seen = set()
        for message, number in zip(messages, splits.tolist(), strict=True):
            if not message.target:
                yield SPLITS[number], "not_translated"
            elif message.is_fuzzy:
                yield SPLITS[number], "fuzzy"
            elif not re.search(r"[^\W\d_]", message.source):
                yield SPLITS[number], "no_letters"
            elif message.source in seen:
                yield SPLITS[number], "repeated"
            else:
                seen.add(message.source)
                yield SPLITS[number], {"source": message.source, "target": message.target}

    schema = pa.schema({"source": pa.string(), "target": pa.string()})
    key = {"version": VERSION, "django": version, "language": language, "held_out_share": held_out_share}
    return build_rows(name, key, cache_dir, schema, read, itemgetter("source"))


def read_po(path: Path) -> list[Message]:
    """The entries of a .po file, without its header (the entry of an empty msgid) and obsolete ones (`#~`).

    Raises DataError for a line that is neither a comment nor a keyword with a quoted string nor such a string.
    """
    found: list[Message] = []
    fields: dict[str, str] = {}
    flags = keyword = ""

    def finish() -> None:
        if fields.get("msgid"):
            target = fields.get("msgstr", fields.get("msgstr[0]", ""))
            found.append(Message(fields["msgid"].strip(), target.strip(), "fuzzy" in flags))
        fields.clear()

    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        line = line.strip()
        begins = _KEYWORD.fullmatch(line)
        # A comment belongs to the entry that follows it, and an entry begins with its context or its msgid.
        if "msgstr" in keyword and (line.startswith("#") or (begins and not begins[1].startswith("msgstr"))):
            finish()
            flags = keyword = ""
        if line.startswith("#,"):
            flags += line
        elif begins:
            keyword = begins[1]
            fields[keyword] = _unquoted(begins[2])
        elif keyword and len(line) > 1 and line[0] == line[-1] == '"':
            fields[keyword] += _unquoted(line)
        elif line and not line.startswith("#"):
            raise DataError(f"{path}, line {number}: expected a comment, a keyword or a quoted string, found {line!r}.")
    finish()
    return found


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text[1:-1])
