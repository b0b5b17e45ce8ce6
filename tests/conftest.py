"""Small data sets on disk, the real ones where they are at hand, and runs to serve."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

if TYPE_CHECKING:
    from crossrec.serving import ServedRun


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder ``set/`` of files (text, bytes, arrays, data frames) and hand back its path."""

    def write(files: dict[str, Any]) -> Path:
        folder = tmp_path / "set"
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            if isinstance(content, pl.DataFrame):
                content.write_parquet(folder / name)
            elif isinstance(content, np.ndarray):
                np.save(folder / name, content)
            else:
                (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    return write


@pytest.fixture
def real() -> Callable[[str], Path]:
    """The folder of a real data set, or skip."""

    def find(name: str) -> Path:
        beside = Path(__file__).resolve().parents[2] / "shared" / "data"
        home = Path(os.environ.get("CROSSREC_DATA") or beside)
        if not (home / name).is_dir():
            pytest.skip(f"the real data set {name} is neither under $CROSSREC_DATA nor in ../shared/data")
        return home / name

    return find


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs, a table of items and pictures; see ``write_shop``."""
    from tests.serving.worlds import write_shop

    return write_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def served_runs(shop: Path) -> list[ServedRun]:
    """Both runs of the shop, loaded."""
    from tests.serving.worlds import load_shop

    return load_shop(shop)
