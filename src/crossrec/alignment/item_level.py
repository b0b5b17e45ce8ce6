"""Item-level alignment: the residual aligners (Equation 3) and their contrastive loss (Equation 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from crossrec.losses import info_nce
from crossrec.ops.blockwise import Precision
from crossrec.ops.vectors import unit_rows, zero_like

AlignerKind = Literal["linear", "ffn"]


class Aligner(nn.Module):
    """î^{m→n} = i^m + f^{m→n}(i^m) with i^m L2-normalised (Equation 3), (N, L) → (N, L).

    f is a bias-free linear map (``linear``, as the official losses have it) or a two-layer feed-forward network with
    biases and ReLU (``ffn``, as the text of the paper says).
    """

    def __init__(self, dim: int, kind: AlignerKind = "linear", generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim, dim))
        nn.init.xavier_uniform_(self.weight, generator=generator)
        self.second: nn.Parameter | None = None
        if kind == "ffn":
            self.second = nn.Parameter(torch.empty(dim, dim))
            nn.init.xavier_uniform_(self.second, generator=generator)
            self.bias = nn.Parameter(torch.zeros(dim))
            self.second_bias = nn.Parameter(torch.zeros(dim))

    def forward(self, item_NL: Tensor, *, normalized: bool = False) -> Tensor:
        """The aligned vectors î, (N, L), not normalised. ``normalized``: the items have length 1 or 0 already."""
        item_NL = unit_rows(item_NL, normalized=normalized)
        if self.second is None:
            return item_NL + item_NL @ self.weight.T
        hidden = torch.relu(item_NL @ self.weight.T + self.bias)
        return item_NL + hidden @ self.second.T + self.second_bias


def item_level_loss(
    aligned: Mapping[tuple[str, str], Tensor],
    item: Mapping[str, Tensor],
    supported: Mapping[tuple[str, str], Tensor],
    *,
    temperature: Tensor | float,
    normalized: bool = False,
    precision: Precision | None = None,
) -> Tensor:
    """(1/n) Σ_{m→n} Σ_{i in D^{m→n}} -log softmax_j( cos(î_i^{m→n}, sg(j^n)) / λ_f )_i, a scalar (Equation 4).

    ``item[m]``: i^m of the N distinct items of the batch, (N, L). ``supported[m, n]``: int64 rows of the items in
    D^{m→n}. ``aligned[m, n]``: î^{m→n} of exactly those rows. ``temperature``: λ_f. ``normalized``: aligned vectors and
    items have length 1 or 0 already. Targets pass no gradient. Summed over directions and divided by n = N, as in the
    official losses. A differentiable zero where no direction has an item.
    """
    reference = next(iter(item.values()))
    total = zero_like(reference)
    for (source, target), row_D in supported.items():
        if len(row_D):
            anchor_DL = unit_rows(aligned[source, target], normalized=normalized)
            target_NL = unit_rows(item[target], normalized=normalized).detach()
            total = total + info_nce(
                anchor_DL, target_NL, row_D, temperature=temperature, normalized=True, precision=precision
            )
    return total / max(len(reference), 1)
