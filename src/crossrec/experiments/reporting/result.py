"""Result of an experiment: findings, tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crossrec.experiments.reporting.tables import ResultTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ResultFigure:
    """A figure and the numbers behind it. ``draw`` draws on an empty figure of ``inches`` (width, height)."""

    title: str
    caption: str
    data: ResultTable
    draw: Callable[[Figure], None]
    inches: tuple[float, float] = (6.4, 3.6)

    def to_matplotlib(self) -> Figure:
        """The figure, drawn; ``figure.savefig(path)`` writes it, and its axes may be changed before."""
        from crossrec.experiments.reporting.figures import make_figure

        return make_figure(self.draw, self.inches)


@dataclass(frozen=True)
class ExperimentResult:
    """The question, findings made of the numbers, and tables and figures by the stem of their files.

    Raises ValueError where a table and a figure have the same stem: each writes STEM.csv.
    """

    question: str
    findings: Sequence[str]
    tables: Mapping[str, ResultTable]
    figures: Mapping[str, ResultFigure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if both := self.tables.keys() & self.figures.keys():
            raise ValueError(f"a table and a figure are both called {', '.join(sorted(both))}")
