"""``crossrec compare``: cells that are done once, and the table made of them."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from crossrec.alignment import CrossConfig
from crossrec.backbones.bpr import BPRConfig
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.questions.compare import CompareConfig, cells, table
from crossrec.experiments.runner import pool
from crossrec.experiments.runner.jobs import Cell, Result
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run
from crossrec.training import TrainingConfig

METRICS = {"R@10": "recall@10", "R@20": "recall@20", "N@10": "ndcg@10", "N@20": "ndcg@20"}


@pytest.fixture(scope="module")
def settings():
    return {"bpr": {"backbone": {"reg": 0.5, "learning_rate": 0.02}, "cross": {"alpha": 0.7}}}


@pytest.fixture
def flags(tmp_path, settings):
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    return [
        *("--data", "synthetic-tiny", "--epochs", "2", "--batch-size", "256", "--device", "cpu", "--threads", "1"),
        *("--backbones", "bpr", "--alignments", "none", "cross", "--settings", tmp_path / "settings.json"),
    ]


def rows(folder):
    with (folder / "compare.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def named(row, short, gain=False):
    """The value of a metric in a row, or its change, however the column is headed."""
    (value,) = (
        v for k, v in row.items() if k.startswith("Δ") == gain and re.fullmatch(rf"(Δ ?)?{short}( %)?( mean)?", k)
    )
    return value


def metrics_of(folder, pattern, read):
    metrics = [read(path / "metrics.json") for path in sorted(folder.glob(pattern))]
    assert metrics
    return metrics


def less_times(text):
    """A table without its last column, seconds."""
    return [line[:-1] for line in csv.reader(text.splitlines())]


@pytest.mark.slow
def test_compare(crossrec, flags, tmp_path, read, content, monkeypatch, settings):
    one, two = tmp_path / "one", tmp_path / "two"
    answer = crossrec("compare", *flags, "--seeds", "0", "--out", one)
    assert answer.code == 0, answer.err
    cells_ = sorted(path for path in one.iterdir() if path.is_dir())
    assert len(cells_) == 2
    for cell in cells_:
        assert sorted(path.name for path in cell.iterdir()) == [
            *("config.json", "history.csv", "items.parquet", "manifest.json", "metrics.json", "model.safetensors"),
            *("users.parquet", "vectors.safetensors"),
        ]

    # the table holds the metrics of its cells, in full
    plain, cross = rows(one)
    assert (plain["model"], cross["model"].strip()) == ("bpr", "+ cross")
    (of_plain,), (of_cross,) = metrics_of(one, "bpr-seed*", read), metrics_of(one, "bpr+cross-seed*", read)
    for short, name in METRICS.items():
        for row, of in ((plain, of_plain), (cross, of_cross)):
            assert float(named(row, short)) == of["test"][name]
        gain = 100 * (of_cross["test"][name] / of_plain["test"][name] - 1)
        assert float(named(cross, short, gain=True)) == pytest.approx(gain, abs=1e-9)
        assert f"{of_cross['test'][name]:.4f}" in answer.out
    for ending in ("txt", "md", "tex", "csv"):
        assert (one / f"compare.{ending}").stat().st_size > 100
    assert r"\toprule" in (one / "compare.tex").read_text()
    assert "| model |" in (one / "compare.md").read_text()

    # the settings of the file are those of the cells
    for cell in cells_:
        config = read(cell / "config.json")
        assert (config["backbone"]["reg"], config["backbone"]["learning_rate"]) == (0.5, 0.02)
        assert config["alignment"] is None or config["alignment"]["alpha"] == 0.7
        assert config["training"]["epochs"] == 2

    # done cells are left alone, and nothing is started for them
    before = {cell.name: content(cell) for cell in cells_}
    started = []
    with monkeypatch.context() as patch:
        patch.setattr(pool.TrainingProcess, "start", lambda *arguments: started.append(arguments))
        again = crossrec("compare", *flags, "--seeds", "0", "--out", one)
    assert (again.code, again.out, started) == (0, answer.out, [])
    assert {cell.name: content(cell) for cell in cells_} == before

    # a stopped one goes on where it was, several at a time give the same numbers
    sleep, polls = pool.time.sleep, []

    def interrupted(seconds):
        polls.append(seconds)
        if len(polls) == 2:
            raise KeyboardInterrupt
        sleep(seconds)

    with monkeypatch.context() as patch:
        patch.setattr(pool.time, "sleep", interrupted)
        stopped = crossrec("compare", *flags, "--seeds", "0", "--jobs", "2", "--out", two)
    assert stopped.code == 130
    assert not list(two.glob("*/metrics.json"))
    assert not (two / "compare.csv").exists()
    assert crossrec("compare", *flags, "--seeds", "0", "--jobs", "2", "--out", two).code == 0
    assert less_times((one / "compare.csv").read_text()) == less_times((two / "compare.csv").read_text())
    for cell in cells_:
        assert (cell / "model.safetensors").read_bytes() == (two / cell.name / "model.safetensors").read_bytes()

    # a cell is what `train` makes of the same settings
    config = RunConfig(
        data={"data": "synthetic-tiny"},
        backbone=BPRConfig(**settings["bpr"]["backbone"]),
        alignment=CrossConfig(**settings["bpr"]["cross"]),
        training=TrainingConfig(epochs=2, batch_size=256, seed=0),
    )
    assert run(config, tmp_path / "alone")["test"] == of_cross["test"]


@pytest.mark.slow
def test_a_cell_that_fails_stops_no_other(crossrec, mmrec, tmp_path):
    for file in mmrec.glob("*.npy"):
        file.unlink()
    flags = [
        "--data",
        mmrec,
        "--epochs",
        1,
        "--alignments",
        "none",
        "--seeds",
        0,
        "--threads",
        1,
        "--out",
        tmp_path / "out",
    ]
    answer = crossrec("compare", "--backbones", "vbpr", "bpr", *flags)
    assert answer.code == 1
    failed, good = rows(tmp_path / "out")
    assert failed["model"] == "vbpr"
    assert "needs at least one content modality" in named(failed, "R@10")
    assert named(failed, "R@20") == "not run"
    assert good["model"] == "bpr"
    assert float(named(good, "R@10")) > 0
    (cell,) = (tmp_path / "out").glob("vbpr*")
    assert "content modality" in (cell / "log.txt").read_text()
    assert "Traceback" not in (cell / "log.txt").read_text()


@pytest.fixture
def results():
    """What the cells of two backbones, three alignments and two seeds might have come to."""
    options = CompareConfig(backbones=("bpr", "lightgcn"), seeds=(0, 4))
    todo = cells(options, SharedSettings())
    trained = []
    for number, cell in enumerate(todo):
        value = (number + 1) / 100
        test = {"recall@10": value, "recall@20": 2 * value, "ndcg@10": value / 2, "ndcg@20": value / 4}
        metrics = {"test": test, "valid": {"recall@20": 3 * value}, "train_seconds_per_epoch": value}
        trained.append(Result(cell, Path(cell.name), metrics))
    return trained


def test_cells_are_the_product(results):
    assert [(cell.group[1:], cell.config.training.seed) for cell in (result.cell for result in results)] == [
        ((backbone, alignment), seed)
        for backbone in ("bpr", "lightgcn")
        for alignment in ("none", "fettle", "cross")
        for seed in (0, 4)
    ]
    assert len({cell.name for cell in (result.cell for result in results)}) == 12
    for cell in (result.cell for result in results):
        assert (cell.config.backbone.name, getattr(cell.config.alignment, "name", "none")) == cell.group[1:]


def test_the_name_of_a_cell_is_its_configuration():
    config = RunConfig()
    names = {Cell(config, ()).name}
    for part, change in (
        ("training", {"seed": 3}),
        ("training", {"epochs": 3}),
        ("backbone", {"reg": 0.3}),
        ("alignment", {"alpha": 0.3}),
        ("data", {"split_seed": 3}),
    ):
        changed = getattr(config, part).model_copy(update=change)
        names.add(Cell(config.model_copy(update={part: changed}), ()).name)
    assert len(names) == 6
    elsewhere = config.training.model_copy(update={"device": "cpu", "checkpoint_seconds": 3.0})
    assert Cell(config.model_copy(update={"training": elsewhere}), ()).name in names


def test_means_and_gains(results):
    comparison = table(results, "Baby")
    lines = [dict(zip([c.name for c in comparison.columns], row, strict=True)) for row in comparison.rows if row]
    assert [row["model"].strip() for row in lines] == [
        *("bpr", "+ fettle", "+ cross", "lightgcn", "+ fettle", "+ cross", "average + fettle", "average + cross"),
        "cross v.s. fettle",
    ]
    assert "Baby" in comparison.title
    means = [statistics.fmean(row["R@20"]) for row in lines[:6]]
    assert lines[0]["R@20"] == (0.02, 0.04)
    assert means == pytest.approx([0.03, 0.07, 0.11, 0.15, 0.19, 0.23])
    gains = [named(row, "R@20", gain=True) for row in lines]
    assert gains[0] == gains[3] == ""
    assert [gains[k] for k in (1, 2, 4, 5)] == pytest.approx(
        [100 * (means[k] / means[k - k % 3] - 1) for k in (1, 2, 4, 5)]
    )
    assert gains[6:8] == pytest.approx([(gains[1] + gains[4]) / 2, (gains[2] + gains[5]) / 2])
    assert [row["valid R@20"] for row in lines[:6]] == pytest.approx([1.5 * mean for mean in means])
    assert [row["s/epoch"] for row in lines[:6]] == pytest.approx([mean / 2 for mean in means])
    assert "seeds 0, 4" in comparison.footnotes[0]


def test_a_failed_seed_takes_its_row_out(results):
    results[3] = Result(results[3].cell, results[3].folder, failure="failed: no memory")
    lines = [row for row in table(results, "Baby").rows if row]
    assert lines[1][:3] == ["  + fettle", "failed: no memory", None]
    assert lines[2][5] != "", "the others are compared all the same"


def test_nothing_is_compared_with_a_failed_row(results):
    # the first row of a block is what the others are measured against; another must not take its place
    results[0] = Result(results[0].cell, results[0].folder, failure="failed: no memory")
    comparison = table(results, "Baby")
    lines = [dict(zip([c.name for c in comparison.columns], row, strict=True)) for row in comparison.rows if row]
    assert [row["model"].strip() for row in lines[:3]] == ["bpr", "+ fettle", "+ cross"]
    assert [named(row, "R@20", gain=True) for row in lines[1:3]] == ["–", "–"]
    assert all(isinstance(named(row, "R@20", gain=True), float) for row in lines[4:6])


def test_a_base_of_zero_has_no_gain(results):
    for k in (0, 1):
        results[k] = replace(results[k], metrics=results[k].metrics | {"test": dict.fromkeys(METRICS.values(), 0.0)})
    lines = [row for row in table(results, "Baby").rows if row]
    assert all(math.isnan(gain) for gain in lines[1][5:9])


def test_values_given_twice_are_trained_once():
    options = CompareConfig(backbones=("bpr", "bpr"), alignments=("none", "cross", "none"), seeds=(1, 0, 1))
    assert [(c.group[1:], c.config.training.seed) for c in cells(options, SharedSettings())] == [
        (("bpr", "none"), 1),
        (("bpr", "none"), 0),
        (("bpr", "cross"), 1),
        (("bpr", "cross"), 0),
    ]


def test_sigterm_stops_the_cells_too(tmp_path):
    command = [sys.executable, "-m", "crossrec", "compare", "--data", "synthetic", "--seeds", "0", "--threads", "1"]
    process = subprocess.Popen([*command, "--out", str(tmp_path)], start_new_session=True, stderr=subprocess.PIPE)
    try:
        while process.poll() is None and not list(tmp_path.glob("*/history.csv")):
            time.sleep(0.1)
        process.terminate()
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 130
        assert b"stopped" in stderr
        with pytest.raises(ProcessLookupError):  # nobody of its session is left
            os.killpg(process.pid, 0)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("command", ["compare", "tune"])
def test_a_mistake_about_the_cluster_writes_nothing(crossrec, command, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    common = [command, "--data", "synthetic-tiny", "--backbones", "bpr", "--out", tmp_path / "out"]
    for flags, message in (
        (["--cluster", "auto"], "--cluster needs ray: pip install 'crossrec[cluster]'"),
        (["--cluster", "auto", "--jobs", "2"], "--jobs: on a cluster"),
        (["--cpus-per-run", "2"], "--cpus-per-run is of a cluster"),
        (["--cluster", "auto", "--cpus-per-run", "0"], "--cpus-per-run '0'"),
    ):
        answer = crossrec(*common, *flags)
        assert answer.code == 2
        assert message in answer.err.splitlines()[-1]
        assert not (tmp_path / "out").exists()
