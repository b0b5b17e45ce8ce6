"""What Figure 2 plots, and more: how strong each modality is over all training pairs, and which way items align."""

from __future__ import annotations

import torch

from crossrec.alignment import Cross, CrossConfig
from crossrec.objective import Objective
from crossrec.types import Batch, TrainingSet


@torch.no_grad()
def strengths(objective: Objective, data: TrainingSet) -> dict[str, float]:
    """Strengths and directions of the current weights, over the items that have training interactions.

    s_i^m is Equation 1 over *all* training pairs of item i, with the vectors that are recommended with (``eval()``
    mode), and the direction rule is applied to all items at once; a step of training sees those of its batch. Items
    without the content of m have s_i^m = 0 and count, as they do in training. The rule is that of the alignment; of a
    backbone alone it is the dynamic rule: where items would align.

    Returns, for all modalities m, n: "mean m" and "variance m" (unbiased, Equation 2) of s^m over items; "strongest m",
    the share of items whose strongest modality is m (the first of equals); "m->n", the share that supports the
    direction m → n; and once a pair "m<->n", the share that supports both. Draws no random number.
    """
    objective.eval()
    reps, cross = objective.backbone.propagate(), objective.cross
    if cross is None:  # a Cross without terms has no parameters: it only looks
        cross = Cross(
            reps.item_IL.shape[1],
            modalities=objective.backbone.modalities,
            num_items=data.num_items,
            config=CrossConfig(terms=()),
        )
    strength_MN, taken_MMN = cross.strengths(reps, Batch(data.user_T, data.item_T))
    strength_MN, names = strength_MN.double(), cross.modalities
    items = strength_MN.shape[1]
    mean_M, variance_M = strength_MN.mean(1), strength_MN.var(1, correction=min(1, items - 1))
    strongest_N = strength_MN.argmax(0)
    seen = {f"mean {m}": mean_M[k] for k, m in enumerate(names)}
    seen |= {f"variance {m}": variance_M[k] for k, m in enumerate(names)}
    seen |= {f"strongest {m}": (strongest_N == k).double().mean() for k, m in enumerate(names)}
    place = {m: k for k, m in enumerate(names)}
    for m, n in cross.pairs:
        seen[f"{m}->{n}"] = taken_MMN[place[m], place[n]].double().mean()
    for m, n in cross.pairs:
        if place[m] < place[n]:
            both_N = taken_MMN[place[m], place[n]] & taken_MMN[place[n], place[m]]
            seen[f"{m}<->{n}"] = both_N.double().mean()
    return {name: float(value) for name, value in seen.items()}
