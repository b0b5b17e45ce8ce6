"""RQ5: does alignment bring modalities together? Distances, cosines with users, and t-SNE before and after (Fig. 9)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from crossrec.config import Number
from crossrec.data import DataConfig, Dataset
from crossrec.experiments.analysis import embedding_metrics
from crossrec.experiments.analysis.comparison import PLAIN, MethodRuns, method_blocks
from crossrec.experiments.analysis.embedding_metrics import RAW, TEST, TRAIN, UNIT, EmbeddingMetrics
from crossrec.experiments.analysis.seed_values import (
    SeedValues,
    is_higher,
    mean_over_seeds,
    measure_runs,
    percent_change,
    seed_values,
)
from crossrec.experiments.analysis.tsne_plots import ITEMS, PAIRS, PANELS, plot_tsne, tsne_table
from crossrec.experiments.analysis.wording import all_hold, judge_all, judge_claim, seeds_note
from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings, method_cells
from crossrec.experiments.reporting.result import ExperimentResult, ResultFigure
from crossrec.experiments.reporting.tables import CellValue, Column, ResultTable, rule_by_first_cell
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.runs.directory import open_embeddings
from crossrec.runs.embeddings import TrainedEmbeddings
from crossrec.types import ID

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_VECTORS = "no vectors"
"""In place of a number: the model makes no vectors of that modality."""
AVERAGE = "average"

ChangeRow = tuple[str, str, Sequence[Sequence[SeedValues]]]
"""Backbone, label, and for each metric its values alone and aligned."""


class VisualizeConfig(ExperimentConfig):
    """Options of ``crossrec visualize``."""

    backbones: tuple[str, ...] = Field(default=("freedom",), min_length=1)
    """Backbones to train."""
    alignment: Literal["cross", "fettle"] = "cross"
    """Alignment to compare with the backbone alone."""
    items: Annotated[Number, Field(ge=2)] = 1000
    """Items in the picture, drawn at random; numbers are over all."""
    pairs: Annotated[Number, Field(ge=2)] = 500
    """Training pairs of a user and an item in the picture; numbers are over all."""
    pictures: bool = True
    """Draw the t-SNE pictures, which needs openTSNE; of the first seed."""


def cells(options: VisualizeConfig, shared: SharedSettings) -> list[Cell]:
    """The backbone alone and aligned, per backbone and seed. Raises ConfigError where pictures cannot be drawn."""
    if options.pictures:
        embedding_metrics.require_tsne()
    return method_cells(options, shared, {name: (name, {}) for name in (PLAIN, options.alignment)})


class BackboneEmbeddings:
    """Metrics of the embeddings of one backbone: of the runs alone, and of the aligned ones."""

    def __init__(self, block: Sequence[MethodRuns], dataset: Dataset) -> None:
        self.plain, self.aligned = block
        self.backbone = self.plain.backbone
        self.modalities = (ID, *sorted(dataset.features))

        def measure(run: Result) -> EmbeddingMetrics:
            return embedding_metrics.embedding_metrics(open_embeddings(run.folder), dataset)

        self.metrics = {method.name: measure_runs(method.results, measure) for method in block}

    def distances(self, length: str, pair: tuple[str, str] | None = None) -> list[SeedValues]:
        """The distance of two modalities, alone and aligned; without ``pair`` the average over all pairs."""

        def read(metrics: EmbeddingMetrics) -> float | None:
            distances = metrics.distance[length]
            return distances.get(pair) if pair else fmean(distances.values()) if distances else None

        return self._values(read)

    def cosines(self, pairs: str, modality: str) -> list[SeedValues]:
        """The cosine of users with a modality of their items, alone and aligned."""
        return self._values(lambda metrics: metrics.cosine[pairs].get(modality))

    def _values(self, read: Callable[[EmbeddingMetrics], float | None]) -> list[SeedValues]:
        """A metric of the runs of both methods; the failure, or NO_VECTORS where a run has none."""
        return [of_runs if isinstance(of_runs, str) else _read(of_runs, read) for of_runs in self.metrics.values()]


def _read(metrics: Sequence[EmbeddingMetrics], read: Callable[[EmbeddingMetrics], float | None]) -> SeedValues:
    values = [value for value in map(read, metrics) if value is not None and not math.isnan(value)]
    return seed_values(values) if len(values) == len(metrics) else NO_VECTORS


def relative_change(new: SeedValues, old: SeedValues) -> float | str:
    """Change of the mean in %; "–" where the old mean is not above 0: a share of a negative cosine says nothing."""
    old_mean = mean_over_seeds(old)
    return percent_change(new, old) if old_mean is not None and old_mean > 0 else "–"


def _distances_table(blocks: Sequence[BackboneEmbeddings], data: str, options: VisualizeConfig) -> ResultTable:
    note = (
        f"Mean Euclidean distance between the vectors of the same item, over the items with training interactions that "
        f"have both{seeds_note(options.seeds)}. At unit length it lies between 0 and 2; as they are, the vectors' "
        "lengths count as well."
    )
    rows: list[ChangeRow] = []
    for block in blocks:
        pairs = list(combinations(block.modalities, 2))
        labels = {f"{m} – {n}": (m, n) for m, n in pairs} | ({AVERAGE: None} if pairs else {})
        for label, pair in labels.items():
            rows.append((block.backbone, label, [block.distances(length, pair) for length in (UNIT, RAW)]))
    title = f"{data}: distance between the modalities of an item"
    return _change_table(title, rows, ("modalities", UNIT, RAW), options.alignment, note)


def _cosines_table(blocks: Sequence[BackboneEmbeddings], data: str, options: VisualizeConfig) -> ResultTable:
    note = (
        f"Mean cosine of the vectors of user and item over pairs that interacted{seeds_note(options.seeds)}. Alignment "
        "learns from training pairs; test pairs it has not seen."
    )
    rows: list[ChangeRow] = [
        (block.backbone, m, [block.cosines(pairs, m) for pairs in (TRAIN, TEST)])
        for block in blocks
        for m in block.modalities
    ]
    title = f"{data}: cosine of users with their items"
    return _change_table(title, rows, ("item's", TRAIN, TEST), options.alignment, note)


def _change_table(
    title: str, rows: Sequence[ChangeRow], heads: Sequence[str], alignment: str, note: str
) -> ResultTable:
    """Two metrics alone and aligned, with their change. ``heads``: of the label and of the metrics."""
    columns = [Column("backbone", "left"), Column(heads[0], "left")]
    for group in heads[1:]:
        columns += [Column("alone", format=".3f", group=group), Column(f"+ {alignment}", format=".3f", group=group)]
        columns.append(Column("change in %", format="+.1f", group=group))
    table_rows: list[Sequence[CellValue]] = []
    for backbone, label, metrics in rows:
        cells = [cell for before, after in metrics for cell in (before, after, relative_change(after, before))]
        table_rows.append([backbone, label, *cells])
    return ResultTable(title, columns, rule_by_first_cell(table_rows), (note,))


def _figure(block: BackboneEmbeddings, dataset: Dataset, options: VisualizeConfig) -> ResultFigure:
    """t-SNE of the runs of the first seed. A failed run leaves its panels empty."""
    seed = options.seeds[0]
    runs: dict[str, TrainedEmbeddings] = {}
    notes: dict[tuple[str, str], str] = {}
    for method in (block.plain, block.aligned):
        metrics = block.metrics[method.name]
        if isinstance(metrics, str):
            notes |= {(panel, method.name): metrics for panel in PANELS}
            continue
        runs[method.name] = open_embeddings(method.results[0].folder)
        distance, cosine = metrics[0].distance[UNIT], metrics[0].cosine[TRAIN]
        cosines = ", ".join(f"{m} {cosine[m]:.2f}" for m in cosine if m != ID)
        average = f"mean distance between modalities {fmean(distance.values()):.2f}" if distance else NO_VECTORS
        notes[ITEMS, method.name] = average
        notes[PAIRS, method.name] = f"mean cosine of user with {cosines}" if cosines else NO_VECTORS
    positions = tsne_table(runs, dataset, seed, items=options.items, pairs=options.pairs)
    titles = {PLAIN: f"{block.backbone} alone", block.aligned.name: f"{block.backbone} + {block.aligned.name}"}
    caption = (
        f"{dataset.name}, seed {seed}: vectors at unit length placed by t-SNE, {block.backbone} alone and with "
        f"{block.aligned.name}. Top: {options.items} items at most; bottom: {options.pairs} training pairs at most; "
        "the lines below are over all of them. Axes of t-SNE have no unit, and its far distances no meaning."
    )

    def draw(figure: Figure) -> None:
        plot_tsne(figure, positions, titles, notes)

    return ResultFigure("Vectors before and after alignment", caption, positions, draw, (6.4, 6.6))


def _findings(block: BackboneEmbeddings) -> list[str]:
    """Changes of distances and cosines, and the claims of Section 7.6."""
    backbone, subject = block.backbone, f"{block.backbone} + {block.aligned.name}"
    if len(block.modalities) < 2:
        return [f"{backbone}: the data set has no content, so there are no modalities to compare."]
    plain = block.metrics[PLAIN]
    if not isinstance(plain, str) and not any(of_seed.distance[UNIT] for of_seed in plain):
        aligned = mean_over_seeds(block.distances(UNIT)[1])
        apart = "" if aligned is None else f"; aligned, they are {aligned:.3f} apart at unit length on average"
        return [f"{backbone} alone makes no content vectors: there is nothing to compare the aligned ones with{apart}."]
    sentences, closer, nearer = list[str](), {}, {}
    for length in (UNIT, RAW):
        before, after = block.distances(length)
        closer[length] = is_higher(before, after)
        sentences.append(
            f"{subject}: the mean distance between the modalities of an item (vectors {length}) "
            f"{_change_words(before, after)}; the paper, FREEDOM on Baby: -57.0 %."
        )
    claim = "alignment brings the modalities of an item together"
    sentences.append(judge_all(subject, claim, closer, exceptions="not for vectors: {}"))
    for modality in block.modalities[1:]:
        before, after = block.cosines(TEST, modality)
        nearer[modality] = is_higher(after, before)
        change = _change_words(before, after)
        sentences.append(f"{subject}: over test pairs the mean cosine of user and {modality} {change}.")
    claim = "users come nearer to the content of the items they interact with"
    detail = "the paper, Baby: image +14.7 %, text +12.2 %"
    return [*sentences, judge_claim(subject, claim, all_hold(nearer.values()), detail)]


def _change_words(before: SeedValues, after: SeedValues) -> str:
    old, new, percent = mean_over_seeds(before), mean_over_seeds(after), relative_change(after, before)
    if old is None or new is None:
        return "cannot be compared, as a result is missing"
    return f"goes from {old:.3f} to {new:.3f}" + (f" ({percent:+.1f} %)" if isinstance(percent, float) else "")


def result(
    options: VisualizeConfig, shared: SharedSettings, runs: Sequence[Result], datasets: Mapping[DataConfig, Dataset]
) -> ExperimentResult:
    """Distances between modalities, cosines of users with items, and a picture per backbone."""
    dataset = next(iter(datasets.values()))
    blocks = [BackboneEmbeddings(block, dataset) for block in method_blocks(runs)]
    figures = {}
    for block in blocks if options.pictures else []:
        stem = f"visualize-{block.backbone}-figure" if len(blocks) > 1 else "visualize-figure"
        figures[stem] = _figure(block, dataset, options)
    return ExperimentResult(
        "Does alignment bring the modalities of an item together, and users to the content of their items?",
        [finding for block in blocks for finding in _findings(block)],
        {
            "visualize-distances": _distances_table(blocks, dataset.name, options),
            "visualize-cosines": _cosines_table(blocks, dataset.name, options),
        },
        figures,
    )


EXPERIMENT = Experiment(VisualizeConfig, cells, result)
