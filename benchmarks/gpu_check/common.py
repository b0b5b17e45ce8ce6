"""What the checks share: rows of the table, clocks of the GPU, data, and steps with the draws of the CPU."""

from __future__ import annotations

import json
import statistics
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.datasets import generated
from benchmarks.gpu_check.row import Row
from crossrec.alignment import ALIGNMENTS
from crossrec.backbones import BACKBONES
from crossrec.evaluation import HeldOut
from crossrec.objective import Objective
from crossrec.randomness import torch_generator
from crossrec.sampling import Sampler
from crossrec.training import _steps
from crossrec.types import Batch, TrainingSet

ALIGNED = ("none", "cross", "prime")
"""Alignments that every backbone is trained with."""


@dataclass
class Session:
    """What a check is given. ``rows_file``: rows are appended to it at once, so that they outlive a crash."""

    device: torch.device
    tiny: bool
    rows_file: Path
    seconds: float
    started: float = field(default_factory=time.monotonic)

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def add(self, row: Row) -> None:
        with self.rows_file.open("a") as file:
            file.write(json.dumps(asdict(row)) + "\n")

    @contextmanager
    def part(self, name: str) -> Iterator[Row]:
        """A row that the block fills. What the block raises fails the row and nothing else."""
        row = Row(name)
        try:
            yield row
        except Exception as error:
            traceback.print_exc()
            row.ok, row.value = False, f"{type(error).__name__}: {error}".splitlines()[0][:200]
        self.add(row)

    def has_time(self, name: str) -> bool:
        """Whether the check may go on to a further part; else a row says that there was no time for it."""
        has_time = time.monotonic() - self.started <= self.seconds
        if not has_time:
            self.add(Row(name, skipped="no time left"))
        return has_time

    def synchronize(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def milliseconds(self, action: Callable[[], Any], rounds: int = 10) -> float:
        """Time of one call, by events around ``rounds`` of them after two that do not count; by the clock on a CPU."""
        rounds = 1 if self.tiny else rounds
        for _ in range(1 if self.tiny else 2):
            action()
        self.synchronize()
        if not self.on_gpu:
            times = []
            for _ in range(rounds):
                started = time.perf_counter()
                action()
                times.append(1e3 * (time.perf_counter() - started))
            return statistics.median(times)
        before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        before.record()
        for _ in range(rounds):
            action()
        after.record()
        self.synchronize()
        return float(before.elapsed_time(after)) / rounds

    def waits(self, action: Callable[[], Any]) -> int:
        """How often the host waits for the GPU in one call."""
        if not self.on_gpu:
            return 0
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                action()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(warning.message) for warning in caught)


def split_off(data: TrainingSet, share: float = 0.1) -> tuple[TrainingSet, HeldOut]:
    """The set without a share of its pairs, and these as held-out pairs."""
    drawn = torch.rand(len(data.user_T), generator=torch.Generator().manual_seed(1)) < share
    user, item = data.user_T, data.item_T
    train = TrainingSet(data.num_users, data.num_items, user[~drawn], item[~drawn], data.features)
    pairs = (train.user_T.numpy(), train.item_T.numpy(), user[drawn].numpy(), item[drawn].numpy())
    return train, HeldOut.build(*pairs, data.num_users, data.num_items)


def tiktok_sized(tiny: bool) -> tuple[TrainingSet, HeldOut]:
    """A generated set of TikTok's size."""
    return split_off(generated(300, 200, 2500, (16, 8)) if tiny else generated(9308, 6710, 60_000, (128, 128)))


def objective_of(
    backbone: str,
    alignment: str,
    data: TrainingSet,
    device: torch.device,
    *,
    learning_rate: float = 1e-3,
    **options: Any,
) -> Objective:
    """A new objective on the device. ``options`` of the alignment."""
    kind = ALIGNMENTS[alignment]
    settings = BACKBONES[backbone].config_type(learning_rate=learning_rate)
    return Objective(settings, None if kind is None else kind(**options), data.to(device), 0).to(device)


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The same batch, without weights, on the device."""
    parts = (batch.user_B, batch.item_B, batch.negative_B)
    return Batch(*(None if part is None else part.to(device) for part in parts), is_checked=True)


class Training:
    """Epochs of an objective whose batches, negatives and graph views are drawn on the CPU, whatever its device.

    So two devices see the same steps, which ``crossrec.training.fit`` does not promise.
    """

    def __init__(self, objective: Objective, data: TrainingSet, device: torch.device, batch_size: int) -> None:
        self.objective, self.device, self.epoch = objective, device, 0
        self.sampler = Sampler(data.to("cpu"), batch_size)
        self.generators = {purpose: torch_generator(0, purpose) for purpose in ("sampling", "epoch")}
        self.optimizer = torch.optim.Adam(objective.parameter_groups(), fused=True)

    def run_epoch(self) -> dict[str, float]:
        """One epoch. Returns the mean of every term."""
        self.epoch += 1
        self.objective.train()
        self.objective.before_epoch(self.epoch, self.generators["epoch"], len(self.sampler), [])
        for group in self.optimizer.param_groups:
            group["lr"] = group["lr_factor"] * self.objective.learning_rate_at(self.epoch)
        batches = (on_device(batch, self.device) for batch in self.sampler.epoch(self.generators["sampling"]))
        return _steps(self.objective, self.optimizer, batches, len(self.sampler), self.epoch)


def difference(left: dict[str, float], right: dict[str, float]) -> float:
    """The largest relative difference of the values of two dicts; of those below 0.02 the absolute one, times 50."""
    return max((abs(left[name] - value) / max(abs(value), 0.02) for name, value in right.items()), default=0.0)
