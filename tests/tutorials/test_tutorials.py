"""Each tutorial runs from beginning to end, on files that it creates itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from crossrec.recommend import Recommender

from .page import run_page

pytestmark = pytest.mark.timeout(900)
PAGES = Path(__file__).resolve().parents[2] / "docs" / "tutorials"


def responses_in(outputs: list[str]) -> list[dict[str, Any]]:
    """The responses of the service that name their run."""
    return [json.loads(line) for output in outputs for line in output.splitlines() if line.startswith('{"identity"')]


def test_from_files_to_a_service(tmp_path, tools, models, port):
    folder = tmp_path / "folder"
    outputs = run_page(PAGES / "from-files-to-a-service.md", folder, tools, models | port)
    lists = pl.read_csv(folder / "lists.csv")
    assert lists["user"].n_unique() * 10 == lists.height
    assert np.load(folder / "shop" / "text_feat.npy").shape == (80, 384)
    assert not np.load(folder / "shop" / "image_feat.npy")[7].any()  # the broken picture
    responses = [
        json.loads(line) for output in outputs for line in output.splitlines() if line.startswith('{"identity"')
    ]
    assert len(responses) == 4
    recommender = Recommender.open(folder / "runs" / "shop")
    assert recommender.vectors.refit
    assert pl.read_csv(folder / "everybody.csv").group_by("user").len()["len"].to_list() == [10] * 120
    assert [item["id"] for item in responses[3]["items"]] == recommender.popular(3)["item"].to_list()
    assert [item["id"] for item in responses[0]["items"]] == recommender.recommend(["c001"], 3)["item"].to_list()
    assert [item["id"] for item in responses[2]["items"]] == recommender.similar(["sku-000"], 3, by="text")[
        "similar"
    ].to_list()
    assert all(item["title"] and item["picture"] for response in responses for item in response["items"])


def test_new_products_every_day(tmp_path, tools, models, port):
    folder = tmp_path / "folder"
    outputs = run_page(PAGES / "new-products-every-day.md", folder, tools, models | port)
    runs = {
        name: Recommender.open(folder / "runs" / name) for name in ("day-1", "day-2-morning", "day-2-trained", "day-2")
    }
    assert {name: len(run.items) for name, run in runs.items()} == {
        "day-1": 60,
        "day-2-morning": 66,
        "day-2-trained": 64,
        "day-2": 66,
    }
    degree = dict(zip(runs["day-2"].items.ids, runs["day-2"].vectors.degree_I.tolist(), strict=True))
    assert degree["new-0"] > 0 == degree["new-5"]
    assert runs["day-2"].vectors.has_vector.all()
    statuses = (folder / "codes.txt").read_text().split()
    assert set(statuses) == {"200"}
    assert re.search(rf"^ *{len(statuses)} 200$", "\n".join(outputs), re.MULTILINE)
    # the service still has the night's run: the broken export has changed nothing
    assert responses_in(outputs)[-1]["identity"] == runs["day-2"].vectors.identity[:12]
    assert not (folder / "runs" / "day-3").exists()


def test_is_it_better(tmp_path, tools):
    folder = tmp_path / "folder"
    study = folder / "runs" / "study"
    outputs = run_page(PAGES / "is-it-better.md", folder, tools, {})
    # every seed of the best settings once, and the search's other setting of seed 0
    assert sorted(folder.name.rpartition("-")[0] for folder in study.glob("lightgcn*-seed*")) == [
        *("lightgcn+cross-seed0", "lightgcn+cross-seed0", "lightgcn+cross-seed1", "lightgcn+cross-seed2"),
        *("lightgcn-seed0", "lightgcn-seed0", "lightgcn-seed1", "lightgcn-seed2"),
    ]
    tests = (study / "compare-tests.txt").read_text()
    assert re.search(r"R@20 +1500 .* no difference shown", tests)
    assert re.search(r"N@20 +1500 .* higher", tests)
    # Python prints the table's figure
    difference = re.search(r"difference=(\S+), ", outputs[-1])
    assert f"{float(difference[1]):+.4f}" in tests
    assert "popularity" in (study / "report.html").read_text(encoding="utf-8")


def test_features_without_a_hub(tmp_path, tools):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "folder"
    run_page(PAGES / "features-without-a-hub.md", folder, tools, {})
    vectors = np.load(folder / "shop" / "image_feat.npy")
    assert np.flatnonzero(~vectors.any(axis=1)).tolist() == [7]
    red = (200 / 255 - 0.485) / 0.229
    assert vectors[0, :4] == pytest.approx([red] * 4, abs=0.1)
    recommender = Recommender.open(folder / "runs" / "shop")
    assert set(recommender.vectors.modality_IL) == {"image", "weekday"}
    similar = recommender.similar(["red-0"], 10, by="image")["similar"].to_list()
    assert all(name.startswith("red-") for name in similar)
