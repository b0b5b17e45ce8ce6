"""Everybody in a log gets a list: by a trained vector, by their history, or what is popular."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.shop import shop_log

from crossrec.cli import main
from crossrec.data import ImportConfig, import_data
from crossrec.errors import CrossrecError
from crossrec.recommend import LogConfig, Recommender, bulk_lists
from crossrec.recommend.event_log import Popularity
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run

DAYS = 14


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder with the log of a shop and a run that has learnt it, but for people with fewer than five purchases."""
    folder = tmp_path_factory.mktemp("shop")
    log = shop_log()
    log.write_csv(folder / "log.csv")
    import_data(folder / "log.csv", folder / "data", ImportConfig(min_user_interactions=5, split="time"))
    settings = {
        "data": {"data": str(folder / "data")},
        "backbone": {"name": "lightgcn", "dim": 8, "learning_rate": 0.02},
        "alignment": {"name": "none"},
        "training": {"epochs": 3, "batch_size": 128, "device": "cpu"},
        "refit": True,
    }
    run(RunConfig.parse(settings), folder / "run")
    return folder


@pytest.fixture(scope="module")
def log():
    return shop_log()


@pytest.fixture(scope="module")
def recommender(shop):
    return Recommender.open(shop / "run")


def items_of_people(log):
    return {user: set(items) for user, items in log.group_by("customer_id").agg("product_id").iter_rows()}


def popular_by_hand(log, run_log, days, k, hidden=()):
    """(item, people in the latest days) of the k most popular items, by a slow loop."""
    last = dt.datetime.fromisoformat(log["time"].max())
    rows = [row for row in log.iter_rows() if last - dt.datetime.fromisoformat(row[2]) <= dt.timedelta(days=days)]
    people = {item: len({u for u, i, _ in rows if i == item}) for item in log["product_id"].unique()}
    before = {item: len({u for u, i, _ in run_log.iter_rows() if i == item}) for item in people}
    order = sorted((item for item in people if item not in hidden), key=lambda i: (-people[i], -before[i], i))
    return [(item, people[item]) for item in order if people[item] + before[item]][:k]


def test_everybody_in_a_log_gets_a_list_without_what_they_have(shop, log, recommender, tmp_path, capsys):
    out = tmp_path / "lists.parquet"
    flags = ("--histories", shop / "log.csv", "--fallback", "popular", "--popular-days", DAYS, "--k", 5, "--out", out)
    assert main(["recommend", str(shop / "run"), *map(str, flags)]) == 0
    lists, owned = pl.read_parquet(out), items_of_people(log)
    assert lists.columns == ["user", "rank", "item", "score", "source"]
    assert lists["user"].unique(maintain_order=True).to_list() == sorted(owned)
    assert lists.group_by("user").len()["len"].unique().to_list() == [5]
    assert not [row for row in lists.iter_rows() if row[2] in owned[row[0]]]
    trained, folded = (lists.filter(source=source)["user"].unique().to_list() for source in ("trained", "history"))
    assert set(trained) == set(recommender.users.ids)
    assert set(folded) == {user for user in owned if user not in set(trained)}
    printed = capsys.readouterr().out.replace("\n", " ")
    assert f"{len(owned)} people get lists: {len(trained)} by their trained vectors; {len(folded)} by their" in printed

    of_trained = lists.filter(source="trained").drop("source")
    assert of_trained.equals(recommender.recommend(sorted(trained), 5))
    for user in folded[:4]:
        mine, expected = lists.filter(user=user), recommender.for_history(sorted(owned[user]), 5)
        assert mine["item"].to_list() == expected["item"].to_list()
        assert mine["score"].to_numpy() == pytest.approx(expected["score"].to_numpy(), abs=1e-5)


def test_diversity_counts_for_people_of_the_run_and_others(shop, log, recommender):
    lists = recommender.for_histories(shop / "log.csv", 5, diversity=0.5)
    trained = lists.filter(source="trained")["user"].unique().sort().to_list()
    expected = recommender.recommend(trained, 5, diversity=0.5)
    assert lists.filter(source="trained").drop("source").equals(expected)
    assert not expected.equals(recommender.recommend(trained, 5))
    folded = lists.filter(source="history")["user"][0]
    of_history = recommender.for_history(sorted(items_of_people(log)[folded]), 5, diversity=0.5)
    assert lists.filter(user=folded)["item"].to_list() == of_history["item"].to_list()


def test_people_without_a_usable_history_get_what_is_popular(shop, log, recommender, caplog):
    run_log = log.join(recommender.users.ids.rename("customer_id").to_frame(), on="customer_id")
    expected, customer = popular_by_hand(log, run_log, DAYS, 6), recommender.users.ids[0]
    frame = pl.DataFrame({"user": ["x", "x", "y", customer], "item": ["sold out", "p0003", "sold out", "gone"]})
    options = {"fallback": "popular", "popular_days": DAYS, "popular_log": shop / "log.csv"}
    lists = recommender.for_histories(frame, 6, **options)
    sources = dict(lists.select("user", "source").unique().iter_rows())
    assert sources == {"x": "history", "y": "popular", customer: "trained"}
    assert lists.filter(user="y").select("item", "score").rows() == expected
    assert lists.filter(user=customer).drop("source").equals(recommender.recommend([customer], 6))
    assert lists.filter(user="x")["item"].to_list() == recommender.for_history(["p0003"], 6)["item"].to_list()
    assert "histories: 2 items in 3 rows are none of the run, such as gone; they are left out" in caplog.messages
    without = recommender.for_histories(frame, 6)
    assert set(without["user"]) == {"x", customer}
    with pytest.raises(CrossrecError, match="2 items in 3 rows are none of the run"):
        recommender.for_histories(frame, unknown="error")


def test_popular_items(shop, log, recommender):
    run_log = log.join(recommender.users.ids.rename("customer_id").to_frame(), on="customer_id")
    for days in (1, DAYS):
        popular = recommender.popular(8, days=days, log=shop / "log.csv")
        assert popular.columns == ["rank", "item", "score"]
        assert popular.select("item", "score").rows() == popular_by_hand(log, run_log, days, 8)
    imported = run_log.unique(["customer_id", "product_id"], keep="first", maintain_order=True)
    of_run = popular_by_hand(imported, imported, DAYS, 60)
    assert recommender.popular(8, days=DAYS).select("item", "score").rows() == of_run[:8]  # the data set of the run
    at_all_times = popular_by_hand(run_log, run_log, 1000, 60)
    assert recommender.popular(8).select("item", "score").rows() == at_all_times[:8]
    deny = [item for item, _ in at_all_times[:3]]
    assert recommender.popular(4, deny=deny)["item"].to_list() == [item for item, _ in at_all_times[3:7]]


def test_what_is_popular_without_what_is_hidden_or_not_allowed():
    popular = Popularity(np.array([4, 2, 0, 3]), np.array([9, 7, 7, 1]), 30)
    assert [part.tolist() for part in popular.top(2, hidden=np.array([4, 3]))] == [[2, 0], [7, 7]]
    allowed = np.array([True, True, False, True, True])
    assert [part.tolist() for part in popular.top(9, allowed, np.array([0]))] == [[4, 3], [9, 1]]


def test_a_user_of_the_run_who_was_in_no_training_gets_what_is_popular_and_new_to_them(recommender):
    vectors, user = recommender.vectors, recommender.users.ids[0]
    trained = vectors.seen_trained.clone()
    trained[: vectors.seen_indptr[1]] = False
    other = Recommender(replace(vectors, seen_trained=trained), recommender.users, recommender.items)
    nothing = pl.DataFrame({"user": [user], "item": ["sold out"]})
    lists, seen = other.for_histories(nothing, 5, fallback="popular"), other.seen(user)
    popular = other.popular(5 + len(seen))["item"].to_list()
    assert set(lists["source"]) == {"popular"}
    assert lists["item"].to_list() == [item for item in popular if item not in seen][:5]
    with_seen = other.for_histories(nothing, 5, fallback="popular", exclude_seen=False)["item"].to_list()
    assert with_seen == popular[:5] != lists["item"].to_list()


def test_popular_by_another_log_than_the_histories(shop, log, recommender, tmp_path):
    run_log = log.join(recommender.users.ids.rename("customer_id").to_frame(), on="customer_id")
    other = log.sort("time").head(log.height // 2)
    other.write_csv(tmp_path / "other.csv")
    pl.concat([log, log.head(1).with_columns(customer_id=pl.lit("new"), product_id=pl.lit("gone"))]).write_csv(
        tmp_path / "log.csv"
    )
    options = {"fallback": "popular", "popular_days": DAYS, "popular_log": tmp_path / "other.csv"}
    lists = recommender.for_histories(tmp_path / "log.csv", 6, **options)
    expected = popular_by_hand(other, run_log, DAYS, 6)
    assert expected != popular_by_hand(log, run_log, DAYS, 6)
    assert lists.filter(user="new").select("item", "score").rows() == expected


def test_users_in_a_file_some_of_whom_the_run_does_not_know(shop, recommender, tmp_path):
    customer = recommender.users.ids[7]
    (tmp_path / "customers.txt").write_text(f"nobody\n{customer}\nother\n")
    out = tmp_path / "lists.csv"
    flags = ("--users", tmp_path / "customers.txt", "--fallback", "popular", "--k", 3, "--out", out)
    assert main(["recommend", str(shop / "run"), *map(str, flags)]) == 0
    lists = pl.read_csv(out)
    assert lists["user"].to_list() == ["nobody"] * 3 + [customer] * 3 + ["other"] * 3
    assert lists.filter(user="other")["item"].to_list() == recommender.popular(3)["item"].to_list()
    chosen = bulk_lists(recommender, 3, histories=shop / "log.csv", users=[customer, "nobody"])
    assert pl.concat(chosen)["user"].unique().to_list() == [customer]
    assert chosen.counts == {"trained": 1, "none": 1}


def test_a_log_in_another_form_and_only_some_events(shop, log, recommender, tmp_path):
    days = log["time"].str.slice(0, 10).str.to_date().dt.to_string("%d.%m.%Y")
    events = pl.Series("Vorgang", ["Kauf", "Ansicht"] * (log.height // 2))
    german = log.select(Kunde="customer_id", Artikel="product_id", Datum=days).with_columns(events)
    german.write_csv(tmp_path / "log.csv", separator=";")
    columns = LogConfig(
        user_column="Kunde",
        item_column="Artikel",
        time_column="Datum",
        time_format="%d.%m.%Y",
        event_column="Vorgang",
        events=("Kauf",),
    )
    lists = recommender.for_histories(tmp_path / "log.csv", 4, columns=columns, fallback="popular", popular_days=7)
    bought = recommender.for_histories(log[::2].select(user="customer_id", item="product_id"), 4)
    assert lists.filter(pl.col("source") != "popular").equals(bought)
    assert set(lists["user"]) == set(log["customer_id"])  # those who have only looked get what is popular


def test_rows_without_an_id_are_dropped_and_counted_if_that_is_asked(shop, tmp_path, capsys):
    (tmp_path / "log.csv").write_text("customer_id,product_id\n'new, one',p0001\nnew,\n'new, two',p0002\n")
    flags = ("--histories", tmp_path / "log.csv", "--quote", "'", "--bad-rows", "drop", "--out", tmp_path / "out.csv")
    assert main(["recommend", str(shop / "run"), *map(str, flags)]) == 0
    assert pl.read_csv(tmp_path / "out.csv")["user"].unique().sort().to_list() == ["new, one", "new, two"]
    assert "log.csv: rows dropped: 1 × product_id is empty" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--histories", "nowhere.csv"), "nowhere.csv"),
        (("--histories", "run.csv"), "run.csv: no user column"),
        (("--histories", "holes.csv"), "holes.csv, line 3: product_id is empty; fill the cell in or delete"),
        (("--histories", "log.csv", "--history", "p0001"), "--histories and --history: give one of them"),
        (("--popular-days", 3), "--popular-days 3: counts for --fallback popular only"),
        (
            ("--fallback", "popular", "--popular-log", "log.csv"),
            "--popular-log log.csv: counts for --popular-days only",
        ),
        (("--fallback", "popular", "--popular-days", 0), "--popular-days 0: give 1 to 36500 days"),
        (("--fallback", "popular", "--popular-days", 3, "--popular-log", "timeless.csv"), "the log has no times"),
        (("--fallback", "popular", "--popular-days", 3, "--popular-log", "counted.csv"), "in no known unit"),
        (
            ("--fallback", "popular", "--popular-days", 3, "--popular-log", "other.csv"),
            "none of the items in the log's",
        ),
    ],
)
def test_mistakes_are_one_line(shop, flags, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pl.DataFrame({"who": [1], "what": [2], "when": [3]}).write_csv("run.csv")
    shop_log(events=40).write_csv("log.csv")
    pl.DataFrame({"user": ["a"], "item": ["p0001"]}).write_csv("timeless.csv")
    pl.DataFrame({"user": ["a"], "item": ["p0001"], "time": [17]}).write_csv("counted.csv")
    pl.DataFrame({"user": ["a"], "item": ["tea"], "time": ["2024-05-01"]}).write_csv("other.csv")
    Path("holes.csv").write_text("customer_id,product_id\na,p0001\nb,\n")
    assert main(["recommend", str(shop / "run"), *map(str, flags), "--out", "lists.csv"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "lists.csv").exists()


def test_no_people_get_no_lists(shop, recommender):
    nobody = bulk_lists(recommender, 3, histories=shop / "log.csv", users=[])
    assert nobody.summary() == "Nobody to recommend to"
    assert nobody.empty().is_empty()
    assert list(nobody) == []
