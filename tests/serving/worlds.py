"""Runs to serve, written without training; ids and titles contain markup that must be escaped."""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch

from crossrec.alignment.item_level import Aligner
from crossrec.backbones.content_encoder import ContentEncoder
from crossrec.data.io.atomic import write_json_atomic
from crossrec.randomness import torch_generator
from crossrec.runs.directory import seal
from crossrec.runs.embeddings import EMBEDDINGS_FILE, TrainedEmbeddings
from crossrec.serving import ServeConfig, ServedRun, create_app
from crossrec.types import ID

if TYPE_CHECKING:
    import httpx

USERS, ITEMS, WIDTH = 30, 40, 8
RAW = {"image": 5, "text": 3}
MARKUP = "<img src=x onerror=alert(1)>"
USER_IDS = [MARKUP, *(f"ann/{n}" for n in range(1, USERS))]
ITEM_IDS = [f"tea, {n} & <b>more</b>" for n in range(ITEMS)]
TITLES = [MARKUP, *(f'Pot "{n}" <script>alert({n})</script>' for n in range(1, ITEMS))]
UNTOUCHED, NO_TEXT = ITEMS - 1, 3
"""An item without interactions, and one without text."""


def write_run(
    folder: Path,
    *,
    seed: int = 0,
    alignment: str | None = "cross",
    users: list | None = None,
    items: list | None = None,
) -> Path:
    """Write a run folder: LightGCN with CROSS (has aligners), or VBPR (has parts) for ``alignment=None``."""
    users, items = users or USER_IDS, items or ITEM_IDS
    draw = torch_generator(seed, "a served run")

    def numbers(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw)

    user, modality = numbers(len(users), WIDTH), {m: numbers(len(items), WIDTH) for m in RAW}
    modality["text"][NO_TEXT] = 0
    parts = {} if alignment else {ID: numbers(len(items), WIDTH), **{m: 0.5 * x for m, x in modality.items()}}
    item = sum(parts.values(), torch.zeros(len(items), WIDTH)) if parts else numbers(len(items), WIDTH)
    histories = [sorted({(7 * u + 3 * n) % (len(items) - 1) for n in range(6)}) for u in range(len(users))]
    seen = torch.tensor([item for history in histories for item in history])
    trained = torch.tensor([n < len(history) - 2 for history in histories for n in range(len(history))])
    tested = torch.tensor([n == len(history) - 1 for history in histories for n in range(len(history))])
    identity = f"{seed:064x}"[::-1]
    TrainedEmbeddings(
        backbone="lightgcn" if alignment else "vbpr",
        alignment=alignment,
        identity=identity,
        user_US=user,
        item_IS=item,
        user_UL=user,
        item_IL=item,
        degree_I=torch.bincount(seen[trained], minlength=len(items)),
        seen_indptr=torch.tensor([0, *np.cumsum([len(history) for history in histories]).tolist()]),
        seen_item=seen,
        seen_trained=trained,
        seen_tested=tested,
        modality_IL=modality,
        part_IS=parts,
        content_encoders={m: ContentEncoder((numbers(WIDTH, width),)) for m, width in RAW.items()},
        aligners={(m, ID): Aligner(WIDTH, "linear").requires_grad_(False) for m in RAW} if alignment else {},
    ).save(folder / EMBEDDINGS_FILE)
    for name, ids in (("users", users), ("items", items)):
        pl.DataFrame({"index": np.arange(len(ids)), "id": ids}).write_parquet(folder / f"{name}.parquet")
    config = {"data": {"data": f"{folder}/the data"}, "backbone": {"name": "lightgcn"}, "identity": identity}
    write_json_atomic(folder / "config.json", config)
    scores = {"recall@20": 0.25 + seed / 100, "ndcg@20": 0.125}
    metrics = {"valid": scores, "test": scores, "epochs": 9, "best_epoch": 7, "versions": {"crossrec": "0.1.0"}}
    write_json_atomic(folder / "metrics.json", metrics | {"identity": identity})
    seal(folder)
    return folder


def write_shop(folder: Path) -> Path:
    """Write the runs ``plain`` (VBPR) and ``cross`` (LightGCN with CROSS), ``items.csv`` and ``pictures``."""
    write_run(folder / "plain", seed=1, alignment=None)
    write_run(folder / "cross", seed=2)
    write_item_table(folder / "items.csv")
    write_pictures(folder / "pictures")
    return folder


def load_shop(shop: Path) -> list[ServedRun]:
    """Both runs of a shop, loaded."""
    return [ServedRun(shop / name, shop / "items.csv", shop / "pictures") for name in ("plain", "cross")]


def write_item_table(path: Path) -> Path:
    """Write titles, categories, pictures and a price of all items but the last two."""
    count = ITEMS - 2
    table = {
        "item_id": ITEM_IDS[:count],
        "title": TITLES[:count],
        "category": ["tea", "pots & <i>pans</i>"] * (count // 2),
        "picture": ["one.png" if n % 2 else f"folder/{n}.png" for n in range(count)],
        "price": [f"{n} €" for n in range(count)],
    }
    pl.DataFrame(table).write_csv(path)
    return path


def write_pictures(folder: Path) -> Path:
    """Write ``one.png``, for every second item, and ``folder/2.png``."""
    (folder / "folder").mkdir(parents=True)
    (folder / "one.png").write_bytes(png(255, 120, 0))
    (folder / "folder" / "2.png").write_bytes(png(0, 120, 255))
    return folder


def png(*colour: int, size: int = 8) -> bytes:
    """A PNG file of one colour."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = (b"\x00" + bytes(colour) * size) * size
    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@contextmanager
def serve_in_thread(runs: list[ServedRun], page: Any = None, **settings: Any) -> Iterator[str]:
    """Serve in a thread and yield the address; the browser's ``page`` is closed before the service stops."""
    import uvicorn

    from crossrec.serving.server import listen, uvicorn_config

    config = ServeConfig(rate=0, port=0, **settings)
    with listen(config) as listener:
        server = uvicorn.Server(uvicorn_config(create_app(runs, config)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            if page is not None:
                page.close()
            server.should_exit = True
            thread.join()


def error_of(answer: httpx.Response) -> str:
    """The message of an error response, which must be one short line of JSON."""
    assert answer.headers["content-type"] == "application/json"
    content = answer.json()
    assert list(content) == ["error"]
    assert 0 < len(content["error"]) <= 300
    assert "\n" not in content["error"]
    return content["error"]
