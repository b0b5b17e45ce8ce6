"""Compare the ways to make vectors of new items, on validation alone: ``python docs/results/new_items.py RUN …``.

The touched items of a run are divided into five parts (seed 0). The items of a part get new vectors, from their content
and from the other parts, and are ranked among themselves for the users that have one of them in validation. Prints
Recall@20 and NDCG@20 of each way: the mean over the parts and, for several runs, over the runs.

The run was trained on these items, which the user vectors and the maps of ``aligned`` and ``own`` reflect. So this
compares the ways, with an advantage for those two, and does not say how good they are for items that a run does not
know. ``crossrec coldstart`` measures that.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from crossrec.data import Dataset, load
from crossrec.errors import ConfigError
from crossrec.evaluation import HeldOut, evaluate
from crossrec.recommend.cold_start import ColdStart, ColdStartMethod
from crossrec.recommend.new_item_graph import NewItemGraph
from crossrec.runs.config import load_config
from crossrec.runs.directory import open_embeddings

PARTS = 5


def main(runs: list[str]) -> None:
    torch.set_num_threads(1)
    metrics_by_method = defaultdict(list)
    for run in map(Path, runs):
        config, embeddings = load_config(run / "config.json"), open_embeddings(run)
        dataset = load(config.data)
        graph = NewItemGraph.of(config, embeddings, dataset)
        touched_items = np.random.default_rng(0).permutation(np.unique(dataset.train.item_N))
        for part in map(np.sort, np.array_split(touched_items, PARTS)):
            held_out, item_index = held_out_of(part, dataset), torch.from_numpy(part)
            untouched = replace(embeddings, degree_I=embeddings.degree_I.index_fill(0, item_index, 0))
            cold_start = ColdStart(untouched, graph=graph)
            graph_NS = None if graph is None else graph.of_run(item_index)
            content = {modality: vectors[item_index] for modality, vectors in embeddings.modality_IL.items()}
            for method in get_args(ColdStartMethod):
                try:
                    item_NS = cold_start.item_vectors(content, method, graph_NS=graph_NS)
                except ConfigError:  # this run has no such vectors
                    continue
                item_NS = torch.cat([item_NS, torch.zeros_like(item_NS[:1])])
                metrics = evaluate(embeddings.user_US, item_NS, held_out)
                metrics_by_method[method].append((metrics["recall@20"], metrics["ndcg@20"]))
    for method, values in metrics_by_method.items():
        print(method, *(f"{fmean(column):.4f}" for column in zip(*values, strict=True)))


def held_out_of(part: NDArray[np.int64], dataset: Dataset) -> HeldOut:
    """The validation items of ``part``, numbered within it. One more column stands for the items of all other parts.

    Every user of the training is taken to have that column, so that all of them are evaluated.
    """
    train, valid, users = dataset.train, dataset.valid, np.unique(dataset.train.user_N)
    in_train, in_valid = np.isin(train.item_N, part), np.isin(valid.item_N, part)
    train_user_N = np.concatenate([users, train.user_N[in_train]])
    train_item_N = np.concatenate([np.full(len(users), len(part)), np.searchsorted(part, train.item_N[in_train])])
    valid_pairs = valid.user_N[in_valid], np.searchsorted(part, valid.item_N[in_valid])
    return HeldOut.build(train_user_N, train_item_N, *valid_pairs, dataset.num_users, len(part) + 1)


if __name__ == "__main__":
    main(sys.argv[1:])
