"""``crossrec compare runs/a runs/b``: finished runs against each other."""

from __future__ import annotations

import pytest

from crossrec.alignment import CrossConfig
from crossrec.cli import main
from crossrec.data import DataConfig
from crossrec.errors import CrossrecError
from crossrec.experiments.finished_runs import compare_runs
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run
from crossrec.training import TrainingConfig

TRAINING = TrainingConfig(epochs=1, batch_size=512, device="cpu")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder, data = tmp_path_factory.mktemp("runs"), DataConfig(data="synthetic-tiny")
    alignments = {"a": None, "b": CrossConfig(), "other": None}
    metrics = {}
    for name, alignment in alignments.items():
        of_run = data.model_copy(update={"split": "leave_one_out"}) if name == "other" else data
        metrics[name] = run(RunConfig(data=of_run, alignment=alignment, training=TRAINING), folder / name)
    return folder, metrics


def test_two_runs(runs, capsys, monkeypatch):
    folder, metrics = runs
    result = compare_runs([folder / "a", folder / "b"])
    first, second = result.tables["runs"].rows
    assert (first[0], second[0]) == ("a (lightgcn)", "b (lightgcn+cross)")
    for row, name in ((first, "a"), (second, "b")):
        assert row[1:3] == [metrics[name]["test"][metric] for metric in ("recall@10", "recall@20")]
    test = result.tables["runs-tests"].rows[0]
    assert test[1:3] == [f"{folder / 'b'} v.s. {folder / 'a'}", "R@20"]
    assert test[6] == pytest.approx(metrics["b"]["test"]["recall@20"] - metrics["a"]["test"]["recall@20"])
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["compare", str(folder / "a"), str(folder / "b")]) == 0
    assert "b (lightgcn+cross)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a"], "two or more finished runs"),
        (["a", "other"], "trained on other data"),
        (["a", "gone"], "no such folder"),
    ],
)
def test_runs_that_cannot_be_compared(names, words, runs):
    with pytest.raises(CrossrecError, match=words):
        compare_runs([runs[0] / name for name in names])
