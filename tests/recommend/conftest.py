"""Two trained runs: one with integer ids, one with text ids."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from crossrec.alignment import CrossConfig
from crossrec.backbones import BACKBONES
from crossrec.data import DataConfig
from crossrec.data.synthetic import RECIPES, generate
from crossrec.recommend import Recommender
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run
from crossrec.training import TrainingConfig


def config(data: str, backbone: str = "lightgcn", alignment: CrossConfig | None = None) -> RunConfig:
    return RunConfig(
        data=DataConfig(data=data),
        backbone=BACKBONES[backbone].config_type(dim=8, learning_rate=0.01),
        alignment=alignment,
        training=TrainingConfig(epochs=2, batch_size=128, device="cpu"),
    )


CROSS = CrossConfig(prototypes_itv=8)


def tiny_features() -> dict[str, np.ndarray]:
    """The raw features of ``tiny_run`` by modality."""
    return {m: x.astype(np.float64) for m, x in generate(RECIPES["synthetic-tiny"]).features.items()}


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LightGCN with CROSS on the smallest built-in set, with integer ids."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    run(config("synthetic-tiny", alignment=CROSS), out)
    return out


@pytest.fixture(scope="session")
def text_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VBPR on a table of 12 users and 11 items with text ids; the last item has no interactions."""
    folder = tmp_path_factory.mktemp("table")
    with (folder / "interactions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["customer_id", "product_id", "split"])
        for user in range(12):
            items = np.random.default_rng(user).permutation(10)[:8]
            for position, item in enumerate(items):
                writer.writerow([f"Ann-{user}", f"tea, {item}", ("train", "valid", "test")[max(0, position - 5)]])
    with (folder / "items.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["product_id"], *([f"tea, {item}"] for item in range(11))])
    np.save(folder / "sound_feat.npy", np.random.default_rng(3).normal(size=(11, 6)))
    out = tmp_path_factory.mktemp("runs") / "text"
    run(config(str(folder), "vbpr"), out)
    return out


@pytest.fixture(scope="session")
def tiny(tiny_run: Path) -> Recommender:
    return Recommender.open(tiny_run)


@pytest.fixture(scope="session")
def text(text_run: Path) -> Recommender:
    return Recommender.open(text_run)
