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
def evaluations(runs, dataset):
    return {name: run_evaluation(folder, dataset, ks=(5, 10, 20)) for name, (folder, _) in runs.items()}


def test_metrics_are_those_of_the_run(runs, evaluations):
    for name, (_, metrics) in runs.items():
        for split in ("valid", "test"):
            means = mean_metrics(getattr(evaluations[name], split))
            assert {metric: means[metric] for metric in metrics[split]} == metrics[split]
            assert "recall@5" in means


def test_lists_agree_with_recall(evaluations, dataset):
    for evaluation in evaluations.values():
        assert evaluation.item_EK.shape == (len(evaluation.user_E), 20)
        for row, user in enumerate(evaluation.user_E.tolist()):
            held = set(dataset.test.item_N[dataset.test.user_N == user].tolist())
            assert evaluation.test["recall@5"][row] == len(held & set(evaluation.item_EK[row, :5].tolist())) / len(held)


def test_groups_and_lists_are_of_the_training_interactions(evaluations, dataset):
    evaluation = evaluations["cross"]
    assert evaluation.items.interactions_G.sum() == evaluation.users.interactions_G.sum() == len(dataset.train)
    degree_I = np.bincount(dataset.train.item_N, minlength=dataset.num_items)
    head_I = evaluation.items.members(HEAD)
    assert degree_I[head_I].min() >= degree_I[~head_I].max()
    np.testing.assert_allclose(evaluation.lists["tail@10"], 1 - head_I[evaluation.item_EK[:, :10]].mean(axis=1))
    assert evaluation.exposure["coverage@5"] == len(np.unique(evaluation.item_EK[:, :5])) / dataset.num_items
    means = group_means(evaluation.of_users)
    assert sum(mean.users for mean in means.values()) == len(evaluation.user_E)
    assert group_means(evaluation.of_items)[HEAD].users > 0
    assert len(evaluation.users.names) > 2


def test_user_bounds(runs, dataset):
    evaluation = run_evaluation(runs["none"][0], dataset, user_bounds=(4, 8))
    assert list(evaluation.of_users) == ["≤4", "5–8", ">8"]


def test_two_models_are_compared_over_users(evaluations):
    new, base = evaluations["cross"], evaluations["none"]
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


def test_different_users_are_not_compared(evaluations):
    new, base = evaluations["cross"], evaluations["none"]
    for field in ("user_E", "valid_user_E"):
        reordered = replace(base, **{field: getattr(base, field)[::-1].copy()})
        with pytest.raises(DataError, match="different users"):
            compare_evaluations([new], [reordered], numpy_generator(0, "tests"))


def test_without_test_interactions(runs, dataset):
    none = Interactions(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    evaluation = run_evaluation(runs["none"][0], replace(dataset, test=none))
    assert len(evaluation.user_E) == len(evaluation.test["recall@10"]) == len(evaluation.item_EK) == 0
    assert all(mean.users == 0 for mean in group_means(evaluation.of_items).values())
    assert len(evaluation.valid["recall@10"]) == len(evaluation.valid_user_E) > 0


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


def test_the_page_defines_every_metric_and_field(evaluations):
    page = (Path(__file__).resolve().parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    defined = set(re.findall(r"`([\w@]+)` \|", page.replace("`, `", "` | `")))
    evaluation = evaluations["cross"]
    metrics = {re.sub(r"@\d+", "@K", name) for name in (*evaluation.test, *evaluation.lists, *evaluation.exposure)}
    assert metrics <= defined
    assert {field.name for field in fields(PairedTest)} - {"users", "new", "base"} <= defined
