"""crossrec aligns the content of items with the behaviour of users (CROSS) and so improves recommenders.

Train a recommender with CROSS on the built-in data set and recommend with it:

>>> from crossrec import Recommender, RunConfig, run
>>> metrics = run(RunConfig(), "runs/first")  # doctest: +SKIP
>>> Recommender.open("runs/first").recommend(k=10)  # doctest: +SKIP

Whole runs: ``load`` a ``Dataset``, ``run`` a ``RunConfig``, open a ``Recommender``. Parts of a run: ``Objective``,
``fit``, ``HeldOut``, ``evaluate``. In a training loop of your own: ``Cross``, ``CrossConfig``, ``FETTLE``, ``Batch``,
``Representations``, ``ContentGraph``. Every error that a user can cause is a ``CrossrecError``.

Names are imported on first use, because importing torch takes a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossrec._version import __version__ as __version__
from crossrec.lazy import lazy_exports

if TYPE_CHECKING:
    from crossrec.alignment import (
        FETTLE as FETTLE,
        Cross as Cross,
        CrossConfig as CrossConfig,
        FettleConfig as FettleConfig,
    )
    from crossrec.content_graph import ContentGraph as ContentGraph
    from crossrec.data import DataConfig as DataConfig, Dataset as Dataset, load as load
    from crossrec.errors import ArgumentError as ArgumentError, CrossrecError as CrossrecError
    from crossrec.evaluation import HeldOut as HeldOut, evaluate as evaluate
    from crossrec.objective import Objective as Objective
    from crossrec.recommend import Recommender as Recommender
    from crossrec.runs import RunConfig as RunConfig, load_config as load_config, run as run
    from crossrec.training import TrainingConfig as TrainingConfig, fit as fit
    from crossrec.types import Batch as Batch, Representations as Representations, TrainingSet as TrainingSet

__getattr__, __dir__ = lazy_exports(__name__)
