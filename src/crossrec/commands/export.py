"""``crossrec export``."""

from __future__ import annotations

from pathlib import Path

from crossrec.console import say
from crossrec.recommend import Recommender
from crossrec.recommend.export import Index, export as export_vectors


def export(run: Path, /, *, out: Path, index: Index = "none") -> int:
    """Export the vectors of users, items and modalities as .npy and Parquet files, with an optional search index.

    Parameters
    ----------
    run
        Folder of a finished run.
    out
        Folder to create.
    index
        Index of the items: exact (flat), approximate (hnsw), or none. Needs crossrec[knn].
    """
    for name in export_vectors(Recommender.open(run), out, index):
        say(out / name)
    return 0
