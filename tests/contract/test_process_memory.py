"""The largest memory of a process of several, as the system counts it, against the formula of docs/scale.md."""

from __future__ import annotations

import json
import multiprocessing
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from benchmarks import step_times
from benchmarks.harness import resident_mb

from crossrec import parallel
from crossrec.backbones.lightgcn import LightGCNConfig
from crossrec.evaluation import HeldOut
from crossrec.memory import keep_freed_memory, return_freed_memory
from crossrec.objective import Objective
from crossrec.sampling import Sampler
from crossrec.training import TrainingConfig, fit
from crossrec.types import TrainingSet

PROCESSES, DIM, STEPS = 4, 64, 2
USERS, ITEMS, PAIRS = 30_000, 30_000, 120_000


def train(users: int, items: int, pairs: int) -> None:
    """Two steps of LightGCN and a validation of 200 pairs."""
    draw = torch.Generator().manual_seed(0)
    user_T, item_T = (torch.randint(count, (pairs,), generator=draw) for count in (users, items))
    data = TrainingSet(users, items, user_T, item_T)
    held = HeldOut.build(user_T, item_T, user_T[:200], item_T[:200].flip(0), users, items)
    config = TrainingConfig(epochs=1, batch_size=512, device="cpu")
    fit(Objective(LightGCNConfig(dim=DIM), None, data, 0), data, held, config)


def main(rank: int | None, folder: Path) -> None:
    """Write the MB that a training takes in process ``rank`` of several, or in one without others."""
    torch.set_num_threads(1)
    keep_freed_memory(but_large=rank is not None)
    whole_epoch = Sampler.epoch
    Sampler.epoch = lambda self, generator: islice(whole_epoch(self, generator), STEPS)  # type: ignore[method-assign]
    if rank is not None:
        parallel.join(dist.FileStore(str(folder / "store"), PROCESSES), rank, PROCESSES)
    train(300, 300, 3000)  # loads what libraries load at first use
    return_freed_memory()
    before = resident_mb()
    train(USERS, ITEMS, PAIRS)
    (folder / f"{rank}.json").write_text(json.dumps(resident_mb("VmHWM") - before))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the largest memory is read from /proc")
def test_the_largest_memory_of_a_process(tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([main.__module__])
    started = [context.Process(target=main, args=(rank, tmp_path)) for rank in (None, *range(PROCESSES))]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
        process.kill()
    alone, *shared = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (None, *range(PROCESSES)))
    for processes, taken in ((1, alone), (PROCESSES, max(shared))):
        expected = step_times.held_memory(USERS + ITEMS, PAIRS, DIM, processes) / 2**20
        assert taken == pytest.approx(expected, rel=0.4), processes
    assert max(shared) < 0.45 * alone
