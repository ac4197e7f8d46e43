"""prepare_corpus beside datatrove: the same steps on the same text, in turn, each on one core.

python -m benchmarks.preparation_peer FILE FOLDER --peer-python PYTHON [--megabytes 50] [--pairs 3] [--language-model M]

FILE is as for `benchmarks.corpus_preparation`, which plants what is to be found. PYTHON is an interpreter that has
datatrove[io,processing] and spacy; all that is used of it is a command, benchmarks/datatrove_steps.py. M is fastText's
lid.176, for datatrove's step of languages; without it neither side looks at them.

CPU seconds are those of a whole process with its start; what runs beside it changes them little.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow.parquet as pq

from benchmarks.corpus_preparation import write_corpus

BANDS, ROWS = 14, 8  # those of datatrove_steps.py
REPOSITORY = Path(__file__).parents[1]
PEER = Path(__file__).with_name("datatrove_steps.py")
FLAGS = {
    "data.card": "null",
    "prepare.workers": "1",
    "exact_duplicates.enabled": "false",  # datatrove's pipeline has no such step; equal texts are near duplicates
    "near_duplicates.bands": str(BANDS),
    "near_duplicates.rows_per_band": str(ROWS),
    "near_duplicates.signature_size": str(BANDS * ROWS),
    "personal_data.kinds": "[email, ip]",
    "run.overwrite": "true",
}


@dataclass(frozen=True)
class Measured:
    """What a process took."""

    cpu_seconds: float
    seconds: float
    peak_memory_megabytes: float
    output: str


def measure(command: list[str], folder: Path) -> Measured:
    """Runs a command to its end; the CPU seconds are those of its children, too."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"}
    begun = time.monotonic()
    with (folder / "log").open("w+", encoding="utf-8") as log, (folder / "out").open("w+", encoding="utf-8") as out:
        process = subprocess.Popen(command, stdout=out, stderr=log, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{log.read()[-3_000:]}")
        out.seek(0)
        return Measured(used.ru_utime + used.ru_stime, time.monotonic() - begun, used.ru_maxrss / 1e3, out.read())


def our_steps(corpus: Path, language: bool) -> dict[str, float]:
    """CPU seconds of each step by itself, on all documents."""
    from pipelines.preparation.language import language_reason
    from pipelines.preparation.lines import remove_boilerplate
    from pipelines.preparation.minhash import signatures
    from pipelines.preparation.normalising import normalise
    from pipelines.preparation.personal_data import scrub
    from pipelines.preparation.quality import quality_reasons
    from pipelines.preparation_sections import LanguageConfig, QualityConfig

    with corpus.open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    rules, languages = QualityConfig(), LanguageConfig()
    todo: dict[str, Callable[[list[str]], Any]] = {
        "repair": lambda texts: [normalise(text) for text in texts],
        "quality": lambda texts: quality_reasons([remove_boilerplate(text, rules) for text in texts], rules),
        "signatures": lambda texts: signatures(texts, BANDS * ROWS, 5),
        "personal data": lambda texts: [scrub(text, ["email", "ip"]) for text in texts],
    }
    if language:
        todo["language"] = lambda texts: [language_reason(text, languages) for text in texts]
    seconds = {}
    for name, work in todo.items():
        work(texts[:1])  # loads what the step needs
        begun = time.process_time()
        for start in range(0, len(texts), 3_000):  # about a chunk of the recipe
            work(texts[start : start + 3_000])
        seconds[name] = time.process_time() - begun
    return seconds


def kept_rows(folder: Path, column: str) -> set[int]:
    """Rows of the corpus, from 1, that stand in Parquet files."""
    tables = [pq.read_table(path, columns=[column]) for path in sorted(folder.glob("*.parquet"))]
    values = [value for table in tables for value in table[column].to_pylist()]
    return {value if isinstance(value, int) else int(value.rsplit("/", 1)[1]) + 1 for value in values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--megabytes", type=float, default=50)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--language-model")
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    planted = write_corpus(given.source, folder, int(given.megabytes * 1e6))
    corpus = folder / "corpus.jsonl"
    with corpus.open(encoding="utf-8") as lines:
        sizes = [len(json.loads(line)["text"].encode()) for line in lines]
    megabytes = sum(sizes) / 1e6
    defaults = folder / "defaults.yaml"
    defaults.write_text("{}\n", encoding="utf-8")
    flags = FLAGS | {"data.files.train": str(corpus), "run.dir": str(folder / "ours"), "config": str(defaults)}
    flags["language.enabled"] = str(given.language_model is not None).lower()
    ours = [sys.executable, str(REPOSITORY / "recipes/prepare_corpus.py")]
    ours += [part for name, value in flags.items() for part in (f"--{name}", value)]
    model = ["--language-model", given.language_model] if given.language_model else []

    def theirs(what: str) -> list[str]:
        return [given.peer_python, str(PEER), what, str(corpus), str(folder / "theirs"), *model]

    told = json.loads(measure(theirs("versions"), folder).output)
    names = ("ftfy", "py3langid", "numpy", "pyarrow")
    here = {"python": platform.python_version()} | {name: version(name) for name in names}
    print(f"ours: {here}\ntheirs: {told}")
    runs: dict[str, list[Measured]] = {"ours": [], "theirs": []}
    for pair in range(given.pairs):
        for side, command in (("ours", ours), ("theirs", theirs("whole"))):
            shutil.rmtree(folder / side, ignore_errors=True)
            runs[side].append(measure(command, folder))
            one = runs[side][-1]
            print(f"pair {pair + 1}, {side}: {one.cpu_seconds:.1f} s of CPU, {one.seconds:.1f} s", flush=True)
    print(
        f"\n{len(sizes):,} rows, {megabytes:.1f} MB of text; MB for each second of CPU, median of {given.pairs} pairs"
    )
    print("| step | Plumbline | datatrove | times |\n|---|---|---|---|")
    rates = {side: megabytes / median(one.cpu_seconds for one in measured) for side, measured in runs.items()}
    print(f"| all, with start, reading and writing | {_row(rates['ours'], rates['theirs'])} |")
    peer_steps = json.loads(measure(theirs("steps"), folder).output)
    for name, seconds in our_steps(corpus, bool(model)).items():
        print(f"| {name} | {_row(megabytes / seconds, megabytes / peer_steps[name])} |")
    for side, measured in runs.items():
        print(f"peak memory of {side}: {max(one.peak_memory_megabytes for one in measured):.0f} MB")
    left = {
        "ours": kept_rows(folder / "ours/corpus", "source_row"),
        "theirs": kept_rows(folder / "theirs/output", "id"),
    }
    print("\n| | Plumbline | datatrove |\n|---|---|---|")
    for kind in ("no planted row", *dict.fromkeys(planted.values())):
        rows = {row for row in range(1, len(sizes) + 1) if planted.get(row, "no planted row") == kind}
        print(f"| {kind}: {len(rows):,} rows, kept | {len(rows & left['ours']):,} | {len(rows & left['theirs']):,} |")
    print(f"| kept by one alone | {len(left['ours'] - left['theirs']):,} | {len(left['theirs'] - left['ours']):,} |")


def _row(ours: float, theirs: float) -> str:
    return f"{ours:.2f} | {theirs:.2f} | {ours / theirs:.1f}"


if __name__ == "__main__":
    main()
