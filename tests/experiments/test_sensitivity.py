"""RQ7: one setting at a time, its tables and figures, and the findings."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from tests.experiments.fake_runs import NO_MEMORY, TINY, draw, figure_rows, mean, result_from, table_rows

from crossrec.alignment import CrossConfig
from crossrec.errors import ConfigError
from crossrec.experiments.analysis.significance_tables import NO_DIFFERENCE, PairedTests
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.questions import compare
from crossrec.experiments.questions.sensitivity import SensitivityConfig, cells

WEIGHTS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
VALUES = {
    **dict.fromkeys(("alpha", "beta", "gamma"), WEIGHTS),
    "lambda_f": (0.05, 0.1, 0.15, 0.2, 0.25),
    "lambda_c": (0.1, 0.2, 0.3, 0.4, 0.5),
    "lambda_n": (0.2, 2.0, 20.0),
    "neighbors": (1, 3, 5, 10, 15),
}


def flat_enough(cell):
    """As the paper has it: above the backbone but for the largest β and γ."""
    _, parameter, value = cell.group
    if parameter == "none":
        return 0.0626 + 1e-4 * cell.config.training.seed
    low = parameter in ("beta", "gamma") and float(value) == 0.1
    return (0.06 if low else 0.068 if parameter == "cross" else 0.067) + 1e-4 * cell.config.training.seed


def test_the_papers_values_one_at_a_time():
    planned = cells(SensitivityConfig(seeds=(0,)), TINY)
    assert [c.group for c in planned] == [
        ("freedom", "none", ""),
        ("freedom", "cross", ""),
        *(("freedom", name, f"{value:g}") for name, values in VALUES.items() for value in values),
    ]
    alignments = {c.group[1:]: c.config.alignment for c in planned}
    assert alignments.pop(("none", "")) is None
    assert alignments.pop(("cross", "")) == CrossConfig()
    assert alignments == {
        (name, f"{value:g}"): CrossConfig(**{name: value}) for name, values in VALUES.items() for value in values
    }
    assert len({c.name for c in planned}) == 35 - 7, "the base setting is one of each parameter's values"


def test_cells_are_shared_with_other_questions():
    options = {"backbones": ("bpr",), "seeds": (1,)}
    others = {cell.name for cell in compare.cells(compare.CompareConfig(**options), TINY)}
    assert [
        c.group[1] for c in cells(SensitivityConfig(**options, parameters=("alpha",)), TINY) if c.name in others
    ] == [*("none", "cross", "alpha")]


def test_other_values_and_parameters():
    planned = cells(SensitivityConfig(parameters=("beta", "neighbors"), beta_values=(1, 0, 0.5), seeds=(0,)), TINY)
    assert [c.group[1:] for c in planned[2:]] == [
        *(("beta", value) for value in ("0", "0.5", "1")),
        *(("neighbors", str(value)) for value in VALUES["neighbors"]),
    ]


def test_cross_as_set_has_the_given_settings():
    base = SharedSettings(
        TINY.data, TINY.training, {"bpr": {"cross": {"alpha": 0.3, "gamma": 0.2}, "backbone": {"reg": 0.7}}}
    )
    planned = cells(SensitivityConfig(backbones=("bpr",), parameters=("alpha",), alpha_values=(0.1,), seeds=(0,)), base)
    assert [c.config.alignment for c in planned[1:]] == [
        CrossConfig(alpha=0.3, gamma=0.2),
        CrossConfig(alpha=0.1, gamma=0.2),
    ]
    assert {c.config.backbone.reg for c in planned} == {0.7}


def test_temperatures_are_learnt_unless_they_are_fixed():
    options = {"parameters": ("lambda_f", "lambda_c", "lambda_n", "alpha"), "seeds": (0,)}
    for fixed in (False, True):
        planned = cells(SensitivityConfig(**options, fixed_temperatures=fixed), TINY)
        for cell in planned[1:]:
            alignment = cell.config.alignment
            assert alignment.learn_lambda_f is not (fixed and cell.group[1] == "lambda_f")
            assert alignment.learn_lambda_c is not (fixed and cell.group[1] == "lambda_c")


def test_values_of_what_is_not_varied():
    with pytest.raises(ConfigError, match="--beta-values: beta is not varied; add it to --parameters"):
        cells(SensitivityConfig(parameters=("alpha",), beta_values=(0.1,)), TINY)


@pytest.mark.parametrize(
    "options",
    [{"parameters": ("delta",)}, {"alpha_values": (-1,)}, {"lambda_f_values": (0,)}, {"neighbors_values": (0,)}],
)
def test_values_out_of_range(options):
    with pytest.raises(ValidationError, match=next(iter(options))):
        SensitivityConfig(**options)


def test_table_and_figure_have_the_same_numbers():
    result = result_from("sensitivity", SensitivityConfig(), flat_enough)
    rows, numbers = table_rows(result.tables["sensitivity"]), figure_rows(result.figures["sensitivity-figure"])
    assert [(row["model"], row["value"]) for row in rows[:4]] == [
        *(("freedom", ""), ("+ cross", "as set"), ("α", 1e-5), ("α", 1e-4))
    ]
    assert len(rows) == len(numbers) == 35
    for row, number in zip(rows, numbers, strict=True):
        assert float(number["recall@10 mean"]) == mean(row["R@10"])
        assert float(number["recall@10 deviation"]) == pytest.approx(1e-4)
    for row, number in zip(rows[2:], numbers[2:], strict=True):
        assert (number["parameter"], float(number["value"])) == (row["model"], row["value"])
        assert row["ΔR@10"] == pytest.approx(100 * (mean(row["R@10"]) / mean(rows[0]["R@10"]) - 1))
    assert (
        "α 0.01, β 0.01, γ 0.01, λ_f 0.1, λ_c 0.2, λ_n 0.2, K 5. λ_f and λ_c: learnt"
        in (result.tables["sensitivity"].footnotes[0])
    )


def learnt_by(planned, ends):
    """Let runs have learnt temperatures: ``ends`` of a cell by name."""
    for cell in planned:
        Path(cell.name).mkdir(exist_ok=True)
        weights = {f"cross.{name}": torch.tensor(end) for name, end in ends(cell).items()}
        save_file(weights, Path(cell.name, "model.safetensors"))


def test_learnt_temperatures_in_table_and_findings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = SensitivityConfig(parameters=("lambda_f", "neighbors", "lambda_c"), lambda_f_values=(0.05, 0.25))

    def value(cell):
        return None if (cell.group[2], cell.config.training.seed) == ("0.05", 2) else flat_enough(cell)

    learnt_by(
        cells(options, TINY)[3:],
        lambda cell: (
            {"lambda_c": 0.25}
            | ({"lambda_f": 0.03 + cell.config.training.seed / 1000} if cell.group[2] != "0.25" else {"lambda_f": 0.9})
        ),
    )
    result = result_from("sensitivity", options, value)
    ends = {
        (row["model"], row["value"]): row["learnt to"]
        for row in table_rows(result.tables["sensitivity"])
        if row["value"]
    }
    assert ends.pop(("+ cross", "as set")) == ends["K", 5] == ""
    assert ends["λ_f", 0.05] == pytest.approx((0.03, 0.031)), "of the seeds that are done"
    assert ends["λ_f", 0.25] == (0.5, 0.5, 0.5)
    assert {ends["λ_c", each] for each in VALUES["lambda_c"]} == {(0.25, 0.25, 0.25)}
    findings = {finding.split()[1]: finding for finding in result.findings}
    assert findings["λ_f"].endswith(" It is learnt from there and ends between 0.0300 and 0.5000.")
    assert findings["λ_c"].endswith(" It is learnt from there and ends between 0.2500 and 0.2500.")
    assert "learnt" not in findings["K"]


def test_learnt_temperatures_that_were_not_recorded():
    result = result_from("sensitivity", SensitivityConfig(parameters=("lambda_f",)), flat_enough)
    assert [row["learnt to"] for row in table_rows(result.tables["sensitivity"])] == ["", "", *["–"] * 5]
    assert "learnt" not in " ".join(result.findings)


FIXED = SharedSettings(TINY.data, TINY.training, {"freedom": {"cross": {"learn_lambda_f": False}}})


@pytest.mark.parametrize(
    ("fixed", "base", "notes"),
    [
        (True, TINY, {"λ_f and λ_c: kept at the value."}),
        (False, FIXED, {"λ_c: learnt, the value is where it starts", "λ_f: kept at the value."}),
    ],
)
def test_fixed_temperatures_are_in_the_footnote(fixed, base, notes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = SensitivityConfig(parameters=("lambda_f", "lambda_c"), fixed_temperatures=fixed)
    learnt_by(cells(options, base), lambda cell: {"lambda_c": 0.25})
    result = result_from("sensitivity", options, flat_enough, base)
    table = result.tables["sensitivity"]
    assert all(note in table.footnotes[0] for note in notes)
    rows = {row["model"]: row.get("learnt to") for row in table_rows(table)}
    assert rows["λ_f"] == (None if fixed else "")
    assert rows["λ_c"] == (None if fixed else (0.25, 0.25, 0.25))
    assert sum("It is learnt" in finding for finding in result.findings) == (not fixed)


def test_curves_are_the_numbers_and_a_failure_a_gap():
    def value(cell):
        return None if cell.group[1:] == ("alpha", "0.001") else flat_enough(cell)

    options = SensitivityConfig(parameters=("alpha", "lambda_f"))
    result = result_from("sensitivity", options, value)
    left, right = draw(result.figures["sensitivity-figure"]).axes
    (curve,) = left.containers
    assert list(curve.lines[0].get_xdata()) == list(WEIGHTS)
    assert [math.isnan(y) for y in curve.lines[0].get_ydata()] == [False, False, True, False, False]
    assert (left.get_xscale(), right.get_xscale()) == ("log", "linear")
    levels = {line.get_label(): line for line in left.lines}
    assert list(levels["backbone alone"].get_ydata()) == pytest.approx([0.0627] * 2)
    assert list(levels["as set"].get_xdata()) == [0.01] * 2
    band = left.patches[0].get_extents().transformed(left.transData.inverted())
    assert (band.y0, band.y1) == pytest.approx((0.0626, 0.0628))
    assert table_rows(result.tables["sensitivity"])[4]["R@10"] == NO_MEMORY
    assert "cannot be judged" in result.findings[-1]
    assert "above the backbone alone at 4 of 5 values" in result.findings[1]


def test_a_weight_of_0_is_on_the_logarithmic_axis():
    options = SensitivityConfig(parameters=("alpha",), alpha_values=(0, 0.01, 0.1), seeds=(0,))
    result = result_from("sensitivity", options, flat_enough)
    (axes,) = draw(result.figures["sensitivity-figure"]).axes
    assert axes.get_xscale() == "symlog"


def test_claims_hold_where_the_numbers_are_the_papers():
    findings = result_from("sensitivity", SensitivityConfig(), flat_enough).findings
    assert findings[0] == "freedom: CROSS as set changes Recall@10 by +8.6 %, higher in 3 of 3 seeds."
    assert findings[2] == (
        "freedom: β from 1e-05 to 0.1 moves Recall@10 by 10.3 %, from 0.0601 (at 0.1) to 0.0671 (at 1e-05), above the "
        "backbone alone at 4 of 5 values."
    )
    assert findings[-1].endswith("at every value of Figure 11 but β and γ = 0.1 holds.")
    assert len(findings) == 9


def test_claims_do_not_hold_where_the_numbers_contradict_them():
    def value(cell):
        return (
            0.05 if cell.group[1:] in (("alpha", "0.1"), ("neighbors", "15"), ("lambda_n", "20")) else flat_enough(cell)
        )

    findings = result_from("sensitivity", SensitivityConfig(), value).findings
    assert findings[-1].endswith("does not hold (not at α = 0.1, K = 15)."), "Figure 11 does not have λ_n"
    other = result_from("sensitivity", SensitivityConfig(parameters=("alpha",), alpha_values=(7.0,)), value).findings
    assert not [finding for finding in other if "claim" in finding], "nor a weight of 7"


def test_a_table_and_a_figure_per_backbone():
    options = SensitivityConfig(backbones=("bpr", "vbpr"), parameters=("gamma",), seeds=(0,))
    result = result_from("sensitivity", options, flat_enough)
    assert list(result.tables) == [f"sensitivity-{name}" for name in ("bpr", "bpr-tests", "vbpr", "vbpr-tests")]
    assert list(result.figures) == ["sensitivity-bpr-figure", "sensitivity-vbpr-figure"]


def test_cross_as_set_is_tested_once_and_every_other_value_against_it_too():
    options = SensitivityConfig(parameters=("gamma", "neighbors"), gamma_values=(0.01, 0.1), neighbors_values=(5, 1))
    tests = table_rows(result_from("sensitivity", options, flat_enough).tables["sensitivity-tests"])
    assert [(row["setting"], row["value"], row["compared with"]) for row in tests] == [
        ("cross", "", "backbone alone"),
        *(("γ", "0.1", other) for other in ("backbone alone", "as set")),
        *(("K", "1", other) for other in ("backbone alone", "as set")),
    ]


@pytest.mark.parametrize(
    ("verdicts", "sentence"),
    [
        ({"0.1": "lower"}, " Against CROSS as set it is lower at 0.1, beyond chance."),
        (
            {"0.1": "lower", "1e-05": "lower", "0.001": "higher"},
            " Against CROSS as set it is lower at 1e-05 and 0.1, higher at 0.001, beyond chance.",
        ),
        ({}, " No value differs from CROSS as set beyond chance."),
    ],
)
def test_values_that_differ_beyond_chance_are_named(monkeypatch, verdicts, sentence):
    tested = {
        ("γ", value, "as set"): verdicts.get(value, NO_DIFFERENCE) for value in ("1e-05", "0.0001", "0.001", "0.1")
    }
    monkeypatch.setattr(PairedTests, "verdict", lambda self, *labels: tested.get(labels))
    findings = result_from("sensitivity", SensitivityConfig(parameters=("gamma",)), flat_enough).findings
    assert sentence in findings[1]
    assert "chance" not in findings[-1], "the claim is about the backbone alone, and nothing was tested against it"
    del tested["γ", "0.001", "as set"]
    findings = result_from("sensitivity", SensitivityConfig(parameters=("gamma",)), flat_enough).findings
    assert findings[1].endswith(" values."), "where a run has failed, nothing is said"


def test_a_claim_that_holds_beyond_chance(monkeypatch):
    tested = {("γ", f"{value:g}", "backbone alone"): "higher" for value in WEIGHTS}
    tested |= {("cross", "", "as set"): "lower", ("cross", "", "backbone alone"): "higher"}
    monkeypatch.setattr(PairedTests, "verdict", lambda self, *labels: tested.get(labels))
    findings = result_from("sensitivity", SensitivityConfig(parameters=("gamma",)), flat_enough).findings
    assert findings[-1].endswith("holds beyond chance.")


def test_axes_have_powers_of_ten_as_such():
    values_by_name = {
        "alpha": (1e-5, 0.1),
        "lambda_n": (0.2, 20),
        "neighbors": (1, 10),
        "lambda_f": (0.1,),
        "gamma": (0, 0.1),
    }
    options = SensitivityConfig(
        parameters=tuple(values_by_name), **{f"{name}_values": values for name, values in values_by_name.items()}
    )
    axes = draw(result_from("sensitivity", options, flat_enough).figures["sensitivity-figure"]).axes
    written = [[label.get_text() for label in panel.get_xticklabels()] for panel in axes if panel.get_visible()]
    assert written == [["$10^{-5}$", "$10^{-1}$"], ["0.2", "20"], ["1", "10"], ["0.1"], ["0", "0.1"]]


def test_without_the_backbone_no_line_is_drawn():
    options = SensitivityConfig(parameters=("gamma", "neighbors"))
    result = result_from("sensitivity", options, lambda c: None if c.group[1] == "none" else flat_enough(c))
    assert [row["ΔR@10"] for row in table_rows(result.tables["sensitivity"])[1:]] == ["–"] * 11
    assert not draw(result.figures["sensitivity-figure"]).axes[0].patches, "and no band"
    assert "cannot be judged" in result.findings[-1]
