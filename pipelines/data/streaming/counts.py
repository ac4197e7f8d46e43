"""What is known of the units of a stream once they were tokenized, kept in a file that all processes share.

With it a place of a run is found without tokenizing what stands before it. A record is written as a whole by whichever
process tokenizes a unit first; the others write the same.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import DataError

FIELDS = (
    *("rows_read", "null", "empty", "bytes", "documents", "text_tokens", "unknown_tokens"),
    # positions: of blocks with padding, or of rows of a denoising without; digest: of the texts
    *("blocks", "targets", "positions", "tokens_in_rows", "parts_too_short", "tokens_too_short", "documents_cut"),
    "digest",
)
SEAL = 0x5EA1  # makes a record of noughts, which no process has written, an unknown one
_COLUMN = {name: column for column, name in enumerate(FIELDS)}
_RECORD_BYTES = 8 * (len(FIELDS) + 1)
# Odd numbers: a change of one field changes their sum.
_FACTORS = np.array([2 * (0x9E3779B97F4A7C15 * (column + 1) & 0x3FFFFFFF) + 1 for column in range(len(FIELDS))])


class UnitCounts:
    """Records of int64 counts, one for each unit.

    Args:
        path: of the file, made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)

    def __del__(self) -> None:
        os.close(self._file)

    def get(self, units: np.ndarray) -> np.ndarray:
        """The records of some units, int64 (units, FIELDS); -1 throughout where a unit is not known."""
        raw = b"".join(
            os.pread(self._file, _RECORD_BYTES, unit * _RECORD_BYTES).ljust(_RECORD_BYTES, b"\0")
            for unit in units.tolist()
        )
        records = np.frombuffer(raw, dtype="<i8").reshape(-1, len(FIELDS) + 1)
        known = records[:, -1] == _seals(records[:, :-1])
        return np.where(known[:, None], records[:, :-1], -1)

    def column(self, units: np.ndarray, name: str) -> np.ndarray:
        """One count of some units, int64; -1 where a unit is not known."""
        counts: np.ndarray = self.get(units)[:, _COLUMN[name]]
        return counts

    def put(self, unit: int, counts: dict[str, int], where: str) -> None:
        """Writes the record of a unit, or compares it with the one that is there.

        Raises:
            DataError: the unit was another one when it was counted; `where` names it.
        """
        record = np.array([[counts[name] for name in FIELDS]], dtype=np.uint64).astype(np.int64)
        before = self.get(np.array([unit]))
        if (before[0] != -1).any():
            if not np.array_equal(before, record):
                raise DataError(
                    f"{where} holds another text than when it was first read for this run. Put the file of the start "
                    "back, or start anew with --run.overwrite true after deleting the cache folder (PLUMBLINE_CACHE)."
                )
            return
        data = np.concatenate((record, _seals(record)[:, None]), axis=1).astype("<i8").tobytes()
        os.pwrite(self._file, data, unit * _RECORD_BYTES)


def as_dict(record: Any) -> dict[str, int]:
    """A record, or a sum of records, by name."""
    return {name: int(record[column]) for name, column in _COLUMN.items()}


def _seals(records: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        seals: np.ndarray = (records * _FACTORS).sum(axis=1) ^ SEAL
    return seals
