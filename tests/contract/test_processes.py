"""Several processes that train one model end with the weights of one process, byte for byte."""

from __future__ import annotations

import json
import multiprocessing
from functools import partial
from pathlib import Path

import pytest
from benchmarks import step_times

from crossrec.parallel import VECTOR

from .processes import CELLS, DIM, PROCESSES, PROTOTYPES, RESUMED, ROWS, main
from .worlds import ITEMS, USERS


@pytest.fixture(scope="module")
def digests(tmp_path_factory):
    """Digests of weights, terms and metrics by number of processes and cell; all are made by one set of processes."""
    folder = tmp_path_factory.mktemp("processes")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([main.__module__])
    started = [context.Process(target=main, args=(rank, folder)) for rank in range(PROCESSES)]
    for process in started:
        process.start()
    for process in started:
        process.join(300)
        process.kill()
    reports = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(PROCESSES)]
    assert not [report["failed"] for report in reports if "failed" in report]
    alone = {cell: values for report in reports for cell, values in report["1"].items()}
    return {"1": alone, "reports": reports, **{str(count): reports[0][str(count)] for count in CELLS}}


@pytest.mark.parametrize(
    ("processes", "cell"), [(count, "+".join(cell)) for count, cells in CELLS.items() for cell in cells]
)
def test_the_bytes_of_one_process(processes, cell, digests):
    assert digests[str(processes)][cell] == digests["1"][cell]


@pytest.mark.parametrize("backbone", RESUMED)
@pytest.mark.parametrize("second", ["", ", the second alone"])
def test_training_goes_on_with_another_number_of_processes(backbone, second, digests):
    """One epoch alone and one in two processes, and the other way round, against two epochs alone."""
    assert digests["2"][f"{backbone}, two epochs{second}"] == digests["1"][f"{backbone}, two epochs"]


def test_the_digests_are_of_trained_weights(digests):
    """Cells of one backbone have different weights, so equal digests say something."""
    of_lightgcn = {digests["1"][f"lightgcn+{alignment}"]["backbone.user"] for alignment in ("none", "fettle", "cross")}
    assert len(of_lightgcn) == 3


@pytest.mark.parametrize("processes", [2, 4])
def test_what_a_process_holds_and_sends(processes, digests):
    """The formulas of docs/scale.md against bytes that were sent and numbers that are in memory."""
    sizes = digests["reports"][processes - 1][f"sizes of {processes}"]
    tables = (USERS + ITEMS) * DIM
    contrast = partial(step_times.sent_contrast, ROWS, PROTOTYPES, DIM, processes)
    assert sizes["lightgcn"] == step_times.FLOAT * step_times.sent_rows(6 * ROWS, DIM, processes)
    assert sizes["contrast"] == step_times.FLOAT * contrast()
    assert sizes["contrast of constants"] == step_times.FLOAT * contrast(right=False)
    assert sizes["clusters"] == step_times.FLOAT * step_times.sent_clusters(ROWS, PROTOTYPES, DIM, processes)
    products = step_times.FLOAT * processes * step_times.sent_rows(USERS + ITEMS, DIM, processes)
    assert sizes["products"] == pytest.approx(products, rel=0.5)  # a process has rows of as many entries as others
    assert sizes["held"]["lightgcn"] == [tables / processes, 2 * tables / processes, 0]
    parameters, moments, stepped = sizes["held"]["directau"]
    assert parameters == tables
    assert moments == pytest.approx(2 * tables / processes, abs=2 * VECTOR)
    assert stepped == pytest.approx(step_times.FLOAT * step_times.sent_rows(1, tables, processes), abs=4 * 4 * VECTOR)


def test_the_computed_times_are_those_of_the_page():
    page = (Path(__file__).resolve().parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
    assert "\n".join(step_times.table()) in page
