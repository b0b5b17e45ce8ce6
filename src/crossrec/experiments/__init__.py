"""Experiments: the paper's research questions, which train many runs and make tables, figures and findings of them.

``QUESTIONS`` lists the questions, ``run_question`` runs one. Each question has a configuration, such as
``CompareConfig``; ``SharedSettings`` holds the data, training and model settings of all its cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossrec.lazy import lazy_exports

if TYPE_CHECKING:
    from crossrec.experiments.execute import run_question as run_question
    from crossrec.experiments.experiment import (
        Experiment as Experiment,
        ExperimentConfig as ExperimentConfig,
        SharedSettings as SharedSettings,
    )
    from crossrec.experiments.questions.ablate import AblateConfig as AblateConfig
    from crossrec.experiments.questions.coldstart import ColdstartConfig as ColdstartConfig
    from crossrec.experiments.questions.compare import CompareConfig as CompareConfig
    from crossrec.experiments.questions.directions import DirectionsConfig as DirectionsConfig
    from crossrec.experiments.questions.knockout import KnockoutConfig as KnockoutConfig
    from crossrec.experiments.questions.popularity import PopularityConfig as PopularityConfig
    from crossrec.experiments.questions.robustness import RobustnessConfig as RobustnessConfig
    from crossrec.experiments.questions.sensitivity import SensitivityConfig as SensitivityConfig
    from crossrec.experiments.questions.strengths import StrengthsConfig as StrengthsConfig
    from crossrec.experiments.questions.visualize import VisualizeConfig as VisualizeConfig
    from crossrec.experiments.registry import QUESTIONS as QUESTIONS, Question as Question
    from crossrec.experiments.reporting.result import ExperimentResult as ExperimentResult

__getattr__, __dir__ = lazy_exports(__name__)
