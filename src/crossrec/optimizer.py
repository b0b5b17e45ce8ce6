"""Adam whose moments several processes share out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from crossrec import parallel

SMALL = 1 << 12
"""Parameters of fewer numbers are updated in every process."""


class SharedAdam(torch.optim.Adam):
    """Fused Adam; of several processes (``crossrec.parallel``) each updates a part of every large parameter.

    Each then has the moments of its part only, and hands the new values to the others. Every number is updated by the
    same operations as in one process: a part begins at a multiple of ``parallel.VECTOR``. ``groups``: as Adam takes
    them. ``is_whole(parameter)``: whether all processes have the same parameter; False where each has its own columns,
    whose moments are its own anyway.
    """

    def __init__(self, groups: list[dict[str, Any]], is_whole: Callable[[Tensor], bool]) -> None:
        self.shared: dict[int, tuple[nn.Parameter, nn.Parameter, slice]] = {}
        """By position in the optimiser's state: a parameter, the numbers of it that are updated here, and which."""
        own_groups, position = [], 0
        for group in groups:
            parameters = []
            for parameter in group["params"]:
                if parallel.size() > 1 and is_whole(parameter) and parameter.numel() >= SMALL:
                    part = parallel.own_part(parameter.numel(), parallel.VECTOR)
                    own = nn.Parameter(parameter.data.view(-1)[part])
                    self.shared[position] = (parameter, own, part)
                    parameter = own
                parameters.append(parameter)
                position += 1
            own_groups.append({**group, "params": parameters})
        super().__init__(own_groups, fused=True)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        for parameter, _, _ in self.shared.values():
            parameter.grad = None
        super().zero_grad(set_to_none)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient, in every process."""
        updated = [part for part in self.shared.values() if part[0].grad is not None]
        for parameter, own, part in updated:
            assert parameter.grad is not None
            own.data, own.grad = parameter.data.view(-1)[part], parameter.grad.reshape(-1)[part]
        super().step()
        for parameter, own, _ in updated:
            own.grad = None
            parallel.fill_rows(parameter.data.view(-1), parallel.parts(parameter.numel(), parallel.VECTOR))
