"""New items of a run with a content graph: their nearest known items, by the rule of the graph."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from crossrec.alignment import CrossConfig
from crossrec.content_graph import ContentGraph
from crossrec.data import load
from crossrec.errors import ConfigError, RunError
from crossrec.experiments.analysis.new_item_metrics import run_metrics
from crossrec.recommend import Recommender, extend
from crossrec.runs.execute import run

from .conftest import config

SHARES = {"image": 0.25, "text": 0.75}
GRAPH = CrossConfig(prototypes_itv=8, content_graph=0.8, content_neighbors=3, content_shares=SHARES)


def trained(out, alignment=GRAPH, backbone="lightgcn", **data):
    """A run on the smallest set, a tenth of whose items were removed, and its data set with these."""
    base = config("synthetic-tiny", backbone, alignment)
    base = base.model_copy(update={"data": base.data.model_copy(update={"cold_items": 0.1, **data})})
    run(base, out)
    return Recommender.open(out), load(base.data)


@pytest.fixture(scope="module")
def graph_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "graph"
    return (*trained(out), out)


def expected_part(recommender, dataset, features):
    """w · Σ_m share · mean of the own vectors of the three items with the highest cosine."""
    vectors = recommender.vectors
    own, rows = vectors.item_IS - vectors.part_IS["content"], []
    for n in range(len(next(iter(features.values())))):
        total, mass = torch.zeros(own.shape[1]), 0.0
        for m, raw in features.items():
            if raw[n].any():
                scaled = dataset.scalers[m](raw[n : n + 1])[0]
                near = np.argsort(-(dataset.features[m] @ scaled), kind="stable")[:3]
                total, mass = total + SHARES[m] * own[near].mean(0), mass + SHARES[m]
        rows.append(0.8 * total / mass)
    return torch.stack(rows)


def test_the_graph_of_a_new_item_is_that_of_the_run(graph_run):
    recommender, dataset, _ = graph_run
    new = dataset.cold.features
    part = expected_part(recommender, dataset, new)
    vector = torch.stack(
        [recommender.item_from_features({m: x[n] for m, x in new.items()}, "graph") for n in range(len(part))]
    )
    torch.testing.assert_close(vector, part)
    alone = recommender.item_from_features({"text": new["text"][0]}, "graph")
    torch.testing.assert_close(alone, expected_part(recommender, dataset, {"text": new["text"]})[0])


@pytest.mark.parametrize("given", [True, False])
def test_an_item_that_is_removed_and_added_again_gets_the_part_that_it_was_trained_with(graph_run, tmp_path, given):
    recommender, dataset, _ = graph_run
    if not given:  # shares that follow the feedback
        recommender, dataset = trained(tmp_path / "out", GRAPH.model_copy(update={"content_shares": None}))
    graph = recommender.cold_start.graph
    assert (graph.graph.shares == SHARES) == given
    assert len(set(graph.graph.shares.values())) == 2
    features = {m: torch.from_numpy(x) for m, x in dataset.features.items()}
    own = graph.own_IS
    for i in (0, 7, 20):
        others = [j for j in range(len(own)) if j != i]
        left = type(graph.graph)(
            {m: f[others] for m, f in features.items()}, weight=0.8, neighbors=3, shares=graph.graph.shares
        )
        again = left.of_new_items({m: f[[i]] for m, f in features.items()}, own[others])
        torch.testing.assert_close(again[0], recommender.vectors.part_IS["content"][i])


def test_shares_of_a_run_that_has_learnt_everything_follow_everything(tmp_path):
    by_feedback = GRAPH.model_copy(update={"content_shares": None})
    base = config("synthetic-tiny", "lightgcn", by_feedback)
    shares, data = {}, load(base.data)
    for refit in (True, False):
        run(base.model_copy(update={"refit": refit or None}), tmp_path / str(refit))
        shares[refit] = Recommender.open(tmp_path / str(refit)).cold_start.graph.graph.shares
        rows = (data.all_in_training() if refit else data).train
        pairs = torch.from_numpy(rows.user_N), torch.from_numpy(rows.item_N)
        features = {m: torch.from_numpy(x) for m, x in data.features.items()}
        assert shares[refit] == ContentGraph(features, weight=0.8, neighbors=3, interactions=pairs).shares
    assert shares[True] != shares[False]


@pytest.mark.parametrize("how", ["neighbors", "ridge", "blend"])
def test_a_vector_is_its_own_part_and_that_of_the_graph(graph_run, how):
    recommender, dataset, _ = graph_run
    cold, new = recommender.cold_start, dataset.cold.features
    raw = {m: x[0] for m, x in new.items()}
    own = recommender.item_from_features(raw, how) - recommender.item_from_features(raw, "graph")
    # the own part is made of the own parts of trained items
    modality = recommender.vectors.project({m: x[:1] for m, x in new.items()})
    unit = {m: normalize(x, dim=1) for m, x in modality.items()}
    table = {m: normalize(recommender.vectors.modality_IL[m][cold.trained_T], dim=1) for m in unit}
    cosine = torch.stack([unit[m] @ table[m].T for m in unit]).mean(0)[0]
    weight, near = cosine.topk(20)
    weight = weight.clamp_min(1e-6)
    lengths = cold.graph.own_IS[cold.trained_T[near]].norm(dim=1)
    assert float(own.norm()) == pytest.approx(float((weight * lengths).sum() / weight.sum()), rel=1e-4)
    double = recommender.item_from_features(raw, how, quantile=0.9)
    ratio = recommender.vectors.item_IS[cold.trained_T].norm(dim=1).quantile(torch.tensor([0.9, 0.5]))
    torch.testing.assert_close(double, ratio[0] / ratio[1] * recommender.item_from_features(raw, how))


def test_extended_and_extended_again(graph_run, tmp_path):
    recommender, dataset, out = graph_run
    new = dataset.cold.features
    for number, rows in enumerate((slice(0, 2), slice(2, 4))):
        folder = tmp_path / f"shop{number}"
        folder.mkdir()
        ids = "".join(f"{1000 + 2 * number + n}\n" for n in range(2))
        (folder / "items.csv").write_text(f"id\n{ids}")
        for m, x in new.items():
            np.save(folder / f"{m}_feat.npy", x[rows])
        following = tmp_path / f"run{number}"
        assert extend(out, folder, following).added == 2
        out = following
    extended = Recommender.open(out)
    expected = recommender.with_items(range(1000, 1004), {m: x[:4] for m, x in new.items()})
    torch.testing.assert_close(extended.vectors.item_IS[-4:], expected.vectors.item_IS[-4:])
    assert extended.vectors.num_items == recommender.vectors.num_items + 4


def test_untouched_items_keep_their_part_of_the_graph(graph_run):
    recommender, *_ = graph_run
    vectors = recommender.vectors
    degree_I = vectors.degree_I.clone()
    degree_I[5] = 0
    other = Recommender(
        type(vectors)(**{**vars(vectors), "degree_I": degree_I}),
        recommender.users,
        recommender.items,
        run=recommender.run,
    )
    vector = other.with_untouched("graph").vectors.item_IS
    torch.testing.assert_close(vector[5], vectors.part_IS["content"][5])
    assert torch.equal(vector[:5], vectors.item_IS[:5])


def test_a_graph_alone_makes_vectors_of_new_items(tmp_path):
    recommender, dataset = trained(tmp_path / "out", GRAPH.model_copy(update={"terms": ()}))
    new = {m: x[0] for m, x in dataset.cold.features.items()}
    assert not recommender.modalities
    part = expected_part(recommender, dataset, {m: x[None] for m, x in new.items()})[0]
    torch.testing.assert_close(recommender.item_from_features(new, "graph"), part)
    with pytest.raises(ConfigError, match="'blend': lightgcn makes no vectors of this content: use graph"):
        recommender.item_from_features(new)
    assert "graph" in run_metrics(tmp_path / "out", dataset)


def test_vectors_that_rank_by_cosine_have_length_1(tmp_path):
    base = config("synthetic-tiny", "directau", GRAPH)
    base = base.model_copy(update={"backbone": base.backbone.model_copy(update={"scores": "cosine"})})
    run(base, tmp_path / "out")
    recommender = Recommender.open(tmp_path / "out")
    raw = {"text": np.ones(8), "image": np.ones(recommender.cold_start.widths["image"])}
    for how in ("blend", "graph", "aligned"):
        assert float(recommender.item_from_features(raw, how).norm()) == pytest.approx(1, abs=1e-4)


def test_without_a_graph_all_stays(tiny, text):
    assert tiny.cold_start.graph is None
    assert text.cold_start.graph is None
    with pytest.raises(ConfigError, match="'graph' needs a run with a content graph: use blend"):
        tiny.item_from_features({"text": np.ones(8)}, "graph")


def test_coldstart_measures_the_graph(graph_run):
    _, dataset, out = graph_run
    metrics = run_metrics(out, dataset, (0.5, 0.9))
    assert {"graph", "blend", "neighbors", "aligned", "blend by features"} <= set(metrics)


def test_the_data_set_of_the_run_is_needed_and_must_be_the_same(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    draw = np.random.default_rng(2)
    rows = "".join(
        f"{u},{i},{s}\n" for u in range(12) for s, i in zip([0] * 5 + [1, 2], draw.permutation(9), strict=False)
    )
    (folder / "log.csv").write_text(f"user,item,split\n{rows}")
    np.save(folder / "image_feat.npy", draw.normal(size=(9, 4)))
    alignment = GRAPH.model_copy(update={"content_shares": None})
    run(config(str(folder), "bpr", alignment), tmp_path / "out")
    image = {"image": np.ones(4)}
    assert Recommender.open(tmp_path / "out").item_from_features(image).any()
    original = np.load(folder / "image_feat.npy")
    for log, features in ((rows.partition("\n")[2], original), (rows, original + np.eye(9, 4))):
        (folder / "log.csv").write_text(f"user,item,split\n{log}")
        np.save(folder / "image_feat.npy", features)
        recommender = Recommender.open(tmp_path / "out")
        assert recommender.recommend([0]).height, "lists need no data set"
        with pytest.raises(RunError, match="has changed since: train the run again"):
            recommender.item_from_features(image)
    shutil.rmtree(folder)
    with pytest.raises(RunError, match=r"out: vectors of new items need the data set of the run.*shop"):
        recommender.item_from_features(image)
