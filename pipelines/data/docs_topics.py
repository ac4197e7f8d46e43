"""`docs_topics`: which package a docstring describes, from its prose alone.

It comes from the splits of `installed_docs`: a docstring stays in the split that its cluster fell into there.
"""

import re
from collections.abc import Iterator, Mapping
from operator import itemgetter
from pathlib import Path

from pipelines.data.builders import Fate, build_rows
from pipelines.data.docs_summaries import docs_key
from pipelines.data.docstrings import take_apart
from pipelines.data.installed_docs import installed_docs, is_prose, read_documents

VERSION = 1
# The eleven packages with the most docstrings (of the next one, the held-out splits hold next to none), in the order
# of the alphabet: the label is the place in this list.
TOPICS = (
    "huggingface_hub", "matplotlib", "networkx", "numpy", "pandas", "python", "scikit-learn", "scipy", "sympy",
    "torch", "transformers",
)  # fmt: skip
MIN_CHARACTERS = 80
MASK = "PACKAGE"

_NAMES = (
    "huggingface[_ ]hub|hugging ?face|matplotlib|pyplot|pylab|networkx|numpy|pandas|c?python|"
    "scikit[- ]learn|sklearn|scipy|sympy|(?:py)?torch|transformers?"
)
_ALIASES = "np|pd|plt|mpl|nx|hf"
# A name with what it is qualified by (`torch.nn.Linear`), an alias where it qualifies, a name by itself.
_QUALIFIED = re.compile(rf"\b(?:(?i:{_NAMES})|{_ALIASES})\.(?:\w+\.)*(?=\w)")
_BARE = re.compile(rf"\b(?:{_NAMES})(?![^\W_])", re.IGNORECASE)
_EXAMPLE = re.compile(r"^[ \t]*>>>.*(?:\n[ \t]*\S.*)*", re.MULTILINE)


def docs_topics(cache_dir: Path) -> dict[str, Path]:
    """Packages of the docstrings installed here, see `build_topics`."""
    return build_topics(installed_docs(cache_dir), cache_dir)


def build_topics(docs: Mapping[str, Path], cache_dir: Path) -> dict[str, Path]:
    """Parquet path of each split, columns text (str), label (place in `TOPICS`) and name (str).

    `text` is summary and description of a docstring: no tables, which would tell a package by their style, and no
    interactive examples, which would tell it by its import. The names of all these packages are taken out: see
    `without_names`. Dropped are `other_package`, `little_prose` (no capital letter first, less than 80 characters left,
    or too few of them in words), `repeated` (the text stood earlier) and `known` (see `build_rows`).
    """
    import pyarrow as pa

    def read() -> Iterator[Fate]:
        seen = set()
        for split, document in read_documents(docs):
            parts = take_apart(document.text)
            text = without_names(_EXAMPLE.sub("", f"{parts.summary}\n\n{parts.description}")).strip()
            if document.package not in TOPICS:
                yield split, "other_package"
            elif not re.match("[A-Z]", text) or len(text) < MIN_CHARACTERS or not is_prose(text):
                yield split, "little_prose"
            elif text in seen:
                yield split, "repeated"
            else:
                seen.add(text)
                yield split, {"text": text, "label": TOPICS.index(document.package), "name": document.name}

    schema = pa.schema({"text": pa.string(), "label": pa.int64(), "name": pa.string()})
    return build_rows("docs_topics", docs_key(VERSION, docs), cache_dir, schema, read, itemgetter("text"))


def without_names(text: str) -> str:
    """The text without the names of the packages and their usual aliases.

    `torch.nn.Linear` and `np.sum` become `Linear` and `sum`; a name by itself, in any case, becomes `MASK`.
    "Transformer" is a name here, whatever it means.
    """
    return _BARE.sub(MASK, _QUALIFIED.sub("", text))
