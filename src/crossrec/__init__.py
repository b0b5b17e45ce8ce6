"""crossrec aligns the content of items with the behaviour of users (CROSS) and so improves recommenders.

Train a recommender with CROSS on the built-in data set and recommend with it:

>>> from crossrec import Recommender, RunConfig, run
>>> metrics = run(RunConfig(), "runs/first")  # doctest: +SKIP
>>> Recommender.open("runs/first").recommend(k=10)  # doctest: +SKIP

Whole runs: ``load`` a ``Dataset``, ``run`` a ``RunConfig``, open a ``Recommender``. Parts of a run: ``Objective``,
``fit``, ``HeldOut``, ``evaluate``. In a training loop of your own: ``Cross``, ``CrossConfig``, ``FETTLE``, ``Batch``,
``Representations``. Every error that a user can cause is a ``CrossrecError``.

Names are imported on first use, because importing torch takes a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossrec._version import __version__
from crossrec.lazy import lazy_exports

if TYPE_CHECKING:
    from crossrec.alignment import FETTLE, Cross, CrossConfig, FettleConfig
    from crossrec.data import DataConfig, Dataset, load
    from crossrec.errors import CrossrecError
    from crossrec.evaluation import HeldOut, evaluate
    from crossrec.objective import Objective
    from crossrec.recommend import Recommender
    from crossrec.runs import RunConfig, load_config, run
    from crossrec.training import TrainingConfig, fit
    from crossrec.types import Batch, Representations, TrainingSet

__all__ = [
    "FETTLE",
    "Batch",
    "Cross",
    "CrossConfig",
    "CrossrecError",
    "DataConfig",
    "Dataset",
    "FettleConfig",
    "HeldOut",
    "Objective",
    "Recommender",
    "Representations",
    "RunConfig",
    "TrainingConfig",
    "TrainingSet",
    "__version__",
    "evaluate",
    "fit",
    "load",
    "load_config",
    "run",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Batch": "crossrec.types",
        "Cross": "crossrec.alignment",
        "CrossConfig": "crossrec.alignment",
        "CrossrecError": "crossrec.errors",
        "DataConfig": "crossrec.data",
        "Dataset": "crossrec.data",
        "FETTLE": "crossrec.alignment",
        "FettleConfig": "crossrec.alignment",
        "HeldOut": "crossrec.evaluation",
        "Objective": "crossrec.objective",
        "Recommender": "crossrec.recommend",
        "Representations": "crossrec.types",
        "RunConfig": "crossrec.runs",
        "TrainingConfig": "crossrec.training",
        "TrainingSet": "crossrec.types",
        "evaluate": "crossrec.evaluation",
        "fit": "crossrec.training",
        "load": "crossrec.data",
        "load_config": "crossrec.runs",
        "run": "crossrec.runs",
    },
)
