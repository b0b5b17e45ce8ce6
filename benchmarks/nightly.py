"""Two nights of a shop by the commands of the tutorials: import, train, recommend, extend, serve.

    python -m benchmarks.nightly [--products 3000] [--customers 8000] [--events 100000] [--epochs 100] [--out FILE.md]

The log is German: semicolons, DD.MM.YYYY, decimal commas, views, carts, purchases, refunds and a robot. Each command is
a process of its own; its row has its wall time, processor time and peak memory. Then what the nights came to.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
from tests.data.event_shop import BOT, COLUMNS, ITEM_COLUMNS, Event, write_log, write_shop

from crossrec.runs.directory import open_embeddings

WEIGHTS = "gekauft=3 warenkorb=1 erstattet=-4"
HEAD = ["| command | seconds | processor s | peak MB |", "| :-- | --: | --: | --: |"]


class Nights:
    """Runs commands in ``folder`` and keeps a row for each."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.folder, self.rows, self.facts = folder, list(HEAD), list[str]()
        self.environment = os.environ | {"OMP_NUM_THREADS": str(threads), "COLUMNS": "200"}

    def call(self, name: str, command: str) -> str:
        """The output of a command. Raises RuntimeError with what it says if it fails."""
        log, began = self.folder / "output.txt", time.perf_counter()
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "crossrec", *shlex.split(command)],
                cwd=self.folder,
                env=self.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
            _, status, usage = os.wait4(process.pid, 0)
        seconds, processor = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
        if status:
            raise RuntimeError(f"crossrec {command}\n{log.read_text()}")
        self.rows.append(f"| {name} | {seconds:.0f} | {processor:.0f} | {usage.ru_maxrss / 1024:.0f} |")
        print(self.rows[-1], flush=True)
        return log.read_text()

    def tell(self, fact: str) -> None:
        self.facts.append(f"- {fact}")
        print(self.facts[-1], flush=True)

    def tell_metrics(self, run: str) -> None:
        metrics = json.loads((self.folder / run / "metrics.json").read_text())
        best, epochs = metrics["best_epoch"], metrics["epochs"]
        self.tell(f"{run}: best epoch {best} of {epochs}, test Recall@20 {metrics['test']['recall@20']:.4f}")


def flags(names: dict[str, str]) -> str:
    return " ".join(f"--{name.replace('_', '-')} {shlex.quote(column)}" for name, column in names.items())


def night(nights: Nights, day: int, log: list[Event], epochs: int, before: str | None) -> None:
    """Import the log to the end of a day, train on it, and give everybody a list."""
    write_log(nights.folder / "feed" / "ereignisse.csv", log)
    rules = f"{flags(COLUMNS)} {flags(ITEM_COLUMNS)} --event-weights {WEIGHTS} --half-life 60"
    rules += f" --max-user-interactions {len(log) // 20}"
    for name, more in (("data", "--min-user-interactions 3"), ("all", "--unused-items keep")):
        nights.call(
            f"day {day}: import ({name})",
            f"data import feed/ereignisse.csv --items feed/artikel.csv --out {name}-{day} {rules} --split time {more}",
        )
        features = pl.read_parquet(nights.folder / f"{name}-{day}" / "items.parquet")["item"]
        vectors = np.load(nights.folder / "vectors.npy")
        np.save(nights.folder / f"{name}-{day}" / "text_feat.npy", vectors[[int(item[1:]) for item in features]])
    start = f"--init-from run-{before}" if before else ""
    nights.call(
        f"day {day}: train --refit{' --init-from' if before else ''}",
        f"train --data data-{day} --weighted --alignment cross --epochs {epochs} --refit {start} --out run-{day}",
    )
    nights.tell_metrics(f"run-{day}")
    if before:
        name = f"run-{day}-anew"
        nights.call(
            f"day {day}: train --refit, to compare",
            f"train --data data-{day} --weighted --alignment cross --epochs {epochs} --refit --out {name}",
        )
        nights.tell_metrics(name)

    run = open_embeddings(nights.folder / f"run-{day}")
    users = pl.read_parquet(nights.folder / f"run-{day}" / "users.parquet")["id"].to_list()
    items = pl.read_parquet(nights.folder / f"run-{day}" / "items.parquet")["id"].to_list()
    user_N = np.repeat(np.arange(len(users)), np.diff(run.seen_indptr.numpy()))
    learnt = {(users[u], items[i]) for u, i in zip(user_N, run.seen_item.tolist(), strict=True)}
    last = max(event.moment for event in log).date()
    bought = {(e.customer, e.product) for e in log if e.moment.date() == last and e.kind == "gekauft"}
    bought -= {(e.customer, e.product) for e in log if e.kind == "erstattet"}
    nights.tell(f"day {day}: {len(bought & learnt)} of the {len(bought)} pairs bought on the last day are learnt")

    nights.call(
        f"day {day}: recommend --histories",
        f"recommend run-{day} --histories feed/ereignisse.csv {flags({k: v for k, v in COLUMNS.items() if v})} "
        f"--events gekauft warenkorb --fallback popular --k 20 --out lists-{day}.parquet",
    )
    lists = pl.read_parquet(nights.folder / f"lists-{day}.parquet")
    people = {event.customer for event in log if event.customer != BOT}
    sources = lists.group_by("source").agg(pl.col("user").n_unique()).sort("source").rows()
    with_list = len(people & set(lists["user"].to_list()))
    nights.tell(f"day {day}: {with_list:,} of {len(people):,} customers have a list ({dict(sources)})")
    pairs = {(e.customer, e.product) for e in log if e.kind in ("gekauft", "warenkorb")}
    hidden = sum(row in pairs for row in lists.select("user", "item").iter_rows())
    nights.tell(f"day {day}: {hidden} of {len(lists):,} places hold what the customer has in the log")
    nights.call(f"day {day}: extend", f"extend run-{day} --data all-{day} --share 0.03 --out run-{day}-all")


def ask(nights: Nights, run: str, port: int) -> None:
    """Serve a run and ask for the list of its first customer."""
    customer = pl.read_parquet(nights.folder / run / "users.parquet")["id"][0]
    command = [sys.executable, "-m", "crossrec", "serve", run, "--port", str(port)]
    with (nights.folder / "served.txt").open("w") as file:
        server = subprocess.Popen(command, cwd=nights.folder, env=nights.environment, stdout=file, stderr=file)
    try:
        for _ in range(120):
            time.sleep(0.5)
            try:
                body = json.dumps({"user": customer, "k": 20}).encode()
                address = f"http://127.0.0.1:{port}/v1/recommend"
                request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=10) as answer:
                    items = json.load(answer)["items"]
                nights.tell(f"{run} is served: {customer} gets {len(items)} products")
                return
            except urllib.error.URLError as error:
                if isinstance(error, urllib.error.HTTPError):
                    raise RuntimeError(error.read().decode()) from None
        raise RuntimeError((nights.folder / "served.txt").read_text())
    finally:
        server.terminate()
        server.wait(30)


def main(arguments: list[str] | None = None) -> None:
    """Run both nights, and print or write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("products", 3000), ("customers", 8000), ("events", 100_000), ("epochs", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--port", type=int, default=8793)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        nights = Nights(Path(folder), options.threads)
        log = write_shop(
            Path(folder) / "feed", products=options.products, customers=options.customers, events=options.events
        )
        draw = np.random.default_rng(0)
        tastes = draw.normal(size=(8, 32))  # products of one taste look alike
        noise = draw.normal(size=(options.products, 32))
        np.save(Path(folder) / "vectors.npy", (tastes[np.arange(options.products) % 8] + noise).astype("float32"))
        last = max(event.moment for event in log).replace(hour=0, minute=0, second=0)
        for day, before in ((89, None), (90, "89")):
            end = last - timedelta(days=89 - day) if day < 90 else last + timedelta(days=1)
            night(nights, day, [event for event in log if event.moment < end], options.epochs, before)
        ask(nights, "run-90-all", options.port)
        text = "\n".join([*nights.rows, "", *nights.facts]) + "\n"
        if options.out is not None:
            options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
