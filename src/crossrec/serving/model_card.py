"""Model card of a run: its training, data and metrics, without file paths."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crossrec.data.io.atomic import read_json
from crossrec.recommend.recommender import Recommender

IDENTITY_DIGITS = 12
"""Digits of a run's identity in a card."""


def model_card(recommender: Recommender, run: Path) -> dict[str, Any]:
    """The fields of ``schemas.ModelCard``, except those from the table of items and the pictures.

    Raises RunError if ``config.json`` or ``metrics.json`` is missing or damaged.
    """
    metrics, config = read_json(run / "metrics.json"), read_json(run / "config.json")
    vectors = recommender.vectors
    trained = int(vectors.seen_trained.sum())
    return {
        "label": recommender.label,
        "backbone": vectors.backbone,
        "alignment": vectors.alignment,
        "identity": vectors.identity[:IDENTITY_DIGITS],
        "made": utc_time((run / "metrics.json").stat().st_mtime),
        "users": vectors.num_users,
        "items": vectors.num_items,
        "interactions": {"train": trained, "valid": len(vectors.seen_trained) - trained},
        "dimension": vectors.user_US.shape[1],
        "modalities": {m: int((x_IL != 0).any(1).sum()) for m, x_IL in vectors.modality_IL.items()},
        "parts": list(vectors.part_IS),
        "metrics": {split: metrics[split] for split in ("valid", "test") if metrics.get(split)},
        "epochs": metrics.get("epochs"),
        "best_epoch": metrics.get("best_epoch"),
        "versions": metrics.get("versions", {}),
        "config": {name: without_paths(value) for name, value in config.items() if name != "identity"},
    }


def utc_time(seconds: float) -> str:
    """Format a Unix time in UTC, as 2026-11-23T08:15:00Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def without_paths(value: Any) -> Any:
    """The same JSON value, with every file path cut to its last name."""
    if isinstance(value, dict):
        return {name: without_paths(member) for name, member in value.items()}
    if isinstance(value, list):
        return [without_paths(member) for member in value]
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return value.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return value
