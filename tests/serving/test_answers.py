"""The service says what ``Recommender`` says."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from starlette.testclient import TestClient

from crossrec.alignment import CrossConfig
from crossrec.backbones import BACKBONES
from crossrec.data import DataConfig
from crossrec.recommend import Recommender
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run
from crossrec.serving import ServeConfig, Slot, create_app
from crossrec.serving.schemas import ForUser, Similar
from crossrec.training import TrainingConfig

from .worlds import EVIL, ITEM_IDS, NO_TEXT, RAW, TITLES, UNTOUCHED, USER_IDS, a_png, a_run

SOMEBODY, SOMETHING = USER_IDS[3], ITEM_IDS[5]


def asked(client: TestClient, path: str, **body) -> dict:
    answer = client.post(f"/v1/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def looked_up(client: TestClient, path: str, **query) -> dict:
    answer = client.get(f"/v1/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def listed(answer: dict) -> list[tuple]:
    return [(item["rank"], item["id"], pytest.approx(item["score"], rel=1e-6)) for item in answer["items"]]


def rows(frame: pl.DataFrame, item: str = "item") -> list[tuple]:
    return list(frame.select("rank", item, "score").iter_rows())


@pytest.mark.parametrize("place", [1, 2])
def test_recommend(client, plain, cross, place):
    recommender = (plain, cross)[place - 1]
    answer = asked(client, "recommend", user=SOMEBODY, k=7, run=place)
    assert rows(recommender.recommend([SOMEBODY], 7)) == listed(answer)
    assert answer["identity"] == recommender.vectors.identity[:12]


def test_recommend_with_filters(client, plain):
    filters = {"allow": ITEM_IDS[:20], "deny": ITEM_IDS[4:6], "category": ["tea"]}
    assert rows(plain.recommend([SOMEBODY], 30, **filters)) == listed(
        asked(client, "recommend", user=SOMEBODY, k=30, **filters)
    )
    assert asked(client, "recommend", user=SOMEBODY, allow=[])["items"] == []


def test_seen_items_are_marked_with_their_split(client, plain):
    answer = asked(client, "recommend", user=SOMEBODY, k=len(ITEM_IDS), exclude_seen=False)
    assert rows(plain.recommend([SOMEBODY], len(ITEM_IDS), exclude_seen=False)) == listed(answer)
    marked = {item["id"]: item["seen"] for item in answer["items"] if item["seen"]}
    assert set(marked) == set(plain.seen(SOMEBODY))
    assert sorted(marked.values()) == ["train"] * 5 + ["valid"]


def test_items_come_with_title_categories_and_picture(client):
    items = {item["id"]: item for item in asked(client, "recommend", user=SOMEBODY, k=99)["items"]}
    assert (items[ITEM_IDS[2]]["title"], items[ITEM_IDS[2]]["categories"]) == (TITLES[2], ["tea"])
    assert items[ITEM_IDS[2]]["picture"]
    assert not items[ITEM_IDS[4]]["picture"]
    bare = items[ITEM_IDS[UNTOUCHED]]
    assert (bare["title"], bare["categories"], bare["picture"]) == (None, [], False)


@pytest.mark.parametrize("by", ["behaviour", "image", "text"])
def test_similar(client, cross, by):
    answer = asked(client, "similar", item=SOMETHING, k=6, by=by, run=2)
    assert rows(cross.similar([SOMETHING], 6, by=by), "similar") == listed(answer)


def test_an_item_without_a_view_has_no_list_there(client):
    assert asked(client, "similar", item=ITEM_IDS[NO_TEXT], by="text")["items"] == []
    assert asked(client, "similar", item=ITEM_IDS[UNTOUCHED])["items"] == []


@pytest.mark.parametrize("how", ["ridge", "propagation", "mean"])
def test_history(client, plain, how):
    history = [ITEM_IDS[9], ITEM_IDS[2], ITEM_IDS[9]]
    answer = asked(client, "recommend/history", items=history, how=how, k=5, deny=[ITEM_IDS[1]])
    assert rows(plain.for_history(history, 5, how=how, deny=[ITEM_IDS[1]])) == listed(answer)
    again = asked(client, "recommend/history", items=history, how=how, k=40, exclude_seen=False)
    assert rows(plain.for_history(history, 40, how=how, exclude_seen=False)) == listed(again)


def same(answer: dict, explanation: dict) -> bool:
    """But for the last digits of sums, which depend on where in memory the vectors lie."""
    return answer.keys() - explanation.keys() == {"identity"} and all(
        answer[name] == pytest.approx(value, rel=1e-5, abs=1e-6) for name, value in explanation.items()
    )


@pytest.mark.parametrize("place", [1, 2])
def test_explain(client, plain, cross, place):
    recommender = (plain, cross)[place - 1]
    answer = asked(client, "explain", user=SOMEBODY, item=SOMETHING, run=place)
    assert same(answer, recommender.explain(SOMEBODY, SOMETHING))
    assert bool(answer["parts"]) == (place == 1)
    assert bool(answer["aligned"]) == (place == 2)
    history = [ITEM_IDS[1], ITEM_IDS[2]]
    answer = asked(client, "explain", history=history, item=SOMETHING, run=place)
    assert same(answer, recommender.explain_history(history, SOMETHING))


@pytest.mark.parametrize("how", ["neighbors", "ridge"])
def test_an_item_by_its_features(client, cross, how):
    features = {m: np.linspace(-1, 2, width).tolist() for m, width in RAW.items()}
    answer = asked(client, "new-item", features=features, how=how, k=4, run=2)
    vector = cross.item_from_features(features, how)
    assert answer["vector"] == vector.tolist()
    more = cross.with_items(["new"], {m: [row] for m, row in features.items()}, how)
    assert rows(more.similar(["new"], 4), "similar") == listed(answer)
    scores = (cross.vectors.user_US @ vector).topk(4)
    assert [fan["id"] for fan in answer["users"]] == [USER_IDS[row] for row in scores.indices.tolist()]
    assert [fan["score"] for fan in answer["users"]] == pytest.approx(scores.values.tolist(), rel=1e-5)


def test_users_and_items_are_found_by_words(client):
    users = looked_up(client, "users", search="ANN/1", limit=3)
    assert users["total"] == 11
    assert [user["id"] for user in users["users"]] == ["ann/1", "ann/10", "ann/11"]
    assert users["users"][0]["taken"] == 6
    assert [user["id"] for user in looked_up(client, "users", offset=28)["users"]] == USER_IDS[28:]
    assert looked_up(client, "users", offset=10**9)["users"] == []
    items = looked_up(client, "items", search='pot "7"')
    assert (items["total"], items["items"][0]["id"]) == (1, ITEM_IDS[7])
    assert [item["id"] for item in looked_up(client, "items", search=f"{ITEM_IDS[12]}", limit=1)["items"]] == [
        ITEM_IDS[12]
    ]
    assert looked_up(client, "items", search="no such thing") | {"identity": ""} == {
        "identity": "",
        "total": 0,
        "items": [],
    }


def test_a_user(client, plain):
    answer = looked_up(client, "user", user=EVIL)
    assert (answer["id"], answer["taken"]) == (EVIL, 6)
    assert [item["id"] for item in answer["history"]] == plain.seen(EVIL)
    assert [item["seen"] for item in answer["history"]].count("valid") == 1


def test_an_item(client, plain):
    answer = looked_up(client, "item", item=ITEM_IDS[NO_TEXT])
    assert answer["item"]["title"] == TITLES[NO_TEXT]
    assert answer["details"] == {"price": f"{NO_TEXT} €"}
    assert answer["taken"] == int(plain.vectors.degree_I[NO_TEXT]) > 0
    assert answer["views"] == ["behaviour", "image"]
    scores = (plain.vectors.user_US @ plain.vectors.item_IS[NO_TEXT]).tolist()
    takers = {user for user in USER_IDS if ITEM_IDS[NO_TEXT] in plain.seen(user)}
    ranked = sorted((user for user in USER_IDS if user not in takers), key=lambda u: -scores[USER_IDS.index(u)])
    assert [fan["id"] for fan in answer["users"]] == ranked[:10]
    bare = looked_up(client, "item", item=ITEM_IDS[UNTOUCHED])
    assert (bare["views"], bare["users"], bare["details"], bare["taken"]) == (["image", "text"], [], {}, 0)


def test_a_picture(client):
    answer = client.get("/v1/picture", params={"item": ITEM_IDS[1]})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content == a_png(255, 120, 0)
    assert client.get("/v1/picture", params={"item": ITEM_IDS[4]}).status_code == 404


def test_the_cards(client):
    told = looked_up(client, "runs")
    first, second = told["runs"]
    assert (first["label"], second["label"]) == ("vbpr", "lightgcn+cross")
    assert second["metrics"]["test"]["recall@20"] == 0.27
    assert second["modalities"] == {"image": 40, "text": 39}
    assert second["interactions"] == {"train": 150, "valid": 30}
    assert second["config"]["data"] == {"data": "the data"}
    assert second["versions"] == {"crossrec": "0.1.0"}
    assert second["made"].endswith("Z")
    assert second["categories"] == ["pots & <i>pans</i>", "tea"]
    assert (first["epochs"], first["best_epoch"], first["dimension"], first["pictures"]) == (9, 7, 8, True)


def test_health(client):
    told = looked_up(client, "health")
    assert told["status"] == "ok"
    assert [(run["label"], run["swaps"], run["refused"]) for run in told["runs"]] == [
        ("vbpr", 0, None),
        ("lightgcn+cross", 0, None),
    ]
    assert looked_up(client, "health/live") == {"live": True}
    assert looked_up(client, "health/ready") == {"ready": True}


def test_the_description_names_every_path_and_what_can_go_wrong(client):
    told = client.get("/v1/openapi.json").json()
    assert set(told["paths"]) == {
        *("/v1/recommend", "/v1/recommend/history", "/v1/similar", "/v1/explain", "/v1/new-item"),
        *("/v1/users", "/v1/items", "/v1/user", "/v1/item", "/v1/picture"),
        *("/v1/runs", "/v1/health", "/v1/health/live", "/v1/health/ready"),
    }
    recommend = told["paths"]["/v1/recommend"]["post"]
    assert {"200", "401", "404", "413", "422", "429", "503"} <= set(recommend["responses"])
    assert recommend["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/Items")
    assert "ValidationError" not in told["components"]["schemas"]


def test_many_questions_at_once_are_answered_like_one(slots):
    answers = slots[0].current.answers
    questions = [ForUser(user=user, k=k, exclude_seen=k % 2 == 0) for k, user in enumerate(USER_IDS[:9], 1)]
    questions += [ForUser(user="nobody"), ForUser(user=USER_IDS[0], deny=[ITEM_IDS[3]]), ForUser(user=EVIL, deny=["x"])]
    together = answers.recommended(questions)
    for question, answer in zip(questions, together, strict=True):
        alone = answers.recommended([question])[0]
        assert str(alone) == str(answer)
    assert [type(answer).__name__ for answer in together[9:]] == ["UnknownError", "dict", "DataError"]
    neighbours = [
        Similar(item=item, k=k, by=by) for k, item in enumerate(ITEM_IDS[:5], 1) for by in ("text", "behaviour")
    ]
    neighbours += [Similar(item="nothing"), Similar(item=SOMETHING, by="smell"), Similar(item=SOMETHING, k=3)]
    together = answers.similar(neighbours)
    assert [str(answers.similar([one])[0]) for one in neighbours] == [str(answer) for answer in together]
    assert len(together[-1]["items"]) == 3


@pytest.mark.parametrize(
    ("users", "told", "asked_for"),
    [
        (list(range(30)), 7, [7, "7", 7.0]),
        ([2**53 + n for n in range(30)], str(2**53 + 7), [2**53 + 7, str(2**53 + 7)]),
        ([n / 2 for n in range(30)], "3.5", [3.5, "3.5"]),
    ],
    ids=["small", "larger than JSON keeps", "fractions"],
)
def test_ids_that_are_numbers(tmp_path, users, told, asked_for):
    slot = Slot(a_run(tmp_path / "run", users=users))
    client = TestClient(create_app([slot], ServeConfig()), base_url="http://127.0.0.1")
    assert looked_up(client, "users", offset=7, limit=1)["users"][0]["id"] == told
    lists = [asked(client, "recommend", user=one)["items"] for one in asked_for]
    assert all(one == lists[0] for one in lists)
    assert looked_up(client, "user", user=str(told))["id"] == told


def test_without_table_or_pictures(tmp_path):
    slot = Slot(a_run(tmp_path / "run"))
    client = TestClient(create_app([slot], ServeConfig()), base_url="http://localhost")
    item = looked_up(client, "item", item=SOMETHING)
    assert (item["item"]["title"], item["item"]["picture"], item["details"]) == (None, False, {})
    assert looked_up(client, "items", search="tea, 5 ")["items"][0]["id"] == SOMETHING
    answer = client.post("/v1/recommend", json={"user": SOMEBODY, "category": ["tea"]})
    assert answer.status_code == 422
    assert "category" in answer.json()["error"]


def test_a_run_as_it_is_trained(tmp_path):
    data = DataConfig(data="synthetic-tiny")
    backbone = BACKBONES["lightgcn"].config_type(dim=8)
    training = TrainingConfig(epochs=1, batch_size=128, device="cpu")
    config = RunConfig(data=data, backbone=backbone, alignment=CrossConfig(prototypes_itv=8), training=training)
    metrics = run(config, tmp_path / "run")
    client = TestClient(create_app([Slot(tmp_path / "run")], ServeConfig()), base_url="http://localhost")
    card = looked_up(client, "runs")["runs"][0]
    assert card["metrics"] == {split: metrics[split] for split in ("valid", "test")}
    assert card["versions"] == metrics["versions"]
    assert RunConfig.parse(card["config"]) == config
    expected = Recommender.open(tmp_path / "run").recommend([7], 5)
    assert rows(expected) == listed(asked(client, "recommend", user=7, k=5))


def test_the_row_functions_of_the_recommender(plain: Recommender):
    row = int(plain.items.rows([SOMETHING])[0])
    takers = plain.users_of(SOMETHING)
    assert [USER_IDS[n] for n in takers] == [user for user in USER_IDS if SOMETHING in plain.seen(user)]
    users, scores = plain.audience(plain.vectors.item_IS[row], len(USER_IDS), takers)
    there = scores > -np.inf
    assert set(users[there].tolist()) == set(range(len(USER_IDS))) - set(takers.tolist())
    items, cosines = plain.like(plain.vectors.item_IS[row], 3)
    assert (int(items[0]), float(cosines[0])) == (row, pytest.approx(1))
    assert [ITEM_IDS[n] for n in items[1:]] == plain.similar([SOMETHING], 2)["similar"].to_list()
