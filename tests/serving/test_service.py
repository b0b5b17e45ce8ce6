"""Responses match ``Recommender``."""

from __future__ import annotations

import asyncio

import httpx
import numpy as np
import polars as pl
import pytest
from starlette.testclient import TestClient

from crossrec.alignment import CrossConfig
from crossrec.backbones import BACKBONES
from crossrec.data import DataConfig
from crossrec.errors import ConfigError
from crossrec.recommend import Recommender
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run
from crossrec.serving import ServeConfig, ServedRun, create_app
from crossrec.serving.schemas import RecommendRequest, SimilarRequest
from crossrec.training import TrainingConfig

from .worlds import ITEM_IDS, MARKUP, NO_TEXT, RAW, TITLES, UNTOUCHED, USER_IDS, png, write_run

USER, ITEM = USER_IDS[3], ITEM_IDS[5]


def post(client: TestClient, path: str, **body) -> dict:
    answer = client.post(f"/v1/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def get(client: TestClient, path: str, **query) -> dict:
    answer = client.get(f"/v1/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ranking(answer: dict) -> list[tuple]:
    return [(item["rank"], item["id"], pytest.approx(item["score"], rel=1e-6)) for item in answer["items"]]


def rows(frame: pl.DataFrame, item: str = "item") -> list[tuple]:
    return list(frame.select("rank", item, "score").iter_rows())


@pytest.mark.parametrize("number", [1, 2])
def test_recommend(client, plain, cross, number):
    recommender = (plain, cross)[number - 1]
    answer = post(client, "recommend", user=USER, k=7, run=number)
    assert rows(recommender.recommend([USER], 7)) == ranking(answer)
    assert answer["identity"] == recommender.vectors.identity[:12]


def test_recommend_with_filters(client, plain):
    filters = {"allow": ITEM_IDS[:20], "deny": ITEM_IDS[4:6], "category": ["tea"]}
    assert rows(plain.recommend([USER], 30, **filters)) == ranking(
        post(client, "recommend", user=USER, k=30, **filters)
    )
    assert post(client, "recommend", user=USER, allow=[])["items"] == []


def test_seen_items_are_marked_with_their_split(client, plain):
    answer = post(client, "recommend", user=USER, k=len(ITEM_IDS), exclude_seen=False)
    assert rows(plain.recommend([USER], len(ITEM_IDS), exclude_seen=False)) == ranking(answer)
    marked = {item["id"]: item["seen"] for item in answer["items"] if item["seen"]}
    assert set(marked) == set(plain.seen(USER))
    assert sorted(marked.values()) == ["test"] + ["train"] * 4 + ["valid"]


def test_popular_items(client, plain):
    expected = plain.popular(7)
    assert expected["score"].to_list() == sorted(expected["score"], reverse=True)
    assert rows(expected) == ranking(post(client, "popular", k=7)) == ranking(get(client, "popular", k=7))
    filters = {"allow": ITEM_IDS[:20], "deny": ITEM_IDS[4:6], "category": ["tea"]}
    assert rows(plain.popular(30, **filters)) == ranking(post(client, "popular", k=30, **filters))
    assert rows(plain.popular(30, category="tea")) == ranking(get(client, "popular", k=30, category="tea"))
    owned = set(plain.seen(USER))
    everything = [item for item in plain.popular(len(ITEM_IDS))["item"] if item not in owned]
    assert [item["id"] for item in get(client, "popular", k=99, user=USER)["items"]] == everything
    assert len(post(client, "popular", k=99, user=USER, exclude_seen=False)["items"]) > len(everything)
    assert ranking(get(client, "popular", k=3, user="nobody")) == rows(plain.popular(3))
    assert client.get("/v1/popular", params={"k": 10**6}).status_code == 422
    assert client.get("/v1/popular", params={"run": 3}).status_code == 404


def test_whom_the_run_does_not_know_gets_what_is_popular_if_asked_for(client, plain):
    popular = rows(plain.popular(3, deny=ITEM_IDS[:9]))
    for path, body in (("recommend", {"user": "nobody"}), ("recommend/history", {"items": ["sold out"]})):
        answer = post(client, path, k=3, deny=ITEM_IDS[:9], fallback="popular", **body)
        assert (ranking(answer), answer["fallback"]) == (popular, "popular")
        assert client.post(f"/v1/{path}", json=body).status_code == 404
        assert client.post(f"/v1/{path}", json=body | {"fallback": "random"}).status_code == 422
    for path, body in (("recommend", {"user": USER}), ("recommend/history", {"items": [ITEM_IDS[3], "sold out"]})):
        answer = post(client, path, fallback="popular", **body)
        assert "fallback" not in answer
        assert ranking(answer) == ranking(post(client, path, **body))


def test_what_is_popular_follows_the_log(shop, tmp_path):
    log = tmp_path / "log.csv"
    pl.DataFrame({"user": ["a", "b", "c"], "item": [ITEM_IDS[5], ITEM_IDS[5], ITEM_IDS[8]], "time": 3 * ["2024-05-01"]}
                 ).write_csv(log)  # fmt: skip
    served = ServedRun(shop / "plain", popular_days=7, popular_log=log)
    with TestClient(create_app([served], ServeConfig()), base_url="http://localhost") as client:
        assert [(i["id"], i["score"]) for i in get(client, "popular", k=2)["items"]] == [
            (ITEM_IDS[5], 2),
            (ITEM_IDS[8], 1),
        ]
        pl.DataFrame({"user": ["a"], "item": [ITEM_IDS[3]], "time": ["2024-05-09"]}).write_csv(log)
        assert served.check()
        assert get(client, "popular", k=1)["items"][0]["id"] == ITEM_IDS[3]
        log.write_text("nothing")
        assert not served.check()
        assert get(client, "popular", k=1)["items"][0]["id"] == ITEM_IDS[3]
        assert get(client, "health")["status"] == "degraded"


def test_items_come_with_title_categories_and_picture(client):
    items = {item["id"]: item for item in post(client, "recommend", user=USER, k=99)["items"]}
    assert (items[ITEM_IDS[2]]["title"], items[ITEM_IDS[2]]["categories"]) == (TITLES[2], ["tea"])
    assert items[ITEM_IDS[2]]["picture"]
    assert not items[ITEM_IDS[4]]["picture"]
    bare = items[ITEM_IDS[UNTOUCHED]]
    assert (bare["title"], bare["categories"], bare["picture"]) == (None, [], False)


@pytest.mark.parametrize("by", ["behaviour", "image", "text"])
def test_similar(client, cross, by):
    answer = post(client, "similar", item=ITEM, k=6, by=by, run=2)
    assert rows(cross.similar([ITEM], 6, by=by), "similar") == ranking(answer)


def test_an_item_that_a_view_lacks_has_no_neighbours_there(client):
    assert post(client, "similar", item=ITEM_IDS[NO_TEXT], by="text")["items"] == []
    assert post(client, "similar", item=ITEM_IDS[UNTOUCHED])["items"] == []


@pytest.mark.parametrize("how", ["ridge", "propagation", "mean"])
def test_recommend_for_a_history(client, plain, how):
    history = [ITEM_IDS[9], ITEM_IDS[2], ITEM_IDS[9]]
    answer = post(client, "recommend/history", items=history, how=how, k=5, deny=[ITEM_IDS[1]])
    assert rows(plain.for_history(history, 5, how=how, deny=[ITEM_IDS[1]])) == ranking(answer)
    again = post(client, "recommend/history", items=history, how=how, k=40, exclude_seen=False)
    assert rows(plain.for_history(history, 40, how=how, exclude_seen=False)) == ranking(again)


def matches(answer: dict, explanation: dict) -> bool:
    """Equal except for the last digits of sums, which depend on the memory alignment of the vectors."""
    return answer.keys() - explanation.keys() == {"identity"} and all(
        answer[name] == pytest.approx(value, rel=1e-5, abs=1e-6) for name, value in explanation.items()
    )


@pytest.mark.parametrize("number", [1, 2])
def test_explain(client, plain, cross, number):
    recommender = (plain, cross)[number - 1]
    answer = post(client, "explain", user=USER, item=ITEM, run=number)
    assert matches(answer, recommender.explain(USER, ITEM))
    assert bool(answer["parts"]) == (number == 1)
    assert bool(answer["aligned"]) == (number == 2)
    history = [ITEM_IDS[1], ITEM_IDS[2]]
    answer = post(client, "explain", history=history, item=ITEM, run=number)
    assert matches(answer, recommender.explain_history(history, ITEM))


@pytest.mark.parametrize("how", ["neighbors", "ridge"])
def test_new_item(client, cross, how):
    features = {m: np.linspace(-1, 2, width).tolist() for m, width in RAW.items()}
    answer = post(client, "new-item", features=features, how=how, k=4, run=2)
    vector = cross.item_from_features(features, how)
    # sums of float32, of either sign and up to 2, depend on where tensors lie in memory
    assert answer["vector"] == pytest.approx(vector.tolist(), abs=1e-6)
    extended = cross.with_items(["new"], {m: [row] for m, row in features.items()}, how)
    assert rows(extended.similar(["new"], 4), "similar") == ranking(answer)
    scores = (cross.vectors.user_US @ vector).topk(4)
    assert [user["id"] for user in answer["users"]] == [USER_IDS[row] for row in scores.indices.tolist()]
    assert [user["score"] for user in answer["users"]] == pytest.approx(scores.values.tolist(), rel=1e-5)


def test_search(client):
    users = get(client, "users", search="ANN/1", limit=3)
    assert users["total"] == 11
    assert [user["id"] for user in users["users"]] == ["ann/1", "ann/10", "ann/11"]
    assert users["users"][0]["taken"] == 6
    assert [user["id"] for user in get(client, "users", offset=28)["users"]] == USER_IDS[28:]
    assert get(client, "users", offset=10**9)["users"] == []
    items = get(client, "items", search='pot "7"')
    assert (items["total"], items["items"][0]["id"]) == (1, ITEM_IDS[7])
    assert [item["id"] for item in get(client, "items", search=f"{ITEM_IDS[12]}", limit=1)["items"]] == [ITEM_IDS[12]]
    assert get(client, "items", search="no such thing") | {"identity": ""} == {
        "identity": "",
        "total": 0,
        "items": [],
    }


def test_a_user(client, plain):
    answer = get(client, "user", user=MARKUP)
    assert (answer["id"], answer["taken"]) == (MARKUP, 6)
    assert [item["id"] for item in answer["history"]] == plain.seen(MARKUP)
    assert [item["seen"] for item in answer["history"]] == [*["train"] * 4, "valid", "test"]


def test_an_item(client, plain):
    answer = get(client, "item", item=ITEM_IDS[NO_TEXT])
    assert answer["item"]["title"] == TITLES[NO_TEXT]
    assert answer["details"] == {"price": f"{NO_TEXT} €"}
    assert answer["taken"] == int(plain.vectors.degree_I[NO_TEXT]) > 0
    assert answer["views"] == ["behaviour", "image"]
    scores = (plain.vectors.user_US @ plain.vectors.item_IS[NO_TEXT]).tolist()
    item_users = {user for user in USER_IDS if ITEM_IDS[NO_TEXT] in plain.seen(user)}
    ranked = sorted((user for user in USER_IDS if user not in item_users), key=lambda u: -scores[USER_IDS.index(u)])
    assert [user["id"] for user in answer["users"]] == ranked[:10]
    bare = get(client, "item", item=ITEM_IDS[UNTOUCHED])
    assert (bare["views"], bare["users"], bare["details"], bare["taken"]) == (["image", "text"], [], {}, 0)


def test_a_picture(client):
    answer = client.get("/v1/picture", params={"item": ITEM_IDS[1]})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content == png(255, 120, 0)
    assert client.get("/v1/picture", params={"item": ITEM_IDS[4]}).status_code == 404


def test_the_model_cards(client):
    first, second = get(client, "runs")["runs"]
    assert (first["label"], second["label"]) == ("vbpr", "lightgcn+cross")
    assert second["metrics"]["test"]["recall@20"] == 0.27
    assert second["modalities"] == {"image": 40, "text": 39}
    assert second["interactions"] == {"train": 120, "valid": 30, "test": 30}
    assert second["config"]["data"] == {"data": "the data"}
    assert second["versions"] == {"crossrec": "0.1.0"}
    assert second["made"].endswith("Z")
    assert second["categories"] == ["pots & <i>pans</i>", "tea"]
    assert (first["epochs"], first["best_epoch"], first["dimension"], first["pictures"]) == (9, 7, 8, True)


def test_health(client):
    health = get(client, "health")
    assert health["status"] == "ok"
    assert [(run["label"], run["swaps"], run["refused"]) for run in health["runs"]] == [
        ("vbpr", 0, None),
        ("lightgcn+cross", 0, None),
    ]
    assert get(client, "health/live") == {"live": True}
    assert get(client, "health/ready") == {"ready": True}


def test_the_openapi_description_has_every_path_and_error(client):
    description = client.get("/v1/openapi.json").json()
    assert set(description["paths"]) == {
        *(
            "/v1/feedback",
            "/v1/lists",
            "/v1/list",
            "/v1/recommend",
            "/v1/recommend/history",
            "/v1/popular",
            "/v1/similar",
            "/v1/explain",
            "/v1/new-item",
        ),
        *("/v1/users", "/v1/items", "/v1/user", "/v1/item", "/v1/picture"),
        *("/v1/runs", "/v1/health", "/v1/health/live", "/v1/health/ready"),
    }
    recommend = description["paths"]["/v1/recommend"]["post"]
    assert {"200", "401", "404", "413", "422", "429", "503"} <= set(recommend["responses"])
    assert recommend["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/ItemListResponse")
    assert "ValidationError" not in description["components"]["schemas"]


def test_a_batch_is_answered_like_single_requests(served_runs):
    service = served_runs[0].current
    for filters in ({}, {"deny": [ITEM_IDS[3]]}):
        requests = [
            RecommendRequest(user=user, k=k, exclude_seen=k % 2 == 0, **filters) for k, user in enumerate(USER_IDS, 1)
        ]
        responses = service.recommend(requests)
        assert [len(response["items"]) for response in responses[:9]] == list(range(1, 10))
        assert [service.recommend([request])[0] for request in requests] == responses
    for by in ("text", "behaviour"):
        requests = [SimilarRequest(item=item, k=k, by=by) for k, item in enumerate(ITEM_IDS[:5], 1)]
        responses = service.similar([*requests, SimilarRequest(item=ITEM, k=3, by=by)])
        assert [service.similar([request])[0] for request in requests] == responses[:-1]
        assert len(responses[-1]["items"]) == 3


def test_invalid_requests_do_not_fail_others(served_runs):
    app = create_app(served_runs, ServeConfig(rate=0, threads=1))
    bodies = [("recommend", {"user": user}) for user in USER_IDS[:5]]
    bodies += [("recommend", {"user": "nobody"}), ("recommend", {"user": MARKUP, "allow": ["x"]})]
    bodies += [("recommend", {"user": USER_IDS[0], "deny": [ITEM_IDS[3]]}), ("similar", {"item": ITEM})]
    bodies += [("similar", {"item": "nothing"}), ("similar", {"item": ITEM, "by": "smell"})]

    async def crowd() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await asyncio.gather(*(client.post(f"/v1/{path}", json=body) for path, body in bodies * 3))

    answers = asyncio.run(crowd())
    assert [answer.status_code for answer in answers] == [*[200] * 5, 404, 422, 200, 200, 404, 422] * 3
    client = TestClient(app, base_url="http://localhost")
    assert [answer.json() for answer in answers] == [client.post(f"/v1/{p}", json=b).json() for p, b in bodies] * 3


@pytest.mark.parametrize(
    ("users", "response_id", "request_ids"),
    [
        (list(range(30)), 7, [7, "7", 7.0]),
        ([2**53 + n for n in range(30)], str(2**53 + 7), [2**53 + 7, str(2**53 + 7)]),
        ([n / 2 for n in range(30)], "3.5", [3.5, "3.5"]),
    ],
    ids=["small", "larger than JSON keeps", "fractions"],
)
def test_numeric_ids(tmp_path, users, response_id, request_ids):
    served_run = ServedRun(write_run(tmp_path / "run", users=users))
    client = TestClient(create_app([served_run], ServeConfig()), base_url="http://127.0.0.1")
    assert get(client, "users", offset=7, limit=1)["users"][0]["id"] == response_id
    lists = [post(client, "recommend", user=id)["items"] for id in request_ids]
    assert all(items == lists[0] for items in lists)
    assert get(client, "user", user=str(response_id))["id"] == response_id


def test_without_table_or_pictures(tmp_path):
    served_run = ServedRun(write_run(tmp_path / "run"))
    client = TestClient(create_app([served_run], ServeConfig()), base_url="http://localhost")
    item = get(client, "item", item=ITEM)
    assert (item["item"]["title"], item["item"]["picture"], item["details"]) == (None, False, {})
    assert get(client, "items", search="tea, 5 ")["items"][0]["id"] == ITEM
    answer = client.post("/v1/recommend", json={"user": USER, "category": ["tea"]})
    assert answer.status_code == 422
    assert "category" in answer.json()["error"]


def test_a_trained_run(tmp_path):
    data = DataConfig(data="synthetic-tiny")
    backbone = BACKBONES["lightgcn"].config_type(dim=8)
    training = TrainingConfig(epochs=1, batch_size=128, device="cpu")
    config = RunConfig(data=data, backbone=backbone, alignment=CrossConfig(prototypes_itv=8), training=training)
    metrics = run(config, tmp_path / "run")
    client = TestClient(create_app([ServedRun(tmp_path / "run")], ServeConfig()), base_url="http://localhost")
    card = get(client, "runs")["runs"][0]
    assert card["metrics"] == {split: metrics[split] for split in ("valid", "test")}
    assert card["versions"] == metrics["versions"]
    assert RunConfig.parse(card["config"]) == config
    expected = Recommender.open(tmp_path / "run").recommend([7], 5)
    assert rows(expected) == ranking(post(client, "recommend", user=7, k=5))


def test_the_row_functions_of_the_recommender(plain: Recommender):
    row = int(plain.items.rows([ITEM])[0])
    user_rows = plain.users_of(ITEM)
    assert [USER_IDS[n] for n in user_rows] == [user for user in USER_IDS if ITEM in plain.seen(user)]
    users, scores = plain.audience(plain.vectors.item_IS[row], len(USER_IDS), user_rows)
    is_user = scores > -np.inf
    assert set(users[is_user].tolist()) == set(range(len(USER_IDS))) - set(user_rows.tolist())
    items, cosines = plain.like(plain.vectors.item_IS[row], 3)
    assert (int(items[0]), float(cosines[0])) == (row, pytest.approx(1))
    assert [ITEM_IDS[n] for n in items[1:]] == plain.similar([ITEM], 2)["similar"].to_list()


def test_unknown_items_are_ignored_and_counted(client, plain):
    answer = post(client, "recommend", user=USER, k=5, deny=[ITEM, "sold out", "gone"], allow=[*ITEM_IDS[:9], "x"])
    assert ranking(answer) == rows(plain.recommend([USER], 5, deny=[ITEM], allow=ITEM_IDS[:9]))
    assert answer["ignored"] == 3
    answer = post(client, "recommend/history", items=[ITEM, "x"], k=5, deny=["y"])
    assert (ranking(answer), answer["ignored"]) == (rows(plain.for_history([ITEM], 5)), 2)
    explained = [post(client, "explain", history=history, item=ITEM_IDS[1]) for history in ([ITEM], ["x", ITEM])]
    assert explained[0] == explained[1]
    assert post(client, "recommend", user=USER)["ignored"] == 0


def test_filters_that_leave_no_item_are_told(client):
    for path, request in (("recommend", {"user": USER}), ("recommend/history", {"items": [ITEM]}), ("popular", {})):
        answer = post(client, path, allow=[ITEM], deny=[ITEM], **request)
        assert (answer["items"], answer["warning"][:30]) == ([], "no item of the run is left by ")
        assert post(client, path, deny=[ITEM], **request)["warning"] is None


def test_lists_of_any_length_are_uploaded_once(client_of, plain):
    client = client_of(max_ids=3)
    ids = [*ITEM_IDS[:20], *(f"gone {n}" for n in range(5))]
    assert client.put("/v1/list?name=in-stock", json={"ids": ids}).json() == {"lists": {"in-stock": 25}}
    client.put("/v1/list?name=sale", json={"ids": ITEM_IDS[:5]})
    expected = rows(plain.recommend([USER], 40, allow=ITEM_IDS[5:20]))
    for _ in range(2):
        assert ranking(post(client, "recommend", user=USER, k=40, allow_list="in-stock", deny_list="sale")) == expected
    answer = post(client, "recommend", user=USER, k=40, allow_list="in-stock", deny=ITEM_IDS[5:6])
    assert ranking(answer) == rows(plain.recommend([USER], 40, allow=[*ITEM_IDS[:5], *ITEM_IDS[6:20]]))
    client.put("/v1/list?name=sale", json={"ids": ITEM_IDS[:7]})  # a list that is replaced counts at once
    expected = rows(plain.recommend([USER], 40, allow=ITEM_IDS[7:20]))
    assert ranking(post(client, "recommend", user=USER, k=40, allow_list="in-stock", deny_list="sale")) == expected
    answer = post(client, "recommend/history", items=[ITEM], k=40, allow_list="in-stock")
    assert ranking(answer) == rows(plain.for_history([ITEM], 40, allow=ITEM_IDS[:20]))
    assert get(client, "lists") == {"lists": {"in-stock": 25, "sale": 7}}
    assert client.delete("/v1/list?name=sale").json() == {"lists": {"in-stock": 25}}
    for path, body in (("recommend", {"user": USER}), ("recommend/history", {"items": [ITEM]})):
        answer = client.post(f"/v1/{path}", json={**body, "deny_list": "sale"})
        assert answer.status_code == 422
        assert answer.json()["error"] == "no list 'sale'; upload it with PUT /v1/list?name=sale"
    assert client.put("/v1/list?name=a b", json={"ids": []}).status_code == 422
    assert client.delete("/v1/list?name=sale").status_code == 422
    for n in range(99):
        client.put(f"/v1/list?name={n}", json={"ids": []})
    assert client.put("/v1/list?name=more", json={"ids": []}).status_code == 422
    assert client.put("/v1/list?name=5", json={"ids": ITEM_IDS}).json()["lists"]["5"] == len(ITEM_IDS)


def test_the_server_offers_what_meets_its_condition(shop, tmp_path):
    table = tmp_path / "stock.csv"
    pl.DataFrame({"item": ITEM_IDS, "stock": [n % 3 for n in range(len(ITEM_IDS))]}).write_csv(table)
    served_run = ServedRun(shop / "plain", table, where="stock > 0")
    client = TestClient(create_app([served_run], ServeConfig(rate=0)), base_url="http://localhost")
    recommender = Recommender.open(shop / "plain")

    def agree() -> bool:
        expected = rows(recommender.recommend([USER], 40, allow=in_stock))
        return ranking(post(client, "recommend", user=USER, k=40)) == expected

    in_stock = [id for n, id in enumerate(ITEM_IDS) if n % 3]
    assert agree()
    answer = post(client, "recommend/history", items=[ITEM], k=40, allow=in_stock[:4] + ITEM_IDS[:1])
    assert ranking(answer) == rows(recommender.for_history([ITEM], 40, allow=in_stock[:4]))
    pl.DataFrame({"item": ITEM_IDS, "stock": [n % 5 for n in range(len(ITEM_IDS))]}).write_csv(table)
    assert served_run.check()
    in_stock = [id for n, id in enumerate(ITEM_IDS) if n % 5]
    assert agree()
    table.write_text("item,price\n" + "\n".join(f"{id},1" for id in ITEM_IDS))
    assert not served_run.check()  # without the column the table before goes on
    assert agree()
    with pytest.raises(ConfigError, match="where needs the table of items"):
        ServedRun(shop / "plain", where="stock > 0")
