"""The directory of a run: claim it for training, and read what a finished run left in it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from safetensors import SafetensorError, safe_open

from crossrec.alignment.config import LAMBDA_C_BOUNDS, LAMBDA_F_BOUNDS
from crossrec.data.io.atomic import new_folder, read_json, write_json_atomic
from crossrec.data.io.manifest import MANIFEST, check_file, check_manifest, write_manifest
from crossrec.data.io.open_text import broken_link
from crossrec.errors import RunError
from crossrec.runs.embeddings import EMBEDDINGS_FILE, WAY_OUT, TrainedEmbeddings

if TYPE_CHECKING:
    import polars as pl

    from crossrec.data import Dataset
    from crossrec.runs.config import RunConfig

STRENGTHS_FILE = "strengths.csv"
"""Strengths and directions after every epoch, if the run recorded them."""
MEASURED_FILE = "measured.safetensors"
"""Weights of the training that was measured, of a run that was refit."""
NEEDED_FILES = ("config.json", "users.parquet", "items.parquet", EMBEDDINGS_FILE, "metrics.json")
ITEM_TABLE_FILE = "item_table.parquet"
"""Titles, categories and other columns of the items, in a run that ``save_run`` wrote with them."""
RUN_FILES = (*NEEDED_FILES, "history.csv", STRENGTHS_FILE, "model.safetensors", MEASURED_FILE, ITEM_TABLE_FILE)
"""All files of a run but its manifest. An extended run has the needed ones and weights only."""


def seal(folder: str | os.PathLike[str]) -> None:
    """Write the manifest of a run: size and sha256 of all its files. Only a run with a manifest counts as done.

    ``run`` and ``extend`` do so as their last step. Raises RunError where a file is missing.
    """
    folder = Path(folder)
    write_manifest(folder, [name for name in RUN_FILES if name in NEEDED_FILES or (folder / name).exists()])


def check_run(folder: str | os.PathLike[str]) -> None:
    """Check that a folder holds a finished run whose files are all as they were written.

    Everything that reads a finished run calls this first. Raises RunError naming the first file that is missing,
    altered or of another run.
    """
    folder = Path(folder)
    if not folder.is_dir():
        reason = broken_link(folder) or "no such folder; give the folder of a run, where its config.json is"
        raise RunError(f"{folder}: {reason}")
    if not _is_done(folder):
        run_identity(folder)
        raise RunError(
            f"{folder}: the run is not done; go on with 'crossrec train --config {folder}/config.json --resume'"
        )
    check_manifest(folder, RUN_FILES, WAY_OUT)


def save_run(run: Path, out: Path, item_table: pl.DataFrame | None = None) -> None:
    """Copy a finished run to a new folder, with a table of items where one is given.

    Raises RunError where ``out`` holds anything or cannot be written, and as ``check_run`` does.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out}: not an empty folder; give a new one")
    check_run(run)
    with new_folder(out) as draft:
        for name in RUN_FILES:
            if (run / name).exists():
                shutil.copyfile(run / name, draft / name)
        if item_table is not None:
            item_table.write_parquet(draft / ITEM_TABLE_FILE)
        seal(draft)


def _is_done(folder: Path) -> bool:
    """Whether a run has written its manifest. Raises RunError where the manifest was there and is missing."""
    if (folder / MANIFEST).exists():
        return True
    if (folder / "metrics.json").exists() and not (folder / "checkpoint").exists():
        raise RunError(
            f"{folder / MANIFEST}: missing, so nothing shows that the files of this run are whole; {WAY_OUT}. "
            f"For a run of an earlier version, crossrec.runs.seal('{folder}') writes it from the files as they are"
        )
    return False


def run_identity(folder: Path | str) -> str:
    """The run's digest in its ``config.json``. Raises RunError where the file is missing, damaged or not of a run."""
    values = read_json(Path(folder) / "config.json")
    if not isinstance(values, dict) or "identity" not in values:
        raise RunError(f"{folder}/config.json: not of a run; give the folder that 'crossrec train --out' made")
    return str(values["identity"])


def open_embeddings(folder: str | os.PathLike[str]) -> TrainedEmbeddings:
    """Read the vectors of a finished run: its ``vectors.safetensors``, after ``check_run``.

    Raises RunError if the run is missing, not done, damaged, or mixed with files of another run.
    """
    folder = Path(folder)
    check_run(folder)
    embeddings = TrainedEmbeddings.load(folder / EMBEDDINGS_FILE)
    if embeddings.identity != run_identity(folder):
        raise RunError(f"{folder}/{EMBEDDINGS_FILE} is of another run than config.json; {WAY_OUT}")
    return embeddings


def learnt_temperatures(folder: str | os.PathLike[str]) -> dict[str, float]:
    """Read λ_f and λ_c at the best epoch of a finished run, by the names of their settings.

    A temperature that was not learnt is left out. Both are left out if there is no ``model.safetensors``. Raises
    RunError if the file is not as the run has written it.
    """
    bounds = {"lambda_f": LAMBDA_F_BOUNDS, "lambda_c": LAMBDA_C_BOUNDS}
    check_file(Path(folder) / "model.safetensors", WAY_OUT)
    try:
        with safe_open(Path(folder) / "model.safetensors", "pt") as file:
            keys = {name: f"cross.{name}" for name in bounds if f"cross.{name}" in file.keys()}  # noqa: SIM118
            return {name: float(file.get_tensor(key).clamp(*bounds[name])) for name, key in keys.items()}
    except (OSError, SafetensorError):
        return {}


def finished_metrics(out: Path, identity: str, resume: bool) -> dict[str, Any] | None:
    """Return the metrics if ``out`` holds this very run and it is done, else None. Writes nothing, but deletes a
    checkpoint that a finished run has left.

    Raises RunError if ``out`` holds another run, or this one without ``resume``, or files that are not of a run, or a
    finished run whose files were altered.
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file: give --out a folder")
    if (out / "config.json").exists() or (out / MANIFEST).exists():
        if not resume:
            raise RunError(f"{out} holds a run already: pass --resume to go on with it, or another --out")
        is_done = _is_done(out)
        if is_done:
            check_run(out)
        values = read_json(out / "config.json")
        if not isinstance(values, dict) or values.get("identity") != identity:
            raise RunError(
                f"{out}/config.json is of another configuration, data set or version: give another --out, "
                "or the flags it was started with"
            )
        if is_done:
            shutil.rmtree(out / "checkpoint", ignore_errors=True)  # left by a kill just after the manifest was written
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


def claim(out: Path, config: RunConfig, identity: str, dataset: Dataset, start: str | None = None) -> None:
    """Make ``out`` the directory of this run: write its id maps and its configuration.

    ``start``: the identity of the run that the training begins with.
    """
    dataset.save_id_maps(out)
    begun = {} if start is None else {"init_identity": start}
    write_json_atomic(out / "config.json", config.model_dump(mode="json") | {"identity": identity} | begun)


def begun_from(out: Path) -> str | None:
    """The identity of the run that the training in ``out`` began with; None where there is none."""
    values = read_json(out / "config.json") if (out / "config.json").exists() else {}
    return values.get("init_identity") if isinstance(values, dict) else None
