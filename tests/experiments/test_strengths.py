"""Figure 2: records of runs, their tables and figures, and the findings."""

from __future__ import annotations

import csv

import pytest
from tests.experiments.fake_runs import NO_MEMORY, TINY, draw, fake_results, figure_rows, table_rows

from crossrec.data import load
from crossrec.experiments.questions import compare, strengths
from crossrec.experiments.questions.strengths import StrengthsConfig, cells

NAMES = ("id", "image", "text")


def row(epoch, seed, names=NAMES, sign=1):
    """Strengths that part and variances that fall, as in the paper, if ``sign`` is 1; a hundredth more per seed."""
    part = 0.01 * seed
    at = sign * epoch
    record = {"epoch": epoch}
    record |= {f"mean {m}": part + 0.1 + 0.05 * at * (len(names) - k) for k, m in enumerate(names)}
    record |= {f"variance {m}": 0.5 - 0.1 * at for m in names}
    record |= {f"strongest {m}": 1 / len(names) for m in names}
    pairs = [(m, n) for m in names for n in names if m != n]
    record |= {f"{m}->{n}": 0.25 + part for m, n in pairs}
    record |= {f"{m}<->{n}": 0.2 / epoch for m, n in pairs if names.index(m) < names.index(n)}
    return record


@pytest.fixture
def result_of(tmp_path):
    """The answer where the run of ``cell`` recorded ``rows(cell)``; no file where they are None."""

    def answer(options, rows, value=lambda _: 0.1):
        runs = fake_results(cells(options, TINY), value)
        for result in runs:
            folder = tmp_path / result.cell.name
            folder.mkdir(exist_ok=True)
            object.__setattr__(result, "folder", folder)
            recorded = rows(result.cell)
            if recorded is not None:
                with (folder / "strengths.csv").open("w", newline="") as file:
                    writer = csv.DictWriter(file, recorded[0])
                    writer.writeheader()
                    writer.writerows(recorded)
        return strengths.result(options, TINY, runs, {TINY.data: load(TINY.data)})

    return answer


def as_in_the_paper(cell):
    """The run of seed 1 stopped after two epochs, the others after three."""
    seed = cell.config.training.seed
    return [row(epoch, seed) for epoch in range(1, 3 if seed == 1 else 4)]


def test_cells_record_and_are_other_runs():
    options = {"backbones": ("bpr",), "seeds": (0, 3)}
    planned = cells(StrengthsConfig(**options), TINY)
    assert [(c.group, c.config.training.seed) for c in planned] == [
        (("bpr", name), seed) for name in ("none", "fettle", "cross") for seed in (0, 3)
    ]
    assert all(c.config.training.record_strengths for c in planned)
    others = compare.cells(compare.CompareConfig(**options), TINY)
    assert not {c.name for c in planned} & {c.name for c in others}
    plain = [c.config.training.model_copy(update={"record_strengths": None}) for c in planned]
    assert plain == [c.config.training for c in others], "nothing else is different"
    assert StrengthsConfig().backbones == ("freedom",)


def test_tables_hold_the_epochs_that_all_seeds_have(result_of):
    result = result_of(StrengthsConfig(alignments=("cross",), seeds=(0, 1)), as_in_the_paper)
    table = result.tables["strengths"]
    assert [r[:3] for r in table.rows] == [["freedom + cross", m, 2] for m in NAMES]
    at = {(c.group, c.header): x for x, c in enumerate(table.columns)}
    image = table.rows[1]
    for what, scale in (("mean", 1), ("variance", 1), ("strongest", 100)):
        group = "strongest %" if what == "strongest" else what
        for head, epoch in (("first", 1), ("last", 2)):
            expected = [scale * row(epoch, seed)[f"{what} image"] for seed in (0, 1)]
            assert image[at[group, head]] == pytest.approx(expected)
        assert image[at[group, "epoch 10"]] == "–"
    ways = result.tables["strengths-directions"]
    assert [r[:4] for r in ways.rows] == [
        ["freedom + cross", "dynamic", *pair] for pair in (("id", "image"), ("id", "text"), ("image", "text"))
    ]
    at = {(c.group, c.header): x for x, c in enumerate(ways.columns)}
    assert ways.rows[0][at["first epoch", "one to other"]] == pytest.approx((25, 26))
    assert ways.rows[0][at["last epoch", "both"]] == pytest.approx((10, 10))


def test_curves_are_what_was_recorded(result_of):
    result = result_of(StrengthsConfig(alignments=("none", "cross"), seeds=(0, 1)), as_in_the_paper)
    numbers = figure_rows(result.figures["strengths-figure"])
    assert [(n["alignment"], n["epoch"]) for n in numbers] == [(a, e) for a in ("none", "cross") for e in ("1", "2")]
    assert float(numbers[3]["mean text mean"]) == pytest.approx((row(2, 0)["mean text"] + row(2, 1)["mean text"]) / 2)
    assert float(numbers[3]["variance id n"]) == 2
    axes = draw(result.figures["strengths-figure"]).axes
    assert [a.get_ylabel() for a in axes] == ["mean strength", "variance of strength"] * 2
    (curve,) = (line for line in axes[2].lines if line.get_label() == "text")
    assert list(curve.get_ydata()) == pytest.approx([float(n["mean text mean"]) for n in numbers[2:]])
    axes = draw(result.figures["strengths-directions-figure"]).axes
    assert [line.get_label() for line in axes[0].lines] == [
        *("id → image", "image → id", "id → text", "text → id", "image → text", "text → image")
    ]
    assert list(axes[1].lines[0].get_ydata()) == pytest.approx([20, 10])


def test_of_more_modalities_directions_from_and_to_the_id_are_drawn(result_of):
    names = ("id", "image", "sound", "text")
    result = result_of(
        StrengthsConfig(alignments=("cross",), seeds=(0,)), lambda cell: [row(1, 0, names), row(2, 0, names)]
    )
    left, right = draw(result.figures["strengths-directions-figure"]).axes
    assert len(left.lines) == 6
    assert all("id" in line.get_label() for line in left.lines)
    assert len(right.lines) == 6
    assert len(result.tables["strengths-directions"].rows) == 6, "the table has all"


def test_claims_hold_where_the_numbers_are_the_papers(result_of):
    findings = result_of(StrengthsConfig(alignments=("cross",), seeds=(0, 1)), as_in_the_paper).findings
    assert findings[0] == (
        "freedom + cross: between epochs 1 and 2 the mean strength goes from id 0.255, image 0.205 and text 0.155 to "
        "id 0.405, image 0.305 and text 0.205."
    )
    claims = [f.split(" claim that ")[1] for f in findings if "claim" in f]
    assert [claim.split(" (")[0].removesuffix(".") for claim in claims] == [
        "strengths lie closer together at first than later holds",
        "the id is the strongest modality in the end holds",
        "the variance of strengths falls as training goes on holds",
    ]
    assert findings[-1].endswith(
        "20.0 % are aligned both ways after epoch 1, 10.0 % after epoch 2, by the dynamic rule."
    )


def test_claims_do_not_hold_where_the_numbers_contradict_them(result_of):
    options = StrengthsConfig(alignments=("none",), seeds=(0,))
    findings = result_of(options, lambda cell: [row(epoch, 0, sign=-1) for epoch in (1, 2)]).findings
    claims = [f.split(" claim that ")[1] for f in findings if "claim" in f]
    assert claims[0].startswith("strengths lie closer together at first than later holds")
    assert claims[1] == "the id is the strongest modality in the end does not hold (it is text)."
    assert claims[2].startswith("the variance of strengths falls as training goes on does not hold (id 0.6 → 0.7")
    assert "would be aligned both ways" in findings[-1]


def test_a_finding_where_the_dynamic_rule_is_nearly_the_one_way_rule(result_of):
    rows = [
        row(1, 0),
        row(2, 0) | {f"{m}<->{n}": 0.001 for m, n in (("id", "image"), ("id", "text"), ("image", "text"))},
    ]
    findings = result_of(StrengthsConfig(alignments=("cross", "fettle"), seeds=(0,)), lambda cell: rows).findings
    assert [f for f in findings if "one-way rule" in f and "all but" in f] == [
        "freedom + cross: in the end the dynamic rule is all but the one-way rule."
    ]


def test_one_epoch_judges_no_claim(result_of):
    findings = result_of(StrengthsConfig(alignments=("cross",), seeds=(0,)), lambda cell: [row(1, 0)]).findings
    assert "freedom + cross: one epoch says nothing of how strengths go on." in findings
    assert not any("claim" in finding for finding in findings)


def test_the_id_alone(result_of):
    options = StrengthsConfig(backbones=("bpr",), alignments=("none", "cross"), seeds=(0,))

    def rows(cell):
        return [row(epoch, 0, ("id",) if cell.group[1] == "none" else NAMES) for epoch in (1, 2)]

    result = result_of(options, rows)
    assert [r[:2] for r in result.tables["strengths"].rows if r] == [
        ["bpr alone", "id"],
        *(["bpr + cross", m] for m in NAMES),
    ]
    assert [f for f in result.findings if f.startswith("bpr alone") and "strongest" in f] == []
    numbers = figure_rows(result.figures["strengths-figure"])
    assert (numbers[0]["mean image"], float(numbers[2]["mean image"])) == ("–", pytest.approx(0.2))
    axes = draw(result.figures["strengths-figure"]).axes
    assert [len(line.get_xdata()) for line in axes[0].lines] == [2, 0, 0]
    assert {line.get_label(): line.get_color() for line in axes[0].lines} == {
        line.get_label(): line.get_color() for line in axes[2].lines
    }


def test_the_id_alone_has_no_directions(result_of):
    def rows(cell):
        return [row(epoch, 0, ("id",) if cell.group[1] == "none" else NAMES) for epoch in (1, 2)]

    options = StrengthsConfig(backbones=("bpr",), alignments=("none", "cross"), seeds=(0,))
    panels = draw(result_of(options, rows).figures["strengths-directions-figure"]).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["bpr + cross", ""]
    assert panels[0].get_ylim()[0] == 0
    assert panels[0].get_ylim()[1] > 25
    alone = result_of(options.model_copy(update={"alignments": ("none",)}), rows)
    assert list(alone.figures) == ["strengths-figure"]
    assert alone.tables["strengths-directions"].rows == []


def test_a_failure_is_reported_and_leaves_a_gap(result_of):
    options = StrengthsConfig(alignments=("none", "cross"), seeds=(0, 1))

    def value(cell):
        return None if cell.group[1] == "cross" and cell.config.training.seed == 1 else 0.1

    result = result_of(options, as_in_the_paper, value)
    assert table_rows(result.tables["strengths"])[-1]["modality"] == NO_MEMORY
    assert table_rows(result.tables["strengths-directions"])[-1]["rule"] == NO_MEMORY
    axes = draw(result.figures["strengths-figure"]).axes
    assert [len(line.get_xdata()) for line in axes[2].lines] == [0, 0, 0]
    assert [text.get_text() for text in axes[2].texts] == [NO_MEMORY]
    assert f"freedom + cross: nothing can be said, as a run is missing ({NO_MEMORY})." in result.findings


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), ("epoch,mean id\n1,nought\n", "damaged"), ("epoch\n", "empty")]
)
def test_a_record_that_cannot_be_read(content, reason, result_of, tmp_path):
    options = StrengthsConfig(alignments=("cross",), seeds=(0,))
    (cell,) = cells(options, TINY)
    if content is not None:
        (tmp_path / cell.name).mkdir()
        (tmp_path / cell.name / "strengths.csv").write_text(content)
    result = result_of(options, lambda _: None)
    failure = table_rows(result.tables["strengths"])[0]["modality"]
    assert "strengths.csv" in failure
    assert reason in failure
