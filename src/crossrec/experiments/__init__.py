"""Experiments: the paper's research questions, which train many runs and make tables, figures and findings of them.

``QUESTIONS`` lists the questions, ``run_question`` runs one. Each question has a configuration, such as
``CompareConfig``; ``SharedSettings`` holds the data, training and model settings of all its cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossrec.experiments.registry import QUESTIONS
from crossrec.lazy import lazy_exports

if TYPE_CHECKING:
    from crossrec.experiments.execute import run_question
    from crossrec.experiments.experiment import Experiment, ExperimentConfig, SharedSettings
    from crossrec.experiments.questions.ablate import AblateConfig
    from crossrec.experiments.questions.coldstart import ColdstartConfig
    from crossrec.experiments.questions.compare import CompareConfig
    from crossrec.experiments.questions.directions import DirectionsConfig
    from crossrec.experiments.questions.popularity import PopularityConfig
    from crossrec.experiments.questions.robustness import RobustnessConfig
    from crossrec.experiments.questions.sensitivity import SensitivityConfig
    from crossrec.experiments.questions.strengths import StrengthsConfig
    from crossrec.experiments.questions.visualize import VisualizeConfig
    from crossrec.experiments.registry import Question
    from crossrec.experiments.reporting.result import ExperimentResult

__all__ = [
    "QUESTIONS",
    "AblateConfig",
    "ColdstartConfig",
    "CompareConfig",
    "DirectionsConfig",
    "Experiment",
    "ExperimentConfig",
    "ExperimentResult",
    "PopularityConfig",
    "Question",
    "RobustnessConfig",
    "SensitivityConfig",
    "SharedSettings",
    "StrengthsConfig",
    "VisualizeConfig",
    "run_question",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Experiment": "crossrec.experiments.experiment",
        "ExperimentConfig": "crossrec.experiments.experiment",
        "ExperimentResult": "crossrec.experiments.reporting.result",
        "QUESTIONS": "crossrec.experiments.registry",
        "Question": "crossrec.experiments.registry",
        "SharedSettings": "crossrec.experiments.experiment",
        "run_question": "crossrec.experiments.execute",
        **{f"{name.capitalize()}Config": question.module for name, question in QUESTIONS.items()},
    },
)
