"""``crossrec data describe``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from crossrec.console import add_cells, stdout
from crossrec.data import DataConfig, describe as describe_data

Settings = Annotated[DataConfig, Parameter(name="*")]


def describe(settings: Settings = DataConfig()) -> int:  # noqa: B008
    """The columns of the paper's Table 1, and more."""
    description = describe_data(settings)
    table = Table(title=description.name, title_justify="left", show_header=False)
    for row in description.rows():
        add_cells(table, row)
    stdout.print(table)
    return 0
