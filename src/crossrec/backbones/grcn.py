"""GRCN (Wei, Wang, Nie, He, Chua. Graph-refined convolutional network for multimedia recommendation with implicit
feedback, ACM MM 2020)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from crossrec.backbones.base import Backbone, BackboneConfig, FeatureMLP, content_encoders, negatives, xavier_table
from crossrec.backbones.content_encoder import ContentEncoder
from crossrec.config import Layers
from crossrec.losses import bpr
from crossrec.ops.sparse import SparsePattern
from crossrec.ops.vectors import gather_rows, l2_normalize
from crossrec.types import ID, Batch, Representations, TrainingSet


class GRCNConfig(BackboneConfig):
    """Settings of GRCN."""

    name: ClassVar[str] = "grcn"
    routing: Layers = 3
    """Rounds of refining the preferences."""
    reg: Annotated[float, Field(ge=0)] = 1e-3
    """Weight of the mean squares of id vectors, preferences and confidences."""
    activation: Literal["leaky_relu", "none"] | None = None
    """Activation of what a node receives from its neighbours in a modality. leaky_relu unless given; the authors' code
    has none."""


class GRCN(Backbone):
    """Ids propagated over a user-item graph whose edges are weighted by how well the content supports them.

    Per modality m: items are unit(leaky ReLU(Linear(feature_m))), users a table of preferences of unit length, refined
    ``routing`` times: p_u ← unit(p_u + Σ_i softmax_i(p_u · i) i) over the user's items. Then both sides attend to their
    neighbours: a_ui^m = softmax over u's items of p_u · i, a_iu^m = softmax over i's users, and x^m = x + leaky
    ReLU(Σ a^m neighbour). The edge from node s to node t weighs w_ts = max(0, max_m a_ts^m c_s^m), with a learned
    confidence c of every node and modality. With ``activation`` "none" x^m has no leaky ReLU. Ids: x = unit(id table),
    x + W x + W² x. Scores are dot products of [id ; x^m of every m]. loss = BPR + reg · (mean square of the batch's ids
    of users, and of items, + Σ_m of its preferences, + of all confidences).

    For the alignment: the id blocks of both, u and i^ID after propagation, since the vectors it scores with are
    wider than L; and per modality i^m, the item part of x^m.
    """

    config_type = GRCNConfig
    weighs_pairs = True
    multimodal = True

    def __init__(self, config: GRCNConfig, data: TrainingSet, generator: torch.Generator) -> None:
        super().__init__(config, data, generator)
        self.config, self.modalities = config, tuple(data.features)
        self.user = xavier_table(data.num_users, config.dim, generator)
        self.item = xavier_table(data.num_items, config.dim, generator)
        self.content = nn.ModuleList(FeatureMLP(f, (config.dim,), generator) for f in data.features.values())
        self.preference = nn.ParameterList(xavier_table(self.num_users, config.dim, generator) for _ in data.features)
        self.confidence = xavier_table(data.num_users + data.num_items, len(data.features), generator)
        pair_E = torch.unique(data.user_T * data.num_items + data.item_T)
        # rows receive: users from items, items from users
        self.to_user = SparsePattern(pair_E // data.num_items, pair_E % data.num_items, self.num_users, self.num_items)
        self.to_item = self.to_user.transposed()

    def propagate(self) -> Representations:
        attended = [
            self.attend(l2_normalize(p), l2_normalize(F.leaky_relu(c())))
            for p, c in zip(self.preference, self.content, strict=True)
        ]
        weight_E, back_E = self.edge_weights([(a, b) for _, _, a, b in attended])
        user, item = l2_normalize(self.user), l2_normalize(self.item)
        user_UL, item_IL = user, item
        for _ in range(2):
            user, item = self.to_user.product(weight_E, item), self.to_item.product(back_E, user)
            user_UL, item_IL = user_UL + user, item_IL + item
        content = {m: item_m for m, (_, item_m, _, _) in zip(self.modalities, attended, strict=True)}
        user_US = torch.cat([user_UL, *(user_m for user_m, *_ in attended)], dim=1)
        return Representations(
            user_UL, item_IL, content, scoring=(user_US, torch.cat([item_IL, *content.values()], dim=1))
        )

    def parts(self, reps: Representations) -> dict[str, Tensor]:
        names = (ID, *self.modalities)
        width = reps.item_IL.shape[1]
        block_S = torch.arange(reps.item_IS.shape[1], device=reps.item_IS.device) // width
        return {name: reps.item_IS * (block_S == number) for number, name in enumerate(names)}

    def content_encoders(self) -> dict[str, ContentEncoder]:
        return content_encoders(self.modalities, self.content, activate=True, unit_output=True)

    def attend(self, user_UL: Tensor, item_IL: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x of users and items in one modality, and the attention on every edge, of users to items and back, (E,)."""
        for _ in range(self.config.routing):
            share_E = self.to_user.softmax(self.to_user.dots(user_UL, item_IL))
            user_UL = l2_normalize(user_UL + self.to_user.product(share_E, item_IL))
        dot_E = self.to_user.dots(user_UL, item_IL)
        share_E = self.to_user.softmax(dot_E)
        back_E = self.to_item.softmax(dot_E.index_select(0, self.to_user.order_E))
        to_user_UL, to_item_IL = self.to_user.product(share_E, item_IL), self.to_item.product(back_E, user_UL)
        if self.config.activation != "none":
            to_user_UL, to_item_IL = F.leaky_relu(to_user_UL), F.leaky_relu(to_item_IL)
        return user_UL + to_user_UL, item_IL + to_item_IL, share_E, back_E

    def edge_weights(self, attention: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """max(0, max_m attention · confidence of the source): of edges item → user, and user → item, (E,) each."""
        user_UM, item_IM = torch.split(self.confidence, [self.num_users, self.num_items])
        to_user_EM = torch.stack([a for a, _ in attention], dim=1) * gather_rows(item_IM, self.to_user.column_E)
        to_item_EM = torch.stack([b for _, b in attention], dim=1) * gather_rows(user_UM, self.to_item.column_E)
        return to_user_EM.amax(1).relu(), to_item_EM.amax(1).relu()

    def losses(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        item_2B = torch.cat([batch.item_B, negatives(batch)])
        user_BS = gather_rows(reps.user_US, batch.user_B)
        positive_BS, negative_BS = gather_rows(reps.item_IS, item_2B).chunk(2)
        squares = gather_rows(self.user, batch.user_B).square().mean() + gather_rows(self.item, item_2B).square().mean()
        for table in self.preference:
            squares = squares + gather_rows(table, batch.user_B).square().mean()
        return {
            "bpr": bpr((user_BS * positive_BS).sum(-1), (user_BS * negative_BS).sum(-1), batch.weight_B),
            "reg": self.config.reg * (squares + self.confidence.square().mean()),
        }
