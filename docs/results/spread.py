"""Measure how evenly a run's vectors are spread: ``python docs/results/spread.py RUN …``.

Prints a CSV row for each run: validation and test Recall@20, uniformity log mean exp(-2 ‖x - y‖²) of users and of items
(the lower, the more even), and the mean ‖u - i‖² over the training interactions (Wang and Isola 2020). The vectors are
those that rank, at length 1, of touched items and of users with training interactions.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from crossrec.data import load
from crossrec.data.io.atomic import read_json
from crossrec.losses import mean_square_distance, uniformity
from crossrec.ops.vectors import l2_normalize
from crossrec.runs.config import load_config
from crossrec.runs.directory import open_embeddings


def main(runs: list[str]) -> None:
    print("model,seed,valid recall@20,test recall@20,uniformity of users,uniformity of items,users to their items")
    for run in map(Path, runs):
        config, metrics = load_config(run / "config.json"), read_json(run / "metrics.json")
        embeddings = open_embeddings(run)
        train = load(config.data).train
        user_N, item_N = torch.from_numpy(train.user_N), torch.from_numpy(train.item_N)
        user_US, item_IS = l2_normalize(embeddings.user_US), l2_normalize(embeddings.item_IS)
        values = [
            metrics["valid"]["recall@20"],
            metrics["test"]["recall@20"],
            float(uniformity(user_US[user_N.unique()])),
            float(uniformity(item_IS[item_N.unique()])),
            float(mean_square_distance(user_US[user_N], item_IS[item_N])),
        ]
        print(config.label, config.training.seed, *(f"{value:.4f}" for value in values), sep=",", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
