"""Add new items to a trained run by their content alone, so that it recommends them at once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from crossrec.data.io.atomic import new_folder, read_bytes, read_json, write_json_atomic
from crossrec.data.io.feature_card import FeatureCard, read_card
from crossrec.data.io.features import open_features
from crossrec.data.io.id_column import read_listing, save_id_map
from crossrec.data.io.tables import open_table
from crossrec.data.sources import existing, items_file
from crossrec.errors import DataError, RunError
from crossrec.features.items import feature_path, has_row_indices
from crossrec.lazy import polars as pl
from crossrec.recommend.cold_start import DEFAULT_METHOD, ColdStartMethod
from crossrec.recommend.exposure import exposure
from crossrec.recommend.recommender import Recommender
from crossrec.runs.directory import MEASURED_FILE, seal
from crossrec.runs.embeddings import EMBEDDINGS_FILE


@dataclass(frozen=True)
class ExtensionSummary:
    """What ``extend`` did.

    ``added``: number of new items. ``untouched``: number of items of the run without training interactions, which now
    have vectors from content. ``left_out``: ids of new items without any feature. ``share``: part of the places in the
    users' lists of ten that the new items get.
    """

    added: int
    untouched: int
    left_out: list[Any]
    share: float = field(default=0.0, compare=False)


def extend(
    run: Path | str,
    data: Path | str,
    out: Path | str,
    *,
    how: ColdStartMethod = DEFAULT_METHOD,
    quantile: float = 0.5,
    share: float | None = None,
) -> ExtensionSummary:
    """Write a run with the items of ``run`` and the new items of the folder ``data``.

    New items get vectors from their features (``Recommender.with_items``; ``how``, ``quantile``, ``share`` as there),
    which must come from the same encoders as those of the run; where the run's features have a card, theirs is compared
    with it. Items of the run without a training interaction get such vectors too (``with_untouched``). Nothing is
    trained. ``data`` holds a table of items and ``<modality>_feat.npy`` in its row order; items that the run has are
    skipped, items without any feature left out. ``out`` appears complete or not at all.

    Raises RunError where the run cannot be opened or ``out`` exists, ConfigError where the run has no content vectors,
    DataError where items or features are missing, damaged, or do not fit the run.
    """
    run, out = Path(run), Path(out)
    if out.exists():
        raise RunError(f"{out} is there already: give another --out")
    recommender = Recommender.open(run)
    extended = recommender.with_untouched(how, quantile=quantile)
    untouched = int(extended.vectors.has_vector.sum() - recommender.vectors.has_vector.sum())
    ids, features = _items(str(data), list(recommender.cold_start.widths), recommender.vectors.feature_cards)
    new_N = np.flatnonzero([recommender.items.row(id) is None for id in ids])
    raw = {m: np.asarray(matrix[new_N]) for m, matrix in features.items()}
    has_N = np.logical_or.reduce([matrix.any(axis=1) for matrix in raw.values()])
    added, left_out = ids.gather(new_N[has_N]), ids.gather(new_N[~has_N])
    if len(added):
        features = {m: matrix[has_N] for m, matrix in raw.items()}
        extended = extended.with_items(added.to_list(), features, how, quantile=quantile, share=share)
    new_N = np.arange(len(extended.items) - len(added), len(extended.items))
    summary = ExtensionSummary(len(added), untouched, left_out.to_list(), exposure(extended, new_N))
    _write(extended, run, out, summary, how)
    return summary


def _items(
    data: str, modalities: list[str], run_cards: dict[str, FeatureCard]
) -> tuple[pl.Series, dict[str, np.ndarray]]:
    """The item ids of a folder and the raw features of the modalities that it has, one row an item."""
    folder = existing(data)
    if not folder.is_dir():
        raise DataError(f"{folder}: a file; give the folder of the items and their features")
    features = {m: open_features(feature_path(folder, m)) for m in modalities if feature_path(folder, m).exists()}
    if not features:
        wanted = " or ".join(feature_path(folder, m).name for m in modalities)
        raise DataError(f"{folder}: no {wanted}; 'crossrec data features' makes them of texts and pictures")
    table_path = items_file(folder)
    if has_row_indices(folder):
        ids = pl.Series(np.arange(len(next(iter(features.values())))))
    elif table_path is not None:
        ids = read_listing(open_table(table_path)).ids
    else:
        raise DataError(f"{folder}: no items table; put items.csv there, its ids in the row order of the features")
    for m, matrix in features.items():
        if len(matrix) != len(ids):
            raise DataError(f"{feature_path(folder, m)}: {len(matrix)} rows for {len(ids)} items; make it again")
        _check_encoder(feature_path(folder, m), run_cards.get(m))
    return ids, features


def _check_encoder(path: Path, run_card: FeatureCard | None) -> None:
    """Raise DataError where new features are not of the model that the features of the run are of, as its card says."""
    if run_card is None or run_card.model is None:
        return
    card = read_card(path)
    if card is None or not card.same_encoder(run_card):
        origin = "has no card that says of which model it is" if card is None else f"is made with {card.encoder}"
        raise DataError(
            f"{path}: {origin}, but the run's features with {run_card.encoder}; make it again with that model "
            "(crossrec data features --overwrite)"
        )


def _write(recommender: Recommender, run: Path, out: Path, summary: ExtensionSummary, how: ColdStartMethod) -> None:
    """Write the folder of the new run; its identity combines that of the run with the added items."""
    vectors = recommender.vectors
    identity = vectors.identity
    if summary.added or summary.untouched:
        ids = json.dumps([str(item) for item in recommender.items.ids])
        identity = hashlib.sha256(f"{identity} {how} {ids}".encode() + vectors.item_IS.numpy().tobytes()).hexdigest()
    metrics = read_json(run / "metrics.json")
    trained_items = metrics.get("extended", {}).get("trained_items", len(recommender.items) - summary.added)
    extended = {"run": vectors.identity, "items": summary.added, "untouched": summary.untouched, "how": how}
    extended["share"] = summary.share
    extended["trained_items"] = trained_items
    with new_folder(out) as draft:
        replace(vectors, identity=identity).save(draft / EMBEDDINGS_FILE)
        save_id_map(recommender.items.ids, draft / "items.parquet")
        (draft / "users.parquet").write_bytes(read_bytes(run / "users.parquet"))
        write_json_atomic(draft / "config.json", read_json(run / "config.json") | {"identity": identity})
        for name in ("model.safetensors", MEASURED_FILE):  # for a training that begins with this run
            if (run / name).exists():
                (draft / name).write_bytes(read_bytes(run / name))
        write_json_atomic(draft / "metrics.json", metrics | {"identity": identity, "extended": extended})
        seal(draft)
