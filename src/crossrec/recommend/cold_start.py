"""Item vectors from content alone, for items without training interactions. Nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from crossrec.errors import ConfigError, DataError, setting
from crossrec.ops.ridge import Ridge
from crossrec.ops.vectors import l2_normalize
from crossrec.recommend.new_item_graph import NewItemGraph
from crossrec.runs.embeddings import TrainedEmbeddings
from crossrec.types import ID

ColdStartMethod = Literal["blend", "neighbors", "ridge", "aligned", "own", "graph"]
"""How content becomes an item vector; see ``ColdStart``."""
DEFAULT_METHOD: ColdStartMethod = "blend"
"""The best on validation among trained items whose vectors were recomputed from content; see docs/recommend.md."""


class ColdStart:
    """Compute vectors, of dimension S, of items without interactions from their content.

    - ``neighbors``: the mean direction of the ``k`` trained items that are most similar in content, weighted by the
      cosine, which is averaged over the modalities.
    - ``ridge``: a linear map from the vectors i^m (unit length, side by side, with an indicator of each modality that
      is present) to the direction of the item's vector, fitted on the trained items.
    - ``blend``: the sum of these two directions.
    - ``aligned``: the mean over the modalities of the residual aligner's output î^{m→id} (Equation 3), of unit length.
      Needs a run with item-level alignment and S = L.
    - ``own``: what the backbone itself adds to an item's id, where that is a linear map of the i^m (VBPR): the sum of
      these parts, with the length that they have.
    - ``graph``: what the content graph of the run gives to the item, alone.

    In a run with a content graph, an item's vector is its own plus the graph's part. The methods then make the item's
    own vector, from those of the trained items, and add the graph's part (``graph_NS``); ``aligned`` makes the sum.

    A trained item is one with training interactions. Dot products also rank by length, which grows with popularity, and
    the popularity of a new item is unknown. Except for ``own``, a vector therefore gets the mean length of its ``k``
    neighbors, with the same weights; the graph's part has the length that it has. Both are multiplied by the ratio of
    the ``quantile`` of all lengths to their median. A higher quantile puts new items into more lists; their order among
    themselves stays the same.
    """

    def __init__(self, embeddings: TrainedEmbeddings, *, k: int = 20, graph: NewItemGraph | None = None) -> None:
        """``graph``: of the run, if it has one.

        Raises ConfigError where the run has neither content vectors nor a graph, or no trained items.
        """
        if not embeddings.modality_IL and graph is None:
            raise ConfigError(
                f"{embeddings.backbone} without alignment knows no content: train with --alignment cross, or a "
                "multi-modal backbone, on a data set with features"
            )
        self.embeddings, self.k, self.graph = embeddings, k, graph
        self.trained_T = (embeddings.degree_I > 0).nonzero()[:, 0]
        if not len(self.trained_T):
            raise ConfigError("no item of this run has interactions: there is nothing to liken new ones to")
        self.item_TS = embeddings.item_IS[self.trained_T]
        self.own_TS = self.item_TS if graph is None else graph.own_IS[self.trained_T]

    @cached_property
    def widths(self) -> dict[str, int]:
        """Columns of the features that the run reads, by modality."""
        widths = {} if self.graph is None else {m: x.shape[1] for m, x in self.graph.graph.features.items()}
        return widths | {m: e.weights[0].shape[1] for m, e in self.embeddings.content_encoders.items()}

    def new_vectors(
        self, features: Mapping[str, Any], how: ColdStartMethod, quantile: float = 0.5
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Check raw features, (N, D_m) by modality, and make the item vectors, (N, S), and the i^m, (N, L), of them.

        Raises DataError for no features, an unknown modality, a width other than in training, different numbers of
        rows, and values that are not finite numbers; ConfigError as ``item_vectors`` does.
        """
        raw = self._checked(features)
        with torch.no_grad():
            modality_NL = self.embeddings.project(
                {m: x for m, x in raw.items() if m in self.embeddings.content_encoders}
            )
        graph_NS = None if self.graph is None else self.graph(raw)
        return self.item_vectors(modality_NL, how, quantile, graph_NS=graph_NS), modality_NL

    def _checked(self, features: Mapping[str, Any]) -> dict[str, np.ndarray]:
        if not features:
            raise DataError(f"no features: give at least one of {', '.join(self.widths)}")
        raw: dict[str, np.ndarray] = {}
        for m, rows in features.items():
            if m not in self.widths:
                raise DataError(f"unknown modality '{m}': this run has {', '.join(self.widths)}")
            width = self.widths[m]
            try:
                matrix = np.asarray(rows, dtype=np.float64)
            except (TypeError, ValueError, OverflowError):
                raise DataError(f"features '{m}': not numbers; give {width} an item") from None
            if matrix.ndim != 2 or matrix.shape[1] != width:
                shape = " x ".join(map(str, matrix.shape[1:])) or "0"
                raise DataError(f"features '{m}': {shape} numbers an item, the run was trained with {width}")
            if not (np.abs(matrix) <= np.finfo(np.float32).max).all():
                raise DataError(f"features '{m}': a number is not finite; leave the modality out if there is none")
            raw[m] = matrix
        if len({len(matrix) for matrix in raw.values()}) > 1:
            raise DataError("modalities with different numbers of rows: one row an item")
        return raw

    def item_vectors(
        self,
        modality_NL: dict[str, Tensor],
        how: ColdStartMethod,
        quantile: float = 0.5,
        *,
        graph_NS: Tensor | None = None,
    ) -> Tensor:
        """Item vectors, (N, S), from the i^m by modality, zeros where an item lacks one; zeros without any content.

        ``graph_NS``: what the content graph of the run gives to the items. Raises ConfigError for a method that the run
        does not support, and for a quantile outside 0 … 1.
        """
        if not 0 <= quantile <= 1:
            raise ConfigError(
                f"{setting('quantile')} = {quantile}: the length of new items is a quantile of the others', 0 to 1"
            )
        if how not in get_args(ColdStartMethod):
            raise ConfigError(f"unknown way to make item vectors '{how}': use {', '.join(get_args(ColdStartMethod))}")
        length, median = self.item_TS.norm(dim=1).quantile(torch.tensor([quantile, 0.5])).tolist()
        ratio = length / median if median else 1.0
        if graph_NS is None and how == "graph":
            raise ConfigError(f"'graph' needs a run with a content graph: use {DEFAULT_METHOD}")
        if graph_NS is None or how == "aligned":
            return self._own_vectors(modality_NL, how, ratio)
        vector_NS = ratio * graph_NS
        if how != "graph":
            vector_NS = vector_NS + self._own_vectors(modality_NL, how, ratio)
        return self._as_long_as_all(vector_NS)

    def _as_long_as_all(self, vector_NS: Tensor) -> Tensor:
        """Vectors of the length that all trained items have, where they have one, as those that rank by cosine."""
        length_T = self.item_TS.norm(dim=1)
        longest = length_T.max()
        return vector_NS if longest - length_T.min() > 1e-4 * longest else longest * l2_normalize(vector_NS)

    def _own_vectors(self, modality_NL: dict[str, Tensor], how: ColdStartMethod, ratio: float) -> Tensor:
        """Item vectors without the graph's part, (N, S); with it for ``aligned``."""
        if not modality_NL:
            raise ConfigError(f"'{how}': {self.embeddings.backbone} makes no vectors of this content: use graph")
        has_content = torch.stack([(x != 0).any(1) for x in modality_NL.values()]).any(0)[:, None]
        if how == "own":
            return self._backbone_parts(modality_NL) * has_content
        unit_NL = {m: l2_normalize(x) for m, x in modality_NL.items()}
        neighbors_NS, length_N1 = self._neighbor_means(unit_NL, self.item_TS if how == "aligned" else self.own_TS)
        if how == "neighbors":
            direction_NS = neighbors_NS
        elif how == "ridge":
            direction_NS = self.ridge(self._columns(unit_NL))
        elif how == "blend":
            direction_NS = l2_normalize(neighbors_NS) + l2_normalize(self.ridge(self._columns(unit_NL)))
        else:
            direction_NS = self._aligned(unit_NL)
        return ratio * length_N1 * l2_normalize(direction_NS) * has_content

    @cached_property
    def ridge(self) -> Ridge:
        """The map from content to directions, fitted at first use."""
        unit_TL = {m: l2_normalize(x[self.trained_T]) for m, x in self.embeddings.modality_IL.items()}
        return Ridge(self._columns(unit_TL), l2_normalize(self.own_TS))

    def _columns(self, unit_NL: dict[str, Tensor]) -> Tensor:
        count, width = len(next(iter(unit_NL.values()))), self.embeddings.item_IL.shape[1]
        columns = [unit_NL.get(m, torch.zeros(count, width)) for m in self.embeddings.modality_IL]
        return torch.cat([*columns, *((x != 0).any(1, keepdim=True).float() for x in columns)], dim=1)

    def _aligned(self, unit_NL: dict[str, Tensor]) -> Tensor:
        aligners, width = self.embeddings.aligners, self.embeddings.item_IL.shape[1]
        if width != self.item_TS.shape[1] or any((m, ID) not in aligners for m in unit_NL):
            raise ConfigError("'aligned' needs a run with item-level alignment and one vector to score with: use ridge")
        aligned = {m: l2_normalize(aligners[m, ID](x, normalized=True)) for m, x in unit_NL.items()}
        return torch.stack([x * (unit_NL[m] != 0).any(1, keepdim=True) for m, x in aligned.items()]).sum(0)

    def _backbone_parts(self, modality_NL: dict[str, Tensor]) -> Tensor:
        parts = self.embeddings.part_IS
        vector_NS = parts["bias"][:1].double() if "bias" in parts else torch.zeros(1, dtype=torch.float64)
        for m, x_NL in modality_NL.items():
            i_TL = self.embeddings.modality_IL[m][self.trained_T].double()
            part_TS = parts[m][self.trained_T].double() if m in parts else None
            map_LS = None if part_TS is None else torch.linalg.lstsq(i_TL, part_TS, driver="gelsd").solution
            if part_TS is None or map_LS is None or (i_TL @ map_LS - part_TS).norm() > 1e-3 * part_TS.norm():
                raise ConfigError(
                    f"'own': {self.embeddings.backbone} has no linear map from {m} to vectors of items: use "
                    f"{DEFAULT_METHOD}"
                )
            vector_NS = vector_NS + x_NL.double() @ map_LS
        return vector_NS.float()

    def _neighbor_means(self, unit_NL: dict[str, Tensor], vector_TS: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted means over the nearest trained items: of their directions, (N, S), and of their lengths, (N, 1)."""
        unit_TL = {m: l2_normalize(self.embeddings.modality_IL[m][self.trained_T]) for m in unit_NL}
        all_TS = torch.cat([l2_normalize(vector_TS), vector_TS.norm(dim=1, keepdim=True)], dim=1)
        means = []
        for start in range(0, len(next(iter(unit_NL.values()))), 1024):
            cosine = torch.stack([x[start : start + 1024] @ unit_TL[m].T for m, x in unit_NL.items()]).mean(0)
            top, item = cosine.topk(min(self.k, cosine.shape[1]), dim=1)
            weight = top.clamp_min(1e-6)[:, :, None]
            means.append((weight * all_TS[item]).sum(1) / weight.sum(1))
        mean_NS = torch.cat(means)
        return mean_NS[:, :-1], mean_NS[:, -1:]


def append_items(
    embeddings: TrainedEmbeddings, vector_NS: Tensor, modality_NL: Mapping[str, Tensor]
) -> TrainedEmbeddings:
    """Append items with these vectors; ``modality_NL`` holds their i^m, and an item without one has zeros."""
    count, width = len(vector_NS), embeddings.item_IL.shape[1]
    from_content_I = embeddings.has_vector & (embeddings.degree_I == 0)
    item_IS = torch.cat([embeddings.item_IS, vector_NS])
    zeros_NL = torch.zeros(count, width)
    one_space = embeddings.item_IL is embeddings.item_IS
    return replace(
        embeddings,
        item_IS=item_IS,
        item_IL=item_IS if one_space else torch.cat([embeddings.item_IL, zeros_NL]),
        degree_I=torch.cat([embeddings.degree_I, torch.zeros(count, dtype=torch.int64)]),
        from_content_I=torch.cat([from_content_I, (vector_NS != 0).any(1)]),
        absent_I=None if embeddings.absent_I is None else torch.cat([embeddings.absent_I, torch.zeros(count).bool()]),
        modality_IL={m: torch.cat([x_IL, modality_NL.get(m, zeros_NL)]) for m, x_IL in embeddings.modality_IL.items()},
    )


def replace_items(embeddings: TrainedEmbeddings, row_N: Tensor, vector_NS: Tensor) -> TrainedEmbeddings:
    """Replace the vectors of the items ``row_N``, except where the new vector is zero."""
    has_vector_N = (vector_NS != 0).any(1)
    row_N, vector_NS = row_N[has_vector_N], vector_NS[has_vector_N]
    from_content_I = embeddings.has_vector & (embeddings.degree_I == 0)
    item_IS = embeddings.item_IS.index_copy(0, row_N, vector_NS)
    one_space = embeddings.item_IL is embeddings.item_IS
    return replace(
        embeddings,
        item_IS=item_IS,
        item_IL=item_IS if one_space else embeddings.item_IL.index_fill(0, row_N, 0.0),
        part_IS={name: part_IS.index_fill(0, row_N, 0.0) for name, part_IS in embeddings.part_IS.items()},
        from_content_I=from_content_I.index_fill(0, row_N, True),
    )
