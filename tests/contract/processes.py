"""What each process of ``test_processes`` does: train every cell alone and with the others, and compare the bytes."""

from __future__ import annotations

import hashlib
import json
import traceback
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from crossrec import optimizer, parallel
from crossrec.alignment import ALIGNMENTS
from crossrec.backbones import BACKBONES
from crossrec.evaluation import HeldOut, ranking
from crossrec.objective import Objective
from crossrec.ops import blockwise, sparse
from crossrec.training import TrainingConfig, fit

from .worlds import world

CELLS = {
    4: [("bpr", "none"), ("lightgcn", "cross"), ("lightgcn", "prime"), ("freedom", "cross"), ("ncl", "cross")],
    3: [("lightgcn", "cross"), ("mgcn", "none")],
    2: [(backbone, alignment) for backbone in BACKBONES for alignment in ("none", "fettle", "cross")],
}
"""Backbone and alignment by the number of processes."""
PROCESSES = 4
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
