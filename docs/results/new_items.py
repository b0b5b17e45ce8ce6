"""Which way to make vectors of new items: ``python docs/results/new_items.py RUN …``, on validation alone.

The touched items of a run are cut into five parts (seed 0). Those of a part get their vectors anew, from content and
the other parts, and are ranked among themselves for who has one of them in validation. Prints Recall@20 and NDCG@20 of
each way, the mean over the parts and, where several runs are given, over the runs. The run has seen these items: its
user vectors have, and the maps of ``aligned`` and ``own``. So this compares ways, those two to their advantage, and
says nothing of how good they are. That says ``crossrec coldstart``.
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

from crossrec.data import load
from crossrec.errors import ConfigError
from crossrec.evaluation import HeldOut, evaluate
from crossrec.recommend.cold_start import Newcomers, NewItem
from crossrec.runs.config import load_config
from crossrec.runs.directory import open_embeddings

PARTS = 5


def main(runs: list[str]) -> None:
    torch.set_num_threads(1)
    found = defaultdict(list)
    for run in map(Path, runs):
        dataset, snapshot = load(load_config(run / "config.json").data), open_embeddings(run)
        train, valid, user_E = dataset.train, dataset.valid, np.unique(dataset.train.user_N)
        touched = np.random.default_rng(0).permutation(np.unique(train.item_N))
        for part in map(np.sort, np.array_split(touched, PARTS)):
            # the last column stands for all items of other parts, which every user is taken to have
            in_train, in_valid = np.isin(train.item_N, part), np.isin(valid.item_N, part)
            known = np.concatenate([user_E, train.user_N[in_train]])
            items = np.concatenate([np.full(len(user_E), len(part)), np.searchsorted(part, train.item_N[in_train])])
            wanted = valid.user_N[in_valid], np.searchsorted(part, valid.item_N[in_valid])
            held = HeldOut.build(known, items, *wanted, dataset.num_users, len(part) + 1)
            rows = torch.from_numpy(part)
            newcomers = Newcomers(replace(snapshot, degree_I=snapshot.degree_I.index_fill(0, rows, 0)))
            for how in get_args(NewItem):
                try:
                    made = newcomers.vectors({m: x[rows] for m, x in snapshot.modality_IL.items()}, how)
                except ConfigError:
                    continue
                metrics = evaluate(snapshot.user_US, torch.cat([made, torch.zeros_like(made[:1])]), held)
                found[how].append((metrics["recall@20"], metrics["ndcg@20"]))
    for how, values in found.items():
        print(how, *(f"{fmean(column):.4f}" for column in zip(*values, strict=True)))


if __name__ == "__main__":
    main(sys.argv[1:])
