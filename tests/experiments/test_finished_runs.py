"""``crossrec compare runs/a runs/b``: finished runs against each other."""

from __future__ import annotations

import pytest

from crossrec.alignment import CrossConfig
from crossrec.cli import main
from crossrec.data import DataConfig, load
from crossrec.errors import CrossrecError
from crossrec.evaluation import mean_metrics
from crossrec.experiments.analysis.run_evaluation import run_evaluation
from crossrec.experiments.finished_runs import compare_runs
from crossrec.experiments.reporting.result_files import read_results
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


def test_other_metrics_as_files(runs, tmp_path, capsys):
    folder, _ = runs
    out, paths = tmp_path / "out", [str(folder / name) for name in "ab"]
    assert main(["compare", *paths, "--out", str(out), "--metrics", "MRR", "--k", "5", "10"]) == 0
    result = read_results(out)[out / "runs.json"]
    table = next(saved.table for saved in result.tables if saved.name == "runs")
    assert [column.header for column in table.columns[1:3]] == ["MRR@5", "MRR@10"]
    dataset = load(DataConfig(data="synthetic-tiny"))
    for row, path in zip(table.rows, paths, strict=True):
        assert row[1:3] == list(mean_metrics(run_evaluation(path, dataset, ks=(5, 10), metrics=("mrr",)).test).values())
    for stem in ("runs", "runs-tests"):
        assert all((out / f"{stem}{ending}").is_file() for ending in (".txt", ".md", ".tex", ".csv"))
    assert [cell.state for cell in result.cells] == ["done", "done"]
    assert main(["report", str(out)]) == 0
    assert main(["compare", *paths, "--metrics", "mmr"]) == 2
    assert "--metrics 'mmr'" in capsys.readouterr().err


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
