"""The memory of this process: what it holds, what it held at most, and what is left."""

import contextlib
import resource
import sys
from pathlib import Path

import torch


class PeakMemory:
    """The peak of this process's memory since the last reset.

    On CUDA what the allocator has handed out. Elsewhere the resident set: Linux keeps its high-water mark, which a 5
    written to clear_refs resets (proc(5)); where that cannot be written, the mark of the whole life of the process.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def reset(self) -> None:
        """Starts anew from what is held now."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        """The most that was held since."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return self._status("VmHWM")

    def now_bytes(self) -> int:
        """What is held now."""
        if self.device.type == "cuda":
            return torch.cuda.memory_allocated(self.device)
        return self._status("VmRSS")

    def _status(self, name: str) -> int:
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
            return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
        except (OSError, StopIteration):  # no Linux
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def free_bytes(device: torch.device) -> int | None:
    """Memory that can still be taken, or None where that is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
