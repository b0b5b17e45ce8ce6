"""Tables of paired tests over users: which differences are more than chance, corrected for the number of tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossrec.data import DataConfig, Dataset
from crossrec.errors import DataError
from crossrec.evaluation import PairedTest, holm
from crossrec.evaluation.metrics import PerUser
from crossrec.experiments.analysis.comparison import MethodRuns
from crossrec.experiments.analysis.run_evaluation import RunEvaluation, compare_evaluations, evaluate_runs
from crossrec.experiments.reporting.tables import CellValue, Column, ResultTable, rule_by_first_cell
from crossrec.experiments.runner.jobs import Result
from crossrec.randomness import numpy_generator

DRAWS = 2000
"""Bootstrap samples of the users for an interval."""
CONFIDENCE = 0.95
LEVEL = 0.05
"""A corrected p up to this counts as a difference."""
NO_DIFFERENCE = "no difference shown"
NOTE = (
    "Paired over test users, each user's values averaged over seeds first. Interval: 95 %, bootstrap over users. p: "
    "paired t-test, two-sided; p (Holm): corrected for all {count} tests of this table; a difference is told at "
    "p (Holm) ≤ 0.05."
)

Pair = tuple[tuple[str, ...], Sequence[Result], Sequence[Result]]
"""Labels of a comparison, the new runs, and the runs that they are compared with."""


def versus(new: str, base: str) -> str:
    """Label of a comparison of two methods."""
    return f"{new} v.s. {base}"


@dataclass(frozen=True)
class Comparison:
    """Two methods in one metric: ``labels`` fill the first columns; ``test`` is the test, or why there is none."""

    labels: tuple[str, ...]
    test: PairedTest | str


class PairedTests:
    """The comparisons of one table. The p of all that could be tested are corrected together, as one family.

    ``p_holm``: the corrected p by the labels of a comparison.
    """

    def __init__(self, comparisons: Iterable[Comparison]) -> None:
        self.comparisons = list(comparisons)
        self._tests = {c.labels: c.test for c in self.comparisons if isinstance(c.test, PairedTest)}
        p_holm = holm([test.p_t for test in self._tests.values()])
        self.p_holm = dict(zip(self._tests, map(float, p_holm), strict=True))

    def verdict(self, *labels: str) -> str | None:
        """ "higher", "lower" or NO_DIFFERENCE; None where the comparison is missing or could not be tested."""
        if labels not in self._tests:
            return None
        if self.p_holm[labels] > LEVEL:
            return NO_DIFFERENCE
        return "higher" if self._tests[labels].difference > 0 else "lower"

    def table(self, title: str, heads: Sequence[str] = ("backbone", "compared")) -> ResultTable:
        """A row per comparison, with a rule where the first label changes. ``heads``: columns of the labels."""
        numbers = ("users", "base", "new", "difference", "low", "high", "p", "p (Holm)")
        formats = {"difference": "+.4f", "low": "+.4f", "high": "+.4f", "p": ".2g", "p (Holm)": ".2g"}
        columns = [Column(head, "left") for head in heads]
        columns += [Column(name, format=formats.get(name, ".4f")) for name in numbers]
        rows: list[Sequence[CellValue]] = []
        for comparison in self.comparisons:
            labels, test = comparison.labels, comparison.test
            if isinstance(test, str):
                rows.append([*labels, *[None] * len(numbers), test])
            else:
                values = (test.users, test.base, test.new, test.difference, test.low, test.high, test.p_t)
                rows.append([*labels, *values, self.p_holm[labels], self.verdict(*labels)])
        columns.append(Column("verdict", "left"))
        return ResultTable(title, columns, rule_by_first_cell(rows), (NOTE.format(count=len(self._tests)),))


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
) -> PairedTests:
    """Test every method of a block against its first, and ``further`` pairs of names (new, base) where both exist."""
    pairs: list[Pair] = []
    for block in blocks:
        methods, first = {method.name: method for method in block}, block[0]
        for new, base in dict.fromkeys([*((method.name, first.name) for method in block[1:]), *further]):
            if {new, base} <= methods.keys():
                pairs.append(((first.backbone, versus(new, base)), methods[new].results, methods[base].results))
    return compare_pairs(pairs, datasets, metric)


def compare_pairs(pairs: Iterable[Pair], datasets: Mapping[DataConfig, Dataset], metric: str) -> PairedTests:
    """Test every pair in one metric. Runs that occur in several pairs are evaluated once."""
    cache: dict[tuple[Path, ...], list[RunEvaluation] | str] = {}

    def evaluations(results: Sequence[Result]) -> list[RunEvaluation] | str:
        folders = tuple(result.folder for result in results)
        if folders not in cache:
            cache[folders] = evaluate_runs(results, datasets)
        return cache[folders]

    return PairedTests(
        compare_methods(labels, evaluations(new), evaluations(base), metric) for labels, new, base in pairs
    )
