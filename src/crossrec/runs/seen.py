"""The interactions that a run knows: what its lists leave out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from crossrec.data import Dataset
from crossrec.ops.csr import sorted_unique


def seen_items(dataset: Dataset) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The items of every user in all splits, by user and sorted.

    Returns row pointers (U + 1,), items (N,), and which of them are training items and which are test items alone,
    bool (N,). A pair that is in several splits counts once, as one of the first of them.
    """
    splits, items = (dataset.train, dataset.valid, dataset.test), max(dataset.num_items, 1)
    key_N = sorted_unique(
        np.concatenate([(part.user_N * items + part.item_N) * 3 + number for number, part in enumerate(splits)])
    )
    split_N = (key_N % 3).astype(np.int8)
    key_N //= 3
    is_first_N = np.diff(key_N, prepend=-1) > 0
    key_N, split_N = key_N[is_first_N], split_N[is_first_N]
    indptr = np.searchsorted(key_N, np.arange(dataset.num_users + 1) * items)
    key_N %= items
    return tuple(map(torch.from_numpy, (indptr, key_N, split_N == 0, split_N == 2)))  # type: ignore[return-value]
