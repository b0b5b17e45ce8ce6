"""Metrics of items without interactions, against loops over lists."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.experiments.fake_runs import TINY

from crossrec.alignment import CrossConfig
from crossrec.data import ColdItems, DataConfig, Interactions, load
from crossrec.errors import RunError
from crossrec.experiments.analysis.comparison import METRICS
from crossrec.experiments.analysis.new_item_metrics import (
    HISTORY,
    POPULARITY,
    TRUE,
    baseline_metrics,
    cold_metrics,
    metrics_among_all,
    run_metrics,
)
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run
from crossrec.training import TrainingConfig

BY_FEATURES = ("neighbors by features", "blend by features")


@pytest.fixture(scope="module")
def few():
    """30 warm and 30 cold items of 50 users; some users know no warm item, some no cold one."""
    dataset, generator = load(TINY.data), np.random.default_rng(0)
    users, items = generator.integers(50, size=300), generator.integers(30, size=300)
    pairs = np.unique(users * 30 + items)
    cold = ColdItems(dataset.item_ids, {"text": generator.normal(size=(30, 4))}, Interactions(*np.divmod(pairs, 30)))
    train = Interactions(generator.integers(40, size=200), generator.integers(30, size=200))
    text = generator.normal(size=(30, 4)).astype(np.float32)
    scalers = {"text": dataset.scalers["text"].fit(text, "l2")}
    test = Interactions(np.arange(50), np.arange(50) % 30)
    parts = {"num_users": 50, "num_items": 30, "train": train, "valid": test, "test": test, "cold": cold}
    return replace(dataset, **parts, features={"text": scalers["text"](text)}, scalers=scalers)


def metrics_by_loops(score_UI, hidden, wanted, k):
    """Recall@k and NDCG@k: ``score_UI`` and, by user, the places to leave out and to find."""
    metrics = []
    for user, relevant in wanted.items():
        rest = [item for item in range(len(score_UI[0])) if item not in hidden[user]]
        order = sorted(rest, key=lambda item: (-score_UI[user][item], item))[:k]
        gain = sum(1 / math.log2(rank + 2) for rank, item in enumerate(order) if item in relevant)
        ideal = sum(1 / math.log2(rank + 2) for rank in range(min(k, len(relevant))))
        metrics.append((len(relevant & set(order)) / len(relevant), gain / ideal))
    return [sum(values) / len(metrics) for values in zip(*metrics, strict=True)]


def by_user(part, trained, shift=0):
    items_by_user = {}
    for user, item in zip(part.user_N.tolist(), part.item_N.tolist(), strict=True):
        if user in trained:
            items_by_user.setdefault(user, set()).add(item + shift)
    return items_by_user


def test_metrics_are_those_of_a_loop(few):
    noise = torch.Generator().manual_seed(0)
    user_US, item_IS, item_CS = (torch.randn(n, 6, generator=noise) for n in (50, 30, 30))
    trained = set(few.train.user_N.tolist())
    assert trained < set(range(50))
    nothing = {user: set() for user in trained}
    for k in (10, 20):
        among = cold_metrics(user_US, item_CS, few)
        expected = metrics_by_loops((user_US @ item_CS.T).tolist(), nothing, by_user(few.cold.interactions, trained), k)
        assert [among[f"recall@{k}"], among[f"ndcg@{k}"]] == pytest.approx(expected, abs=1e-6)
        every = metrics_among_all(user_US, item_IS, item_CS, few)
        score, hidden = (user_US @ torch.cat([item_IS, item_CS]).T).tolist(), by_user(few.train, trained)
        for name, wanted in (
            ("new", by_user(few.cold.interactions, trained, 30)),
            ("others", by_user(few.test, trained)),
        ):
            expected = metrics_by_loops(score, hidden, wanted, k)
            assert [every[name][f"recall@{k}"], every[name][f"ndcg@{k}"]] == pytest.approx(expected, abs=1e-6)


def test_baselines_without_training(few):
    metrics = baseline_metrics(few, 0)
    trained = set(few.train.user_N.tolist())
    wanted, nothing = by_user(few.cold.interactions, trained), {user: set() for user in trained}
    counts = np.bincount(few.cold.interactions.item_N, minlength=30)
    expected = metrics_by_loops([counts.tolist()] * 50, nothing, wanted, 10)
    assert [metrics[TRUE]["recall@10"], metrics[TRUE]["ndcg@10"]] == pytest.approx(expected)
    unit = few.cold.features["text"] / np.linalg.norm(few.cold.features["text"], axis=1, keepdims=True)
    score = np.zeros((50, 30))
    for user, item in zip(few.train.user_N, few.train.item_N, strict=True):
        score[user] += unit @ few.features["text"][item]
    expected = metrics_by_loops(score.tolist(), nothing, wanted, 10)
    assert [metrics[HISTORY]["recall@10"], metrics[HISTORY]["ndcg@10"]] == pytest.approx(expected)
    # any order finds K of C items: with 40 users the mean is close to 10 / 30
    assert metrics[POPULARITY]["recall@10"] == pytest.approx(1 / 3, abs=0.08)
    assert metrics[POPULARITY] != baseline_metrics(few, 1)[POPULARITY]
    assert set(metrics[TRUE]) == set(METRICS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Data set without a quarter of the items, and where a run on it is, by label."""
    data, folders = DataConfig(data="synthetic-tiny", cold_items=0.25, cold_seed=0), {}
    dataset = load(data)
    for backbone, alignment in (("lightgcn", None), ("lightgcn", CrossConfig(prototypes_itv=8)), ("vbpr", None)):
        training = TrainingConfig(epochs=2, batch_size=128, device="cpu")
        config = RunConfig(data=data, backbone={"name": backbone, "dim": 8}, alignment=alignment, training=training)
        folders[config.label] = tmp_path_factory.mktemp("cold") / config.label
        run(config, folders[config.label], dataset=dataset)
    return dataset, folders


def test_metrics_of_every_method_of_a_run(trained):
    from crossrec.recommend import Recommender

    dataset, folders = trained
    metrics = {label: run_metrics(folder, dataset) for label, folder in folders.items()}
    assert {label: list(methods) for label, methods in metrics.items()} == {
        "lightgcn": list(BY_FEATURES),
        "lightgcn+cross": [*BY_FEATURES, "blend", "neighbors", "ridge", "aligned"],
        "vbpr": [*BY_FEATURES, "blend", "neighbors", "ridge", "own"],
    }
    # as who uses the library makes them, of raw features
    recommender = Recommender.open(folders["lightgcn+cross"])
    assert not set(dataset.cold.item_ids) & set(recommender.items.ids)
    old, count = recommender.vectors, dataset.num_items
    for how in ("ridge", "blend"):
        more = recommender.with_items(dataset.cold.item_ids, dataset.cold.features, how, quantile=0.9)
        expected = cold_metrics(old.user_US, more.vectors.item_IS[count:], dataset)
        assert metrics["lightgcn+cross"][how] == {metric: expected[metric] for metric in METRICS}
    among = metrics_among_all(old.user_US, old.item_IS, more.vectors.item_IS[count:], dataset)
    blend = run_metrics(folders["lightgcn+cross"], dataset, (0.9,))["blend"]
    assert (blend["new at 0.9"], blend["others at 0.9"]) == (among["new"]["recall@20"], among["others"]["recall@20"])
    named = TrainingConfig(metrics=("mrr", "ndcg"), k=(3, 5))
    as_named = run_metrics(folders["lightgcn+cross"], dataset, (0.9,), named)["blend"]
    of_mrr = metrics_among_all(old.user_US, old.item_IS, more.vectors.item_IS[count:], dataset, named)
    assert as_named == {
        **{m: cold_metrics(old.user_US, more.vectors.item_IS[count:], dataset, named)[m] for m in named.shown},
        **{f"{items} at 0.9": of_part["mrr@3"] for items, of_part in of_mrr.items()},
    }
    assert "new at 0.9" in run_metrics(folders["lightgcn"], dataset, (0.9,))["blend by features"]


def test_neighbors_by_features_need_no_content_in_the_run(trained):
    dataset, folders = trained
    from crossrec.runs.directory import open_embeddings

    vectors = open_embeddings(folders["lightgcn"])
    raw = {m: torch.from_numpy(dataset.scalers[m](x)) for m, x in dataset.cold.features.items()}
    new_vectors = []
    for row in range(len(dataset.cold.item_ids)):
        cosine = torch.stack([torch.from_numpy(dataset.features[m]) @ x[row] for m, x in raw.items()]).mean(0)
        near = sorted(range(dataset.num_items), key=lambda i: -float(cosine[i]))[:20]
        weights, length = [max(float(cosine[i]), 1e-6) for i in near], vectors.item_IS[near].norm(dim=1)
        direction = sum(w * vectors.item_IS[i] / n for w, i, n in zip(weights, near, length, strict=True))
        mean_length = sum(w * n for w, n in zip(weights, length, strict=True)) / sum(weights)
        new_vectors.append(direction / direction.norm() * mean_length)
    item_CS = torch.stack(new_vectors)
    expected = cold_metrics(vectors.user_US, item_CS, dataset)
    assert run_metrics(folders["lightgcn"], dataset)["neighbors by features"]["ndcg@10"] == pytest.approx(
        expected["ndcg@10"]
    )


def test_a_run_on_other_interactions_is_not_measured(trained):
    _, folders = trained
    with pytest.raises(RunError, match="trained on other interactions"):
        run_metrics(folders["vbpr"], load(DataConfig(data="synthetic-tiny", cold_items=0.25, cold_seed=1)))
