"""How good the vectors of new users are, on the built-in data: ``python docs/results/newcomers.py``.

Per backbone and alignment a run of 30 epochs, seed 0, on ``synthetic``, whose users are folded in from their training
items. Prints test Recall@20. Of new items ``crossrec coldstart`` says how good they are.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from crossrec.alignment import CrossConfig
from crossrec.backbones import BACKBONES
from crossrec.data import DataConfig, Interactions, load
from crossrec.evaluation import evaluate
from crossrec.recommend import Recommender
from crossrec.recommend.cold_start import trained_matrix
from crossrec.recommend.measure import fold_in_metrics
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import held_out, run
from crossrec.training import TrainingConfig

RUNS = ("bpr+cross", "lightgcn+cross", "vbpr", "vbpr+cross", "freedom", "freedom+cross", "grcn+cross", "dualgnn")


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    dataset = load(DataConfig(data="synthetic"))
    held = held_out(dataset, dataset.test)
    for name in names:
        backbone, _, alignment = name.partition("+")
        config = RunConfig(
            data=DataConfig(data="synthetic"),
            backbone=BACKBONES[backbone].config_type(),
            alignment=CrossConfig() if alignment else None,
            training=TrainingConfig(epochs=30, device="cpu"),
        )
        with tempfile.TemporaryDirectory() as folder:
            run(config, Path(folder) / "all", dataset=dataset)
            whole = Recommender.open(Path(folder) / "all")
        fold = [fold_in_metrics(whole, held, how)["recall@20"] for how in (None, "mean", "propagation", "ridge")]
        print(f"{name} users: trained, mean, propagation, ridge:", *(f"{value:.4f}" for value in fold), flush=True)


def strangers() -> None:
    """Test Recall@20 of 300 users of LightGCN with CROSS: trained on, and taken out before training and folded in."""
    dataset = load(DataConfig(data="synthetic"))
    gone = np.random.default_rng(1).permutation(dataset.num_users)[:300]
    parts = {"train": dataset.train, "valid": dataset.valid, "test": dataset.test}
    out = {name: np.isin(part.user_N, gone) for name, part in parts.items()}
    left = {name: Interactions(p.user_N[~out[name]], p.item_N[~out[name]]) for name, p in parts.items()}
    theirs = Interactions(dataset.test.user_N[out["test"]], dataset.test.item_N[out["test"]])
    held = held_out(dataset, theirs)
    config = RunConfig(
        data=DataConfig(data="synthetic"),
        backbone=BACKBONES["lightgcn"].config_type(),
        alignment=CrossConfig(),
        training=TrainingConfig(epochs=30, device="cpu"),
    )
    with tempfile.TemporaryDirectory() as folder:
        run(config, Path(folder) / "all", dataset=dataset)
        run(config, Path(folder) / "less", dataset=replace(dataset, **left))
        whole, part = Recommender.open(Path(folder) / "all"), Recommender.open(Path(folder) / "less")
    found = [evaluate(whole.vectors.user_US, whole.vectors.item_IS, held)["recall@20"]]
    for how in ("mean", "propagation", "ridge"):
        users = part.history.users(trained_matrix(whole.vectors), how)
        found.append(evaluate(users, part.vectors.item_IS, held)["recall@20"])
    print("strangers: trained, mean, propagation, ridge:", *(f"{value:.4f}" for value in found))


if __name__ == "__main__":
    main(sys.argv[1:] or list(RUNS))
    strangers()
