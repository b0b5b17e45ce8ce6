"""Held-out pairs by user: which users are evaluated, and which pairs are refused."""

from __future__ import annotations

import pytest

from crossrec.errors import DataError
from crossrec.evaluation import HeldOut


def test_users_with_training_and_held_out_items_are_evaluated():
    split = HeldOut.build([0, 2, 3, 3], [0, 0, 1, 1], [3, 1, 2, 3, 2, 2, 2], [2, 1, 2, 2, 1, 0, 3], 4, 4)
    assert split.user_E.tolist() == [2, 3]
    assert split.count_E.tolist() == [4, 1]
    assert split.row_P.tolist() == [0, 0, 0, 0, 1]
    assert split.item_P.tolist() == [0, 1, 2, 3, 2]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (([0], [3], [0], [1]), "training item 3 is not among the 3 known"),
        (([0, 1], [0, 7], [0], [1]), "training item 7 is not among"),
        (([0], [0], [-1], [1]), "held-out user -1 is not among the 2 known"),
        (([0, 1], [0], [0], [1]), "training pairs: .* one length"),
    ],
)
def test_wrong_pairs_are_refused(pairs, message):
    with pytest.raises(DataError, match=message):
        HeldOut.build(*pairs, 2, 3)
