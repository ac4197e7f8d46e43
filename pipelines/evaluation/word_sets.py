"""What word vectors are measured on: pairs of words with a similarity, and analogies; shipped sets and one's own."""

import importlib.util
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pipelines.sections import WordVectorEvaluationConfig

# metric name -> file in gensim's test data. Finkelstein et al. (2002); Hill et al. (2015); Mikolov et al. (2013),
# "Efficient Estimation of Word Representations in Vector Space", section 4.1.
BUILTIN_SIMILARITY = {"wordsim353": "wordsim353.tsv", "simlex999": "simlex999.txt"}
BUILTIN_ANALOGIES = {"analogy": "questions-words.txt"}


@dataclass(frozen=True)
class EvaluationSets:
    """What vectors are measured on, by the name that it has in metrics.json."""

    similarity: dict[str, list[tuple[str, str, float]]] = field(default_factory=dict)
    """Pairs of words with their similarity as people see it."""
    analogies: dict[str, dict[str, list[tuple[str, str, str, str]]]] = field(default_factory=dict)
    """Section -> questions (a, b, c, d): a is to b as c is to d."""


def read_sets(config: "WordVectorEvaluationConfig") -> EvaluationSets:
    """Reads all sets that a config names, so that a mistake in one is told before anything is trained.

    Raises:
        ConfigError: two files have the same name.
        DataError: a file is missing or a line is not what was expected.
    """
    sets = EvaluationSets()
    similarity = {name: shipped(file) for name, file in BUILTIN_SIMILARITY.items() if config.builtin_sets}
    analogies = {name: shipped(file) for name, file in BUILTIN_ANALOGIES.items() if config.builtin_sets}
    for named, paths in ((similarity, config.similarity_files), (analogies, config.analogy_files)):
        for path in map(Path, [paths] if isinstance(paths, str) else paths or []):
            name = re.sub(r"\W+", "_", path.stem).lower()
            if name in similarity or name in analogies:
                raise ConfigError(f"Two evaluation sets would be called {name!r} in metrics.json. Rename {path}.")
            named[name] = path
    for name, path in similarity.items():
        sets.similarity[name] = read_similarity(path)
    for name, path in analogies.items():
        sets.analogies[name] = read_analogies(path)
    return sets


def shipped(name: str) -> Path:
    """A file of gensim's test data, found without importing gensim."""
    spec = importlib.util.find_spec("gensim")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            "evaluation.builtin_sets come with gensim, which is not installed. Run: pip install -e '.[embeddings]', or "
            "set --evaluation.builtin_sets false."
        )
    return Path(spec.submodule_search_locations[0]) / "test" / "test_data" / name


def read_similarity(path: Path) -> list[tuple[str, str, float]]:
    """The pairs of a similarity set: word, word and score on a line, parted by tabs, else by blanks.

    Empty lines and lines that begin with # are passed over; so is what stands behind the score.

    Raises:
        DataError: the file cannot be read, a line has no such three parts, or there are fewer than two pairs.
    """
    pairs = []
    for number, line in _lines(path):
        if line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split("\t")] if "\t" in line else line.split()
        try:
            pairs.append((parts[0], parts[1], _finite(parts[2])))
        except (IndexError, ValueError):
            raise DataError(
                f"{path}, line {number}: expected word, word and score, parted by tabs; found {line!r}. "
                "A line of headings must begin with #."
            ) from None
    if len(pairs) < 2:
        raise DataError(f"{path} has {len(pairs)} pairs of words; a rank correlation needs two.")
    return pairs


def read_analogies(path: Path) -> dict[str, list[tuple[str, str, str, str]]]:
    """Section -> questions of an analogy set: four words on a line, under lines such as `: capitals`.

    Raises:
        DataError: the file cannot be read, a line has not four words or stands above all sections, or none has.
    """
    sections: dict[str, list[tuple[str, str, str, str]]] = {}
    section = None
    for number, line in _lines(path):
        if line.startswith(":"):
            section = line[1:].strip() or "unnamed"
            sections.setdefault(section, [])
            continue
        words = line.split()
        if len(words) != 4 or section is None:
            expected = "four words, as in 'king man queen woman'" if section else "a section, as in ': capitals'"
            raise DataError(f"{path}, line {number}: expected {expected}; found {line!r}.")
        sections[section].append((words[0], words[1], words[2], words[3]))
    if not any(sections.values()):
        raise DataError(f"{path} has no questions. Expected lines of four words under lines such as ': capitals'.")
    return sections


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"The evaluation set {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"The evaluation set {path} is not UTF-8 text: {error}.") from None
    return [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value
