"""Write .npy files by ordinary writes: on a full disk they raise OSError, where a memory map would end the process."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import BinaryIO

import numpy as np


def write_array(file: BinaryIO, array: np.ndarray) -> None:
    """Write an array as numpy.save does. Raises OSError if the system refuses."""
    file.write(_header(array.dtype, array.shape))
    file.write(np.ascontiguousarray(array).data)


class RowWriter:
    """Write the rows of a matrix in a .npy file, in any order.

    ``start``: position of the first row in the file. ``has_values_N``: which rows got a value other than zero.
    """

    def __init__(self, file: BinaryIO, start: int, shape: tuple[int, int], dtype: np.dtype) -> None:
        self.file, self.start, self.dtype = file, start, dtype
        self.has_values_N = np.zeros(shape[0], dtype=bool)
        self.row_bytes = shape[1] * dtype.itemsize

    @classmethod
    def create(cls, file: BinaryIO, shape: tuple[int, int], dtype: np.dtype) -> RowWriter:
        """Make an empty file a matrix of zeros. Raises OSError if the system refuses, as all methods do."""
        header = _header(dtype, shape)
        file.write(header)
        file.truncate(len(header) + shape[0] * shape[1] * dtype.itemsize)
        return cls(file, len(header), shape, dtype)

    def write(self, row_N: np.ndarray, vector_ND: np.ndarray) -> None:
        """Write vectors into the rows ``row_N``; consecutive rows are written at once."""
        if not len(row_N):
            return
        self.has_values_N[row_N] = vector_ND.any(axis=1)
        bounds = [0, *(np.flatnonzero(np.diff(row_N) != 1) + 1).tolist(), len(row_N)]
        for first, last in pairwise(bounds):
            self.file.seek(self.start + int(row_N[first]) * self.row_bytes)
            self.file.write(np.ascontiguousarray(vector_ND[first:last], dtype=self.dtype).data)


def _header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, fields)
    return header.getvalue()
