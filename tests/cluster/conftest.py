"""A Ray cluster of two nodes with one processor each, started once for all tests of this folder."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crossrec.cluster import QUIET, ClusterConfig

TASKS = (b"ray::train_cell", b"ray::list_block")
"""Names of processes that work on a task."""


@dataclass
class TwoNodes:
    """The cluster: its first node is this process's, and its second one may be killed and replaced."""

    cluster: Any
    second: Any

    @property
    def config(self) -> ClusterConfig:
        return ClusterConfig(cluster=self.cluster.address)

    def workers(self) -> list[int]:
        """Processes that work on a task now, on any node."""
        return [
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if read(path).startswith(TASKS) and raylet(path.parent) in self.raylets()
        ]

    def raylets(self) -> list[int]:
        nodes = [self.cluster.head_node, *self.cluster.worker_nodes]
        return [info.process.pid for node in nodes for info in node.all_processes.get("raylet", ())]

    def kill_worker(self) -> None:
        """Kill one process that works on a task, as the kernel does where memory runs out."""
        os.kill(self.workers()[0], signal.SIGKILL)

    def kill_second(self) -> None:
        """Kill the second node with all its processes, without a word to the cluster."""
        self.cluster.remove_node(self.second, allow_graceful=False)

    def start_second(self) -> None:
        self.second = self.cluster.add_node(num_cpus=1, object_store_memory=200_000_000)


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


def raylet(process: Path) -> int:
    """The parent of a process."""
    fields = read(process / "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.fixture(scope="session")
def nodes() -> Iterator[TwoNodes]:
    utilities = pytest.importorskip("ray.cluster_utils", reason="needs ray: pip install 'crossrec[cluster]'")
    os.environ.update(QUIET)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 200_000_000}
        cluster = utilities.Cluster(initialize_head=True, head_node_args=head)
        two = TwoNodes(cluster, None)
        with two.config.connect():  # to the first node: the second one may die
            two.start_second()
            yield two
        cluster.shutdown()
