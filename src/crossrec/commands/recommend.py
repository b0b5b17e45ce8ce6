"""``crossrec recommend``, ``crossrec similar``, ``crossrec export`` and ``crossrec extend``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import MofNCompleteColumn, TimeElapsedColumn
from rich.table import Table

from crossrec.commands.console import stdout
from crossrec.commands.progress import ProgressBar
from crossrec.errors import ConfigError
from crossrec.recommend import FoldIn, NewItem, Recommender
from crossrec.recommend.cold_start import DEFAULT
from crossrec.recommend.export import Index
from crossrec.recommend.export import export as export_vectors
from crossrec.recommend.extend import extend as extend_run
from crossrec.recommend.id_files import check_ending, read_ids, write_frames

if TYPE_CHECKING:
    import polars as pl

SHOWN = 50
"""Rows of a list that are printed where no file is asked for."""


def recommend(
    run: Path,
    /,
    *,
    k: int = 10,
    users: list[str] | None = None,
    history: list[str] | None = None,
    fold_in: FoldIn = "ridge",
    seen: bool = False,
    allow: list[str] | None = None,
    deny: list[str] | None = None,
    items: Path | None = None,
    category: list[str] | None = None,
    out: Path | None = None,
) -> int:
    """The best items for users of a trained run, or for somebody with a history.

    Ids are the original ones. Where several are asked for, one file may stand for them: a table with a column of users
    or items, or a .txt with an id a line.

    Parameters
    ----------
    run
        Folder of a run that is done.
    k
        Items per list.
    users
        Users to recommend to; all of them unless given.
    history
        Items of somebody who was not in training, instead of --users.
    fold_in
        How a history becomes a user vector.
    seen
        Recommend a user's training and validation items (or the history) too.
    allow
        Only these items.
    deny
        Not these items.
    items
        Table of items with a column category, for --category.
    category
        Only items of these categories.
    out
        File to write: .parquet, .csv or .jsonl; shown on the screen unless given.
    """
    if users is not None and history is not None:
        raise ConfigError("--users and --history: give one of them")
    if out is not None:
        check_ending(out)
    recommender = Recommender.open(run, items)
    options: dict[str, Any] = {
        "exclude_seen": not seen,
        "allow": None if allow is None else read_ids(allow, recommender.items, "--allow"),
        "deny": None if deny is None else read_ids(deny, recommender.items, "--deny"),
        "category": category,
    }
    if history is not None:
        taken = read_ids(history, recommender.items, "--history")
        lists = recommender.for_history(taken, k, how=fold_in, **options)
        return _deliver(iter([lists]), lists.clear(), 1, out)
    wanted = None if users is None else read_ids(users, recommender.users, "--users")
    if out is None and wanted is None:
        wanted = recommender.users.ids.head(-(-SHOWN // max(k, 1))).to_list()
    count = len(recommender.users) if wanted is None else len(wanted)
    return _deliver(recommender.stream(wanted, k, **options), recommender.empty(), count, out)


def similar(run: Path, /, *, of: list[str], k: int = 10, by: str = "behaviour", out: Path | None = None) -> int:
    """The items most similar to others, by how people behave towards them or by a modality.

    Parameters
    ----------
    run
        Folder of a run that is done.
    of
        Items, or one file of them.
    k
        Items per list.
    by
        behaviour, or a modality of the run.
    out
        File to write: .parquet, .csv or .jsonl; shown on the screen unless given.
    """
    if out is not None:
        check_ending(out)
    recommender = Recommender.open(run)
    lists = recommender.similar(read_ids(of, recommender.items, "--of"), k, by=by)
    return _deliver(iter([lists]), lists.clear(), 1, out)


def export(run: Path, /, *, out: Path, index: Index = "none") -> int:
    """The vectors of users, items and modalities as .npy and Parquet files, with an index to search them.

    Parameters
    ----------
    run
        Folder of a run that is done.
    out
        Folder to make.
    index
        Index of the items: an exact one, an approximate one (hnsw), or none. Needs crossrec[knn].
    """
    for name in export_vectors(Recommender.open(run), out, index):
        print(out / name)
    return 0


def extend(run: Path, /, *, data: str, out: Path, how: NewItem = DEFAULT, quantile: float = 0.5) -> int:
    """A run that also recommends new items, which get their vectors from their texts and pictures alone.

    Nothing is trained. Items of the run that nobody has taken in training get such vectors too.

    Parameters
    ----------
    run
        Folder of a run that is done; one that was extended already will do.
    data
        Folder with a table of items and their features, as 'crossrec data features' makes them. Items that the run has
        are passed over.
    out
        Folder of the new run, which recommends, is served and extended like the other.
    how
        How content becomes an item's vector.
    quantile
        Above 0.5 new items are in more lists, and others in fewer.
    """
    told = extend_run(run, data, out, how=how, quantile=quantile)
    stdout.print(f"new items: {told.added:,}; items of the run that nobody has taken: {told.untouched:,}")
    if told.left_out:
        names = ", ".join(map(str, told.left_out[:5])) + (", …" if len(told.left_out) > 5 else "")
        stdout.print(f"left out, without features: {len(told.left_out):,} ({names})", highlight=False, soft_wrap=True)
    print(out)
    return 0


def _deliver(frames: Iterator[pl.DataFrame], empty: pl.DataFrame, users: int, out: Path | None) -> int:
    if out is None:
        import polars as pl

        _show(pl.concat([empty, *frames]))
        return 0
    key = "user" if "user" in empty.columns else None
    with ProgressBar(MofNCompleteColumn(), TimeElapsedColumn()) as bar:
        bar.add("users", users)
        write_frames(frames, out, empty, lambda frame: bar.advance("users", frame[key].n_unique() if key else users))
    print(out)
    return 0


def _show(lists: pl.DataFrame) -> None:
    table = Table()
    for name in lists.columns:
        table.add_column(name, justify="right" if name in ("rank", "score") else "left")
    for row in lists.head(SHOWN).rows():
        table.add_row(*(f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row))
    stdout.print(table)
    if lists.height > SHOWN:
        stdout.print(f"{SHOWN} of {lists.height} rows; --out FILE writes them all")
