"""``crossrec similar``."""

from __future__ import annotations

from pathlib import Path

from crossrec.commands.item_lists import deliver, read_ids
from crossrec.commands.whole_number import WholeNumber
from crossrec.data.io.tables import check_ending
from crossrec.recommend import Recommender


def similar(run: Path, /, *, of: list[str], k: WholeNumber = 10, by: str = "behaviour", out: Path | None = None) -> int:
    """Find the items most similar to others, by how users behave towards them or by a modality.

    Parameters
    ----------
    run
        Folder of a finished run.
    of
        Items, or one file of them.
    k
        Items per list.
    by
        behaviour, or a modality of the run.
    out
        File to write: .parquet, .csv or .jsonl; printed by default.
    """
    if out is not None:
        check_ending(out)
    recommender = Recommender.open(run)
    lists = recommender.similar(read_ids(of, recommender.items, "--of"), k, by=by)
    return deliver(iter([lists]), lists.clear(), 1, out)
