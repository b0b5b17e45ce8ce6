"""The folder of an import: it appears when complete, replaces nothing by mistake, and has a card; and real data."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crossrec.data import DataConfig, ImportCard, ImportConfig, import_data, load, validate
from crossrec.data.io.atomic import new_folder
from crossrec.data.io.features import open_features
from crossrec.data.io.tables import open_table, write_frames
from crossrec.errors import ConfigError, DataError, RunError

LOG = "user,item,rating\n" + "".join(f"u{u},i{(u * k) % 7},{k}\n" for u in range(6) for k in range(1, 6))


@pytest.fixture
def folder(put):
    """A source of 30 rows, with features."""
    items = "item\n" + "".join(f"i{n}\n" for n in range(7))
    return put({"log.csv": LOG, "items.csv": items, "image_feat.npy": np.eye(7)})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


STAGES = ["reading", "looking for duplicates", "k-core, round by round", "splitting", "features image", "writing"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_stop_at_any_stage_changes_nothing(stage, error, folder, tmp_path):
    config = ImportConfig(min_item_interactions=4, min_user_interactions=3)
    steps = []

    def stop(step: str, done: int, total: int) -> None:
        steps.append(step)
        if step == stage:
            raise error

    before = names(tmp_path)
    for out in (tmp_path / "below" / "deep" / "out", tmp_path / "out"):
        with pytest.raises((error, RunError)):  # polars wraps what happens while it writes
            import_data(folder, out, config, on_progress=stop)
    assert names(tmp_path) == before
    import_data(folder, tmp_path / "out", config)
    good = content(tmp_path / "out")
    with pytest.raises((error, RunError)):
        import_data(folder, tmp_path / "out", ImportConfig(), overwrite=True, on_progress=_stop_when_writing(error))
    assert content(tmp_path / "out") == good
    assert stage in steps


def _stop_when_writing(error):
    def stop(step: str, done: int, total: int) -> None:
        if step == "writing":
            raise error

    return stop


def test_an_existing_target_is_an_error_unless_an_import_made_it(folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    import_data(folder, out)  # an empty folder holds nothing to lose
    good = content(out)
    with pytest.raises(ConfigError, match="is there already; name another folder, or replace it with overwrite"):
        import_data(folder, out)
    assert content(out) == good
    card = import_data(folder, out, ImportConfig(min_rating=2), overwrite=True)
    assert content(out) != good
    assert card.rules["min_rating"] == 2
    assert names(tmp_path) == ["out", "set"]
    (out / "text_feat.npy").write_bytes(b"made later")
    with pytest.raises(ConfigError, match=r"holds text_feat.npy, which the import did not make; move it away"):
        import_data(folder, out, overwrite=True)
    (tmp_path / "file").write_text("text")
    with pytest.raises(ConfigError, match="is a file or a link; name a folder"):
        import_data(folder, tmp_path / "file", overwrite=True)
    with pytest.raises(ConfigError, match="no import made this folder, so it is not replaced"):
        import_data(out, folder, overwrite=True)
    with pytest.raises(ConfigError, match="holds the source, which would be lost"):
        import_data(folder / "log.csv", folder, overwrite=True)
    assert (out / "text_feat.npy").read_bytes() == b"made later"


def test_a_folder_that_cannot_be_created(folder, tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(RunError, match="out: cannot be written"):
        import_data(folder, tmp_path / "file" / "out")


def test_the_card_is_complete_and_can_be_read_back(folder, tmp_path):
    card = import_data(folder, tmp_path / "out", ImportConfig(duplicates="last", min_user_interactions=2))
    assert ImportCard.read(tmp_path / "out") == card
    assert card.files == names(tmp_path / "out")
    assert card.source[0].bytes == os.path.getsize(folder / "log.csv")
    assert [file.name for file in card.source] == ["log.csv", "image_feat.npy", "items.csv"]
    assert set(card.versions) == {"crossrec", "python", "polars", "numpy"}
    assert set(card.rules) == set(ImportConfig.model_fields)
    text = (tmp_path / "out" / "card.md").read_text()
    for line in (
        "# out",
        "| duplicates | last kept |",
        "| k-core | 2 a user, 0 an item; ",
        "image: 7 columns of float64",
    ):
        assert line in text, text
    assert str(tmp_path) not in text + (tmp_path / "out" / "card.json").read_text()
    (tmp_path / "out" / "card.json").write_text("{}")
    with pytest.raises(DataError, match=r"card.json: damaged, or of another version of crossrec"):
        ImportCard.read(tmp_path / "out")


def test_paths_may_be_text(folder, tmp_path):
    config = ImportConfig(items=str(folder / "items.csv"))
    card = import_data(str(folder / "log.csv"), str(tmp_path / "out"), config)
    assert ImportCard.read(str(tmp_path / "out")) == card
    assert open_features(str(tmp_path / "out" / "image_feat.npy")).shape == (7, 7)
    assert open_table(str(tmp_path / "out" / "items.parquet")).columns == ["item"]
    with new_folder(str(tmp_path / "new")) as draft:
        write_frames(iter([pl.DataFrame({"a": [1]})]), str(draft / "a.csv"), pl.DataFrame({"a": []}, {"a": pl.Int64}))
    assert content(tmp_path / "new") == {"a.csv": b"a\n1\n"}


def test_progress_reaches_the_total(folder, tmp_path):
    progress: dict[str, tuple[int, int]] = {}
    import_data(folder, tmp_path / "out", on_progress=lambda step, done, total: progress.update({step: (done, total)}))
    assert progress["reading"] == (os.path.getsize(folder / "log.csv"),) * 2
    rows = pl.read_parquet(tmp_path / "out" / "interactions.parquet").height
    assert progress["writing"] == (rows, rows)


def test_an_imported_folder_loads_like_its_source(folder, tmp_path):
    # u0 and i0 occur together five times; no other pair repeats
    card = import_data(folder, tmp_path / "out")
    raw = load(DataConfig(data=str(folder), duplicates="drop"))
    imported = load(DataConfig(data=str(tmp_path / "out")))
    assert imported.fingerprint() == raw.fingerprint()
    assert imported.user_ids.to_list() == raw.user_ids.to_list()
    assert imported.item_ids.to_list() == raw.item_ids.to_list()
    assert card.steps[-1].interactions == 30 - raw.dropped_duplicates
    assert card.steps[-1].rule == "first kept"


def test_tiktok_is_imported_unchanged(real, tmp_path):
    card = import_data(real("tiktok"), tmp_path / "tiktok")
    assert card.splits == {"train": 59541, "valid": 3051, "test": 6130}
    assert (card.steps[-1].users, card.steps[-1].items) == (9308, 6710)
    config = DataConfig(data=str(tmp_path / "tiktok"))
    raw = DataConfig(data=str(real("tiktok")))
    assert load(config).fingerprint() == load(raw).fingerprint()
    [finding] = validate(config)
    assert "10 users have no training row" in finding.message


def test_baby_is_a_five_core(real, tmp_path):
    card = import_data(real("baby"), tmp_path / "baby", ImportConfig(min_user_interactions=5, min_item_interactions=5))
    assert [step.interactions for step in card.steps] == [160792, 160792]
    assert load(DataConfig(data=str(tmp_path / "baby"))).num_items == 7050


def test_a_file_whose_name_is_no_text_is_imported(tmp_path):
    path = tmp_path / b"log\xff.csv".decode("utf-8", "surrogateescape")
    try:
        path.write_text("user,item\na,b\n")
    except OSError:
        pytest.skip("the file system takes names in UTF-8 only")
    card = import_data(path, tmp_path / "out")
    assert [file.name for file in card.source] == [r"log\udcff.csv"]
    assert ImportCard.read(tmp_path / "out") == card
