"""RQ4: rising shares of noise, their tables and figures, and the findings."""

from __future__ import annotations

import pytest
from tests.experiments.fake_runs import NO_MEMORY, TINY, draw, figure_rows, mean, result_from, table_rows

from crossrec.alignment import CrossConfig, FettleConfig
from crossrec.data import DataConfig
from crossrec.errors import ConfigError
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.questions import ablate, compare
from crossrec.experiments.questions.robustness import RobustnessConfig, cells

GAIN = {"none": 0.0, "ila": 0.02, "ilda": 0.03, "fettle": 0.1, "cross": 0.12}


def worn(cell):
    """As the paper has it: the methods ahead at every share, CROSS steadier."""
    _, _, share, method = cell.group
    loss = {"cross": 0.1}.get(method, 0.2) * float(share.removesuffix(" %")) / 100
    return 0.06 * (1 + GAIN[method]) * (1 - loss) + 1e-4 * cell.config.training.seed


def test_the_papers_shares_and_methods():
    planned = cells(RobustnessConfig(seeds=(0, 1)), TINY)
    assert [(c.group, c.config.training.seed) for c in planned] == [
        ((kind, "freedom", share, method), seed)
        for kind, shares, methods in (
            ("missing", ("0 %", "20 %", "40 %", "60 %", "80 %"), ("none", "ila", "ilda")),
            ("clicks", ("0 %", "5 %", "10 %", "15 %", "20 %"), ("none", "fettle", "cross")),
        )
        for share in shares
        for method in methods
        for seed in (0, 1)
    ]
    assert len({c.name for c in planned}) == 58, "the clean backbone is the same run in both"


def test_data_and_alignment_of_each_cell():
    planned = {c.group: c.config for c in cells(RobustnessConfig(seeds=(0,)), TINY)}
    assert planned["missing", "freedom", "40 %", "ila"].data == DataConfig(data="synthetic-tiny", missing_content=0.4)
    assert planned["clicks", "freedom", "15 %", "cross"].data == DataConfig(data="synthetic-tiny", false_clicks=0.15)
    assert planned["missing", "freedom", "40 %", "ila"].alignment == FettleConfig(terms=("item",))
    assert planned["missing", "freedom", "40 %", "ilda"].alignment == CrossConfig(terms=("item",))
    assert planned["missing", "freedom", "40 %", "none"].alignment is None
    assert planned["clicks", "freedom", "15 %", "fettle"].alignment == FettleConfig()
    assert planned["clicks", "freedom", "15 %", "cross"].alignment == CrossConfig()


def test_without_noise_the_cells_are_those_of_other_experiments():
    options = {"backbones": ("freedom",), "seeds": (1,)}
    noisy = SharedSettings(TINY.data.model_copy(update={"corruption_seed": 9}))
    clean = {c.group[3]: c.name for c in cells(RobustnessConfig(**options), noisy) if c.group[2] == "0 %"}
    plain, fettle, cross = (c.name for c in compare.cells(compare.CompareConfig(**options), TINY))
    assert (clean["none"], clean["fettle"], clean["cross"]) == (plain, fettle, cross)
    assert clean["ilda"] in {c.name for c in ablate.cells(ablate.AblateConfig(**options), TINY)}


@pytest.mark.parametrize("redraw", [False, True])
def test_a_backbone_that_reads_no_content_is_trained_once_for_all_missing_content(redraw):
    base = SharedSettings(TINY.data.model_copy(update={"missing_content": 0.3}))
    planned = cells(RobustnessConfig(backbones=("lightgcn",), clicks=(), seeds=(0,), redraw=redraw), base)
    assert {c.config.data for c in planned if c.group[3] == "none"} == {TINY.data}
    assert len({c.name for c in planned}) == 1 + 2 * 5, "the alignment reads it"
    clicks = cells(RobustnessConfig(backbones=("lightgcn",), missing=(), seeds=(0,), redraw=redraw), TINY)
    assert len({c.name for c in clicks}) == 3 * 5, "everyone meets false clicks"


@pytest.mark.parametrize(("redraw", "seeds"), [(False, [5, 5]), (True, [0, 3])])
def test_the_draw_is_that_of_the_data_or_of_the_seed(redraw, seeds):
    base = SharedSettings(TINY.data.model_copy(update={"corruption_seed": 5}))
    options = RobustnessConfig(missing=(0.2,), clicks=(), missing_methods=("none",), seeds=(0, 3), redraw=redraw)
    assert [c.config.data.corruption_seed for c in cells(options, base)] == seeds


def test_shares_in_order_each_once_and_either_kind_alone():
    planned = cells(RobustnessConfig(missing=(0.5, 0.1, 0.5), clicks=(), missing_methods=("cross",), seeds=(0,)), TINY)
    assert [c.group for c in planned] == [("missing", "freedom", s, "cross") for s in ("10 %", "50 %")]
    assert {c.group[0] for c in cells(RobustnessConfig(missing=()), TINY)} == {"clicks"}
    with pytest.raises(ConfigError, match="nothing is asked"):
        cells(RobustnessConfig(missing=(), clicks=()), TINY)


def test_one_kind_of_noise_keeps_the_other_kind_of_the_data():
    base = SharedSettings(TINY.data.model_copy(update={"missing_content": 0.3, "corruption_seed": 2}))
    planned = {c.group[:3]: c.config.data for c in cells(RobustnessConfig(seeds=(0,)), base)}
    assert planned["clicks", "freedom", "0 %"].missing_content == 0.3
    assert planned["clicks", "freedom", "0 %"].corruption_seed == 2
    assert planned["missing", "freedom", "0 %"] == TINY.data


def test_table_and_figure_have_the_same_numbers():
    options = RobustnessConfig(missing=(0, 0.4, 0.8), clicks=(0, 0.2))
    result = result_from("robustness", options, worn)
    assert list(result.tables) == [
        f"robustness-{name}" for name in ("missing", "missing-tests", "clicks", "clicks-tests")
    ]
    assert list(result.figures) == ["robustness-missing-figure", "robustness-clicks-figure"]
    rows = table_rows(result.tables["robustness-missing"])
    assert [(row["model"], row["noise"]) for row in rows] == [
        (model, noise) for noise in ("0 %", "40 %", "80 %", "average > 0 %") for model in ("freedom", "+ ILA", "+ ILDA")
    ]
    cell = rows[7]
    assert mean(cell["R@10"]) == pytest.approx(0.06 * 1.02 * 0.84 + 1e-4)
    assert cell["ΔR@10"] == pytest.approx(100 * (mean(cell["R@10"]) / mean(rows[6]["R@10"]) - 1))
    assert cell["R@10 kept"] == pytest.approx(100 * mean(cell["R@10"]) / mean(rows[1]["R@10"]))
    assert mean(rows[10]["R@10"]) == pytest.approx((mean(rows[4]["R@10"]) + mean(rows[7]["R@10"])) / 2)
    assert len(table_rows(result.tables["robustness-clicks"])) == 6, "one share is its own average"
    numbers = {
        (n["method"], n["noise in %"]): float(n["recall@10 mean"])
        for n in figure_rows(result.figures["robustness-missing-figure"])
    }
    names = {"freedom": "none", "+ ILA": "ila", "+ ILDA": "ilda"}
    by_table = {(names[r["model"]], f"{float(r['noise'][:-2])}"): mean(r["R@10"]) for r in rows[:9]}
    assert numbers == by_table


def test_lines_are_the_numbers_and_a_failure_a_gap():
    def value(cell):
        return None if cell.group[2:] == ("40 %", "ila") else worn(cell)

    result = result_from("robustness", RobustnessConfig(clicks=()), value)
    assert list(result.figures) == ["robustness-missing-figure"]
    (axes,) = draw(result.figures["robustness-missing-figure"]).axes
    drawn = [line.lines[0] for line in axes.containers]
    assert [list(line.get_xdata()) for line in drawn] == [[0, 20, 40, 60, 80]] * 3
    heights = [[round(y, 6) for y in line.get_ydata() if y == y] for line in drawn]
    assert [len(line) for line in heights] == [5, 4, 5]
    assert heights[0] == pytest.approx([0.06 * (1 - 0.2 * s) + 1e-4 for s in (0, 0.2, 0.4, 0.6, 0.8)], abs=1e-6)
    rows = table_rows(result.tables["robustness-missing"])
    assert (rows[7]["R@10"], rows[7]["R@10 kept"], rows[16]["R@10"]) == (NO_MEMORY, "–", NO_MEMORY)
    assert sum("cannot be judged" in finding for finding in result.findings) == 2


@pytest.mark.parametrize("kind", ["missing", "clicks"])
def test_error_bars_at_the_same_share_do_not_cover_each_other(kind):
    (axes,) = draw(result_from("robustness", RobustnessConfig(), worn).figures[f"robustness-{kind}-figure"]).axes
    (zero, _) = axes.transData.transform((0, 0.05))
    for bars in axes.containers:
        assert len(bars.get_children()) == 4, "markers, ends above and below, bars"
    for artists in zip(*(bars.get_children() for bars in axes.containers), strict=True):
        places = [float(artist.get_transform().transform((0, 0.05))[0]) - zero for artist in artists]
        assert places == pytest.approx([-axes.figure.dpi / 24, 0, axes.figure.dpi / 24], abs=1e-6)


def test_limits_are_those_of_the_numbers():
    (axes,) = draw(
        result_from("robustness", RobustnessConfig(clicks=()), worn).figures["robustness-missing-figure"]
    ).axes
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    y = [value for bars in axes.containers for end in bars.lines[1] for value in end.get_ydata()]
    assert (left, right) == pytest.approx((-4, 84), abs=0.5)
    assert low < min(y) < max(y) < high
    assert high - low < 1.2 * (max(y) - min(y))


def test_claims_hold_where_the_numbers_are_the_papers():
    findings = result_from("robustness", RobustnessConfig(), worn).findings
    assert (
        "freedom, missing content, average of 20 % … 80 %: Recall@10 of ILDA against the backbone alone: "
        in findings[1]
    )
    claims = [finding for finding in findings if "claim" in finding]
    assert len(claims) == 6
    assert all(" holds" in claim for claim in claims)
    (left,) = [finding for finding in findings if "false clicks: of the Recall@10" in finding]
    assert left == (
        "freedom, false clicks: of the Recall@10 without noise, this is left at 20 %: backbone alone 96.0 %, "
        "FETTLE 96.0 %, CROSS 98.0 %."
    )


def test_claims_do_not_hold_where_the_numbers_contradict_them():
    def value(cell):
        kind, _, share, method = cell.group
        if kind == "missing":
            return 0.05 if method == "ilda" and share in ("20 %", "60 %") else 0.06 if method == "none" else 0.07
        return 0.07 if method == "fettle" else 0.06

    claims = [f for f in result_from("robustness", RobustnessConfig(), value).findings if "claim" in f]
    assert [claim.split(" claim that ")[1] for claim in claims] == [
        "ILA is above the backbone at every share holds.",
        "ILDA is above the backbone at every share does not hold (not at 20 %, 60 %).",
        "ILDA is above ILA on average does not hold (-14.3 %, higher in 0 of 3 seeds).",
        "FETTLE is above the backbone at every share holds.",
        "CROSS is above the backbone at every share does not hold (not at 5 %, 10 %, 15 %, 20 %).",
        "CROSS is above FETTLE on average does not hold (-14.3 %, higher in 0 of 3 seeds).",
    ]


def test_no_noise_no_findings():
    result = result_from("robustness", RobustnessConfig(missing=(0,), clicks=()), worn)
    assert result.findings == []
    assert len(table_rows(result.tables["robustness-missing"])) == 3


def test_several_backbones_side_by_side():
    options = RobustnessConfig(backbones=("bpr", "vbpr"), missing=(0.2,), clicks=(), seeds=(0,))
    result = result_from("robustness", options, worn)
    assert [row["model"] for row in table_rows(result.tables["robustness-missing"])] == [
        *("bpr", "+ ILA", "+ ILDA", "vbpr", "+ ILA", "+ ILDA")
    ]
    assert [axes.get_title() for axes in draw(result.figures["robustness-missing-figure"]).axes] == ["bpr", "vbpr"]
    assert table_rows(result.tables["robustness-missing"])[0]["R@10 kept"] == "–", "there is no run without noise"
