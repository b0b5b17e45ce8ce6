"""Sample results without training: invented numbers, tables and figures with everything that can occur."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from crossrec.data import DataConfig, load
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.questions.compare import CompareConfig, cells
from crossrec.experiments.reporting.provenance import provenance
from crossrec.experiments.reporting.result import ExperimentResult, ResultFigure
from crossrec.experiments.reporting.result_files import write_result
from crossrec.experiments.reporting.tables import RULE, Column, ResultTable
from crossrec.experiments.runner.jobs import Cell, Result

EVIL = "<script>document.title = 'run'</script>"
FAILURE = "failed: training stopped at epoch 4, batch 17: term 'neighbor' is not finite; lower --gamma"

COLUMNS = [
    Column("model", "left"),
    *(
        Column(name, best="max", group=group)
        for group in ("tiktok", "Tom & Jerry")
        for name in ("R@10", "R@20", "N@10", "N@20")
    ),
    Column("epochs", best="min", format=".1f"),
    Column("remark", "left"),
]
WIDE = ResultTable(
    "Accuracy on R&D_1",
    COLUMNS,
    [
        ["bpr", *([k / 7 + 0.01, k / 7] for k in range(8)), 12, "b2"],
        ["  + cross", FAILURE, *[None] * 7, math.inf, "b10"],
        RULE,
        ["lightgcn", math.nan, *([k / 3, k / 3 + 1e-9, k / 9] for k in range(7)), 3.25, EVIL],
        ["  + fettle", [0.5], *(k / 11 for k in range(7)), 40, ""],
        ["  + cross", *(k / 13 for k in range(8)), 7, "a"],
        RULE,
        ["average + cross", *[""] * 8, 1e-7, "b1"],
    ],
    ["n = 2 seeds", "x < y_1"],
)
POINTS = ResultTable(
    "All points", [Column("item"), Column("x", format=".2f")], [[k, (k * 37 % 601) / 7] for k in range(600)]
)
CURVE = ResultTable(
    "Recall@20 over α",
    [Column("backbone", "left"), Column("α", format="g"), Column("R@20", best="max")],
    [
        [name, alpha, [shift + alpha, shift + 2 * alpha]]
        for shift, name in ((0.1, "bpr"), (0.2, "freedom"))
        for alpha in (0.001, 0.01, 0.1)
    ],
)


def draw(canvas):
    axes = canvas.subplots()
    axes.plot([0.001, 0.01, 0.1], [1, 3, 2], marker="o")
    axes.set_xscale("log")
    axes.set_xlabel("α")


def fake_results():
    """What the cells of one backbone, three alignments and two seeds might have come to: one of them failed."""
    todo: list[Cell] = cells(CompareConfig(seeds=(0, 4)), SharedSettings(DataConfig(data="synthetic-tiny")))
    results = []
    for number, cell in enumerate(todo):
        metrics = {
            **{"best_epoch": 3, "epochs": 7, "train_seconds_per_epoch": 1.5 + number, "peak_memory_mb": 300.25},
            **{split: {"recall@20": (number + 1) / 30} for split in ("valid", "test")},
        }
        failed = {"metrics": None, "failure": FAILURE} if number == 3 else {"metrics": metrics}
        results.append(Result(cell, Path("cells") / cell.name, **failed))
    return results


def write_sample_results(folder: Path) -> None:
    """Answers of three experiments, two of them in folders of their own, and a run beside them."""
    data = DataConfig(data="synthetic-tiny")
    facts = provenance(
        fake_results(), {data: load(data)}, folder, {"experiment": {"seeds": [0, 4]}, "training": {}}, 5025.3
    )
    facts["command"] = "crossrec compare --data 'a b' --seeds 0 4 --out runs"
    curve = ResultFigure("Sensitivity to α", "Bars: the deviation.", CURVE, draw, (4, 2))
    points = ResultFigure("Items before and after", "t-SNE.", POINTS, draw, (6, 2))
    results = {
        "sensitivity": (
            folder / "tiktok",
            ExperimentResult("Is it steady?", ["Not <b>quite</b>."], {"weights": WIDE}, {"alpha": curve}),
        ),
        "own": (folder / "own", ExperimentResult("What of one's own?", [], {"wide": CURVE})),
        "compare": (
            folder,
            ExperimentResult("Does it help?", ["It does & more."], {"compare": CURVE}, {"points": points}),
        ),
    }
    for name, (out, result) in results.items():
        write_result(result, out, name, facts)
    run = folder / "bpr-seed0-0123456789"
    run.mkdir()
    (run / "metrics.json").write_text("{}")
    (run / "compare.json").write_text("no JSON, and nobody's business")
    (folder / "settings.json").write_text("{}")


def copy_sample_results(factory: pytest.TempPathFactory, to: Path) -> Path:
    """What ``write_sample_results`` writes, once a session, copied to ``to``."""
    folder = factory.getbasetemp() / "sample-results"
    if not folder.exists():
        write_sample_results(folder)
    return shutil.copytree(folder, to)
