"""SLMRec (Tao, Liu, Xia, Wang, Yang, Huang, Chua. Self-supervised learning for multimedia recommendation, IEEE
Transactions on Multimedia 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from crossrec.backbones.base import Backbone, BackboneConfig, FeatureMLP, Linear, content_encoders, xavier_table
from crossrec.backbones.content_encoder import ContentEncoder
from crossrec.config import Layers
from crossrec.graph import bipartite_adjacency, propagate_mean
from crossrec.losses import info_nce
from crossrec.ops.vectors import gather_rows, l2_normalize
from crossrec.types import ID, Batch, Representations, TrainingSet


class SLMRecConfig(BackboneConfig):
    """Settings of SLMRec."""

    name: ClassVar[str] = "slmrec"
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Weight decay of Adam on the backbone's parameters."""
    layers: Layers = 3
    """Layers of propagation."""
    temperature: Annotated[float, Field(gt=0)] = 0.2
    """τ of the users' contrast with items."""
    task: Literal["fac", "fd", "fm"] = "fac"
    """Self-supervised task: fac (fine and coarse features), fd (feature dropout) or fm (feature masking)."""
    ssl: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the self-supervised task."""
    ssl_temperature: Annotated[float, Field(gt=0)] = 0.2
    """τ of the self-supervised task."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the entries that a view of the task fd drops."""


@dataclass(frozen=True, kw_only=True)
class SLMRecRepresentations(Representations):
    """Representations with the item vectors before fusion: id and every modality side by side, (I, (|M|+1) L)."""

    unfused_IS: Tensor


class SLMRec(Backbone):
    """LightGCN per modality with one user table, fused; contrasted in batches, and items with themselves.

    [user ; id] and, per modality, [user ; Linear(unit(feature))] are propagated over the user-item graph, mean of the
    layers; user = Linear(side by side), item = Linear(side by side), of dimension L.
    loss = mean_b InfoNCE of u_b among the batch's items i_b (cosine, τ) + ssl · the task's mean over the batch's
    distinct items, by cosine with its own τ:

    - ``fac``, from fine to coarse: x_0 = the id's vectors; for the modalities in turn, x_s = P_s x_{s-1} against
      Q_s i^m, InfoNCE among the batch's items; P and Q are linear maps to L, the last ones to L / 2. Summed over s.
    - ``fd``: two views of an item, each with a share of the entries of its modalities' vectors set to zero (the rest
      scaled up to keep the mean), fused as above: InfoNCE of one view among the others.
    - ``fm``: InfoNCE of the whole item among views in which each item lacks one modality, drawn at every step.

    For the alignment: u and i^ID, the fused vectors it scores with, and per modality i^m, its propagated vectors.
    """

    config_type = SLMRecConfig
    multimodal = True

    def __init__(self, config: SLMRecConfig, data: TrainingSet, generator: torch.Generator) -> None:
        super().__init__(config, data, generator)
        self.config, self.modalities = config, tuple(data.features)
        dim, count = config.dim, len(data.features)
        self.user = xavier_table(data.num_users, dim, generator)
        self.item = xavier_table(data.num_items, dim, generator)
        self.content = nn.ModuleList(FeatureMLP(l2_normalize(f), (dim,), generator) for f in data.features.values())
        self.fuse_user, self.fuse_item = (Linear((count + 1) * dim, dim, generator) for _ in range(2))
        self.chain, self.side = nn.ModuleList(), nn.ModuleList()
        if config.task == "fac":
            widths = [dim] * (count - 1) + [max(1, dim // 2)]
            self.chain.extend(Linear(dim, width, generator) for width in widths)
            self.side.extend(Linear(dim, width, generator) for width in widths)
        self.adjacency = bipartite_adjacency(data.user_T, data.item_T, data.num_users, data.num_items)
        self.generator = torch.Generator(device=data.user_T.device).manual_seed(0)

    def before_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Seed the generator that drops entries in the epoch's steps."""
        seed = torch.randint(2**62, (1,), generator=generator, device=generator.device)
        self.generator.manual_seed(int(seed))

    def propagate(self) -> SLMRecRepresentations:
        items = torch.cat([self.item, *(content() for content in self.content)], dim=1)
        ego = torch.cat([self.user.repeat(1, len(self.content) + 1), items])
        everything = propagate_mean(self.adjacency, ego, self.config.layers)
        user_US, item_IS = torch.split(everything, [self.num_users, self.num_items])
        parts = item_IS.chunk(len(self.content) + 1, dim=1)[1:]
        content = dict(zip(self.modalities, parts, strict=True))
        return SLMRecRepresentations(self.fuse_user(user_US), self.fuse_item(item_IS), content, unfused_IS=item_IS)

    def parts(self, reps: Representations) -> dict[str, Tensor]:
        assert isinstance(reps, SLMRecRepresentations)
        names = (ID, *self.modalities)
        blocks, weights = (t.chunk(len(names), dim=1) for t in (reps.unfused_IS, self.fuse_item.weight))
        fused = {name: x @ w.T for name, x, w in zip(names, blocks, weights, strict=True)}
        return {**fused, "bias": self.fuse_item.bias.expand_as(reps.item_IL)}

    def content_encoders(self) -> dict[str, ContentEncoder]:
        factor = 1 / (self.config.layers + 1)
        return content_encoders(self.modalities, self.content, unit_input=True, factor=factor)

    def losses(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        assert isinstance(reps, SLMRecRepresentations)
        user_BL = l2_normalize(gather_rows(reps.user_UL, batch.user_B))
        item_BL = l2_normalize(gather_rows(reps.item_IL, batch.item_B))
        terms = {"contrast": self._matched(user_BL, item_BL, self.config.temperature)}
        item_NS = gather_rows(reps.unfused_IS, batch.items.value_N)
        task = {"fac": self._fine_and_coarse, "fd": self._dropout, "fm": self._masking}[self.config.task]
        terms["ssl"] = self.config.ssl * task(item_NS)
        return terms

    def _matched(self, left_NL: Tensor, right_NL: Tensor, temperature: float) -> Tensor:
        """mean_n -log softmax_m(cos(x_n, y_m) / τ)_n, of rows of unit length."""
        row_N = torch.arange(len(left_NL), device=left_NL.device)
        return info_nce(left_NL, right_NL, row_N, temperature=temperature, normalized=True) / len(left_NL)

    def _fine_and_coarse(self, item_NS: Tensor) -> Tensor:
        fused_NL, *parts = item_NS.chunk(len(self.content) + 1, dim=1)
        total = item_NS.new_zeros(())
        for chain, side, part_NL in zip(self.chain, self.side, parts, strict=True):
            fused_NL = chain(fused_NL)
            total = total + self._matched(
                l2_normalize(fused_NL), l2_normalize(side(part_NL)), self.config.ssl_temperature
            )
        return total

    def _dropout(self, item_NS: Tensor) -> Tensor:
        id_NL, content_NS = item_NS.tensor_split((item_NS.shape[1] // (len(self.content) + 1),), dim=1)
        views = []
        for _ in range(2):
            drawn = torch.rand(content_NS.shape, generator=self.generator, device=item_NS.device)
            left_NS = content_NS * (drawn >= self.config.dropout) / (1 - self.config.dropout)
            views.append(l2_normalize(self.fuse_item(torch.cat([id_NL, left_NS], dim=1))))
        return self._matched(views[0], views[1], self.config.ssl_temperature)

    def _masking(self, item_NS: Tensor) -> Tensor:
        count = len(self.content)
        masked = torch.randint(count, (len(item_NS),), generator=self.generator, device=item_NS.device) + 1
        block = torch.arange(count + 1, device=item_NS.device).repeat_interleave(item_NS.shape[1] // (count + 1))
        lacking_NS = item_NS * (block != masked.unsqueeze(1))
        complete, masked_view = (l2_normalize(self.fuse_item(view)) for view in (item_NS, lacking_NS))
        return self._matched(complete, masked_view, self.config.ssl_temperature)
