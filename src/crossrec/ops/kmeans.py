"""k-means clustering (Lloyd 1982) in torch, in blocks, on any device, seeded by a generator.

faiss has one too, but is missing on some platforms and seeds itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from crossrec.ops.blockwise import block_buffer, rows_per_block
from crossrec.ops.row_blocks import over_blocks, row_blocks


@torch.no_grad()
def kmeans(
    vector_NL: Tensor, clusters: int, generator: torch.Generator, *, rounds: int = 20, sample: int = 256
) -> tuple[Tensor, Tensor]:
    """Centroids (P, L) that locally minimise Σ_n min_p ‖x_n - c_p‖², and every vector's nearest one, (N,) int64.

    P = ``clusters``, or N where there are fewer vectors. The first centroids are vectors drawn without replacement. At
    most ``rounds`` times each centroid moves to the mean of its vectors; a centroid without vectors stays. Centroids
    are fitted to at most ``sample`` vectors per cluster, drawn at random. Passes no gradient.
    """
    clusters = min(clusters, len(vector_NL))
    order = torch.randperm(len(vector_NL), generator=generator, device=generator.device)
    fitted = vector_NL[order[: sample * clusters].to(vector_NL.device)]
    centroid_PL = fitted[:clusters].clone()
    for _ in range(rounds):
        index = nearest(fitted, centroid_PL)
        total = torch.zeros_like(centroid_PL).index_add_(0, index, fitted)
        count = torch.bincount(index, minlength=clusters).unsqueeze(1)
        moved = torch.where(count > 0, total / count.clamp_min(1), centroid_PL)
        if torch.equal(moved, centroid_PL):
            break
        centroid_PL = moved
    return centroid_PL, nearest(vector_NL, centroid_PL)


@torch.no_grad()
def nearest(vector_NL: Tensor, centroid_PL: Tensor) -> Tensor:
    """argmin_p ‖x_n - c_p‖ of every vector, (N,) int64, the first of equals; in blocks of rows."""
    half_square_P = centroid_PL.square().sum(1) / 2
    index_N = torch.empty(len(vector_NL), dtype=torch.int64, device=vector_NL.device)
    size = rows_per_block(vector_NL, len(centroid_PL))
    buffer = block_buffer(size, len(centroid_PL), vector_NL)

    def visit(block: slice, _: Sequence[Tensor]) -> None:
        score = torch.mm(vector_NL[block], centroid_PL.T, out=buffer[: block.stop - block.start]).sub_(half_square_P)
        index_N[block] = score.argmax(1)

    over_blocks(row_blocks(len(vector_NL), size), visit, rows=[index_N])
    return index_N
