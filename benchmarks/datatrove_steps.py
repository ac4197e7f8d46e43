"""The other side of `benchmarks/preparation_peer.py`: the same steps by datatrove, in the Python that has it.

python benchmarks/datatrove_steps.py whole CORPUS FOLDER [--language-model FILE]
python benchmarks/datatrove_steps.py steps CORPUS FOLDER [--language-model FILE]

`whole` is datatrove's own pipeline for FineWeb (its examples/fineweb.py) on one process, with the thresholds of
prepare_corpus, and leaves its output in FOLDER. `steps` prints, as JSON, the CPU seconds of each step by itself.
Needs no module of this repository.
"""

import argparse
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
)
from datatrove.pipeline.formatters import FTFYFormatter, PIIFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.pipeline.writers.parquet import ParquetWriter
from datatrove.utils.lid import FT176LID

BANDS, ROWS = 14, 8  # as its MinhashConfig has them, and FineWeb


def repairs() -> FTFYFormatter:
    """With the settings of pipelines/preparation/normalising.py."""
    return FTFYFormatter(unescape_html=False, fix_line_breaks=True, normalization="NFC")


def rules() -> list[Any]:
    """With the thresholds of QualityConfig; what has no counterpart there is off, or as it is by default."""
    return [
        GopherRepetitionFilter(dup_line_char_frac=0.1),
        GopherQualityFilter(),
        C4QualityFilter(
            filter_no_terminal_punct=False,
            min_num_sentences=3,
            min_words_per_line=-1,
            max_word_length=-1,
            remove_citations=False,
            filter_curly_bracket=False,
        ),
        FineWebQualityFilter(char_duplicates_ratio=0.1),
    ]


def language(model: str | None) -> list[Any]:
    """By fastText's model, from a file that is on this machine."""
    if model is None:
        return []
    FT176LID.MODEL_URL = model
    return [LanguageFilter("en")]


def whole(corpus: Path, folder: Path, model: str | None) -> None:
    """All steps, one process after the other."""
    config = MinhashConfig(n_grams=5, num_buckets=BANDS, hashes_per_bucket=ROWS)

    def run(name: str, steps: list[Any], tasks: int = 1) -> None:
        LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=str(folder / "logs" / name)).run()

    def part(name: str) -> str:
        return str(folder / name)

    reader = JsonlReader(str(corpus.parent), glob_pattern=corpus.name)
    run("filter", [reader, repairs(), *language(model), *rules(), JsonlWriter(part("filtered"), compression=None)])
    run("signatures", [JsonlReader(part("filtered")), MinhashDedupSignature(part("signatures"), config)])
    run("buckets", [MinhashDedupBuckets(part("signatures"), part("buckets"), config=config)], tasks=BANDS)
    run("cluster", [MinhashDedupCluster(part("buckets"), part("removed"), config=config)])
    scrub = PIIFormatter(email_replacement="<EMAIL>", ip_replacement="<IP>")
    last = [MinhashDedupFilter(part("removed")), scrub, ParquetWriter(part("output"), compression="zstd")]
    run("write", [JsonlReader(part("filtered")), *last])


def steps(corpus: Path, folder: Path, model: str | None) -> None:
    """CPU seconds of each step by itself, on all documents."""
    with corpus.open(encoding="utf-8") as lines:
        documents = [Document(json.loads(line)["text"], str(number)) for number, line in enumerate(lines)]
    signature = MinhashDedupSignature(
        str(folder / "unused"), MinhashConfig(n_grams=5, num_buckets=BANDS, hashes_per_bucket=ROWS)
    )
    repair, filters, scrub, lid = repairs(), rules(), PIIFormatter(), language(model)

    def judge(document: Document) -> None:
        for one in filters:
            if one.filter(document) is not True:
                break

    todo = {
        "repair": lambda document: repair.format(document.text),
        "language": (lambda document: lid[0].filter(document)) if lid else None,
        "quality": judge,
        "signatures": lambda document: signature.get_signature(signature.get_shingles(document.text)),
        "personal data": lambda document: scrub.format(document.text),
    }
    seconds = {}
    for name, work in todo.items():
        if work is not None:
            work(Document("The first document loads what a step needs. It is not timed. So it is.", "0"))
            begun = time.process_time()
            for document in documents:
                work(document)
            seconds[name] = time.process_time() - begun
    print(json.dumps(seconds))


def versions() -> None:
    """Of what the steps use."""
    names = ("datatrove", "spacy", "ftfy", "numpy", "pyarrow", "orjson")
    print(json.dumps({"python": sys.version.split()[0]} | {name: version(name) for name in names}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["whole", "steps", "versions"])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--language-model")
    given = parser.parse_args()
    if given.what == "versions":
        versions()
    else:
        {"whole": whole, "steps": steps}[given.what](given.corpus, given.folder, given.language_model)


if __name__ == "__main__":
    main()
