"""Estimate of the memory that a training takes, before it starts, and what would fit where that is too much.

Most of it are matrices with a row for each user or item: the weights, a copy of the best, two moments of Adam, and what
a step computes with gradients. How many of each a backbone has is in ``MATRICES``; ``benchmarks.memory`` measures them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from crossrec.alignment import CrossConfig
from crossrec.alignment.config import default_prototypes
from crossrec.backbones import BACKBONES
from crossrec.config import Config
from crossrec.content_graph import NEIGHBORS
from crossrec.data import Dataset
from crossrec.memory import gib, require_memory, resident_memory
from crossrec.ops.cluster_kernel import KEPT_NUMBERS
from crossrec.runs.config import RunConfig

IGNORE = "CROSSREC_IGNORE_MEMORY"
"""Environment variable: 1 starts a training though its estimate does not fit."""
FLOAT = 4
"""Bytes of a number."""
KEPT = 4
"""Copies of every weight: itself, the best one, and the two moments of Adam. A checkpoint is written without a copy."""
SPREAD, LESS_SPREAD, SPREAD_UP_TO = 2.4, 1.1, 55e6
"""Memory that a step's matrices take, as multiple of their size, since freed memory lies between what is still in use:
that of up to so many numbers, and of any beyond all bounds."""
PER_INTERACTION = 80
"""Bytes: held-out pairs, batches of an epoch, and a graph."""
LIBRARIES = 90 * 2**20
"""Bytes that libraries take at their first use."""
KNN_COPIES, KNN_ROWS, KNN_NUMBERS = 4, 1024, 2**26
"""Blocks of cosines that a search of similar items holds at a time, and the size of a block (``graph.knn``)."""
SCORED_USERS = 128
"""Users whose scores of all items are held at a time when they are ranked."""
BATCH_ROWS, ALIGNED_ROWS = 9, 7
"""Vectors that a step holds for each pair of its batch, and an alignment for each item, user and modality."""
DAMRS_COSINES = 4.3
"""Cosines of the batch's items with all items that DA-MRS holds for each of its graphs."""
PER_EDGE = 60
"""Bytes of an edge of a graph of items or users, while it is built."""


class Matrices(NamedTuple):
    """Matrices of a backbone with L columns; ``m`` stands for every content modality.

    ``user``, ``item``: weights. ``step_user``, ``step_item``: most that a step holds besides. ``features``: the raw
    features are weights too. ``maps``: L columns for each column of the features; ``squares``: weights of L × L.
    ``search``: when similar items are searched, at the "start" or in every "epoch". ``scored``: columns of the vectors
    that score, in L.
    """

    user: tuple[float, float]
    item: tuple[float, float]
    step_user: tuple[float, float]
    step_item: tuple[float, float]
    features: bool = False
    maps: int = 0
    squares: tuple[float, float] = (0, 0)
    search: str = ""
    scored: tuple[float, float] = (1, 0)
    per_interaction: int = PER_INTERACTION


MATRICES = {
    "bpr": Matrices((1, 0), (1, 0), (1, 0), (1, 0)),
    "lightgcn": Matrices((1, 0), (1, 0), (5, 0), (5, 0)),
    "sgl": Matrices((1, 0), (1, 0), (11, 0), (11, 0)),
    "directau": Matrices((1, 0), (1, 0), (3, 0), (2, 0)),
    "ncl": Matrices((1, 0), (1, 0), (3, 0), (3, 0)),
    "vbpr": Matrices((2, 0), (1, 0), (3, 0), (4, 0), maps=1, scored=(2, 0)),
    "grcn": Matrices((1, 1), (1, 0), (5, 3.5), (5, 5), maps=1, scored=(1, 1), per_interaction=800),
    "dualgnn": Matrices((0, 1), (0, 0), (0, 3), (0, 11), maps=4, squares=(0, 4)),
    "slmrec": Matrices((1, 0), (1, 0), (4.5, 4.5), (5.5, 5.5), maps=1, squares=(2, 4)),
    "lattice": Matrices((1, 0), (1, 0), (6, 0), (8, 2), maps=1, search="epoch"),
    "freedom": Matrices((1, 0), (1, 0), (5, 0), (6, 0.5), features=True, maps=1, search="start"),
    "mgcn": Matrices((1, 0), (1, 0), (7, 11), (7, 15), features=True, maps=1, squares=(1, 2), search="start"),
    "gume": Matrices((1, 1), (1, 0), (8, 12), (8, 15), features=True, maps=1, squares=(1, 2), search="start"),
    "pgl": Matrices((0, 1), (0, 0), (0, 4), (0, 6), features=True, maps=1, search="start", scored=(0, 1)),
    "damrs": Matrices((1, 0), (1, 0), (6, 0), (8, 3), search="start"),
}
PER_LAYER = {"ncl": ((2, 0), (2, 0)), "dualgnn": ((0, 2), (0, 2)), "grcn": ((0, 0.9), (0, 0))}
"""What each layer adds to a step's matrices of users and of items, where layers are kept for the backward pass."""
OTHER = Matrices((1, 0), (1, 0), (6, 2), (6, 3), maps=1)
"""What is taken for a backbone that is not in the table."""


class Sizes(NamedTuple):
    """Numbers of a data set. ``held_out``: pairs of the larger of the two splits; ``widths``: columns of features."""

    users: int
    items: int
    interactions: int
    held_out: int
    widths: tuple[int, ...]

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """The sizes of a data set."""
        held_out = max(len(dataset.valid), len(dataset.test))
        widths = tuple(matrix.shape[1] for matrix in dataset.features.values())
        return cls(dataset.num_users, dataset.num_items, len(dataset.train), held_out, widths)


def training_memory(config: RunConfig, sizes: Sizes) -> float:
    """Bytes at the peak of a training on a CPU, besides what the process has taken once its data are loaded.

    Within a quarter of the peak of the whole process; docs/performance.md has the measurements.
    """
    matrices, users, items, count = _matrices(config), sizes.users, sizes.items, len(sizes.widths)
    dim = config.backbone.dim
    weights = number_of_weights(config, sizes)
    step = users * dim * _times(matrices.step_user, count) + items * dim * _times(matrices.step_item, count)
    step += _weights_of_alignment(config, sizes) + sum(sizes.widths) * items * matrices.features
    step += _batch(config, sizes)
    scored = dim * _times(matrices.scored, count)
    ranking = weights + (users + items) * scored + 3 * min(users, sizes.held_out) * scored + items * SCORED_USERS
    search = KNN_COPIES * min(KNN_ROWS * items, KNN_NUMBERS) if _searches(config, matrices) else 0
    spread = LESS_SPREAD + (SPREAD - LESS_SPREAD) * min(1, SPREAD_UP_TO / max(1, step))
    peak = max(weights + search, KEPT * weights + max(spread * step, ranking, search * (matrices.search == "epoch")))
    other = _graphs(config, sizes) + sizes.interactions * matrices.per_interaction + LIBRARIES
    return FLOAT * (peak + _kernel(config, sizes)) + other


def number_of_weights(config: RunConfig, sizes: Sizes) -> float:
    """Numbers that are trained, but for biases and the like."""
    matrices, dim, count, columns = _matrices(config), config.backbone.dim, len(sizes.widths), sum(sizes.widths)
    own = sizes.users * _times(matrices.user, count) + sizes.items * _times(matrices.item, count)
    own += matrices.maps * columns + dim * _times(matrices.squares, count)
    return dim * own + sizes.items * columns * matrices.features + _weights_of_alignment(config, sizes)


def require_training_memory(config: RunConfig, dataset: Dataset) -> None:
    """Raise MemoryLimitError where a training cannot fit into what is available; warn where it may not.

    The message says how much it takes, how much there is, and what would fit. Does nothing with ``IGNORE`` set.
    """
    if os.environ.get(IGNORE, "0") not in ("", "0"):
        return
    sizes = Sizes.of(dataset)
    require_memory(
        training_memory(config, sizes), "training", lambda room: _way_out(config, sizes, room), taken=resident_memory()
    )


def _way_out(config: RunConfig, sizes: Sizes, room: float) -> str:
    """What would fit into ``room`` bytes: each of the settings that make a training smaller, alone."""
    ways = []
    for flag, part, name, value in (
        ("--dim", "backbone", "dim", config.backbone.dim),
        ("--batch-size", "training", "batch_size", config.training.batch_size),
    ):
        smaller = (2**power for power in range(value.bit_length() - 1, 2, -1) if 2**power < value)
        for number in smaller:
            needed = training_memory(_with(config, part, {name: number}), sizes)
            if needed <= room:
                ways.append(f"{flag} {number} ({gib(needed + resident_memory())})")
                break
    if config.alignment is not None:
        needed = training_memory(config.model_copy(update={"alignment": None}), sizes)
        if needed <= room:
            ways.append(f"--alignment none ({gib(needed + resident_memory())})")
    fits = " or ".join(ways)
    advice = f"{fits} would fit" if fits else "no --dim fits; train on fewer users and items, or with more memory"
    return f"{advice}; {IGNORE}=1 starts it all the same"


def _with(config: RunConfig, part: str, values: Mapping[str, Any]) -> RunConfig:
    section: Config = getattr(config, part)
    return config.model_copy(update={part: section.model_copy(update=values)})


def _matrices(config: RunConfig) -> Matrices:
    name = config.backbone.name
    matrices = MATRICES.get(name, OTHER)
    layers, per_layer = getattr(config.backbone, "layers", getattr(config.backbone, "routing", 0)), PER_LAYER.get(name)
    if per_layer is None:
        return matrices
    user, item = (
        (a + layers * x, b + layers * y)
        for (a, b), (x, y) in zip((matrices.step_user, matrices.step_item), per_layer, strict=True)
    )
    return matrices._replace(step_user=user, step_item=item)


def _cross(config: RunConfig) -> CrossConfig | None:
    return config.alignment if isinstance(config.alignment, CrossConfig) else None


def _weights_of_alignment(config: RunConfig, sizes: Sizes) -> float:
    """Numbers that an alignment trains."""
    cross, dim = _cross(config), config.backbone.dim
    if cross is None or not cross.active:
        return 0
    pairs = len(sizes.widths) * (len(sizes.widths) + 1) if {"item", "tuning"} & set(cross.active) else 0
    squares = pairs * (2 if cross.aligner == "ffn" else 1)
    columns = 0 if _has_item_modalities(config) else sum(sizes.widths)
    return dim * (dim * squares + columns + sum(_prototypes(cross, sizes)))


def _has_item_modalities(config: RunConfig) -> bool:
    """Whether the backbone has content vectors of its own, so that the alignment projects none."""
    return BACKBONES[config.backbone.name].multimodal and config.backbone.name != "vbpr"


def _prototypes(cross: CrossConfig, sizes: Sizes) -> tuple[int, int]:
    """Prototypes of the items' codebook and of the users' and items' one, 0 without the term."""
    items = cross.prototypes_itv or default_prototypes(sizes.items)
    both = cross.prototypes_ui or 2 * items
    return items * ("cluster_items" in cross.active), both * ("cluster_users" in cross.active)


def _distinct(rows: int, drawn: int) -> float:
    """How many of ``rows`` occur among so many that are drawn."""
    return rows * -math.expm1(-drawn / max(1, rows))


def _batch(config: RunConfig, sizes: Sizes) -> float:
    """Numbers that a step holds for its batch."""
    dim, count = config.backbone.dim, len(sizes.widths)
    size = min(config.training.batch_size, sizes.interactions)
    items, users = _distinct(sizes.items, size), _distinct(sizes.users, size)
    numbers = BATCH_ROWS * size * dim * _times(_matrices(config).scored, count)
    if config.backbone.name == "damrs" or (config.alignment is not None and config.alignment.name == "damrs"):
        numbers += DAMRS_COSINES * (count + 1) * items * sizes.items
    if config.alignment is not None and config.alignment.active:
        numbers += ALIGNED_ROWS * (count + 1) * (items + users) * dim
    return numbers


def _kernel(config: RunConfig, sizes: Sizes) -> float:
    """Numbers of the Sinkhorn kernel of a batch, which stays until the end."""
    cross = _cross(config)
    if cross is None:
        return 0
    size = min(config.training.batch_size, sizes.interactions)
    items, both = _prototypes(cross, sizes)
    rows = max(_distinct(sizes.items, size), _distinct(sizes.users, size))
    return min(max(items, both) * rows, KEPT_NUMBERS)


def _searches(config: RunConfig, matrices: Matrices) -> bool:
    """Whether similar items are searched by their content."""
    alignment = config.alignment
    around = alignment is not None and bool(alignment.content_graph or getattr(alignment, "fill_neighbors", None))
    return bool(matrices.search) or around or (alignment is not None and alignment.name == "damrs")


def _graphs(config: RunConfig, sizes: Sizes) -> float:
    """Bytes of the graphs of items and of users."""
    backbone, cross, alignment = config.backbone, _cross(config), config.alignment
    edges = sizes.items * len(sizes.widths) * getattr(backbone, "knn", 0) * (4 if backbone.name == "lattice" else 1)
    edges += sizes.users * getattr(backbone, "user_neighbors", 0)
    if cross is not None and "neighbor" in cross.active:
        edges += sizes.items * cross.neighbors
    if alignment is not None and alignment.content_graph:
        edges += sizes.items * len(sizes.widths) * (alignment.content_neighbors or NEIGHBORS)
    return PER_EDGE * edges


def _times(number: tuple[float, float], modalities: int) -> float:
    return number[0] + number[1] * modalities
