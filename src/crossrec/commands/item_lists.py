"""Read ids from arguments or a file; print lists of items, or write them to a file with a progress bar."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rich.progress import MofNCompleteColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from crossrec.cluster import ClusterConfig
from crossrec.commands.progress import ProgressBar
from crossrec.console import add_cells, say, stdout
from crossrec.data.io.id_column import read_ids as read_listed_ids
from crossrec.data.io.open_text import ending, read_lines
from crossrec.data.io.tables import open_table, write_frames
from crossrec.data.sources import SUFFIXES
from crossrec.errors import DataError
from crossrec.lazy import polars as pl
from crossrec.recommend import Recommender
from crossrec.recommend.blocks import write_blocks
from crossrec.recommend.id_map import IdMap, Unknown

log = logging.getLogger(__name__)
MAX_PRINTED = 50
"""Rows to print where no file is given."""


def read_ids(
    arguments: Sequence[str],
    id_map: IdMap,
    flag: str,
    unknown: Unknown | Literal["keep"] = "error",
    *,
    needed: bool = True,
) -> list[Any]:
    """Ids from the command line: the arguments themselves, or the ids in one file.

    A single argument with the ending of a file is one: a table with a column of users or items, or a ``.txt`` file.
    ``unknown``: ``error`` refuses an id that ``id_map`` does not have; ``ignore`` leaves such ids out with a warning,
    and refuses them only where ``needed`` is True and no other is left; ``keep`` returns them too. Raises DataError
    naming an unknown id with its flag, or with its file and line.
    """
    path = Path(arguments[0]) if len(arguments) == 1 else Path()
    is_file = ending(path) in (*SUFFIXES, ".txt") and id_map.row(arguments[0]) is None
    ids = list(_ids_in_file(path, id_map)) if is_file else [(flag, id) for id in arguments]
    if unknown == "keep":
        return [id for _, id in ids]
    usable = [id for _, id in ids if id_map.row(id) is not None]
    if len(usable) == len(ids):
        return usable
    origin, stranger = next((origin, id) for origin, id in ids if id_map.row(id) is None)
    if unknown == "ignore" and (usable or not needed):
        log.warning(
            f"{flag}: {len(ids) - len(usable):,} of {len(ids):,} {id_map.what}s are none of this run, such as "
            f"{stranger}{f' ({origin})' if is_file else ''}; they are left out. --unknown error refuses them"
        )
        return usable
    if is_file:
        raise DataError(
            f"{origin}: {id_map.what} {stranger} is none of the {len(id_map.present)} of this run"
            f"{id_map.hint(stranger)}"
        )
    raise DataError(
        f"{flag} {stranger}: none of the {len(id_map.present)} {id_map.what}s of this run, and no file of them"
        f"{id_map.hint(stranger)}"
    )


def _ids_in_file(path: Path, id_map: IdMap) -> Iterator[tuple[str, Any]]:
    """The ids in a file, each with file and line."""
    if ending(path) == ".txt":
        for number, line in enumerate(read_lines(path), 1):
            if line.strip():
                yield f"{path}, line {number}", line.strip()
    else:
        listing = read_listed_ids(open_table(path), id_map.what)
        for row, id in zip(listing.row_N.tolist(), listing.ids.to_list(), strict=True):
            yield f"{path}, {listing.table.location(row)}", id


def deliver(frames: Iterator[pl.DataFrame], empty: pl.DataFrame, users: int, out: Path | None) -> int:
    """Write the frames to ``out``, or print them without it; returns the exit code.

    ``empty``: a frame without rows; ``users``: total of the progress bar.
    """
    if out is None:
        _print(pl.concat([empty, *frames]))
        return 0
    key = "user" if "user" in empty.columns else None
    with ProgressBar(MofNCompleteColumn(), TimeElapsedColumn()) as bar:
        task = bar.add_task("users", total=users)
        write_frames(frames, out, empty, lambda frame: bar.advance(task, frame[key].n_unique() if key else users))
    say(out)
    return 0


def deliver_blocks(
    recommender: Recommender,
    k: int,
    out: Path,
    cluster: ClusterConfig,
    users: Sequence[Any] | None,
    options: dict[str, Any],
) -> int:
    """Write lists to a folder, made on a cluster, with the time that is left; returns the exit code."""
    total = len(recommender.users.present) if users is None else len(users)
    with ProgressBar(MofNCompleteColumn(), TimeElapsedColumn(), "left", TimeRemainingColumn(), speed_period=600) as bar:
        task = bar.add_task("users", total=total)
        paths = write_blocks(recommender, k, out, cluster, users=users, on_block=partial(bar.advance, task), **options)
    say(f"{out}: {len(paths)} files")
    return 0


def _print(lists: pl.DataFrame) -> None:
    table = Table()
    for name in lists.columns:
        table.add_column(name, justify="right" if name in ("rank", "score") else "left")
    for row in lists.head(MAX_PRINTED).rows():
        add_cells(table, (f"{cell:.4f}" if isinstance(cell, float) else cell for cell in row))
    stdout.print(table)
    if lists.height > MAX_PRINTED:
        say(f"{MAX_PRINTED} of {lists.height} rows; --out FILE writes them all")
