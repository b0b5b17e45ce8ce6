"""Split interactions into train, valid and test: of each user at random or the latest, or of all users by two dates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, Protocol

import numpy as np

from crossrec.data.config import Split
from crossrec.data.io.codes import code_counts
from crossrec.data.io.parse_log import TEST, TRAIN, VALID, InteractionLog
from crossrec.data.io.time_bounds import encode_split_bound
from crossrec.errors import ConfigError, setting
from crossrec.randomness import numpy_generator

BLOCK = 2**20
"""Interactions sorted at a time."""


class SplitConfig(Protocol):
    """The settings of a split, as those of a data set and of an import have them."""

    @property
    def split(self) -> Split | Literal["none"]: ...
    @property
    def split_seed(self) -> int: ...
    @property
    def valid_from(self) -> str | None: ...
    @property
    def test_from(self) -> str | None: ...


def check_split(config: SplitConfig) -> None:
    """Raise ConfigError for bounds of a split by date where there is another split."""
    for name, text in (("valid_from", config.valid_from), ("test_from", config.test_from)):
        if text is not None and config.split != "date":
            raise ConfigError(
                f"{setting(name, text)}: says nothing with {setting('split', config.split)}; "
                f"add {setting('split', 'date')}, or leave it out"
            )


def split_log(log: InteractionLog, config: SplitConfig, tell: Callable[[str], None]) -> np.ndarray:
    """Return a new split of every row of ``log``, int8 (N,): 0 train, 1 valid, 2 test.

    ``auto`` and ``given`` split at random. ``tell``: called with what a split by date leaves out of evaluation. Raises
    ConfigError for bounds that do not suit the times, or that leave a split without rows.
    """
    if config.split == "date":
        return _split_by_date(log, config, tell)
    scheme = config.split if config.split in ("time", "leave_one_out") else "random"
    return make_split(log.user_N, log.item_N, log.time_N, scheme, numpy_generator(config.split_seed, "split"))


def _split_by_date(log: InteractionLog, config: SplitConfig, tell: Callable[[str], None]) -> np.ndarray:
    """Rows before the first bound train, those from the second on test, the rows between validate."""
    time_N = log.time_N
    assert time_N is not None
    texts = {"valid_from": config.valid_from or "80%", "test_from": config.test_from or "90%"}
    bounds = [encode_split_bound(log.times, time_N, text, setting(name)) for name, text in texts.items()]
    valid, test = (
        setting(name, text) + (f" ({log.times.decode(np.array([bound]))[0]})" if text.endswith("%") else "")
        for (name, text), bound in zip(texts.items(), bounds, strict=True)
    )
    times = log.times.range_text(time_N.min(), time_N.max())
    if bounds[0] >= bounds[1]:
        raise ConfigError(
            f"{valid} is not before {test}; {times}; give an earlier "
            f"{setting('valid_from')} or a later {setting('test_from')}"
        )
    split_N = (time_N >= bounds[0]).astype(np.int8) + (time_N >= bounds[1]).astype(np.int8)
    for label, what in ((TRAIN, f"before {valid}"), (VALID, f"from {valid} to {test}"), (TEST, test)):
        if not (split_N == label).any():
            raise ConfigError(
                f"{setting('split', 'date')}: no interaction {what}; {times}; give other bounds, such as 80% and 90%"
            )
    (users, of_users), (items, of_items) = (_only_held_out(code_N, split_N) for code_N in (log.user_N, log.item_N))
    if users or items:
        tell(
            f"split date, {valid}, {test}: {users:,} users have no training row and are left out of evaluation, with "
            f"{of_users}; {items:,} items have none and are ranked as cold items, in {of_items}"
        )
    return split_N


def _only_held_out(code_N: np.ndarray, split_N: np.ndarray) -> tuple[int, str]:
    """The number of users, or of items, that occur in held-out rows alone, and the share of these rows, as text."""
    new_N = (code_counts(code_N, split_N == TRAIN) == 0)[code_N]
    held_out = ((VALID, "validation"), (TEST, "test"))
    rows = (f"{(new_N & (split_N == n)).sum():,} of {(split_N == n).sum():,} {name} rows" for n, name in held_out)
    return len(np.unique(code_N[new_N])), " and ".join(rows)


def by_user(user_N: np.ndarray, size: int = BLOCK) -> Iterator[np.ndarray]:
    """Yield the rows of the interactions grouped by user, in blocks of at most ``size`` rows or of one user.

    Users ascend; the rows of a user keep their order; a block has all rows of its users. Memory: some 10 bytes per
    interaction; time is linear.
    """
    from scipy.sparse import coo_array

    total = len(user_N)
    if not total:
        return
    # a matrix with one cell for every (user, row): its conversion to CSR is a counting sort
    kind = np.int32 if total < 2**31 else np.int64
    cells = coo_array((np.zeros(total, dtype=bool), (user_N.astype(kind, copy=False), np.arange(total, dtype=kind))))
    cells.has_canonical_format = True
    grouped = cells.tocsr()
    row_N, start_U = grouped.indices, grouped.indptr
    begin = 0
    while begin < total:
        end = int(start_U[np.searchsorted(start_U, begin + size, side="right") - 1])
        if end <= begin:
            end = int(start_U[np.searchsorted(start_U, begin, side="right")])
        yield row_N[begin:end]
        begin = end


def make_split(
    user_N: np.ndarray,
    item_N: np.ndarray,
    time_N: np.ndarray | None,
    scheme: Literal["random", "time", "leave_one_out"],
    generator: np.random.Generator,
) -> np.ndarray:
    """Return the split of every interaction, int8 (N,): 0 train, 1 valid, 2 test.

    A user with n interactions gives k each to validation and test, k = max(1, n // 10) for ``random`` and ``time``
    (80-10-10), k = 1 for ``leave_one_out``; all interactions of a user with fewer than three are for training.
    ``random`` draws them; ``time`` and ``leave_one_out`` take the latest for test and the next latest for validation
    (of equal times the higher item row counts as later); ``leave_one_out`` without times draws. The result depends on
    the set of interactions and the generator, not on the order of the rows.
    """
    split_N = np.full(len(user_N), TRAIN, dtype=np.int8)
    time_N = None if scheme == "random" else time_N
    for rows in by_user(user_N):
        row_B = rows[np.lexsort((item_N[rows], user_N[rows]))]
        rank_B = generator.integers(2**31, size=len(row_B)) if time_N is None else time_N[row_B]
        row_B = row_B[np.lexsort((rank_B, user_N[row_B]))]
        _, count_U = np.unique(user_N[row_B], return_counts=True)
        later_B = np.repeat(np.cumsum(count_U), count_U) - 1 - np.arange(len(row_B))  # later rows of the same user
        held_U = np.ones_like(count_U) if scheme == "leave_one_out" else np.maximum(1, count_U // 10)
        held_B = np.repeat(np.where(count_U < 3, 0, held_U), count_U)
        split_N[row_B] = np.where(later_B < held_B, TEST, np.where(later_B < 2 * held_B, VALID, TRAIN))
    return split_N
