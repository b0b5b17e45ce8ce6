"""Top-K with a fixed order of ties, and rows of CSR tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from crossrec.ops.csr import csr_rows
from crossrec.ops.topk import exact_topk, stable_topk, users_per_chunk


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 5, 100]), st.integers(1, 30), st.integers(1, 35))
def test_stable_topk_equals_a_stable_sort(seed, levels, columns, k):
    draw = torch.Generator().manual_seed(seed)
    score = torch.randint(0, levels, (4, columns), generator=draw).float()
    score[0, ::2] = -torch.inf
    index_CK, score_CK = stable_topk(score, k)
    expected = score.sort(dim=1, descending=True, stable=True)
    assert torch.equal(index_CK, expected.indices[:, :k])
    assert torch.equal(score_CK, expected.values[:, :k])


def test_exact_topk_is_exact_and_ties_go_to_the_lower_index():
    draw = torch.Generator().manual_seed(0)
    item = torch.randn(500, 16, generator=draw)
    item[100:300] = item[100]  # far more equal scores than the margin
    user = torch.cat([item[100:101] * 3, torch.randn(6, 16, generator=draw), torch.zeros(1, 16)])
    position, score = exact_topk(user, item, 9)
    for row in range(8):
        exact = (item.double() @ user[row].double()).float()
        order = sorted(range(500), key=lambda i: (-float(exact[i]), i))[:9]
        assert position[row].tolist() == order
        assert score[row].tolist() == exact[order].tolist()
    assert position[7].tolist() == list(range(9))
    assert exact_topk(user, item, 900)[0].shape == (8, 500)


@pytest.mark.parametrize("numbers", [1, 16 * 7, 16 * 130])
def test_exact_scores_do_not_depend_on_the_blocks(numbers, monkeypatch):
    draw = torch.Generator().manual_seed(1)
    user, item = torch.randn(5, 16, generator=draw), torch.randn(300, 16, generator=draw)
    whole = exact_topk(user, item, 111)
    monkeypatch.setattr("crossrec.ops.topk.MAX_NUMBERS", numbers)
    assert all(map(torch.equal, exact_topk(user, item, 111), whole))


def test_a_chunk_bounds_scores_and_list_entries():
    assert users_per_chunk(1000, 10) == 1024
    assert users_per_chunk(1 << 20, 10) == 16
    assert users_per_chunk(20_000, 20_000) == 52
    assert users_per_chunk(10**9, 10**9) == 1


def test_csr_rows_by_hand():
    """Rows [7, 8], [], [9] of a table; any order, repeats allowed."""
    indptr, values = np.array([0, 2, 2, 3]), np.array([7, 8, 9])
    position, value = csr_rows(indptr, values, np.array([2, 0, 1, 0]))
    assert position.tolist() == [0, 1, 1, 3, 3]
    assert value.tolist() == [9, 7, 8, 7, 8]
