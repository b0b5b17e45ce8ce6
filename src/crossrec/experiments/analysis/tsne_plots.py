"""The pictures of Figure 9: which vectors are put on a map, where t-SNE puts them, and how they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from crossrec.data import Dataset
from crossrec.experiments.analysis.embedding_metrics import tsne
from crossrec.experiments.reporting.figures import legend_below
from crossrec.experiments.reporting.tables import CellValue, Column, ResultTable
from crossrec.randomness import numpy_generator
from crossrec.runs.embeddings import TrainedEmbeddings
from crossrec.types import ID

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

ITEMS, PAIRS = "items", "pairs"
USER = "user"
PANELS = {ITEMS: "id and content of items", PAIRS: "users and content of their items"}
FIXED = {ID: ("#4d4d4d", "o"), USER: ("#0072b2", "x")}
FURTHER = (("#009e73", "^"), ("#d55e00", "s"), ("#cc79a7", "D"), ("#e69f00", "v"))
"""Colour and marker of ids, of users, and of modalities in order."""


def maps(runs: Mapping[str, TrainedEmbeddings], dataset: Dataset, seed: int, *, items: int, pairs: int) -> ResultTable:
    """Two maps a run: every point's panel, alignment, kind, number (of the item; of the pair), and place.

    The items, drawn among those that have training interactions and all content, and the training pairs, drawn among
    those of such items, are the same in all runs. A model without content vectors has the vectors that it makes.
    """
    generator = numpy_generator(seed, "maps")
    present = [(feature != 0).any(axis=1) for feature in dataset.features.values()]
    degree_I = np.bincount(dataset.train.item_N, minlength=dataset.num_items)
    whole_I = np.logical_and.reduce([degree_I > 0, *present])
    item_N = _some(np.flatnonzero(whole_I), items, generator)
    pair_N = _some(np.flatnonzero(whole_I[dataset.train.item_N]), pairs, generator)
    user_P, item_P = dataset.train.user_N[pair_N], dataset.train.item_N[pair_N]
    rows: list[Sequence[CellValue]] = []
    for alignment, made in runs.items():
        content = {m: made.modality_IL[m] for m in sorted(made.modality_IL)}
        of_items = {ID: made.item_IL[item_N]} | {m: table[item_N] for m, table in content.items()}
        of_pairs = {USER: made.user_UL[user_P]} | {m: table[item_P] for m, table in content.items()}
        rows += _placed(ITEMS, alignment, of_items, item_N, seed)
        rows += _placed(PAIRS, alignment, of_pairs, pair_N, seed)
    heads = (Column("panel", "left"), Column("alignment", "left"), Column("vector", "left"), Column("number"))
    return ResultTable(f"{dataset.name}: places by t-SNE", [*heads, Column("x"), Column("y")], rows)


def _some(number_N: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    return np.sort(generator.permutation(number_N)[:count])


def _placed(
    panel: str, alignment: str, vectors: Mapping[str, Tensor], number_N: np.ndarray, seed: int
) -> list[Sequence[CellValue]]:
    if len(number_N) < 2:
        return []
    placed = tsne({kind: torch.as_tensor(table) for kind, table in vectors.items()}, seed)
    return [
        [panel, alignment, kind, int(number), float(x), float(y)]
        for kind, place_N2 in placed.items()
        for number, (x, y) in zip(number_N, place_N2, strict=True)
    ]


def draw_maps(
    canvas: Canvas, placed: ResultTable, titles: Mapping[str, str], told: Mapping[tuple[str, str], str]
) -> None:
    """A column of panels an alignment, titled; ``told``: a line below the panel of that kind and alignment."""
    from matplotlib.lines import Line2D

    panels = canvas.subplots(len(PANELS), len(titles), squeeze=False)
    kinds = list(dict.fromkeys(str(row[2]) for row in placed.rows))
    content = dict(zip((kind for kind in kinds if kind not in FIXED), cycle(FURTHER), strict=False))
    looks = {ID: FIXED[ID], **content, USER: FIXED[USER]}
    for y, (panel, label) in enumerate(PANELS.items()):
        for x, (alignment, title) in enumerate(titles.items()):
            axes = panels[y][x]
            for kind in kinds:
                own = [(row[4], row[5]) for row in placed.rows if row[:3] == [panel, alignment, kind]]
                place_N2 = np.array(own, dtype=np.float64).reshape(-1, 2)
                axes.plot(*place_N2.T, linestyle="", **_dot(*looks[kind]))
            axes.set_title(f"({chr(ord('a') + y * len(titles) + x)}) {title}", fontsize=9)
            axes.set_xlabel(told.get((panel, alignment), ""), fontsize=8)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(True)
            if not x:
                axes.set_ylabel(label)
    keys = [Line2D([], [], linestyle="", label=kind, **_dot(*looks[kind], size=5)) for kind in looks if kind in kinds]
    legend_below(canvas, keys)


def _dot(colour: str, marker: str, size: float = 3.0) -> dict[str, Any]:
    """Hollow, so that what lies below shows."""
    return {"color": colour, "marker": marker, "markersize": size, "markerfacecolor": "none", "markeredgewidth": 0.6}
