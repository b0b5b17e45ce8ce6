"""Peak memory and time of building the graphs that must never be dense, each case in a process of its own.

    python -m benchmarks.graphs --items 100000 --users 200000

freedom: the frozen item graph. lattice: the original and learned item graphs, the gradient of the learned one, and the
frozen graph. users: DualGNN's user graph. A process that only makes the inputs is measured first. Writes no files,
prints a row a case, and exits with 1 where a case takes more than --limit GiB.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
import torch

from crossrec.backbones.freedom import item_graph
from crossrec.backbones.lattice import LATTICE, LATTICEConfig
from crossrec.graph import co_interaction_graph
from crossrec.ops.sparse import SparseMatrix
from crossrec.types import TrainingSet

GIB = 2**30
PER_GIB = GIB if sys.platform == "darwin" else GIB // 2**10  # getrusage counts bytes on macOS, kilobytes elsewhere


def content(options: argparse.Namespace) -> dict[str, torch.Tensor]:
    """Normal features of --columns for --items items."""
    draw = torch.Generator().manual_seed(0)
    return {f"m{n}": torch.randn(options.items, columns, generator=draw) for n, columns in enumerate(options.columns)}


def interactions(users: int, items: int, per_user: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``per_user`` items for every user, popularity falling as 1 / rank^0.8; repeated pairs left out."""
    draw = np.random.default_rng(0)
    share = 1 / np.arange(1, items + 1) ** 0.8
    item = draw.choice(items, users * per_user, p=share / share.sum())
    pair = np.unique(np.repeat(np.arange(users), per_user) * items + item)
    return torch.from_numpy(pair // items), torch.from_numpy(pair % items)


def entries(matrix: SparseMatrix) -> int:
    return len(matrix.indices)


def freedom_inputs(options: argparse.Namespace) -> int:
    return sum(feature.numel() for feature in content(options).values())


def freedom(options: argparse.Namespace) -> int:
    features = content(options)
    return entries(item_graph(features, 10, {m: 1 / len(features) for m in features}))


def lattice(options: argparse.Namespace) -> int:
    features = content(options)
    edges = interactions(1000, options.items, 10)
    data = TrainingSet(1000, options.items, *edges, features)
    model = LATTICE(LATTICEConfig(), data, torch.Generator().manual_seed(0)).train()
    model.before_epoch(1, torch.Generator().manual_seed(0))
    model.propagate().item_IL.square().sum().backward()
    assert model.modality_logit.grad is not None
    return entries(model.frozen)


def users_inputs(options: argparse.Namespace) -> int:
    return len(interactions(options.users, options.user_items, options.per_user)[0])


def users(options: argparse.Namespace) -> int:
    edges = interactions(options.users, options.user_items, options.per_user)
    return entries(co_interaction_graph(*edges, options.users, options.user_items, 40))


CASES = {f.__name__: f for f in (freedom_inputs, freedom, lattice, users_inputs, users)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000, help="items of the item graphs")
    parser.add_argument("--columns", type=int, nargs="+", default=[256, 128], help="feature columns of each modality")
    parser.add_argument("--users", type=int, default=200_000, help="users of the user graph")
    parser.add_argument("--user-items", type=int, default=100_000, help="items of the user graph")
    parser.add_argument("--per-user", type=int, default=10, help="interactions of a user")
    parser.add_argument("--limit", type=float, default=4.0, help="GiB that a case may take")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--in-process", action="store_true", help="run the one case in this process")
    options = parser.parse_args()
    if options.in_process:
        (case,) = options.cases
        started = time.perf_counter()
        entry_count = CASES[case](options)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / PER_GIB
        print(f"{case:<15} {entry_count:>12,} entries {seconds:>8.1f} s {peak:>7.2f} GiB", flush=True)
        return int(peak > options.limit)
    same = [word for word in sys.argv[1:] if word not in ("--cases", *CASES)]
    failed = [
        c
        for c in options.cases
        if subprocess.call([sys.executable, "-m", "benchmarks.graphs", *same, "--in-process", "--cases", c])
    ]
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
