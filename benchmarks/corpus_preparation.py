"""What prepare_corpus finds of what is planted in real text, and how fast.

python -m benchmarks.corpus_preparation FILE FOLDER [--megabytes 200] [--workers 1]

FILE holds English prose as JSON lines with the column text, such as passages of books. Its first distinct documents are
written to FOLDER/corpus.jsonl with planted rows between them, the recipe is run on that, and a table is printed: for
each filter how many of its planted rows that no rule before it had dropped it found (recall), and how many of all rows
that it dropped were its own planted ones (precision; rows of FILE count against it, rightly dropped or not).
"""

import argparse
import importlib
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EVERY = 40  # one row in so many is planted
KINDS = ("exact_duplicate", "near_duplicate", "other_language", "boilerplate", "personal_data", "contaminated")
FOREIGN = (
    "Der Zug nach {0} fährt heute wegen der Bauarbeiten erst um {1} Uhr ab, und die Reisenden bitten wir um Geduld.",
    "Le train pour {0} partira à {1} heures à cause des travaux, et les voyageurs sont priés de patienter.",
    "El tren con destino a {0} saldrá hoy a las {1} debido a las obras, y se ruega a los viajeros que esperen.",
    "Il treno per {0} partirà oggi alle ore {1} a causa dei lavori, e i viaggiatori sono pregati di avere pazienza.",
)
POLICY = ("This site uses cookies, {0} of them.", "Read our privacy policy of {0}.", "Please enable JavaScript ({0}).")


def plant(kind: str, text: str, number: int, draw: random.Random) -> str:
    """A row of a kind, made of a text that stands in the corpus or, where it must not, does not."""
    words = text.split()
    if kind == "exact_duplicate":
        return "  ".join(words).upper() if number % 2 else text
    if kind == "near_duplicate":  # one word in 100 is another: a Jaccard similarity of 5-grams of about 0.9
        for place in range(draw.randrange(100), len(words), 100):
            words[place] = f"{number}{words[place]}"
        return " ".join(words)
    if kind == "other_language":
        line = FOREIGN[number % len(FOREIGN)]
        return " ".join(line.format(draw.choice(words).strip(".,;"), draw.randrange(24)) for _ in range(6))
    if kind == "boilerplate":
        return "\n".join(line.format(number) for line in POLICY)
    half = len(words) // 2
    if kind == "personal_data":
        told = f"Ask reader{number}@library-of-books.org or +44 20 7946 {number % 10_000:04}."
        return " ".join([*words[:half], told, *words[half:]])
    return " ".join([*words[:half], evaluation_row(number), *words[half:]])


def evaluation_row(number: int) -> str:
    """Thirteen words that stand nowhere else."""
    return " ".join(f"q{number}x{place}" for place in range(13))


def write_corpus(source: Path, folder: Path, size: int) -> dict[int, str]:
    """Writes corpus.jsonl and test.jsonl; returns row (from 1) -> kind of what is planted."""
    draw, planted, seen = random.Random(1), dict[int, str](), set[int]()
    fresh, number, row, written = list[str](), 0, 0, 0

    def distinct() -> Iterator[str]:
        with source.open(encoding="utf-8") as lines:
            for line in lines:
                text = json.loads(line)["text"]
                if (key := hash(text)) not in seen and len(text) > 1_000:
                    seen.add(key)
                    yield text

    texts = distinct()
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as corpus:
        while written < size:
            text, row = next(texts), row + 1
            if row % EVERY:
                fresh.append(text)
            else:
                kind = KINDS[number % len(KINDS)]
                base = draw.choice(fresh) if kind.endswith("duplicate") else text
                text = plant(kind, base, number, draw)
                planted[row] = kind
                number += 1
                if kind.endswith("duplicate"):
                    fresh.remove(base)  # so that each is copied once
            corpus.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            written += len(text.encode())
            fresh = fresh[-2_000:]
    with (folder / "test.jsonl").open("w", encoding="utf-8") as rows:
        for one in range(number):
            if KINDS[one % len(KINDS)] == "contaminated":
                rows.write(json.dumps({"text": evaluation_row(one)}) + "\n")
    return planted


def main() -> None:
    from pipelines.run import run_recipe

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--workers", default="1")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    planted = write_corpus(given.source, given.folder, int(given.megabytes * 1e6))
    run = given.folder / f"run-{given.workers}"
    flags = ["--data.card", "null", "--data.files.train", str(given.folder / "corpus.jsonl"), "--run.dir", str(run)]
    flags += ["--decontamination.evaluation_sets", str(given.folder / "test.jsonl"), "--prepare.samples", "1000000"]
    flags += ["--prepare.workers", given.workers, "--run.overwrite", "true", "--config"]
    recipe = _recipe()
    begun = time.monotonic(), _cpu_seconds()
    assert run_recipe(recipe.main, recipe.Config, recipe.__file__, [*flags, str(_config(given.folder))]) == 0
    seconds, cpu = time.monotonic() - begun[0], _cpu_seconds() - begun[1]
    report(run, planted)
    size = json.loads((run / "metrics.json").read_text())["bytes_read"] / 1e6
    print(
        f"\n{size:.0f} MB, {given.workers} worker(s): {seconds:.0f} s, {cpu:.0f} s of CPU: {size / cpu:.2f} MB a CPU s"
    )
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"peak memory of the largest process {peak / 1e3:.0f} MB")


def report(run: Path, planted: dict[int, str]) -> None:
    """The table."""
    samples = json.loads((run / "samples.json").read_text(encoding="utf-8"))["samples"]
    reasons = {
        int(one["output"].rsplit(" ", 1)[1].replace(",", "")): one["reference"].split("\n")[0] for one in samples
    }
    receipt = json.loads((run / "receipt.json").read_text(encoding="utf-8"))["train"]
    wanted, dropped = Counter(planted.values()), Counter(reasons.values())
    hits = Counter(kind for row, kind in planted.items() if reasons.get(row) == kind)
    print("| filter | planted | dropped before it | found | recall of the rest | dropped in all | precision |")
    print("|---|---|---|---|---|---|---|")
    for kind in KINDS:
        if kind == "personal_data":
            continue
        before = sum(one == kind and reasons.get(row, kind) != kind for row, one in planted.items())
        recall, share = hits[kind] / (wanted[kind] - before), hits[kind] / max(dropped[kind], 1)
        print(f"| {kind} | {wanted[kind]} | {before} | {hits[kind]} | {recall:.3f} | {dropped[kind]} | {share:.3f} |")
    stayed = sum(row not in reasons for row, kind in planted.items() if kind == "personal_data")
    print(f"personal data: {stayed} planted rows stayed, replaced {receipt['personal_data_replaced']}")
    others = {reason: count for reason, count in dropped.most_common() if reason not in KINDS}
    rest = sum(row not in planted for row in reasons)
    print(
        f"{receipt['rows']['rows_read']:,} rows; {rest:,} that are not planted were dropped; by other rules: {others}"
    )


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _config(folder: Path) -> Path:
    path = folder / "defaults.yaml"  # those of the sections, not of the embedded corpus
    path.write_text("{}\n", encoding="utf-8")
    return path


def _recipe() -> Any:
    sys.path.insert(0, str(Path(__file__).parents[1] / "recipes"))
    return importlib.import_module("prepare_corpus")


if __name__ == "__main__":
    main()
