"""Lists match a slow loop over the model's scores, for all filters and chunk sizes."""

from __future__ import annotations

import shutil

import numpy as np
import polars as pl
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from crossrec.data import load
from crossrec.data.io.tensor_file import write_tensors
from crossrec.errors import ConfigError, CrossrecError, DataError, RunError
from crossrec.objective import Objective
from crossrec.recommend import Recommender
from crossrec.recommend.export import export
from crossrec.runs.config import load_config
from crossrec.runs.directory import seal
from crossrec.runs.embeddings import TrainedEmbeddings
from crossrec.runs.execute import training_set


def slow(run, user, k, *, seen=True, keep=lambda item: True):
    """(item row, score) of the k best items of one user, from the weights and the data set alone."""
    config = load_config(run / "config.json")
    dataset = load(config.data)
    model = Objective(config.backbone, config.alignment, training_set(dataset), config.training.seed).eval()
    model.load_state_dict(load_file(run / "model.safetensors"))
    with torch.no_grad():
        reps = model.backbone.propagate()
    score = (reps.item_IS.double() @ reps.user_US[user].double()).float().tolist()
    seen_items = set()
    if seen:
        for part in (dataset.train, dataset.valid, dataset.test):
            seen_items |= {int(i) for u, i in zip(part.user_N, part.item_N, strict=True) if u == user}
    order = sorted(range(len(score)), key=lambda item: (-score[item], item))
    return [(item, score[item]) for item in order if item not in seen_items and keep(item)][:k]


def pairs(frame):
    return list(zip(frame["item"].to_list(), frame["score"].to_list(), strict=True))


@pytest.mark.parametrize("user", [0, 7, 59])
def test_lists_match_a_slow_loop(tiny, tiny_run, user):
    lists = tiny.recommend([user], 7)
    assert lists.columns == ["user", "rank", "item", "score"]
    assert lists["user"].to_list() == [user] * 7
    assert lists["rank"].to_list() == [1, 2, 3, 4, 5, 6, 7]
    assert pairs(lists) == slow(tiny_run, user, 7)
    assert pairs(tiny.recommend([user], 7, exclude_seen=False)) == slow(tiny_run, user, 7, seen=False)


def test_vectors_wider_than_the_shared_space_and_ids_of_text(text, text_run):
    lists = text.recommend(["Ann-3"], 5)
    users = text.users.ids.to_list()
    expected = slow(text_run, users.index("Ann-3"), 5)
    assert pairs(lists) == [(text.items.ids[item], score) for item, score in expected]
    assert len(expected) == 11 - 8  # all but the eight items of the user, those of test among them
    assert set(lists["item"]).isdisjoint(text.seen("Ann-3"))
    assert lists.schema["user"] == lists.schema["item"] == pl.String
    assert text.vectors.user_US.shape[1] == 2 * text.vectors.user_UL.shape[1]


def test_chunks_of_any_size_give_the_same_lists(tiny):
    lists = tiny.recommend(k=5)
    assert lists["user"].unique(maintain_order=True).to_list() == list(range(60))
    for chunk in (1, 7, 60, 1000):
        parts = list(tiny.stream(k=5, chunk=chunk))
        assert len(parts) == -(-60 // chunk)
        assert pl.concat(parts).equals(lists)
    assert pl.concat([tiny.recommend([user], 5) for user in range(60)]).equals(lists)


def test_filters(tiny, tiny_run):
    allow = [3, 5, 8, 13, 21, 34]
    assert pairs(tiny.recommend([4], 4, allow=allow)) == slow(tiny_run, 4, 4, keep=lambda i: i in allow)
    deny = [item for item, _ in slow(tiny_run, 4, 3)]
    assert pairs(tiny.recommend([4], 4, deny=deny)) == slow(tiny_run, 4, 4, keep=lambda i: i not in deny)
    both = tiny.recommend([4], 40, allow=allow, deny=[5, 8], exclude_seen=False)
    assert sorted(both["item"]) == [3, 13, 21, 34]
    assert tiny.recommend([4], 5, allow=[]).equals(tiny.empty())
    assert tiny.recommend([], 5).equals(tiny.empty())


def test_seen_items_stay_out_of_a_choice_of_few_items(tiny, tiny_run):
    """With less than half of the items to choose from, positions among them are not rows of items."""
    users = [4, 0, 59]
    allow = sorted({1, 8, 13, 21, 34, *(item for user in users for item in tiny.seen(user)[:4])})
    assert len(allow) < 20
    lists = tiny.recommend(users, 20, allow=allow)
    for user in users:
        of_user = lists.filter(pl.col("user") == user)
        assert pairs(of_user) == slow(tiny_run, user, 20, keep=lambda item: item in allow)
        assert 0 < of_user.height < len(allow)
        history = tiny.for_history(tiny.seen(user), 20, allow=allow)
        assert sorted(history["item"]) == sorted(of_user["item"])


def test_categories_of_the_table_of_items(tiny_run, tmp_path):
    rows = [{"item": item, "category": ["tea", "pots", None][item % 3], "title": f"no {item}"} for item in range(39)]
    path = tmp_path / "items.csv"
    pl.DataFrame([*rows, {"item": 999, "category": "tea", "title": "elsewhere"}]).write_csv(path)
    recommender = Recommender.open(tiny_run, path)
    lists = recommender.recommend([1], 40, category="tea", exclude_seen=False)
    assert sorted(lists["item"]) == list(range(0, 39, 3))
    more = recommender.recommend([1], 40, category=["tea", "pots"], exclude_seen=False)
    assert sorted(more["item"]) == [item for item in range(39) if item % 3 < 2]
    assert recommender.item_table.frame["title"][5] == "no 5"
    assert recommender.item_table.frame["title"][39] is None
    with pytest.raises(DataError, match=r"no item of category 'tee'; did you mean 'tea'"):
        recommender.recommend([1], category="tee")


def test_a_cell_may_hold_a_list_of_categories(tiny_run, tmp_path):
    rows = [{"item": item, "category": ["hot", "tea"] if item < 4 else ["pots"]} for item in range(40)]
    pl.DataFrame(rows).write_parquet(tmp_path / "items.parquet")
    recommender = Recommender.open(tiny_run, tmp_path / "items.parquet")
    assert sorted(recommender.recommend([1], 40, category="tea", exclude_seen=False)["item"]) == [0, 1, 2, 3]


def test_invalid_requests_are_refused(tiny, tmp_path):
    for call, message in {
        lambda: tiny.recommend(k=0): "k = 0",
        lambda: tiny.stream(k=1, chunk=0): "chunk = 0",
        lambda: tiny.recommend([1, 77]): "user 77 is none of the 60 users",
        lambda: tiny.recommend([[1]]): "none of the 60 users",
        lambda: tiny.recommend([True]): "user True",
        lambda: tiny.recommend([1], allow=["x"]): "item 'x' is none of the 40 items",
        lambda: tiny.recommend([1], category="tea"): "table of items",
        lambda: tiny.for_history([]): "history without items",
        lambda: tiny.for_history([400]): "item 400",
        lambda: tiny.for_history([3], how="guess"): "guess",
        lambda: tiny.similar([3], by="sound"): "no similarity by 'sound'.*image",
        lambda: tiny.explain(1, 400): "item 400",
        lambda: Recommender.open(tmp_path / "none"): "no such folder",
        lambda: Recommender.open(tmp_path): "config.json: missing",
    }.items():
        with pytest.raises(CrossrecError, match=message):
            call()


def test_text_matches_integer_ids(tiny):
    assert tiny.recommend(["7"], 3).equals(tiny.recommend([7], 3))
    assert tiny.recommend([np.int64(7)], 3).equals(tiny.recommend([7], 3))


def test_similar_items(tiny, text):
    for by, table in {"behaviour": tiny.vectors.item_IS, "image": tiny.vectors.modality_IL["image"]}.items():
        lists = tiny.similar([3, 9], 4, by=by)
        assert lists.columns == ["item", "rank", "similar", "score"]
        unit = torch.nn.functional.normalize(table.double())
        has_vector = (tiny.vectors.degree_I > 0).tolist() if by == "behaviour" else [True] * 40
        for item in (3, 9):
            cosine = (unit @ unit[item]).tolist()
            order = sorted((i for i in range(40) if i != item and has_vector[i]), key=lambda i: -cosine[i])[:4]
            of = lists.filter(pl.col("item") == item)
            assert of["similar"].to_list() == order
            assert of["score"].to_list() == pytest.approx([cosine[i] for i in order], abs=1e-6)
    untouched = text.similar(["tea, 10"], 3)
    assert untouched.height == 0
    assert "tea, 10" not in text.similar(["tea, 1"], 20)["similar"].to_list()
    assert text.similar(["tea, 10"], 3, by="sound").height == 3


def test_explanations_match_the_vectors(tiny, text):
    explanation = tiny.explain(4, 6)
    assert explanation["score"] == pytest.approx(tiny.recommend([4], exclude_seen=False, allow=[6])["score"][0])
    assert set(explanation["cosine"]) == {"id", "image", "text"}
    assert set(explanation["aligned"]) == {"image", "text"}
    assert explanation["parts"] == {}
    user, image = tiny.vectors.user_UL[4], tiny.vectors.modality_IL["image"][6]
    assert explanation["cosine"]["image"] == pytest.approx(float(torch.cosine_similarity(user, image, 0)), abs=1e-6)
    explanation = text.explain("Ann-1", "tea, 2")
    assert set(explanation["parts"]) == {"id", "sound", "bias"}
    assert sum(explanation["parts"].values()) == pytest.approx(explanation["score"], abs=1e-6)
    assert explanation["aligned"] == {}
    history = text.explain_history(["tea, 1", "tea, 5"], "tea, 2")
    assert sum(history["parts"].values()) == pytest.approx(history["score"], abs=1e-6)


def id_map(rows):
    return lambda path: pl.DataFrame({"index": rows, "id": rows}).write_parquet(path)


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


DAMAGES = {
    "vectors.safetensors: damaged": cut,
    "users.parquet: missing or damaged": cut,
    "items.parquet: 1 rows, the run has 40": id_map([0]),
    "items.parquet: its rows are in another order": id_map([*range(1, 40), 0]),
    "config.json: not of a run": lambda path: path.write_text("[]"),
    "vectors.safetensors is of another run": lambda path: None,
}


@pytest.mark.parametrize(("message", "damage"), DAMAGES.items(), ids=DAMAGES)
def test_a_run_that_does_not_fit_together_is_refused_though_its_manifest_is_right(tiny_run, tmp_path, message, damage):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    damage(run / message.split(":")[0].split(" ")[0])
    if "another run" in message:
        (run / "config.json").write_text('{"identity": "x"}')
    seal(run)
    with pytest.raises(RunError, match=f"{run}/{message}"):
        Recommender.open(run)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_vectors_that_are_no_numbers_are_refused(text_run, tmp_path, value):
    with safe_open(text_run / "vectors.safetensors", "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    names = [name for name, tensor in tensors.items() if tensor.is_floating_point()]
    assert {"user_US", "item_IS", "user_UL", "item_IL", "modality/sound", "part/sound"} < set(names)
    for name in names:
        damaged = tensors[name].clone()
        damaged.view(-1)[-1] = value
        write_tensors(tmp_path / "vectors.safetensors", tensors | {name: damaged}, metadata)
        with pytest.raises(RunError, match=rf"damaged \({name} holds NaN or inf\)"):
            TrainedEmbeddings.load(tmp_path / "vectors.safetensors")


def test_a_negative_k_is_refused():
    with pytest.raises(ConfigError):
        Recommender.recommend(object.__new__(Recommender), k=-1)


def test_repr_is_one_line_about_the_run(tiny, text):
    assert repr(tiny) == "Recommender(lightgcn+cross, 60 users, 40 items, dimension 8, modalities: image, text)"
    assert repr(text) == "Recommender(vbpr, 12 users, 11 items, dimension 16, modalities: sound)"


def test_paths_may_be_text(tiny, tiny_run, tmp_path):
    table = tmp_path / "items.csv"
    table.write_text("item,category\n3,tea\n")
    recommender = Recommender.open(str(tiny_run), str(table))
    assert recommender.recommend([1], 5, category="tea", exclude_seen=False)["item"].to_list() == [3]
    assert export(recommender, str(tmp_path / "vectors")) == export(tiny, tmp_path / "again")


def test_unknown_items_of_a_filter(tiny, caplog):
    assert tiny.recommend([1], 40, allow=[7, "x"])["item"].to_list() == [7]
    assert tiny.recommend([1], deny=["x"]).equals(tiny.recommend([1]))
    assert tiny.for_history([3, "x", 8]).equals(tiny.for_history([3, 8]))
    lines = [f"1 of {n} items are none of this run, such as 'x'; they are left out" for n in (2, 1, 3)]
    assert caplog.messages == lines
    for mistake in (
        lambda: tiny.recommend([1], allow=[7, "x"], unknown="error"),
        lambda: tiny.recommend([1], deny=["x"], unknown="error"),
        lambda: tiny.for_history([3, "x"], unknown="error"),
        lambda: tiny.for_history(["x"]),
    ):
        with pytest.raises(DataError, match="item 'x' is none of the 40 items"):
            mistake()
