"""Tables of paired tests over users: which differences are more than chance, corrected for the number of tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossrec.data import DataConfig, Dataset
from crossrec.errors import DataError
from crossrec.evaluation import PairedTest, holm
from crossrec.evaluation.metrics import PerUser
from crossrec.experiments.analysis.comparison import MethodRuns
from crossrec.experiments.analysis.run_evaluation import RunEvaluation, compare_evaluations, evaluate_runs
from crossrec.experiments.reporting.tables import RULE, CellValue, Column, ResultTable
from crossrec.experiments.runner.jobs import Result
from crossrec.randomness import numpy_generator

DRAWS = 2000
"""Bootstrap samples of the users for an interval."""
CONFIDENCE = 0.95
LEVEL = 0.05
"""A corrected p up to this counts as a difference."""
NO_DIFFERENCE = "no difference shown"
LABEL_HEADS = ("backbone", "compared")
"""Heads of a comparison's labels where all comparisons use one metric."""
NOTE = (
    "Paired over test users, each user's values averaged over seeds first. Interval: 95 %, bootstrap over users. p: "
    "paired t-test, two-sided; p (Holm): corrected for all {count} tests of this table; a difference is told at "
    "p (Holm) ≤ 0.05."
)

Pair = tuple[tuple[str, ...], Sequence[Result], Sequence[Result]]
"""Labels of a comparison, the new runs, and the runs that they are compared with."""
Verdicts = Mapping[tuple[str, ...], str]
""" "higher", "lower" or NO_DIFFERENCE by the labels of a comparison; one that could not be tested is missing."""


def versus(new: str, base: str) -> str:
    """Label of a comparison of two methods."""
    return f"{new} v.s. {base}"


@dataclass(frozen=True)
class Comparison:
    """Two methods in one metric: ``labels`` fill the first columns; ``test`` is the test, or why there is none."""

    labels: tuple[str, ...]
    test: PairedTest | str


@dataclass(frozen=True)
class CorrectedComparison:
    """A tested comparison, with its p corrected for the number of tests in its table."""

    labels: tuple[str, ...]
    test: PairedTest
    p_holm: float

    @property
    def verdict(self) -> str:
        """ "higher", "lower" or NO_DIFFERENCE."""
        if self.p_holm > LEVEL:
            return NO_DIFFERENCE
        return "higher" if self.test.difference > 0 else "lower"


def compare_methods(
    labels: tuple[str, ...],
    new: Sequence[RunEvaluation] | str,
    base: Sequence[RunEvaluation] | str,
    metric: str,
    of: Callable[[RunEvaluation], PerUser] = lambda evaluation: evaluation.test,
) -> Comparison:
    """Test ``new`` against ``base``: evaluations of their runs, one per seed, or why there are none."""
    if isinstance(new, str) or isinstance(base, str):
        return Comparison(labels, new if isinstance(new, str) else str(base))
    try:
        generator = numpy_generator(0, "significance")
        tests = compare_evaluations(new, base, generator, of=of, metrics=[metric], draws=DRAWS, confidence=CONFIDENCE)
    except DataError:
        return Comparison(labels, "no test pairs")
    return Comparison(labels, tests[metric])


def compare_blocks(
    blocks: Sequence[Sequence[MethodRuns]],
    further: Sequence[tuple[str, str]],
    datasets: Mapping[DataConfig, Dataset],
    metric: str,
) -> list[Comparison]:
    """Test every method of a block against its first, and ``further`` pairs of names (new, base) where both exist."""
    return compare_pairs((pair for block in blocks for pair in _block_pairs(block, further)), datasets, metric)


def _block_pairs(block: Sequence[MethodRuns], further: Sequence[tuple[str, str]]) -> Iterator[Pair]:
    methods, first = {method.name: method for method in block}, block[0]
    for new, base in dict.fromkeys([*((name, first.name) for name in list(methods)[1:]), *further]):
        if {new, base} <= methods.keys():
            yield (first.backbone, versus(new, base)), methods[new].results, methods[base].results


def compare_pairs(pairs: Iterable[Pair], datasets: Mapping[DataConfig, Dataset], metric: str) -> list[Comparison]:
    """Test every pair in one metric. Runs that occur in several pairs are evaluated once."""
    cache: dict[tuple[Path, ...], list[RunEvaluation] | str] = {}

    def evaluations(results: Sequence[Result]) -> list[RunEvaluation] | str:
        folders = tuple(result.folder for result in results)
        if folders not in cache:
            cache[folders] = evaluate_runs(results, datasets)
        return cache[folders]

    return [compare_methods(labels, evaluations(new), evaluations(base), metric) for labels, new, base in pairs]


def correct_comparisons(comparisons: Sequence[Comparison]) -> list[CorrectedComparison]:
    """Correct the p of all comparisons that could be tested, as one family."""
    tested = [(c.labels, c.test) for c in comparisons if isinstance(c.test, PairedTest)]
    adjusted = holm([test.p_t for _, test in tested])
    return [CorrectedComparison(*one, float(p)) for one, p in zip(tested, adjusted, strict=True)]


def verdicts_by_label(comparisons: Sequence[Comparison]) -> dict[tuple[str, ...], str]:
    """Verdicts of those that could be tested."""
    return {corrected.labels: corrected.verdict for corrected in correct_comparisons(comparisons)}


def significance_table(title: str, heads: Sequence[str], comparisons: Sequence[Comparison]) -> ResultTable:
    """A row per comparison, with a rule where the first label changes. ``heads``: columns of the labels."""
    corrected_by_label = {corrected.labels: corrected for corrected in correct_comparisons(comparisons)}
    numbers = ("users", "base", "new", "difference", "low", "high", "p", "p (Holm)")
    formats = {"difference": "+.4f", "low": "+.4f", "high": "+.4f", "p": ".2g", "p (Holm)": ".2g"}
    columns = [*(Column(head, "left") for head in heads), *(Column(n, format=formats.get(n, ".4f")) for n in numbers)]
    columns.append(Column("verdict", "left"))
    rows: list[Sequence[CellValue]] = []
    for number, comparison in enumerate(comparisons):
        if number and comparison.labels[0] != comparisons[number - 1].labels[0]:
            rows.append(RULE)
        if comparison.labels in corrected_by_label:
            corrected = corrected_by_label[comparison.labels]
            t = corrected.test
            values = (t.users, t.base, t.new, t.difference, t.low, t.high, t.p_t, corrected.p_holm)
            rows.append([*comparison.labels, *values, corrected.verdict])
        else:
            rows.append([*comparison.labels, *[None] * len(numbers), str(comparison.test)])
    return ResultTable(title, columns, rows, (NOTE.format(count=len(corrected_by_label)),))
