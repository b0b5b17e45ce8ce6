"""Peak memory and speed of ``crossrec data import`` on generated logs, each import in a process of its own.

    python -m benchmarks.imports --rows 1000000 10000000 100000000

A log has a row's user, item, rating and time, in the order of time; ids are text, a user has 20 rows in the mean and an
item 200, both with a long tail, and some pairs repeat. It is imported with duplicates, rating threshold, k-core and the
split by time. Prints a row an import, and exits with 1 where one takes more than --limit GiB. Files go to --folder and
are deleted.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from crossrec.data import ImportConfig, import_data
from crossrec.data.io.tables import write_frames

GIB = 2**30
PER_GIB = GIB if sys.platform == "darwin" else GIB // 2**10  # getrusage counts bytes on macOS, kilobytes elsewhere
BLOCK = 500_000


def log(rows: int) -> Iterator[pl.DataFrame]:
    """The log, block by block."""
    draw = np.random.default_rng(0)
    users, items = max(rows // 20, 10), max(rows // 200, 10)
    for start in range(0, rows, BLOCK):
        size = min(BLOCK, rows - start)
        user, item = (users * draw.random(size) ** 1.5).astype(int), (items * draw.random(size) ** 2).astype(int)
        yield pl.DataFrame(
            {
                "user_id": pl.select(pl.format("u{}", pl.Series(user))).to_series(),
                "item_id": pl.select(pl.format("sku-{}", pl.Series(item))).to_series(),
                "rating": draw.integers(1, 6, size).astype(float),
                "timestamp": 1_300_000_000 + np.arange(start, start + size),
            }
        )


def run(rows: int, source: Path, limit: float) -> int:
    """Import ``source`` in this process and print time and memory."""
    config = ImportConfig(min_rating=2, min_user_interactions=5, min_item_interactions=5, split="time")
    started = time.perf_counter()
    card = import_data(source, source.with_name("out"), config)
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss / PER_GIB
    left = card.steps[-1]
    print(
        f"| {rows:,} | {source.suffix[1:]}, {source.stat().st_size / 10**9:.2f} GB | {left.interactions:,} | "
        f"{seconds:,.0f} s | {used.ru_utime + used.ru_stime:,.0f} s | {rows / seconds:,.0f} | {peak:.2f} |",
        flush=True,
    )
    return int(peak > limit)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000], help="rows of the logs")
    parser.add_argument("--format", choices=["parquet", "csv", "jsonl"], nargs="+", default=["parquet", "csv"])
    parser.add_argument("--folder", type=Path, help="folder of the temporary files; the system's unless given")
    parser.add_argument("--limit", type=float, default=8.0, help="GiB that an import may take")
    parser.add_argument("--source", type=Path, help="import this file in this process")
    options = parser.parse_args()
    if options.source:
        return run(options.rows[0], options.source, options.limit)
    print("| rows | file | rows left | time | processor time | rows a second | peak GiB |", flush=True)
    print("| --: | :-- | --: | --: | --: | --: | --: |", flush=True)
    failed = 0
    for rows in options.rows:
        for ending in options.format:
            folder = Path(tempfile.mkdtemp(dir=options.folder))
            try:
                source = folder / f"log.{ending}"
                write_frames(log(rows), source, next(log(10)).clear())
                command = [sys.executable, "-m", "benchmarks.imports", "--rows", str(rows), "--source", str(source)]
                failed += subprocess.call([*command, "--limit", str(options.limit)])
            finally:
                shutil.rmtree(folder)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
