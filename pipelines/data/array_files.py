"""Arrays written to a file piece by piece, for those that no memory holds."""

import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np


class ArrayWriter:
    """Writes one array of one axis, whose length shows at the end: the file that np.save makes of all pieces joined.

    Args:
        path: of the .npy file; it is not valid before the `with` block is left.
        dtype: of the array.
    """

    def __init__(self, path: Path, dtype: np.typing.DTypeLike) -> None:
        self.path, self.dtype = path, np.dtype(dtype)
        self.length = 0
        """Elements so far."""

    def __enter__(self) -> "ArrayWriter":
        self._stream: BinaryIO = self.path.open("wb")
        self._write_header()
        return self

    def append(self, piece_N: np.ndarray) -> None:
        """Writes more elements, which must fit the dtype without loss of kind (int64 lists become int32)."""
        self._stream.write(np.ascontiguousarray(piece_N, self.dtype).data)
        self.length += len(piece_N)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                data_starts_at = self._header_bytes
                self._stream.seek(0, os.SEEK_SET)
                self._write_header()
                assert self._header_bytes == data_starts_at  # numpy leaves room for 21 digits of the first axis
        finally:
            self._stream.close()

    def _write_header(self) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(self._stream, header)
        self._header_bytes = self._stream.tell()
