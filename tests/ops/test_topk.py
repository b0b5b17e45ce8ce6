"""Top-K with a fixed order of ties, the index by cosine, and rows of CSR tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from crossrec.ops.csr import absent_columns, csr_rows
from crossrec.ops.topk import MAX_ENTRIES, CosineIndex, exact_topk, max_norm, stable_topk, users_per_chunk


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


def best(user, item, k, masked=(), excluded=()):
    """Indices and scores of each user's best items: a sort by exact score, then by index. Without what is left out."""
    lists = []
    for row, vector in enumerate(user.double()):
        score = [float(value) for value in (item.double() @ vector).float()]
        left_out = {i for r, i in masked if r == row} | set(excluded)
        order = sorted(set(range(len(item))) - left_out, key=lambda i: (-score[i], i))[:k]
        lists.append((order, [score[i] for i in order]))
    return lists


@pytest.mark.parametrize("k", [1, 3, 20, 44, 45, 60, 99])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("leave_out", ["nothing", "pairs", "items", "both", "nearly all"])
def test_exact_topk_by_a_sort(k, transposed, leave_out):
    draw = torch.Generator().manual_seed(k)
    user, item = torch.randint(-9, 10, (5, 4), generator=draw).float(), torch.randint(-9, 10, (60, 4), generator=draw)
    item, pairs, excluded = item.float(), [], []
    if leave_out in ("pairs", "both"):
        pairs = [(1, 7), (1, 8), (4, 0), (0, 59), *((3, i) for i in range(0, 60, 2))]
    if leave_out in ("items", "both"):
        excluded = [2, 7, 31]
    if leave_out == "nearly all":
        pairs = [(row, i) for row in range(5) for i in range(60) if i not in (4, 5, 50 + row)]
    index, score = exact_topk(
        user,
        item,
        k,
        tuple(np.array(part) for part in zip(*pairs, strict=True)) if pairs else None,
        excluded=np.array(excluded) if excluded else None,
        item_SA=item.T.contiguous() if transposed else None,
        max_item_norm=40.0 if transposed else None,
    )
    assert index.dtype == torch.int64
    for row, (order, values) in enumerate(best(user, item, k, pairs, excluded)):
        assert index[row, : len(order)].tolist() == order
        assert score[row].tolist() == values + [float("-inf")] * (min(k, 60) - len(order))
        assert len(set(index[row].tolist())) == min(k, 60)


@pytest.mark.parametrize("lengths", [(1.0, 1.0), (1e4, 1.0), (1.0, 1e4), (1e-3, 1e3), (1e-3, 1e-3)])
@pytest.mark.parametrize("bound", [None, 1.001])
@pytest.mark.parametrize(("masked", "excluded"), [((), ()), (((0, 1), (0, 7), (0, 50)), (2, 60))])
def test_rounding_of_float32_never_decides_who_is_in_a_list(lengths, bound, masked, excluded):
    """300 items whose scores differ by less than float32 products err, behind three that are clearly best."""
    draw = torch.Generator().manual_seed(1)
    base = torch.nn.functional.normalize(torch.randn(64, generator=draw, dtype=torch.float64), dim=0)
    item = base + 1e-8 * torch.randn(400, 64, generator=draw, dtype=torch.float64)
    item[:3] *= torch.tensor([[1.2], [1.3], [1.1]])
    item[300:] *= 0.5
    user, item = (base * lengths[0]).float()[None], (item * lengths[1]).float()
    rough = user[0] @ item.T
    rough[[*(index for _, index in masked), *excluded]] = -torch.inf
    rough = rough.topk(9 + 16).indices
    expected = best(user, item, 9, masked, excluded)
    assert not set(expected[0][0]) <= set(rough.tolist()), "float32 alone errs here"
    longest = None if bound is None else bound * 1.3 * lengths[1]
    pairs = (np.zeros(len(masked), dtype=np.int64), np.array([index for _, index in masked], dtype=np.int64))
    left_out = np.array(excluded, dtype=np.int64)
    index, score = exact_topk(user, item, 9, pairs, excluded=left_out, max_item_norm=longest)
    assert [(index[0].tolist(), score[0].tolist())] == expected


def test_scores_do_not_depend_on_who_is_scored_together(monkeypatch):
    draw = torch.Generator().manual_seed(2)
    user, item = torch.randn(7, 5, generator=draw), torch.randn(50, 5, generator=draw)
    together = exact_topk(user, item, 6)
    monkeypatch.setattr("crossrec.ops.topk.MAX_NUMBERS", 11)
    for row in range(7):
        alone = exact_topk(user[row : row + 1], item, 6)
        assert [part[0].tolist() for part in alone] == [part[row].tolist() for part in together]


def test_lists_of_nothing():
    index, score = exact_topk(torch.ones(2, 3), torch.ones(4, 3), 0)
    assert index.shape == score.shape == (2, 0)
    index, score = exact_topk(torch.ones(2, 3), torch.zeros(0, 3), 5)
    assert index.shape == score.shape == (2, 0)
    assert max_norm(torch.zeros(0, 3)) == 0
    assert max_norm(torch.tensor([[3.0, 4.0], [1.0, 0.0]])) == 5


@pytest.mark.parametrize(
    ("items", "k", "users"),
    [(0, 1, 1024), (10, 1, 1024), (1 << 24, 1, 1), (1 << 25, 1, 1), (1 << 16, 1, 256), (10, 1 << 30, 1), (10, 0, 1024)],
)
def test_users_scored_at_a_time(items, k, users):
    assert users_per_chunk(items, k) == users
    assert isinstance(users_per_chunk(items, k), int)
    assert users_per_chunk(10, MAX_ENTRIES // 5) == 5


@pytest.mark.parametrize("present", [range(30), range(0, 30, 3)])
def test_cosine_index_by_a_sort(present):
    draw = torch.Generator().manual_seed(3)
    table = torch.randn(30, 4, generator=draw)
    table[6] = 3 * table[0]
    has_vector = torch.zeros(30, dtype=torch.bool)
    has_vector[list(present)] = True
    index = CosineIndex(table, has_vector)
    assert len(index) == len(present)
    unit = torch.nn.functional.normalize(table.double(), dim=1)
    asked = np.array([6, 9, 1, 0])
    rows, nearest, cosine = index.neighbors(asked, 3)
    assert rows.tolist() == [row for row in asked.tolist() if row in present]
    for row, near, values in zip(rows.tolist(), nearest.tolist(), cosine.tolist(), strict=True):
        others = [i for i in present if i != row]
        expected = sorted(others, key=lambda i: -float(unit[i] @ unit[row]))[:3]
        assert near == expected
        np.testing.assert_allclose(values, [float(unit[i] @ unit[row]) for i in expected], atol=1e-6)
    nearest, cosine = index.search(unit[[12]].float(), 2)
    assert nearest[0].tolist() == sorted(present, key=lambda i: -float(unit[i] @ unit[12]))[:2]
    # all but one left out: the list ends there
    some = min(4, len(present) - 1)
    left_out = (np.zeros(len(present) - some, dtype=int), np.arange(len(present) - some))
    nearest, cosine = index.search(unit[[12]].float(), len(present), left_out)
    assert cosine[0].isfinite().sum() == some
    assert cosine[0, some:].tolist() == [float("-inf")] * (len(present) - some)
    assert sorted(nearest[0, :some].tolist()) == list(present)[len(present) - some :]


@pytest.mark.parametrize("seed", range(4))
def test_absent_columns_by_a_loop(seed):
    draw = np.random.default_rng(seed)
    present = draw.random((6, 7)) < 0.5
    present[2], present[3, 1:] = False, True
    present[3, 0] = False
    row_K, column_K = np.nonzero(present)
    for row in range(6):
        absent = [c for c in range(7) if not present[row, c]]
        ranks = np.arange(len(absent))
        actual = absent_columns(row_K * 7 + column_K, 7, np.full(len(absent), row), ranks)
        assert actual.tolist() == absent
