"""Balance of the alignment and the recommender's own loss: conflicts left out, a given share of the gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from crossrec.alignment.base import Alignment
from crossrec.ops.gradients import total_norm, with_gradients, without_conflict
from crossrec.types import Batch, Representations


def balanced(
    alignment: Alignment, reps: Representations, batch: Batch, own_loss: Tensor, *, plain: Representations | None = None
) -> tuple[dict[str, Tensor], Tensor]:
    """Named terms of the alignment, and their weighted total with its gradient balanced against that of ``own_loss``.

    In an own loop::

        terms, total = balanced(cross, reps, batch, own_loss)
        (own_loss + total).backward()

    Let g and h be the gradients of the total and of ``own_loss`` by the vectors that the alignment gets: u, i^ID and
    the recommender's own i^m. ``config.gradient_share`` ρ: the total is multiplied by the constant ρ ‖h‖ / ‖g‖, norms
    over all vectors together. ``config.conflicts`` "project": then the part of g that points against h is left out row
    by row, a row being a user or an item, before g goes on into the recommender (``without_conflict``). Parameters of
    the alignment get their full gradient, and the value of the total is that before the projection. With neither
    setting this is ``alignment(reps, batch)`` and its total.

    Where ``own_loss`` does not pass through the vectors that the alignment gets, those that score stand in, if the
    others are computed from them; then those of ``plain``, the representations before a content graph. Vectors without
    such a stand-in keep their gradient and are not in the norms.

    Costs one more backward pass through ``own_loss`` down to these vectors. Has no second derivative.
    """
    config = alignment.config
    if config.conflicts is None and config.gradient_share is None:
        terms = alignment(reps, batch)
        return terms, alignment.total(terms)
    content = {m: reps.modality_IL[m] for m in alignment.modalities if m in reps.modality_IL}
    stages = [stage for stage in (reps, plain) if stage is not None]
    candidates = [
        [vector for stage in stages for vector in (stage.user_UL, stage.user_US)],
        [vector for stage in stages for vector in (stage.item_IL, stage.item_IS)],
        *([vector] for vector in content.values()),
    ]
    leaves = [vectors[0].detach().requires_grad_() for vectors in candidates]
    cut = replace(reps, user_UL=leaves[0], item_IL=leaves[1], modality_IL=dict(zip(content, leaves[2:], strict=True)))
    terms = alignment(cut, batch)
    total = alignment.total(terms)
    parameters = [parameter for parameter in alignment.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(total, [*leaves, *parameters], allow_unused=True)
    of_vectors, of_parameters = gradients[: len(leaves)], gradients[len(leaves) :]

    moves = [_Move.choose(v, g, own_loss) for v, g in zip(candidates, of_vectors, strict=True) if g is not None]
    moves += [_Move(p, g) for p, g in zip(parameters, of_parameters, strict=True) if g is not None]
    if config.gradient_share is not None:
        scale = _scale(config.gradient_share, [move for move in moves if move.own is not None])
        total, moves = total * scale, [replace(move, gradient=move.gradient * scale) for move in moves]
    if config.conflicts == "project":
        moves = [move.without_conflict() for move in moves]
    return terms, with_gradients(total, [(move.tensor, move.gradient) for move in moves])


@dataclass(frozen=True)
class _Move:
    """A tensor, the gradient of the alignment by it and, where it is compared, that of the recommender's own loss."""

    tensor: Tensor
    gradient: Tensor
    own: Tensor | None = None

    @staticmethod
    def choose(vectors: Sequence[Tensor], gradient: Tensor, own_loss: Tensor) -> _Move:
        """The first of the vectors that both losses pass through; the first of all, not compared, where there is none.

        ``gradient``: of the alignment by the first of them.
        """
        handed = vectors[0]
        for vector in vectors:
            own = _gradient(own_loss, vector)
            through = gradient if vector is handed or own is None else _gradient(handed, vector, gradient)
            if own is not None and through is not None:
                return _Move(vector, through, own)
        return _Move(handed, gradient)

    def without_conflict(self) -> _Move:
        return self if self.own is None else replace(self, gradient=without_conflict(self.gradient, self.own))


def _gradient(value: Tensor, tensor: Tensor, outer: Tensor | None = None) -> Tensor | None:
    """Gradient of ``value`` (times ``outer``) by the tensor, None where it does not depend on it. Keeps the graph."""
    if not (value.requires_grad and tensor.requires_grad):
        return None
    return torch.autograd.grad(value, tensor, outer, retain_graph=True, allow_unused=True)[0]


def _scale(share: float, moves: Sequence[_Move]) -> Tensor | float:
    """share · ‖own gradients‖ / ‖gradients‖, 0 where there are none."""
    if not moves:
        return 0.0
    norm, own_norm = total_norm([m.gradient for m in moves]), total_norm([m.own for m in moves if m.own is not None])
    return torch.where(norm > 0, share * own_norm / norm, 0.0)
