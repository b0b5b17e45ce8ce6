"""RQ2: subsets of components, their table and figure, and the findings."""

from __future__ import annotations

import math
import re

import pytest
from tests.experiments.fake_runs import NO_MEMORY, TINY, draw, figure_rows, mean, result_from, table_rows

from crossrec.errors import ConfigError
from crossrec.experiments.analysis.comparison import PLAIN
from crossrec.experiments.analysis.components import components_label
from crossrec.experiments.analysis.significance_tables import NO_DIFFERENCE, PairedTests, versus
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.questions import compare
from crossrec.experiments.questions.ablate import PAPER, AblateConfig, cells
from crossrec.runs.config import RunConfig

ALL = ("item", "tuning", "neighbor", "cluster_items", "cluster_users")
GAIN = {
    "none": 0.0,
    "ILDA": 0.04,
    "DT": -0.002,
    "CNA": 0.035,
    "CLA": 0.003,
    "ILDA&CNA&CLA": 0.05,
    "ILDA&DT&CNA&CLA": 0.1,
}


def lifted(cell):
    """As the paper has it on Baby; what it does not say lies between."""
    return 0.06 * (1 + GAIN.get(cell.group[1], 0.045)) + 1e-4 * cell.config.training.seed


def test_the_papers_subsets_per_backbone_and_seed():
    planned = cells(AblateConfig(backbones=("freedom", "bpr"), seeds=(0, 3)), TINY)
    assert [(c.group, c.config.training.seed) for c in planned] == [
        ((backbone, name), seed) for backbone in ("freedom", "bpr") for name in ("none", *PAPER) for seed in (0, 3)
    ]
    assert len({c.name for c in planned}) == 44
    assert AblateConfig().backbones == ("freedom",)


def test_a_subset_is_the_terms_of_cross():
    configs = {c.group[1]: c.config for c in cells(AblateConfig(backbones=("bpr",), seeds=(0,)), TINY)}
    assert configs["none"].alignment is None
    assert {name: config.alignment.terms for name, config in configs.items() if name != "none"} == {
        "ILDA": ("item",),
        "DT": ("tuning",),
        "CNA": ("neighbor",),
        "CLA": ("cluster_items", "cluster_users"),
        "ILDA&DT": ("item", "tuning"),
        "ILDA&CNA": ("item", "neighbor"),
        "ILDA&CLA": ("item", "cluster_items", "cluster_users"),
        "CNA&CLA": ("neighbor", "cluster_items", "cluster_users"),
        "ILDA&CNA&CLA": ("item", "neighbor", "cluster_items", "cluster_users"),
        "ILDA&DT&CNA&CLA": ALL,
    }
    everything = RunConfig(data=TINY.data, backbone={"name": "bpr"})
    assert configs["ILDA&DT&CNA&CLA"] == everything, "all of them are CROSS"


def test_cells_are_shared_with_other_questions():
    options = {"backbones": ("bpr",), "seeds": (1,)}
    others = {cell.name for cell in compare.cells(compare.CompareConfig(**options), TINY)}
    assert len(others & {cell.name for cell in cells(AblateConfig(**options), TINY)}) == 2, "the backbone, and CROSS"


def test_subsets_in_any_form_each_once():
    planned = cells(AblateConfig(subsets=("cna+ilda", "item+neighbor", "DT"), seeds=(0,)), TINY)
    assert [c.group[1] for c in planned] == ["none", "ILDA&CNA", "DT"]
    planned = cells(AblateConfig(subsets=("paper", "dt+cna"), seeds=(0,)), TINY)
    assert [c.group[1] for c in planned] == ["none", *PAPER, "DT&CNA"]


@pytest.mark.parametrize("subset", ["ilda+cnn", "", "ilda+", "papers"])
def test_an_unknown_component(subset):
    with pytest.raises(ConfigError, match="--subsets: unknown"):
        cells(AblateConfig(subsets=(subset,)), TINY)


def test_only_the_terms_of_the_settings_change():
    base = SharedSettings(TINY.data, TINY.training, {"bpr": {"cross": {"alpha": 0.5, "terms": ["item"]}}})
    for cell in cells(AblateConfig(backbones=("bpr",), seeds=(0,)), base):
        if cell.group[1] != "none":
            assert cell.config.alignment.alpha == 0.5
            assert components_label(cell.config.alignment.terms) == cell.group[1]


def test_table_and_figure_have_the_same_numbers():
    result = result_from("ablate", AblateConfig(backbones=("freedom", "bpr")), lifted)
    rows = table_rows(result.tables["ablate"])
    assert [row["model"] for row in rows[:11]] == ["freedom", *(f"+ {name}" for name in PAPER)]
    assert [row["model"] for row in rows[22:]] == [f"average + {name}" for name in PAPER]
    assert mean(rows[1]["R@10"]) == pytest.approx(0.06 * 1.04 + 1e-4)
    assert rows[1]["ΔR@10"] == pytest.approx(100 * (0.0625 / 0.0601 - 1))
    numbers = figure_rows(result.figures["ablate-figure"])
    assert len(numbers) == 22
    for row, number in zip(rows, numbers, strict=False):
        assert float(number["recall@10 mean"]) == mean(row["R@10"])
        assert float(number["ndcg@10 mean"]) == mean(row["N@10"])
        assert float(number["recall@10 deviation"]) == pytest.approx(1e-4)
        assert float(number["change of recall@10 in %"] or 0) == (row["ΔR@10"] or 0.0)


def test_bars_are_the_numbers():
    result = result_from("ablate", AblateConfig(subsets=("ilda", "cna")), lifted)
    recall, ndcg = draw(result.figures["ablate-figure"]).axes
    rows = table_rows(result.tables["ablate"])
    for axes, name in ((recall, "R@10"), (ndcg, "N@10")):
        widths = [bar.get_width() for bar in axes.patches]
        assert widths == pytest.approx([mean(row[name]) for row in rows])
        assert axes.get_xlim()[0] == 0, "bars start at 0"
    assert [label.get_text() for label in recall.get_yticklabels()] == ["freedom", "+ ILDA", "+ CNA"]


def claims_of(result):
    """(claim, verdict and detail) of the findings that judge a claim of the paper."""
    claims = [
        finding.removesuffix(".").partition(" claim that ")[2] for finding in result.findings if "claim" in finding
    ]
    return [re.fullmatch(r"(.*?) (holds|does not hold|cannot be judged)(.*)", claim).groups() for claim in claims]


def finding_on(result, subject):
    """The finding that starts with a subject."""
    (finding,) = [finding for finding in result.findings if finding.startswith(f"freedom: {subject} ")]
    return finding


def test_changes_and_the_best_subset_are_in_the_findings():
    result = result_from("ablate", AblateConfig(), lifted)
    for subject, percent, seeds in (
        ("ILDA", "+4.0 %", "3 of 3"),
        ("DT", "-0.2 %", "0 of 3"),
        ("all", "+10.0 %", "3 of 3"),
    ):
        finding = finding_on(result, subject if subject == "all" else f"{subject} alone")
        assert percent in finding
        assert f"higher in {seeds} seeds" in finding
    best = finding_on(result, "ILDA&DT&CNA&CLA")
    assert "highest Recall@10" in best
    assert "10 subsets" in best


def test_claims_hold_where_the_numbers_are_the_papers():
    claims = claims_of(result_from("ablate", AblateConfig(), lifted))
    assert [verdict for _, verdict, _ in claims] == ["holds"] * 5


def test_claims_do_not_hold_where_the_numbers_contradict_them():
    low = {"ILDA": -0.05, "DT": 0.02, "CNA": 0.01, "CLA": 0.0, "ILDA&CNA&CLA": -0.06, "ILDA&DT&CNA&CLA": -0.07}
    result = result_from("ablate", AblateConfig(), lambda cell: 0.06 * (1 + low.get(cell.group[1], 0.0)))
    expected = [
        (("ILDA", "CNA", "CLA", "raise"), "(not ILDA and CLA)"),
        (("ILDA", "strongest"), "(it is DT)"),
        (("DT", "little", "1 %"), "(+2.0 %, higher in 3 of 3 seeds)"),
        (("CNA and CLA", "add to ILDA"), "(-1.1 %, higher in 0 of 3 seeds)"),
        (("DT", "adds to the other three"), "(-1.1 %, higher in 0 of 3 seeds)"),
    ]
    for (claim, verdict, detail), (words, expected_detail) in zip(claims_of(result), expected, strict=True):
        assert all(word in claim for word in words)
        assert (verdict, detail.strip()) == ("does not hold", expected_detail)


@pytest.mark.parametrize(
    ("tested", "certainty"),
    [
        ("higher", "contrary is beyond chance"),
        ("lower", "contrary is beyond chance"),
        (NO_DIFFERENCE, "in the mean, which may be chance"),
    ],
)
def test_dt_alone_does_little_is_contradicted_in_either_direction(monkeypatch, tested, certainty):
    verdicts = {("freedom", versus("DT", PLAIN)): tested}
    monkeypatch.setattr(PairedTests, "verdict", lambda self, *labels: verdicts.get(labels))
    value = {"DT": 0.06, "none": 0.05}
    (claim,) = claims_of(result_from("ablate", AblateConfig(subsets=("dt",)), lambda cell: value[cell.group[1]]))
    assert claim[1] == "does not hold"
    assert certainty in claim[2]
    assert claim[2].endswith("(+20.0 %, higher in 3 of 3 seeds)")


def test_a_failed_cell_is_reported_and_leaves_a_gap():
    def value(cell):
        return None if cell.group[1] == "ILDA" and cell.config.training.seed == 1 else lifted(cell)

    result = result_from("ablate", AblateConfig(subsets=("ilda", "cna", "ilda+cna+cla")), value)
    rows = table_rows(result.tables["ablate"])
    assert (rows[1]["R@10"], rows[1]["ΔR@10"]) == (NO_MEMORY, None)
    assert isinstance(rows[2]["ΔR@10"], float)
    assert figure_rows(result.figures["ablate-figure"])[1]["recall@10 mean"] == NO_MEMORY
    assert [math.isnan(bar.get_width()) for bar in draw(result.figures["ablate-figure"]).axes[0].patches] == [
        *(False, True, False, False)
    ]
    claims = [finding for finding in result.findings if "claim" in finding]
    assert len(claims) == 3
    assert all("cannot be judged" in claim for claim in claims)


def test_a_failed_backbone_leaves_nothing_to_compare_with():
    result = result_from("ablate", AblateConfig(), lambda cell: None if cell.group[1] == "none" else 0.06)
    assert [row["ΔR@10"] for row in table_rows(result.tables["ablate"])[1:]] == ["–"] * 10
    assert not [text for axes in draw(result.figures["ablate-figure"]).axes for text in axes.texts], (
        "no change to write"
    )
    assert all("holds" not in finding for finding in result.findings if "alone raise" in finding)


def test_a_footnote_names_components_with_weight_0():
    base = SharedSettings(TINY.data, TINY.training, {"freedom": {"cross": {"gamma": 0}}})
    notes = result_from("ablate", AblateConfig(seeds=(0,)), lifted, base).tables["ablate"].footnotes
    assert "freedom: the weight of CNA is 0, so it is not computed." in notes
