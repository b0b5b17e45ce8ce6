"""Runs: train a full typed configuration and write a folder with its vectors and metrics; read such folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossrec.lazy import lazy_exports

if TYPE_CHECKING:
    from crossrec.runs.config import (
        METHOD_VERSION as METHOD_VERSION,
        RunConfig as RunConfig,
        load_config as load_config,
    )
    from crossrec.runs.directory import open_embeddings as open_embeddings, seal as seal
    from crossrec.runs.embeddings import TrainedEmbeddings as TrainedEmbeddings
    from crossrec.runs.execute import run as run
    from crossrec.runs.race import race as race

__getattr__, __dir__ = lazy_exports(__name__)
