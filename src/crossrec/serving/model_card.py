"""The model card of a run: what was trained, when, on what, how good it is. No paths."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crossrec.data.io.atomic import read_json
from crossrec.recommend.recommender import Recommender

SHORT = 12
"""Digits of an identity that are told."""


def model_card(recommender: Recommender, run: Path) -> dict[str, Any]:
    """What ``messages.Card`` holds, less what the table of items and the pictures tell.

    Raises RunError where ``config.json`` or ``metrics.json`` is missing or damaged.
    """
    metrics, config = read_json(run / "metrics.json"), read_json(run / "config.json")
    vectors = recommender.vectors
    trained = int(vectors.seen_trained.sum())
    return {
        "label": recommender.label,
        "backbone": vectors.backbone,
        "alignment": vectors.alignment,
        "identity": vectors.identity[:SHORT],
        "made": told_time((run / "metrics.json").stat().st_mtime),
        "users": vectors.num_users,
        "items": vectors.num_items,
        "interactions": {"train": trained, "valid": len(vectors.seen_trained) - trained},
        "dimension": vectors.user_US.shape[1],
        "modalities": {m: int((table != 0).any(1).sum()) for m, table in vectors.modality_IL.items()},
        "parts": list(vectors.part_IS),
        "metrics": {split: metrics[split] for split in ("valid", "test") if metrics.get(split)},
        "epochs": metrics.get("epochs"),
        "best_epoch": metrics.get("best_epoch"),
        "versions": metrics.get("versions", {}),
        "config": {name: without_paths(value) for name, value in config.items() if name != "identity"},
    }


def told_time(seconds: float) -> str:
    """A moment in UTC, as 2026-11-23T08:15:00Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def without_paths(value: Any) -> Any:
    """The same value; of whatever is a path in it, the last name only."""
    if isinstance(value, dict):
        return {name: without_paths(one) for name, one in value.items()}
    if isinstance(value, list):
        return [without_paths(one) for one in value]
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return value.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return value
