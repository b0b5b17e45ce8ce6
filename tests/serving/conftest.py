"""Two runs of one shop, opened once, and clients for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from crossrec.recommend import Recommender
from crossrec.serving import ServeConfig, Slot, create_app

from .worlds import a_shop, both_of


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def slots(shop: Path) -> list[Slot]:
    return both_of(shop)


@pytest.fixture(scope="session")
def plain(shop: Path) -> Recommender:
    return Recommender.open(shop / "plain", shop / "items.csv")


@pytest.fixture(scope="session")
def cross(shop: Path) -> Recommender:
    return Recommender.open(shop / "cross", shop / "items.csv")


@pytest.fixture
def client_of(slots: list[Slot]) -> Callable[..., TestClient]:
    """A client of a service of both runs with these settings."""

    def made(**settings: Any) -> TestClient:
        config = ServeConfig(**{"rate": 0.0, **settings})
        return TestClient(create_app(slots, config), base_url="http://localhost:8000")

    return made


@pytest.fixture
def client(client_of: Callable[..., TestClient]) -> TestClient:
    return client_of()
