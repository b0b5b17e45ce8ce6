"""Every mistake is one line that names file, column or flag and what to do; nothing is written, and no code is run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.torch import load_file, save_file

from crossrec.errors import ConfigError, CrossrecError, DataError
from crossrec.features import FeaturesConfig, encode_features

TEXT = {"text": ("title",)}
PAIRS = pl.DataFrame({"user": ["u", "v"], "item": ["sku-0", "sku-1"]})


def listed(names: list[Any], **more: Any) -> dict[str, Any]:
    return {"items.parquet": pl.DataFrame({"item": [f"sku-{n}" for n in range(len(names))], "file": names, **more})}


DATA: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no such column": (
        {"items.csv": "item,titel\na,x\n"},
        TEXT,
        "/items.csv: no column 'title'; did you mean 'titel'?",
    ),
    "no such picture column": (listed(["a.png"]), {"image": "flie"}, "no column 'flie'; did you mean 'file'?"),
    "no such item column": (
        {"items.csv": "sku,title\na,x\n"},
        {**TEXT, "item_column": "skuu"},
        "/items.csv: no column 'skuu'; did you mean 'sku'?",
    ),
    "no item column": ({"items.csv": "name,title\na,x\n"}, TEXT, "/items.csv: no item column; known: name, title"),
    "no items table": (
        {"interactions.parquet": PAIRS},
        TEXT,
        "/set: no items table; put items{.parquet,.csv,.tsv,.jsonl,.ndjson} with item ids and title there, or name one "
        "with --items",
    ),
    "two items tables": (
        {"items.csv": "item,title\na,x\n", "items.tsv": "item\ttitle\na\tx\n"},
        TEXT,
        "/set: more than one items file (items.csv, items.tsv); keep one of them",
    ),
    "items table that is not there": (
        {"interactions.parquet": PAIRS},
        {**TEXT, "items": Path("nowhere.csv")},
        "nowhere.csv: no such file; check the path",
    ),
    "ids of another shop": (
        {"items.csv": "item\na\nb\n", "other.csv": "item,title\n17,x\n"},
        {**TEXT, "items": "other.csv"},
        "/other.csv: none of its ids is an item of",
    ),
    "ids that are no rows": (
        {"interactions.parquet": PAIRS, "other.csv": "item,title\nsku-0,x\n"},
        {**TEXT, "items": "other.csv"},
        "nothing says which row is which item, as 'sku-0' in interactions.parquet is no row index; add items.csv",
    ),
    "repeated id": ({"items.csv": "item,title\na,x\na,y\n"}, TEXT, "/items.csv, line 3: item repeats an id"),
    "column without text": (
        {"items.csv": "item,title\na,\nb, \n"},
        TEXT,
        "/items.csv: column 'title' is empty for every item; name columns with text",
    ),
    "column of structs": (
        listed(["a"], title=[{"en": "x"}]),
        TEXT,
        "/items.parquet: column 'title' holds Struct({'en': String}); give a column of text, numbers or lists",
    ),
    "damaged table": ({"items.parquet": b"PAR1"}, TEXT, "/items.parquet: cannot be read as Parquet ("),
    "address of a picture": (
        listed(["a.png", "https://shop.example/b.png"]),
        {"image": "file"},
        "/items.parquet, row 2: file 'https://shop.example/b.png' is no file; download the pictures first",
    ),
    "picture in the cell": (listed(["data:image/png;base64,AAAA"]), {"image": "file"}, "download the pictures first"),
    "picture outside": (listed(["a.png", "../../b.png"]), {"image": "file"}, "row 2: file '../../b.png' is outside of"),
    "picture at a place of its own": (listed(["/etc/b.png"]), {"image": "file"}, "file '/etc/b.png' is outside of"),
    "no picture there": (
        listed([None, "a.png", "b.png"]),
        {"image": "file"},
        "/set: none of the pictures is there (the first is a.png); --pictures names their folder",
    ),
    "no folder of pictures": (
        listed(["a.png"]),
        {"image": "file", "pictures": Path("nowhere")},
        "--pictures nowhere: no such folder",
    ),
    "no picture called by an id": (
        {**listed(["a"]), "a.png": b""},
        {"pictures": "."},
        "/set: no picture is called by an item's id, such as sku-0.jpg; name a column of files with --image",
    ),
    "two pictures of an item": (
        {**listed(["a"]), "sku-0.png": b"", "sku-0.jpg": b""},
        {"pictures": "."},
        "/set: sku-0.jpg and sku-0.png are both called by item 'sku-0'; keep one",
    ),
}


@pytest.mark.parametrize(("files", "settings", "message"), DATA.values(), ids=DATA)
def test_bad_data(put, bert, vit, files, settings, message):
    folder = put(files)
    for name in ("items", "pictures"):
        if isinstance(settings.get(name), str):
            settings = {**settings, name: folder / settings[name]}
    models = {"text_model": str(bert)} if "text" in settings else {"image_model": str(vit)}
    before = {file.name for file in folder.iterdir()}
    with pytest.raises(DataError) as caught:
        encode_features(FeaturesConfig(data=str(folder), device="cpu", **settings, **models))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {file.name for file in folder.iterdir()} == before


SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "nothing to encode: give --text COLUMNS with --text-model, or --image COLUMN or --pictures FOLDER"),
    "no text model": (TEXT, "--text: give --text-model too, e.g. sentence-transformers/all-MiniLM-L6-v2"),
    "no image model": ({"image": "file"}, "--image, --pictures: give --image-model too, e.g. facebook/dinov2-small"),
    "no text": ({"text_model": "m"}, "--text-model m: nothing to encode with it; give --text COLUMNS too"),
    "no pictures": ({**TEXT, "text_model": "m", "image_model": "n"}, "--image-model n: nothing to encode with it"),
    "one name": (
        {**TEXT, "text_model": "m", "image": "file", "image_model": "n", "image_name": "text"},
        "--text-name and --image-name are both text; call one of them otherwise",
    ),
    "no such folder": (
        {**TEXT, "text_model": "./modles/bert"},
        "--text-model ./modles/bert: no such folder, and no name of the hub either; give the folder of a model",
    ),
    "model that is a file": ({**TEXT, "text_model": "a-file"}, "--text-model a-file: is a file; give the folder"),
    "no device": ({**TEXT, "text_model": "MODEL", "device": "cuda:99"}, "--device cuda:99: torch finds"),
}


@pytest.mark.parametrize(("settings", "message"), SETTINGS.values(), ids=SETTINGS)
def test_bad_settings(put, bert, settings, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").write_text("")
    folder = put({"items.csv": "item,title,file\na,x,a.png\n", "a.png": b""})
    settings = {name: str(bert) if value == "MODEL" else value for name, value in settings.items()}
    with pytest.raises(ConfigError) as caught:
        encode_features(FeaturesConfig(data=str(folder), **settings))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert {file.name for file in folder.iterdir()} == {"items.csv", "a.png"}


@pytest.mark.parametrize("name", ["id", "a.b", "a->b", "a/b", "", "a\\b"])
def test_a_modality_that_cannot_be_called_so(name):
    with pytest.raises(ConfigError, match="setting 'text_name'"):
        FeaturesConfig.parse({"data": "shop", "text_name": name})


def test_a_built_in_set_has_its_features():
    config = FeaturesConfig(data="synthetic", text=("title",), text_model="m")
    with pytest.raises(DataError, match="'synthetic': a built-in set has its features already; give a folder"):
        encode_features(config)


def own_module(folder: Path) -> None:
    (folder / "own.py").write_text("raise SystemExit('the code of a model was run')")
    part = {"idx": 0, "name": "0", "path": "", "type": "own.Encoder"}
    (folder / "modules.json").write_text(json.dumps([part]))


def own_architecture(folder: Path) -> None:
    (folder / "own.py").write_text("raise SystemExit('the code of a model was run')")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(config))


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def lacking(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(name for name in sorted(weights) if "attention" in name))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def truncated(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


MODELS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "code in modules.json": (
        own_module,
        "needs code that is not part of sentence-transformers (own.Encoder), which is",
    ),
    "code in config.json": (own_architecture, "comes with code of its own, which is not run; give a model that"),
    "pickled weights": (
        pickled,
        "its weights are pickled (pytorch_model.bin), which is not loaded; give a model saved",
    ),
    "a weight that is lacking": (lacking, "its weights lack encoder.layer"),
    "weights cut short": (truncated, "cannot be used ("),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "has no weights that can be loaded (model."),
    "no model": (lambda folder: (folder / "config.json").unlink(), "no model in this folder (neither config.json nor"),
    "damaged modules.json": (lambda folder: (folder / "modules.json").write_text("[1]"), "its modules.json is damaged"),
    "damaged config.json": (lambda folder: (folder / "config.json").write_text("{"), "cannot be used ("),
}


@pytest.mark.parametrize(("spoil", "message"), MODELS.values(), ids=MODELS)
def test_a_model_that_is_not_loaded(put, bert, tmp_path, spoil, message):
    model = tmp_path / "model"
    shutil.copytree(bert, model)
    spoil(model)
    folder = put({"items.csv": "item,title\na,x\n"})
    with pytest.raises(ConfigError) as caught:
        encode_features(FeaturesConfig(data=str(folder), text=("title",), text_model=str(model), device="cpu"))
    assert str(caught.value).startswith(f"--text-model {model}: {message}")
    assert "\n" not in str(caught.value)
    assert [file.name for file in folder.iterdir()] == ["items.csv"]


def test_weights_of_an_image_model_that_lack_one(put, vit, tmp_path, picture):
    shutil.copytree(vit, tmp_path / "model")
    lacking(tmp_path / "model")
    folder = put(listed(["a.png"]))
    picture().save(folder / "a.png")
    config = FeaturesConfig(data=str(folder), image="file", image_model=str(tmp_path / "model"), device="cpu")
    with pytest.raises(ConfigError, match=r"its weights lack \S*attention\S*; give the folder of a whole model"):
        encode_features(config)


def test_a_model_of_the_other_kind(put, bert, vit, picture):
    folder = put(listed(["a.png"], title=["x"]))
    picture().save(folder / "a.png")
    for settings, message in (
        (
            {**TEXT, "text_model": str(vit)},
            r"cannot be used \(.*(text|tokenizer).*\); give another model, or fetch it again",
        ),
        (
            {"image": "file", "image_model": str(bert)},
            r"does not say how pictures are prepared \(no preprocessor_config.json\); give an image model",
        ),
    ):
        with pytest.raises(ConfigError, match=rf"^--\w+-model \S+: {message}$"):
            encode_features(FeaturesConfig(data=str(folder), device="cpu", **settings))
    assert sorted(file.name for file in folder.iterdir()) == ["a.png", "items.parquet"]


def test_a_model_that_makes_another_vector_each_time(put, bert, monkeypatch):
    from crossrec.features.text import SentenceEncoder

    draw = np.random.default_rng(0)
    monkeypatch.setattr(SentenceEncoder, "_vectors", lambda self, texts: draw.normal(size=(len(texts), 3)))
    folder = put({"items.csv": "item,title\na,x\n"})
    with pytest.raises(ConfigError, match="makes another vector of the same text each time; give another model"):
        encode_features(FeaturesConfig(data=str(folder), text=("title",), text_model=str(bert), device="cpu"))


@pytest.mark.parametrize("name", ["owner/some-model", "owner/some-model@main"])
def test_a_name_of_the_hub_without_a_network(put, monkeypatch, tmp_path, name):
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    folder = put({"items.csv": "item,title\na,x\n"})
    with pytest.raises(ConfigError) as caught:
        encode_features(FeaturesConfig(data=str(folder), text=("title",), text_model=name))
    assert str(caught.value).startswith(f"--text-model {name}: no such folder, and it cannot be fetched from the hub (")
    assert str(caught.value).endswith("); give the folder of a model")
    assert "\n" not in str(caught.value)


def test_a_name_of_the_hub_is_fetched_without_code_and_pickles(put, bert, monkeypatch, encode):
    hub = pytest.importorskip("huggingface_hub")
    options_seen = {}

    def fetch(name, **options):
        options_seen.update(options, name=name)
        return str(bert)

    monkeypatch.setattr(hub, "snapshot_download", fetch)
    folder = put({"items.csv": "item,title\na,x\n"})
    card = encode(folder, text=("title",), text_model="owner/model@v2")
    assert (options_seen["name"], options_seen["revision"]) == ("owner/model", "v2")
    assert "*.safetensors" in options_seen["allow_patterns"]
    assert not {"*.py", "*.bin", "*.pt", "*"} & set(options_seen["allow_patterns"])
    assert (card.model, card.revision) == ("owner/model@v2", bert.name)


@pytest.mark.parametrize(
    ("missing", "settings"),
    [("sentence_transformers", {**TEXT, "text_model": "m"}), ("PIL", {"image": "file", "image_model": "m"})],
)
def test_without_the_extra(put, monkeypatch, missing, settings):
    monkeypatch.setitem(sys.modules, missing, None)
    folder = put({"items.csv": "item,title,file\na,x,a.png\n"})
    with pytest.raises(CrossrecError) as caught:
        encode_features(FeaturesConfig(data=str(folder), **settings))
    assert str(caught.value) == f"making features needs {missing}: pip install 'crossrec[features]'"


def test_nothing_heavy_is_loaded_before_it_is_needed():
    code = "import sys; from crossrec.features import encode_features; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "crossrec.features.encode" in done.stdout.split()
    assert not {"torch", "transformers", "sentence_transformers", "PIL", "huggingface_hub"} & set(done.stdout.split())
