"""Feature files that have a card are held against it: their bytes, and the items that their rows were made of."""

from __future__ import annotations

import csv
import hashlib
import json

import numpy as np
import polars as pl
import pytest

from crossrec.data import DataConfig, ImportConfig, import_data, load, validate
from crossrec.data.io.atomic import read_json
from crossrec.data.io.feature_card import FeatureCard, RowSource, card_path, read_card, write_card
from crossrec.data.io.features import open_features
from crossrec.data.io.id_column import read_listing
from crossrec.data.io.manifest import file_entry
from crossrec.data.io.tables import open_table
from crossrec.errors import DataError

TITLES = {"fig": "Dried figs", "oil": "Olive oil, 1 l", "rye": 'Rye "dark"', "tea": "", "ale": "Pale ale"}
MODALITIES = {"text": 6, "image": 4}


def write_items(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["item_id", "title", "price"], *rows])


@pytest.fixture
def rows():
    return [[id, title, str(3 * n)] for n, (id, title) in enumerate(TITLES.items())]


@pytest.fixture
def shop(tmp_path, rows):
    """Twelve users, five items with a title and a price, and two feature files made of the titles, with their cards."""
    folder = tmp_path / "shop"
    folder.mkdir()
    write_items(folder / "items.csv", rows)
    pairs = [(f"u{user}", list(TITLES)[(user + n) % 5]) for user in range(12) for n in range(4)]
    with (folder / "interactions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["user_id", "item_id"], *pairs])
    for modality in MODALITIES:
        write_features(folder, modality, ["item_id", "title"])
    assert validate(DataConfig(data=str(folder))) == []
    return folder


def write_features(folder, modality, columns, *, by_id=False, **fields):
    """Write random features of the items in the table of the folder, and their card."""
    table = open_table(next(folder.glob("items.*")))
    listing = read_listing(table, columns=columns[1:])
    matrix = np.random.default_rng(5).normal(size=(len(listing.ids), MODALITIES[modality])).astype(np.float32)
    path = folder / f"{modality}_feat.npy"
    np.save(path, matrix)
    card = FeatureCard(
        file=path.name,
        modality=modality,
        items=len(matrix),
        dimension=matrix.shape[1],
        dtype="float32",
        counts={"encoded": len(matrix)},
        rows=RowSource.of(columns, listing.ids, listing.frame, by_id=by_id),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        **fields,
    )
    write_card(path, card)
    return path


def problem(folder, **settings):
    """The message of the one problem of the data, which stops loading too."""
    config = DataConfig(data=str(folder), **settings)
    (finding,) = validate(config)
    assert finding.kind == "error"
    with pytest.raises(DataError) as error:
        load(config)
    assert str(error.value) == finding.message
    return finding.message


def test_cards_come_back_and_are_in_the_data_set(shop):
    dataset = load(DataConfig(data=str(shop)))
    assert dataset.feature_cards == {m: read_card(shop / f"{m}_feat.npy") for m in MODALITIES}
    assert read_card(shop / "text_feat.npy").sha256 == file_entry(shop / "text_feat.npy")["sha256"]
    assert load(DataConfig(data=str(shop), modalities=("text",))).feature_cards.keys() == {"text"}


@pytest.mark.parametrize("name", ["text_feat.npy", "image_feat.npy", "text_feat.json", "image_feat.json"])
def test_every_altered_file_is_refused(name, shop):
    path = shop / name
    content, other = (
        path.read_bytes(),
        name.replace("image", "text") if name.startswith("image") else f"image{name[4:]}",
    )
    bits = np.random.default_rng(1).integers([len(content), 8], size=(40, 2)).tolist()
    changes = [
        content[:byte] + bytes([content[byte] ^ 1 << bit]) + content[byte + 1 :]
        for byte, bit in [(0, 0), (len(content) - 1, 0), *bits]
    ]
    changes += [content[:-1], content[:40], b"", content + b"\0", content + b"\n", (shop / other).read_bytes()]
    for change in changes:
        path.write_bytes(change)
        message = problem(shop)
        assert message.startswith((f"{path}: ", f"{path.with_suffix('.npy')}: "))
        assert name[:-4] in message
    path.write_bytes(content)
    assert validate(DataConfig(data=str(shop))) == []


def test_rows_in_another_order_and_rows_swapped_within_a_file_are_refused(shop):
    matrix = np.load(shop / "text_feat.npy")
    np.save(shop / "text_feat.npy", matrix[[1, 0, 2, 3, 4]])
    assert problem(shop).startswith(f"{shop}/text_feat.npy: altered, its sha256 is not the one in text_feat.json; put")


def test_a_file_without_a_card_is_taken_as_it_is(shop):
    np.save(shop / "text_feat.npy", np.eye(5, 3, dtype=np.float32) + 1)
    assert "delete text_feat.json if you changed the file on purpose" in problem(shop)
    (shop / "text_feat.json").unlink()
    assert validate(DataConfig(data=str(shop))) == []
    assert load(DataConfig(data=str(shop))).feature_cards.keys() == {"image"}


def test_a_card_without_its_file_is_an_error(shop):
    (shop / "text_feat.npy").unlink()
    assert problem(shop) == (
        f"{shop}/text_feat.npy: missing, but its card text_feat.json is there; put the file back or delete the card"
    )
    assert load(DataConfig(data=str(shop), modalities=("image",))).features.keys() == {"image"}


def test_a_card_of_an_earlier_version_is_refused_with_the_way_out(shop):
    values = read_json(shop / "text_feat.json")
    del values["seal"]
    (shop / "text_feat.json").write_text(json.dumps(values))
    message = problem(shop)
    assert message.startswith(f"{shop}/text_feat.json: damaged, or of an earlier version")
    assert message.endswith("make text_feat.npy again, or delete text_feat.json if the file is right")


def sort_by_id(rows):
    return sorted(rows)


def swap_ids(rows):
    return [[other[0], *row[1:]] for row, other in zip(rows, rows[::-1], strict=True)]


def swap_titles(rows):
    return [[row[0], other[1], row[2]] for row, other in zip(rows, rows[::-1], strict=True)]


def retitle(rows):
    return [*rows[:3], [rows[3][0], "Green tea", rows[3][2]], rows[4]]


def replace_item(rows):
    return [*rows[:4], ["beer", *rows[4][1:]]]


@pytest.mark.parametrize("change", [sort_by_id, reversed, swap_ids, swap_titles, retitle])
def test_features_of_other_items_are_refused(change, shop, rows):
    write_items(shop / "items.csv", change(rows))
    config = DataConfig(data=str(shop))
    messages = [finding.message for finding in validate(config)]
    assert len(messages) == 2, "one for each feature file"
    for message, name in zip(messages, ["image_feat.npy", "text_feat.npy"], strict=True):
        assert message.startswith(f"{shop}/items.csv: item_id, title are not as they were when {name} was made of them")
        assert "make" in message
        assert "crossrec data features --overwrite" in message
    with pytest.raises(DataError, match=r"items\.csv: item_id, title are not as they were"):
        load(config)


def test_an_item_that_is_replaced_or_added_is_refused(shop, rows):
    write_items(shop / "items.csv", replace_item(rows))
    assert any("are not as they were" in finding.message for finding in validate(DataConfig(data=str(shop))))
    write_items(shop / "items.csv", [*rows, ["gin", "Gin", "1"]])
    assert any("are not as they were" in finding.message for finding in validate(DataConfig(data=str(shop))))


def test_columns_that_were_not_encoded_may_change(shop, rows):
    write_items(shop / "items.csv", [[*row[:2], "7"] for row in rows])
    assert validate(DataConfig(data=str(shop))) == []
    frame = pl.read_csv(shop / "items.csv")
    (shop / "items.csv").unlink()
    frame.select("title", "item_id", stars=pl.lit(3)).write_parquet(shop / "items.parquet")
    assert validate(DataConfig(data=str(shop))) == [], "the same cells in another format"
    frame.rename({"title": "name"}).write_parquet(shop / "items.parquet")
    assert "no column 'title', of which image_feat.npy was made" in validate(DataConfig(data=str(shop)))[0].message
    (shop / "items.parquet").unlink()
    message = validate(DataConfig(data=str(shop)))[0].message
    assert message.startswith(f"{shop}/image_feat.npy: the items table that it was made of is missing")


def test_row_numbers_as_ids_are_compared_in_their_order(tmp_path):
    pairs = "".join(f"{user}\t{(user + n) % 5}\t0\n" for user in range(6) for n in range(3))
    (tmp_path / "a.inter").write_text("userID\titemID\tx_label\n" + pairs)
    write_items(tmp_path / "items.csv", [[n, f"title {n}", "1"] for n in range(5)])
    path = write_features(tmp_path, "text", ["item_id", "title"], by_id=True)
    write_items(tmp_path / "items.csv", [[n, f"title {n}", "1"] for n in (3, 1, 4, 0, 2)])
    open_features(path)
    write_items(tmp_path / "items.csv", [[n, f"title {(n + 1) % 5}", "1"] for n in range(5)])
    with pytest.raises(DataError, match="are not as they were"):
        open_features(path)


def test_imported_features_have_a_card(shop, tmp_path):
    out = tmp_path / "out"
    import_data(shop, out, ImportConfig(split="none"))
    assert validate(DataConfig(data=str(out))) == []
    items = pl.read_parquet(out / "items.parquet")
    card = read_card(out / "text_feat.npy")
    assert (card.file, card.items, card.dimension, card.counts) == ("text_feat.npy", 5, 6, {"encoded": 5, "missing": 0})
    assert card.rows.columns == ("item",)
    items[::-1].write_parquet(out / "items.parquet")
    assert "item are not as they were" in validate(DataConfig(data=str(out)))[0].message
    items.write_parquet(out / "items.parquet")
    path = out / "image_feat.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    assert problem(out).startswith(f"{path}: altered")


def test_an_import_refuses_features_of_other_items_and_keeps_their_model(shop, rows, tmp_path):
    write_features(shop, "text", ["item_id", "title"], model="minilm", model_digest="ab" * 32, rule="mean", key="k")
    import_data(shop, tmp_path / "out", ImportConfig(split="none"))
    card = read_card(tmp_path / "out" / "text_feat.npy")
    assert (card.model, card.model_digest, card.rule, card.key) == ("minilm", "ab" * 32, "mean", "")
    write_items(shop / "items.csv", sort_by_id(rows))
    with pytest.raises(DataError, match=r"items\.csv: item_id, title are not as they were"):
        import_data(shop, tmp_path / "again", ImportConfig(split="none"))
    assert not (tmp_path / "again").exists()
    assert card_path(tmp_path / "out" / "text_feat.npy").name == "text_feat.json"
