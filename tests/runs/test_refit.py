"""``refit``: metrics of the split, vectors of a training on all interactions."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch
from tests.training.runs import CROSS, history, outcome, tiny

from crossrec.alignment.config import PrimeConfig
from crossrec.data import DataConfig, load
from crossrec.data.io.tensor_file import read_tensors
from crossrec.errors import ConfigError, RunError
from crossrec.evaluation import mean_metrics
from crossrec.experiments.analysis.run_evaluation import run_evaluation
from crossrec.recommend import Recommender
from crossrec.runs.config import RunConfig, load_config
from crossrec.runs.directory import MEASURED_FILE, open_embeddings, seal
from crossrec.runs.execute import run
from crossrec.runs.race import race

PRIME = PrimeConfig(prototypes_itv=8)
CONFIG = tiny("bpr").model_copy(update={"refit": True})


@pytest.fixture(scope="module")
def dataset():
    return load(DataConfig(data="synthetic-tiny"))


@pytest.fixture(scope="module")
def refit(dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("refit") / "run"
    return out, run(CONFIG, out, dataset=dataset)


def test_metrics_are_of_the_split_and_vectors_of_all_interactions(refit, dataset, tmp_path):
    out, metrics = refit
    split = run(tiny("bpr"), tmp_path / "split", dataset=dataset)
    assert {name: metrics[name] for name in ("valid", "test", "best_epoch", "epochs")} == {
        name: split[name] for name in ("valid", "test", "best_epoch", "epochs")
    }
    assert history(out) == history(tmp_path / "split")
    assert (metrics["refit"]["epochs"], metrics["refit"]["interactions"]) == (split["best_epoch"], 447)
    run(tiny("bpr", epochs=split["best_epoch"]), tmp_path / "all", dataset=dataset.all_in_training())
    weights, expected = (read_tensors(folder / "model.safetensors") for folder in (out, tmp_path / "all"))
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert not torch.equal(
        weights["backbone.item"], read_tensors(tmp_path / "split" / "model.safetensors")["backbone.item"]
    )
    assert load_config(out / "config.json") == CONFIG


def test_every_interaction_is_hidden_whether_refit_or_not(refit, dataset, tmp_path):
    run(tiny("bpr"), tmp_path / "split", dataset=dataset)
    splits = dataset.train, dataset.valid, dataset.test
    pairs = {(u, i) for part in splits for u, i in zip(part.user_N.tolist(), part.item_N.tolist(), strict=True)}
    assert len(pairs) == 447
    for folder, sizes in (
        (refit[0], {"train": 447, "valid": 0, "test": 0}),
        (tmp_path / "split", {"train": 327, "valid": 60, "test": 60}),
    ):
        recommender = Recommender.open(folder)
        listed = set(recommender.recommend(k=40).select("user", "item").rows())
        assert listed == {(u, i) for u in range(60) for i in range(40)} - pairs
        assert recommender.vectors.split_sizes == sizes
        assert int(recommender.vectors.degree_I.sum()) == sizes["train"]
        assert recommender.vectors.matches(dataset)


def stop(epoch):
    def on_epoch(progress):
        if progress.epoch == epoch:
            raise KeyboardInterrupt

    return on_epoch


def test_it_resumes_in_either_phase(refit, dataset, tmp_path):
    out, metrics = tmp_path / "run", refit[1]
    assert metrics["refit"]["epochs"] > 1
    with pytest.raises(KeyboardInterrupt):
        run(CONFIG, out, dataset=dataset, on_epoch=stop(2))
    first, second = [], []
    with pytest.raises(KeyboardInterrupt):
        run(CONFIG, out, dataset=dataset, resume=True, on_epoch=first.append, on_refit_epoch=stop(1))
    assert [progress.epoch for progress in first] == [4, 4]  # of epochs 3 and 4: one object
    run(CONFIG, out, dataset=dataset, resume=True, on_epoch=first.append, on_refit_epoch=second.append)
    assert (len(first), len(second)) == (2, metrics["refit"]["epochs"] - 1)
    whole, stopped = outcome(refit[0]), outcome(out)
    for result in (whole, stopped):
        del result["metrics"]["refit"]["train_seconds_per_epoch"]
    assert stopped == whole


def test_the_alignment_starts_anew_where_validation_has_said_so(dataset, tmp_path, monkeypatch):
    """The second training has no validation of its own, and follows the schedule of the first."""
    calls = []

    def last_start(values, **settings):
        calls.append(list(values))
        return 1

    monkeypatch.setattr("crossrec.objective.last_start", last_start)
    alignment = CROSS.model_copy(update={"alignment_epochs": 1, "restart_after": 1})
    config = tiny("bpr", alignment).model_copy(update={"refit": True})
    metrics = run(config, tmp_path / "run", dataset=dataset)
    values = [float(row["valid_recall@20"]) for row in history(tmp_path / "run")]
    assert calls == [values[:n] for n in [*range(4), *range(metrics["refit"]["epochs"])]]


def test_a_race_measures_only(dataset, tmp_path):
    with pytest.raises(ConfigError, match=r"--refit: --alignment auto chooses .* train --config .*/run/config.json"):
        race(CONFIG, tmp_path / "run", dataset=dataset)


@pytest.mark.parametrize(
    ("backbone", "alignment"),
    [("bpr", None), ("lightgcn", CROSS), ("freedom", CROSS), ("lattice", None), ("damrs", None), ("vbpr", PRIME)],
)
def test_a_run_that_was_refit_is_measured_by_the_vectors_of_its_metrics(backbone, alignment, dataset, tmp_path):
    config = tiny(backbone, alignment, epochs=2).model_copy(update={"refit": True})
    metrics = run(config, tmp_path / "run", dataset=dataset)
    evaluation = run_evaluation(tmp_path / "run", dataset)
    for split, values in (("valid", evaluation.valid), ("test", evaluation.test)):
        assert mean_metrics(values) == metrics[split]
    assert open_embeddings(tmp_path / "run").refit  # the vectors to recommend with stay those of all interactions


def test_not_on_another_split_and_not_without_its_weights(refit, dataset, tmp_path):
    other = replace(dataset, train=dataset.test, test=dataset.train)
    with pytest.raises(RunError, match="was trained on other interactions than these"):
        run_evaluation(refit[0], other)
    shutil.copytree(refit[0], tmp_path / "run")
    (tmp_path / "run" / MEASURED_FILE).unlink()
    seal(tmp_path / "run")
    with pytest.raises(RunError, match=r"run: was refit on all interactions.*without --refit"):
        run_evaluation(tmp_path / "run", dataset)


def test_digests_change_only_with_the_options():
    plain = RunConfig()
    assert RunConfig(refit=False).digest() == plain.digest()
    others = [RunConfig(refit=True).digest(), RunConfig(init_from="runs/a").digest()]
    assert len({plain.digest(), *others}) == 3
