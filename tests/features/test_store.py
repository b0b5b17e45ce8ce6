"""Encoding resumes to the same bits, reuses unchanged rows, and keeps the old file until the new one is complete."""

from __future__ import annotations

import errno
import json
import os
import shutil

import numpy as np
import polars as pl
import pytest

from crossrec.data import DataConfig, validate
from crossrec.errors import ConfigError, DataError, RunError
from crossrec.features import encode as run, store
from crossrec.features.text import TextInputs

MANY = [
    f"{'soft ' * (n % 11)}{colour} {thing}" for n in range(6) for colour in ("red", "blue") for thing in ("cap", "tie")
]


def stop_at(count):
    def stop(modality, done, total):
        if done >= count:
            raise KeyboardInterrupt

    return stop


def write(folder, texts, ids=None):
    folder.mkdir(exist_ok=True)
    frame = pl.DataFrame({"item": ids or [f"i{n}" for n in range(len(texts))], "text": texts})
    frame.write_parquet(folder / "items.parquet")
    return folder


def features(folder):
    return np.load(folder / "text_feat.npy")


def everything(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def encode_texts(tmp_path, bert, encode):
    """Encode a folder of texts by the small BERT; ``expected`` holds the features of an undisturbed call."""

    def call(folder, **settings):
        return encode(folder, **{"text": ("text",), "text_model": str(bert), "batch_size": 5, **settings})

    call(write(tmp_path / "complete", MANY))
    call.expected = features(tmp_path / "complete")
    return call


def test_an_interrupted_run_resumes_to_the_same_bits(tmp_path, encode_texts, encode):
    folder = write(tmp_path / "shop", MANY)
    with pytest.raises(KeyboardInterrupt):
        encode_texts(folder, on_progress=stop_at(10))
    assert not list(folder.glob("*.npy"))
    assert not list(folder.glob("*.json"))
    with pytest.raises(KeyboardInterrupt):
        encode_texts(folder, on_progress=stop_at(15))
    assert encode.seen == [("text", 10, 24), ("text", 15, 24)]
    card = encode_texts(folder)
    assert encode.seen[0] == ("text", 15, 24)
    assert (features(folder) == encode_texts.expected).all()
    assert card.counts == {"encoded": 24, "no_text": 0, "placeholder": 0, "cut": 0, "not_finite": 0}
    assert sorted(file.name for file in (folder / ".text_feat").iterdir()) == ["ledger.npy"]


@pytest.mark.parametrize("every", [0.0, 1e9])
def test_a_killed_run_resumes_to_the_same_bits(tmp_path, encode_texts, encode, monkeypatch, every):
    """The files in the middle of a run are those that a kill at that moment would leave."""
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", every)
    folder, killed = write(tmp_path / "shop", MANY), tmp_path / "killed"

    def copy(modality, done, total):
        if done == 15:
            shutil.copytree(folder, killed)

    encode_texts(folder, on_progress=copy)
    encode_texts(killed)
    assert encode.seen[0] == ("text", 15 if every == 0 else 0, 24)
    assert (features(killed) == encode_texts.expected).all()


def shop_of(folder, texts, ids):
    write(folder, texts, ids)
    pairs = [(f"u{user}", ids[(user + n) % len(ids)]) for user in range(8) for n in range(5)]
    pl.DataFrame(pairs, schema=["user", "item"], orient="row").write_parquet(folder / "interactions.parquet")
    return folder


def problems(folder):
    return [finding.message for finding in validate(DataConfig(data=str(folder)))]


def test_a_table_in_another_order_is_refused_until_the_features_are_made_again(tmp_path, encode_texts, encode):
    ids = [f"i{n}" for n in range(len(MANY))]
    folder = shop_of(tmp_path / "shop", MANY, ids)
    encode_texts(folder)
    assert problems(folder) == []
    write(folder, MANY[::-1], ids[::-1])
    (message,) = problems(folder)
    assert message.startswith(f"{folder}/items.parquet: item, text are not as they were when text_feat.npy was made")
    assert "crossrec data features --overwrite" in message
    with pytest.raises(ConfigError, match="made of other inputs; --overwrite"):
        encode_texts(folder)
    encode_texts(folder, overwrite=True)
    assert encode.seen == [("text", 24, 24)], "all rows are copied"
    assert (features(folder) == encode_texts.expected[::-1]).all()
    assert problems(folder) == []


def test_other_ids_of_the_same_texts_are_refused_until_the_features_are_made_again(tmp_path, encode_texts, encode):
    ids = [f"i{n}" for n in range(len(MANY))]
    folder = shop_of(tmp_path / "shop", MANY, ids)
    encode_texts(folder)
    write(folder, MANY, ids[::-1])
    assert "item, text are not as they were" in problems(folder)[0]
    with pytest.raises(ConfigError, match="made of other inputs; --overwrite"):
        encode_texts(folder)
    encode_texts(folder, overwrite=True)
    assert encode.seen == [("text", 24, 24)]
    assert problems(folder) == []
    assert (features(folder) == encode_texts.expected).all()


def test_texts_from_a_table_elsewhere_are_held_against_the_ids_of_the_folder(tmp_path, encode_texts):
    ids = [f"i{n}" for n in range(len(MANY))]
    folder, elsewhere = (
        shop_of(tmp_path / "shop", [""] * len(MANY), ids),
        write(tmp_path / "all", MANY[::-1], ids[::-1]),
    )
    assert encode_texts(folder, items=elsewhere / "items.parquet").rows.columns == ("item",)
    assert (features(folder) == encode_texts.expected).all()
    write(folder, MANY, ids)
    assert problems(folder) == []
    write(folder, MANY, ids[::-1])
    assert "items.parquet: item are not as they were" in problems(folder)[0]


def test_a_run_with_broken_pictures_resumes(tmp_path, vit, picture, encode):
    folders = [tmp_path / name for name in ("complete", "stopped")]
    for folder in folders:
        folder.mkdir()
        for n in range(12):
            if n % 3:
                picture(n, mode="L" if n % 2 else "RGB").save(folder / f"{n}.png")
            else:
                (folder / f"{n}.png").write_bytes(b"no picture")
        ids = [f"i{n}" for n in range(12)]
        pl.DataFrame({"item": ids, "file": [f"{n}.png" for n in range(12)]}).write_parquet(folder / "items.parquet")
    settings = {"image": "file", "image_model": str(vit), "batch_size": 5}
    card = encode(folders[0], **settings)
    with pytest.raises(KeyboardInterrupt):
        encode(folders[1], **settings, on_progress=stop_at(5))
    again = encode(folders[1], **settings)
    assert encode.seen[0] == ("image", 5, 12)
    assert again.counts == card.counts
    assert (card.counts["encoded"], card.counts["broken"], card.counts["converted"]) == (8, 4, 4)
    assert (np.load(folders[1] / "image_feat.npy") == np.load(folders[0] / "image_feat.npy")).all()


def test_unchanged_inputs_load_no_model_and_write_nothing(tmp_path, encode_texts, monkeypatch):
    folder = tmp_path / "complete"
    before = everything(folder)
    monkeypatch.setattr(TextInputs, "encoder", lambda self: pytest.fail("the model was loaded"))
    encode_texts(folder)
    encode_texts(folder, overwrite=True, batch_size=2, device="auto")
    assert everything(folder) == before


def test_only_changed_texts_are_encoded(tmp_path, encode_texts, encode):
    folder = write(tmp_path / "shop", [*MANY[:20], None])
    encode_texts(folder)
    before = features(folder)
    # in another order, one with other words, one new, one gone
    ids = [f"i{n}" for n in range(19, -1, -1)]
    texts = [MANY[n] for n in range(19, -1, -1)]
    write(folder, [*texts[:4], "a green hat", *texts[5:], "a new one"], [*ids, "new"])
    with pytest.raises(ConfigError, match="is there already, made of other inputs; --overwrite replaces it"):
        encode_texts(folder)
    assert (features(folder) == before).all()
    card = encode_texts(folder, overwrite=True)
    assert encode.seen[0] == ("text", 19, 21)
    after = features(folder)
    unchanged = [n for n in range(20) if n != 4]
    assert (after[unchanged] == before[:20][::-1][unchanged]).all()
    encode_texts(write(tmp_path / "fresh", [*texts[:4], "a green hat", *texts[5:], "a new one"]))
    np.testing.assert_allclose(after, features(tmp_path / "fresh"), atol=1e-5)
    assert card.counts == {"encoded": 21, "no_text": 0, "placeholder": 0, "cut": 0, "not_finite": 0}


def test_a_stopped_run_is_reused_after_texts_change(tmp_path, encode_texts, encode):
    folder = write(tmp_path / "shop", MANY)
    with pytest.raises(KeyboardInterrupt):
        encode_texts(folder, on_progress=stop_at(10))
    write(folder, [*MANY, "one more"])
    encode_texts(folder)
    assert encode.seen[0] == ("text", 10, 25)
    np.testing.assert_allclose(features(folder)[:24], encode_texts.expected, atol=1e-5)


@pytest.mark.parametrize("change", ["model", "prompt", "tokens", "dtype"])
def test_another_model_or_setting_encodes_all_rows(tmp_path, encode_texts, encode, save_bert, change):
    folder = write(tmp_path / "shop", MANY)
    encode_texts(folder)
    before = features(folder)
    settings = {
        "model": {"text_model": str(save_bert(1))} if change == "model" else {},
        "prompt": {"text_prompt": "passage: "},
        "tokens": {"text_tokens": 8},
        "dtype": {"dtype": "float16"},
    }[change]
    with pytest.raises(
        ConfigError, match=r"made with another model or other settings.*--text-name NAME writes another"
    ):
        encode_texts(folder, **settings)

    def still_there(modality, done, total):
        assert (features(folder) == before).all()

    with pytest.raises(KeyboardInterrupt):
        encode_texts(folder, **settings, overwrite=True, on_progress=stop_at(10))
    assert (features(folder) == before).all()
    encode_texts(folder, **settings, overwrite=True, on_progress=still_there)
    assert encode.seen[0] == ("text", 10, 24)
    assert not np.allclose(features(folder), before, atol=1e-6)


def test_a_model_changed_in_its_folder_is_noticed(tmp_path, encode_texts, encode, bert):
    copy = tmp_path / "model"
    shutil.copytree(bert, copy)
    folder = write(tmp_path / "shop", MANY)
    with pytest.raises(KeyboardInterrupt):
        encode_texts(folder, text_model=str(copy), on_progress=stop_at(10))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    encode_texts(folder, text_model=str(copy))
    assert encode.seen[0] == ("text", 0, 24)
    assert not np.allclose(features(folder), encode_texts.expected, atol=1e-6)


def test_a_file_of_other_origin_is_not_replaced(tmp_path, encode_texts):
    folder = write(tmp_path / "shop", MANY)
    np.save(folder / "text_feat.npy", np.ones((24, 3)))
    before = everything(folder)
    with pytest.raises(ConfigError, match=r"text_feat.npy is there already, and not as this command has made it"):
        encode_texts(folder)
    assert everything(folder) == before
    encode_texts(folder, overwrite=True)
    np.save(folder / "text_feat.npy", encode_texts.expected + 1)  # the card no longer describes it
    write(folder, [*MANY[:-1], "a last one"])
    with pytest.raises(ConfigError, match="and not as this command has made it"):
        encode_texts(folder)
    encode_texts(folder, overwrite=True)
    np.testing.assert_allclose(features(folder)[:-1], encode_texts.expected[:-1], atol=1e-5)


def test_a_ledger_of_another_file_is_ignored(tmp_path, encode_texts, encode):
    folder = write(tmp_path / "shop", MANY[::-1])
    encode_texts(folder)
    for name in ("text_feat.npy", "text_feat.json"):
        shutil.copy(tmp_path / "complete" / name, folder)
    write(folder, [*MANY, "one more"])
    encode_texts(folder, overwrite=True)
    assert encode.seen[0] == ("text", 0, 25)
    np.testing.assert_allclose(features(folder)[:24], encode_texts.expected, atol=1e-5)


@pytest.mark.parametrize("moves", [0, 1, 2])
def test_a_kill_while_the_file_is_moved_into_place(tmp_path, encode_texts, monkeypatch, moves):
    folder = write(tmp_path / "shop", MANY[:20])
    encode_texts(folder)
    write(folder, MANY)
    left = [moves]

    def move(draft, path):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        os.replace(draft, path)

    with monkeypatch.context() as patch:
        patch.setattr(store, "move_into_place", move)
        with pytest.raises(KeyboardInterrupt):
            encode_texts(folder, overwrite=True)
    monkeypatch.setattr(TextInputs, "encoder", lambda self: pytest.fail("the model was loaded"))
    encode_texts(folder)
    np.testing.assert_allclose(features(folder), encode_texts.expected, atol=1e-5)
    assert sorted(file.name for file in (folder / ".text_feat").iterdir()) == ["ledger.npy"]


@pytest.mark.parametrize("damage", ["draft", "ledger", "shorter"])
def test_a_damaged_draft_is_replaced(tmp_path, encode_texts, encode, damage):
    folder = write(tmp_path / "shop", MANY)
    with pytest.raises(KeyboardInterrupt):
        encode_texts(folder, on_progress=stop_at(10))
    ledger = next((folder / ".text_feat").glob("*.ledger.npy"))
    draft = ledger.with_name(ledger.name.replace(".ledger", ""))
    spoilt = ledger if damage == "ledger" else draft
    spoilt.write_bytes(spoilt.read_bytes()[:-7] if damage == "shorter" else b"nothing of the kind")
    encode_texts(folder)
    assert encode.seen[0] == ("text", 0, 24)
    assert (features(folder) == encode_texts.expected).all()


def test_two_processes_cannot_make_one_file(tmp_path, encode_texts):
    folder = write(tmp_path / "shop", MANY)

    def meanwhile(modality, done, total):
        if done == 10:
            with pytest.raises(ConfigError, match=r"text_feat.npy is being made by another process"):
                encode_texts(folder)

    encode_texts(folder, on_progress=meanwhile)
    assert (features(folder) == encode_texts.expected).all()


def test_a_full_disk_is_an_error_and_keeps_the_old_file(tmp_path, encode_texts, monkeypatch):
    folder = write(tmp_path / "shop", MANY[:20])
    encode_texts(folder)
    before = features(folder)
    write(folder, MANY)

    def full(self, rows, vectors):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store.RowWriter, "write", full)
        with pytest.raises(RunError, match=r"text_feat.npy: cannot be written: No space left on device; free some"):
            encode_texts(folder, overwrite=True)
    assert (features(folder) == before).all()
    encode_texts(folder, overwrite=True)
    np.testing.assert_allclose(features(folder), encode_texts.expected, atol=1e-5)


def test_where_no_item_gets_a_vector_nothing_is_written(tmp_path, vit, encode):
    folder = tmp_path / "shop"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}.png").write_bytes(b"no picture")
    pl.DataFrame({"item": ["a", "b", "c"], "file": ["0.png", "1.png", None]}).write_parquet(folder / "items.parquet")
    before = everything(folder)
    with pytest.raises(DataError, match=r"image_feat.npy: no item got a vector \(no_picture 1, broken 2\)"):
        encode(folder, image="file", image_model=str(vit))
    assert everything(folder) == before
    assert not (folder / ".image_feat").exists()
