"""Work by blocks of rows, shared out over processes; sums over all rows do not depend on how many there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from crossrec import parallel

LEVELS = 3
"""Levels of the binary tree in which blocks are added: as many as 2^3 processes each have a branch of their own."""


def row_blocks(rows: int, size: int) -> list[slice]:
    """Blocks of at most ``size`` rows."""
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def over_blocks(
    blocks: Sequence[slice],
    visit: Callable[[slice, Sequence[Tensor]], None],
    *,
    rows: Sequence[Tensor] = (),
    sums: Sequence[Tensor] = (),
) -> None:
    """Call ``visit(block, sums)`` for every block, each in one of the processes.

    ``visit`` fills the block's rows of the matrices ``rows``, and adds to its sums; all processes then have all of
    both. ``sums`` start as zeros. They are added in the order of a binary tree over the blocks, so that the result is
    the same, bit for bit, for any number of processes. Where there are fewer blocks than processes, each calls
    ``visit`` for all: the work is small then.
    """
    branches = min(parallel.size(), 1 << LEVELS).bit_length() - 1
    if len(blocks) < 1 << branches or not branches:
        _visit(blocks, visit, sums, 0)
        return
    shares = [_branch(blocks, branches, number) for number in range(parallel.size())]
    _visit(shares[parallel.rank()], visit, sums, branches)
    for branch in range(branches if parallel.rank() < 1 << branches else 0):
        for total in sums:
            parallel.add_from(parallel.rank() ^ (1 << branch), total)
    if parallel.size() > 1 << branches:
        for total in sums:
            parallel.hand_out(total)
    for matrix in rows:
        parallel.fill_rows(matrix, [slice(s[0].start, s[-1].stop) if s else slice(0, 0) for s in shares])


def _visit(
    blocks: Sequence[slice], visit: Callable[[slice, Sequence[Tensor]], None], sums: Sequence[Tensor], level: int
) -> None:
    if level == LEVELS or len(blocks) < 2 or not sums:
        for block in blocks:
            visit(block, sums)
        return
    left, right = _halves(blocks)
    _visit(left, visit, sums, level + 1)
    of_right = [total.new_zeros(total.shape) for total in sums]
    _visit(right, visit, of_right, level + 1)
    for total, more in zip(sums, of_right, strict=True):
        total += more


def _halves(blocks: Sequence[slice]) -> tuple[Sequence[slice], Sequence[slice]]:
    middle = -(-len(blocks) // 2)
    return blocks[:middle], blocks[middle:]


def _branch(blocks: Sequence[slice], levels: int, number: int) -> Sequence[slice]:
    """The blocks of branch ``number`` of those that the tree has at a level; none beyond the last."""
    if number >= 1 << levels:
        return []
    for level in reversed(range(levels)):
        blocks = _halves(blocks)[number >> level & 1]
    return blocks
