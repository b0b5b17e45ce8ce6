"""RQ6: groups of items by popularity, and what each gains."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.experiments.fake_runs import (
    NO_MEMORY,
    TINY,
    draw,
    fake_evaluation,
    figure_rows,
    mean,
    result_from,
    table_rows,
)

from crossrec.data import load
from crossrec.errors import ConfigError
from crossrec.evaluation.groups import popularity_groups
from crossrec.experiments.analysis.run_evaluation import user_groups
from crossrec.experiments.questions import ablate, compare, popularity
from crossrec.experiments.questions.popularity import PopularityConfig, cells, tail_change

GROUPS = ("Tail 1", "Tail 2", "Tail 3", "Tail 4", "Head")
PAPER = {"Tail 1": 0.3614, "Tail 2": 0.25, "Tail 3": 0.2, "Tail 4": 0.1, "Head": 0.0381}
"""Changes as the paper has them for the rarest items and the head; what it does not say lies between."""


@pytest.fixture
def measured(monkeypatch):
    """Ten test users' Recall@10 in a group is 0.2, lifted by these changes under CNA&CLA, twice so under cross.

    A group whose change is None has no hit without an alignment.
    """
    dataset = load(TINY.data)
    items = popularity_groups(np.bincount(dataset.train.item_N, minlength=dataset.num_items))
    changes: dict[str, float | None] = dict(PAPER)

    def evaluation(name, seed):
        factor = {"none": 0, "CNA&CLA": 1, "cross": 2}[name]
        wave = np.linspace(-0.001, 0.001, 10) * (1 + seed)

        def recall(group):
            if changes[group] is None:
                return {"recall@10": np.full(10, 0.1 * factor)}
            value = 0.2 * (1 + factor * changes[group]) + wave * (1 + factor)
            value = np.where(np.arange(10) < 8, value, math.nan) if group == "Tail 1" else value
            return {"recall@10": value}

        evaluation = fake_evaluation({"recall@10": (0.2 + wave).tolist()}, user_groups(dataset), items)
        return replace(evaluation, of_items={group: recall(group) for group in GROUPS})

    def outcomes_of(results, datasets):
        failed = [result.failure for result in results if result.failure]
        return failed[0] if failed else [evaluation(r.cell.group[-1], r.cell.config.training.seed) for r in results]

    monkeypatch.setattr(popularity, "evaluate_runs", outcomes_of)
    return changes


def test_cells_are_the_backbone_alone_and_each_alignment():
    planned = cells(PopularityConfig(backbones=("bpr",), seeds=(0, 3)), TINY)
    assert [(cell.group, cell.config.training.seed) for cell in planned] == [
        (("bpr", name), seed) for name in ("none", "CNA&CLA", "cross") for seed in (0, 3)
    ]
    assert planned[0].config.alignment is None
    assert planned[2].config.alignment.terms == ("neighbor", "cluster_items", "cluster_users")
    assert PopularityConfig().backbones == ("freedom",)
    named = cells(PopularityConfig(backbones=("bpr",), alignments=("fettle", "none", "dt"), seeds=(0,)), TINY)
    assert [cell.group[1] for cell in named] == ["none", "fettle", "DT"]


def test_cells_are_shared_with_other_questions():
    options = {"backbones": ("bpr",), "seeds": (1,)}
    others = {cell.name for cell in compare.cells(compare.CompareConfig(**options), TINY)}
    others |= {cell.name for cell in ablate.cells(ablate.AblateConfig(**options), TINY)}
    assert {cell.name for cell in cells(PopularityConfig(**options), TINY)} <= others


def test_an_unknown_alignment():
    with pytest.raises(ConfigError, match="--alignments: unknown 'croos'"):
        cells(PopularityConfig(alignments=("croos",)), TINY)


def test_recall_and_changes_by_group(measured):
    result = result_from("popularity", PopularityConfig(seeds=(0, 1)), lambda _: 0.1)
    table = result.tables["popularity"]
    recall = {c.header: x for x, c in enumerate(table.columns) if c.group == "R@10"}
    change = {c.header: x for x, c in enumerate(table.columns) if c.group == "Δ %"}
    plain, some, cross = table.rows
    assert [row[0].strip() for row in table.rows] == ["freedom", "+ CNA&CLA", "+ cross"]
    # the last two users have no value in Tail 1: the mean is over the others
    assert plain[recall["Tail 1"]] == pytest.approx(
        [0.2 + (1 + seed) * np.linspace(-0.001, 0.001, 10)[:8].mean() for seed in (0, 1)]
    )
    assert mean(plain[recall["Head"]]) == pytest.approx(0.2)
    assert mean(some[recall["Head"]]) == pytest.approx(0.2 * 1.0381)
    for row, factor in ((some, 1), (cross, 2)):
        for group in GROUPS[1:]:
            assert row[change[group]] == pytest.approx(100 * factor * PAPER[group])
        assert row[change["tail average"]] == pytest.approx(np.mean([row[change[g]] for g in GROUPS[:4]]))
        assert row[change["all"]] == pytest.approx(0.0)
    assert set(plain[min(change.values()) :]) == {""}
    numbers = figure_rows(result.figures["popularity-figure"])
    assert [(n["alignment"], n["items"]) for n in numbers] == [
        (name, group) for name in ("none", "CNA&CLA", "cross") for group in GROUPS
    ]
    assert [float(n["recall@10 mean"]) for n in numbers[5:10]] == [mean(some[recall[g]]) for g in GROUPS]


def test_the_table_of_groups(measured):
    result = result_from("popularity", PopularityConfig(seeds=(0,)), lambda _: 0.1)
    dataset = load(TINY.data)
    rows = table_rows(result.tables["popularity-groups"])
    assert [row["group"] for row in rows] == list(GROUPS)
    assert sum(row["items"] for row in rows) == dataset.num_items
    assert sum(row["share of interactions in %"] for row in rows) == pytest.approx(100)
    assert sum(row["test pairs"] for row in rows) == len(dataset.test)
    degree = np.sort(np.bincount(dataset.train.item_N, minlength=dataset.num_items))
    head = degree[-round(0.2 * len(degree)) :]
    assert rows[-1]["share of interactions in %"] == pytest.approx(100 * head.sum() / degree.sum())
    assert rows[-1]["interactions an item"] == f"{head[0]} to {head[-1]}"
    assert f"have {100 * head.sum() / degree.sum():.1f} % of the interactions" in result.findings[0]
    numbers = figure_rows(result.figures["popularity-distribution-figure"])
    counted = [int(n["interactions an item"]) for n in numbers for _ in range(int(n["items with so many"]))]
    assert counted == degree[::-1].tolist()


def test_claims_hold_where_the_numbers_are_the_papers(measured):
    findings = result_from("popularity", PopularityConfig(seeds=(0, 1)), lambda _: 0.1).findings
    claims = [finding for finding in findings if "claim" in finding]
    assert [claim.split(" claim that ")[1].split(" holds")[0] for claim in claims] == [
        "every group of items gains",
        "tail items gain more than head items",
        "the rarest items gain most",
    ]
    higher = "Tail 1 (higher), Tail 2 (higher), Tail 3 (higher), Tail 4 (higher) and Head (higher)"
    assert f"freedom + CNA&CLA: beyond chance over users after correction: {higher}." in findings


def test_claims_do_not_hold_where_the_numbers_contradict_them(measured):
    measured.update({"Tail 1": -0.1, "Tail 2": 0.0, "Head": 0.3})
    findings = result_from("popularity", PopularityConfig(seeds=(0, 1)), lambda _: 0.1).findings
    claims = [finding.split(" claim that ")[1] for finding in findings if "claim" in finding]
    assert [claim.split(" (")[0] for claim in claims] == [
        *("every group of items gains does not hold", "tail items gain more than head items does not hold"),
        "the rarest items gain most does not hold",
    ]
    assert "not Tail 1 and Tail 2" in claims[0]
    assert "Head gains most, +30.0 %" in claims[2]


def test_a_group_that_the_backbone_never_hits_gains_without_a_percentage(measured):
    measured["Tail 2"] = None
    findings = result_from("popularity", PopularityConfig(seeds=(0, 1)), lambda _: 0.1).findings
    unknown = "cannot be judged, as freedom alone has no hit in Tail 2."
    assert [finding.split(" claim that ")[1] for finding in findings if "claim" in finding] == [
        "every group of items gains holds.",
        f"tail items gain more than head items {unknown}",
        f"the rarest items gain most {unknown}",
    ]


def test_a_group_without_hits_has_no_infinite_gain(measured):
    same = {"Tail 1": (0.0, 0.0), "Tail 2": 0.2, "Head": 0.3, "all": 0.3}
    assert tail_change({**same, "Tail 1": 0.1}, same) == "–"
    assert tail_change({**same, "Tail 1": "failed: x"}, same) == "–"
    assert tail_change({"Tail 1": 0.1, "Tail 2": 0.4, "Head": 9.0}, {"Tail 1": 0.2, "Tail 2": 0.2, "Head": 0.1}) == 25


def test_a_failed_cell_is_reported_and_leaves_a_gap(measured):
    def value(cell):
        return None if cell.group[1] == "CNA&CLA" and cell.config.training.seed == 1 else 0.1

    result = result_from("popularity", PopularityConfig(seeds=(0, 1)), value)
    assert result.tables["popularity"].rows[1][1] == NO_MEMORY
    assert [row["verdict"] for row in table_rows(result.tables["popularity-tests"])][:5] == [NO_MEMORY] * 5
    heights = [bar.get_height() for bar in draw(result.figures["popularity-figure"]).axes[0].patches]
    assert [math.isnan(height) for height in heights] == [False] * 5 + [True] * 5 + [False] * 5
    assert any("nothing can be said" in finding for finding in result.findings)
    assert not [finding for finding in result.findings if "claim" in finding]


def test_figures_of_several_backbones(measured):
    result = result_from("popularity", PopularityConfig(backbones=("bpr", "lightgcn"), seeds=(0, 1)), lambda _: 0.1)
    drawn = draw(result.figures["popularity-figure"])
    assert [axes.get_ylabel() for axes in drawn.axes] == ["bpr\nRecall@10", "lightgcn\nRecall@10"]
    assert all(axes.get_ylim()[0] == 0 for axes in drawn.axes)
    (axes,) = draw(result.figures["popularity-distribution-figure"]).axes
    assert [text.get_text().split("\n")[0] for text in axes.texts] == list(reversed(GROUPS))
