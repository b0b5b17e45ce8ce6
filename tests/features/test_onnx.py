"""Image encoders in ONNX files: preparation, layouts, outputs, and models that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from crossrec.errors import ConfigError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
COLOURS = {"red": (200, 30, 40), "blue": (20, 40, 180), "grey": (90, 90, 90)}


def save_onnx(path, *, shape=("n", 3, 32, 32), dtype="FLOAT", pooled=True, outputs=("y",), metadata=None, inputs=1):
    """A model whose outputs are the mean of each colour; without ``pooled`` the pictures themselves."""
    from onnx import TensorProto, helper

    kind = getattr(TensorProto, dtype)
    axes = [2, 3] if shape[1] == 3 or shape[3] != 3 else [1, 2]
    nodes = [helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT)]
    average = {"op_type": "ReduceMean", "axes": axes, "keepdims": 0} if pooled else {"op_type": "Identity"}
    nodes += [helper.make_node(inputs=["c"], outputs=[name], **average) for name in outputs]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info(name, kind, shape) for name in ("x", "other")[:inputs]],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


@pytest.fixture
def pictures(tmp_path):
    """A folder of items with a picture of one colour each, the last of which is broken, in a table."""
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (40, 30), colour).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    names = [*COLOURS, "broken"]
    pl.DataFrame({"item_id": names, "picture": [f"{name}.png" for name in names]}).write_csv(folder / "items.csv")
    rows = [(f"u{user}", names[(user + n) % 4]) for user in range(4) for n in range(3)]
    pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").write_csv(folder / "interactions.csv")
    return folder


def features(folder):
    return np.load(folder / "image_feat.npy")


def standardized(mean=MEAN, std=STD):
    return (np.array(list(COLOURS.values())) / 255 - mean) / std


@pytest.mark.parametrize(
    "shape", [("n", 3, 32, 32), ("n", 32, 32, 3), (1, 3, 32, 32), (3, 3, 24, 40), ("n", 3, "h", "w")]
)
def test_every_layout_and_size(shape, pictures, tmp_path, encode):
    model = save_onnx(tmp_path / "model.onnx", shape=shape)
    card = encode(pictures, image="picture", image_model=str(model))
    assert card.counts["encoded"] == 3
    assert card.rule == "output y"
    assert features(pictures)[:3] == pytest.approx(standardized(), abs=1e-3)
    assert not features(pictures)[3].any()


@pytest.mark.parametrize("dtype", ["FLOAT16", "UINT8"])
def test_other_types_of_numbers(dtype, pictures, tmp_path, encode):
    encode(pictures, image="picture", image_model=str(save_onnx(tmp_path / "model.onnx", dtype=dtype)))
    expected = standardized() if dtype == "FLOAT16" else np.array(list(COLOURS.values()))
    assert features(pictures)[:3] == pytest.approx(expected, rel=2e-3)


def test_mean_and_std_of_the_settings_then_of_the_model(pictures, tmp_path, encode):
    metadata = {"image_mean": "[0.5, 0.25, 0.125]", "image_std": "[0.5, 0.5, 2]"}
    model = str(save_onnx(tmp_path / "model.onnx", metadata=metadata))
    encode(pictures, image="picture", image_model=model)
    expected = standardized(np.array([0.5, 0.25, 0.125]), np.array([0.5, 0.5, 2]))
    assert features(pictures)[:3] == pytest.approx(expected, abs=1e-5)
    encode(pictures, image="picture", image_model=model, image_mean=(0, 0, 0), image_std=(1, 1, 1), overwrite=True)
    assert features(pictures)[:3] == pytest.approx(standardized(0, 1), abs=1e-5)


def test_the_middle_of_a_picture_is_encoded(pictures, tmp_path, encode):
    wide = np.zeros((64, 128, 3), dtype=np.uint8)
    wide[4:60, 36:92] = 255  # 7/8 of the shorter side, in the middle
    Image.fromarray(wide).save(pictures / "red.png")
    model = save_onnx(tmp_path / "model.onnx", shape=("n", 3, 56, 56), dtype="UINT8", pooled=False)
    encode(pictures, image="picture", image_model=str(model), image_output="y")
    assert features(pictures)[0] == pytest.approx([255, 255, 255])
    assert features(pictures).shape == (4, 3)


def test_settings_beside_the_model_prepare_the_pictures(pictures, tmp_path, encode):
    (tmp_path / "preprocessor_config.json").write_text(
        '{"image_processor_type": "ViTImageProcessor", "do_resize": true, "size": {"height": 32, "width": 32}, '
        '"do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25], "resample": 2}'
    )
    encode(pictures, image="picture", image_model=str(save_onnx(tmp_path / "model.onnx")))
    assert features(pictures)[:3] == pytest.approx(standardized(0.5, 0.25), abs=1e-5)


def test_an_output_by_name(pictures, tmp_path, encode):
    model = str(save_onnx(tmp_path / "model.onnx", outputs=("logits", "pooler_output")))
    assert encode(pictures, image="picture", image_model=model).rule == "output pooler_output"
    card = encode(pictures, image="picture", image_model=model, image_output="logits", overwrite=True)
    assert card.rule == "output logits"
    with pytest.raises(ConfigError, match=r"no output z; --image-output takes logits, pooler_output"):
        encode(pictures, image="picture", image_model=model, image_output="z", overwrite=True)


def test_a_changed_model_encodes_anew(pictures, tmp_path, encode):
    path = tmp_path / "model.onnx"
    first = encode(pictures, image="picture", image_model=str(save_onnx(path)))
    assert encode(pictures, image="picture", image_model=str(path)) == first
    save_onnx(path, metadata={"image_mean": "[0, 0, 0]"})
    with pytest.raises(ConfigError, match="another model"):
        encode(pictures, image="picture", image_model=str(path))


def test_broken_pictures_are_named_with_file_and_line(pictures, tmp_path, encode):
    card = encode(pictures, image="picture", image_model=str(save_onnx(tmp_path / "model.onnx")))
    assert card.failed == (f"{pictures / 'items.csv'}, line 5: broken.png: broken",)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"inputs": 2}, "has the inputs x, other; give a model that reads pictures alone"),
        ({"dtype": "INT64"}, r"its input is tensor\(int64\)"),
        ({"shape": ("n", 4, 32, 32)}, "has no axis of three colours"),
    ],
)
def test_models_that_read_no_pictures(settings, reason, pictures, tmp_path, encode):
    model = save_onnx(tmp_path / "model.onnx", **settings)
    with pytest.raises(ConfigError, match=rf"^--image-model {model}: .*{reason}"):
        encode(pictures, image="picture", image_model=str(model))
    assert not (pictures / "image_feat.npy").exists()


def test_a_damaged_and_a_missing_file(pictures, tmp_path, encode):
    path = tmp_path / "model.onnx"
    with pytest.raises(ConfigError, match=rf"^--image-model {path}: no such file"):
        encode(pictures, image="picture", image_model=str(path))
    path.write_bytes(b"no model")
    with pytest.raises(ConfigError, match=rf"^--image-model {path}: cannot be used \("):
        encode(pictures, image="picture", image_model=str(path))


def test_a_size_that_the_model_does_not_read(pictures, tmp_path, encode):
    model = str(save_onnx(tmp_path / "model.onnx"))
    with pytest.raises(ConfigError, match=r"reads pictures of 32 x 32; leave out --image-size 64"):
        encode(pictures, image="picture", image_model=model, image_size=64)


def test_settings_of_onnx_files_with_another_model(pictures, vit, encode):
    with pytest.raises(ConfigError, match=r"^--image-mean is for models in an ONNX file"):
        encode(pictures, image="picture", image_model=str(vit), image_mean=(0.5, 0.5, 0.5))


def test_without_onnxruntime(pictures, tmp_path, encode, monkeypatch):
    from crossrec.features import model_folder

    monkeypatch.setattr(model_folder, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"making features needs onnxruntime: pip install 'crossrec\[onnx\]'"):
        encode(pictures, image="picture", image_model=str(Path(tmp_path / "model.onnx")))


def test_too_little_memory_for_a_batch(pictures, tmp_path, encode, monkeypatch):
    import onnxruntime

    run = onnxruntime.InferenceSession.run

    def refuse(self, outputs, inputs):
        if len(inputs["x"]) > 1:  # not the pictures that try the model out
            raise RuntimeError("BFCArena::AllocateRawInternal Failed")
        return run(self, outputs, inputs)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", refuse)
    with pytest.raises(ConfigError, match=r"^--batch-size 32: too many for the memory; give fewer"):
        encode(pictures, image="picture", image_model=str(save_onnx(tmp_path / "model.onnx")))
