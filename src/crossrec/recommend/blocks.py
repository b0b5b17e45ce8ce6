"""Lists for many users on a Ray cluster: blocks of users as tasks, one Parquet file each."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crossrec.cluster import ClusterConfig
from crossrec.data.io.atomic import read_json, write_json_atomic
from crossrec.data.io.lock import FolderLock
from crossrec.data.io.tables import write_frames
from crossrec.errors import ConfigError, RunError
from crossrec.lazy import polars as pl
from crossrec.ops.csr import Ints
from crossrec.ops.topk import users_per_chunk
from crossrec.recommend.id_map import IdMap
from crossrec.recommend.recommender import Recommender

LISTS_FILE = "lists.json"
"""What the blocks of a folder are lists of."""
CHUNKS = 64
"""Chunks of users that are scored together, by block: about 10^9 scores."""
QUEUED = 2
"""Blocks that are given to the cluster, for each that it works on at a time."""


def write_blocks(
    recommender: Recommender,
    k: int,
    out: Path,
    cluster: ClusterConfig,
    *,
    users: Iterable[Any] | None = None,
    threads: int = 0,
    on_block: Callable[[int], None] = lambda users: None,
    **options: Any,
) -> list[Path]:
    """Write lists to ``out`` as ``lists-00000.parquet`` and so on; together they are the frames of ``recommend``.

    Blocks that are there already are not made again, so a stopped call goes on. Vectors are sent to every node once.
    ``users``: original ids, all by default; ``options`` as in ``Recommender.stream``. ``threads`` of each task; 0 for
    its processors. ``on_block``: called with the number of users of each block that is there. Returns the files.

    Raises ConfigError where ``out`` holds lists of another run, of other users or with other options, or anything else;
    RunError where another process writes to ``out``, and as ``stream`` does.
    """
    user_N = recommender.users.present if users is None else recommender.users.rows(users)
    recommender.stream(k=k, rows=user_N[:0], **options)  # raises for what the options cannot be
    size = CHUNKS * users_per_chunk(len(recommender.items), k)
    blocks = [user_N[start : start + size] for start in range(0, len(user_N), size)]
    paths = [out / f"lists-{number:05}.parquet" for number in range(len(blocks))]
    with cluster.connect(), FolderLock(out):
        _claim(out, recommender, user_N, {"k": k, "block": size, "options": _digest(repr(sorted(options.items())))})
        for block, path in zip(blocks, paths, strict=True):
            if path.exists():
                on_block(len(block))
        missing = deque((block, path) for block, path in zip(blocks, paths, strict=True) if not path.exists())
        _make(recommender, k, missing, cluster, threads or cluster.cpus_per_run, on_block, options)
    return paths


def _make(
    recommender: Recommender,
    k: int,
    missing: deque[tuple[Ints, Path]],
    cluster: ClusterConfig,
    threads: int,
    on_block: Callable[[int], None],
    options: dict[str, Any],
) -> None:
    """Write the missing blocks, in the order in which they come."""
    import ray
    from ray.exceptions import RayError

    users, items = recommender.users, recommender.items
    fresh = Recommender(  # without what this process has cached
        recommender.vectors,
        IdMap(users.ids, users.what, users.absent),
        IdMap(items.ids, items.what, items.absent),
        recommender.item_table,
        run=recommender.run,
    )
    shared, task = ray.put(fresh), ray.remote(**cluster.resources)(list_block)
    pending: dict[Any, tuple[Ints, Path]] = {}
    try:
        while missing or pending:
            while missing and len(pending) < QUEUED * max(1, cluster.room()):
                block, path = missing.popleft()
                pending[task.remote([shared], k, block, threads, options)] = block, path
            for reference in ray.wait(list(pending), timeout=1.0)[0]:
                block, path = pending.pop(reference)
                try:
                    frame = ray.get(reference)
                except RayError as error:
                    reason = str(getattr(error, "cause", error)).strip().splitlines()[:1]
                    raise RunError(f"{path}: its task failed ({''.join(reason)}); the same command goes on") from None
                write_frames(iter([frame]), path, frame.clear())
                on_block(len(block))
    finally:
        for reference in pending:
            ray.cancel(reference)


def list_block(shared: list[Any], k: int, rows: Ints, threads: int, options: dict[str, Any]) -> pl.DataFrame:
    """The task: the lists of the users in these rows. ``shared``: a reference to the recommender."""
    torch.set_num_threads(threads)
    recommender = _opened(shared[0])
    return pl.concat([recommender.empty(), *recommender.stream(k=k, rows=np.array(rows), **options)])


@lru_cache(1)
def _opened(reference: Any) -> Recommender:
    """The recommender, which a worker reads once for all its blocks."""
    import ray

    recommender: Recommender = ray.get(reference)
    return recommender


def _claim(out: Path, recommender: Recommender, user_N: Ints, settings: dict[str, Any]) -> None:
    """Say in ``out`` what its blocks are lists of, or check that it says this already."""
    lists = {"run": recommender.vectors.identity, "users": _digest(user_N.astype("<i8").tobytes()), **settings}
    path = out / LISTS_FILE
    if path.exists():
        if read_json(path) != lists:
            raise ConfigError(f"{out} holds lists of another run, other users or other options; give another --out")
    elif others := [other.name for other in out.iterdir() if not other.name.startswith(".")]:
        raise ConfigError(
            f"{out} holds '{min(others)}', which is no block of lists; give an --out that is new or empty"
        )
    else:
        write_json_atomic(path, lists)


def _digest(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
