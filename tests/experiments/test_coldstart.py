"""Items without interactions: cells, tables, figure and findings."""

from __future__ import annotations

import math

import pytest
from tests.experiments.fake_runs import NO_MEMORY, TINY, draw, figure_rows, mean, result_from, table_rows

from crossrec.data import DataConfig, load
from crossrec.errors import ConfigError, DataError, RunError
from crossrec.experiments.analysis import new_item_metrics
from crossrec.experiments.analysis.comparison import METRICS
from crossrec.experiments.analysis.new_item_metrics import HISTORY, POPULARITY, TRUE, baseline_metrics
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.questions.coldstart import ColdstartConfig, NewItemRow, cells, representatives

BY_FEATURES = ("neighbors by features", "blend by features")


def test_cells_are_every_backbone_alone_and_aligned_and_the_references():
    planned = cells(ColdstartConfig(backbones=("bpr", "freedom"), seeds=(0, 3), share=0.1), TINY)
    groups = [("bpr", "none"), ("bpr", "cross"), ("freedom", "none"), ("freedom", "cross"), ("vbpr", "none")]
    assert [(cell.group, cell.config.training.seed) for cell in planned] == [
        (g, seed) for g in groups for seed in (0, 3)
    ]
    assert {(c.config.data.cold_items, c.config.data.cold_seed, c.config.training.seed) for c in planned} == {
        (0.1, 0, 0),
        (0.1, 3, 3),
    }
    assert [cell.group for cell in cells(ColdstartConfig(backbones=("vbpr",), seeds=(0,)), TINY)] == [
        ("vbpr", "none"),
        ("vbpr", "cross"),
    ]


def test_mistakes():
    with pytest.raises(ConfigError, match="--cold-items: coldstart takes items out itself; give --share"):
        cells(ColdstartConfig(), SharedSettings(data=DataConfig(data="synthetic-tiny", cold_items=0.1)))
    with pytest.raises(ConfigError, match="--alignments: unknown 'croos'"):
        cells(ColdstartConfig(alignments=("croos",)), TINY)
    with pytest.raises(ConfigError, match="share"):
        ColdstartConfig.parse({"share": 0.0})
    with pytest.raises(DataError, match="load it with cold_items"):
        baseline_metrics(load(TINY.data), 0)


def test_one_row_represents_a_model():
    rows = [NewItemRow(m, way, {}) for m, ways in METHODS.items() for way in ways] + [
        NewItemRow("", TRUE, {}),
        NewItemRow("bpr + cross", "", {}),
    ]
    chosen = {row.name: row.method for row in representatives(rows)}
    assert chosen == {
        "lightgcn": "blend by features",
        "lightgcn + cross": "blend",
        "dualgnn + cross": "blend",
        "vbpr": "own",
        "freedom": "blend",
        TRUE: TRUE,
        "bpr + cross": "",
    }


METHODS = {
    "lightgcn": BY_FEATURES,
    "lightgcn + cross": (*BY_FEATURES, "blend", "neighbors", "ridge", "aligned"),
    "dualgnn + cross": (*BY_FEATURES, "blend", "own"),
    "vbpr": (*BY_FEATURES, "blend", "own"),
    "freedom": (*BY_FEATURES, "blend", "neighbors"),
}


@pytest.fixture
def measured(monkeypatch):
    """Runs that come to 0.2 alone, 0.3 with cross, in seed 1 0.2 too; VBPR to 0.25; ridge is twice as good."""
    monkeypatch.setattr(new_item_metrics, "run_metrics", lambda folder, *_: metrics_of(str(folder)))

    def metrics_of(name):
        value = 0.25 if "vbpr" in name else 0.3 if "cross" in name and "seed1" not in name else 0.2
        methods = METHODS[name.split("-seed")[0].replace("+", " + ")]
        metrics = {method: dict.fromkeys(METRICS, value * (1 + (method == "ridge"))) for method in methods}
        metrics["blend" if "blend" in methods else "blend by features"] |= {
            "new at 0.9": value / 2,
            "others at 0.9": 0.12,
        }
        return metrics


def test_tables_differences_figure_and_findings(measured):
    result = result_from("coldstart", ColdstartConfig(seeds=(0, 1)), lambda _: 0.1)
    rows = table_rows(result.tables["coldstart"])
    assert [(row["model"], row["new items by"]) for row in rows] == [
        *(("–", method) for method in (POPULARITY, HISTORY, TRUE)),
        *(("lightgcn", method) for method in ("neighbors by features", "blend by features *")),
        *(("lightgcn + cross", method) for method in (*BY_FEATURES, "blend *", "neighbors", "ridge", "aligned")),
        *(("vbpr", method) for method in (*BY_FEATURES, "blend", "own *")),
    ]
    assert mean(rows[9]["N@10"]) == pytest.approx(0.5)
    apart = result.tables["coldstart-differences"].rows
    assert [row[:2] for row in apart] == [
        ["lightgcn + cross", other] for other in ("lightgcn", HISTORY, "vbpr", POPULARITY)
    ]
    assert apart[0][2] == pytest.approx([0.1, 0.0])
    assert apart[0][3:5] == [pytest.approx(25.0), "1 of 2"]
    assert apart[2][2] == pytest.approx([0.05, -0.05])
    assert apart[2][4] == "1 of 2"
    assert "lightgcn + cross against lightgcn: Recall@20 +25.0 %, higher in 1 of 2 seeds." in result.findings
    among = result.tables["coldstart-among-all"].rows
    assert [row[:2] for row in among if row][2:4] == [
        ["lightgcn + cross (blend)", "no new items"],
        ["", "quantile 0.9"],
    ]
    plain, with_new = [row for row in among if row][2:4]
    assert plain[3] == pytest.approx([0.15, 0.15])
    assert with_new[2] == pytest.approx([0.15, 0.1])
    assert with_new[4] == pytest.approx(-20.0)
    assert result.findings[0].startswith("synthetic-tiny: 8 items taken out, with ")
    numbers = figure_rows(result.figures["coldstart-figure"])
    assert [row["model"] for row in numbers] == [POPULARITY, HISTORY, TRUE, "lightgcn", "lightgcn + cross", "vbpr"]
    (axes,) = draw(result.figures["coldstart-figure"]).axes
    widths = [bar.get_width() for bar in axes.patches]
    assert widths[2:] == pytest.approx([0.2, 0.25, 0.25])
    assert axes.get_yticklabels()[3].get_text() == "lightgcn + cross (blend)"


def test_one_seed(measured):
    result = result_from("coldstart", ColdstartConfig(seeds=(0,)), lambda _: 0.1)
    row = result.tables["coldstart-differences"].rows[0]
    assert row[2:5] == [pytest.approx(0.1), pytest.approx(50.0), "1 of 1"]
    assert "lightgcn + cross against vbpr: Recall@20 +20.0 %, one seed." in result.findings


def test_a_failed_cell_is_reported_and_leaves_a_gap(measured):
    def value(cell):
        return None if cell.group[1] == "cross" and cell.config.training.seed == 1 else 0.1

    result = result_from("coldstart", ColdstartConfig(seeds=(0, 1)), value)
    (row,) = [row for row in table_rows(result.tables["coldstart"]) if row["model"] == "lightgcn + cross"]
    assert list(row.values())[1:4] == ["", NO_MEMORY, "–"]
    assert {row[2] for row in result.tables["coldstart-differences"].rows} == {NO_MEMORY}
    assert ["lightgcn + cross", "", NO_MEMORY, "–", "–"] in result.tables["coldstart-among-all"].rows
    assert "lightgcn + cross against lightgcn: Recall@20 – (a result is missing)." in result.findings
    (axes,) = draw(result.figures["coldstart-figure"]).axes
    assert [math.isnan(bar.get_width()) for bar in axes.patches] == [False, False, False, True, False]


def test_a_damaged_run_is_reported(monkeypatch):
    def damaged(*_):
        raise RunError("vectors.safetensors: damaged")

    monkeypatch.setattr(new_item_metrics, "run_metrics", damaged)
    result = result_from("coldstart", ColdstartConfig(seeds=(0,)), lambda _: 0.1)
    assert table_rows(result.tables["coldstart"])[3]["R@10"] == "failed: vectors.safetensors: damaged"
