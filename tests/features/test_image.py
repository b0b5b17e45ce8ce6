"""Image features: vectors are those of the model, and a damaged or odd picture never stops the encoding."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import polars as pl
import pytest
from PIL import Image

from crossrec.data import DataConfig, load
from crossrec.features.image_files import read_image
from crossrec.features.ledger import Mark


def table(folder, names):
    """An items table with a column of pictures; its ids are 0, 1, 2, … as text."""
    ids = [f"i{n}" for n in range(len(names))]
    pl.DataFrame({"item_id": ids, "picture": names}, schema={"item_id": pl.String, "picture": pl.String}).write_parquet(
        folder / "items.parquet"
    )


def direct(folder, pictures, pool):
    import torch
    from transformers import AutoImageProcessor, AutoModel

    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    model = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return pool(model, processor(pictures, return_tensors="pt")).numpy()


POOLS = {
    "vit": ("pooled output", lambda model, inputs: model(**inputs).pooler_output),
    "vit-without-pooler": (
        "mean of last hidden states",
        lambda model, inputs: model(**inputs).last_hidden_state.mean(1),
    ),
    "clip": ("features shared with text", lambda model, inputs: model.get_image_features(**inputs).pooler_output),
}


@pytest.mark.parametrize("kind", POOLS)
def test_the_vector_is_that_of_the_model(kind, tmp_path, save_vision, picture, encode):
    rule, pool = POOLS[kind]
    model = save_vision(kind)
    sizes = [(40, 30), (64, 64), (9, 200), (300, 100), (1, 1), (3, 1)]
    pictures = [picture(seed, size=size) for seed, size in enumerate(sizes)]
    for n, image in enumerate(pictures):
        image.save(tmp_path / f"{n}.png")
    table(tmp_path, [f"{n}.png" for n in range(len(sizes))])
    card = encode(tmp_path, image="picture", image_model=str(model), batch_size=4)
    features = np.load(tmp_path / "image_feat.npy")
    # in the last two, transformers cannot tell which axis holds the colours
    expected = np.concatenate([direct(model, [image], pool) for image in pictures[:4]])
    np.testing.assert_allclose(features[:4], expected, atol=1e-5)
    assert features.any(axis=1).all()
    assert card.rule == rule
    assert card.counts["encoded"] == len(sizes)
    encode(tmp_path, image="picture", image_model=str(model), batch_size=1, image_name="single")
    np.testing.assert_allclose(np.load(tmp_path / "single_feat.npy"), features, atol=1e-5)


def png(width, height):
    """A PNG of no content that claims this size."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def jpeg(picture, **options):
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()


def test_broken_pictures_are_zero_and_counted(tmp_path, vit, picture, encode):
    content = jpeg(picture(1, size=(200, 200)))
    eps = io.BytesIO()
    picture(2).save(eps, "EPS")
    files = {
        "whole.jpg": content,
        "truncated.jpg": content[: len(content) // 2],
        "empty.jpg": b"",
        "text.jpg": b"this is no picture",
        "page.jpg": b"<html>404</html>",
        "header.png": png(40, 40),
        "program.eps": eps.getvalue(),
        "bomb.png": png(60_000, 60_000),
        "big.png": png(10_000, 9_500),
        "narrow.png": png(10_000, 10),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    names = [*files, "folder.jpg", "pipe.jpg", "gone.jpg", "nul\0.jpg", None, ""]
    table(tmp_path, names)
    card = encode(tmp_path, image="picture", image_model=str(vit), batch_size=3)
    features = np.load(tmp_path / "image_feat.npy")
    assert features.any(axis=1).tolist() == [name == "whole.jpg" for name in names]
    assert card.counts == {
        **{"encoded": 1, "no_picture": 2, "placeholder": 0, "lost": 4, "broken": 6, "too_large": 3},
        **{"one_colour": 0, "converted": 0, "frames": 0, "turned": 0, "not_finite": 0},
    }
    reasons = {"lost": names[10:14], "too large": names[7:10], "broken": names[1:7]}
    failed = {
        f"{tmp_path / 'items.parquet'}, row {names.index(name) + 1}: {name}: {reason}"
        for reason, part in reasons.items()
        for name in part
    }
    assert set(card.failed) == failed
    assert len(card.failed) == 13


def test_every_image_mode_becomes_upright_rgb(tmp_path, vit, picture, encode):
    plain = picture(3, size=(48, 32))
    grey = plain.convert("L")
    clear = plain.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(plain.size))
    white = Image.new("RGBA", plain.size, "white")
    white.alpha_composite(clear)
    sideways = Image.Exif()
    sideways[0x0112] = 6  # to be turned by a quarter, clockwise
    cases = {
        "plain.png": (plain, {}, plain),
        "grey.png": (grey, {}, grey.convert("RGB")),
        "deep.png": (Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), {}, grey.convert("RGB")),
        "palette.png": (plain.convert("P"), {}, plain.convert("P").convert("RGB")),
        "one.png": (plain.convert("1"), {}, plain.convert("1").convert("RGB")),
        "clear.png": (clear, {}, white.convert("RGB")),
        "print.tif": (plain.convert("CMYK"), {}, plain.convert("CMYK").convert("RGB")),
        "moving.webp": (
            plain,
            {"save_all": True, "append_images": [picture(4, size=(48, 32))], "lossless": True},
            plain,
        ),
        "turned.png": (plain.transpose(Image.Transpose.ROTATE_90), {"exif": sideways}, plain),
    }
    for name, (image, options, expected) in cases.items():
        image.save(tmp_path / name, **options)
        expected.save(tmp_path / f"expected-{name}.png")
    table(tmp_path, [*cases, *(f"expected-{name}.png" for name in cases)])
    card = encode(tmp_path, image="picture", image_model=str(vit))
    features = np.load(tmp_path / "image_feat.npy")
    np.testing.assert_allclose(features[: len(cases)], features[len(cases) :], atol=1e-5)
    assert np.abs(features[5] - features[0]).max() > 1e-3
    assert card.counts["encoded"] == 2 * len(cases)
    assert (card.counts["converted"], card.counts["frames"], card.counts["turned"]) == (6, 1, 1)


def test_pictures_named_by_item_id(tmp_path, vit, picture, encode):
    folder = tmp_path / "pictures"
    folder.mkdir()
    pl.DataFrame({"item": [7, 8, 9, 10]}).write_csv(tmp_path / "items.csv")
    picture(1).save(folder / "9.PNG")
    picture(2).save(folder / "7.jpeg")
    picture(3).save(folder / "77.png")
    (folder / "8.txt").write_text("8")
    card = encode(tmp_path, pictures=folder, image_model=str(vit))
    assert np.load(tmp_path / "image_feat.npy").any(axis=1).tolist() == [True, False, True, False]
    assert (card.counts["encoded"], card.counts["no_picture"], card.sources) == (2, 2, ("the item's id",))


def test_pictures_of_the_mmrec_layout_need_no_table(tmp_path, vit, picture, encode):
    (tmp_path / "a.inter").write_text("userID\titemID\tx_label\n0\t0\t0\n0\t2\t1\n")
    (tmp_path / "pictures").mkdir()
    picture(1).save(tmp_path / "pictures" / "2.png")
    encode(tmp_path, pictures=tmp_path / "pictures", image_model=str(vit))
    assert np.load(tmp_path / "image_feat.npy").any(axis=1).tolist() == [False, False, True]
    assert load(DataConfig(data=str(tmp_path))).num_items == 3


def test_the_first_of_a_list_of_pictures_is_encoded(tmp_path, vit, picture, encode):
    (tmp_path / "there").mkdir()
    picture(1).save(tmp_path / "there" / "a.png")
    inside = str((tmp_path / "there" / "a.png").absolute())
    lists = [["there/a.png", "b.png"], [], None, ["there/../there/a.png"], [inside]]
    pl.DataFrame({"item": list("abcde"), "pictures": lists}).write_parquet(tmp_path / "items.parquet")
    encode(tmp_path, image="pictures", image_model=str(vit))
    features = np.load(tmp_path / "image_feat.npy")
    assert features.any(axis=1).tolist() == [True, False, False, True, True]
    np.testing.assert_allclose(features[[3, 4]], features[[0, 0]], atol=1e-6)


def test_a_picture_that_has_changed_is_encoded_again(tmp_path, vit, picture, encode):
    for n in range(4):
        picture(n).save(tmp_path / f"{n}.png")
    table(tmp_path, [f"{n}.png" for n in range(4)])
    settings = {"image": "picture", "image_model": str(vit)}
    encode(tmp_path, **settings)
    before = np.load(tmp_path / "image_feat.npy")
    picture(9, size=(80, 60)).save(tmp_path / "2.png")
    encode(tmp_path, **settings, overwrite=True)
    assert encode.seen[0] == ("image", 3, 4)
    after = np.load(tmp_path / "image_feat.npy")
    assert (after == before).all(axis=1).tolist() == [True, True, False, True]
    picture(2).save(tmp_path / "2.png")
    encode(tmp_path, **settings, overwrite=True)
    np.testing.assert_allclose(np.load(tmp_path / "image_feat.npy"), before, atol=1e-6)


GREY = np.arange(0, 252, 4, dtype=np.uint8).reshape(7, 9)
"""Grey from black to nearly white."""


def tiff(array, **tags):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "TIFF", tiffinfo={int(tag[1:]): value for tag, value in tags.items()})
    return buffer.getvalue()


def unsigned(content):
    """The same TIFF, whose numbers are declared as unsigned."""
    entry = struct.pack("<HHI", 339, 3, 1)
    assert content.count(entry + b"\2") == 1
    return content.replace(entry + b"\2", entry + b"\1")


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


DEEP = {
    "16 bits": (tiff(GREY.astype(np.uint16) << 8), GREY),
    "16 bits, PNG": (encoded(Image.fromarray(GREY.astype(np.uint16) * 257), "PNG"), GREY),
    "16 bits, PPM": (encoded(Image.fromarray(GREY.astype(np.uint16) * 257), "PPM"), GREY),
    "12 bits in 16": (tiff(GREY.astype(np.uint16) << 4), GREY),
    "8 bits in 16": (tiff(GREY.astype(np.uint16)), GREY),
    "16 bits, white is zero": (tiff(GREY.astype(np.uint16) << 8, t262=0), 255 - GREY),
    "32 bits": (tiff(GREY.astype(np.int32) << 23), GREY),
    "16 bits in 32": (tiff(GREY.astype(np.int32) << 8), GREY),
    "8 bits in 32": (tiff(GREY.astype(np.int32)), GREY),
    "32 bits below zero": (tiff((GREY.astype(np.int32) << 8) - 1000), GREY),
    "32 bits unsigned": (unsigned(tiff((GREY.astype(np.uint32) << 24).view(np.int32))), GREY),
    "decimals to 1": (tiff(GREY.astype(np.float32) / 248), (GREY / 248 * 255).round()),
    "decimals to 255": (tiff(GREY.astype(np.float32)), (GREY / 248 * 255).round()),
    "decimals from -1000 to 1000": (tiff(GREY.astype(np.float32) / 248 * 2000 - 1000), (GREY / 248 * 255).round()),
    "decimals beyond 1e38": (tiff((GREY.astype(np.float32) / 124 - 1) * 3e38), (GREY / 248 * 255).round()),
    "not all numbers": (
        tiff(np.where(GREY == 8, np.nan, GREY).astype(np.float32)),
        (np.where(GREY == 8, 0, GREY) / 248 * 255).round(),
    ),
}


@pytest.mark.parametrize("kind", DEEP)
def test_grey_of_many_bits_is_scaled(kind, tmp_path):
    content, expected = DEEP[kind]
    (tmp_path / "a.tif").write_bytes(content)
    image, marks = read_image(tmp_path / "a.tif")
    assert marks == Mark.CONVERTED
    assert image.mode == "RGB"
    for channel in range(3):
        assert np.abs(np.asarray(image)[..., channel].astype(int) - expected).max() <= 1


def test_grey_of_many_bits_is_turned_upright(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(np.rot90(GREY).astype(np.float32) / 248, t274=6))
    image, marks = read_image(tmp_path / "a.tif")
    assert Mark.TURNED in marks
    assert np.abs(np.asarray(image)[..., 0].astype(int) - (GREY / 248 * 255).round()).max() <= 1


COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)


def modes():
    colour, clear = Image.fromarray(COLOUR), Image.fromarray(COLOUR).convert("RGBA")
    clear.putpixel((0, 0), (9, 9, 9, 0))
    on_white = COLOUR.copy()
    on_white[0, 0] = 255
    palette = colour.convert("P", palette=Image.Palette.ADAPTIVE, colors=63)
    see_through = Image.fromarray(GREY).convert("LA")
    see_through.putpixel((0, 0), (9, 0))
    grey_on_white = np.repeat(GREY[..., None], 3, axis=2)
    grey_on_white[0, 0] = 255
    moving = {"save_all": True, "append_images": [Image.new("RGB", colour.size, "red")]}
    return {
        "colour": (colour, "PNG", {}, COLOUR, Mark(0)),
        "alpha": (clear, "PNG", {}, on_white, Mark.CONVERTED),
        "grey and alpha": (see_through, "PNG", {}, grey_on_white, Mark.CONVERTED),
        "palette": (palette, "PNG", {}, np.asarray(palette.convert("RGB")), Mark.CONVERTED),
        "four inks": (colour.convert("CMYK"), "TIFF", {}, COLOUR, Mark.CONVERTED),
        "four inks, JPEG": (colour.convert("CMYK"), "JPEG", {"quality": 100}, COLOUR, Mark.CONVERTED),
        "lightness": (colour.convert("LAB"), "TIFF", {}, COLOUR, Mark.CONVERTED),
        "moving": (colour, "WEBP", {**moving, "lossless": True}, COLOUR, Mark.FRAMES),
        "moving PNG": (colour, "PNG", moving, COLOUR, Mark.FRAMES),
        "pages": (colour, "TIFF", moving, COLOUR, Mark.FRAMES),
        "nothing seen": (
            Image.new("RGBA", colour.size, (0, 0, 0, 0)),
            "PNG",
            {},
            np.full_like(COLOUR, 255),
            Mark.CONVERTED | Mark.ONE_COLOUR,
        ),
        "one colour": (
            Image.new("L", colour.size, 7),
            "PNG",
            {},
            np.full_like(COLOUR, 7),
            Mark.CONVERTED | Mark.ONE_COLOUR,
        ),
    }


@pytest.mark.parametrize("kind", modes())
def test_every_mode_keeps_its_colours(kind, tmp_path):
    image, format, options, expected, marks = modes()[kind]
    (tmp_path / "a.png").write_bytes(encoded(image, format, **options))
    rgb, read_marks = read_image(tmp_path / "a.png")
    assert read_marks == marks
    tolerance = 40 if format == "JPEG" else 30 if kind == "lightness" else 0
    assert np.abs(np.asarray(rgb).astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize(
    "content", [tiff(np.full((3, 3), np.nan, np.float32)), tiff(GREY.astype(np.float32))[:-50]], ids=["nan", "cut"]
)
def test_decimals_that_are_no_picture(content, tmp_path):
    (tmp_path / "a.tif").write_bytes(content)
    assert read_image(tmp_path / "a.tif") == (None, Mark.BROKEN)


def test_a_word_for_no_picture_is_counted(tmp_path, vit, picture, encode):
    picture(1).save(tmp_path / "a.png")
    Image.new("RGB", (40, 30), "white").save(tmp_path / "b.png")
    table(tmp_path, ["a.png", "nan", "None", "N/A", "", None, "b.png"])
    card = encode(tmp_path, image="picture", image_model=str(vit))
    assert np.load(tmp_path / "image_feat.npy").any(axis=1).tolist() == [True] + 5 * [False] + [True]
    assert (card.counts["no_picture"], card.counts["placeholder"], card.counts["one_colour"]) == (5, 3, 1)
