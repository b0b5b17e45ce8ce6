"""Trackers of training: TensorBoard, MLflow, Weights & Biases, or one of your own. Off unless asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, PlainSerializer

from crossrec.errors import ConfigError
from crossrec.parts import Registry


class Tracker(Protocol):
    """Where a run sends its numbers. It is made at the start by ``Tracker(name, folder, config)``.

    ``name``: of the run; ``folder``: its directory; ``config``: its settings as plain values.
    """

    def __init__(self, name: str, folder: Path, config: Mapping[str, Any]) -> None: ...

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Record the row of ``history.csv`` of an epoch."""

    def finish(self, values: Mapping[str, float]) -> None:
        """Record the final metrics, such as "test/recall@20", and end. Not called for a run that stops before."""


class TensorBoardTracker:
    """Events for TensorBoard, in the folder ``tensorboard`` of the run."""

    name = "tensorboard"

    def __init__(self, name: str, folder: Path, config: Mapping[str, Any]) -> None:
        writer = _import("torch.utils.tensorboard", "tensorboard").SummaryWriter(str(folder / "tensorboard"))
        self._writer, self._step = writer, 0

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._step = step
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def finish(self, values: Mapping[str, float]) -> None:
        self.log(values, self._step)
        self._writer.close()


class MLflowTracker:
    """A run of MLflow, where MLFLOW_TRACKING_URI says. "@" in names of metrics is "_at_", as MLflow takes no "@"."""

    name = "mlflow"

    def __init__(self, name: str, folder: Path, config: Mapping[str, Any]) -> None:
        self._mlflow, self._step = _import("mlflow", "mlflow"), 0
        self._mlflow.start_run(run_name=name)
        self._mlflow.log_params(_flat(config))

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._step = step
        self._mlflow.log_metrics({name.replace("@", "_at_"): value for name, value in values.items()}, step=step)

    def finish(self, values: Mapping[str, float]) -> None:
        self.log(values, self._step)
        self._mlflow.end_run()


class WandbTracker:
    """A run of Weights & Biases, by its own settings, such as WANDB_PROJECT and WANDB_MODE."""

    name = "wandb"

    def __init__(self, name: str, folder: Path, config: Mapping[str, Any]) -> None:
        self._run = _import("wandb", "wandb").init(name=name, dir=str(folder), config=dict(config))

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def finish(self, values: Mapping[str, float]) -> None:
        self._run.summary.update(dict(values))
        self._run.finish()


def _problem(part: Any) -> str:
    is_tracker = isinstance(part, type) and all(callable(getattr(part, name, None)) for name in ("log", "finish"))
    return "" if is_tracker else "not a tracker; give a class with log(values, step) and finish(values)"


TRACKERS: Registry[type[Tracker]] = Registry(
    "tracker",
    "crossrec.trackers",
    {"tensorboard": TensorBoardTracker, "mlflow": MLflowTracker, "wandb": WandbTracker},
    problem=_problem,
    own_name=lambda part: str(getattr(part, "name", part.__name__)),
)
"""Trackers by what ``--tracker`` takes: a name, or ``module:Class``."""
TrackerName = Annotated[str, AfterValidator(TRACKERS.checked), PlainSerializer(TRACKERS.reference)]
"""The name of a tracker, as a setting."""


def _import(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise ConfigError(
            f"--tracker {package}: needs the package {package}; install it: pip install {package}"
        ) from None


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with names such as "training.epochs"."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
