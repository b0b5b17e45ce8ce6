"""One rule chooses the id column of a table of items or users, whoever reads it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from crossrec.commands.item_lists import read_ids
from crossrec.data import DataConfig, ImportConfig, import_data, load, validate
from crossrec.data.io.id_column import find_id_column, read_listing, save_id_map
from crossrec.data.io.tables import Table, open_table
from crossrec.data.io.text_format import TextFormat
from crossrec.errors import DataError
from crossrec.features import FeaturesConfig
from crossrec.features.items import read_items
from crossrec.recommend.id_map import IdMap
from crossrec.recommend.item_table import ItemTable

COMMAS = TextFormat(",", '"')
IDS = ["tea", "oil", "rye"]
CHOICES = {
    "well-known": (["item_id", "title"], "item_id"),
    "another spelling": (["title", "Item ID"], "Item ID"),
    "asin": (["asin", "title"], "asin"),
    "product": (["productId", "title"], "productId"),
    "id": (["id", "title"], "id"),
    "id, not the first": (["title", "id"], "id"),
    "well-known and id": (["id", "item"], "item"),
    "the only column": (["sku"], "sku"),
    "that of the interactions": (["sku", "id"], "sku"),
}


def rows(columns: list[str], chosen: str) -> str:
    lines = [",".join(name if column == chosen else f"{column} {name}" for column in columns) for name in IDS]
    return "\n".join([",".join(columns), *lines]) + "\n"


@pytest.mark.parametrize("case", CHOICES)
def test_every_reader_of_an_items_table_chooses_the_same_column(case, put):
    columns, chosen = CHOICES[case]
    log_column = chosen if case == "that of the interactions" else "item"
    log = f"user,{log_column}\n" + "".join(f"{user},{item}\n" for user in "ab" for item in IDS)
    folder = put({"interactions.csv": log, "items.csv": rows(columns, chosen), "image_feat.npy": np.eye(3)})
    named = {"item_column": log_column} if case == "that of the interactions" else {}

    config = DataConfig(data=str(folder), **named)
    assert load(config).item_ids.to_list() == IDS
    assert [finding for finding in validate(config) if finding.kind == "error"] == []

    text = {"text": [column for column in columns if column != chosen]}
    if text["text"]:
        items = read_items(FeaturesConfig(data=str(folder), **text, **named))
        assert items.ids.to_list() == IDS
        assert items.text(text["text"][0])[0].to_list() == [f"{text['text'][0]} {name}" for name in IDS]

    import_data(folder, folder.parent / "out", ImportConfig(**named))
    assert pl.read_parquet(folder.parent / "out" / "items.parquet")["item"].to_list() == IDS

    if case != "that of the interactions":
        id_map = IdMap(pl.Series(IDS), "item")
        assert ItemTable.read(folder / "items.csv", id_map).frame.columns == text["text"]
        assert read_ids([str(folder / "items.csv")], id_map, "--allow") == IDS
        assert read_listing(open_table(folder / "items.csv")).ids.to_list() == IDS


def test_tables_without_an_id_column_are_refused_by_every_reader(put):
    folder = put({"interactions.csv": "user,item\na,tea\na,oil\n", "items.csv": "name,price\ntea,1\noil,2\n"})
    path, id_map = folder / "items.csv", IdMap(pl.Series(IDS), "item")
    readers = [
        lambda: load(DataConfig(data=str(folder))),
        lambda: read_items(FeaturesConfig(data=str(folder), text=["name"])),
        lambda: import_data(folder, folder.parent / "out"),
        lambda: ItemTable.read(path, id_map),
        lambda: read_ids([str(path)], id_map, "--allow"),
    ]
    messages = set()
    for read in readers:
        with pytest.raises(DataError) as caught:
            read()
        messages.add(str(caught.value))
    hint = "known: name, price (item_column names it); if its first line is a row, add a header above it"
    assert messages == {f"{path}: no item column; {hint}"}


def test_several_well_known_names_are_ambiguous(tmp_path):
    table = Table(tmp_path / "items.csv", ["item", "asin", "title"], COMMAS)
    with pytest.raises(DataError, match="columns item, asin could each be the item; choose with item_column"):
        find_id_column(table)
    assert find_id_column(table, preferred="asin") == "asin"


@pytest.mark.parametrize(("role", "column"), [("item", "user_id"), ("user", "asin")])
def test_the_only_column_does_not_hold_ids_of_the_other_role(role, column, tmp_path):
    with pytest.raises(DataError, match=f"no {role} column"):
        find_id_column(Table(tmp_path / "ids.csv", [column], COMMAS), role)


def test_an_id_map_is_read_back(tmp_path):
    save_id_map(pl.Series(IDS), str(tmp_path / "new" / "items.parquet"))
    assert IdMap.read(tmp_path / "new" / "items.parquet", "item", 3).ids.to_list() == IDS
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["items.parquet"]
