"""What ``--init-from`` saves: nights of a generated shop, each trained from random vectors and from last night's.

    python -m benchmarks.warm_start [--nights 3] [--products 3000] [--customers 8000] [--events 100000] [--out FILE.md]

Each night has all purchases to that day, split by time; both trainings have the same settings and are stopped by
validation. The time is that of the process, so that other load on the machine counts little.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import polars as pl
from tests.shop import START, shop_log

from crossrec.data import DataConfig, ImportConfig, import_data, load
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run

DAYS = 90
HEAD = "| night | start | epochs to the best | epochs | processor s | valid Recall@20 | test Recall@20 |"


def measure(folder: Path, nights: int, backbone: str, alignment: str, patience: int, **sizes: int) -> list[str]:
    """Rows of the table."""
    log = shop_log(days=DAYS, **sizes)
    rows, before = [], None
    for day in range(DAYS - nights, DAYS + 1):
        data = folder / f"day-{day}"
        end = (START + timedelta(days=day)).isoformat(timespec="seconds")
        log.filter(pl.col("time") < end).write_csv(folder / "log.csv")
        import_data(folder / "log.csv", data, ImportConfig(min_user_interactions=5, split="time"))
        dataset = load(DataConfig(data=str(data)))
        for start in (None, before) if before is not None else (None,):
            settings = {
                "data": {"data": str(data)},
                "backbone": {"name": backbone},
                "alignment": {"name": alignment},
                "training": {"device": "cpu", "patience": patience, "patience_steps": 0},
                "init_from": None if start is None else str(start),
            }
            out = folder / f"run-{day}-{'cold' if start is None else 'warm'}"
            began = time.process_time()
            metrics = run(RunConfig.parse(settings), out, dataset=dataset)
            seconds = time.process_time() - began
            valid, test = (metrics[split]["recall@20"] for split in ("valid", "test"))
            kind = "random" if start is None else "last night"
            epochs = f"{metrics['best_epoch']} | {metrics['epochs']}"
            rows.append(f"| {day} | {kind} | {epochs} | {seconds:.0f} | {valid:.4f} | {test:.4f} |")
            print(rows[-1], flush=True)
        before = out
    return rows


def main() -> None:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("nights", 3), ("products", 3000), ("customers", 8000), ("events", 100_000), ("patience", 10)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--backbone", default="lightgcn")
    parser.add_argument("--alignment", default="none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = vars(parser.parse_args())
    out = arguments.pop("out")
    print(HEAD)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), **arguments)
    if out is not None:
        out.write_text("\n".join([HEAD, "| --: | :-- | --: | --: | --: | --: | --: |", *rows]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
