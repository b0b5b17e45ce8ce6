"""Recorded strengths: against a slow loop, without an effect on training, and complete after a stop."""

from __future__ import annotations

import csv
import json
import math
import statistics

import pytest
import torch
from safetensors.torch import load_file
from tests.training.runs import CROSS, history, tiny

from crossrec.alignment import CrossConfig, FettleConfig
from crossrec.data import DataConfig, load
from crossrec.objective import Objective
from crossrec.runs.execute import run, training_set
from crossrec.runs.strengths import strengths
from crossrec.training import TrainingConfig


@pytest.fixture(scope="module")
def dataset():
    return load(DataConfig(data="synthetic-tiny"))


def recorded(out):
    with (out / "strengths.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def objective_of(config, data):
    return Objective(config.backbone, config.alignment, data, 0)


def cosines(one, other):
    length = math.sqrt(sum(x * x for x in one)) * math.sqrt(sum(x * x for x in other))
    return sum(a * b for a, b in zip(one, other, strict=True)) / length if length else 0.0


@pytest.mark.parametrize("rule", ["dynamic", "one_way"])
def test_against_a_slow_loop_over_pairs(rule, dataset):
    data = training_set(dataset)
    objective = objective_of(tiny("freedom", CrossConfig(prototypes_itv=8, direction=rule)), data)
    values = strengths(objective, data)
    reps = objective.backbone.eval().propagate()
    vectors = {"id": reps.item_IL, **reps.modality_IL}
    users_of = {}
    for user, item in zip(data.user_T.tolist(), data.item_T.tolist(), strict=True):
        users_of.setdefault(item, []).append(reps.user_UL[user].tolist())
    strength = {
        m: {i: statistics.fmean(cosines(u, table[i].tolist()) for u in users) for i, users in users_of.items()}
        for m, table in vectors.items()
    }
    variance = {m: statistics.variance(s.values()) for m, s in strength.items()}

    def supports(m, n, i):
        gain = variance[n] * math.expm1(1 - strength[n][i]) if rule == "dynamic" else 0.0
        return strength[n][i] + gain > strength[m][i]

    names, items = list(vectors), list(users_of)
    assert len(names) == 3
    expected = {f"mean {m}": statistics.fmean(strength[m].values()) for m in names}
    expected |= {f"variance {m}": variance[m] for m in names}
    for m in names:
        won = [i for i in items if max(names, key=lambda n: strength[n][i]) == m]
        expected[f"strongest {m}"] = len(won) / len(items)
        for n in names:
            if n != m:
                expected[f"{m}->{n}"] = sum(supports(m, n, i) for i in items) / len(items)
            if names.index(n) > names.index(m):
                both = sum(supports(m, n, i) and supports(n, m, i) for i in items)
                expected[f"{m}<->{n}"] = both / len(items)
    assert set(values) == set(expected)
    assert values == pytest.approx(expected, abs=2e-6)
    assert (values["id<->image"] > 0) == (rule == "dynamic")


def test_strengths_do_not_depend_on_the_block_size(dataset, monkeypatch):
    data, config = training_set(dataset), tiny(alignment=CROSS)
    in_one_block = strengths(objective_of(config, data), data)
    monkeypatch.setattr("crossrec.alignment.strength.PAIRS", 7)
    assert strengths(objective_of(config, data), data) == pytest.approx(in_one_block, abs=1e-6)


def test_a_backbone_without_alignment_has_strengths(dataset):
    data = training_set(dataset)
    alone = strengths(objective_of(tiny("freedom"), data), data)
    aligned = strengths(objective_of(tiny("freedom", CROSS), data), data)
    assert alone == pytest.approx(aligned), "at the start the two are the same, and so is the rule"
    fettle = strengths(objective_of(tiny("freedom", FettleConfig(prototypes_itv=8)), data), data)
    assert fettle["id<->image"] == 0 < alone["id<->image"]
    assert set(strengths(objective_of(tiny("bpr"), data), data)) == {"mean id", "variance id", "strongest id"}


@pytest.mark.parametrize("backbone", ["freedom", "lattice", "slmrec", "lightgcn"])
@pytest.mark.parametrize("alignment", [None, CROSS], ids=["none", "cross"])
def test_recording_does_not_change_training(backbone, alignment, dataset, tmp_path):
    for name, record in (("without", None), ("with", True)):
        run(tiny(backbone, alignment, record_strengths=record), tmp_path / name, dataset=dataset)
    without, recording = tmp_path / "without", tmp_path / "with"
    weights = [load_file(out / "model.safetensors") for out in (without, recording)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert history(without) == history(recording)
    tests = [json.loads((out / "metrics.json").read_text())["test"] for out in (without, recording)]
    assert tests[0] == tests[1]
    assert not (without / "strengths.csv").exists()
    rows = recorded(recording)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert len({row["mean id"] for row in rows}) == 4, "the weights move"


def test_a_resumed_run_has_every_epoch(dataset, tmp_path):
    config = tiny("freedom", CROSS, record_strengths=True)
    run(config, tmp_path / "whole", dataset=dataset)

    def stop(progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "stopped", dataset=dataset, on_epoch=stop)
    assert len(recorded(tmp_path / "stopped")) == 2
    torch.manual_seed(5)  # must not matter
    run(config, tmp_path / "stopped", dataset=dataset, resume=True)
    expected, resumed = ((tmp_path / name / "strengths.csv").read_bytes() for name in ("whole", "stopped"))
    assert expected == resumed


def test_not_recording_does_not_change_the_digest():
    assert TrainingConfig(record_strengths=False) == TrainingConfig()
    assert tiny(record_strengths=False).digest() == tiny().digest() != tiny(record_strengths=True).digest()
