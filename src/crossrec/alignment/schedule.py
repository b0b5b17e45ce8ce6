"""When the alignment takes part in training, and how it ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

Fade = Literal["linear", "cosine"]


def alignment_factor(
    epoch: int,
    step: int = 0,
    steps: int = 1,
    *,
    epochs: int | None = None,
    fade: Fade | None = None,
    every: int | None = None,
) -> float:
    """Factor on the alignment's total in one training step; 0 where the alignment takes no part.

    ``epoch`` counts from 1, ``step`` from 0 within the ``steps`` of each epoch; t = (epoch - 1) steps + step. The
    alignment takes part in the first ``epochs`` (all unless given) and there in every k-th step: where t is a multiple
    of ``every`` = k. ``fade``: the factor falls from 1 at t = 0 to 0 at the end of the last of these epochs,
    T = epochs · steps, as 1 - t/T (``linear``) or (1 + cos(π t/T)) / 2 (``cosine``); without it the factor is 1. It is
    not multiplied by k. Raises ValueError for a fade without ``epochs``.
    """
    t = (epoch - 1) * steps + step
    if (epochs is not None and epoch > epochs) or t % (every or 1):
        return 0.0
    if fade is None:
        return 1.0
    if epochs is None:
        raise ValueError("an alignment that fades needs the number of epochs in which it ends")
    progress = min(1.0, t / (epochs * steps))
    return 1 - progress if fade == "linear" else (1 + math.cos(math.pi * progress)) / 2


def last_start(values: Sequence[float], *, epochs: int, stalled: int | None) -> int:
    """Epoch, counted from 1, in which the alignment has last started, before epoch ``len(values) + 1``.

    ``values``: the validation metric after each epoch so far. The alignment takes part in ``epochs`` epochs from its
    start. It starts anew where it has paused, and no value was better than the best, for ``stalled`` epochs; never if
    that is None.
    """
    start, best, best_at = 1, -math.inf, 0
    for n, value in enumerate(values, 1):
        if value > best:
            best, best_at = value, n
        if stalled is not None and n - max(best_at, start + epochs - 1) >= stalled:
            start = n + 1
    return start
