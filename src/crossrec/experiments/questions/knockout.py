"""Does a gain come from content or from a better loss? Backbone and alignment with content that says nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Literal, NamedTuple, get_args

from pydantic import Field

from crossrec.backbones import BACKBONES
from crossrec.data import DataConfig, Dataset, modalities_of
from crossrec.data.config import Replacement
from crossrec.errors import ConfigError
from crossrec.experiments.analysis import wording
from crossrec.experiments.analysis.comparison import (
    DELTA_NOTE,
    PLAIN,
    comparison_cells,
    comparison_columns,
    headline_metric,
    runs_by_group,
)
from crossrec.experiments.analysis.seed_values import SeedValues, mean_over_seeds, metric_values
from crossrec.experiments.analysis.significance_tables import NO_DIFFERENCE, Pair, PairedTests, compare_pairs
from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings
from crossrec.experiments.reporting.result import ExperimentResult
from crossrec.experiments.reporting.tables import CellValue, Column, ResultTable, join_blocks
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.runs.config import RunConfig
from crossrec.training import SELECTION

Knockout = Literal["shuffled", "constant", "noise", "alone", "ids"]
Side = Literal["both", "backbone", "alignment"]
AS_IS, APART, IDS, UNSEEN = "as it is", "as it is, apart", "ids alone", "–"
"""Content as it is, the same by features for the alignment, no content, and a side that reads none."""
JUDGES = ("shuffled", IDS, "noise", "constant")
"""The source of a gain is judged by the first of these that was trained."""
PER_MODALITY = ("modality_weights", "content_shares")
"""Settings that name every modality; they are left out where a modality is."""
SOURCES = {
    (True, True): "comes from both: the loss alone gives a part of it, and content adds to that",
    (True, False): "comes from the loss: no part of it is shown to need content",
    (False, True): "comes from content: nothing of it is shown to be left without",
    (False, False): "cannot be divided: neither difference is beyond chance",
}
"""By whether a knock-out is above the backbone alone, and whether it is below the content as it is, beyond chance."""


class KnockoutConfig(ExperimentConfig):
    """Options of ``crossrec knockout``."""

    alignments: tuple[str, ...] = Field(default=("cross",), min_length=1)
    """Alignments whose gain is taken apart, beside the backbone alone."""
    knockouts: tuple[Knockout, ...] = Field(default=get_args(Knockout), min_length=1)
    """What content is replaced by; alone: each modality without the others, ids: no content at all."""
    sides: tuple[Side, ...] = Field(default=get_args(Side), min_length=1)
    """Where, if backbone and alignment both read content: in both alike, or in one while the other has it as it is."""


@dataclass(frozen=True)
class View:
    """The content that the backbone and the alignment see, by name."""

    backbone: str
    alignment: str

    @property
    def is_apart(self) -> bool:
        return UNSEEN not in (self.backbone, self.alignment) and self.backbone != self.alignment

    @property
    def words(self) -> str:
        """The name of the view among those of a method."""
        if not self.is_apart:
            return self.alignment if self.backbone == UNSEEN else self.backbone
        if self.backbone != AS_IS:
            return f"backbone {self.backbone}"
        return "apart" if self.alignment == APART else f"alignment {self.alignment}"


class Content(NamedTuple):
    """The modalities to read, and what stands in for their features."""

    modalities: tuple[str, ...]
    replacement: Replacement | None = None


def cells(options: KnockoutConfig, shared: SharedSettings) -> list[Cell]:
    """One cell per backbone, method, view and seed.

    Raises ConfigError for an unknown name, for a data set without content, and for data whose content is replaced
    already; DataError where there is no such data set.
    """
    if shared.data.content is not None or shared.data.alignment_is_apart:
        raise ConfigError("--content, --alignment-content, --alignment-modalities: knockout sets them; leave them out")
    modalities = tuple(modalities_of(shared.data))
    if not modalities:
        raise ConfigError("knockout: the data set has no content to knock out; add a <modality>_feat.npy")
    return [
        Cell(_run_config(shared, backbone, method, view, seed, modalities), (backbone, method, *astuple(view)))
        for backbone in options.backbones
        for method in dict.fromkeys((PLAIN, *options.alignments))
        for view in _views(options, shared.run_config(backbone, method, 0), modalities)
        for seed in options.seeds
    ]


def _views(options: KnockoutConfig, config: RunConfig, modalities: Sequence[str]) -> list[View]:
    """The views of a method on a backbone, the content as it is first."""
    multimodal, alignment = BACKBONES[config.backbone.name].multimodal, config.alignment
    alone = [f"{modality} alone" for modality in modalities] if len(modalities) > 1 else []
    names = [n for knockout in options.knockouts for n in {"alone": alone, "ids": [IDS]}.get(knockout, [knockout])]
    for_backbone = [name for name in names if name != IDS or not multimodal]  # which cannot do without content
    if alignment is None:
        return [View(name, UNSEEN) for name in (AS_IS, *for_backbone)] if multimodal else [View(UNSEEN, UNSEEN)]
    if not multimodal and not alignment.content_graph:
        return [View(UNSEEN, name) for name in (AS_IS, *names)]
    intact = APART if multimodal else AS_IS
    views = [View(AS_IS, AS_IS)]
    if "both" in options.sides:
        views += [View(name, name) for name in for_backbone]
    if set(options.sides) != {"both"}:
        views.append(View(AS_IS, intact))
    if "backbone" in options.sides:
        views += [View(name, intact) for name in for_backbone]
    if "alignment" in options.sides:
        views += [View(AS_IS, name) for name in names]
    return list(dict.fromkeys(views))


def _run_config(
    shared: SharedSettings, backbone: str, method: str, view: View, seed: int, modalities: tuple[str, ...]
) -> RunConfig:
    """The run of a view. With the content as it is on both sides it is that of other experiments."""
    contents = {AS_IS: Content(modalities), APART: Content(modalities), IDS: Content(()), UNSEEN: Content(modalities)}
    contents |= {how: Content(modalities, how) for how in get_args(Replacement)}
    contents |= {f"{modality} alone": Content((modality,)) for modality in modalities}
    first, second = contents[view.backbone], contents[view.alignment]
    if view.backbone == UNSEEN:
        first = second
    data: dict[str, Any] = {"content": first.replacement}
    if first.modalities != modalities:
        data["modalities"] = first.modalities
    if view.is_apart:
        data |= {"alignment_content": second.replacement or "original", "alignment_modalities": second.modalities}
    config = shared.run_config(backbone, method, seed, data=shared.data.model_copy(update=data))
    if first.modalities == modalities:
        return config
    parts = {name: part for name in ("backbone", "alignment") if (part := getattr(config, name)) is not None}
    fields = {name: [f for f in PER_MODALITY if f in type(part).model_fields] for name, part in parts.items()}
    return config.model_copy(
        update={name: part.model_copy(update=dict.fromkeys(fields[name])) for name, part in parts.items()}
    )


class KnockoutRuns:
    """The runs on one backbone, by method and view."""

    def __init__(self, backbone: str, runs: Sequence[Result]) -> None:
        self.backbone, self.metric = backbone, headline_metric(runs, SELECTION)
        self.runs = {
            (method, View(*view)): of_group
            for (name, method, *view), of_group in runs_by_group(runs).items()
            if name == backbone
        }

    def views(self, method: str) -> list[View]:
        """The views of a method, the content as it is first."""
        return [view for name, view in self.runs if name == method]

    def values(self, method: str, view: View) -> SeedValues:
        return metric_values(self.runs[method, view], "test", self.metric)

    def intact(self, method: str, view: View) -> View:
        """The view with the content as it is that a knock-out is compared with: where sides differ, the one apart."""
        apart = View(AS_IS, APART)
        return apart if view.is_apart and view != apart and apart in self.views(method) else self.views(method)[0]

    def alone(self, view: View) -> View:
        """The view of the backbone alone that sees what it sees in ``view``."""
        same = View(view.backbone, UNSEEN)
        return same if same in self.views(PLAIN) else self.views(PLAIN)[0]

    def name(self, method: str, view: View) -> str:
        """The name of a method and a view in tests and findings, "alone, shuffled" for one."""
        name = "alone" if method == PLAIN else method
        return name if view.words == UNSEEN else f"{name}, {view.words}"

    def gain_verdict(self, method: str, view: View, tests: PairedTests) -> str | None:
        """What the tests say of the method with the content as it is that ``view`` is compared with."""
        intact = self.intact(method, view)
        return tests.verdict(*self.labels(method, intact, PLAIN, self.alone(intact)))

    def kept(self, method: str, view: View, tests: PairedTests) -> float | str:
        """What is kept of the gain over the backbone alone, in %.

        "–" where the gain may be chance, nothing was gained or a run is missing.
        """
        if self.gain_verdict(method, view, tests) not in ("higher", None):
            return "–"
        intact = self.intact(method, view)
        pairs = ((method, view), (PLAIN, self.alone(view)), (method, intact), (PLAIN, self.alone(intact)))
        means = [mean for pair in pairs if (mean := mean_over_seeds(self.values(*pair))) is not None]
        if len(means) < len(pairs) or means[2] <= means[3]:
            return "–"
        return 100 * (means[0] - means[1]) / (means[2] - means[3])

    def labels(self, method: str, view: View, *base: Any) -> tuple[str, str, str]:
        """Labels of the test of a method and view against those of ``base``."""
        return self.backbone, self.name(method, view), self.name(*base)

    def test_pairs(self) -> Iterator[Pair]:
        """Every knock-out against the content as it is, and every method against the backbone alone."""
        for method, view in self.runs:
            bases = [(method, self.intact(method, view)), *([(PLAIN, self.alone(view))] if method != PLAIN else [])]
            for base in bases:
                if base != (method, view):
                    yield self.labels(method, view, *base), self.runs[method, view], self.runs[base]

    def rows(self, tests: PairedTests) -> list[Sequence[CellValue]]:
        """A row per method and view."""
        first = next(iter(self.runs.values()))
        rows: list[Sequence[CellValue]] = []
        for (method, view), results in self.runs.items():
            label, kept = (self.backbone, "") if method == PLAIN else (f"  + {method}", self.kept(method, view, tests))
            cells = comparison_cells(results, None if results is first else first)
            rows.append([label, view.backbone, view.alignment, *cells, kept])
        return rows


def _table(blocks: Sequence[KnockoutRuns], tests: PairedTests, data: str, options: KnockoutConfig) -> ResultTable:
    head = comparison_columns(next(iter(blocks[0].runs.values())))
    columns = [Column("model", "left"), Column("backbone sees", "left"), Column("alignment sees", "left"), *head]
    notes = (
        f"Test metrics{wording.seeds_note(options.seeds)}. Content that backbone and alignment see; –: none is read. "
        "apart: where the two differ, the alignment projects the features in place of the backbone's vectors of them.",
        DELTA_NOTE,
        f"gain kept: {wording.short_metric(blocks[0].metric)} above the backbone alone that sees the same, in % of "
        "that with the content as it is; – where that may be chance.",
    )
    rows = join_blocks(block.rows(tests) for block in blocks)
    return ResultTable(f"{data}: knock-outs of content", [*columns, Column("gain kept", format=".0f")], rows, notes)


def _findings(block: KnockoutRuns, tests: PairedTests) -> list[str]:
    """Every difference that is tested, and where each method's gain comes from."""

    def change(method: str, view: View, *base: Any) -> str:
        verdict = tests.verdict(*block.labels(method, view, *base))
        words = wording.describe_change(block.values(method, view), block.values(*base))
        certainty = {NO_DIFFERENCE: NO_DIFFERENCE, "higher": "beyond chance", "lower": "beyond chance"}
        return f"{words} ({certainty[verdict]})" if verdict else words

    sentences = []
    for method, view in block.runs:
        intact, alone = block.intact(method, view), block.alone(view)
        differences = []
        if view != intact:
            differences.append(f"{change(method, view, method, intact)} against the content as it is")
        if method != PLAIN:
            same = " that sees the same" if alone != block.views(PLAIN)[0] else ""
            differences.append(f"{change(method, view, PLAIN, alone)} against the backbone alone{same}")
        if differences:
            subject = f"{block.backbone} {'' if method == PLAIN else '+ '}{block.name(method, view)}"
            label = wording.metric_label(block.metric)
            sentences.append(f"{subject}: {label} {', '.join(differences)}.")
    methods = dict.fromkeys(method for method, _ in block.runs if method != PLAIN)
    return sentences + [sentence for method in methods if (sentence := _source(block, method, tests))]


def _source(block: KnockoutRuns, method: str, tests: PairedTests) -> str:
    """Where a method's gain comes from, judged by what it makes of content that says nothing.

    A backbone that reads content keeps it: the gain comes on top. A content graph loses it, as it is the method's.
    """
    views, subject = block.views(method), f"{block.backbone} + {method}: the gain"
    candidates = [View(UNSEEN, name) for name in JUDGES]
    if View(AS_IS, UNSEEN) in block.views(PLAIN):
        candidates += [View(AS_IS, name) for name in JUDGES]
    candidates += [View(name, name) for name in JUDGES]
    judge = next((view for view in candidates if view in views), None)
    if judge is None:
        return ""
    intact, alone = block.intact(method, judge), block.alone(judge)
    gain = block.gain_verdict(method, judge, tests)
    above = tests.verdict(*block.labels(method, judge, PLAIN, alone))
    below = tests.verdict(*block.labels(method, judge, method, intact))
    if gain is None or above is None or below is None:
        return f"{subject} cannot be judged, as {wording.RESULTS_MISSING}."
    if gain != "higher":
        return f"{subject} is not beyond chance, so there is nothing to take apart."
    return f'{subject} {SOURCES[above == "higher", below == "lower"]} (judged by "{judge.words}").'


def result(
    options: KnockoutConfig, shared: SharedSettings, runs: Sequence[Result], datasets: Mapping[DataConfig, Dataset]
) -> ExperimentResult:
    """A table of what every view comes to, paired tests, and where the gains come from."""
    data = next(iter(datasets.values())).name
    blocks = [KnockoutRuns(backbone, runs) for backbone in options.backbones]
    tests = compare_pairs(
        (pair for block in blocks for pair in block.test_pairs()), datasets, headline_metric(runs, SELECTION)
    )
    title = f"{data}, knock-outs: is it chance? {wording.metric_label(headline_metric(runs, SELECTION))}"
    return ExperimentResult(
        "Does the gain come from content or from a better loss?",
        [finding for block in blocks for finding in _findings(block, tests)],
        {
            "knockout": _table(blocks, tests, data, options),
            "knockout-tests": tests.table(title, ("backbone", "new model", "base model")),
        },
    )


EXPERIMENT = Experiment(KnockoutConfig, cells, result)
