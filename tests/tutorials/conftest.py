"""Commands that start without delay, and small models instead of those that the pages name."""

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
    """The folder with the commands ``crossrec`` and ``python``."""
    for command in ("bash", "curl"):
        if shutil.which(command) is None:
            pytest.skip(f"needs {command}")
    with preloaded(tmp_path_factory.mktemp("tools") / "bin") as folder:
        yield folder


@pytest.fixture(scope="session")
def extras() -> None:
    """Skip without the packages that the pages install."""
    for library in ("sentence_transformers", "transformers", "PIL", "fastapi", "uvicorn"):
        pytest.importorskip(library)


@pytest.fixture
def models(extras: None, minilm: Path, vit: Path) -> dict[str, str]:  # noqa: F811
    """By model name on the page, the folder of the model to use instead."""
    return {"sentence-transformers/all-MiniLM-L6-v2": str(minilm), "facebook/dinov2-small": str(vit)}


@pytest.fixture
def port() -> dict[str, str]:
    """The port of the pages, and the free port to use instead."""
    with socket.create_server(("127.0.0.1", 0)) as connection:
        return {"8000": str(connection.getsockname()[1])}
