"""The interactions that a run knows: what its lists leave out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from crossrec.data import Dataset


def seen_items(dataset: Dataset) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The items of every user in all splits, by user and sorted.

    Returns row pointers (U + 1,), items (N,), and which of them are training items and which are test items alone,
    bool (N,). A pair that is in several splits counts once.
    """
    splits = dataset.train, dataset.valid, dataset.test
    train, valid, test = (part.user_N * dataset.num_items + part.item_N for part in splits)
    key_N = np.unique(np.concatenate([train, valid, test]))
    user_N, item_N = np.divmod(key_N, max(dataset.num_items, 1))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(user_N, minlength=dataset.num_users))])
    trained_N, validated_N = np.isin(key_N, train), np.isin(key_N, valid)
    tested_N = ~trained_N & ~validated_N
    return torch.from_numpy(indptr), torch.from_numpy(item_N), torch.from_numpy(trained_N), torch.from_numpy(tested_N)
