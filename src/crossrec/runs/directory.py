"""The folder of a run: claim it, and open what it holds. Reading a finished run needs no backbone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from safetensors import SafetensorError, safe_open

from crossrec.alignment.config import LAMBDA_C_BOUNDS, LAMBDA_F_BOUNDS
from crossrec.data.io.atomic import read_json, write_json_atomic
from crossrec.errors import RunError
from crossrec.runs import embeddings
from crossrec.runs.embeddings import TrainedEmbeddings

if TYPE_CHECKING:
    from crossrec.data import Dataset
    from crossrec.runs.config import RunConfig

STRENGTHS = "strengths.csv"
"""In a run directory: strengths and directions of every epoch, where the run was to record them."""


def open_embeddings(out: Path) -> TrainedEmbeddings:
    """What a run recommends with: its ``vectors.safetensors``; of a run without one, made from weights and data set.

    Raises RunError where the run is missing, not done, damaged, or its data set is another by now; DataError where the
    data set is needed and cannot be read.
    """
    if not out.is_dir():
        raise RunError(f"{out}: no such folder; give the folder of a run, where its config.json is")
    identity = _identity(out)
    if not (out / "metrics.json").exists():
        raise RunError(f"{out}: the run is not done; go on with 'crossrec train --config {out}/config.json --resume'")
    if (out / embeddings.FILE).exists():
        trained = embeddings.load(out / embeddings.FILE)
        if trained.identity != identity:
            raise RunError(f"{out}/{embeddings.FILE} is of another run than config.json: delete it")
        return trained
    from crossrec.runs.execute import rebuild_embeddings

    return rebuild_embeddings(out, identity)


def learnt_temperatures(out: Path) -> dict[str, float]:
    """λ_f and λ_c, by the names of their settings, that a done run has learnt by its best epoch.

    One that was not learnt is left out, and both are where the run's ``model.safetensors`` is missing or damaged.
    """
    bounds = {"lambda_f": LAMBDA_F_BOUNDS, "lambda_c": LAMBDA_C_BOUNDS}
    try:
        with safe_open(out / "model.safetensors", "pt") as file:
            learnt = {name: f"cross.{name}" for name in bounds if f"cross.{name}" in file.keys()}  # noqa: SIM118
            return {name: float(file.get_tensor(key).clamp(*bounds[name])) for name, key in learnt.items()}
    except (OSError, SafetensorError):
        return {}


def _identity(out: Path) -> str:
    values = read_json(out / "config.json")
    if not isinstance(values, dict) or "identity" not in values:
        raise RunError(f"{out}/config.json: not of a run; give the folder that 'crossrec train --out' made")
    return str(values["identity"])


def finished_metrics(out: Path, identity: str, resume: bool) -> dict[str, Any] | None:
    """The metrics where a run directory holds this very run, done; RunError where it holds another. Writes nothing."""
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file: give --out a folder")
    if (out / "config.json").exists():
        if not resume:
            raise RunError(f"{out} holds a run already: pass --resume to go on with it, or another --out")
        found = read_json(out / "config.json")
        if not isinstance(found, dict) or found.get("identity") != identity:
            raise RunError(
                f"{out}/config.json is of another configuration, data set or version: give another --out, "
                "or the flags it was started with"
            )
        if (out / "metrics.json").exists():
            return cast(dict[str, Any], read_json(out / "metrics.json"))
    elif out.is_dir() and (other := _not_of_a_run(out)):
        raise RunError(f"{out} holds '{other}', which is not of a run: give --out a folder that is new or empty")
    return None


def _not_of_a_run(out: Path) -> str | None:
    """A file that no run left in ``out`` before its config.json: id maps, logs and a worker's notes may lie there, a
    data set, say, whose table of items a run would write over, may not."""
    known, logs = ("users.parquet", "items.parquet", "cell.json"), (".txt", ".log", ".out", ".err")
    others = (path for path in out.iterdir() if not path.name.startswith((".", "worker-")))
    return min((path.name for path in others if path.name not in known and path.suffix not in logs), default=None)


def claim(out: Path, config: RunConfig, identity: str, dataset: Dataset) -> None:
    """Make a run directory this run's: configuration and id maps."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        dataset.save_id_maps(out)
    except OSError as error:
        raise RunError(f"cannot write to the folder {out}: {error.strerror}; give another --out") from None
    write_json_atomic(out / "config.json", config.model_dump(mode="json") | {"identity": identity})
