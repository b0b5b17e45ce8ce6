"""Vector functions and basic losses against the slow reference and PyTorch's own."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity
from torch.nn.functional import cross_entropy

from crossrec.losses import bpr, embedding_norm, info_nce, logsumexp_dot
from crossrec.ops.blockwise import exp2_rows_
from crossrec.ops.vectors import gather_rows, l2_normalize, zero_like

from . import reference as ref
from .worlds import close, double, numbers, randn


def with_zero_row(seed, *shape):
    table = randn(seed, *shape)
    table[seed % shape[0]] = 0
    return table


def test_l2_normalize_by_hand():
    # 3-4-5 triangle; a zero row stays zero
    close(l2_normalize(double([[3.0, 4.0], [0.0, 0.0], [0.0, -2.0]])), [[0.6, 0.8], [0.0, 0.0], [0.0, -1.0]])


@pytest.mark.parametrize("seed", range(3))
def test_l2_normalize_and_cosine(seed):
    left, right = with_zero_row(seed, 5, 3), with_zero_row(seed + 7, 5, 3)
    close(l2_normalize(left), [ref.unit(row) for row in numbers(left)])
    cosine = (l2_normalize(left) * l2_normalize(right)).sum(-1)
    close(cosine, [ref.cosine(a, b) for a, b in zip(numbers(left), numbers(right), strict=True)])
    close(cosine, cosine_similarity(left.numpy(), right.numpy()).diagonal().tolist())


def test_l2_normalize_of_tiny_and_huge_vectors():
    # the length of a vector must not matter, down to and up to where float64 itself ends
    for scale in (1e-30, 1e-9, 1.0, 1e30):
        close(l2_normalize(double([[3.0, 4.0]]) * scale), [[0.6, 0.8]])


def test_zero_row_passes_no_gradient():
    table = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float64, requires_grad=True)
    (l2_normalize(table) * torch.tensor([[1.0, 2.0], [1.0, 0.0]])).sum().backward()
    # d(x/‖x‖)/dx at (3, 4): (1 - .36)/5 = .128 and -.48/5 = -.096
    close(table.grad, [[0.0, 0.0], [0.128, -0.096]])


def test_gather_rows():
    table = randn(1, 4, 3)
    index = torch.tensor([2, 0, 2])
    close(gather_rows(table, index), table[index])


def test_bpr():
    positive, negative = randn(2, 6), randn(3, 6)
    close(bpr(positive, negative), ref.bpr(numbers(positive), numbers(negative)))
    # equal scores: log 2 each
    close(bpr(positive, positive), math.log(2))


def test_embedding_norm():
    tables = [randn(seed, 4, 3) for seed in range(3)]
    close(embedding_norm(*tables), ref.embedding_norm(*[numbers(table) for table in tables]))
    # ‖(3, 4 / 0, 0)‖ = 5 over two rows, not squared
    close(embedding_norm(double([[3.0, 4.0], [0.0, 0.0]])), 5 / 2)


@pytest.mark.parametrize("anchors", [1, 4])
@pytest.mark.parametrize("temperature", [0.05, 1.0, 20.0])
def test_info_nce(anchors, temperature):
    anchor, candidate = l2_normalize(randn(anchors, anchors, 3)), l2_normalize(with_zero_row(5, 6, 3))
    positive = torch.tensor([4, 0, 0, 5])[:anchors]
    actual = info_nce(anchor, candidate, positive, temperature=temperature)
    expected = sum(
        ref.cross_entropy([ref.dot(row, other) / temperature for other in numbers(candidate)], target)
        for row, target in zip(numbers(anchor), positive.tolist(), strict=True)
    )
    close(actual, expected)
    close(actual, cross_entropy(anchor @ candidate.T / temperature, positive, reduction="sum"))


def test_info_nce_by_hand():
    # one anchor at cosines .6 and .8 to two candidates, λ = .2: log(e^3 + e^4) - 3 for the first
    anchor = double([[1.0, 0.0]])
    candidate = double([[0.6, 0.8], [0.8, 0.6]])
    close(
        info_nce(anchor, candidate, torch.tensor([0]), temperature=0.2),
        math.log(math.exp(0.6 / 0.2) + math.exp(0.8 / 0.2)) - 0.6 / 0.2,
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_logsumexp_dot(weighted):
    left, right = randn(1, 5, 3), randn(2, 7, 3)
    weight = double([1.0, 3.0, 0.0, 2.0, 1.0]) if weighted else None
    factors = [1.0] * 5 if weight is None else numbers(weight)
    expected = sum(
        w * ref.logsumexp([ref.dot(row, other) for other in numbers(right)])
        for w, row in zip(factors, numbers(left), strict=True)
    )
    close(logsumexp_dot(left, right, weight), expected)
    if weight is not None:
        close(logsumexp_dot(left, right, weight.long()), expected)


@pytest.mark.parametrize("columns", [2000, 5000])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_logsumexp_dot_over_more_than_one_block(columns, scale):
    # 300 x 2,000 logits are more than one block holds; 5,000 columns make several tiles where no maximum is looked for
    left, right = (scale * randn(1, 300, 2)).requires_grad_(), randn(2, columns, 2).requires_grad_()
    actual = logsumexp_dot(left, right)
    gradients = torch.autograd.grad(actual, (left, right))
    expected = torch.logsumexp(left @ right.T, dim=1).sum()
    close(actual, expected)
    for one, other in zip(gradients, torch.autograd.grad(expected, (left, right)), strict=True):
        close(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_exponentials_are_normal_numbers_or_zero(dtype):
    # and so are products of two of them: a processor takes ten times as long for what is not
    tiny = torch.finfo(dtype).tiny
    logit = torch.linspace(1.5 * math.log2(tiny), 3.0, 2047, dtype=torch.float64)[None].to(dtype)
    expected = torch.exp2((logit - 3.0).double())
    assert ((expected > 0) & (expected < tiny)).any()
    exponential = logit.clone()
    assert exp2_rows_(exponential, unshifted=False) == 3.0
    left = exponential[exponential > 0].double()
    assert 0 < len(left) < exponential.numel()
    assert left.min() ** 2 >= tiny
    # what is left out is nothing beside the largest, which is 1
    torch.testing.assert_close(exponential.double(), expected, rtol=0.01, atol=2 * math.sqrt(tiny))


def test_exponentials_keep_nan():
    exponential = torch.tensor([[math.nan, 0.0], [-500.0, 0.0]])
    exp2_rows_(exponential, unshifted=False)
    assert exponential[0].isnan().all()
    assert exponential[1].tolist() == [0.0, 1.0]


def test_logsumexp_dot_of_large_logits():
    # log(e^1000 + e^999) = 1000 + log(1 + e^-1)
    close(
        logsumexp_dot(double([[1000.0]]), double([[1.0], [0.999]])),
        1000 + math.log(1 + math.exp(-1)),
        1e-13,
    )


@pytest.mark.parametrize("logit", [1.0, 39.0, 41.0, 80.0, 88.0, 100.0, 200.0, 400.0, 1e4])
def test_logits_of_any_size_in_float32(logit):
    """5,000 candidates at cosine 1 or -1 of two anchors, at temperature 1 / logit; exp(89) is no float32 any more."""
    anchor = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    candidate = torch.tensor([[1.0, 0.0]]).repeat(5000, 1)
    candidate[2000:] *= -1
    candidate.requires_grad_()
    positive, apart = torch.tensor([0, 4999]), math.exp(-2 * logit)
    rounding = {"rtol": 1e-6, "atol": 4e-7 * logit, "check_dtype": False}
    shares = double(math.log(2000 + 3000 * apart) + math.log(3000 + 2000 * apart))
    torch.testing.assert_close(logsumexp_dot(anchor * logit, candidate), shares + 2 * logit, **rounding)
    for target, side, gap in ((positive, 1.0, 0.0), (positive.flip(0), -1.0, 4 * logit)):
        loss = info_nce(anchor, candidate, target, temperature=1 / logit)
        torch.testing.assert_close(loss, shares + gap, **rounding)
        gradient, _ = torch.autograd.grad(loss, (anchor, candidate))
        # (Σ_j p_j c_j - c_positive) / λ; nearly all of the softmax is on the anchor's own side
        mean = [2 * 2000 / (2000 + 3000 * apart) - 1, 1 - 2 * 3000 / (3000 + 2000 * apart)]
        expected = double([logit * (mean[0] - side), logit * (mean[1] + side)])
        torch.testing.assert_close(gradient[:, 0], expected, rtol=1e-3, atol=1e-4 * logit, check_dtype=False)


@pytest.mark.parametrize("columns", [1, 2, 2047, 2048, 2049, 2050, 4097])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_the_last_column_counts_whatever_the_width_of_its_tile(columns, scale):
    left, right = (scale * randn(1, 3, 2)).requires_grad_(), randn(2, columns, 2)
    right[-1] = 2 * right.norm(dim=1).max()
    right.requires_grad_()
    actual, expected = logsumexp_dot(left, right), torch.logsumexp(left @ right.T, dim=1).sum()
    close(actual, expected)
    gradients = torch.autograd.grad(actual, (left, right)), torch.autograd.grad(expected, (left, right))
    for one, other in zip(*gradients, strict=True):
        close(one, other)
    target = torch.tensor([0, columns - 1, columns // 2])
    unit = l2_normalize(right.detach())
    anchor = l2_normalize(left.detach())
    close(
        info_nce(anchor, unit, target, temperature=1 / scale),
        cross_entropy(anchor @ unit.T * scale, target, reduction="sum"),
    )


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 65), (63, 66), (65, 67), (64, 128)])
@pytest.mark.parametrize(("scale", "rounding"), [(1.0, 0.01), (20.0, 0.1)])
def test_rows_that_fill_up_bfloat16_products_count_for_nothing(rows, columns, scale, rounding):
    """Products are made of multiples of 64 rows; logits around -3 would be drowned by those of rows of zeros."""
    # eighths, whose products bfloat16 holds: what is rounded is the exponentials
    left, right = ((randn(seed, n, 2) * 4).round().abs() / 8 for seed, n in ((1, rows), (2, columns)))
    left, right = (1 + left) * scale, -(1 + right)
    weight = torch.arange(rows) % 3 + 1.0
    inputs = [t.float().requires_grad_() for t in (left, right)]
    actual = logsumexp_dot(*inputs, weight, precision="bfloat16")
    exact = [t.clone().requires_grad_() for t in (left, right)]
    expected = (torch.logsumexp(exact[0] @ exact[1].T, dim=1) * weight).sum()
    torch.testing.assert_close(actual, expected, rtol=rounding, atol=rounding * float(weight.sum()), check_dtype=False)
    for one, other in zip(torch.autograd.grad(actual, inputs), torch.autograd.grad(expected, exact), strict=True):
        assert one.shape == other.shape
        assert (one - other).norm() < rounding * other.norm()
    target = torch.arange(rows) % columns
    unit, anchor = l2_normalize(right), l2_normalize(left)
    actual = info_nce(anchor.float(), unit.float(), target, temperature=1 / scale, precision="bfloat16")
    expected = cross_entropy(anchor @ unit.T * scale, target, reduction="sum")
    torch.testing.assert_close(actual, expected, rtol=rounding, atol=rounding * rows, check_dtype=False)


def test_bfloat16_is_used_where_it_is_asked_for():
    left, right = randn(1, 65, 8).float(), randn(2, 67, 8).float()
    target = torch.arange(65)
    for loss in (
        lambda precision: logsumexp_dot(left, right, precision=precision),
        lambda precision: info_nce(left, right, target, temperature=1.0, precision=precision),
    ):
        exact, rounded = loss(None), loss("bfloat16")
        assert 1e-5 < (rounded / exact - 1).abs() < 1e-2


def test_zero_like_is_a_differentiable_zero():
    table = randn(0, 2, 2).requires_grad_()
    zero = zero_like(table)
    zero.backward()
    assert zero.item() == 0
    assert zero.shape == ()
    close(table.grad, torch.zeros(2, 2))
