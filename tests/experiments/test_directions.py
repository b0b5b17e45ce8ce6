"""RQ3: rules of direction, their table and figure, and the findings."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError
from tests.experiments.fake_runs import NO_MEMORY, TINY, draw, figure_rows, mean, result_from, table_rows

from crossrec.alignment import CrossConfig, FettleConfig
from crossrec.backbones import BACKBONES
from crossrec.errors import ConfigError
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.questions import compare
from crossrec.experiments.questions.directions import DirectionsConfig, cells

RULES = ("bidirectional", "one_way", "dynamic", "topmost")
TWO = ("lightgcn", "vbpr")
GAIN = {"none": 0.0, "bidirectional": 0.02, "one_way": 0.08, "dynamic": 0.12, "topmost": 0.01, "off": 0.05}


def lifted(cell):
    """As the paper has it on average."""
    return {"lightgcn": 0.05, "vbpr": 0.04}.get(cell.group[0], 0.06) * (1 + GAIN[cell.group[1]])


def aligned(**options):
    planned = cells(DirectionsConfig(backbones=("bpr",), seeds=(0,), **options), TINY)
    return {cell.group[1]: cell.config.alignment for cell in planned}


def test_the_papers_backbones_and_rules():
    planned = cells(DirectionsConfig(seeds=(0, 1)), TINY)
    assert [(c.group, c.config.training.seed) for c in planned] == [
        ((backbone, rule), seed)
        for backbone in ("lightgcn", "ncl", "vbpr", "slmrec")
        for rule in ("none", *RULES)
        for seed in (0, 1)
    ]
    assert len({c.name for c in planned}) == 40
    assert all(c.config.backbone == BACKBONES[c.group[0]].config_type() for c in planned)


def test_only_the_direction_differs():
    assert aligned() == {"none": None, **{rule: CrossConfig(direction=rule) for rule in RULES}}
    assert aligned(alignment="fettle") == {"none": None, **{rule: FettleConfig(direction=rule) for rule in RULES}}
    alone = {rule: CrossConfig(direction=rule, terms=("item", "tuning")) for rule in RULES}
    assert aligned(item_level_only=True) == {"none": None, **alone}


def test_without_the_item_level():
    alignments = aligned(directions=("off", "dynamic"))
    assert alignments["off"] == CrossConfig(terms=("neighbor", "cluster_items", "cluster_users"))
    assert list(alignments) == ["none", "off", "dynamic"]


def test_cells_are_shared_with_other_questions():
    options = {"backbones": ("bpr",), "seeds": (1,)}
    of_compare = {cell.name for cell in compare.cells(compare.CompareConfig(**options), TINY)}
    of_fettle = cells(DirectionsConfig(**options, alignment="fettle", directions=("one_way",)), TINY)
    assert {cell.name for cell in of_fettle} < of_compare
    of_cross = cells(DirectionsConfig(**options, directions=("dynamic",)), TINY)
    assert {cell.name for cell in of_cross} < of_compare


def test_where_a_rule_would_change_nothing():
    with pytest.raises(ConfigError, match="--directions off"):
        aligned(directions=("off",), item_level_only=True)
    base = SharedSettings(TINY.data, TINY.training, {"bpr": {"cross": {"terms": ["neighbor"]}}})
    with pytest.raises(ConfigError, match="no rule changes a thing"):
        cells(DirectionsConfig(backbones=("bpr",)), base)


def test_an_unknown_rule():
    with pytest.raises(ValidationError, match="directions"):
        DirectionsConfig(directions=("sideways",))


def test_table_and_figure_have_the_same_numbers():
    result = result_from("directions", DirectionsConfig(backbones=TWO), lifted)
    rows, numbers = table_rows(result.tables["directions"]), figure_rows(result.figures["directions-figure"])
    assert [row["model"] for row in rows[:5]] == ["lightgcn", *(f"+ {rule}" for rule in RULES)]
    assert [row["model"] for row in rows[10:]] == [f"average + {rule}" for rule in RULES]
    assert [row["ΔR@10"] for row in rows[10:]] == pytest.approx([2, 8, 12, 1])
    for row, number in zip(rows[:10], numbers[:10], strict=True):
        assert float(number["recall@10 mean"]) == mean(row["R@10"])
        assert float(number["change of recall@10 in %"] or 0) == (row["ΔR@10"] or 0.0)
    for row, number in zip(rows[10:], numbers[10:], strict=True):
        assert number["backbone"] == "average"
        assert float(number["change of recall@10 in %"]) == row["ΔR@10"]


def test_bars_are_the_numbers():
    result = result_from("directions", DirectionsConfig(backbones=TWO, directions=("dynamic",)), lifted)
    left, right = draw(result.figures["directions-figure"]).axes
    assert sorted(bar.get_height() for bar in left.patches) == pytest.approx(sorted([0.05, 0.056, 0.04, 0.0448]))
    assert [bar.get_height() for bar in right.patches] == pytest.approx([12.0])
    assert left.get_ylim()[0] == 0
    one = result_from("directions", DirectionsConfig(backbones=("vbpr",)), lifted)
    assert len(draw(one.figures["directions-figure"]).axes) == 1, "no average of a single backbone"


def test_claims_hold_where_the_numbers_are_the_papers():
    findings = result_from("directions", DirectionsConfig(backbones=TWO), lifted).findings
    assert "average of 2 backbones: dynamic changes Recall@10 by +12.0 %, higher on 2 of 2." in findings
    assert "dynamic has the best Recall@10 on 2 of 2 backbones: lightgcn and vbpr." in findings
    claims = [finding.split(" claim that ")[1] for finding in findings if "claim" in finding]
    assert claims == [
        "dynamic gains most holds (dynamic +12.0 %, one-way +8.0 %, bidirectional +2.0 %).",
        "bidirectional gains least holds (bidirectional +2.0 %, one-way +8.0 %, dynamic +12.0 %).",
        "topmost gains less than the rules for pairs holds (topmost +1.0 %, one-way +8.0 %, dynamic +12.0 %).",
    ]


def test_claims_do_not_hold_where_the_numbers_contradict_them():
    gain = {"none": 0.1, "bidirectional": 0.0, "one_way": -0.1, "dynamic": -0.02, "topmost": 0.05, "off": 0}
    findings = result_from(
        "directions", DirectionsConfig(backbones=TWO), lambda c: 0.05 * (1 + gain[c.group[1]])
    ).findings
    assert "the backbone alone has the best Recall@10 on 2 of 2 backbones: lightgcn and vbpr." in findings
    assert sum("does not hold" in finding for finding in findings) == 3


def test_each_backbone_counts_by_its_own_change():
    def value(cell):
        return 0.05 * (1 + {"lightgcn": 1, "vbpr": -1}[cell.group[0]] * GAIN[cell.group[1]])

    findings = result_from("directions", DirectionsConfig(backbones=TWO, directions=("dynamic",)), value).findings
    assert "average of 2 backbones: dynamic changes Recall@10 by +0.0 %, higher on 1 of 2." in findings
    assert "the backbone alone has the best Recall@10 on 1 of 2 backbones: vbpr." in findings


def test_on_one_backbone_seeds_are_counted():
    findings = result_from("directions", DirectionsConfig(backbones=("vbpr",), directions=("off",)), lifted).findings
    assert findings[0] == "vbpr: no item level changes Recall@10 by +5.0 %, higher in 3 of 3 seeds."


def test_a_failed_cell_is_reported_and_leaves_a_gap():
    def value(cell):
        return None if cell.group == ("vbpr", "topmost") else lifted(cell)

    result = result_from("directions", DirectionsConfig(backbones=TWO), value)
    rows = table_rows(result.tables["directions"])
    assert rows[9]["R@10"] == NO_MEMORY
    assert rows[13]["model"] == "average + topmost (of 1)"
    assert figure_rows(result.figures["directions-figure"])[9]["recall@10 mean"] == NO_MEMORY
    left, right = draw(result.figures["directions-figure"]).axes
    assert sum(math.isnan(bar.get_height()) for bar in left.patches) == 1
    assert [bar.get_height() for bar in right.patches] == pytest.approx([2, 8, 12, 1])
    findings = result.findings
    assert "average of 2 backbones: topmost changes Recall@10 by +1.0 %, higher on 1 of 1, not known on 1." in findings
    assert "dynamic has the best Recall@10 on 1 of 1 backbones: lightgcn." in findings, "vbpr cannot be judged"
    assert [f.split(" claim that ")[1].split(" (")[0] for f in findings if "claim" in f] == [
        "dynamic gains most holds",
        "bidirectional gains least holds",
        "topmost gains less than the rules for pairs cannot be judged, as results are missing",
    ]
