"""A trained run with further items: new ones, by their content alone, so that they are recommended at once."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crossrec.data.io.atomic import read_json, write_json_atomic
from crossrec.data.io.features import open_features
from crossrec.data.io.output import new_folder
from crossrec.data.sources import existing, items_file
from crossrec.data.synthetic import RECIPES
from crossrec.errors import DataError, RunError
from crossrec.features.items import feature_path, listed_ids, row_indices
from crossrec.recommend.cold_start import DEFAULT, NewItem
from crossrec.recommend.recommender import Recommender
from crossrec.runs.embeddings import FILE

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Extended:
    """``added``: items that the run did not know. ``untouched``: items of the run that nobody has taken in training,
    which now have vectors from content. ``left_out``: ids of new items without any feature."""

    added: int
    untouched: int
    left_out: list[Any]


def extend(
    run: Path | str, data: Path | str, out: Path | str, *, how: NewItem = DEFAULT, quantile: float = 0.5
) -> Extended:
    """Write a run that recommends what ``run`` does, and the items of the folder ``data`` that it does not know.

    Their vectors come from their features (``Recommender.with_items``; ``how``, ``quantile`` as there), which must be
    made by the models that made those of the run; items of the run without a training interaction get such vectors too
    (``with_untouched``). Nothing is trained. ``data`` holds a table of items and ``<modality>_feat.npy`` in its order;
    items that the run knows are passed over, those without any feature left out. ``out`` is there whole or not at all.

    Raises RunError where the run cannot be opened or ``out`` is there already, ConfigError where the run knows no
    content, DataError where items or features are missing, damaged, or unlike those of the run.
    """
    run, out = Path(run), Path(out)
    if out.exists():
        raise RunError(f"{out} is there already: give another --out")
    recommender = Recommender.open(run)
    made = recommender.with_untouched(how, quantile=quantile)
    untouched = int(made.vectors.has_vector.sum() - recommender.vectors.has_vector.sum())
    ids, features = _items(str(data), list(recommender.newcomers.snapshot.content_encoders))
    new_N = np.flatnonzero([recommender.items.row(one) is None for one in ids])
    raw = {m: np.asarray(matrix[new_N]) for m, matrix in features.items()}
    has_N = np.logical_or.reduce([matrix.any(axis=1) for matrix in raw.values()])
    added, left_out = ids.gather(new_N[has_N]), ids.gather(new_N[~has_N])
    if len(added):
        made = made.with_items(added.to_list(), {m: matrix[has_N] for m, matrix in raw.items()}, how, quantile=quantile)
    told = Extended(len(added), untouched, left_out.to_list())
    _write(made, run, out, told, how)
    return told


def _items(data: str, modalities: list[str]) -> tuple[pl.Series, dict[str, np.ndarray]]:
    """The ids that a folder lists and the raw features of the modalities it has, a row an item."""
    import polars as pl

    folder = existing(data, list(RECIPES))
    if not folder.is_dir():
        raise DataError(f"{folder}: a file; give the folder of the items and their features")
    features = {m: open_features(feature_path(folder, m)) for m in modalities if feature_path(folder, m).exists()}
    if not features:
        wanted = " or ".join(feature_path(folder, m).name for m in modalities)
        raise DataError(f"{folder}: no {wanted}; 'crossrec data features' makes them of texts and pictures")
    own = items_file(folder)
    if row_indices(folder):
        ids = pl.Series(np.arange(len(next(iter(features.values())))))
    elif own is not None:
        ids = listed_ids(own)
    else:
        raise DataError(f"{folder}: no items table; put items.csv there, its ids in the row order of the features")
    for m, matrix in features.items():
        if len(matrix) != len(ids):
            raise DataError(f"{feature_path(folder, m)}: {len(matrix)} rows for {len(ids)} items; make it again")
    return ids, features


def _write(made: Recommender, run: Path, out: Path, told: Extended, how: NewItem) -> None:
    """The folder of the new run; its identity is that of the run and of what was added."""
    vectors = made.vectors
    identity = vectors.identity
    if told.added or told.untouched:
        digest = hashlib.sha256(f"{identity} {how} {json.dumps([str(one) for one in made.items.ids])}".encode())
        digest.update(vectors.item_IS.numpy().tobytes())
        identity = digest.hexdigest()
    extended = {"run": vectors.identity, "items": told.added, "untouched": told.untouched, "how": how}
    with new_folder(out) as draft:
        replace(vectors, identity=identity).save(draft / FILE)
        made.items.save(draft / "items.parquet")
        shutil.copy(run / "users.parquet", draft)
        write_json_atomic(draft / "config.json", read_json(run / "config.json") | {"identity": identity})
        metrics = read_json(run / "metrics.json")
        write_json_atomic(draft / "metrics.json", metrics | {"identity": identity, "extended": extended})
