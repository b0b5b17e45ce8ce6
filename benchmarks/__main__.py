"""``python -m benchmarks`` runs every case and writes a table and JSON. ``--quick`` runs small sizes as a check."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.cases import CASES
from benchmarks.harness import write


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--quick", action="store_true", help="small sizes: for correctness, not for time")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/bench"))
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    results = []
    for name in options.only:
        rows = CASES[name](options.quick)
        results += rows
        for r in rows:
            print(f"{r.name}: {r.ours:.4f} s", "" if r.ratio is None else f"× {r.ratio:.2f}", r.note, flush=True)
    print(write(results, options.out))


if __name__ == "__main__":
    main()
