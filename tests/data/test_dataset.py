"""Id maps on disk, fingerprint, repr and description of a data set."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from crossrec.data import DataConfig, Interactions, describe, load
from crossrec.errors import RunError


@pytest.fixture(scope="module")
def tiny():
    return load(DataConfig(data="synthetic-tiny"))


def test_id_maps_are_written_atomically(tiny, tmp_path, monkeypatch):
    tiny.save_id_maps(str(tmp_path / "run"))
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == ["items.parquet", "users.parquet"]
    items = pl.read_parquet(tmp_path / "run" / "items.parquet")
    assert items.columns == ["index", "id"]
    assert items["index"].to_list() == list(range(40))

    def half(self, file, *args, **kwargs):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", half)
    with pytest.raises(RunError, match=r"users\.parquet: cannot be written: No space left on device; free some"):
        dataclasses.replace(tiny, item_ids=tiny.item_ids + 1).save_id_maps(tmp_path / "run")
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == ["items.parquet", "users.parquet"]
    assert pl.read_parquet(tmp_path / "run" / "items.parquet").equals(items)


def test_the_fingerprint_sees_what_training_sees_and_nothing_else(tiny):
    same = dataclasses.replace(tiny, name="other", user_ids=tiny.user_ids + 7)
    assert same.fingerprint() == tiny.fingerprint() == load(DataConfig(data="synthetic-tiny")).fingerprint()
    image = tiny.features["image"].copy()
    image[0, 0] += 1
    moved = Interactions(tiny.train.user_N[:-1], tiny.train.item_N[:-1])
    others = [
        dataclasses.replace(tiny, num_users=61),
        dataclasses.replace(tiny, num_items=41),
        dataclasses.replace(tiny, train=moved),
        dataclasses.replace(tiny, train=Interactions(tiny.train.item_N, tiny.train.user_N)),
        dataclasses.replace(tiny, valid=tiny.test, test=tiny.valid),
        dataclasses.replace(tiny, features={**tiny.features, "image": image}),
        dataclasses.replace(tiny, features={"text": tiny.features["text"]}),
        dataclasses.replace(tiny, features={"image": tiny.features["text"], "text": tiny.features["image"]}),
    ]
    assert len({tiny.fingerprint(), *(other.fingerprint() for other in others)}) == len(others) + 1


def test_reprs_are_one_line(tiny):
    assert repr(tiny) == (
        "Dataset('synthetic-tiny', 60 users, 40 items, train 327, valid 60, test 60, features {image 12, text 8})"
    )
    assert repr(tiny.train) == "Interactions(327)"
    cold = load(DataConfig(data="synthetic-tiny", cold_items=0.2))
    assert repr(cold).endswith(", features {image 12, text 8}, 8 cold items)")
    interactions = f"{len(cold.cold.interactions)} interactions"
    assert repr(cold.cold) == f"ColdItems(8 items, {interactions}, features {{image 12, text 8}})"
    for scaler in tiny.scalers.values():
        assert len(repr(scaler)) < 100
    assert repr(dataclasses.replace(tiny, features={})).endswith(", test 60, features {})")


def test_a_description_counts(put):
    files = {
        "a.inter": "userID\titemID\tx_label\n0\t0\t0\n0\t1\t1\n2\t0\t0\n2\t2\t2\n2\t2\t2\n",
        "image_feat.npy": np.array([[3.0, 0], [0, 2], [1, 1], [0, 0]]),
        "text_feat.npy": np.array([[3.0], [0], [0], [0]]),
    }
    text = describe(DataConfig(data=str(put(files)), duplicates="drop"))
    assert (text.name, text.users, text.items, text.interactions) == ("set", 3, 4, 4)
    assert (text.train, text.valid, text.test) == (2, 1, 1)
    assert text.sparsity == pytest.approx(1 - 4 / 12)
    assert (text.users_without_training, text.items_without_training, text.dropped_duplicates) == (1, 3, 1)
    assert text.columns == {"image": 2, "text": 1}
    assert text.mean_cosine["image"] == pytest.approx((0 + 0.5**0.5 + 0.5**0.5) / 3)
    assert text.items_without_feature == {"image": 1, "text": 3}
    rows = dict(text.rows())
    assert rows["Sparsity"] == "66.67%"
    assert rows["Train / valid / test"] == "2 / 1 / 1"
    assert rows["Dropped duplicate rows"] == "1"
    assert rows["image: mean cosine of two items"] == "0.4714"
    assert rows["text: mean cosine of two items"] == "–"


def test_the_description_is_of_raw_features(put):
    folder = put({"a.csv": "user,item\na,0\na,1\n", "image_feat.npy": np.array([[5.0, 1], [5, 2]])})
    same = {
        describe(DataConfig(data=str(folder), feature_scaling=how)).mean_cosine["image"]
        for how in ("none", "standardize_l2")
    }
    assert len(same) == 1
    assert same.pop() == pytest.approx((25 + 2) / (26**0.5 * 29**0.5))
