"""The directory of a run: claim it for training, and read what a finished run left in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from safetensors import SafetensorError, safe_open

from crossrec.alignment.config import LAMBDA_C_BOUNDS, LAMBDA_F_BOUNDS
from crossrec.data.io.atomic import read_json, write_json_atomic
from crossrec.errors import RunError
from crossrec.runs.embeddings import EMBEDDINGS_FILE, TrainedEmbeddings

if TYPE_CHECKING:
    from crossrec.data import Dataset
    from crossrec.runs.config import RunConfig

STRENGTHS_FILE = "strengths.csv"
"""Strengths and directions after every epoch, if the run recorded them."""


def open_embeddings(folder: str | os.PathLike[str]) -> TrainedEmbeddings:
    """Read the vectors of a finished run: its ``vectors.safetensors``.

    If the run has no such file, the vectors are computed from its weights and its data set. Raises RunError if the run
    is missing, not done or damaged, or if its data set has changed; DataError if the data set cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder; give the folder of a run, where its config.json is")
    values = read_json(folder / "config.json")
    if not isinstance(values, dict) or "identity" not in values:
        raise RunError(f"{folder}/config.json: not of a run; give the folder that 'crossrec train --out' made")
    identity = str(values["identity"])
    if not (folder / "metrics.json").exists():
        raise RunError(
            f"{folder}: the run is not done; go on with 'crossrec train --config {folder}/config.json --resume'"
        )
    if (folder / EMBEDDINGS_FILE).exists():
        embeddings = TrainedEmbeddings.load(folder / EMBEDDINGS_FILE)
        if embeddings.identity != identity:
            raise RunError(f"{folder}/{EMBEDDINGS_FILE} is of another run than config.json: delete it")
        return embeddings
    from crossrec.runs.execute import rebuild_embeddings

    return rebuild_embeddings(folder, identity)


def learnt_temperatures(folder: str | os.PathLike[str]) -> dict[str, float]:
    """Read λ_f and λ_c at the best epoch of a finished run, by the names of their settings.

    A temperature that was not learnt is left out. Both are left out if ``model.safetensors`` is missing or damaged.
    """
    bounds = {"lambda_f": LAMBDA_F_BOUNDS, "lambda_c": LAMBDA_C_BOUNDS}
    try:
        with safe_open(Path(folder) / "model.safetensors", "pt") as file:
            keys = {name: f"cross.{name}" for name in bounds if f"cross.{name}" in file.keys()}  # noqa: SIM118
            return {name: float(file.get_tensor(key).clamp(*bounds[name])) for name, key in keys.items()}
    except (OSError, SafetensorError):
        return {}


def finished_metrics(out: Path, identity: str, resume: bool) -> dict[str, Any] | None:
    """Return the metrics if ``out`` holds this very run and it is done, else None. Writes nothing.

    Raises RunError if ``out`` holds another run, or this one without ``resume``, or files that are not of a run.
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file: give --out a folder")
    if (out / "config.json").exists():
        if not resume:
            raise RunError(f"{out} holds a run already: pass --resume to go on with it, or another --out")
        values = read_json(out / "config.json")
        if not isinstance(values, dict) or values.get("identity") != identity:
            raise RunError(
                f"{out}/config.json is of another configuration, data set or version: give another --out, "
                "or the flags it was started with"
            )
        if (out / "metrics.json").exists():
            return cast(dict[str, Any], read_json(out / "metrics.json"))
    elif out.is_dir() and (name := _foreign_file(out)):
        raise RunError(f"{out} holds '{name}', which is not of a run: give --out a folder that is new or empty")
    return None


def _foreign_file(out: Path) -> str | None:
    """Name a file in ``out`` that no run writes before its config.json, or None.

    Id maps, logs and hidden files such as a lock may be there. A data set may not: the run would overwrite its
    ``items.parquet``.
    """
    own_files, log_endings = ("users.parquet", "items.parquet", "cell.json"), (".txt", ".log", ".out", ".err")
    paths = (path for path in out.iterdir() if not path.name.startswith("."))
    return min((p.name for p in paths if p.name not in own_files and p.suffix not in log_endings), default=None)


def claim(out: Path, config: RunConfig, identity: str, dataset: Dataset) -> None:
    """Make ``out`` the directory of this run: write its id maps and its configuration."""
    dataset.save_id_maps(out)
    write_json_atomic(out / "config.json", config.model_dump(mode="json") | {"identity": identity})
