"""Ray: join or start a cluster, and count the tasks for which it has room."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Self

from pydantic import Field

from crossrec.config import Config
from crossrec.errors import ConfigError

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
"""Environment of Ray: it reports nothing, and a task without a GPU sees none."""


class ClusterConfig(Config):
    """The Ray cluster to use, and what each of its tasks gets."""

    cluster: str | None = None
    """Work on Ray: auto joins the cluster of this host, or starts one here; or the ADDRESS of a cluster, HOST:PORT."""
    cpus_per_run: Annotated[int, Field(ge=1, le=1024)] = 1
    """Processors of each task on the cluster; also its threads, unless --threads is given."""
    gpus_per_run: Annotated[float, Field(ge=0, le=64)] = 0.0
    """GPUs of each task on the cluster; .5 lets two share one."""

    @property
    def resources(self) -> dict[str, float]:
        """Resources of a task by the names of ``ray.remote``."""
        return {"num_cpus": self.cpus_per_run, "num_gpus": self.gpus_per_run}

    def checked(self, has_jobs: bool = False) -> Self | None:
        """These settings where there is a cluster, else None. ``has_jobs``: whether ``--jobs`` is given too.

        Raises ConfigError for settings of which one has no effect.
        """
        if self.cluster is None:
            for name in ("cpus_per_run", "gpus_per_run"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    flag = name.replace("_", "-")
                    raise ConfigError(f"--{flag} is of a cluster; give --cluster auto, or leave it out")
            return None
        if has_jobs:
            raise ConfigError("--jobs: on a cluster as much runs at the same time as its nodes hold; leave it out")
        return self

    @contextmanager
    def connect(self) -> Iterator[None]:
        """Connect this process for the block, unless it is connected already.

        Raises ConfigError where ray is missing, where there is no such cluster, or where no node has room for a task.
        """
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        try:
            import ray
        except ModuleNotFoundError:
            raise ConfigError("--cluster needs ray: pip install 'crossrec[cluster]'") from None
        address = None if self.cluster == "auto" else self.cluster
        if address is not None and "://" in address:
            raise ConfigError(f"--cluster {address}: run crossrec on a node of the cluster, and give auto or HOST:PORT")
        if connects := not ray.is_initialized():
            on_sigterm = signal.getsignal(signal.SIGTERM)
            options = {} if address else {"include_dashboard": False}
            try:
                ray.init(address, log_to_driver=False, logging_level="ERROR", **options)
            except (ConnectionError, OSError, RuntimeError, ValueError) as error:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise ConfigError(f"--cluster {self.cluster}: {reason}; give auto, or HOST:PORT of a cluster") from None
            _restore(on_sigterm)
        try:
            if not self.room():
                gpus = f" and {self.gpus_per_run:g} GPUs" if self.gpus_per_run else ""
                raise ConfigError(
                    f"--cpus-per-run {self.cpus_per_run}: no node of the cluster has {self.cpus_per_run} processors"
                    f"{gpus} for a task; give less, or start a larger node"
                )
            yield
        finally:
            if connects:
                ray.shutdown()

    def room(self) -> int:
        """How many tasks the nodes that live hold at the same time."""
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return sum(min(int(node.get(name, 0.0) / need) for name, need in self._needs.items()) for node in nodes)

    @property
    def _needs(self) -> dict[str, float]:
        needs = {"CPU": float(self.cpus_per_run), "GPU": self.gpus_per_run}
        return {name: need for name, need in needs.items() if need}


def _restore(handler: object) -> None:
    """Put back what happens at SIGTERM, which Ray has replaced; outside the main thread it has not."""
    try:
        signal.signal(signal.SIGTERM, handler)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return
