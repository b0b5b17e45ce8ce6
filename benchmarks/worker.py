"""Runs one side of a case: prints its check, runs a round for every line on stdin, prints its peak memory.

Our side keeps freed memory, as ``crossrec train`` does; the plain side uses the default allocator.
"""

from __future__ import annotations

import argparse
import json
import sys

import torch

from benchmarks.harness import resident_mb, seconds_of
from benchmarks.sides import SIDES
from crossrec.memory import keep_freed_memory


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=SIDES)
    parser.add_argument("side")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.side == "ours":
        keep_freed_memory()
    action, check = SIDES[options.case](options.side, options.quick)
    print(json.dumps({"check": check}), flush=True)
    before = resident_mb()
    for _ in sys.stdin:
        print(json.dumps({"seconds": seconds_of(action)}), flush=True)
    peak = resident_mb("VmHWM")
    print(json.dumps({"extra_mb": peak - before, "peak_mb": peak}), flush=True)


if __name__ == "__main__":
    main()
