"""Text features: vectors are those of the sentence encoder, in the row order of the loader."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from crossrec.data import DataConfig, load, validate
from crossrec.data.io.feature_card import read_card
from crossrec.features import FeaturesConfig, encode_features


def direct(model, texts, **options):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(model), device="cpu").encode(texts, show_progress_bar=False, **options)


def test_a_real_encoder_end_to_end(shop, minilm, encode):
    card = encode(shop, text=("title",), text_model=str(minilm), batch_size=4)
    features = np.load(shop / "text_feat.npy", allow_pickle=False)
    titles = pl.read_parquet(shop / "items.parquet")["title"].to_list()
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, direct(minilm, titles), atol=1e-5)
    similar = features @ features.T - 2 * np.eye(len(features))
    assert (similar.argmax(axis=1) // 3 == np.arange(9) // 3).all()  # dresses, knives, bikes
    assert validate(DataConfig(data=str(shop), split="leave_one_out")) == []
    assert load(DataConfig(data=str(shop), feature_scaling="l2")).features["text"] == pytest.approx(features, abs=1e-5)
    assert read_card(shop / "text_feat.npy") == card
    assert (card.items, card.dimension, card.dtype, card.sources) == (9, 384, "float32", ("title",))
    assert card.counts == {"encoded": 9, "no_text": 0, "placeholder": 0, "cut": 0, "not_finite": 0}
    assert card.rule == "Transformer → Pooling → Normalize"
    assert encode.seen[0] == ("text", 0, 9)
    assert encode.seen[-1] == ("text", 9, 9)


def test_columns_of_any_type_are_joined_and_an_item_without_text_is_zero(tmp_path, bert, encode):
    items = pl.DataFrame(
        {
            "item": [30, 10, 20, 40, 50],
            "title": ["lamp", " ", None, "", "vase"],
            "price": [9.5, 2.0, None, float("nan"), None],
            "tags": [["oak", "tall"], None, None, [], ["blue", None]],
        }
    )
    items.write_parquet(tmp_path / "items.parquet")
    card = encode(tmp_path, text=("title", "tags", "price"), text_model=str(bert))
    features = np.load(tmp_path / "text_feat.npy")
    np.testing.assert_allclose(
        features[[0, 1, 4]], direct(bert, ["lamp\noak tall\n9.5", "2.0", "vase\nblue"]), atol=1e-5
    )
    assert not features[2:4].any()
    assert (card.counts["encoded"], card.counts["no_text"]) == (3, 2)


@pytest.mark.parametrize("tokens", [None, 12])
def test_long_texts_are_cut_and_counted(tmp_path, bert, encode, tokens):
    texts = ["tea", "tea " * 30, "tea " * 31, "tea " * 10, "tea " * 11, "tea " * 3000]
    pl.DataFrame({"item": list("abcdef"), "text": texts}).write_parquet(tmp_path / "items.parquet")
    card = encode(tmp_path, text=("text",), text_model=str(bert), text_tokens=tokens)
    features = np.load(tmp_path / "text_feat.npy")
    # 32 tokens are read, or 12 of them, of which two stand for begin and end
    assert card.counts["cut"] == (2 if tokens is None else 4)
    longest = "tea " * (30 if tokens is None else 10)
    expected = direct(bert, ["tea", longest])
    np.testing.assert_allclose(features[[0, 5]], expected, atol=1e-5)


def test_the_batch_size_makes_no_difference(shop, bert, encode):
    features = []
    for size in (1, 4, 100):
        encode(shop, text=("title",), text_model=str(bert), text_name=f"by{size}", batch_size=size)
        features.append(np.load(shop / f"by{size}_feat.npy"))
    np.testing.assert_allclose(features[1], features[0], atol=1e-5)
    np.testing.assert_allclose(features[2], features[0], atol=1e-5)
    assert np.abs(features[0] - features[0][0]).max() > 0.01


def test_half_precision_and_a_prompt(shop, bert, encode):
    encode(shop, text=("title",), text_model=str(bert), text_prompt="passage: ", dtype="float16")
    features = np.load(shop / "text_feat.npy")
    titles = pl.read_parquet(shop / "items.parquet")["title"].to_list()
    assert features.dtype == np.float16
    np.testing.assert_allclose(features, direct(bert, [f"passage: {title}" for title in titles]), atol=2e-3)
    assert load(DataConfig(data=str(shop))).features["text"].shape == (9, 24)


def test_a_vector_that_is_not_finite_becomes_zero_and_is_counted(shop, bert, encode, monkeypatch):
    from crossrec.features.text import SentenceEncoder

    vectors = SentenceEncoder._vectors

    def spoil(self, texts):
        features = vectors(self, texts).copy()
        features[["knife" in text for text in texts], 3] = np.nan
        return features

    monkeypatch.setattr(SentenceEncoder, "_vectors", spoil)
    card = encode(shop, text=("title",), text_model=str(bert))
    assert card.counts == {"encoded": 6, "no_text": 0, "placeholder": 0, "cut": 0, "not_finite": 3}
    assert card.failed == ("sku-3: not finite", "sku-4: not finite", "sku-5: not finite")
    assert (~np.load(shop / "text_feat.npy").any(axis=1)).tolist() == [False] * 3 + [True] * 3 + [False] * 3


def test_rows_of_the_mmrec_layout_are_the_ids(tmp_path, bert, encode):
    (tmp_path / "a.inter").write_text("userID\titemID\tx_label\n0\t0\t0\n0\t4\t1\n1\t2\t0\n")
    (tmp_path / "items.csv").write_text('itemID,title\n4,"a lamp, tall"\n0,vase\n5,new\n')
    encode(tmp_path, text=("title",), text_model=str(bert))
    features = np.load(tmp_path / "text_feat.npy")
    assert features.any(axis=1).tolist() == [True, False, False, False, True, True]
    np.testing.assert_allclose(features[[4, 0, 5]], direct(bert, ["a lamp, tall", "vase", "new"]), atol=1e-5)
    assert load(DataConfig(data=str(tmp_path))).num_items == 6
    # other features say how many rows there are
    np.save(tmp_path / "sound_feat.npy", np.ones((8, 2)))
    encode(tmp_path, text=("title",), text_model=str(bert), overwrite=True)
    assert len(np.load(tmp_path / "text_feat.npy")) == 8


def test_columns_of_a_table_elsewhere(shop, bert, tmp_path, encode):
    ids = ["sku-3", "gone", "sku-0"]
    pl.DataFrame({"sku": ids, "words": ["knife", "gone", "dress"]}).write_csv(tmp_path / "all.csv")
    card = encode(shop, text=("words",), text_model=str(bert), items=tmp_path / "all.csv", item_column="sku")
    features = np.load(shop / "text_feat.npy")
    np.testing.assert_allclose(features[[3, 0]], direct(bert, ["knife", "dress"]), atol=1e-5)
    assert (card.counts["encoded"], card.counts["no_text"]) == (2, 7)


def test_both_modalities_in_one_call(shop, bert, vit, picture):
    (shop / "pictures").mkdir()
    picture(1).save(shop / "pictures" / "sku-4.png")
    config = FeaturesConfig(
        data=str(shop),
        text=("title",),
        text_model=str(bert),
        pictures=shop / "pictures",
        image_model=str(vit),
        device="cpu",
    )
    assert [card.modality for card in encode_features(config)] == ["text", "image"]
    loaded = load(DataConfig(data=str(shop)))
    assert {name: matrix.shape for name, matrix in loaded.features.items()} == {"image": (9, 16), "text": (9, 24)}


WORDS_FOR_NONE = ["null", "nan", "NaN", "None", "NONE", "N/A", "n/a", "<NA>", "#N/A", "NaT", "-", "--", "(none)", "nil"]
SHOWS_NOTHING = ["", " ", "\t\n", "\u200b", "\ufeff\u2060 \u00ad", "\u3000\xa0", "\u2800", "\x01\x7f"]
EMPTY_VALUES = [[], {}, [""], [None], [[]], ["\u200b"], None, "[]", "{}", "[[]]", '[""]']


@pytest.mark.parametrize("format", ["jsonl", "csv", "parquet"])
def test_a_text_that_says_nothing_is_none(format, tmp_path, bert, encode):
    texts = ["vase", *WORDS_FOR_NONE, *SHOWS_NOTHING, "nanotube"]
    items = pl.DataFrame({"item": range(len(texts)), "text": texts})
    path = tmp_path / f"items.{format}"
    {"jsonl": items.write_ndjson, "csv": items.write_csv, "parquet": items.write_parquet}[format](path)
    card = encode(tmp_path, text=("text",), text_model=str(bert))
    features = np.load(tmp_path / "text_feat.npy")
    assert np.flatnonzero(features.any(axis=1)).tolist() == [0, len(texts) - 1]
    np.testing.assert_allclose(features[[0, -1]], direct(bert, ["vase", "nanotube"]), atol=1e-5)
    assert (card.counts["encoded"], card.counts["no_text"]) == (2, len(texts) - 2)
    assert card.counts["placeholder"] == len(WORDS_FOR_NONE)


def test_values_of_json_lines_without_text_are_none_and_lists_are_joined(tmp_path, bert, encode):
    values = [*EMPTY_VALUES, ["oak", "tall", None, 3, True], "[Deluxe] box", ["nan"], "a [b]", 7]
    lines = [json.dumps({"item": f"i{n}", "text": value}) for n, value in enumerate(values)]
    (tmp_path / "items.jsonl").write_text("\n".join(lines) + "\n")
    card = encode(tmp_path, text=("text",), text_model=str(bert))
    features, first = np.load(tmp_path / "text_feat.npy"), len(EMPTY_VALUES)
    assert features.any(axis=1).tolist() == first * [False] + [True, True, False, True, True]
    expected = direct(bert, ["oak tall 3 true", "[Deluxe] box", "a [b]", "7"])
    np.testing.assert_allclose(features[[first, first + 1, first + 3, first + 4]], expected, atol=1e-5)
    assert (card.counts["encoded"], card.counts["no_text"]) == (4, first + 1)


def test_a_word_for_none_leaves_the_other_columns(tmp_path, bert, encode):
    frame = pl.DataFrame({"item": ["a", "b"], "title": ["vase", "None"], "text": ["nan", "\u200bof glass\u200b"]})
    frame.write_csv(tmp_path / "items.csv")
    card = encode(tmp_path, text=("title", "text"), text_model=str(bert))
    np.testing.assert_allclose(np.load(tmp_path / "text_feat.npy"), direct(bert, ["vase", "of glass"]), atol=1e-5)
    assert (card.counts["no_text"], card.counts["placeholder"]) == (0, 2)
