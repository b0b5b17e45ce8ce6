"""The training objective: the backbone's own terms plus the weighted alignment terms.

No other file of the training path knows both a backbone and an alignment.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crossrec.alignment import Cross, CrossConfig
from crossrec.backbones import BACKBONES, Backbone, BackboneConfig
from crossrec.randomness import torch_generator
from crossrec.types import Batch, Representations, TrainingSet


class Objective(nn.Module):
    """A backbone and, unless alignment is None, CROSS on top of it.

    The initial values of the two come from separate generators, so a backbone starts the same with and without
    alignment. CROSS projects the raw features of modalities that the backbone has no vectors for.
    """

    def __init__(self, backbone: BackboneConfig, alignment: CrossConfig | None, data: TrainingSet, seed: int) -> None:
        super().__init__()
        self.optimizer_settings = {"lr": backbone.learning_rate, "weight_decay": backbone.weight_decay}
        self.learning_rate_at = backbone.learning_rate_at
        self.backbone: Backbone = BACKBONES[backbone.name](backbone, data, torch_generator(seed, "backbone"))
        self.cross = None
        if alignment is not None and alignment.active:
            modalities = self.backbone.modalities
            self.cross = Cross(
                backbone.dim,
                features={m: f for m, f in data.features.items() if m not in modalities},
                modalities=modalities,
                interactions=(data.user_T, data.item_T),
                num_items=data.num_items,
                config=alignment,
                generator=torch_generator(seed, "alignment"),
            )

    def forward(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Named terms of one step and their weighted sum. Terms of CROSS are not weighted, the backbone's are."""
        reps: Representations = self.backbone.propagate()
        terms = self.backbone.losses(reps, batch)
        total = torch.stack(list(terms.values())).sum()
        if self.cross is not None:
            aligned = self.cross(reps, batch)
            total = total + self.cross.total(aligned)
            terms = terms | aligned
        return terms, total
