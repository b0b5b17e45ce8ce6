"""``Recommender.fit`` on tables in memory, ``save`` and ``open``."""

from __future__ import annotations

import gc
import re

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from crossrec import ArgumentError, DataConfig, Recommender, RunConfig, TrainingConfig, run
from crossrec.data import load
from crossrec.errors import ConfigError, DataError, RunError
from crossrec.recommend.from_frames import as_frame, run_config, write_data

SETTINGS = {"dim": 8, "epochs": 2, "batch_size": 64, "prototypes_itv": 8, "device": "cpu", "seed": 3}
draw = np.random.default_rng(0)
PAIRS = {"customer_id": [f"c{u}" for u in range(20) for _ in range(6)]}
PAIRS["product_id"] = [f"p{i}" for u in range(20) for i in np.random.default_rng(u).permutation(12)[:6]]
LOG = pl.DataFrame(PAIRS)
IMAGE, SOUND = draw.normal(size=(12, 5)), draw.normal(size=(12, 3))
ITEMS = pl.DataFrame(
    {
        "product_id": [f"p{i}" for i in range(12)],
        "title": [f"Tea no. {i}" for i in range(12)],
        "category": ["green", "black"] * 6,
        "tags": [["hot"], ["hot", "new"]] * 6,
        "image": IMAGE.tolist(),
    }
)


@pytest.fixture(scope="module")
def fitted() -> Recommender:
    return Recommender.fit(LOG, ITEMS, features={"sound": SOUND}, **SETTINGS)


def test_fit_is_the_run_on_the_same_data(fitted, tmp_path):
    write_data(tmp_path / "shop", LOG, ITEMS, {"sound": SOUND})
    config = run_config("lightgcn", "cross", {"data": str(tmp_path / "shop"), **SETTINGS})
    metrics = run(config, tmp_path / "run")
    assert metrics["test"] == fitted.metrics["test"]
    assert_frame_equal(Recommender.open(tmp_path / "run").recommend(k=3), fitted.recommend(k=3))
    assert fitted.label == "lightgcn+cross"
    assert fitted.modalities == ("image", "sound")
    data = load(config.data)
    assert data.features["image"].shape == (12, 5)
    assert data.item_ids.to_list() == ITEMS["product_id"].to_list()


def test_lists_have_the_original_ids_titles_and_categories(fitted):
    lists = fitted.recommend(["c3", "c7"], k=2, category="green")
    assert lists["user"].to_list() == ["c3", "c3", "c7", "c7"]
    green = set(ITEMS.filter(category="green")["product_id"])
    assert set(lists["item"]) <= green
    assert fitted.similar(["p4"], k=3, by="image")["similar"].n_unique() == 3
    assert fitted.item_table.frame.columns == ["title", "category", "tags"]


def test_save_and_open(fitted, tmp_path):
    fitted.save(tmp_path / "shop")
    opened = Recommender.open(tmp_path / "shop")
    assert_frame_equal(opened.recommend(k=4, category="black"), fitted.recommend(k=4, category="black"))
    assert_frame_equal(opened.item_table.frame, fitted.item_table.frame)
    assert opened.metrics == fitted.metrics
    opened.save(tmp_path / "again")
    assert_frame_equal(Recommender.open(tmp_path / "again").item_table.frame, fitted.item_table.frame)
    with pytest.raises(RunError, match="not an empty folder"):
        fitted.save(tmp_path / "shop")
    table = tmp_path / "shop" / "item_table.parquet"
    table.write_bytes(table.read_bytes()[:-1] + b"?")
    with pytest.raises(RunError, match=r"item_table\.parquet: altered"):
        Recommender.open(tmp_path / "shop")


def test_a_recommender_with_new_items_is_not_saved_as_its_run(fitted, tmp_path):
    new = fitted.with_items(["p99"], {"image": IMAGE[:1], "sound": SOUND[:1]})
    with pytest.raises(ConfigError, match="extend writes one with new items"):
        new.save(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(ConfigError, match="no run"):
        _ = Recommender(fitted.vectors, fitted.users, fitted.items).metrics


def test_a_pandas_frame_is_the_same(fitted):
    pandas = pytest.importorskip("pandas")
    log = pandas.DataFrame({**PAIRS, "at": pandas.to_datetime(range(120), unit="D"), "stars": [1, None] * 60})
    items = pandas.DataFrame(ITEMS.drop("image").to_dict(as_series=False))
    items["image"] = list(IMAGE)
    frame = as_frame(log, "interactions")
    assert frame.schema == {
        "customer_id": pl.String,
        "product_id": pl.String,
        "at": pl.Datetime("us"),
        "stars": pl.Float64,
    }
    other = Recommender.fit(log, items, features={"sound": SOUND}, **SETTINGS)
    assert other.metrics["test"] == fitted.metrics["test"]
    with pytest.raises(ArgumentError, match="two columns"):
        as_frame(pandas.concat([log, log], axis=1), "interactions")
    missing = as_frame(pandas.DataFrame({"id": pandas.Series([1, None], dtype="Int64"), "t": ["a", None]}), "x")
    assert missing.rows() == [(1, "a"), (None, None)]


def test_dicts_lazy_frames_and_repeated_pairs(fitted, tmp_path):
    twice = {name: [*column, column[0]] for name, column in PAIRS.items()}
    other = Recommender.fit(twice, ITEMS.lazy(), features={"sound": SOUND}, folder=tmp_path / "kept", **SETTINGS)
    assert other.metrics["test"] == fitted.metrics["test"]
    assert (tmp_path / "kept" / "data" / "image_feat.npy").exists()
    assert_frame_equal(Recommender.open(tmp_path / "kept" / "run").recommend(k=2), other.recommend(k=2))


def test_interactions_alone_without_alignment():
    alone = Recommender.fit(LOG, backbone="bpr", alignment=None, epochs=1, dim=4, device="cpu")
    assert alone.label == "bpr"
    assert alone.item_table is None
    folder = alone.run.parent
    assert folder.exists()
    del alone
    gc.collect()
    assert not folder.exists()


MISTAKES = {
    "setting": (ConfigError, {"epoch": 3}, "unknown setting 'epoch'; did you mean 'epochs'?"),
    "range": (ConfigError, {"epochs": 0}, "'epochs' = 0"),
    "backbone": (ConfigError, {"backbone": "lightgnc"}, "unknown backbone 'lightgnc'; did you mean 'lightgcn'?"),
    "alignment": (ConfigError, {"alignment": "corss"}, "unknown alignment 'corss'; did you mean 'cross'?"),
    "column": (DataError, {"user_column": "buyer"}, "buyer"),
    "rows of features": (
        ArgumentError,
        {"features": {"sound": SOUND[:3]}},
        "feature 'sound' has shape (3, 3), and items has 12",
    ),
    "features without items": (
        ArgumentError,
        {"items": None, "features": {"sound": SOUND}},
        "feature 'sound' needs items",
    ),
    "feature twice": (ArgumentError, {"features": {"image": IMAGE}}, "feature 'image' is also a column of items"),
    "name of a feature": (ArgumentError, {"features": {"id": SOUND}}, "feature 'id': 'id' names a model's own vectors"),
    "a path": (
        ArgumentError,
        {"interactions": "log.csv"},
        "interactions must be a polars or pandas frame, and it is a str",
    ),
    "values of different kinds": (
        ArgumentError,
        {"interactions": {"customer_id": [1, "c2"], "product_id": ["p0", "p1"]}},
        "interactions, column 'customer_id': values of different kinds",
    ),
    "objects": (
        ArgumentError,
        {"interactions": {"customer_id": [1, 2], "product_id": [Recommender, Recommender]}},
        "interactions, column 'product_id': holds type; make numbers, text or dates of it",
    ),
    "an empty id": (
        DataError,
        {"interactions": {"customer_id": [1, None], "product_id": ["p0", "p1"]}},
        "interactions.parquet, row 2: customer_id is empty",
    ),
    "a ragged list": (
        ArgumentError,
        {"items": {"product_id": ["p0", "p1"], "image": [[1.0, 2.0], [1.0]]}},
        "items, row 1: 'image' has 1 numbers and other rows 2",
    ),
}


@pytest.mark.parametrize(("kind", "arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_sentence(kind, arguments, message, tmp_path):
    arguments = {"interactions": LOG, "items": ITEMS, **arguments}
    with pytest.raises(kind, match=re.escape(message)):
        Recommender.fit(**arguments, folder=tmp_path / "new")
    assert not (tmp_path / "new" / "run").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(ConfigError, match="not an empty folder"):
        Recommender.fit(LOG, folder=tmp_path / "full")


def test_a_missing_list_is_a_missing_feature(tmp_path):
    items = pl.DataFrame(
        {
            "id": ["a", "b", "c"],
            "image": [[1, 2], None, [3, 4]],
            "fixed": pl.Series([[1.0], [2.0], None], dtype=pl.Array(pl.Float32, 1)),
        }
    )
    write_data(tmp_path / "data", LOG, items)
    assert np.load(tmp_path / "data" / "image_feat.npy").tolist() == [[1, 2], [0, 0], [3, 4]]
    assert np.load(tmp_path / "data" / "fixed_feat.npy").tolist() == [[1], [2], [0]]
    assert pl.read_parquet(tmp_path / "data" / "items.parquet").columns == ["id"]


def test_settings_go_to_their_part():
    config = run_config(
        "freedom", "prime", {"data": "synthetic-tiny", "dim": 16, "alpha": 0.5, "epochs": 4, "split": "random"}
    )
    assert isinstance(config, RunConfig)
    assert (config.backbone.dim, config.alignment.alpha, config.training.epochs) == (16, 0.5, 4)
    assert config.data == DataConfig(data="synthetic-tiny", split="random")
    assert (config.refit, run_config("bpr", None, {"refit": True}).refit) == (None, True)
    with pytest.raises(ConfigError, match="unknown setting 'training'"):
        run_config("bpr", None, {"training": {}})
    assert run_config("bpr", None, {}).alignment is None
    assert run_config("bpr", "none", {}).training == TrainingConfig()
