"""Diverse lists: the formula place by place, and limits of categories."""

from __future__ import annotations

import polars as pl
import pytest
import torch

from crossrec.errors import ConfigError, DataError
from crossrec.ops.vectors import l2_normalize
from crossrec.recommend import Recommender
from crossrec.recommend.diversity import CANDIDATES, rerank


def by_hand(items, scores, k, vectors, diversity, category=None, most=None):
    """The same choice, one user and one place after the other."""
    relevance = [(score - scores[-1]) / (scores[0] - scores[-1]) for score in scores]
    unit, chosen = l2_normalize(vectors), []
    for _ in range(k):
        best, best_value = None, -torch.inf
        for n, item in enumerate(items):
            full = most is not None and sum(category[c] == category[item] for c in chosen) >= most
            if item in chosen or (full and category[item] >= 0):
                continue
            near = max((float(unit[item] @ unit[other]) for other in chosen), default=0.0)
            value = (1 - diversity) * relevance[n] - diversity * near
            if value > best_value + 1e-9:
                best, best_value = item, value
        if best is not None:
            chosen.append(best)
    return chosen


@pytest.mark.parametrize("diversity", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("most", [None, 1, 2])
def test_rerank(diversity, most):
    generator = torch.Generator().manual_seed(3)
    vectors, users = torch.randn(30, 4, generator=generator), torch.randn(5, 4, generator=generator)
    score, item = (users @ vectors.T).topk(12, dim=1)
    category = torch.randint(-1, 4, (30,), generator=generator)
    chosen, scores = rerank(item, score, 6, vectors, diversity=diversity, category_I=category.numpy(), most=most)
    for row in range(5):
        expected = by_hand(item[row].tolist(), score[row].tolist(), 6, vectors, diversity, category.tolist(), most)
        is_item = scores[row] > -torch.inf
        assert chosen[row][is_item].tolist() == expected
        torch.testing.assert_close(scores[row][is_item], (users[row] @ vectors.T)[expected])


def test_without_diversity_and_limits_the_list_is_the_same(tiny):
    assert tiny.recommend(k=5, diversity=0.0).equals(tiny.recommend(k=5))
    first = tiny.recommend(k=5, diversity=0.5).filter(pl.col("rank") == 1)
    assert first.equals(tiny.recommend(k=5).filter(pl.col("rank") == 1))


def test_diverse_lists_have_less_alike_items(tiny):
    unit = l2_normalize(tiny.vectors.item_IS)

    def alike(lists):
        rows = torch.from_numpy(tiny.items.rows(lists["item"])).view(-1, 5)
        return float((unit[rows] @ unit[rows].transpose(1, 2)).mean())

    values = [alike(tiny.recommend(k=5, diversity=diversity)) for diversity in (0.0, 0.4, 0.8)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1] + 0.05
    seen = {user: set(tiny.seen(user)) for user in tiny.users.ids}
    assert not any(item in seen[user] for user, item in tiny.recommend(k=5, diversity=0.8)[["user", "item"]].rows())


def test_at_most_so_many_of_a_category(tiny_run, tmp_path):
    kinds = {n: ["a"] if n < 36 else ["b", "c"] if n < 39 else None for n in range(40)}
    pl.DataFrame({"item": kinds.keys(), "category": kinds.values()}).write_parquet(tmp_path / "items.parquet")
    recommender = Recommender.open(tiny_run, tmp_path / "items.parquet")
    lists = recommender.recommend(k=4, max_per_category=2, exclude_seen=False)
    assert CANDIDATES * 4 >= 40
    firsts = {n: None if kind is None else kind[0] for n, kind in kinds.items()}
    for (_,), rows in lists.group_by(["user"]):
        names = [firsts[item] for item in rows["item"]]
        assert rows.height == 4
        assert all(names.count(name) <= 2 for name in ("a", "b"))
    best = recommender.recommend(k=40, exclude_seen=False)
    for (user,), rows in best.group_by(["user"]):
        counts, expected = {}, []
        for item in rows.sort("rank")["item"]:
            counts[firsts[item]] = counts.get(firsts[item], 0) + 1
            if firsts[item] is None or counts[firsts[item]] <= 2:
                expected.append(item)
        assert lists.filter(pl.col("user") == user)["item"].to_list() == expected[:4]
    # of one category only and of few candidates, further items come in: here from rank 11 on
    one = recommender.recommend(k=1, max_per_category=1, exclude_seen=False)
    assert one.equals(recommender.recommend(k=1, exclude_seen=False))
    history = recommender.for_history([3, 8], 4, max_per_category=2)
    assert sum(firsts[item] == "a" for item in history["item"]) == 2


def test_what_is_refused(tiny, tiny_run, tmp_path):
    for settings, message in (
        ({"diversity": 1.5}, "diversity = 1.5: give 0"),
        ({"diversity": float("nan")}, "diversity = nan"),
        ({"max_per_category": 0}, "max_per_category = 0: give 1 or more"),
        ({"max_per_category": 2}, "needs the table of items"),
    ):
        with pytest.raises(ConfigError, match=message):
            tiny.recommend([1], **settings)
    (tmp_path / "items.csv").write_text("item,kategorie\n1,a\n")
    with pytest.raises(DataError, match="no column 'category'; did you mean 'kategorie'"):
        Recommender.open(tiny_run, tmp_path / "items.csv").recommend([1], max_per_category=2)


def test_a_condition_on_the_table_of_items_holds_for_every_place(tiny_run, tmp_path):
    rows = [f"{n},{n},{'ab'[n % 2]}" for n in range(40)]
    (tmp_path / "items.csv").write_text("\n".join(["item_id,price,category", *rows]))
    shop = Recommender.open(tiny_run, tmp_path / "items.csv")
    lists = shop.recommend([4], k=40, exclude_seen=False, where="price < 6", category="a")
    assert sorted(lists["item"]) == [0, 2, 4]
    assert shop.recommend([4], k=40, exclude_seen=False, where="price < 6")["item"].n_unique() == 6
