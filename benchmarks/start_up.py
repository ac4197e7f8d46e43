"""Seconds from the command of a pretraining run to its first optimizer step, on a corpus that is cached.

python -m benchmarks.start_up FILE [--repeat 3] [--cache FOLDER] [flags of the recipe]

FILE is the corpus, such as JSON lines with the column text. The recipe runs once to fill the cache (what is cached
already is not made again), then --repeat times from the command to step 1, each in a process and run folder of its own.
A line each: seconds until the first line of steps.jsonl is on the disk, seconds of CPU time until then, peak memory.
Memory is anonymous memory, sampled ten times a second: mapped pages of the corpus, which the system takes back at will,
do not count.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["--proof.enabled", "false", "--training.max_steps", "2", "--run.stop_at_step", "1"]
FLAGS += ["--training.eval_strategy", "no"]
STOPPED = 130  # exit code of a run that run.stop_at_step has ended
SAMPLE_SECONDS = 0.1


@dataclass(frozen=True)
class Start:
    """One start, up to its first optimizer step."""

    seconds: float
    cpu_seconds: float
    peak_anonymous_bytes: int


def start(corpus: Path, flags: list[str], folder: Path) -> Start:
    """Runs the recipe up to step 1, in a new run folder in `folder`."""
    run = folder / "run"
    recipe = ROOT / "recipes/pretrain_clm.py"
    command = [sys.executable, str(recipe), "--data.files.train", str(corpus), *FLAGS, *flags, "--run.dir", str(run)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    told = folder / "told.txt"
    with told.open("w") as sink:
        begun = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=sink, stderr=sink)
        seconds = cpu_seconds = 0.0
        peak = 0
        while process.poll() is None:
            if not seconds:
                peak, cpu_seconds = max(peak, _anonymous_bytes(process.pid)), _cpu_seconds(process.pid) or cpu_seconds
                if (steps := run / "steps.jsonl").is_file() and steps.stat().st_size:
                    seconds = time.perf_counter() - begun
            time.sleep(SAMPLE_SECONDS)
    if process.returncode != STOPPED or not seconds:
        raise SystemExit(f"exit code {process.returncode}:\n{told.read_text()[-3_000:]}")
    return Start(seconds, cpu_seconds, peak)


def _anonymous_bytes(pid: int) -> int:
    """proc_pid_status(5); 0 if the process has just ended."""
    lines = _read(pid, "status").splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:")), 0)


def _cpu_seconds(pid: int) -> float:
    """utime + stime of all threads, proc_pid_stat(5); 0 if the process has just ended."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cache", type=Path, help="in place of $PLUMBLINE_CACHE")
    given, flags = parser.parse_known_args()
    if given.cache is not None:
        os.environ["PLUMBLINE_CACHE"] = str(given.cache.resolve())
    print(f"{given.corpus.stat().st_size / 1e9:.2f} GB, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for number in range(given.repeat + 1):
        with tempfile.TemporaryDirectory() as folder:
            found = start(given.corpus, flags, Path(folder))
        which = f"start {number}" if number else "filling the cache"
        told = f"{found.seconds:.1f} s to the first step, {found.cpu_seconds:.1f} s of CPU"
        print(f"{which}: {told}, peak {found.peak_anonymous_bytes / 1e6:,.0f} MB anonymous memory", flush=True)


if __name__ == "__main__":
    main()
