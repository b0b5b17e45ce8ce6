"""Record strengths of modalities and directions of alignment over all training pairs (Figure 2)."""

from __future__ import annotations

import torch

from crossrec.alignment import Cross, CrossConfig
from crossrec.objective import Objective
from crossrec.types import Batch, TrainingSet


@torch.no_grad()
def strengths(objective: Objective, data: TrainingSet) -> dict[str, float]:
    """Compute strengths and directions of the current weights, over the items with training interactions.

    s_i^m is Equation 1 over *all* training pairs of item i, with the vectors that recommend (``eval()`` mode). The
    direction rule is applied to all items at once; a training step applies it to those of its batch. Items without
    content of modality m have s_i^m = 0 and count, as they do in training. Rule and scale of strengths are those of the
    alignment. A backbone without CROSS or FETTLE gets the dynamic rule, which shows where items would align.

    Returns, for all modalities m, n:

    - "mean m" and "variance m" (unbiased, Equation 2) of s^m over items
    - "strongest m": share of items whose strongest modality is m (the first of equals)
    - "m->n": share of items that support the direction m → n
    - "m<->n", once a pair: share that supports both directions

    Draws no random number.
    """
    objective.eval()
    reps, cross = objective.for_alignment(objective.whole_vectors()), objective.cross
    if not isinstance(cross, Cross):  # a Cross without terms has no parameters
        cross = Cross(
            reps.item_IL.shape[1],
            modalities=objective.backbone.modalities,
            num_items=data.num_items,
            config=CrossConfig(terms=()),
        )
    strength_MN, supported_MMN = cross.strengths(reps, Batch(data.user_T, data.item_T, weight_B=data.weight_T))
    strength_MN = strength_MN.double()
    mean_M, variance_M = strength_MN.mean(1), strength_MN.var(1, correction=min(1, strength_MN.shape[1] - 1))
    strongest_N = strength_MN.argmax(0)
    index = {m: k for k, m in enumerate(cross.modalities)}
    supported = {(m, n): supported_MMN[index[m], index[n]] for m, n in cross.pairs}
    values = {f"mean {m}": mean_M[k] for m, k in index.items()}
    values |= {f"variance {m}": variance_M[k] for m, k in index.items()}
    values |= {f"strongest {m}": (strongest_N == k).double().mean() for m, k in index.items()}
    values |= {f"{m}->{n}": supported_N.double().mean() for (m, n), supported_N in supported.items()}
    values |= {
        f"{m}<->{n}": (supported_N & supported[n, m]).double().mean()
        for (m, n), supported_N in supported.items()
        if index[m] < index[n]
    }
    return {name: float(value) for name, value in values.items()}
