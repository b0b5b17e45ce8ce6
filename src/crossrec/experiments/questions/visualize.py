"""RQ5: does alignment bring modalities together? Distances, cosines with users, and maps before and after (Fig. 9)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from crossrec.data import DataConfig, Dataset
from crossrec.errors import RunError
from crossrec.experiments.analysis.comparison import (
    PLAIN,
    Row,
    Values,
    above,
    blocks_of,
    change,
    every,
    listed,
    mean,
    verdict,
)
from crossrec.experiments.analysis.embedding_metrics import RAW, TEST, TRAIN, UNIT, Spaces, measure, require_tsne
from crossrec.experiments.analysis.tsne_plots import ITEMS, PAIRS, PANELS, draw_maps, maps
from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings, over_seeds
from crossrec.experiments.reporting.result import ExperimentResult, ResultFigure
from crossrec.experiments.reporting.tables import RULE, CellValue, Column, ResultTable
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.runs.directory import open_embeddings
from crossrec.runs.embeddings import TrainedEmbeddings
from crossrec.types import ID

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

ABSENT = "no vectors"
"""In place of a number: the model makes no vectors of that modality."""
AVERAGE = "average"


class VisualizeConfig(ExperimentConfig):
    """What to look at."""

    backbones: tuple[str, ...] = Field(default=("freedom",), min_length=1)
    """Backbones to ask the question of."""
    alignment: Literal["cross", "fettle"] = "cross"
    """What to compare with the backbone alone."""
    items: Annotated[int, Field(ge=2)] = 1000
    """Items in the picture, drawn at random; numbers are over all."""
    pairs: Annotated[int, Field(ge=2)] = 500
    """Training pairs of a user and an item in the picture; numbers are over all."""
    pictures: bool = True
    """Draw the t-SNE pictures, which needs openTSNE; of the first seed."""


def cells(options: VisualizeConfig, shared: SharedSettings) -> list[Cell]:
    """The backbone alone and aligned, per backbone and seed. Raises ConfigError where pictures cannot be drawn."""
    if options.pictures:
        require_tsne()
    return [
        Cell(shared.run_config(backbone, alignment, seed), group=(backbone, alignment))
        for backbone in options.backbones
        for alignment in (PLAIN, options.alignment)
        for seed in options.seeds
    ]


def result(
    options: VisualizeConfig, shared: SharedSettings, results: Sequence[Result], datasets: Mapping[DataConfig, Dataset]
) -> ExperimentResult:
    """Distances between modalities, cosines of users with items, and a picture per backbone."""
    dataset = next(iter(datasets.values()))
    blocks = [_Block(rows, dataset) for rows in blocks_of(results)]
    figures = {}
    if options.pictures:
        for block in blocks:
            stem = f"visualize-{block.backbone}-figure" if len(blocks) > 1 else "visualize-figure"
            figures[stem] = _figure(block, dataset, options)
    return ExperimentResult(
        "Does alignment bring the modalities of an item together, and users to the content of their items?",
        [finding for block in blocks for finding in block.findings()],
        {
            "visualize-distances": _distances(blocks, dataset, options),
            "visualize-cosines": _cosines(blocks, dataset, options),
        },
        figures,
    )


class _Block:
    """One backbone: the runs of the backbone alone, and the aligned ones."""

    def __init__(self, rows: Sequence[Row], dataset: Dataset) -> None:
        self.plain, self.aligned = rows
        self.backbone = self.plain.backbone
        self.modalities = (ID, *sorted(dataset.features))
        self.measured = {row.name: _measured(row.results, dataset) for row in rows}

    def distance(self, row: Row, length: str, pair: tuple[str, str] | None) -> Values:
        """Between two modalities, or the average over all pairs of them."""
        found = self.measured[row.name]
        if isinstance(found, str):
            return found
        of_seeds = [spaces.distance[length] for spaces in found]
        if pair is None:
            return _values([fmean(of.values()) if of else None for of in of_seeds])
        return _values([of.get(pair) for of in of_seeds])

    def cosine(self, row: Row, pairs: str, modality: str) -> Values:
        found = self.measured[row.name]
        return found if isinstance(found, str) else _values([spaces.cosine[pairs].get(modality) for spaces in found])

    def findings(self) -> list[str]:
        where, stacked = self.backbone, f"{self.backbone} + {self.aligned.name}"
        if len(self.modalities) < 2:
            return [f"{where}: the data set has no content, so there are no modalities to compare."]
        alone = self.measured[PLAIN]
        if not isinstance(alone, str) and not any(spaces.distance[UNIT] for spaces in alone):
            found = mean(self.distance(self.aligned, UNIT, None))
            shown = "" if found is None else f"; aligned, they are {found:.3f} apart at unit length on average"
            return [
                f"{where} alone makes no content vectors: there is nothing to compare the aligned ones with{shown}."
            ]
        said, closer = [], {}
        for length in (UNIT, RAW):
            before, after = (self.distance(row, length, None) for row in (self.plain, self.aligned))
            closer[length] = above(before, after)
            said.append(
                f"{stacked}: the mean distance between the modalities of an item (vectors {length}) "
                f"{_moves(before, after)}; the paper, FREEDOM on Baby: -57.0 %."
            )
        far = [length for length, yes in closer.items() if yes is False]
        claim = "alignment brings the modalities of an item together"
        said.append(verdict(stacked, claim, every(closer.values()), f"not for vectors: {listed(far)}" if far else ""))
        nearer = {}
        for modality in self.modalities[1:]:
            before, after = (self.cosine(row, TEST, modality) for row in (self.plain, self.aligned))
            nearer[modality] = above(after, before)
            said.append(f"{stacked}: over test pairs the mean cosine of user and {modality} {_moves(before, after)}.")
        claim = "users come nearer to the content of the items they interact with"
        return [*said, verdict(stacked, claim, every(nearer.values()), "the paper, Baby: image +14.7 %, text +12.2 %")]


def _measured(results: Sequence[Result], dataset: Dataset) -> list[Spaces] | str:
    failed = [result.failure for result in results if result.metrics is None]
    if failed:
        return failed[0]
    try:
        return [measure(open_embeddings(result.folder), dataset) for result in results]
    except RunError as error:
        return f"failed: {error}"


def _values(numbers: Sequence[float | None]) -> Values:
    known = tuple(number for number in numbers if number is not None and not math.isnan(number))
    if len(known) < len(numbers):
        return ABSENT
    return known if len(known) > 1 else known[0]


def relative(new: Values, old: Values) -> float | str:
    """Change of the mean in %; "–" where the old one is not above 0, as the share of a cosine below 0 says nothing."""
    before = mean(old)
    return change(new, old) if before is not None and before > 0 else "–"


def _moves(before: Values, after: Values) -> str:
    old, new, percent = mean(before), mean(after), relative(after, before)
    if old is None or new is None:
        return "cannot be compared, as a result is missing"
    return f"goes from {old:.3f} to {new:.3f}" + (f" ({percent:+.1f} %)" if isinstance(percent, float) else "")


def _heads(first: str, groups: Sequence[str], alignment: str) -> list[Column]:
    columns = [Column("backbone", "left"), Column(first, "left")]
    for group in groups:
        columns += [Column("alone", format=".3f", group=group), Column(f"+ {alignment}", format=".3f", group=group)]
        columns.append(Column("change in %", format="+.1f", group=group))
    return columns


def _three(before: Values, after: Values) -> list[CellValue]:
    return [before, after, relative(after, before)]


def _distances(blocks: Sequence[_Block], dataset: Dataset, options: VisualizeConfig) -> ResultTable:
    rows: list[Sequence[CellValue]] = []
    for block in blocks:
        rows += [RULE] if rows else []
        pairs = [*combinations(block.modalities, 2), None]
        for pair in pairs if len(pairs) > 1 else []:
            cells: list[CellValue] = [block.backbone, AVERAGE if pair is None else f"{pair[0]} – {pair[1]}"]
            for length in (UNIT, RAW):
                cells += _three(*(block.distance(row, length, pair) for row in (block.plain, block.aligned)))
            rows.append(cells)
    notes = (
        f"Mean Euclidean distance between the vectors of the same item, over the items with training interactions that "
        f"have both{over_seeds(options.seeds)}. At unit length it lies between 0 and 2; as they are, the vectors' "
        "lengths count as well.",
    )
    columns = _heads("modalities", (UNIT, RAW), options.alignment)
    return ResultTable(f"{dataset.name}: distance between the modalities of an item", columns, rows, notes)


def _cosines(blocks: Sequence[_Block], dataset: Dataset, options: VisualizeConfig) -> ResultTable:
    rows: list[Sequence[CellValue]] = []
    for block in blocks:
        rows += [RULE] if rows else []
        for modality in block.modalities:
            cells: list[CellValue] = [block.backbone, modality]
            for pairs in (TRAIN, TEST):
                cells += _three(*(block.cosine(row, pairs, modality) for row in (block.plain, block.aligned)))
            rows.append(cells)
    notes = (
        f"Mean cosine of the vectors of user and item over pairs that interacted{over_seeds(options.seeds)}. Alignment "
        "learns from training pairs; test pairs it has not seen.",
    )
    columns = _heads("item's", (TRAIN, TEST), options.alignment)
    return ResultTable(f"{dataset.name}: cosine of users with their items", columns, rows, notes)


def _figure(block: _Block, dataset: Dataset, options: VisualizeConfig) -> ResultFigure:
    """The runs of the first seed; a failed one leaves its panels empty."""
    seed = options.seeds[0]
    runs: dict[str, TrainedEmbeddings] = {}
    told: dict[tuple[str, str], str] = {}
    for row in (block.plain, block.aligned):
        found = block.measured[row.name]
        if isinstance(found, str):
            told |= {(panel, row.name): found for panel in PANELS}
            continue
        runs[row.name] = open_embeddings(row.results[0].folder)
        apart, near = found[0].distance[UNIT], found[0].cosine[TRAIN]
        cosine = ", ".join(f"{m} {near[m]:.2f}" for m in near if m != ID)
        told[ITEMS, row.name] = f"mean distance between modalities {fmean(apart.values()):.2f}" if apart else ABSENT
        told[PAIRS, row.name] = f"mean cosine of user with {cosine}" if cosine else ABSENT
    placed = maps(runs, dataset, seed, items=options.items, pairs=options.pairs)
    titles = {PLAIN: f"{block.backbone} alone", block.aligned.name: f"{block.backbone} + {block.aligned.name}"}
    caption = (
        f"{dataset.name}, seed {seed}: vectors at unit length placed by t-SNE, {block.backbone} alone and with "
        f"{block.aligned.name}. Top: {options.items} items at most; bottom: {options.pairs} training pairs at most; "
        "the lines below are over all of them. Axes of t-SNE have no unit, and its far distances no meaning."
    )

    def draw(canvas: Canvas) -> None:
        draw_maps(canvas, placed, titles, told)

    return ResultFigure("Vectors before and after alignment", caption, placed, draw, (6.4, 6.6))


EXPERIMENT = Experiment(VisualizeConfig, cells, result)
