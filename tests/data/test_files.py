"""Files that are compressed, broken links, and files without rights: read, or named with the way out."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crossrec.data import DataConfig, ImportConfig, import_data, load, validate
from crossrec.data.io.tables import open_table
from crossrec.errors import DataError

LOG = "user,item\n" + "".join(f"u{n % 4},i{n % 7}\n" for n in range(28))
ITEMS = "item\n" + "".join(f"i{n}\n" for n in range(7))


@pytest.mark.parametrize("name", ["interactions.csv.gz", "interactions.csv", "log.csv.gz", "LOG.CSV.GZ"])
def test_a_compressed_data_set_is_that_of_its_text(name, put):
    packed = put({name: gzip.compress(LOG.encode()), "items.csv.gz": gzip.compress(ITEMS.encode())})
    for data in (packed, packed / name):
        dataset = load(DataConfig(data=str(data)))
        assert dataset.item_ids.to_list() == [f"i{n}" for n in range(7)]
        assert validate(DataConfig(data=str(data))) == []
    (packed / "items.csv.gz").unlink()
    (packed / name).unlink()
    plain = load(DataConfig(data=str(put({"log.csv": LOG, "items.csv": ITEMS}))))
    assert dataset.fingerprint() == plain.fingerprint()
    assert dataset.name == Path(name).name.partition(".")[0]


def test_an_mmrec_folder_may_be_compressed(put):
    text = "userID\titemID\tx_label\n0\t0\t0\n0\t1\t1\n1\t1\t0\n"
    dataset = load(DataConfig(data=str(put({"shop.inter.gz": gzip.compress(text.encode()), "a_feat.npy": np.eye(3)}))))
    assert (dataset.num_users, dataset.num_items, len(dataset.train), len(dataset.valid)) == (2, 3, 2, 1)


def test_broken_links_are_named(put):
    folder = put({"log.csv": LOG})
    for name in ("items.csv", "image_feat.npy", "more.csv"):
        (folder / name).symlink_to("gone.csv")
        for read in (
            lambda: load(DataConfig(data=str(folder))),
            lambda: import_data(folder, folder.parent / "out"),
        ):
            with pytest.raises(DataError) as caught:
                read()
            assert str(caught.value) == f"{folder / name}: a link to gone.csv, which is not there; mend the link"
        if name == "more.csv":
            with pytest.raises(DataError, match=r"^data '.*more.csv': a link to gone.csv, which is not there; mend"):
                load(DataConfig(data=str(folder / name)))
            with pytest.raises(DataError, match=r"more.csv: a link to gone.csv, which is not there; mend the link"):
                import_data(folder / name, folder.parent / "out")
            assert load(DataConfig(data=str(folder / "log.csv"))).num_items == 7, "another table beside a file"
            import_data(folder / "log.csv", folder.parent / "out", overwrite=True)
        (folder / name).unlink()
    (folder / "README").symlink_to("gone")  # no file of the data set
    assert len(load(DataConfig(data=str(folder))).item_ids) == 7


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.jsonl", "log.parquet"])
def test_a_file_without_rights_is_not_to_be_written_again(name, put, monkeypatch):
    path = put({name: pl.DataFrame({"user": [1], "item": [2]}) if name.endswith("t") else LOG}) / name

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "open", refuse)  # the tests may run as root, who may read everything
    with pytest.raises(DataError) as caught:
        open_table(path)
    assert str(caught.value) == f"{path}: no right to read it; change its rights, e.g. with chmod a+r"


def test_a_folder_named_as_a_table(put):
    folder = put({"log.csv": LOG})
    (folder / "products.csv").mkdir()
    with pytest.raises(DataError, match=r"products.csv: a folder, not a file; name a file in it"):
        open_table(folder / "products.csv")


def test_a_folder_of_splits_gets_the_way_out(put):
    folder = put({"ml.train.inter": LOG, "ml.valid.inter": LOG})
    with pytest.raises(DataError, match="or make one data folder of all with crossrec data import"):
        load(DataConfig(data=str(folder)))


def test_columns_of_recbole_are_named_with_the_way_out(put):
    files = {"ml.inter": "user_id:token\titem_id:token\n1\t2\n1\t3\n1\t4\n", "ml.item": "item_id:token\n2\n3\n4\n"}
    folder = put(files)
    with pytest.raises(DataError, match=r"line 1: columns with types .* crossrec data import .* --out FOLDER"):
        load(DataConfig(data=str(folder)))
    import_data(folder, folder.parent / "out", ImportConfig())
    dataset = load(DataConfig(data=str(folder.parent / "out")))
    assert (dataset.user_ids.to_list(), dataset.item_ids.to_list()) == ([1], [2, 3, 4])
