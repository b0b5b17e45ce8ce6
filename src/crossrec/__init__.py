"""crossrec makes recommenders better by aligning what an item looks and reads like with how people behave towards it.

For a training loop of your own: ``Cross``, ``CrossConfig``, ``FETTLE``, ``Batch``, ``Representations``.
For whole runs: ``load`` a data set, ``run`` a ``RunConfig``, ``fit`` an objective, and ask a ``Recommender``.
Each name is imported when it is first used, because importing torch takes a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossrec._version import __version__
from crossrec.lazy import lazy_exports

if TYPE_CHECKING:
    from crossrec.alignment import FETTLE, Cross, CrossConfig, FettleConfig
    from crossrec.data import DataConfig, Dataset, load
    from crossrec.recommend import Recommender
    from crossrec.runs import RunConfig, run
    from crossrec.training import TrainingConfig, fit
    from crossrec.types import Batch, Representations, TrainingSet

__all__ = [
    "FETTLE",
    "Batch",
    "Cross",
    "CrossConfig",
    "DataConfig",
    "Dataset",
    "FettleConfig",
    "Recommender",
    "Representations",
    "RunConfig",
    "TrainingConfig",
    "TrainingSet",
    "__version__",
    "fit",
    "load",
    "run",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Batch": "crossrec.types",
        "Cross": "crossrec.alignment",
        "CrossConfig": "crossrec.alignment",
        "DataConfig": "crossrec.data",
        "Dataset": "crossrec.data",
        "FETTLE": "crossrec.alignment",
        "FettleConfig": "crossrec.alignment",
        "Recommender": "crossrec.recommend",
        "Representations": "crossrec.types",
        "RunConfig": "crossrec.runs",
        "TrainingConfig": "crossrec.training",
        "TrainingSet": "crossrec.types",
        "fit": "crossrec.training",
        "load": "crossrec.data",
        "run": "crossrec.runs",
    },
)
