"""Lists on a Ray cluster of two nodes here: lists a second, and the peak memory of each node's processes.

``python -m benchmarks.cluster_lists --users 1000000 --items 1000000 --lists 4000`` prints the figures.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import torch

from crossrec.cluster import QUIET, ClusterConfig
from crossrec.recommend import Recommender
from crossrec.recommend.blocks import write_blocks
from crossrec.recommend.id_map import IdMap
from crossrec.runs.embeddings import TrainedEmbeddings


def drawn(users: int, items: int, dim: int, seen: int) -> Recommender:
    """A recommender of vectors that are drawn, in which each user has ``seen`` items."""
    generator = torch.Generator().manual_seed(0)
    user_US, item_IS = (torch.randn(count, dim, generator=generator) for count in (users, items))
    seen_item = torch.randint(items, (users, seen), generator=generator).sort(dim=1).values.reshape(-1)
    indptr = torch.arange(0, users * seen + 1, seen)
    vectors = TrainedEmbeddings(
        "lightgcn",
        None,
        "drawn",
        user_US,
        item_IS,
        user_US,
        item_IS,
        torch.ones(items, dtype=torch.long),
        indptr,
        seen_item,
        torch.ones(len(seen_item), dtype=torch.bool),
    )
    ids = [IdMap(pl.int_range(count, eager=True), what) for count, what in ((users, "user"), (items, "item"))]
    return Recommender(vectors, *ids)


def peak_mb(pid: int) -> float:
    """The largest resident memory of a process so far, shared pages among it."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def workers(raylet: int) -> list[int]:
    """Processes of a node that make lists."""
    pids = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cmdline").read_bytes().startswith(b"ray::list_block"):
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                pids += [int(path.name)] if parent == raylet else []
        except OSError:
            continue
    return pids


def main() -> None:
    """Measure, and print one line a step."""
    parser = argparse.ArgumentParser()
    for name, default in (("users", 1_000_000), ("items", 1_000_000), ("lists", 4_000), ("dim", 64), ("seen", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    os.environ.update(QUIET)
    from ray.cluster_utils import Cluster

    torch.set_num_threads(1)
    recommender = drawn(arguments.users, arguments.items, arguments.dim, arguments.seen)
    size = sum(tensor.nbytes for tensor in vars(recommender.vectors).values() if torch.is_tensor(tensor))
    print(f"vectors and histories: {size / 2**20:.0f} MB, some of them twice")
    store = 1_500_000_000
    cluster = Cluster(True, head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": store})
    config, peaks, over = ClusterConfig(cluster=cluster.address), dict[int, float](), threading.Event()
    with config.connect(), TemporaryDirectory() as folder:
        cluster.add_node(num_cpus=1, object_store_memory=store)
        raylets = [
            info.process.pid
            for node in (cluster.head_node, *cluster.worker_nodes)
            for info in node.all_processes["raylet"]
        ]

        def watch() -> None:
            while not over.wait(0.5):
                for raylet in raylets:
                    used = sum(map(peak_mb, [raylet, *workers(raylet)]))
                    peaks[raylet] = max(peaks.get(raylet, 0.0), used)

        watching = threading.Thread(target=watch)
        watching.start()
        users = np.random.default_rng(0).choice(arguments.users, arguments.lists, replace=False)
        times: list[float] = []
        started = time.monotonic()
        paths = write_blocks(
            recommender,
            10,
            Path(folder) / "lists",
            config,
            users=users.tolist(),
            on_block=lambda count: times.append(time.monotonic() - started),
        )
        print(f"{len(paths)} blocks; the first one after {times[0]:.1f} s, all after {times[-1]:.1f} s")
        over.set()
        watching.join()
        print(f"peak of raylet and workers of each node: {', '.join(f'{peak:.0f} MB' for peak in peaks.values())}")
        lists = pl.concat([pl.read_parquet(path) for path in paths])
        begin = time.monotonic()
        some = users[:64].tolist()
        expected = recommender.recommend(some, k=10)
        print(f"one process, one thread: {64 / (time.monotonic() - begin):.2f} lists a second")
        print(f"the same lists: {lists.filter(pl.col('user').is_in(some)).equals(expected)}")
        print(f"cluster: {arguments.lists / times[-1]:.2f} lists a second, with start and transfer")
    cluster.shutdown()


if __name__ == "__main__":
    main()
