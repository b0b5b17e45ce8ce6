"""Evaluation of a run: the metrics of its training, and groups, lists and tests that agree with each other."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from crossrec.alignment import CrossConfig
from crossrec.data import DataConfig, Interactions, load
from crossrec.errors import DataError, RunError
from crossrec.evaluation import PairedTest, mean_metrics
from crossrec.evaluation.groups import HEAD, group_means
from crossrec.experiments.analysis.run_evaluation import compare_evaluations, run_evaluation
from crossrec.randomness import numpy_generator
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run
from crossrec.training import TrainingConfig


@pytest.fixture(scope="module")
def dataset():
    return load(DataConfig(data="synthetic-tiny"))


@pytest.fixture(scope="module")
def runs(dataset, tmp_path_factory):
    """(folder, metrics.json) of a run without and one with alignment."""
    runs = {}
    for alignment in (None, CrossConfig()):
        config = RunConfig(
            data=DataConfig(data="synthetic-tiny"),
            alignment=alignment,
            training=TrainingConfig(epochs=3, batch_size=64, device="cpu"),
        )
        folder = tmp_path_factory.mktemp("run")
        runs["none" if alignment is None else "cross"] = folder, run(config, folder, dataset=dataset)
    return runs


@pytest.fixture(scope="module")
def outcomes(runs, dataset):
    return {name: run_evaluation(folder, dataset, ks=(5, 10, 20)) for name, (folder, _) in runs.items()}


def test_metrics_are_those_of_the_run(runs, outcomes):
    for name, (_, metrics) in runs.items():
        for split in ("valid", "test"):
            means = mean_metrics(getattr(outcomes[name], split))
            assert {metric: means[metric] for metric in metrics[split]} == metrics[split]
            assert "recall@5" in means


def test_lists_agree_with_recall(outcomes, dataset):
    for outcome in outcomes.values():
        assert outcome.item_EK.shape == (len(outcome.user_E), 20)
        for row, user in enumerate(outcome.user_E.tolist()):
            held = set(dataset.test.item_N[dataset.test.user_N == user].tolist())
            assert outcome.test["recall@5"][row] == len(held & set(outcome.item_EK[row, :5].tolist())) / len(held)


def test_groups_and_lists_are_of_the_training_interactions(outcomes, dataset):
    outcome = outcomes["cross"]
    assert outcome.items.interactions_G.sum() == outcome.users.interactions_G.sum() == len(dataset.train)
    degree_I = np.bincount(dataset.train.item_N, minlength=dataset.num_items)
    head_I = outcome.items.members(HEAD)
    assert degree_I[head_I].min() >= degree_I[~head_I].max()
    np.testing.assert_allclose(outcome.lists["tail@10"], 1 - head_I[outcome.item_EK[:, :10]].mean(axis=1))
    assert outcome.exposure["coverage@5"] == len(np.unique(outcome.item_EK[:, :5])) / dataset.num_items
    means = group_means(outcome.of_users)
    assert sum(mean.users for mean in means.values()) == len(outcome.user_E)
    assert group_means(outcome.of_items)[HEAD].users > 0
    assert len(outcome.users.names) > 2


def test_user_bounds(runs, dataset):
    outcome = run_evaluation(runs["none"][0], dataset, user_bounds=(4, 8))
    assert list(outcome.of_users) == ["≤4", "5–8", ">8"]


def test_two_models_are_compared_over_users(outcomes):
    new, base = outcomes["cross"], outcomes["none"]
    generator = numpy_generator(0, "tests")
    tests = compare_evaluations([new], [base], generator, draws=200)
    for metric, test in tests.items():
        assert test.new == pytest.approx(new.test[metric].mean())
        assert test.base == pytest.approx(base.test[metric].mean())
        assert test.users == len(new.user_E)
    head = compare_evaluations(
        [new], [base], generator, of=lambda o: o.of_items[HEAD], metrics=["recall@10"], draws=200
    )
    assert list(head) == ["recall@10"]
    assert head["recall@10"].users == group_means(new.of_items)[HEAD].users < len(new.user_E)
    same = compare_evaluations([new, base], [base, new], generator, of=lambda o: o.lists, draws=200)
    assert all((test.difference, test.p_t) == (0, 1) for test in same.values())


def test_different_users_are_not_compared(outcomes):
    new, base = outcomes["cross"], outcomes["none"]
    for field in ("user_E", "valid_user_E"):
        reordered = replace(base, **{field: getattr(base, field)[::-1].copy()})
        with pytest.raises(DataError, match="different users"):
            compare_evaluations([new], [reordered], numpy_generator(0, "tests"))


def test_without_test_interactions(runs, dataset):
    none = Interactions(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    outcome = run_evaluation(runs["none"][0], replace(dataset, test=none))
    assert len(outcome.user_E) == len(outcome.test["recall@10"]) == len(outcome.item_EK) == 0
    assert all(mean.users == 0 for mean in group_means(outcome.of_items).values())
    assert len(outcome.valid["recall@10"]) == len(outcome.valid_user_E) > 0


def test_data_of_another_run_is_refused(runs, dataset, tmp_path):
    folder, _ = runs["none"]
    fewer = Interactions(dataset.train.user_N[1:], dataset.train.item_N[1:])
    for changed in (
        replace(dataset, train=fewer),
        replace(dataset, valid=dataset.test),
        replace(dataset, num_items=dataset.num_items + 1),
        load(DataConfig(data="synthetic-tiny", split_seed=1)),
    ):
        with pytest.raises(RunError, match="trained on other interactions than these"):
            run_evaluation(folder, changed)
    with pytest.raises(RunError, match="no such folder"):
        run_evaluation(tmp_path / "nowhere", dataset)


def test_the_page_defines_every_metric_and_field(outcomes):
    page = (Path(__file__).resolve().parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    defined = set(re.findall(r"`([\w@]+)` \|", page.replace("`, `", "` | `")))
    outcome = outcomes["cross"]
    metrics = {re.sub(r"@\d+", "@K", name) for name in (*outcome.test, *outcome.lists, *outcome.exposure)}
    assert metrics <= defined
    assert {field.name for field in fields(PairedTest)} - {"users", "new", "base"} <= defined
