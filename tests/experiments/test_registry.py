"""The registry of research questions, and what reads it."""

from __future__ import annotations

import pytest

import crossrec.experiments
from crossrec.cli import app
from crossrec.experiments.registry import QUESTIONS, SECTIONS


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_is_a_command_and_an_experiment_with_a_public_configuration(name):
    assert app[name].help == QUESTIONS[name].help
    config_type = QUESTIONS[name].load().config_type
    assert config_type.__module__ == f"crossrec.experiments.questions.{name}"
    assert getattr(crossrec.experiments, config_type.__name__) is config_type
    assert {config_type.__name__, "QUESTIONS", "run_question"} <= set(dir(crossrec.experiments))
    assert config_type.__name__ in crossrec.experiments.__all__


def test_a_report_shows_the_questions_of_the_paper_then_the_search_then_others():
    assert list(SECTIONS.items()) == [
        *((f"RQ{n}", name)[::-1] for n, name in enumerate(list(QUESTIONS)[:7], 1)),
        *(("strengths", "Fig. 2"), ("tune", "Section 7.1"), ("coldstart", ""), ("knockout", "")),
    ]
