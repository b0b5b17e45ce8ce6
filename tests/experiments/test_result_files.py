"""Result files: they read back as written, in the order of the paper, and a damaged file is named."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from crossrec.errors import RunError
from crossrec.experiments.reporting.result import ExperimentResult, ResultFigure
from crossrec.experiments.reporting.result_files import read_results, write_result
from crossrec.experiments.reporting.tables import RULE, Column, ResultTable, best_cells, to_csv, to_latex, to_text

from .sample_results import CURVE, WIDE, copy_sample_results

ODD = ResultTable(
    "Anything",
    [Column("a", "left", group="G"), Column("b", best="min", format=".1e")],
    [
        ["x", math.nan],
        ["", -math.inf],
        RULE,
        ["3", [math.inf, 1]],
        [" y", None],
        [5, 0.1 + 0.2],
        [-1, [1, 2, 4]],
        ["", []],
    ],
    ("note",),
    compete="row",
)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    return copy_sample_results(tmp_path_factory, tmp_path / "runs")


@pytest.mark.parametrize("table", [ODD, WIDE, CURVE], ids=lambda t: t.title)
def test_a_table_reads_back_in_every_form(table, tmp_path):
    figure = ResultFigure("title", "caption", table, lambda canvas: None, (1, 1))
    write_result(ExperimentResult("Why?", ["So."], {"one": table}, {"two": figure}), tmp_path, "own", {})
    ((path, result),) = read_results(tmp_path).items()
    assert path == tmp_path / "own.json"
    assert (result.experiment, result.question, result.findings) == ("own", "Why?", ["So."])
    assert "NaN" not in path.read_text()
    assert "Infinity" not in path.read_text()
    for back in (result.tables[0].table, result.figures[0].data):
        assert list(back.columns) == table.columns
        for form in (to_csv, to_latex, to_text, best_cells):
            assert form(back) == form(table)


def test_a_full_disk_leaves_the_whole_old_answer(tmp_path, monkeypatch):
    def write(title, number):
        data = ResultTable(title, [Column("x")], [[number]], ())
        figure = ResultFigure(title, "caption", data, lambda canvas: None, (1, 1))
        write_result(ExperimentResult("Why?", [title], {"one": data}, {"two": figure}), tmp_path, "own", {})

    def contents():
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    write("old", 1.0)
    old = contents()
    assert len(old) == 4 + 3 + 1
    fsync = os.fsync
    for room in range(len(old)):
        left = iter(range(room))

        def full(descriptor, left=left):
            if next(left, None) is None:
                raise OSError(28, "No space left on device")
            fsync(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(RunError, match="cannot be written: No space left on device; free some space there"):
                write("new", 2.0)
        assert contents() == old
    write("new", 2.0)
    assert read_results(tmp_path)[tmp_path / "own.json"].findings == ["new"]
    assert contents()["one.csv"] == b"x\n2.0\n"


def test_results_are_ordered_and_folders_of_runs_skipped(folder):
    results = read_results(folder)
    assert [str(path.relative_to(folder)) for path in results] == [
        *("compare.json", "tiktok/sensitivity.json", "own/own.json")
    ]
    assert [cell.state for cell in results[folder / "compare.json"].cells].count("done") == 5
    (card,) = results[folder / "compare.json"].data
    assert (card.name, card.users, card.features) == ("synthetic-tiny", 60, {"image": 12, "text": 8})


def test_a_cell_has_every_setting_of_its_models_and_those_of_its_data_that_are_set(folder):
    cell = next(cell for cell in read_results(folder)[folder / "compare.json"].cells if cell.group[-1] == "cross")
    assert cell.config["alignment"]["prototypes_itv"] is None
    assert "false_clicks" not in cell.config["data"]


def test_order_of_the_paper_then_of_names(tmp_path):
    names = ["zeta", "coldstart", "tune", "strengths", "sensitivity", "popularity", "visualize", "robustness"]
    names += ["directions", "ablate", "compare", "alpha"]
    for name in names:
        write_result(ExperimentResult("?", [], {}), tmp_path / ("b" if name == "tune" else "a"), name, {})
    write_result(ExperimentResult("?", [], {}), tmp_path / "a" / "deep", "tune", {})
    assert [str(path.relative_to(tmp_path)) for path in read_results(tmp_path)] == [
        *(f"a/{name}.json" for name in names[-2:3:-1]),
        *("a/strengths.json", "a/deep/tune.json", "b/tune.json", "a/coldstart.json", "a/alpha.json", "a/zeta.json"),
    ]


@pytest.mark.parametrize("cut", [0, 1, 900, -5])
def test_a_damaged_file_is_named(folder, cut):
    path = folder / "tiktok" / "sensitivity.json"
    path.write_text(path.read_text()[:cut])
    with pytest.raises(RunError, match=r"sensitivity\.json: damaged, not valid JSON"):
        read_results(folder)


@pytest.mark.parametrize(
    ("old", "new"), [('"best_epoch": ', '"best_epoch": 1'), ("It does", "It doth"), ('"experiment"', '"experimenr"')]
)
def test_an_altered_result_is_refused(folder, old, new):
    path = folder / "compare.json"
    text = path.read_text()
    path.write_text(text.replace(old, new, 1))
    assert path.read_text() != text
    with pytest.raises(RunError, match=r"compare\.json: damaged, its content is not what was written; run the exper"):
        read_results(folder)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (["question"], None, "'question': Input should be a valid string"),
        (["tables", 0, "columns"], ..., r"'tables\.0\.table\.columns'"),
        (["tables", 0, "rows", 0], ["one"], "row 0 has 1 cells for 3 columns"),
        (["tables", 0, "rows", 0, 1], {"float": "much"}, r"'tables\.0\.table': Value error, could not convert"),
        (["tables", 0, "columns", 0, "align"], "up", r"'tables\.0\.table\.columns\.0\.align': .*'left'"),
        (["tables", 0, "name"], "../../secret", r"'tables\.0\.name'"),
        (["figures", 0, "name"], "a/b", r"'figures\.0\.name'"),
        (["figures", 0, "data"], ..., r"'figures\.0\.data': Field required"),
        (["tables"], 3, "'tables': Input should be a valid list"),
        (["cells", 0, "state"], ..., r"'cells\.0\.state': Field required"),
    ],
    ids=str,
)
def test_an_incomplete_result_is_named(folder, where, value, message):
    path = folder / "compare.json"
    values = json.loads(path.read_text())
    del values["seal"]
    *parents, last = where
    part = values
    for name in parents:
        part = part[name]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    path.write_text(json.dumps(values))
    with pytest.raises(RunError, match=rf"compare\.json: {message}|compare\.json: .*{message}") as error:
        read_results(folder)
    assert "run the experiment again" in str(error.value)


def test_a_folder_without_results_is_an_error(tmp_path):
    (tmp_path / "settings.json").write_text('{"experiment": "no tables here"}')
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(RunError, match="no experiment has written an answer here"):
        read_results(tmp_path)
    for path in (tmp_path / "nowhere", tmp_path / "list.json"):
        with pytest.raises(RunError, match=f"{path.name}: no such folder"):
            read_results(path)
