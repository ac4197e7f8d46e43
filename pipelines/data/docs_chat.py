"""`docs_chat`: short conversations about functions and classes, made of the parts of their docstrings.

It comes from the splits of `installed_docs`: a docstring stays in the split that its cluster fell into there.
"""

import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.data.builders import Fate, build_rows
from pipelines.data.docs_summaries import MIN_DESCRIPTION, SUMMARY_CHARACTERS, docs_key, shortened
from pipelines.data.docstrings import Entry, entries, first_sentence, one_line, take_apart
from pipelines.data.installed_docs import installed_docs, is_prose, read_documents

VERSION = 1
SEED = 6
TRAIN_SHARE = 0.4  # of the docstrings of train, that all conversations be a few thousand
SYSTEM_SHARE = 0.25
FOLLOW_UP_SHARE = 0.6  # of the conversations in which something is left to ask
MAX_ANSWER = 400  # characters
MAX_PARAMETERS = 8

SYSTEMS = (
    "You answer questions about Python packages from their documentation.",
    "You are a helpful programming assistant. Answer briefly.",
    "Answer in one or two sentences.",
)
OPENINGS = {
    "what": (
        "What does `{name}` do?",
        "What is `{name}` for?",
        "Can you tell me what `{name}` does?",
        "I came across `{name}`. What is it?",
        "Explain `{name}` in one sentence.",
    ),
    "parameters": (
        "Which parameters does `{name}` take?",
        "What are the parameters of `{name}`?",
        "What can I pass to `{name}`?",
    ),
}
FOLLOW_UPS = {
    "parameter": ("What is `{name}`?", "And what is its parameter `{name}`?", "What does `{name}` mean there?"),
    "returned": ("And what does it return?", "What do I get back?", "What is the result?"),
    "more": ("Can you say more?", "Tell me more about it.", "Is there anything else I should know?"),
}


def docs_chat(cache_dir: Path) -> dict[str, Path]:
    """Conversations about the docstrings installed here, see `build_chat`."""
    return build_chat(installed_docs(cache_dir), cache_dir)


def build_chat(docs: Mapping[str, Path], cache_dir: Path, train_share: float = TRAIN_SHARE) -> dict[str, Path]:
    """Parquet path of each split, columns messages (role and content of each) and name (str).

    The user asks what something does or which parameters it takes, and in some rows goes on to ask for one parameter,
    the returned value or more; some rows begin with a system message. The assistant answers with pieces of the
    docstring, on one line and without the markup of cross-references. Dropped are docstrings that were `not_drawn` (a
    share of train is), of a `private_name`, of which there is `nothing_to_ask`, and answers that are `repeated` or
    `known` (see `build_rows`).
    """
    import pyarrow as pa

    def read() -> Iterator[Fate]:
        seen = set()
        for split, document in read_documents(docs):
            draw = random.Random(f"{SEED} {document.name} {document.text}")
            name = public_name(document.name)
            if split == "train" and draw.random() >= train_share:
                yield split, "not_drawn"
            elif name is None:
                yield split, "private_name"
            elif not (messages := conversation(name, document.text, draw)):
                yield split, "nothing_to_ask"
            elif messages[-1]["content"] in seen:
                yield split, "repeated"
            else:
                seen.add(messages[-1]["content"])
                yield split, {"messages": messages, "name": document.name}

    message = pa.struct({"role": pa.string(), "content": pa.string()})
    schema = pa.schema({"messages": pa.list_(message), "name": pa.string()})
    key = docs_key(VERSION, docs) | {"train_share": train_share}
    return build_rows("docs_chat", key, cache_dir, schema, read, _answers)


def _answers(row: dict[str, Any]) -> str:
    return " ".join(message["content"] for message in row["messages"] if message["role"] == "assistant")


def conversation(name: str, text: str, draw: random.Random) -> list[dict[str, str]]:
    """The messages of a conversation about a docstring as drawn; none if it answers no opening question."""
    parts, table = take_apart(text), entries(text)
    answers = {"what": _summary(parts.summary), "parameters": _parameters(table)}
    possible = [kind for kind, answer in answers.items() if answer]
    if not possible:
        return []
    opening = draw.choice(possible)
    turns = [(draw.choice(OPENINGS[opening]).format(name=name), answers[opening])]
    follow_ups = []
    for kind in ("parameter", "returned"):
        told = [(entry.name, plain(first_sentence(text[slice(*entry.body)]))) for entry in table
                if entry.kind == kind and entry.name and entry.body is not None]  # fmt: skip
        told = [(entry, answer) for entry, answer in told if len(answer) <= MAX_ANSWER and " " in answer]
        if told and (kind == "parameter" or len(told) == 1):
            follow_ups.append((kind, *draw.choice(told)))
    if opening == "what" and len(parts.description) >= MIN_DESCRIPTION and is_prose(parts.description):
        follow_ups.append(("more", "", plain(shortened(parts.description))))
    if follow_ups and draw.random() < FOLLOW_UP_SHARE:
        kind, entry, answer = draw.choice(follow_ups)
        turns.append((draw.choice(FOLLOW_UPS[kind]).format(name=entry), answer))
    system = [{"role": "system", "content": draw.choice(SYSTEMS)}] if draw.random() < SYSTEM_SHARE else []
    return system + [
        {"role": role, "content": content}
        for turn in turns
        for role, content in zip(("user", "assistant"), turn, strict=True)
    ]


def public_name(name: str) -> str | None:
    """A dotted name without the modules whose name begins with an underscore; None if what it names is private.

    `numpy.fft._pocketfft.ifft` becomes `numpy.fft.ifft`; a function inside a function, or a name or class that begins
    with an underscore, is private.
    """
    *path, last = name.split(".")
    if last.startswith("_") or any(part == "<locals>" or re.match("_+[A-Z]", part) for part in path):
        return None
    return ".".join([*(part for part in path if not part.startswith("_")), last])


def plain(text: str) -> str:
    """Text on one line, cross-references (:func:`~numpy.sum`) and double backticks as code in single backticks."""
    line = re.sub(r":(?:\w+:)+`~?([^`<]+?)(?:\s*<[^`]*>)?`", r"`\1`", one_line(text))
    return re.sub(r"``([^`]+)``", r"`\1`", line)


def _summary(summary: str) -> str:
    least, most = SUMMARY_CHARACTERS
    return plain(summary) if least <= len(summary) <= most and re.fullmatch(r"[A-Z].*\.", summary) else ""


def _parameters(table: list[Entry]) -> str:
    """`It takes ...`, if every line of the tables of parameters names one and they are at most `MAX_PARAMETERS`."""
    names = [f"`{entry.name}`" for entry in table if entry.kind == "parameter"]
    if not names or "``" in names or len(names) > MAX_PARAMETERS:
        return ""
    if len(names) == 1:
        return f"It takes one parameter, {names[0]}."
    return f"It takes {', '.join(names[:-1])} and {names[-1]}."
