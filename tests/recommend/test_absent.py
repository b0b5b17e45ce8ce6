"""Rows in gaps between row numbers stand for nobody and nothing: they are told, and never recommended."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from fastapi.testclient import TestClient

from crossrec.cli import main
from crossrec.data import DataConfig, import_data, load, validate
from crossrec.data.io.parse_log import InteractionLog
from crossrec.errors import DataError
from crossrec.features import FeaturesConfig
from crossrec.features.items import read_items
from crossrec.recommend import Recommender, extend
from crossrec.recommend.event_log import item_rows
from crossrec.recommend.id_map import IdMap
from crossrec.runs.config import RunConfig
from crossrec.runs.embeddings import TrainedEmbeddings
from crossrec.runs.execute import run
from crossrec.serving import ServeConfig, ServedRun, create_app

ITEMS = list(range(100, 201, 10))
USERS = list(range(5, 41, 5))


def inter(users=USERS, items=ITEMS):
    """A log in the MMRec layout, in which every user has six of the items, one of them as a test row."""
    rows = [(user, items[(n + k) % len(items)], 2 * (k == 5)) for n, user in enumerate(users) for k in range(6)]
    return pl.DataFrame(rows, schema=["userID", "itemID", "x_label"], orient="row").write_csv(separator="\t")


def train(folder, out, backbone="bpr", alignment="none"):
    settings = {
        "data": {"data": str(folder)},
        "backbone": {"name": backbone, "dim": 4},
        "alignment": {"name": alignment},
        "training": {"epochs": 1, "batch_size": 16, "device": "cpu"},
    }
    run(RunConfig.parse(settings), out)
    return Recommender.open(out)


@pytest.fixture(scope="module")
def gaps(tmp_path_factory):
    """A run on ids with gaps, without features, and its data folder."""
    folder = tmp_path_factory.mktemp("gaps") / "set"
    folder.mkdir()
    (folder / "x.inter").write_text(inter())
    return train(folder, folder.parent / "run"), folder


def test_the_gaps_are_told_with_numbers_and_a_way_out(gaps, tmp_path, caplog):
    _, folder = gaps
    config = DataConfig(data=str(folder))
    assert (load(config).num_users, load(config).num_items) == (41, 201)
    messages = [finding.message for finding in validate(config) if finding.is_logged]
    way_out = f"'crossrec data import {folder}/x.inter --out NEW' numbers those that occur"
    assert messages == [
        f"{folder}/x.inter: 33 users have no training row (0, 1, 2, 3, 4, …); they are left out of evaluation; give "
        f"each a training row to count them; 33 of 41 have no row at all and get no lists; {way_out}",
        f"{folder}/x.inter: 190 of 201 items have no row and no feature (the first is 0); they are never recommended; "
        f"{way_out}",
    ]
    caplog.clear()
    load(config)
    assert [record.message for record in caplog.records] == messages
    import_data(folder / "x.inter", tmp_path / "new")
    dataset = load(DataConfig(data=str(tmp_path / "new")))
    assert (dataset.user_ids.to_list(), dataset.item_ids.to_list()) == (USERS, ITEMS)
    assert not [finding for finding in validate(DataConfig(data=str(tmp_path / "new"))) if "no row" in finding.message]


def test_lists_hold_items_that_exist_for_users_that_exist(gaps):
    recommender, _ = gaps
    lists = recommender.recommend(k=60)
    assert lists["user"].unique(maintain_order=True).to_list() == USERS
    assert set(lists["item"]) == set(ITEMS)
    assert lists.group_by("user").len()["len"].to_list() == [5] * len(USERS)  # without the six of all splits
    seen = recommender.recommend(k=60, exclude_seen=False)
    assert seen.group_by("user").len()["len"].to_list() == [11] * len(USERS)
    score = (recommender.vectors.user_US[5] @ recommender.vectors.item_IS.T)[ITEMS]
    best = [ITEMS[n] for n in torch.argsort(score, descending=True).tolist()]
    assert seen.filter(pl.col("user") == 5)["item"].to_list() == best
    assert set(recommender.for_history([100, 110], 60)["item"]) == set(ITEMS) - {100, 110}
    assert set(recommender.recommend([5], 60, allow=[100, 110], exclude_seen=False)["item"]) == {100, 110}
    assert set(recommender.recommend([5], 60, deny=[100], exclude_seen=False)["item"]) == set(ITEMS) - {100}
    assert set(recommender.similar([100], 60)["similar"]) < set(ITEMS)
    rows, scores = recommender.audience(recommender.vectors.item_IS[100], 60)
    assert sorted(rows[scores > -torch.inf].tolist()) == USERS


REQUESTS = {
    "user": lambda recommender: recommender.recommend([6]),
    "allow": lambda recommender: recommender.recommend([5], allow=[101]),
    "history": lambda recommender: recommender.for_history([100, 199], unknown="error"),
    "similar": lambda recommender: recommender.similar(["0"]),
    "explain": lambda recommender: recommender.explain(5, 149),
}


@pytest.mark.parametrize("request_of", REQUESTS)
def test_absent_ids_are_unknown(request_of, gaps):
    with pytest.raises(DataError, match=r"(user 6 is none of the 8 users|item .* is none of the 11 items) of this run"):
        REQUESTS[request_of](gaps[0])


def test_the_commands(gaps, tmp_path, capsys):
    run_folder = str(gaps[1].parent / "run")
    assert main(["recommend", run_folder, "--k", "60", "--out", str(tmp_path / "lists.csv")]) == 0
    lists = pl.read_csv(tmp_path / "lists.csv")
    assert (set(lists["user"]), set(lists["item"])) == (set(USERS), set(ITEMS))
    assert main(["recommend", run_folder, "--k", "3"]) == 0
    printed = [line.split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert {int(cells[1]) for cells in printed} == set(USERS)
    assert {int(cells[3]) for cells in printed} <= set(ITEMS)
    assert main(["train", "--data", str(gaps[1]), "--epochs", "1", "--out", str(tmp_path / "run")]) == 0
    assert "190 of 201 items have no row and no feature" in capsys.readouterr().err
    assert main(["recommend", run_folder, "--users", "6"]) == 2
    assert "--users 6: none of the 8 users of this run" in capsys.readouterr().err


def test_the_service(gaps):
    client = TestClient(create_app([ServedRun(gaps[1].parent / "run")], ServeConfig()), base_url="http://127.0.0.1")
    assert client.get("/v1/users", params={"limit": 100}).json()["total"] == 8
    items = client.get("/v1/items", params={"search": "1", "limit": 100}).json()
    assert sorted(item["id"] for item in items["items"]) == [id for id in ITEMS if "1" in str(id)]
    page = client.get("/v1/items", params={"offset": 4, "limit": 3}).json()
    assert [item["id"] for item in page["items"]] == ITEMS[4:7]
    best = client.post("/v1/recommend", json={"user": 5, "k": 60, "exclude_seen": False}).json()["items"]
    assert sorted(item["id"] for item in best) == ITEMS
    for user in (6, 6.0, 5.5, "5.0", " 5"):
        assert client.post("/v1/recommend", json={"user": user}).status_code == 404
    for item in (101, 100.5, "100.0"):
        assert client.post("/v1/recommend/history", json={"items": [item]}).status_code == 404
    (card,) = client.get("/v1/runs").json()["runs"]
    assert (card["users"], card["items"]) == (8, 11)


def test_rows_with_features_are_items_and_empty_rows_are_not(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "x.inter").write_text(inter(range(8), range(11)))
    features = np.random.default_rng(0).normal(size=(14, 3))
    features[[3, 12]] = 0  # item 3 has interactions
    np.save(folder / "text_feat.npy", features)
    dataset = load(DataConfig(data=str(folder)))
    assert np.flatnonzero(dataset.absent_I).tolist() == [12]
    assert not dataset.absent_U.any()
    assert [f.message for f in validate(DataConfig(data=str(folder))) if "no row" in f.message] == [
        f"{folder}/x.inter: 1 of 14 items have no row and no feature (the first is 12); they are never recommended"
    ]
    recommender = train(folder, tmp_path / "run", "lightgcn", "cross")
    assert set(recommender.recommend(k=20, exclude_seen=False)["item"]) == set(range(14)) - {12}
    assert recommender.vectors.absent_U is None

    new = tmp_path / "new"
    new.mkdir()
    (new / "items.csv").write_text("item\n12\n20\n")
    np.save(new / "text_feat.npy", np.eye(2, 3))
    assert extend(tmp_path / "run", new, tmp_path / "more").added == 2
    extended = Recommender.open(tmp_path / "more")
    assert set(extended.recommend(k=20, exclude_seen=False)["item"]) == {*range(14), 20}
    assert extended.items.row(12) == 14


def test_a_run_without_gaps_has_no_further_tensors(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "x.inter").write_text(inter(range(8), range(11)))
    train(tmp_path / "set", tmp_path / "run")
    vectors = TrainedEmbeddings.load(tmp_path / "run" / "vectors.safetensors")
    assert (vectors.absent_U, vectors.absent_I) == (None, None)
    assert b"absent" not in (tmp_path / "run" / "vectors.safetensors").read_bytes()


@pytest.mark.parametrize(("role", "user", "item"), [("userID", 999_999, 3), ("itemID", 3, 999_999)])
def test_a_table_of_absurd_size_is_refused_before_anything_is_trained(role, user, item, tmp_path):
    path = tmp_path / "x.inter"
    path.write_text(inter(range(12), range(10)) + f"{user}\t{item}\t0\n")
    occurring = "13 users" if role == "userID" else "11 items"
    with pytest.raises(DataError) as caught:
        load(DataConfig(data=str(tmp_path)))
    assert str(caught.value) == (
        f"{path}, line 74: {role} '999999' is a row index far beyond the {occurring} that occur: 1,000,000 rows, "
        f"nearly all of them empty; number the ids anew with 'crossrec data import {path} --out NEW', or save the "
        "table as .csv, where ids may be anything"
    )
    import_data(path, tmp_path / "new")
    dataset = load(DataConfig(data=str(tmp_path / "new")))
    assert (dataset.num_users, dataset.num_items) == ((13, 10) if role == "userID" else (12, 11))


def test_features_decide_how_many_items_there_are(tmp_path):
    (tmp_path / "x.inter").write_text("userID\titemID\n0\t0\n0\t149999\n")
    np.save(tmp_path / "text_feat.npy", np.ones((150_000, 1), dtype=np.float16))
    assert load(DataConfig(data=str(tmp_path), feature_scaling="none")).num_items == 150_000


def test_a_feature_file_of_absurd_size_is_refused(tmp_path):
    (tmp_path / "log.csv").write_text("user,item\na,3\nb,999999\n")
    (tmp_path / "names.csv").write_text("item,title\n3,tea\n999999,oil\n")
    with pytest.raises(DataError) as caught:
        read_items(FeaturesConfig(data=str(tmp_path / "log.csv"), items=tmp_path / "names.csv", text=("title",)))
    assert str(caught.value) == (
        f"{tmp_path}: 2 items with ids up to 999,999 would make a file of 1,000,000 rows, nearly all of them empty; "
        "put items.csv there, listing the item ids in row order"
    )


def test_a_map_with_new_ids_keeps_its_gaps():
    ids = IdMap(pl.Series("id", ["a", "b", "c"]), "item", np.array([False, True, False]))
    more = ids.extended([7, 8])
    assert more.ids.to_list() == ["a", "b", "c", "7", "8"]
    assert more.absent.tolist() == [False, True, False, False, False]
    assert [more.row(id) for id in ("a", "b", "c", "7", 8)] == [0, None, 2, 3, 4]
    assert ids.extended(["d"]).ids.to_list() == ["a", "b", "c", "d"]
    accented = IdMap(pl.Series("id", ["b", "caf\u00e9"]), "item")
    with pytest.raises(DataError, match=r"the new items: item 'cafe\\u0301' looks like 'caf\\xe9' \(the run\)"):
        accented.extended(["cafe\u0301"])


def test_an_item_of_a_log_that_stands_in_a_gap_is_none_of_the_run():
    ids = IdMap(pl.Series("id", ["a", "b", "c"]), "item", np.array([False, True, False]))
    log = InteractionLog(pl.Series(["u"]), pl.Series(["c", "b", "x", "a"]), np.array([0]), np.array([0]))
    assert item_rows(log, ids).tolist() == [2, -1, -1, 0]


def test_an_unknown_id_that_differs_in_its_spelling_is_pointed_to():
    ids = IdMap(pl.Series("id", ["Tea 1", "b"]), "item")
    assert ids.hint("tea 1") == "; did you mean 'Tea 1'?"
    assert ids.hint("coffee") == ""
    numbers = IdMap(pl.Series("id", [2**53, 1]), "item")
    assert [numbers.row(id) for id in (1.0, 1.5, float(2**53))] == [1, None, None]
