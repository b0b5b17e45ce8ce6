"""Speed of recommending with random vectors on one thread: ``python -m benchmarks.recommend 200000 100000 64``.

The numbers are users, items and the width of a vector; lists hold 20 items. Prints milliseconds and users a second.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch

from benchmarks.datasets import random_vectors
from crossrec.data.io.tables import write_frames
from crossrec.recommend import Recommender
from crossrec.recommend.id_map import IdMap


def random_recommender(users: int, items: int, width: int) -> Recommender:
    ids = pl.Series("id", [f"i{n}" for n in range(items)])
    vectors = random_vectors(users, items, width)
    return Recommender(vectors, IdMap(pl.Series("id", np.arange(users)), "user"), IdMap(ids, "item"))


def milliseconds(call: Callable[[int], object], times: int = 100) -> float:
    call(0)
    started = time.perf_counter()
    for n in range(times):
        call(n)
    return (time.perf_counter() - started) / times * 1e3


def main(users: int, items: int, width: int) -> None:
    torch.set_num_threads(1)
    recommender = random_recommender(users, items, width)
    print(f"one user {milliseconds(lambda n: recommender.recommend([n], 20)):.1f} ms")
    print(f"one history {milliseconds(lambda n: recommender.for_history([f'i{n}', 'i999'], 20)):.1f} ms")
    print(f"similar to one item {milliseconds(lambda n: recommender.similar([f'i{n}'], 20)):.1f} ms")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        write_frames(recommender.stream(k=20), Path(folder) / "lists.parquet", recommender.empty())
    seconds = time.perf_counter() - started
    print(f"all users {seconds:.0f} s, {users / seconds:.0f} users a second")


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:]))
