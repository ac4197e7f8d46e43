"""What streaming costs: memory, speed, start and seek, on a small and a large corpus.

python -m benchmarks.streaming TEXT_FILE --folder /tmp/streaming

Writes two corpora of json lines made of the paragraphs of TEXT_FILE (text, UTF-8), each with a number of its own so
that no two documents are the same; opens each in a process that trains the tokenizer, and reads blocks from it in a
second one, as training would; deletes them.
Memory is anonymous memory (RssAnon of proc(5)), sampled every 10 ms: mapped files do not count.

A late position is sought with counts that stand for a run that has come so far: those of the units read, repeated.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

SHARD_BYTES = 250_000_000
BLOCK_SIZE = 512
ROWS_PER_STEP = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--megabytes", type=float, nargs="+", default=[100, 5_000])
    parser.add_argument("--rows", type=int, default=16_384)
    parser.add_argument(
        "--measure", choices=("opening", "reading"), help=argparse.SUPPRESS
    )  # in a process of one corpus
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.folder, arguments.rows, arguments.measure == "reading")))
        return
    peaks = []
    for megabytes in arguments.megabytes:
        folder = arguments.folder / f"{megabytes:g}"
        try:
            write_corpus(arguments.text, folder, int(megabytes * 1e6))
            command = [sys.executable, "-m", "benchmarks.streaming", str(arguments.text), "--folder", str(folder)]
            environment = os.environ | {"PLUMBLINE_CACHE": str(folder / "cache")}
            figures = {}
            for part in ("opening", "reading"):
                whole = [*command, "--rows", str(arguments.rows), "--measure", part]
                done = subprocess.run(whole, env=environment, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(done.stderr)
                figures |= json.loads(done.stdout.splitlines()[-1])
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        peaks.append(figures["reading_peak_anonymous_megabytes"])
        print(f"{megabytes:g} MB")
        for name, value in figures.items():
            print(f"  {name:<40} {value:,.3f}", flush=True)
    print(f"peak of the last corpus / peak of the first: {peaks[-1] / peaks[0]:.3f}")


def write_corpus(text: Path, folder: Path, size: int) -> None:
    """Shards of json lines, `size` bytes in all."""
    folder.mkdir(parents=True)
    paragraphs = [one.strip() for one in text.read_text(encoding="utf-8").split("\n\n") if len(one) > 200]
    written = number = 0
    shard = 0
    while written < size:
        with (folder / f"{shard:05d}.jsonl").open("w", encoding="utf-8") as stream:
            room = min(SHARD_BYTES, size - written)
            while room > 0:
                start = number * 7 % len(paragraphs)
                body = "\n\n".join(paragraphs[start : start + 1 + number % 5])
                line = json.dumps({"text": f"No. {number}. {body}"}, ensure_ascii=False) + "\n"
                stream.write(line)
                taken = len(line.encode())
                room, written, number = room - taken, written + taken, number + 1
        shard += 1


class AnonymousMemory(threading.Thread):
    """Samples RssAnon of this process until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = 0
        self._stop_asked = threading.Event()

    def run(self) -> None:
        while not self._stop_asked.wait(0.01):
            self.peak_bytes = max(self.peak_bytes, anonymous_bytes())

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()


def anonymous_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def measure(folder: Path, rows: int, reads: bool) -> dict[str, float]:
    """Opens the corpus and, unless that was all that was asked for, reads so many rows of a run."""
    import numpy as np

    from pipelines.data.packing import TrainingBlocks
    from pipelines.data.streaming.counts import FIELDS
    from pipelines.data.streaming.opening import open_text
    from pipelines.sections import DataConfig, DataFiles, ModelConfig, TokenizerConfig

    memory = AnonymousMemory()
    memory.start()
    data = DataConfig(streaming=True, files=DataFiles(train=str(folder / "*.jsonl")), block_size=BLOCK_SIZE)
    started = time.perf_counter()
    text = open_text(data, TokenizerConfig(vocab_size=8_192), ModelConfig(), BLOCK_SIZE)
    figures = {f"{'open_again' if reads else 'open_and_train_tokenizer'}_seconds": time.perf_counter() - started}
    if not reads:
        memory.stop()
        return figures | {"opening_peak_anonymous_megabytes": memory.peak_bytes / 1e6}
    order: Any = text.train.order(0, ROWS_PER_STEP)
    run = TrainingBlocks(text.train, order, rows, rows)
    started = time.perf_counter()
    for place in range(ROWS_PER_STEP):
        run[place]
    figures["first_step_seconds"] = time.perf_counter() - started
    started = time.perf_counter()
    for place in range(ROWS_PER_STEP, rows):
        run[place]
    figures["blocks_per_second"] = (rows - ROWS_PER_STEP) / (time.perf_counter() - started)
    figures["tokens_per_second"] = figures["blocks_per_second"] * BLOCK_SIZE
    memory.stop()
    figures["reading_peak_anonymous_megabytes"] = memory.peak_bytes / 1e6
    figures["units"] = len(text.train.sources[0].trained)
    figures["rows"] = rows
    figures["estimated_blocks"] = len(text.train)

    counts, trained = order._counts[0], text.train.sources[0].trained
    known = counts.get(trained)
    typical = known[known[:, 0] >= 0][0]
    for unit in trained[known[:, 0] < 0].tolist():
        counts.put(unit, dict(zip(FIELDS, typical.tolist(), strict=True)), "")
    for name, place in (("early", rows // 2), ("late", int(0.9 * len(text.train)))):
        fresh: Any = text.train.order(0, ROWS_PER_STEP)
        started = time.perf_counter()
        for row in range(ROWS_PER_STEP):
            spot = fresh.lanes.find(place + row)
            fresh.reader(spot.source, spot.lane, run.rows).walk(spot.block)
        figures[f"seek_{name}_seconds"] = time.perf_counter() - started
        figures[f"seek_{name}_place"] = place
    assert np.all(counts.column(trained, "blocks") > 0)
    return figures


if __name__ == "__main__":
    main()
