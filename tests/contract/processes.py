"""What each process of ``test_processes`` does: train every cell alone and with the others, and compare the bytes."""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from crossrec import optimizer, parallel
from crossrec.alignment import ALIGNMENTS
from crossrec.backbones import BACKBONES
from crossrec.evaluation import HeldOut, ranking
from crossrec.graph import bipartite_adjacency
from crossrec.losses import logsumexp_dot
from crossrec.objective import Objective
from crossrec.ops import blockwise, sparse
from crossrec.ops.cluster_kernel import cluster_cross_entropy
from crossrec.ops.vectors import l2_normalize
from crossrec.randomness import torch_generator
from crossrec.sampling import Sampler
from crossrec.training import TrainingConfig, fit, make_optimizer

from .worlds import world

CELLS = {
    4: [("bpr", "none"), ("lightgcn", "cross"), ("lightgcn", "prime"), ("freedom", "cross"), ("ncl", "cross")],
    3: [("lightgcn", "cross"), ("mgcn", "none")],
    2: [(backbone, alignment) for backbone in BACKBONES for alignment in ("none", "fettle", "cross")],
}
"""Backbone and alignment by the number of processes."""
PROCESSES = 4
ROWS, PROTOTYPES = 48, 10
"""Rows of a batch and of a contrast, which are the same blocks in each process, and prototypes."""
DIM = 64
"""Four processes have 16 columns each."""
RESUMED = ("lightgcn", "mgcn")
"""Backbones, one divided by columns and one by numbers, whose training goes on with another number of processes."""


def divide_all() -> None:
    """Let even the smallest work be shared out."""
    torch.set_num_threads(1)
    optimizer.SMALL = sparse.SMALL = 0
    blockwise._BLOCK_ROWS, blockwise._BLOCK_NUMBERS = 3, 1
    ranking.BLOCK = 4


def train(backbone: str, alignment: str, epochs: int = 1, folder: Path | None = None) -> dict[str, str]:
    """Digests of the weights, terms and metrics of a training.

    With a folder it pauses after its first epoch, or goes on from the checkpoint there.
    """
    data, kind = world(), ALIGNMENTS[alignment]
    settings = {"warm_up": 0} if backbone == "ncl" else {}
    config = BACKBONES[backbone].config_type(dim=DIM, learning_rate=0.02, **settings)
    model = Objective(config, None if kind is None else kind(), data, 0)
    held = HeldOut.build(data.user_T, data.item_T, (data.user_T + 1) % 13, data.item_T, data.num_users, data.num_items)
    pauses = folder is not None and parallel.from_main(lambda: not folder.exists())
    progress = fit(
        model,
        data,
        held,
        TrainingConfig(epochs=epochs, batch_size=32, device="cpu"),
        checkpoints=folder,
        pause=lambda progress: pauses and progress.epoch == 1,
    )
    history = [{name: x for name, x in row.items() if not name.endswith("seconds")} for row in progress.history]
    weights = {name: tensor.detach().numpy().tobytes() for name, tensor in model.whole_state().items()}
    return {
        name: hashlib.sha256(content).hexdigest()
        for name, content in {**weights, "history": json.dumps(history).encode()}.items()
    }


def sent(work: Callable[[], object]) -> int:
    """Bytes that this process hands over while ``work`` runs."""
    before = parallel.sent_bytes()
    work()
    return parallel.sent_bytes() - before


def sizes() -> dict[str, Any]:
    """Bytes that parts of a step hand over, and numbers that this process holds, by part."""
    data = world()
    models = {name: Objective(BACKBONES[name].config_type(dim=DIM), None, data, 0) for name in ("lightgcn", "directau")}
    batch = next(Sampler(data, ROWS).epoch(torch_generator(0, "sampling")))
    held = {}
    for name, model in models.items():
        adam = make_optimizer(model)
        model(batch)[1].backward()
        stepped = sent(adam.step)
        tables = sum(parameter.numel() for parameter in model.parameters())
        moments = [slot.numel() for slots in adam.state.values() for slot in slots.values() if slot.dim()]
        held[name] = [tables, sum(moments), stepped]
    draw = torch.Generator().manual_seed(0)
    left, right = (l2_normalize(torch.randn(n, DIM, generator=draw)).requires_grad_() for n in (ROWS, PROTOTYPES))
    settings: dict[str, Any] = {"temperature": 0.2, "weight_N": torch.ones(ROWS), "rounds": 3, "epsilon": 0.05}
    graph = bipartite_adjacency(data.user_T, data.item_T, data.num_users, data.num_items)
    return {
        "held": held,
        "lightgcn": sent(lambda: models["lightgcn"](batch)),
        "contrast": sent(lambda: logsumexp_dot(left, right)),
        "contrast of constants": sent(lambda: logsumexp_dot(left, right.detach())),
        "clusters": sent(lambda: cluster_cross_entropy(left, left, right, **settings)),
        "products": parallel.size() * sent(lambda: graph @ torch.zeros(data.num_users + data.num_items, DIM)),
    }


def main(rank: int, folder: Path) -> None:
    """Write the digests that process ``rank`` gets alone, and as the first of several, into ``RANK.json``."""
    divide_all()
    report: dict[str, Any] = {}
    try:
        everything = sorted({cell for cells in CELLS.values() for cell in cells})
        report["1"] = {"+".join(cell): train(*cell) for cell in everything[rank::PROCESSES]}
        for backbone in RESUMED if rank == 0 else ():
            report["1"][f"{backbone}, two epochs"] = train(backbone, "cross", 2)
            train(backbone, "cross", 2, folder / f"{backbone}-by-one")
        for processes, cells in CELLS.items():
            if rank < processes:
                parallel.join(dist.FileStore(str(folder / f"store-{processes}"), processes), rank, processes)
                report[str(processes)] = {"+".join(cell): train(*cell) for cell in cells}
                report[f"sizes of {processes}"] = sizes()
                if processes == 2:
                    for backbone in RESUMED:
                        train(backbone, "cross", 2, folder / f"{backbone}-by-two")
                        report["2"][f"{backbone}, two epochs"] = train(
                            backbone, "cross", 2, folder / f"{backbone}-by-one"
                        )
                parallel.leave()
        for backbone in RESUMED if rank == 0 else ():
            report["2"][f"{backbone}, two epochs, the second alone"] = train(
                backbone, "cross", 2, folder / f"{backbone}-by-two"
            )
    except BaseException:
        report["failed"] = traceback.format_exc()
    (folder / f"{rank}.json").write_text(json.dumps(report))
