"""Checks of speed: trainings of TikTok's size, waits for the GPU, and the shares of its rates that the parts reach."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from benchmarks.datasets import generated
from benchmarks.gpu_check.common import ALIGNED, Session, objective_of, tiktok_sized
from benchmarks.gpu_check.row import Row
from crossrec.alignment.clusters import item_cluster_loss, user_cluster_loss
from crossrec.backbones import BACKBONES
from crossrec.graph import bipartite_adjacency, propagate_mean
from crossrec.losses import info_nce
from crossrec.objective import Objective
from crossrec.ops import sparse
from crossrec.ops.vectors import l2_normalize
from crossrec.randomness import torch_generator
from crossrec.sampling import Sampler
from crossrec.training import TrainingConfig, fit

WAITS = 2
"""Most waits for the GPU in a step."""
PRIME_WAITS = 2
"""Further waits of PRIME, which aligns a part of each batch: for the distinct users and items of that part."""


def trainings(session: Session) -> None:
    """Two epochs of every backbone and alignment, then the time of a step and its waits."""
    data, held = tiktok_sized(session.tiny)
    data = data.to(session.device)
    config = TrainingConfig(epochs=2, batch_size=2048, device=session.device.type)
    for backbone in BACKBONES:
        for alignment in ALIGNED:
            name = f"training, {backbone} + {alignment}"
            if (session.tiny and backbone != "lightgcn") or not session.has_time(name):
                continue
            with session.part(name) as row:
                if session.on_gpu:
                    torch.cuda.reset_peak_memory_stats(session.device)
                objective = objective_of(backbone, alignment, data, session.device)
                progress = fit(objective, data, held, config)
                recall = progress.history[-1]["valid_recall@20"]
                finite = all(math.isfinite(value) for line in progress.history for value in line.values())
                row.value, row.bound = f"recall@20 {recall:.4f}", "finite"
                row.ok = finite and 0 <= recall <= 1
                _step(session, objective, Sampler(data, 2048), row, alignment)


def _step(session: Session, objective: Objective, sampler: Sampler, row: Row, alignment: str) -> None:
    """Add the time of a step, its waits and the peak of the memory to a row."""
    batches = itertools.cycle(itertools.islice(sampler.epoch(torch_generator(0, "step", session.device)), 8))
    optimizer = torch.optim.Adam(objective.parameter_groups(), lr=1e-3, fused=True)

    def step() -> None:
        _, loss = objective(next(batches))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    objective.train()
    for _ in range(1 if session.tiny else 8):
        step()  # the first time, batches are drawn
    milliseconds = session.milliseconds(step, rounds=16)
    waits = session.waits(step)
    limit = {"none": 0, "prime": WAITS + PRIME_WAITS}.get(alignment, WAITS)
    row.value += f", {milliseconds:.2f} ms a step, {waits} waits"
    row.bound += f", ≤ {limit} waits"
    row.ok = row.ok and waits <= limit
    if session.on_gpu:
        row.value += f", {torch.cuda.max_memory_allocated(session.device) / 2**20:.0f} MB"


class Rates:
    """Rates of this device, measured by one large product or copy each."""

    def __init__(self, session: Session) -> None:
        size = 256 if session.tiny else 8192
        self.flops = {}
        for number in (torch.float32, torch.bfloat16):
            left = torch.randn(size, size, device=session.device, dtype=number)
            self.flops[number] = 2 * size**3 / session.milliseconds(lambda m=left: m @ m) * 1e3  # type: ignore[misc]
        source = torch.empty(2**18 if session.tiny else 2**28, device=session.device)
        target = torch.empty_like(source)
        self.bytes = 2 * source.nbytes / session.milliseconds(lambda: target.copy_(source)) * 1e3


def rates(session: Session) -> None:
    """Cluster terms, contrasts and propagation against the rates of a large product and a large copy."""
    with session.part("rates of the device") as row:
        device = Rates(session)
        names = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
        products = ", ".join(f"{names[n]} {rate / 1e12:.3g} TFLOP/s" for n, rate in device.flops.items())
        row.value = f"products {products}; copies {device.bytes / 1e12:.3g} TB/s"
    if row.ok is not False:
        _propagation(session, device)
        _contrasts(session, device)


def _propagation(session: Session, device: Rates) -> None:
    sizes = {"TikTok's": (9308, 6710, 60_000), "100,000 users and items, 2 M pairs": (100_000, 100_000, 2_000_000)}
    for name, size in ({"a tiny set's": (300, 200, 2500)} if session.tiny else sizes).items():
        data = generated(*size).to(session.device)
        graph = bipartite_adjacency(data.user_T, data.item_T, data.num_users, data.num_items)
        table = torch.randn(graph.shape[0], 64, device=session.device)
        moved = 3 * (len(graph.values) * (8 + 256) + 2 * table.nbytes)
        times = {}
        for uses_csr in (True, False):
            kernel = "csr_sums" if uses_csr else "bag_sums"
            with session.part(f"propagation, 3 layers of 64 columns, {name}, {kernel}") as row:
                sparse.CUDA_USES_CSR, before = uses_csr, sparse.CUDA_USES_CSR
                try:
                    times[kernel] = session.milliseconds(lambda: propagate_mean(graph, table, 3))  # noqa: B023
                finally:
                    sparse.CUDA_USES_CSR = before
                share = moved / times[kernel] * 1e3 / device.bytes
                row.value = f"{times[kernel]:.3f} ms, {share:.0%} of the rate of copies (reads of a cache count too)"
        if len(times) == 2 and session.on_gpu:
            with session.part(f"the faster kernel, {name}") as row:
                best = min(times, key=lambda kernel: times[kernel])
                chosen = "csr_sums" if sparse.CUDA_USES_CSR else "bag_sums"
                row.value = f"{best}, {max(times.values()) / min(times.values()):.2f} times as fast"
                row.bound, row.ok = f"{chosen}, which is used, or a tenth slower", times[chosen] <= 1.1 * times[best]


def _contrasts(session: Session, device: Rates) -> None:
    pairs, items, prototypes = (128, 64, 256) if session.tiny else (2048, 1400, 10_240)
    draw = torch.Generator(device=session.device).manual_seed(0)

    def unit(rows: int) -> Tensor:
        return l2_normalize(torch.randn(rows, 64, generator=draw, device=session.device)).requires_grad_()

    users, candidates, book = unit(pairs), unit(items), unit(prototypes)
    book_ui, views = unit(2 * prototypes), [unit(items) for _ in range(3)]
    row_N, row_B = (torch.arange(count, device=session.device) for count in (items, pairs))
    of_pairs = (row_B, row_B % items)
    learnt = torch.tensor(0.1, device=session.device, requires_grad=True)
    for precision, number in ((None, torch.float32), ("bfloat16", torch.bfloat16)):
        options = {"temperature": learnt, "normalized": True, "precision": precision}
        cases = {
            f"contrast of {items:,} items": (
                lambda o=options: info_nce(views[0], candidates, row_N, **o),
                6 * items * items * 64,
            ),
            f"cluster term of items, {prototypes:,} prototypes": (
                lambda o=options: item_cluster_loss(views, book, **o),
                3 * 10 * items * prototypes * 64,
            ),
            f"cluster term of users, {2 * prototypes:,} prototypes": (
                lambda o=options: user_cluster_loss(users, candidates, book_ui, pairs=of_pairs, **o),
                10 * (pairs + items) * 2 * prototypes * 64,
            ),
        }
        for name, (loss, operations) in cases.items():
            with session.part(f"{name}, {'float32' if precision is None else precision}") as row:
                milliseconds = session.milliseconds(lambda: loss().backward())  # noqa: B023
                share = operations / milliseconds * 1e3 / device.flops[number]
                row.value = f"{milliseconds:.3f} ms, {share:.1%} of the rate of products"


def memory(session: Session) -> None:
    """Peak memory of a few steps of LightGCN + CROSS, from small to large."""
    sizes = [(2000, 1000, 20_000)] if session.tiny else [(10_000, 10_000, 100_000), (300_000, 300_000, 3_000_000)]
    for users, items, pairs in sizes:
        with session.part(f"memory, LightGCN + CROSS, {users:,} users and {items:,} items") as row:
            if not session.on_gpu:
                row.skipped = "no GPU"
                continue
            data = generated(users, items, pairs, (128,)).to(session.device)
            torch.cuda.reset_peak_memory_stats(session.device)
            before = torch.cuda.memory_allocated(session.device)
            objective = objective_of("lightgcn", "cross", data, session.device)
            _step(session, objective, Sampler(data, 2048), row, "cross")
            row.ok = None
            row.bound = ""
            row.value = row.value.removeprefix(", ") + f"; data before it {before / 2**20:.0f} MB"
