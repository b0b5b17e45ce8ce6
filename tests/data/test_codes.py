"""Ids keep their values and types when they are encoded block by block."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from crossrec.data.io.codes import IdEncoder

KINDS: dict[str, list[Any]] = {
    "text": ["ünï", "b", "07", "b", "", 'x,"y'],
    "whole numbers": [5, -3, 10**12, 5, 0],
    "large numbers": [2**63 + 5, 1, 2**64 - 1],
    "beyond 64 bits": [2**70, -(2**70), 3],
    "fractions": [0.1, 1e300, -2.5, 0.1],
    "whole fractions": [1.0, 7.0, 1.0],
}


@pytest.mark.parametrize("kind", KINDS)
def test_ids_keep_their_values(kind):
    types = {"large numbers": pl.UInt64, "beyond 64 bits": pl.Int128}
    cells = pl.Series(KINDS[kind], dtype=types.get(kind))
    ids = IdEncoder()
    code_N = np.concatenate([ids.encode(cells[:2]), ids.encode(cells[2:]), ids.encode(cells[:1])])
    sorted_ids, position = ids.sorted_ids(typed=True)
    assert sorted_ids.gather(position[code_N]).to_list() == [*KINDS[kind], KINDS[kind][0]]
    assert sorted_ids.to_list() == sorted(set(KINDS[kind]))


def test_ids_of_other_types_keep_their_values():
    days = pl.Series(["2024-05-31", "2023-01-01"]).str.to_date()
    for cells in (days, days.cast(pl.Datetime("ns")), days.cast(pl.String).cast(pl.Categorical)):
        ids = IdEncoder()
        code_N = ids.encode(cells)
        sorted_ids, position = ids.sorted_ids(typed=True)
        assert sorted_ids.gather(position[code_N]).to_list() == cells.to_list()
        assert sorted_ids.dtype == (pl.String if cells.dtype == pl.Categorical else cells.dtype)


def test_codes_survive_the_blocks_that_introduced_them():
    ids = IdEncoder()
    first = ids.encode(pl.Series([f"u{n}" for n in range(100)])).tolist()
    assert first == list(range(100))
    for _ in range(3):  # the arrays returned above are freed by now
        assert ids.encode(pl.Series([f"u{n}" for n in range(99, -1, -1)])).tolist() == first[::-1]
    assert ids.encode(pl.Series(["new", "u0"])).tolist() == [100, 0]
