"""Registry of research questions: module, one line of help, and section of the paper. It imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossrec.experiments.experiment import Experiment


@dataclass(frozen=True)
class Question:
    """An entry of the registry.

    ``module`` defines ``EXPERIMENT``; a name with a leading dot is a module of ``crossrec.experiments.questions``.
    ``help`` is the line on the command line. ``section`` is where the paper asks the question, empty where it does not.
    """

    module: str
    help: str
    section: str = ""

    def load(self) -> Experiment:
        """Import the module, which imports torch, and return its experiment."""
        experiment: Experiment = import_module(self.module, "crossrec.experiments.questions").EXPERIMENT
        return experiment


QUESTIONS: dict[str, Question] = {
    "compare": Question(".compare", "Backbones x alignments x seeds x data sets (RQ1).", "RQ1"),
    "ablate": Question(".ablate", "Each component of CROSS, alone and with the others (RQ2).", "RQ2"),
    "directions": Question(".directions", "Which way to align modalities: both, one, dynamic or topmost (RQ3).", "RQ3"),
    "robustness": Question(".robustness", "Missing content and false clicks (RQ4).", "RQ4"),
    "visualize": Question(".visualize", "Vectors of modalities and users, before and after alignment (RQ5).", "RQ5"),
    "popularity": Question(".popularity", "Who gains, popular items or rare ones (RQ6).", "RQ6"),
    "sensitivity": Question(".sensitivity", "The settings of CROSS, one at a time (RQ7).", "RQ7"),
    "strengths": Question(
        ".strengths", "How strong each modality is, and which way items align, by epoch (Fig. 2).", "Fig. 2"
    ),
    "coldstart": Question(".coldstart", "Recommend items without any interactions, by their content alone."),
    "knockout": Question(".knockout", "Does a gain come from content, or from a better loss? Content knocked out."),
}
"""By name of the command. The order is the one in which a report shows results."""

SECTIONS: dict[str, str] = {
    **{name: question.section for name, question in QUESTIONS.items() if question.section},
    "tune": "Section 7.1",
    **{name: "" for name, question in QUESTIONS.items() if not question.section},
}
"""Section of the paper by experiment, in the order of a report: questions of the paper, the search, other questions."""
