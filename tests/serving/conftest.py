"""Recommenders of the two runs of the shop, and clients of a service of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from crossrec.recommend import Recommender
from crossrec.serving import ServeConfig, ServedRun, create_app


@pytest.fixture(scope="session")
def plain(shop: Path) -> Recommender:
    return Recommender.open(shop / "plain", shop / "items.csv")


@pytest.fixture(scope="session")
def cross(shop: Path) -> Recommender:
    return Recommender.open(shop / "cross", shop / "items.csv")


@pytest.fixture
def client_of(served_runs: list[ServedRun]) -> Callable[..., TestClient]:
    """Create a client of a service of both runs with these settings."""

    def create(**settings: Any) -> TestClient:
        config = ServeConfig(**{"rate": 0.0, **settings})
        return TestClient(create_app(served_runs, config), base_url="http://localhost:8000")

    return create


@pytest.fixture
def client(client_of: Callable[..., TestClient]) -> TestClient:
    return client_of()
