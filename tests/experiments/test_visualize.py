"""RQ5: tables, pictures and findings on distances between modalities and cosines of users with items."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from tests.experiments.fake_runs import NO_MEMORY, TINY, draw, fake_results, figure_rows, mean, table_rows

from crossrec.data import Interactions, load
from crossrec.errors import ConfigError, RunError
from crossrec.experiments.analysis.embedding_metrics import (
    RAW,
    TEST,
    TRAIN,
    UNIT,
    cosines,
    distances,
    embedding_metrics,
)
from crossrec.experiments.analysis.tsne_plots import tsne_table
from crossrec.experiments.questions import compare, visualize
from crossrec.experiments.questions.visualize import VisualizeConfig, cells, relative_change
from crossrec.runs.embeddings import TrainedEmbeddings

SMALL = {"items": 8, "pairs": 6}


def test_untrained_items_and_users_are_left_out(dataset, snapshots):
    # untrained items are in no distance, users without training pairs in no cosine
    embeddings = snapshots["none", 0]
    degree = embeddings.degree_I.clone()
    degree[0] = 0
    trained = embedding_metrics(TrainedEmbeddings(**vars(embeddings) | {"degree_I": degree}), dataset)
    rows = {m: x[1:] for m, x in {"id": embeddings.item_IL, **embeddings.modality_IL}.items()}
    assert trained.distance == {UNIT: distances(rows, normalised=True), RAW: distances(rows, normalised=False)}
    test = dataset.test
    is_active = test.user_N != test.user_N[0]
    fewer = Interactions(
        *(x[dataset.train.user_N != test.user_N[0]] for x in (dataset.train.user_N, dataset.train.item_N))
    )
    object.__setattr__(dataset, "train", fewer)
    pairs = torch.from_numpy(test.user_N[is_active]), torch.from_numpy(test.item_N[is_active])
    vectors = {"id": embeddings.item_IL, **embeddings.modality_IL}
    assert embedding_metrics(embeddings, dataset).cosine[TEST] == cosines(embeddings.user_UL, vectors, *pairs)


@pytest.fixture
def dataset():
    return load(TINY.data)


@pytest.fixture
def snapshots(dataset, monkeypatch):
    """By alignment and seed: under cross, content is near the id and the user's own; alone it is anywhere."""
    degree = torch.from_numpy(np.bincount(dataset.train.item_N, minlength=dataset.num_items))
    embeddings = {}
    for alignment in ("none", "cross"):
        for seed in (0, 1):
            draw_ = torch.Generator().manual_seed(seed)
            user, item, *content = (
                torch.randn(count, 4, generator=draw_) for count in (dataset.num_users, *[dataset.num_items] * 3)
            )
            item = item + 2
            if alignment == "cross":
                content = [item + 0.1 * x for x in content]
                user = user + 2
            empty = torch.zeros(dataset.num_users + 1, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
            embeddings[alignment, seed] = TrainedEmbeddings(
                *("freedom", alignment, "", user, item, user, item, degree, *empty, torch.zeros(0, dtype=torch.bool)),
                modality_IL=dict(zip(("image", "text"), content, strict=True)),
            )
    monkeypatch.setattr(visualize, "open_embeddings", lambda folder: embeddings[_run(folder)])
    return embeddings


def _run(folder):
    label, seed, _ = folder.name.rsplit("-", 2)
    return "cross" if "+" in label else "none", int(seed.removeprefix("seed"))


def result_of(options, dataset, value=lambda _: 0.1):
    return visualize.result(options, TINY, fake_results(cells(options, TINY), value), {TINY.data: dataset})


def test_cells_are_those_of_compare():
    options = {"backbones": ("bpr",), "seeds": (0, 3)}
    planned = cells(VisualizeConfig(**options), TINY)
    assert [(c.group, c.config.training.seed) for c in planned] == [
        (("bpr", name), seed) for name in ("none", "cross") for seed in (0, 3)
    ]
    assert {c.name for c in planned} < {c.name for c in compare.cells(compare.CompareConfig(**options), TINY)}
    assert VisualizeConfig().backbones == ("freedom",)


def test_tables_hold_every_seed_and_the_change(dataset, snapshots):
    result = result_of(VisualizeConfig(seeds=(0, 1), pictures=False), dataset)
    distances_table = result.tables["visualize-distances"]
    assert [row[:2] for row in distances_table.rows] == [
        ["freedom", what] for what in ("id – image", "id – text", "image – text", "average")
    ]
    metrics = {key: embedding_metrics(embeddings, dataset) for key, embeddings in snapshots.items()}
    for at, length in ((2, UNIT), (5, RAW)):
        alone, aligned, change = distances_table.rows[1][at : at + 3]
        assert alone == tuple(metrics["none", seed].distance[length]["id", "text"] for seed in (0, 1))
        assert aligned == tuple(metrics["cross", seed].distance[length]["id", "text"] for seed in (0, 1))
        assert change == pytest.approx(100 * (mean(aligned) / mean(alone) - 1))
        assert mean(distances_table.rows[3][at]) == pytest.approx(
            np.mean([mean(row[at]) for row in distances_table.rows[:3]])
        )
    cosines_table = result.tables["visualize-cosines"]
    assert [row[1] for row in cosines_table.rows] == ["id", "image", "text"]
    for at, pairs in ((2, TRAIN), (5, TEST)):
        assert cosines_table.rows[2][at] == tuple(metrics["none", seed].cosine[pairs]["text"] for seed in (0, 1))
    assert result.figures == {}


def test_claims_hold_where_the_numbers_are_the_papers(dataset, snapshots):
    findings = result_of(VisualizeConfig(seeds=(0, 1), pictures=False), dataset).findings
    assert [f.split(" claim that ")[1] for f in findings if "claim" in f] == [
        "alignment brings the modalities of an item together holds.",
        "users come nearer to the content of the items they interact with holds (the paper, Baby: image +14.7 %, text "
        "+12.2 %).",
    ]


def test_claims_do_not_hold_where_the_numbers_contradict_them(dataset, snapshots):
    for seed in (0, 1):
        alone, cross = snapshots["none", seed], snapshots["cross", seed]
        snapshots["none", seed], snapshots["cross", seed] = cross, alone
    findings = result_of(VisualizeConfig(seeds=(0, 1), pictures=False), dataset).findings
    claims = [f.split(" claim that ")[1] for f in findings if "claim" in f]
    assert claims[0] == (
        "alignment brings the modalities of an item together does not hold (not for vectors: unit length and as they "
        "are)."
    )
    assert "does not hold" in claims[1]


def test_a_change_from_a_mean_of_0_or_less_has_no_percentage():
    assert relative_change(0.3, 0.2) == pytest.approx(50)
    assert relative_change((0.3, 0.3), -0.2) == "–"
    assert relative_change(0.3, "no vectors") == "–"


def test_a_backbone_without_content_vectors_has_no_change(dataset, snapshots):
    for seed in (0, 1):
        snapshots["none", seed].modality_IL.clear()
    result = result_of(VisualizeConfig(seeds=(0, 1), **SMALL), dataset)
    average = result.tables["visualize-distances"].rows[-1]
    assert (average[2], average[4]) == ("no vectors", "–")
    assert mean(average[3]) > 0
    assert mean(result.tables["visualize-cosines"].rows[0][2]) != 0, "the id it has"
    (findings,) = result.findings
    assert findings.startswith("freedom alone makes no content vectors: there is nothing to compare")
    kinds = {
        (row["panel"], row["vector"])
        for row in figure_rows(result.figures["visualize-figure"])
        if row["alignment"] == "none"
    }
    assert kinds == {("items", "id"), ("pairs", "user")}


def test_the_picture_has_the_same_items_and_pairs_before_and_after(dataset, snapshots):
    options = VisualizeConfig(seeds=(1, 0), **SMALL)
    figure = result_of(options, dataset).figures["visualize-figure"]
    points = figure_rows(figure)
    numbers = {}
    for row in points:
        numbers.setdefault((row["panel"], row["alignment"], row["vector"]), []).append(row["number"])
    kinds = [("items", ("id", "image", "text"), 8), ("pairs", ("user", "image", "text"), 6)]
    for panel, vectors, count in kinds:
        drawn = [numbers[panel, alignment, kind] for alignment in ("none", "cross") for kind in vectors]
        assert all(one == drawn[0] for one in drawn)
        assert len(set(drawn[0])) == count
    axes = draw(figure).axes
    assert [a.get_title() for a in axes] == [
        *("(a) freedom alone", "(b) freedom + cross", "(c) freedom alone", "(d) freedom + cross")
    ]
    assert sum(len(line.get_xdata()) for a in axes for line in a.lines) == len(points) == 2 * 3 * (8 + 6)
    metrics = embedding_metrics(snapshots["cross", 1], dataset)
    assert axes[1].get_xlabel().endswith(f"{np.mean(list(metrics.distance[UNIT].values())):.2f}")
    assert f"image {metrics.cosine[TRAIN]['image']:.2f}" in axes[3].get_xlabel()
    assert "seed 1" in figure.caption
    assert figure_rows(result_of(options, dataset).figures["visualize-figure"]) == points, "the same again"


def test_a_failed_run_leaves_its_panels_empty(dataset, snapshots):
    result = result_of(
        VisualizeConfig(seeds=(0,), **SMALL), dataset, lambda cell: None if cell.group[1] == "cross" else 0.1
    )
    axes = draw(result.figures["visualize-figure"]).axes
    assert [bool(sum(len(line.get_xdata()) for line in a.lines)) for a in axes] == [True, False, True, False]
    assert axes[1].get_xlabel() == NO_MEMORY
    assert table_rows(result.tables["visualize-distances"])[0]["+ cross"] == NO_MEMORY
    assert all("cannot be judged" in finding for finding in result.findings if "claim" in finding)


def test_a_run_that_cannot_be_read_is_reported(dataset, snapshots, monkeypatch):
    def damaged(folder):
        raise RunError("it is damaged")

    monkeypatch.setattr(visualize, "open_embeddings", damaged)
    result = result_of(VisualizeConfig(seeds=(0,), pictures=False), dataset)
    assert table_rows(result.tables["visualize-cosines"])[0]["alone"] == "failed: it is damaged"


def test_without_opentsne_there_are_numbers_only(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openTSNE" else find(name))
    with pytest.raises(ConfigError, match=r"pip install 'crossrec\[plots\]', or give --no-pictures"):
        cells(VisualizeConfig(), TINY)
    assert cells(VisualizeConfig(pictures=False, seeds=(0,)), TINY)


def test_items_without_all_content_are_not_drawn(dataset, snapshots):
    dataset.features["image"][:-3] = 0
    placed = tsne_table({"none": snapshots["none", 0]}, dataset, 0, items=8, pairs=6)
    assert {row[3] for row in placed.rows if row[0] == "items"} == {37, 38, 39}
    assert {dataset.train.item_N[row[3]] for row in placed.rows if row[0] == "pairs"} <= {37, 38, 39}
