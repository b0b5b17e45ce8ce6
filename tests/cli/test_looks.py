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
ASKED = {
    "compare": (["--backbones", "bpr", "freedom"], {"compare", "compare-tests", "compare-lists"}, set()),
    "popularity": (
        ["--backbones", "bpr", "--alignments", "cna"],
        {"popularity", "popularity-groups", "popularity-tests"},
        {"popularity-figure", "popularity-distribution-figure"},
    ),
    "visualize": (
        ["--items", 10, "--pairs", 5],
        {"visualize-distances", "visualize-cosines"},
        {"visualize-figure"},
    ),
    "strengths": (
        ["--alignments", "none", "cross"],
        {"strengths", "strengths-directions"},
        {"strengths-figure", "strengths-directions-figure"},
    ),
}


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def dataset():
    return load(DataConfig(data="synthetic-tiny"))


def mean(values):
    return pytest.approx(sum(values) / len(values), rel=1e-9)


def of_compare(out, folders, dataset):
    shown = rows(out / "compare-lists.csv")
    assert [row["model"].strip() for row in shown] == [
        *("bpr", "+ fettle", "+ cross", "freedom", "+ fettle", "+ cross")
    ]
    assert len(rows(out / "compare-tests.csv")) == 12
    found = [run_evaluation(folder, dataset) for folder in folders("freedom-seed")]
    assert float(shown[3]["coverage@20 mean"]) == mean([o.exposure["coverage@20"] for o in found])
    assert float(shown[3]["tail@20 mean"]) == mean([o.lists["tail@20"].mean() for o in found])
    assert float(shown[3]["minutes mean"]) > 0
    tested = rows(out / "compare-tests.csv")[6]
    assert (tested["backbone"], tested["compared"], tested["metric"]) == ("freedom", "fettle v.s. none", "R@20")
    assert float(tested["base"]) == mean([o.test["recall@20"].mean() for o in found])


def of_popularity(out, folders, dataset):
    plain, stacked = rows(out / "popularity.csv")
    assert (plain["model"], stacked["model"].strip()) == ("bpr", "+ CNA")
    found = [group_means(run_evaluation(folder, dataset).of_items) for folder in folders("bpr-seed")]
    for group in found[0]:
        assert float(plain[f"R@10 {group} mean"]) == mean([of[group].means["recall@10"] for of in found])


def of_visualize(out, folders, dataset):
    average = rows(out / "visualize-distances.csv")[-1]
    found = [embedding_metrics(open_embeddings(folder), dataset) for folder in folders("freedom+cross-seed")]
    expected = [sum(of.distance[UNIT].values()) / 3 for of in found]
    assert float(average["unit length + cross mean"]) == mean(expected)
    near = {row["item's"]: row for row in rows(out / "visualize-cosines.csv")}
    assert float(near["image"]["test pairs + cross mean"]) == mean([of.cosine[TEST]["image"] for of in found])
    assert len(rows(out / "visualize-figure.csv")) == 2 * 3 * (10 + 5)


def of_strengths(out, folders, dataset):
    found = [rows(folder / "strengths.csv") for folder in folders("freedom+cross-seed")]
    assert [len(of) for of in found] == [2, 2]
    image = [row for row in rows(out / "strengths.csv") if row["modality"] == "image"][1]
    assert image["model"] == "freedom + cross"
    assert float(image["mean last mean"]) == mean([float(of[1]["mean image"]) for of in found])
    numbers = rows(out / "strengths-directions-figure.csv")
    assert float(numbers[2]["image->id mean"]) == mean([100 * float(of[0]["image->id"]) for of in found])


@pytest.mark.slow
@pytest.mark.parametrize("command", ASKED)
def test_from_flags_to_an_answer(command, crossrec, here, tmp_path, read, dataset):
    asked, tables, figures = ASKED[command]
    answer = crossrec(command, *FLAGS, *asked, "--out", tmp_path)
    assert answer.code == 0, answer.err
    told = read(tmp_path / f"{command}.json")
    assert {table["name"] for table in told["tables"]} == tables
    assert {figure["name"] for figure in told["figures"]} == figures
    for name in tables:
        assert all((tmp_path / f"{name}.{ending}").stat().st_size > 50 for ending in ("txt", "md", "tex", "csv"))
    for name in figures:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert f"{name}.png" in answer.out
    assert len(told["findings"]) >= 2
    assert all(finding in " ".join(answer.out.split()) for finding in told["findings"])

    def folders(start):
        found = [tmp_path / c["folder"] for c in told["cells"] if c["folder"].startswith(start)]
        assert len(found) == 2
        return found

    globals()[f"of_{command}"](tmp_path, folders, dataset)


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
