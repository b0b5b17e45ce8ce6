"""Tables of which every process has some of the columns or rows (``crossrec.parallel``), and how they become whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from crossrec import parallel
from crossrec.ops.row_blocks import row_blocks

ROWS = 1 << 16
"""Rows of a table that processes hand over at a time."""


def own_columns(matrix_NL: Tensor) -> Tensor:
    """A copy of the columns that this process has of a matrix that is divided by columns, (N, about L / W)."""
    part = parallel.column_parts(matrix_NL.shape[1])[parallel.rank()]
    return matrix_NL[:, part].clone(memory_format=torch.contiguous_format)


def whole_columns(own_NC: Tensor, columns: int) -> Tensor:
    """All ``columns`` columns of a matrix of which every process has its own, (N, L); each process has the same rows.

    Differentiable: all processes compute the same gradient, and each hands on that of its columns.
    """
    whole: Tensor = _WholeColumns.apply(own_NC, columns)  # type: ignore[no-untyped-call]
    return whole


class _WholeColumns(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own_NC: Tensor, columns: int) -> Tensor:
        widths = [part.stop - part.start for part in parallel.column_parts(columns)]
        whole = own_NC.new_empty(len(own_NC), columns)
        for block in row_blocks(len(own_NC), ROWS):
            pieces = [own_NC.new_empty(block.stop - block.start, width) for width in widths]
            pieces[parallel.rank()] = own_NC.detach()[block].contiguous()
            parallel.exchange(pieces)
            torch.cat(pieces, dim=1, out=whole[block])
        return whole

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return own_columns(grad), None


@dataclass(frozen=True)
class Divided:
    """A tensor of a ``shape`` in parts: ``part`` is this process's columns of it, or its part of all numbers in a row.

    It stands for the whole where tensors are written to a file: the first process gets it from ``pieces``, or from
    ``detach``, which all processes call in the same order.
    """

    part: Tensor
    by: Literal["columns", "numbers"]
    shape: torch.Size

    @property
    def dtype(self) -> torch.dtype:
        return self.part.dtype

    @property
    def itemsize(self) -> int:
        return self.part.itemsize

    def numel(self) -> int:
        return self.shape.numel()

    def pieces(self) -> Iterator[Tensor]:
        """The whole in the first process, one piece of its numbers after the other; nothing in the others."""
        own = self.part.detach().contiguous()
        if self.by == "columns":
            for block in row_blocks(self.shape[0], ROWS):
                size = torch.Size([block.stop - block.start, self.shape[1]])
                whole = Divided(own[block], "columns", size).to(0)
                if whole is not None:
                    yield whole
            return
        for number, part in enumerate(parallel.parts(self.numel(), parallel.VECTOR)):
            if parallel.is_main():
                yield parallel.receive(number, own.new_empty(part.stop - part.start)) if number else own
            elif parallel.rank() == number:
                parallel.send(0, own)

    def detach(self) -> Tensor:
        """The whole in the first process, the part in the others."""
        whole = self.to(0)
        return self.part.detach() if whole is None else whole

    def to(self, process: int) -> Tensor | None:
        """The whole in one process, None in the others. All call it."""
        own = self.part.detach().contiguous()
        if parallel.rank() != process:
            parallel.send(process, own)
            return None
        shapes: list[tuple[int, ...]]
        if self.by == "columns":
            shapes = [(self.shape[0], part.stop - part.start) for part in parallel.column_parts(self.shape[1])]
        else:
            shapes = [(part.stop - part.start,) for part in parallel.parts(self.numel(), parallel.VECTOR)]
        pieces = [
            own if number == process else parallel.receive(number, own.new_empty(shape))
            for number, shape in enumerate(shapes)
        ]
        return torch.cat(pieces, dim=-1).view(self.shape)
