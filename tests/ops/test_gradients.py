"""Projection of conflicting gradients, row by row, and scalars with given gradients."""

from __future__ import annotations

import math

import torch

from crossrec.ops.gradients import total_norm, with_gradients, without_conflict


def projected(g, h):
    """PCGrad of one row, in Python floats."""
    inner, square = math.fsum(x * y for x, y in zip(g, h, strict=True)), math.fsum(y * y for y in h)
    if inner >= 0 or not square:
        return list(g)
    return [x - inner / square * y for x, y in zip(g, h, strict=True)]


def test_the_part_against_the_other_gradient_is_left_out_of_every_row():
    draw = torch.Generator().manual_seed(0)
    g, h = (torch.randn(20, 3, generator=draw, dtype=torch.float64) for _ in range(2))
    h[3], g[4] = 0, 0
    h[5], h[6] = -2 * g[5], 7 * g[6]
    actual = without_conflict(g, h)
    expected = [projected(*rows) for rows in zip(g.tolist(), h.tolist(), strict=True)]
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=torch.float64))
    inner = (actual * h).sum(1)
    assert (inner >= -1e-12).all()
    conflict = (g * h).sum(1) < 0
    assert conflict.any()
    assert not conflict.all()
    assert torch.equal(actual[~conflict], g[~conflict])
    torch.testing.assert_close(actual[5], torch.zeros(3, dtype=torch.float64))


def test_tiny_gradients_are_projected_like_large_ones():
    g, h = torch.tensor([[1.0, -1.0]]), torch.tensor([[0.0, 1.0]])
    torch.testing.assert_close(
        without_conflict(1e-25 * g, 1e-25 * h), 1e-25 * torch.tensor([[1.0, 0.0]]), atol=0, rtol=1e-6
    )


def test_norm_of_all_numbers():
    torch.testing.assert_close(total_norm([torch.tensor([[3.0]]), torch.tensor([4.0, 12.0])]), torch.tensor(13.0))


def test_a_scalar_with_given_gradients():
    left, right = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    inner = left * 2
    value = (left.sum() + right.sum()) ** 2
    given = with_gradients(value, [(inner, torch.tensor([1.0, -1.0])), (right, torch.tensor([0.0, 1.0, 2.0]))])
    assert given.item() == value.item()
    (3 * given + left.sum()).backward()
    assert left.grad.tolist() == [7, -5]
    assert right.grad.tolist() == [0, 3, 6]
