"""Vectors for those whom training has not seen: a user with a history, an item with content.

Every function is a closed form over the vectors of a run; none of them trains.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from crossrec.errors import ConfigError
from crossrec.ops.vectors import l2_normalize
from crossrec.runs.embeddings import TrainedEmbeddings
from crossrec.types import ID

FoldIn = Literal["ridge", "propagation", "mean"]
"""How a history becomes a user vector; see ``History``."""
NewItem = Literal["blend", "neighbors", "ridge", "aligned", "own"]
"""How content becomes an item vector; see ``Newcomers``."""
DEFAULT: NewItem = "blend"
"""The best on validation items that were made anew from the others; docs/recommend.md has the figures."""
PENALTIES = tuple(10.0**e for e in range(-4, 5))
"""Ridge penalties to choose from, in units of the mean square of a column times the number of rows."""


class Ridge:
    """Least squares with an L2 penalty and an intercept, the penalty with the least leave-one-out error of PENALTIES.

    ``x_ND`` → ``y_NS``. Solved in float64 by one eigendecomposition of the D × D moments; rows are leave-one-out by
    the hat matrix's diagonal.
    """

    def __init__(self, x_ND: Tensor, y_NS: Tensor) -> None:
        x_ND, y_NS = x_ND.double(), y_NS.double()
        self.x_D, self.y_S = x_ND.mean(0), y_NS.mean(0)
        x_ND, y_NS = x_ND - self.x_D, y_NS - self.y_S
        value_D, vector_DD = torch.linalg.eigh(x_ND.T @ x_ND)
        value_D = value_D.clamp_min(0)
        turned_ND = x_ND @ vector_DD
        projected_DS = turned_ND.T @ y_NS
        scale = float(value_D.mean()) or 1.0
        least = float("inf")
        for penalty in PENALTIES:
            inverse_D = 1 / (value_D + penalty * scale)
            hat_N = (turned_ND.square() * inverse_D).sum(1) + 1 / len(x_ND)
            fitted_NS = turned_ND @ (inverse_D[:, None] * projected_DS)
            error = float(((y_NS - fitted_NS) / (1 - hat_N).clamp_min(1e-6)[:, None]).square().sum())
            if error < least:
                least, self.penalty = error, penalty
                self.weight_DS = vector_DD @ (inverse_D[:, None] * projected_DS)

    def __call__(self, x_ND: Tensor) -> Tensor:
        """Predictions, (N, S) float32."""
        made: Tensor = ((x_ND.double() - self.x_D) @ self.weight_DS + self.y_S).float()
        return made


class History:
    """From the items somebody took to a user vector.

    - ``mean``: the mean of the items' vectors.
    - ``propagation``: Σ_i item_i / √d_i / √n, a layer of graph convolution, as a LightGCN makes the vector of a user
      (less the user's own row, which a new one does not have); d_i counts the training users of item i.
    - ``ridge``: a linear map from the propagation vector to the user vector, fitted on all users of the run.
    """

    def __init__(self, snapshot: TrainedEmbeddings) -> None:
        self.snapshot = snapshot
        self.item_IS = snapshot.item_IS / snapshot.degree_I.clamp_min(1).float().sqrt()[:, None]
        self._ridge: Ridge | None = None

    def user(self, item_N: Tensor, how: FoldIn) -> Tensor:
        """The vector of a user with these (distinct) items, (S,)."""
        if how == "mean":
            return self.snapshot.item_IS[item_N].mean(0)
        return self._finish(self.item_IS[item_N].sum(0, keepdim=True) / max(len(item_N), 1) ** 0.5, how)[0]

    def users(self, taken: sp.csr_matrix, how: FoldIn) -> Tensor:
        """The same for many: ``taken`` is a (users, I) matrix of ones; a user without items has a vector of zeros."""
        count_U = torch.from_numpy(np.diff(taken.indptr)).float().clamp_min(1)[:, None]
        if how == "mean":
            return _product(taken, self.snapshot.item_IS) / count_U
        return self._finish(_product(taken, self.item_IS) / count_U.sqrt(), how)

    def _finish(self, spread_US: Tensor, how: FoldIn) -> Tensor:
        if how == "propagation":
            return spread_US
        if how != "ridge":
            raise ConfigError(f"unknown fold-in '{how}': use ridge, propagation or mean")
        return self.ridge(spread_US)

    @property
    def ridge(self) -> Ridge:
        """The fitted map; made at first use."""
        if self._ridge is None:
            taken = trained_matrix(self.snapshot)
            known = np.flatnonzero(np.diff(taken.indptr))
            if not len(known):
                raise ConfigError("nobody has training items in this run: there is nothing to fold a history in by")
            count_U = torch.from_numpy(np.diff(taken.indptr)[known]).float()[:, None]
            spread_US = _product(taken[known], self.item_IS) / count_U.sqrt()
            self._ridge = Ridge(spread_US, self.snapshot.user_US[torch.from_numpy(known)])
        return self._ridge


def trained_matrix(snapshot: TrainedEmbeddings) -> sp.csr_matrix:
    """The training interactions as a (U, I) matrix of ones."""
    user_N = np.repeat(np.arange(snapshot.num_users), snapshot.seen_indptr.diff().numpy())
    trained = snapshot.seen_trained.numpy()
    pairs = user_N[trained], snapshot.seen_item.numpy()[trained]
    return sp.csr_matrix((np.ones(len(pairs[0])), pairs), (snapshot.num_users, snapshot.num_items))


class Newcomers:
    """From content to the vectors of items that nobody has touched, all of them of dimension S.

    - ``neighbors``: mean of the directions of the ``k`` touched items that are most similar in content, weighted by the
      mean cosine over the modalities.
    - ``ridge``: a linear map from the vectors i^m (of unit length, side by side, with a mark for each that is there) to
      the direction of the item's vector, fitted on the touched items.
    - ``blend``: the sum of these two directions.
    - ``aligned``: mean over the modalities of the residual aligner's output î^{m→id} (Equation 3), of unit length: what
      item-level alignment itself makes of content. Needs a run with item-level alignment and S = L.
    - ``own``: what the backbone itself gives an item besides its id, where that is a linear map of the i^m, as VBPR has
      it: the sum of these parts, in the length that they have.

    Dot products rank by length too, which goes with popularity, and a new item's is unknown. But for ``own``, a vector
    gets the mean length of those ``k`` items, weighted alike, times the ratio of the ``quantile`` of all lengths to the
    median. The higher it is, the more lists show new items instead of others; among themselves it changes nothing.
    """

    def __init__(self, snapshot: TrainedEmbeddings, *, k: int = 20) -> None:
        if not snapshot.modality_IL:
            raise ConfigError(
                f"{snapshot.backbone} without alignment knows no content: train with --alignment cross, or a "
                "multi-modal backbone, on a data set with features"
            )
        self.snapshot, self.k = snapshot, k
        self.touched_T = (snapshot.degree_I > 0).nonzero()[:, 0]
        if not len(self.touched_T):
            raise ConfigError("no item of this run has interactions: there is nothing to liken new ones to")
        self.item_TS = snapshot.item_IS[self.touched_T]
        self._ridge: Ridge | None = None

    def vectors(self, modality_NL: dict[str, Tensor], how: NewItem, quantile: float = 0.5) -> Tensor:
        """Item vectors, (N, S), of i^m by modality (zeros where an item lacks one); zeros without any content.

        Raises ConfigError for a way that the run does not have, and for a quantile outside 0 … 1.
        """
        if not 0 <= quantile <= 1:
            raise ConfigError(f"quantile = {quantile}: the length of new items is a quantile of the others', 0 to 1")
        has_content = torch.stack([(x != 0).any(1) for x in modality_NL.values()]).any(0)[:, None]
        if how == "own":
            return self._own(modality_NL) * has_content
        known = {m: l2_normalize(x) for m, x in modality_NL.items()}
        alike_NS, length_N1 = self._neighbors(known)
        if how == "neighbors":
            made = alike_NS
        elif how == "ridge":
            made = self.ridge(self._columns(known))
        elif how == "blend":
            made = l2_normalize(alike_NS) + l2_normalize(self.ridge(self._columns(known)))
        elif how == "aligned":
            made = self._aligned(known)
        else:
            raise ConfigError(f"unknown way to make item vectors '{how}': use {', '.join(get_args(NewItem))}")
        asked, median = self.item_TS.norm(dim=1).quantile(torch.tensor([quantile, 0.5])).tolist()
        return (asked / median if median else 1.0) * length_N1 * l2_normalize(made) * has_content

    @property
    def ridge(self) -> Ridge:
        """The fitted map; made at first use."""
        if self._ridge is None:
            touched = {m: l2_normalize(x[self.touched_T]) for m, x in self.snapshot.modality_IL.items()}
            self._ridge = Ridge(self._columns(touched), l2_normalize(self.item_TS))
        return self._ridge

    def _columns(self, known: dict[str, Tensor]) -> Tensor:
        count, width = len(next(iter(known.values()))), self.snapshot.item_IL.shape[1]
        columns = [known.get(m, torch.zeros(count, width)) for m in self.snapshot.modality_IL]
        return torch.cat([*columns, *((x != 0).any(1, keepdim=True).float() for x in columns)], dim=1)

    def _aligned(self, known: dict[str, Tensor]) -> Tensor:
        snapshot = self.snapshot
        lacking = [m for m in known if (m, ID) not in snapshot.aligners]
        if lacking or snapshot.item_IL.shape[1] != snapshot.item_IS.shape[1]:
            raise ConfigError("'aligned' needs a run with item-level alignment and one vector to score with: use ridge")
        return torch.stack(
            [l2_normalize(snapshot.aligners[m, ID](x)) * (x != 0).any(1, keepdim=True) for m, x in known.items()]
        ).sum(0)

    def _own(self, modality_NL: dict[str, Tensor]) -> Tensor:
        parts = self.snapshot.part_IS
        made_NS = parts["bias"][:1].double() if "bias" in parts else torch.zeros(1, dtype=torch.float64)
        for m, x_NL in modality_NL.items():
            i_TL = self.snapshot.modality_IL[m][self.touched_T].double()
            part_TS = parts[m][self.touched_T].double() if m in parts else None
            map_LS = None if part_TS is None else torch.linalg.lstsq(i_TL, part_TS, driver="gelsd").solution
            if part_TS is None or map_LS is None or (i_TL @ map_LS - part_TS).norm() > 1e-3 * part_TS.norm():
                raise ConfigError(
                    f"'own': {self.snapshot.backbone} has no linear map from {m} to vectors of items: use {DEFAULT}"
                )
            made_NS = made_NS + x_NL.double() @ map_LS
        return made_NS.float()

    def _neighbors(self, known: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Weighted means of the directions of the most similar touched items, (N, S), and of their lengths, (N, 1)."""
        table = {m: l2_normalize(self.snapshot.modality_IL[m][self.touched_T]) for m in known}
        length_T1 = self.item_TS.norm(dim=1, keepdim=True)
        all_TS = torch.cat([l2_normalize(self.item_TS), length_T1], dim=1)
        made = []
        for start in range(0, len(next(iter(known.values()))), 1024):
            cosine = torch.stack([x[start : start + 1024] @ table[m].T for m, x in known.items()]).mean(0)
            top, item = cosine.topk(min(self.k, cosine.shape[1]), dim=1)
            weight = top.clamp_min(1e-6)[:, :, None]
            made.append((weight * all_TS[item]).sum(1) / weight.sum(1))
        mean_NS = torch.cat(made)
        return mean_NS[:, :-1], mean_NS[:, -1:]


def _product(matrix: sp.csr_matrix, dense: Tensor) -> Tensor:
    made: Tensor = torch.from_numpy(np.asarray(matrix @ dense.double().numpy())).float()
    return made
