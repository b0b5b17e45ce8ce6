"""Cells on a Ray cluster: the same numbers as here, also where workers and nodes die."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from crossrec.data import DataConfig
from crossrec.experiments import run_question
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.questions.compare import CompareConfig
from crossrec.runs.execute import run
from crossrec.training import TrainingConfig

from .conftest import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]

TRAINING = TrainingConfig(epochs=120, patience=120, device="cpu", checkpoint_seconds=0.2)
SHARED = SharedSettings(DataConfig(data="synthetic-tiny"), TRAINING)
OPTIONS = CompareConfig(backbones=("bpr",), alignments=("none", "cross"), seeds=(0, 1))
TIMED = ("s/epoch", "minutes", "peak MB")


def progress(on_change: Callable):
    @contextmanager
    def of(total: int) -> Iterator[Callable]:
        yield on_change

    return of


def compare(nodes, out, on_change=lambda cell, state: None):
    return run_question(
        "compare", OPTIONS, SHARED, out=out, cluster=nodes.config, threads=1, progress=progress(on_change)
    )


def tables(out):
    """The rows of all tables in a folder, without times and memory."""
    content = {}
    for path in sorted(out.glob("*.csv")):
        with path.open(newline="") as file:
            rows = [{k: v for k, v in row.items() if not k.startswith(TIMED)} for row in csv.DictReader(file)]
        content[path.name] = rows
    assert content
    return content


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The tables of the same experiment in this process."""
    out = tmp_path_factory.mktemp("here")
    from crossrec.experiments.registry import QUESTIONS

    for cell in QUESTIONS["compare"].load().cells(OPTIONS, SHARED):
        run(cell.config, out / cell.name)
    run_question("compare", OPTIONS, SHARED, out=out)
    return tables(out)


def history(out, cell):
    path = out / cell.name / "history.csv"
    return path.read_text().splitlines() if path.exists() else []


def test_cells_go_on_elsewhere_where_a_worker_and_a_node_die(nodes, here, tmp_path):
    """Every cell ends as here; the epochs up to the last checkpoint are not trained again."""
    begun, before = {}, {}

    def on_change(cell, state):
        begun[cell.name] = state
        running = [name for name, at in begun.items() if at.startswith("epoch") and len(at) > len("epoch 9")]
        if len(running) == 2 and not before:
            before.update({name: history_of(name) for name in running})
            nodes.kill_second()
            nodes.kill_worker()

    def history_of(name):
        return (tmp_path / name / "history.csv").read_text().splitlines()

    try:
        _, runs = compare(nodes, tmp_path, on_change)
    finally:
        nodes.start_second()
    assert [run.failure for run in runs] == [""] * 4
    assert len(before) == 2, "both nodes have trained"
    assert tables(tmp_path) == here
    for name, rows in before.items():
        assert history_of(name)[:3] == rows[:3], "with its times: it has gone on from a checkpoint"
    files = {path.name for path in (tmp_path / next(iter(before))).iterdir()}
    assert {"manifest.json", "model.safetensors", "history.csv"} <= files
    assert not files & {"checkpoint", "log.txt", "cell.json"}


def test_a_stop_ends_the_tasks_and_the_same_command_goes_on(nodes, here, tmp_path):
    rows = {}

    def stop(cell, state):
        if state.startswith("epoch") and (tmp_path / cell.name / "checkpoint" / "checkpoint.json").exists():
            rows[cell] = history(tmp_path, cell)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(nodes, tmp_path, stop)
    wait_until(lambda: not nodes.workers())
    ((cell, before),) = rows.items()
    assert not (tmp_path / ".lock").exists()
    compare(nodes, tmp_path)
    assert tables(tmp_path) == here
    assert history(tmp_path, cell)[:2] == before[:2]
