"""Commands that answer at once, and small models in the place of those that the pages name."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.features.conftest import minilm, save_vision, vit  # noqa: F401

from .preloaded import tools as preloaded


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the commands."""
    for needed in ("bash", "curl"):
        if shutil.which(needed) is None:
            pytest.skip(f"needs {needed}")
    with preloaded(tmp_path_factory.mktemp("tools") / "bin") as folder:
        yield folder


@pytest.fixture(scope="session")
def extras() -> None:
    """What the pages say is to be installed."""
    for library in ("sentence_transformers", "transformers", "PIL", "fastapi", "uvicorn"):
        pytest.importorskip(library)


@pytest.fixture
def models(extras: None, minilm: Path, vit: Path) -> dict[str, str]:  # noqa: F811
    """Names of models that the pages use, and the folders that stand for them here."""
    return {"sentence-transformers/all-MiniLM-L6-v2": str(minilm), "facebook/dinov2-small": str(vit)}


@pytest.fixture
def port() -> dict[str, str]:
    """The port that the pages use, and one that is free."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return {"8000": str(taken.getsockname()[1])}
