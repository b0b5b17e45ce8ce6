"""A source of every kind, written by hand, and ways to import it."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crossrec.data import ImportConfig, import_data

PAIRS = [("ann", "tea"), ("ann", "oil"), ("ann", "rye"), ("bob", "tea"), ("bob", "rye"), ("bob", "fig")]
EYE = np.arange(12, dtype=np.float32).reshape(4, 3) + 1


def npy(matrix: Any) -> bytes:
    import io

    buffer = io.BytesIO()
    np.save(buffer, np.asarray(matrix))
    return buffer.getvalue()


def review(user: str, item: str, rating: float, time: int) -> dict[str, Any]:
    return {"reviewerID": user, "asin": item, "overall": rating, "unixReviewTime": time, "helpful": [0, 1]}


def lines(*records: Any) -> bytes:
    return gzip.compress(b"".join(json.dumps(record).encode() + b"\n" for record in records))


def image(item: str, value: float, columns: int = 4096) -> bytes:
    return item.encode() + struct.pack(f"<{columns}f", *([value] * columns))


A1, A2, A3 = "B000000001", "B000000002", "B00000000X"
REVIEWS = [review("u1", A1, 5, 10), review("u1", A2, 4, 11), review("u2", A1, 3, 12), review("u2", A3, 1, 13)]
META = (
    f"{{'asin': '{A2}', 'title': 'Tea \\'n\\' more', 'categories': [['Baby', 'Cups'], ['Baby', 'Gifts']], "
    "'price': 3.5, 'imUrl': 'http://x/1.jpg', 'related': {'also_bought': ['B00']}, 'description': 'Hot.\\d'}\n"
    "{'asin': 'B999999999', 'title': broken}\n"
    f"{{'categories': [['Baby']], 'brand': 'Acme', 'asin': '{A1}', 'price': None}}\n"
)
AMAZON = {
    "reviews_Baby_5.json.gz": lines(*REVIEWS),
    "meta_Baby.json.gz": gzip.compress(META.encode()),
    "image_features_Baby.b": image(A3, 3.0) + image("B999999999", 9.0) + image(A1, 1.0),
}
LISTS = {
    "train.json": json.dumps({"0": [2, 0, 1], "1": [0, 3], "2": []}),
    "val.json": json.dumps({"0": [3], "1": []}),
    "test.json": json.dumps({"1": [1]}),
    "image_feat.npy": npy(EYE),
}
ATOMIC = {
    "ml.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "u1\ta\t5\t10\nu1\tb\t4\t11\nu2\ta\t3\t12\nu2\tc\t2\t9\n",
    "ml.item": "item_id:token\tmovie_title:token_seq\tgenre:token_seq\tyear:float\tvector:float_seq\n"
    'c\tThe "C\n\tb\tB sides\tDrama Sci-Fi\t1999\t1 2\na\tA\tDrama\t\t3 4\nz\tNever seen\t\t2000\t\n'.replace(
        "\n\tb", "\t\t\t\nb"
    ),
    "ml.user": "user_id:token\tage:float\nu2\t31\nu1\t30\nu9\t99\n",
}
MMREC = {
    "shop.inter": "userID\titemID\tx_label\n0\t0\t0\n0\t1\t1\n1\t2\t0\n1\t3\t2\n1\t0\t0\n",
    "text_feat.npy": npy(EYE.astype(np.float16)),
}


def csv(pairs: list[tuple[str, ...]] = PAIRS, header: str = "customer_id,sku") -> str:
    return header + "\n" + "".join(",".join(pair) + "\n" for pair in pairs)


def pairs_of(folder: Path) -> list[tuple[Any, ...]]:
    return pl.read_parquet(folder / "interactions.parquet").select("user", "item").rows()


def bring(put: Any, files: dict[str, Any], **rules: Any) -> tuple[Any, Path]:
    """(card, folder) of files put into a folder and imported."""
    folder = put(files)
    out = folder.parent / "out"
    return import_data(folder, out, ImportConfig(**rules)), out


SKU = {"item_column": "sku"}
FRAME = pl.DataFrame(PAIRS, schema=["user", "item"], orient="row")
