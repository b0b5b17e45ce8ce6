"""Tables of paired tests over users, corrected for their number: which differences are more than chance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossrec.data import DataConfig, Dataset
from crossrec.errors import DataError
from crossrec.evaluation import PairedTest, holm
from crossrec.evaluation.metrics import PerUser
from crossrec.experiments.analysis.comparison import Row
from crossrec.experiments.analysis.run_evaluation import RunEvaluation, compare_evaluations, evaluate_runs
from crossrec.experiments.reporting.tables import RULE, CellValue, Column, ResultTable
from crossrec.experiments.runner.jobs import Result
from crossrec.randomness import numpy_generator

DRAWS = 2000
"""Samples of the users behind an interval."""
CONFIDENCE = 0.95
LEVEL = 0.05
"""A corrected p up to this counts as a difference."""
UNSHOWN = "no difference shown"
HEADS = ("backbone", "compared")
"""What the labels of a comparison are, where all are in one metric."""
NOTE = (
    "Paired over test users, each user's values averaged over seeds first. Interval: 95 %, bootstrap over users. p: "
    "paired t-test, two-sided; p (Holm): corrected for all {count} tests of this table; a difference is told at "
    "p (Holm) ≤ 0.05."
)


def versus(new: str, base: str) -> str:
    """What is compared, as a label."""
    return f"{new} v.s. {base}"


@dataclass(frozen=True)
class Comparison:
    """Two models in one metric: ``labels`` fill the first columns; ``test`` is the outcome, or why there is none."""

    labels: tuple[str, ...]
    test: PairedTest | str


@dataclass(frozen=True)
class Judged:
    """A comparison, with its p corrected for the family of which it is one."""

    labels: tuple[str, ...]
    test: PairedTest
    p_holm: float

    @property
    def verdict(self) -> str:
        """In words."""
        if self.p_holm > LEVEL:
            return UNSHOWN
        return "higher" if self.test.difference > 0 else "lower"


def compared(
    labels: tuple[str, ...],
    new: Sequence[RunEvaluation] | str,
    base: Sequence[RunEvaluation] | str,
    metric: str,
    of: Callable[[RunEvaluation], PerUser] = lambda outcome: outcome.test,
) -> Comparison:
    """Test ``new`` against ``base``, outcomes of their seeds' runs or why there are none."""
    if isinstance(new, str) or isinstance(base, str):
        return Comparison(labels, new if isinstance(new, str) else str(base))
    try:
        generator = numpy_generator(0, "significance")
        tests = compare_evaluations(new, base, generator, of=of, metrics=[metric], draws=DRAWS, confidence=CONFIDENCE)
    except DataError:
        return Comparison(labels, "no test pairs")
    return Comparison(labels, tests[metric])


Pair = tuple[tuple[str, ...], Sequence[Result], Sequence[Result]]
"""Labels of a test, the runs of what is new, and the runs that it is compared with."""


def pairs_of(block: Sequence[Row], further: Iterable[tuple[str, str]]) -> Iterator[Pair]:
    """Every row of a block against its first one, and ``further`` rows (new, base) by name, where both are there."""
    rows, first = {row.name: row for row in block}, block[0]
    for new, base in dict.fromkeys([*((name, first.name) for name in list(rows)[1:]), *further]):
        if {new, base} <= rows.keys():
            yield (first.backbone, versus(new, base)), rows[new].results, rows[base].results


def tested_pairs(pairs: Iterable[Pair], datasets: Mapping[DataConfig, Dataset], metric: str) -> list[Comparison]:
    """Test every pair in one metric.

    Sequence[Result] that occur in several pairs are measured once.
    """
    known: dict[tuple[Path, ...], list[RunEvaluation] | str] = {}

    def outcomes(results: Sequence[Result]) -> list[RunEvaluation] | str:
        folders = tuple(result.folder for result in results)
        if folders not in known:
            known[folders] = evaluate_runs(results, datasets)
        return known[folders]

    return [compared(labels, outcomes(new), outcomes(base), metric) for labels, new, base in pairs]


def verdicts(comparisons: Sequence[Comparison]) -> dict[tuple[str, ...], str]:
    """ "higher", "lower" or UNSHOWN by labels, of those that could be tested."""
    return {one.labels: one.verdict for one in judged(comparisons)}


def judged(comparisons: Sequence[Comparison]) -> list[Judged]:
    """Those that could be tested; the family is all of them."""
    tested = [(c.labels, c.test) for c in comparisons if isinstance(c.test, PairedTest)]
    return [Judged(*one, float(p)) for one, p in zip(tested, holm([t.p_t for _, t in tested]), strict=True)]


def paired_table(title: str, heads: Sequence[str], comparisons: Sequence[Comparison]) -> ResultTable:
    """A row a comparison, a line between two with another first label. ``heads``: what the labels are."""
    found = {one.labels: one for one in judged(comparisons)}
    numbers = ("users", "base", "new", "difference", "low", "high", "p", "p (Holm)")
    formats = {"difference": "+.4f", "low": "+.4f", "high": "+.4f", "p": ".2g", "p (Holm)": ".2g"}
    columns = [*(Column(head, "left") for head in heads), *(Column(n, format=formats.get(n, ".4f")) for n in numbers)]
    columns.append(Column("verdict", "left"))
    rows: list[Sequence[CellValue]] = []
    for place, comparison in enumerate(comparisons):
        if place and comparison.labels[0] != comparisons[place - 1].labels[0]:
            rows.append(RULE)
        if comparison.labels in found:
            one = found[comparison.labels]
            t = one.test
            values = (t.users, t.base, t.new, t.difference, t.low, t.high, t.p_t, one.p_holm)
            rows.append([*comparison.labels, *values, one.verdict])
        else:
            rows.append([*comparison.labels, *[None] * len(numbers), str(comparison.test)])
    return ResultTable(title, columns, rows, (NOTE.format(count=len(found)),))
