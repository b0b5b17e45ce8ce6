"""Direction tuning (Equation 6): aligned vectors move towards the users who chose the item."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from crossrec.ops.vectors import unit_rows, zero_like


def direction_tuning_loss(
    aligned: Mapping[tuple[str, str], Tensor],
    preference_NL: Tensor,
    strength: Mapping[str, Tensor],
    supported: Mapping[tuple[str, str], Tensor],
    *,
    normalized: bool = False,
) -> Tensor:
    """-1/(|M|(|M|-1)) Σ_{m≠n} mean_{i in D^{m→n}} ( avg_u cos(sg(u), î_i^{m→n}) - s_i^m ), a scalar (Equation 6).

    ``aligned[m, n]``: î of the rows ``supported[m, n]`` (int64) of the N distinct items; ``preference_NL``: the mean
    normalised user per item (``mean_preference``); ``strength[m]``: s^m, (N,); ``normalized``: the aligned vectors have
    length 1 or 0 already. The subtracted s moves the reported value, not the gradient. A direction without items
    contributes 0; where none has any, a differentiable zero; without any pair of modalities, a plain zero.
    """
    total = zero_like(preference_NL)
    for (source, target), row_D in supported.items():
        total = total + zero_like(aligned[source, target])
        if len(row_D):
            preferred_D = (
                preference_NL[row_D].detach() * unit_rows(aligned[source, target], normalized=normalized)
            ).sum(-1)
            total = total + (strength[source][row_D].detach() - preferred_D).mean()
    return total / max(len(strength) * (len(strength) - 1), 1)
