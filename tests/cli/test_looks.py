"""``crossrec popularity``, ``visualize`` and ``strengths``, and what ``compare`` writes beyond its table."""

from __future__ import annotations

import csv
import importlib.util

import pytest

from crossrec.data import DataConfig, load
from crossrec.evaluation.groups import group_means
from crossrec.experiments.analysis.embedding_metrics import TEST, UNIT, embedding_metrics
from crossrec.experiments.analysis.run_evaluation import run_evaluation
from crossrec.runs.directory import open_embeddings

FLAGS = ("--data", "synthetic-tiny", "--epochs", 2, "--batch-size", 256, "--device", "cpu", "--seeds", 0, 1)


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def dataset():
    return load(DataConfig(data="synthetic-tiny"))


def mean(values):
    return pytest.approx(sum(values) / len(values), rel=1e-9)


def check_compare(out, folders, dataset):
    list_rows = rows(out / "compare-lists.csv")
    assert [row["model"].strip() for row in list_rows] == [
        *("bpr", "+ fettle", "+ cross", "freedom", "+ fettle", "+ cross")
    ]
    assert len(rows(out / "compare-tests.csv")) == 12
    evaluations = [run_evaluation(folder, dataset) for folder in folders("freedom-seed")]
    assert float(list_rows[3]["coverage@20 mean"]) == mean([o.exposure["coverage@20"] for o in evaluations])
    assert float(list_rows[3]["tail@20 mean"]) == mean([o.lists["tail@20"].mean() for o in evaluations])
    assert float(list_rows[3]["minutes mean"]) > 0
    tested = rows(out / "compare-tests.csv")[6]
    assert (tested["backbone"], tested["compared"], tested["metric"]) == ("freedom", "fettle v.s. none", "R@20")
    assert float(tested["base"]) == mean([o.test["recall@20"].mean() for o in evaluations])


def check_popularity(out, folders, dataset):
    plain, stacked = rows(out / "popularity.csv")
    assert (plain["model"], stacked["model"].strip()) == ("bpr", "+ CNA")
    evaluations = [group_means(run_evaluation(folder, dataset).of_items) for folder in folders("bpr-seed")]
    for group in evaluations[0]:
        assert float(plain[f"R@10 {group} mean"]) == mean([of[group].means["recall@10"] for of in evaluations])


def check_visualize(out, folders, dataset):
    average = rows(out / "visualize-distances.csv")[-1]
    evaluations = [embedding_metrics(open_embeddings(folder), dataset) for folder in folders("freedom+cross-seed")]
    expected = [sum(of.distance[UNIT].values()) / 3 for of in evaluations]
    assert float(average["unit length + cross mean"]) == mean(expected)
    near = {row["item's"]: row for row in rows(out / "visualize-cosines.csv")}
    assert float(near["image"]["test pairs + cross mean"]) == mean([of.cosine[TEST]["image"] for of in evaluations])
    assert len(rows(out / "visualize-figure.csv")) == 2 * 3 * (10 + 5)


def check_strengths(out, folders, dataset):
    evaluations = [rows(folder / "strengths.csv") for folder in folders("freedom+cross-seed")]
    assert [len(of) for of in evaluations] == [2, 2]
    image = [row for row in rows(out / "strengths.csv") if row["modality"] == "image"][1]
    assert image["model"] == "freedom + cross"
    assert float(image["mean last mean"]) == mean([float(of[1]["mean image"]) for of in evaluations])
    numbers = rows(out / "strengths-directions-figure.csv")
    assert float(numbers[2]["image->id mean"]) == mean([100 * float(of[0]["image->id"]) for of in evaluations])


EXPECTED = {
    "compare": (["--backbones", "bpr", "freedom"], {"compare", "compare-tests", "compare-lists"}, set(), check_compare),
    "popularity": (
        ["--backbones", "bpr", "--alignments", "cna"],
        {"popularity", "popularity-groups", "popularity-tests"},
        {"popularity-figure", "popularity-distribution-figure"},
        check_popularity,
    ),
    "visualize": (
        ["--items", 10, "--pairs", 5],
        {"visualize-distances", "visualize-cosines"},
        {"visualize-figure"},
        check_visualize,
    ),
    "strengths": (
        ["--alignments", "none", "cross"],
        {"strengths", "strengths-directions"},
        {"strengths-figure", "strengths-directions-figure"},
        check_strengths,
    ),
}
"""By command its flags, the tables and figures that it writes, and the check of their numbers."""


@pytest.mark.slow
@pytest.mark.parametrize("command", EXPECTED)
def test_from_flags_to_a_result(command, crossrec, here, tmp_path, read, dataset):
    flags, tables, figures, check = EXPECTED[command]
    answer = crossrec(command, *FLAGS, *flags, "--out", tmp_path)
    assert answer.code == 0, answer.err
    written = read(tmp_path / f"{command}.json")
    assert {table["name"] for table in written["tables"]} == tables
    assert {figure["name"] for figure in written["figures"]} == figures
    for name in tables:
        assert all((tmp_path / f"{name}.{ending}").stat().st_size > 50 for ending in ("txt", "md", "tex", "csv"))
    for name in figures:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert f"{name}.png" in answer.out
    assert len(written["findings"]) >= 2
    assert all(finding in " ".join(answer.out.split()) for finding in written["findings"])

    def folders(start):
        matches = [tmp_path / c["folder"] for c in written["cells"] if c["folder"].startswith(start)]
        assert len(matches) == 2
        return matches

    check(tmp_path, folders, dataset)


def test_without_opentsne_nothing_is_trained(crossrec, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "openTSNE" else find(name, *a))
    line = crossrec("visualize", "--data", "synthetic-tiny", "--out", "out").mistake
    assert "pip install 'crossrec[plots]'" in line
    assert list((tmp_path / "here").iterdir()) == []


def test_strengths_are_recorded_by_train(crossrec, tmp_path, tiny):
    answer = crossrec("train", *tiny, "--backbone", "freedom", "--record-strengths", "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert [row["epoch"] for row in rows(tmp_path / "run" / "strengths.csv")] == ["1", "2"]
