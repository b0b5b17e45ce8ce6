"""The training objective: the backbone's own terms plus the weighted alignment terms.

No other file of the training path knows both a backbone and an alignment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from crossrec import parallel
from crossrec.alignment import Alignment, AlignmentConfig, Cross, module_of
from crossrec.alignment.balance import balanced
from crossrec.alignment.schedule import alignment_factor, last_start
from crossrec.arguments import check_terms
from crossrec.backbones import BACKBONES, Backbone, BackboneConfig
from crossrec.content_graph import NEIGHBORS, ContentGraph
from crossrec.ops.divided import Divided, own_columns, whole_columns
from crossrec.randomness import torch_generator
from crossrec.types import ID, Batch, Representations, TrainingSet


def content_graph(
    backbone: BackboneConfig,
    alignment: AlignmentConfig | None,
    features: Mapping[str, Tensor],
    interactions: tuple[Tensor, Tensor],
) -> ContentGraph | None:
    """The content graph that the settings put around the backbone; None if there is none."""
    if alignment is None or not alignment.content_graph or not features or BACKBONES[backbone.name].has_item_graph:
        return None
    return ContentGraph(
        features,
        weight=alignment.content_graph,
        neighbors=alignment.content_neighbors or NEIGHBORS,
        shares=alignment.content_shares,
        interactions=interactions,
    )


class Objective(nn.Module):
    """A backbone and, unless alignment is None, an alignment on top; between them a content graph, where there is one.

    The initial values of the two come from separate generators, so a backbone starts the same with and without
    alignment. The alignment projects the raw features of modalities that the backbone has no vectors for, and all its
    features where the data set has some for the alignment alone.
    """

    def __init__(
        self, backbone: BackboneConfig, alignment: AlignmentConfig | None, data: TrainingSet, seed: int
    ) -> None:
        super().__init__()
        self.dim, self.weight_decay = backbone.dim, backbone.weight_decay
        self.learning_rate_at = backbone.learning_rate_at
        self.backbone: Backbone = BACKBONES[backbone.name](backbone, data, torch_generator(seed, "backbone"))
        self.content_graph = content_graph(backbone, alignment, data.features, (data.user_T, data.item_T))
        self.cross: Alignment | None = None
        self.features_apart = False
        self.epoch, self.step, self.steps = 1, 0, 1  # epoch of the alignment, from its last start
        if alignment is not None and alignment.active:
            self.features_apart = apart = data.alignment_features is not None
            self.cross = module_of(alignment)(
                backbone.dim,
                features=data.alignment_features if apart else data.features,
                modalities=() if apart else self.backbone.modalities,
                interactions=(data.user_T, data.item_T),
                num_items=data.num_items,
                config=alignment,
                generator=torch_generator(seed, "alignment"),
            )
        if self._divides_columns():
            self.backbone.keep_own_columns()

    def _divides_columns(self) -> bool:
        """Whether each process has some columns of the backbone's tables: where all that is read of them are rows."""
        reads_rows = self.content_graph is None and (self.cross is None or type(self.cross) is Cross)
        balances = self.cross is not None and (self.cross.config.conflicts or self.cross.config.gradient_share)
        divides = vars(type(self.backbone)).get("divides_columns", False)
        return divides and reads_rows and not balances and parallel.divides_columns(self.dim)

    def own_part(self, name: str, tensor: Tensor) -> Tensor:
        """What this process has of a whole parameter, or of a tensor of its shape."""
        is_divided = self.backbone.columns is not None and name.startswith("backbone.")
        return own_columns(tensor) if is_divided else tensor

    def whole(self, name: str, tensor: Tensor) -> Tensor:
        """A parameter, or a tensor of its shape, for a file: whole, or a ``Divided`` that becomes so."""
        columns = self.backbone.columns if name.startswith("backbone.") else None
        return (
            tensor if columns is None else cast(Tensor, Divided(tensor, "columns", torch.Size([len(tensor), columns])))
        )

    def whole_state(self) -> dict[str, Tensor]:
        """``state_dict`` to be written to a file, see ``whole``."""
        return {name: self.whole(name, tensor) for name, tensor in self.state_dict().items()}

    def whole_vectors(self) -> Representations:
        """``propagate`` with all columns in every process."""
        reps = self.propagate()
        if reps.columns is None:
            return reps
        user_UL, item_IL = (whole_columns(table, reps.columns) for table in (reps.user_UL, reps.item_IL))
        return replace(reps, user_UL=user_UL, item_IL=item_IL, columns=None)

    def before_epoch(
        self, epoch: int, generator: torch.Generator, steps: int = 1, values: Sequence[float] = ()
    ) -> None:
        """Prepare epoch ``epoch``, counted from 1, of ``steps`` steps, for backbone and schedule of the alignment.

        ``values``: the validation metric after each epoch so far.
        """
        self.backbone.before_epoch(epoch, generator)
        config = None if self.cross is None else self.cross.config
        if config is not None and config.alignment_epochs is not None:  # else it has started once, and never ends
            epoch -= last_start(values, epochs=config.alignment_epochs, stalled=config.restart_after) - 1
        self.epoch, self.step, self.steps = epoch, 0, steps

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups of parameters for Adam; ``lr_factor`` multiplies a group's learning rate."""
        backbone = {"params": list(self.backbone.parameters()), "weight_decay": self.weight_decay, "lr_factor": 1.0}
        return [backbone, *([] if self.cross is None else self.cross.parameter_groups())]

    @property
    def restarts_optimizer(self) -> bool:
        """Whether the optimiser starts anew before this epoch: it is the first after the alignment's last."""
        config = None if self.cross is None else self.cross.config
        return bool(config and config.restart_optimizer and 1 < self.epoch == (config.alignment_epochs or 0) + 1)

    def propagate(self) -> Representations:
        """The backbone's vectors, with the content graph applied to the items: what scores and is aligned."""
        return self._with_graph(self.backbone.propagate())

    def for_alignment(self, reps: Representations) -> Representations:
        """What the alignment gets: without the backbone's content vectors where it projects features of its own."""
        return replace(reps, modality_IL={}) if self.features_apart else reps

    def _with_graph(self, reps: Representations) -> Representations:
        return reps if self.content_graph is None else self.content_graph.apply(reps)

    def parts(self, reps: Representations) -> dict[str, Tensor]:
        """Summands of ``reps.item_IS``, (I, S) each, as ``Backbone.parts``; ``content`` has what the graph adds."""
        if self.content_graph is None:
            return self.backbone.parts(reps)
        plain: Representations = self.backbone.propagate()
        return {**(self.backbone.parts(plain) or {ID: plain.item_IS}), "content": reps.item_IS - plain.item_IS}

    def forward(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Named terms of one step and their weighted sum. Terms of the alignment are not weighted, the backbone's are.

        Counts the steps of the epoch for the alignment's schedule. A step without alignment is that of the backbone
        alone.
        """
        plain: Representations = self.backbone.propagate()
        reps = self._with_graph(plain)
        terms = self.backbone.losses(reps, batch)
        check_terms(terms, f"{type(self.backbone).__name__}.losses")
        total = torch.stack(list(terms.values())).sum()
        factor = self._next_factor()
        if self.cross is not None and factor:
            pairs = batch.first(self.cross.config.alignment_batch or len(batch))
            aligned, aligned_total = balanced(self.cross, self.for_alignment(reps), pairs, total, plain=plain)
            total = total + factor * aligned_total
            terms = terms | aligned
        return terms, total

    def _next_factor(self) -> float:
        """Factor on the alignment in this step, 0 for none; counts the step."""
        step, self.step = self.step, self.step + 1
        if self.cross is None:
            return 0.0
        config = self.cross.config
        return alignment_factor(
            self.epoch, step, self.steps, epochs=config.alignment_epochs, fade=config.fade, every=config.every
        )
