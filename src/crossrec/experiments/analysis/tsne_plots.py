"""Figure 9: choose vectors, place them by t-SNE, and draw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from crossrec.data import Dataset
from crossrec.experiments.analysis.embedding_metrics import tsne
from crossrec.experiments.reporting.figures import legend_below, literal
from crossrec.experiments.reporting.tables import CellValue, Column, ResultTable
from crossrec.randomness import numpy_generator
from crossrec.runs.embeddings import TrainedEmbeddings
from crossrec.types import ID

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ITEMS, PAIRS = "items", "pairs"
USER = "user"
PANELS = {ITEMS: "id and content of items", PAIRS: "users and content of their items"}
FIXED = {ID: ("#4d4d4d", "o"), USER: ("#0072b2", "x")}
FURTHER = (("#009e73", "^"), ("#d55e00", "s"), ("#cc79a7", "D"), ("#e69f00", "v"))
"""Colour and marker of ids, of users, and of modalities in order."""


def tsne_table(
    runs: Mapping[str, TrainedEmbeddings], dataset: Dataset, seed: int, *, items: int, pairs: int
) -> ResultTable:
    """Positions by t-SNE, two panels per run: a row per point with panel, alignment, kind of vector, number, x and y.

    The number is that of the item or of the training pair. Items are drawn among those that have training interactions
    and all content, training pairs among those of such items; they are the same in all runs. A model without content
    vectors has the vectors that it makes.
    """
    generator = numpy_generator(seed, "maps")
    present = [(feature != 0).any(axis=1) for feature in dataset.features.values()]
    degree_I = np.bincount(dataset.train.item_N, minlength=dataset.num_items)
    complete_I = np.logical_and.reduce([degree_I > 0, *present])
    item_N = _sample(np.flatnonzero(complete_I), items, generator)
    pair_N = _sample(np.flatnonzero(complete_I[dataset.train.item_N]), pairs, generator)
    user_P, item_P = dataset.train.user_N[pair_N], dataset.train.item_N[pair_N]
    rows: list[Sequence[CellValue]] = []
    for alignment, embeddings in runs.items():
        content = {m: embeddings.modality_IL[m] for m in sorted(embeddings.modality_IL)}
        of_items = {ID: embeddings.item_IL[item_N]} | {m: vector_IL[item_N] for m, vector_IL in content.items()}
        of_pairs = {USER: embeddings.user_UL[user_P]} | {m: vector_IL[item_P] for m, vector_IL in content.items()}
        rows += _position_rows(ITEMS, alignment, of_items, item_N, seed)
        rows += _position_rows(PAIRS, alignment, of_pairs, pair_N, seed)
    heads = (Column("panel", "left"), Column("alignment", "left"), Column("vector", "left"), Column("number"))
    return ResultTable(f"{dataset.name}: places by t-SNE", [*heads, Column("x"), Column("y")], rows)


def _sample(number_N: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    return np.sort(generator.permutation(number_N)[:count])


def _position_rows(
    panel: str, alignment: str, vectors: Mapping[str, Tensor], number_N: np.ndarray, seed: int
) -> list[Sequence[CellValue]]:
    if len(number_N) < 2:
        return []
    positions = tsne({kind: torch.as_tensor(vector_NL) for kind, vector_NL in vectors.items()}, seed)
    return [
        [panel, alignment, kind, int(number), float(x), float(y)]
        for kind, position_N2 in positions.items()
        for number, (x, y) in zip(number_N, position_N2, strict=True)
    ]


def plot_tsne(
    figure: Figure, positions: ResultTable, titles: Mapping[str, str], notes: Mapping[tuple[str, str], str]
) -> None:
    """Draw a column of panels per alignment, below its title. ``notes``: line below a panel, by panel and alignment."""
    from matplotlib.lines import Line2D

    panels = figure.subplots(len(PANELS), len(titles), squeeze=False)
    kinds = list(dict.fromkeys(str(row[2]) for row in positions.rows))
    content = dict(zip((kind for kind in kinds if kind not in FIXED), cycle(FURTHER), strict=False))
    styles = {ID: FIXED[ID], **content, USER: FIXED[USER]}
    for y, (panel, label) in enumerate(PANELS.items()):
        for x, (alignment, title) in enumerate(titles.items()):
            axes = panels[y][x]
            for kind in kinds:
                points = [(row[4], row[5]) for row in positions.rows if row[:3] == [panel, alignment, kind]]
                position_N2 = np.array(points, dtype=np.float64).reshape(-1, 2)
                axes.plot(*position_N2.T, linestyle="", **_dot(*styles[kind]))
            axes.set_title(f"({chr(ord('a') + y * len(titles) + x)}) {title}", fontsize=9)
            axes.set_xlabel(notes.get((panel, alignment), ""), fontsize=8)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(True)
            if not x:
                axes.set_ylabel(label)
    handles = [
        Line2D([], [], linestyle="", label=literal(kind), **_dot(*styles[kind], size=5))
        for kind in styles
        if kind in kinds
    ]
    legend_below(figure, handles)


def _dot(colour: str, marker: str, size: float = 3.0) -> dict[str, Any]:
    """Style of a hollow marker, which does not hide those below it."""
    return {"color": colour, "marker": marker, "markersize": size, "markerfacecolor": "none", "markeredgewidth": 0.6}
