"""Runs: train a full typed configuration and write a folder with its vectors and metrics; read such folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossrec.lazy import lazy_exports

if TYPE_CHECKING:
    from crossrec.runs.config import METHOD_VERSION, RunConfig, load_config
    from crossrec.runs.directory import open_embeddings
    from crossrec.runs.embeddings import TrainedEmbeddings
    from crossrec.runs.execute import run

__all__ = ["METHOD_VERSION", "RunConfig", "TrainedEmbeddings", "load_config", "open_embeddings", "run"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "METHOD_VERSION": "crossrec.runs.config",
        "RunConfig": "crossrec.runs.config",
        "TrainedEmbeddings": "crossrec.runs.embeddings",
        "load_config": "crossrec.runs.config",
        "open_embeddings": "crossrec.runs.directory",
        "run": "crossrec.runs.execute",
    },
)
