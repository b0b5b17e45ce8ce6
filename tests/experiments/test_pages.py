"""The pages of the experiments name flags and choices that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.experiments.fake_runs import TINY

from crossrec.alignment import CrossConfig
from crossrec.data import DataConfig
from crossrec.experiments.questions import ablate
from crossrec.experiments.questions.ablate import PAPER, AblateConfig
from crossrec.experiments.questions.robustness import METHODS
from crossrec.experiments.questions.sensitivity import SensitivityConfig, cells
from crossrec.experiments.registry import QUESTIONS
from crossrec.training import TrainingConfig

PAGES = Path(__file__).resolve().parents[2] / "docs" / "experiments"


def page(name):
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", QUESTIONS)
def test_flags_exist(name):
    fields = {*QUESTIONS[name].load().config_type.model_fields, *DataConfig.model_fields, *TrainingConfig.model_fields}
    flags = {field.replace("_", "-") for field in fields} | {"out", "settings", "jobs", "threads"}
    commands = "".join(re.findall(r"^```\n(.*?)```$", page(name), re.DOTALL | re.MULTILINE))
    assert all(line.startswith(f"crossrec {name} ") for line in commands.splitlines())
    used = set(re.findall(r"--([a-z][a-z-]*)", commands))
    assert {re.sub(r"^(no|empty)-", "", flag) for flag in used} <= flags
    anywhere = {re.sub(r"^(no|empty)-", "", flag) for flag in re.findall(r"--([a-z][a-z-]*)", page(name))}
    assert anywhere <= flags | {field.replace("_", "-") for field in CrossConfig.model_fields}


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_page_says_what_how_and_what_is_claimed(name):
    heads = re.findall(r"^## (.*)$", page(name), re.MULTILINE)
    assert heads == ["What it does", "How to read it", "What the paper claims", "Measured"]


def test_the_pages_name_all_choices():
    for subset in PAPER[:-1]:
        assert subset in page("ablate")
    for rule in ("bidirectional", "one_way", "dynamic", "topmost", "off"):
        assert f"`{rule}`" in page("directions")
    for method in METHODS:
        assert f"`{method}`" in page("robustness")
    for field in SensitivityConfig.model_fields:
        if field.endswith("_values"):
            assert f"| `{field.removesuffix('_values')}` |" in page("sensitivity")
            assert f"`--{field.replace('_', '-')}`" in page("sensitivity")


def test_the_pages_state_the_numbers_of_runs():
    all_cells = cells(SensitivityConfig(seeds=(0,)), TINY)
    assert f"{len(all_cells) - 2} values and two settings" in page("sensitivity")
    assert f"are {len({cell.name for cell in all_cells})} different runs a seed" in page("sensitivity")
    assert len(ablate.cells(AblateConfig(seeds=(0,)), TINY)) == 11
    assert "eleven runs a seed" in page("ablate")
