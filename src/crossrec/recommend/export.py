"""Export the vectors of a run as .npy and Parquet files, with an optional faiss index."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from crossrec.data.io.atomic import new_folder, write_json_atomic
from crossrec.data.io.npy import write_array
from crossrec.errors import ConfigError, RunError
from crossrec.lazy import polars as pl
from crossrec.recommend.recommender import Recommender

Index = Literal["none", "flat", "hnsw"]
"""No index, an exact faiss index, or an approximate one (a graph); both search by dot product."""
HNSW_LINKS = 32


def export(recommender: Recommender, out: Path | str, index: Index = "none") -> list[str]:
    """Write vectors and ids into a new folder and return the names of its files.

    ``user.npy`` (U, S) and ``item.npy`` (I, S), whose dot product ranks items; ``item_<modality>.npy`` (I, L) in the
    shared space; ``users.parquet`` and ``items.parquet``: one id a row, with its vector; ``items.faiss``: the index of
    ``item.npy``; ``about.json``. The folder appears complete or not at all. Raises RunError where it exists already or
    cannot be written, ConfigError where an index is requested and faiss is not installed.
    """
    out = Path(out)
    if out.exists():
        raise RunError(f"{out} is there already: give another --out")
    vectors = recommender.vectors
    tables = {"user": vectors.user_US, "item": vectors.item_IS}
    tables |= {f"item_{m}": table for m, table in vectors.modality_IL.items()}
    with new_folder(out) as draft:
        if index != "none":
            _write_index(vectors.item_IS, index, draft / "items.faiss")
        for name, table in tables.items():
            with (draft / f"{name}.npy").open("wb") as file:
                write_array(file, table.numpy())
        for name, ids in (("user", recommender.users.ids), ("item", recommender.items.ids)):
            vector = pl.Series("vector", tables[name].numpy(), dtype=pl.Array(pl.Float32, tables[name].shape[1]))
            pl.DataFrame([ids.alias("id"), vector]).write_parquet(draft / f"{name}s.parquet")
        summary = {
            "run": recommender.label,
            "identity": vectors.identity,
            "users": vectors.num_users,
            "items": vectors.num_items,
            "dimension": vectors.user_US.shape[1],
            "score": "dot product of user.npy and item.npy",
            "modalities": list(vectors.modality_IL),
            "index": index,
        }
        write_json_atomic(draft / "about.json", summary)
    return sorted(path.name for path in out.iterdir())


def _write_index(item_IS: Tensor, kind: Literal["flat", "hnsw"], path: Path) -> None:
    """Write a faiss index by dot product whose ids are item rows. Raises ConfigError where faiss is not installed."""
    try:
        faiss: Any = import_module("faiss")
    except ModuleNotFoundError:
        raise ConfigError("an index needs faiss: pip install 'crossrec[knn]', or leave --index out") from None
    width = item_IS.shape[1]
    hnsw = width, HNSW_LINKS, faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexFlatIP(width) if kind == "flat" else faiss.IndexHNSWFlat(*hnsw)
    index.add(item_IS.numpy())
    with path.open("wb") as file:  # faiss itself reports a full disk as a failed assertion
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))
