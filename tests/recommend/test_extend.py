"""``extend`` writes what ``with_items`` returns; its result can be extended again and served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crossrec.cli import main
from crossrec.data import load
from crossrec.data.io.atomic import read_json
from crossrec.data.io.feature_card import FeatureCard, RowSource, card_path, write_card
from crossrec.data.io.manifest import file_entry
from crossrec.errors import ConfigError, DataError, RunError
from crossrec.recommend import ExtensionSummary, Recommender, extend
from crossrec.recommend.item_table import ItemTable
from crossrec.runs.config import load_config
from crossrec.runs.execute import run
from crossrec.serving import ServedRun

from .conftest import config, tiny_features


@pytest.fixture
def arrivals(tmp_path):
    """Three new items (the last without features) and one that the run has."""
    folder = tmp_path / "arrivals"
    folder.mkdir()
    (folder / "items.csv").write_text("item_id,title\n7,old\n100,first\n101,second\n102,bare\n")
    for modality, raw in tiny_features().items():
        np.save(folder / f"{modality}_feat.npy", np.vstack([raw[[7, 0, 1]], np.zeros_like(raw[:1])]))
    return folder


def test_the_extended_run_matches_with_items_and_extends_again(tiny, tiny_run, arrivals, tmp_path):
    summary = extend(tiny_run, arrivals, tmp_path / "more")
    assert summary == ExtensionSummary(added=2, untouched=0, left_out=[102])
    extended = Recommender.open(tmp_path / "more")
    expected = tiny.with_items([100, 101], {m: x[:2] for m, x in tiny_features().items()})
    assert extended.recommend(k=42).equals(expected.recommend(k=42))
    assert extended.similar([100, 3], 5).equals(expected.similar([100, 3], 5))
    assert extended.similar([100], 1, by="text")["similar"].to_list() == [0]
    assert extended.vectors.identity != tiny.vectors.identity

    (arrivals / "items.csv").write_text("item_id\n100\n101\n103\n104\n")
    again = extend(tmp_path / "more", arrivals, tmp_path / "again")
    assert again == ExtensionSummary(added=1, untouched=0, left_out=[104])
    third = {m: x[[1]] for m, x in tiny_features().items()}
    twice = Recommender.open(tmp_path / "again")
    assert twice.items.ids.to_list() == [*range(40), 100, 101, 103]
    for name, before, answer in (("more", tiny, summary), ("again", extended, again)):
        assert read_json(tmp_path / name / "metrics.json")["extended"] == {
            "run": before.vectors.identity,
            "items": answer.added,
            "untouched": 0,
            "how": "blend",
            "share": answer.share,
            "trained_items": 40,
        }
    lists, expected_lists = (
        recommender.recommend(k=43).sort("user", "item") for recommender in (twice, expected.with_items([103], third))
    )
    assert lists.select("user", "item").equals(expected_lists.select("user", "item"))
    # sums depend on where tensors lie in memory
    assert lists["score"].to_numpy() == pytest.approx(expected_lists["score"].to_numpy(), abs=1e-6)


def test_untouched_items_of_the_run_get_vectors_too(text, text_run, tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "items.csv").write_text('product_id\n"tea, 10"\n')
    np.save(folder / "sound_feat.npy", np.ones((1, 6)))
    assert extend(text_run, folder, tmp_path / "more", how="ridge") == ExtensionSummary(0, 1, [])
    extended = Recommender.open(tmp_path / "more")
    assert extended.recommend(k=11).equals(text.with_untouched("ridge").recommend(k=11))
    assert extended.similar(["tea, 10"], 3).height == 3
    assert extended.explain("Ann-1", "tea, 10") == text.with_untouched("ridge").explain("Ann-1", "tea, 10")
    assert extend(tmp_path / "more", folder, tmp_path / "same") == ExtensionSummary(0, 0, [])
    assert Recommender.open(tmp_path / "same").vectors.identity == extended.vectors.identity


def test_an_extended_run_replaces_a_served_run(tiny_run, arrivals, tmp_path):
    (tmp_path / "current").symlink_to(tiny_run)
    served_run = ServedRun(tmp_path / "current")
    extend(tiny_run, arrivals, tmp_path / "more")
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to("more")
    assert served_run.check()
    assert served_run.current.card["items"] == 42


def test_the_command(tiny_run, arrivals, tmp_path, capsys):
    assert main(["extend", str(tiny_run), "--data", str(arrivals), "--out", str(tmp_path / "more")]) == 0
    lines = capsys.readouterr().out.splitlines()
    lists = Recommender.open(tmp_path / "more").recommend()
    got = lists["item"].is_in([100, 101]).mean()
    assert 0 < got < 1
    assert lines == [
        "new items: 2; items of the run that nobody has taken: 0",
        f"the new items get {got:.2%} of the places in lists of ten; --share sets it",
        "left out, without features: 1 (102)",
        str(tmp_path / "more"),
    ]
    assert main(["extend", str(tiny_run), "--data", str(arrivals), "--out", str(tmp_path / "more")]) == 2
    assert capsys.readouterr().err == f"crossrec: error: {tmp_path}/more is there already: give another --out\n"


def test_the_share_of_new_items_is_set(tiny_run, arrivals, tmp_path, capsys):
    flags = ["--data", str(arrivals), "--out", str(tmp_path / "more"), "--share", "0.05"]
    assert main(["extend", str(tiny_run), *flags]) == 0
    got = Recommender.open(tmp_path / "more").recommend()["item"].is_in([100, 101]).mean()
    assert got == pytest.approx(0.05, abs=0.01)
    assert f"the new items get {got:.2%} of the places" in capsys.readouterr().out


def test_a_refused_extension_leaves_no_folder(tiny_run, arrivals, tmp_path):
    plain = tmp_path / "plain"
    run(config("synthetic-tiny"), plain)
    out = tmp_path / "out"

    def refused(error, message, source=tiny_run, data=arrivals):
        with pytest.raises(error, match=message):
            extend(source, data, out)
        assert not out.exists()

    refused(ConfigError, "knows no content", source=plain)
    refused(RunError, "no such folder", source=tmp_path / "none")
    refused(DataError, "no such file or folder", data=tmp_path / "none")
    refused(DataError, "a file; give the folder", data=arrivals / "items.csv")
    (arrivals / "items.csv").write_text("item_id\n100\n101\n")
    refused(DataError, "4 rows for 2 items; make it again")
    (arrivals / "items.csv").write_text("item_id\nx1\nx2\nx3\nx4\n")
    refused(DataError, "ids like the others, of type Int64")
    (arrivals / "items.csv").unlink()
    refused(DataError, "no items table")
    np.save(arrivals / "text_feat.npy", np.ones((4, 5)))
    (arrivals / "items.csv").write_text("item_id\n100\n101\n102\n103\n")
    refused(DataError, "'text': 5 numbers an item, the run was trained with 8")
    for file in arrivals.glob("*.npy"):
        file.unlink()
    refused(DataError, "no image_feat.npy or text_feat.npy; 'crossrec data features' makes them")


OF_MODEL = {"model": "minilm", "model_digest": "ab" * 32, "settings": {"prompt": None, "tokens": 64}, "rule": "mean"}


def write_sounds(folder, ids, seed, **card):
    """Write an items table and features of the modality sound; ``card``: the fields about their model, if any."""
    folder.mkdir(exist_ok=True)
    (folder / "items.csv").write_text("\n".join(["item_id", *ids]) + "\n")
    path = folder / "sound_feat.npy"
    np.save(path, np.random.default_rng(seed).normal(size=(len(ids), 6)).astype(np.float32))
    card_path(path).unlink(missing_ok=True)
    if card:
        card |= {"file": path.name, "modality": "sound", "items": len(ids), "dimension": 6, "dtype": "float32"}
        rows = RowSource.of(["item_id"], pl.Series(ids), pl.DataFrame())
        write_card(path, FeatureCard(**card, counts={}, rows=rows, sha256=file_entry(path)["sha256"]))
    return folder


@pytest.fixture(scope="module")
def carded_run(tmp_path_factory):
    """A run whose features have a card."""
    shop = write_sounds(tmp_path_factory.mktemp("data") / "shop", [f"sku-{n}" for n in range(10)], 0, **OF_MODEL)
    pairs = [f"u{user},sku-{(user + n) % 10}" for user in range(12) for n in range(6)]
    (shop / "interactions.csv").write_text("\n".join(["user_id,item_id", *pairs]) + "\n")
    out = tmp_path_factory.mktemp("runs") / "carded"
    run(config(str(shop), "vbpr"), out)
    return out


def test_a_run_keeps_the_cards_of_its_features(carded_run, tmp_path):
    card = Recommender.open(carded_run).vectors.feature_cards["sound"]
    assert (card.model, card.model_digest, card.settings["tokens"]) == ("minilm", "ab" * 32, 64)
    data = load(load_config(carded_run / "config.json").data)
    assert data.feature_cards == {"sound": card}
    assert (
        card.sha256 == file_entry(Path(load_config(carded_run / "config.json").data.data) / "sound_feat.npy")["sha256"]
    )
    arrivals = write_sounds(tmp_path / "new", ["sku-20", "sku-21"], 1, **OF_MODEL)
    assert extend(carded_run, arrivals, tmp_path / "more").added == 2
    assert Recommender.open(tmp_path / "more").vectors.feature_cards == {"sound": card}


OTHER_FEATURES = {
    "another model": ({"model_digest": "cd" * 32}, "is made with minilm (weights cdcdcdcd, tokens 64; mean), but"),
    "another setting": (
        {"settings": {"prompt": "q: ", "tokens": 64}},
        "is made with minilm (weights abababab, prompt q: ",
    ),
    "another rule": ({"rule": "pooled output"}, "(weights abababab, tokens 64; pooled output), but"),
    "unknown": (
        None,
        "has no card that says of which model it is, but the run's features with minilm (weights abababab",
    ),
}


@pytest.mark.parametrize(("changes", "reason"), OTHER_FEATURES.values(), ids=OTHER_FEATURES)
def test_features_of_another_model_are_refused(carded_run, tmp_path, changes, reason):
    card = {} if changes is None else OF_MODEL | changes
    arrivals = write_sounds(tmp_path / "new", ["sku-20", "sku-21"], 1, **card)
    with pytest.raises(DataError) as error:
        extend(carded_run, arrivals, tmp_path / "more")
    assert str(error.value).startswith(f"{arrivals}/sound_feat.npy: ")
    assert reason in str(error.value)
    assert "make it again with that model" in str(error.value)
    assert not (tmp_path / "more").exists()


def test_new_features_of_other_items_or_altered_ones_are_refused(carded_run, tmp_path):
    arrivals = write_sounds(tmp_path / "new", ["sku-20", "sku-21"], 1, **OF_MODEL)
    (arrivals / "items.csv").write_text("item_id\nsku-21\nsku-20\n")
    with pytest.raises(DataError, match=r"items\.csv: item_id are not as they were when sound_feat\.npy was made"):
        extend(carded_run, arrivals, tmp_path / "more")
    arrivals = write_sounds(tmp_path / "new", ["sku-20", "sku-21"], 1, **OF_MODEL)
    np.save(arrivals / "sound_feat.npy", np.ones((2, 6), dtype=np.float32))
    with pytest.raises(DataError, match=r"sound_feat\.npy: altered"):
        extend(carded_run, arrivals, tmp_path / "more")


def test_a_run_whose_features_have_no_card_takes_any(text_run, tmp_path):
    arrivals = write_sounds(tmp_path / "new", ["tea 20"], 1, **OF_MODEL)
    assert extend(text_run, arrivals, tmp_path / "more").added == 1


def test_a_table_of_items_has_an_empty_row_for_each_new_one():
    table = ItemTable(pl.DataFrame({"price": [3.5, 2.0]}), Path("items.csv"))
    assert table.widened(4).frame["price"].to_list() == [3.5, 2.0, None, None]
    assert table.widened(2) is table
