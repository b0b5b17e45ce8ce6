"""The public names of the package: listed by ``dir``, imported on first use, nothing private."""

from __future__ import annotations

import importlib

import pytest

import crossrec

PACKAGES = ("crossrec", "crossrec.runs", "crossrec.backbones", "crossrec.experiments")
"""Packages with lazy exports."""


@pytest.mark.parametrize("name", PACKAGES)
def test_dir_lists_the_public_names_and_nothing_private(name):
    package = importlib.import_module(name)
    names = {n for n in dir(package) if not n.startswith("__")}
    assert names == set(package.__all__) - {"__version__"}
    assert not {n for n in names if n.startswith("_")}


@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_resolve_and_others_do_not(name):
    package = importlib.import_module(name)
    for public in package.__all__:
        assert getattr(package, public) is not None
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = package.nothing_like_it


def test_public_names_cover_a_whole_run_and_an_own_loop():
    whole_run = {"load", "Dataset", "DataConfig", "run", "RunConfig", "load_config", "Recommender", "CrossrecError"}
    parts_of_a_run = {"Objective", "TrainingConfig", "TrainingSet", "fit", "HeldOut", "evaluate"}
    own_loop = {
        "Cross",
        "CrossConfig",
        "FETTLE",
        "FettleConfig",
        "Batch",
        "Representations",
        "ContentGraph",
        "ArgumentError",
    }
    assert set(crossrec.__all__) == whole_run | parts_of_a_run | own_loop | {"__version__"}


def test_three_lines_train_and_recommend(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from crossrec import DataConfig, Recommender, RunConfig, TrainingConfig, run

    config = RunConfig(data=DataConfig(data="synthetic-tiny"), training=TrainingConfig(epochs=1, device="cpu"))
    metrics = run(config, "runs/first")
    lists = Recommender.open("runs/first").recommend(k=10)
    assert metrics["test"]["recall@20"] > 0
    assert lists["rank"].max() == 10
