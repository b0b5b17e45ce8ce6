"""Ridge regression against a known linear map and a slow leave-one-out loop."""

from __future__ import annotations

import pytest
import torch

from crossrec.ops.ridge import PENALTIES, Ridge


def test_ridge_recovers_a_linear_map_and_shrinks_noise_to_its_mean():
    draw = torch.Generator().manual_seed(0)
    x, weight = torch.randn(200, 5, generator=draw), torch.randn(5, 3, generator=draw)
    torch.testing.assert_close(Ridge(x, x @ weight + 2)(x), x @ weight + 2, atol=1e-2, rtol=1e-2)
    noise = torch.randn(200, 3, generator=draw)
    fitted = Ridge(x, noise)
    assert fitted(x).var() < 0.05
    # the leave-one-out errors of a slow loop also favour a large penalty
    errors = {}
    for penalty in (1e-4, 1.0, 1e4):
        scale = float(torch.linalg.eigvalsh((x - x.mean(0)).double().T @ (x - x.mean(0)).double()).mean())
        total = 0.0
        for row in range(0, 200, 10):
            others = torch.arange(200) != row
            a, b = (t[others].double() for t in (x, noise))
            a0, b0 = a.mean(0), b.mean(0)
            w = torch.linalg.solve((a - a0).T @ (a - a0) + penalty * scale * torch.eye(5), (a - a0).T @ (b - b0))
            total += float(((x[row].double() - a0) @ w + b0 - noise[row]).square().sum())
        errors[penalty] = total
    assert min(errors, key=errors.__getitem__) >= 1.0
    assert fitted.penalty >= 0.1


def left_out(x, y, penalty):
    """Sum of squared errors of every row, predicted from the other rows by a regression of its own."""
    centered = x - x.mean(0)
    strength = penalty * (float(torch.linalg.eigvalsh(centered.T @ centered).mean()) or 1.0)
    total = 0.0
    for row in range(len(x)):
        others = torch.arange(len(x)) != row
        a, b = x[others] - x[others].mean(0), y[others] - y[others].mean(0)
        weight = torch.linalg.solve(a.T @ a + strength * torch.eye(x.shape[1]), a.T @ b)
        total += float(((x[row] - x[others].mean(0)) @ weight + y[others].mean(0) - y[row]).square().sum())
    return total, strength


@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0, 3.0, 10.0, 40.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_the_penalty_has_the_least_leave_one_out_error(noise, scale):
    draw = torch.Generator().manual_seed(int(10 * noise))
    x = scale * torch.randn(9, 4, generator=draw, dtype=torch.float64) + 5 * scale
    y = x @ torch.randn(4, 2, generator=draw, dtype=torch.float64)
    y = y + noise * scale * torch.randn(9, 2, generator=draw, dtype=torch.float64) - 7
    errors = {penalty: left_out(x, y, penalty) for penalty in PENALTIES}
    best = min(errors, key=lambda penalty: errors[penalty][0])
    fitted = Ridge(x, y)
    assert fitted.penalty == best
    centered = x - x.mean(0)
    weight = torch.linalg.solve(centered.T @ centered + errors[best][1] * torch.eye(4), centered.T @ (y - y.mean(0)))
    torch.testing.assert_close(fitted.weight_DS, weight)
    new = torch.randn(3, 4, generator=draw, dtype=torch.float64)
    torch.testing.assert_close(fitted(new), ((new - x.mean(0)) @ weight + y.mean(0)).float())


def test_equal_errors_take_the_first_penalty():
    fitted = Ridge(torch.zeros(5, 2), torch.arange(5.0)[:, None])
    assert fitted.penalty == PENALTIES[0]
    assert fitted(torch.ones(1, 2)).tolist() == [[2.0]]
