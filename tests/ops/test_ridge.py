"""Ridge regression against a known linear map and a slow leave-one-out loop."""

from __future__ import annotations

import torch

from crossrec.ops.ridge import Ridge


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
