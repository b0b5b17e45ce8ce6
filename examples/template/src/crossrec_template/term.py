"""Terms of CROSS: a function of the batch, and a module with a parameter of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from crossrec.alignment.batch_view import BatchView
from crossrec.ops.vectors import zero_like
from crossrec.types import ID


def uniformity(view: BatchView) -> Tensor:
    """log mean_{i<j} exp(-2 ‖i - j‖²) of the batch's items, which have length 1 (Wang and Isola 2020); a scalar."""
    item_NL = view.item[ID]
    if len(item_NL) < 2:
        return zero_like(item_NL)
    return torch.pdist(item_NL).square().mul(-2.0).exp().mean().log()


class ItemScale(nn.Module):
    """mean_i ‖s · i^ID - mean_m i^m‖² with one learnt scale s."""

    name = "item_scale"

    def __init__(
        self, dim: int, *, modalities: Sequence[str], num_items: int, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.modalities = [modality for modality in modalities if modality != ID]

    def forward(self, view: BatchView) -> Tensor:
        item_NL = view.item[ID]
        if not self.modalities:
            return zero_like(item_NL)
        content_NL = torch.stack([view.item[modality] for modality in self.modalities]).mean(0)
        return (self.scale * item_NL - content_NL).square().sum(-1).mean()
