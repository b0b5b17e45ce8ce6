"""Direction rules (Sections 4.2 and 5): which modality of an item moves towards which."""

from __future__ import annotations

import torch
from torch import Tensor

from crossrec.alignment.strength import compensation
from crossrec.types import Direction


def directions(strength_MN: Tensor, rule: Direction = "dynamic") -> Tensor:
    """Items that support the direction m → n, as a boolean (M, M, N) indexed [m, n, i]; the diagonal is False.

    ``strength_MN``: s_i^m of M modalities (Equation 1). Rules:

    - ``dynamic`` (CROSS, Section 4.2): s_i^n + g_i^n > s_i^m, with the compensation g of Equation 2;
    - ``one_way`` (FETTLE, Equation 5): s_i^n > s_i^m;
    - ``bidirectional``: always;
    - ``topmost`` (Section 5): n is the item's highest-scoring modality (the first of equals).

    Raises ValueError for another rule.
    """
    count = len(strength_MN)
    source, target = strength_MN.unsqueeze(1), strength_MN.unsqueeze(0)
    if rule == "dynamic":
        lifted = strength_MN + torch.stack([compensation(s) for s in strength_MN])
        supported = lifted.unsqueeze(0) > source
    elif rule == "one_way":
        supported = target > source
    elif rule == "bidirectional":
        supported = torch.ones_like(source > target)
    elif rule == "topmost":
        best_N = strength_MN.argmax(0)
        supported = (torch.arange(count, device=best_N.device).unsqueeze(1) == best_N).unsqueeze(0)
        supported = supported.expand(count, count, -1)
    else:
        raise ValueError(f"unknown direction rule {rule!r}: use dynamic, one_way, bidirectional or topmost")
    same = torch.eye(count, dtype=torch.bool, device=strength_MN.device)
    return supported & ~same.unsqueeze(2)
