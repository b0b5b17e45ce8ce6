"""Several processes that train one model end with the weights of one process, byte for byte."""

from __future__ import annotations

import json
import multiprocessing

import pytest

from .processes import CELLS, PROCESSES, RESUMED, main


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
    return {"1": alone, **{str(count): reports[0][str(count)] for count in CELLS}}


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
