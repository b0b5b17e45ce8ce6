"""Measure the vectors that fold-in gives to users, on the built-in data: ``python docs/results/fold_in.py``.

Trains each backbone and alignment of ``MODELS`` for 30 epochs on ``synthetic``, seed 0, folds every user in from their
training items, and prints test Recall@20. Then does the same for users that LightGCN with CROSS was not trained on.
``crossrec coldstart`` measures the vectors of new items.
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
from crossrec.data import DataConfig, Dataset, Interactions, load
from crossrec.evaluation import evaluate
from crossrec.recommend import Recommender
from crossrec.recommend.fold_in import training_interactions
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import held_out, run
from crossrec.training import TrainingConfig

MODELS = ("bpr+cross", "lightgcn+cross", "vbpr", "vbpr+cross", "freedom", "freedom+cross", "grcn+cross", "dualgnn")
METHODS = ("mean", "propagation", "ridge")
"""The ways to make a user vector of a list of items."""
LEFT_OUT = 300
"""Users that ``measure_untrained_users`` takes out before training."""


def main(models: list[str]) -> None:
    """Print a line for each model, and one for users that were left out of the training."""
    torch.set_num_threads(1)
    dataset = load(DataConfig(data="synthetic"))
    for model in models:
        measure_trained_users(model, dataset)
    measure_untrained_users(dataset)


def measure_trained_users(model: str, dataset: Dataset) -> None:
    """Print test Recall@20 with the trained user vectors, and with those of each method in their place."""
    held, recommender = held_out(dataset, dataset.test), train(model, dataset)
    vectors = recommender.vectors
    interactions = training_interactions(vectors)
    users = [vectors.user_US, *(recommender.fold_in.user_vectors(interactions, method) for method in METHODS)]
    recalls = [evaluate(user_US, vectors.item_IS, held)["recall@20"] for user_US in users]
    report(f"{model} users", recalls)


def measure_untrained_users(dataset: Dataset) -> None:
    """Print test Recall@20 of ``LEFT_OUT`` users: trained on, and left out of the training and folded in."""
    left_out = np.random.default_rng(1).permutation(dataset.num_users)[:LEFT_OUT]
    splits = {"train": dataset.train, "valid": dataset.valid, "test": dataset.test}
    is_left_out = {name: np.isin(split.user_N, left_out) for name, split in splits.items()}
    remaining = {
        name: Interactions(split.user_N[~is_left_out[name]], split.item_N[~is_left_out[name]])
        for name, split in splits.items()
    }
    test = dataset.test
    held = held_out(dataset, Interactions(test.user_N[is_left_out["test"]], test.item_N[is_left_out["test"]]))
    trained = train("lightgcn+cross", dataset).vectors
    reduced = train("lightgcn+cross", replace(dataset, **remaining))
    recalls = [evaluate(trained.user_US, trained.item_IS, held)["recall@20"]]
    for method in METHODS:
        user_US = reduced.fold_in.user_vectors(training_interactions(trained), method)
        recalls.append(evaluate(user_US, reduced.vectors.item_IS, held)["recall@20"])
    report("untrained users", recalls)


def train(model: str, dataset: Dataset) -> Recommender:
    """A recommender of ``model``, "BACKBONE" or "BACKBONE+cross", trained on ``dataset``."""
    backbone, _, alignment = model.partition("+")
    config = RunConfig(
        data=DataConfig(data="synthetic"),
        backbone=BACKBONES[backbone].config_type(),
        alignment=CrossConfig() if alignment else None,
        training=TrainingConfig(epochs=30, device="cpu"),
    )
    with tempfile.TemporaryDirectory() as folder:
        run(config, Path(folder) / "run", dataset=dataset)
        return Recommender.open(Path(folder) / "run")


def report(label: str, recalls: list[float]) -> None:
    print(f"{label}: trained, {', '.join(METHODS)}:", *(f"{value:.4f}" for value in recalls), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(MODELS))
