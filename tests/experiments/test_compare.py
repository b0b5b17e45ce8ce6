"""RQ1 beyond means: paired tests corrected for their number, CROSS against FETTLE, lists, users and cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch
from tests.experiments.fake_runs import NO_MEMORY, TINY, fake_evaluation, fake_results, table_rows

from crossrec.data import load
from crossrec.errors import ConfigError
from crossrec.evaluation import PairedTest
from crossrec.evaluation.groups import popularity_groups
from crossrec.evaluation.metrics import evaluate_splits
from crossrec.experiments.analysis.comparison import method_blocks
from crossrec.experiments.analysis.run_evaluation import user_groups
from crossrec.experiments.analysis.search_budget import read_trials
from crossrec.experiments.analysis.significance_tables import Comparison, PairedTests, compare_methods
from crossrec.experiments.questions import compare
from crossrec.experiments.questions.compare import LIST_METRICS, CompareConfig, block_tests, cells, lists_table
from crossrec.runs.execute import held_out

USERS = 40
GAIN = {"none": 0.0, "fettle": 0.1, "cross": 0.2}


@pytest.fixture(scope="module")
def groups():
    dataset = load(TINY.data)
    return user_groups(dataset), popularity_groups(np.bincount(dataset.train.item_N, minlength=dataset.num_items))


def values(alignment, seed, backbone="bpr"):
    """Recall of forty users: CROSS gains 0.2 on bpr and nothing on others, with noise that changes by seed."""
    noise = np.random.default_rng([seed, len(alignment), len(backbone)]).normal(0, 0.05, USERS)
    lift = GAIN[alignment] if backbone == "bpr" else 0.0
    recall = np.linspace(0.2, 0.6, USERS) + lift + noise
    return {"recall@20": recall.tolist(), "ndcg@20": (recall / 2).tolist()}


@pytest.fixture
def measured(groups, monkeypatch):
    """Cells' results stand for what their vectors would be measured at."""

    def outcomes_of(results, datasets):
        failed = [result.failure for result in results if result.failure]
        runs = [(r.cell.group[-1], r.cell.config.training.seed, r.cell.group[-2]) for r in results]
        return failed[0] if failed else [fake_evaluation(values(a, s, b), *groups) for a, s, b in runs]

    monkeypatch.setattr(compare, "evaluate_runs", outcomes_of)


def result_of(options, value):
    todo = cells(options, TINY)
    return compare.result(options, TINY, fake_results(todo, value), {TINY.data: load(TINY.data)})


def recall(cell):
    return 0.1 + (GAIN[cell.group[2]] if cell.group[1] == "bpr" else 0.0) + 0.001 * cell.config.training.seed


def test_every_pair_of_alignments_is_tested_over_users(measured):
    result = result_of(CompareConfig(backbones=("bpr", "lightgcn"), seeds=(0, 1)), recall)
    rows = table_rows(result.tables["compare-tests"])
    pairs = [("fettle", "none"), ("cross", "none"), ("cross", "fettle")]
    assert [(row["backbone"], row["compared"], row["metric"]) for row in rows] == [
        (backbone, f"{new} v.s. {base}", metric)
        for backbone in ("bpr", "lightgcn")
        for new, base in pairs
        for metric in ("R@20", "N@20")
    ]
    p = []
    for row in rows:
        new, base = row["compared"].split(" v.s. ")
        metric = {"R@20": "recall@20", "N@20": "ndcg@20"}[row["metric"]]
        ours, theirs = (
            np.mean([values(name, seed, row["backbone"])[metric] for seed in (0, 1)], axis=0) for name in (new, base)
        )
        assert row["users"] == USERS
        assert (row["base"], row["new"]) == (pytest.approx(theirs.mean()), pytest.approx(ours.mean()))
        assert row["difference"] == pytest.approx((ours - theirs).mean())
        assert row["low"] < row["difference"] < row["high"]
        p.append(scipy.stats.ttest_rel(ours, theirs).pvalue)
        assert row["p"] == pytest.approx(p[-1])
    for row, one in zip(rows, p, strict=True):
        holm = max(min(1.0, (len(p) - sorted(p).index(q)) * q) for q in p if q <= one)
        assert row["p (Holm)"] == pytest.approx(holm)
        assert row["verdict"] == (
            "no difference shown" if holm > 0.05 else "higher" if row["difference"] > 0 else "lower"
        )
    assert {row["verdict"] for row in rows if row["backbone"] == "bpr"} == {"higher"}
    assert {row["verdict"] for row in rows if row["backbone"] == "lightgcn"} == {"no difference shown"}
    assert "all 12 tests" in result.tables["compare-tests"].footnotes[0]


@pytest.mark.parametrize(
    ("p", "corrected", "verdicts"),
    [
        ((0.03, 0.04), (0.06, 0.06), ("no difference shown", "no difference shown")),
        ((0.03, 0.02), (0.04, 0.04), ("higher", "lower")),
        ((0.5, 0.02), (0.5, 0.04), ("no difference shown", "lower")),
    ],
)
def test_the_corrected_p_decides_on_a_difference(p, corrected, verdicts):
    tests = [PairedTest(40, 0.3, 0.3 - d, d, d, d, one) for d, one in zip((0.1, -0.1), p, strict=True)]
    family = PairedTests(Comparison((name,), test) for name, test in zip("ab", tests, strict=True))
    rows = table_rows(family.table("", ("compared",)))
    assert [(row["p"], row["p (Holm)"]) for row in rows] == [*zip(p, corrected, strict=True)]
    assert tuple(row["verdict"] for row in rows) == verdicts == (family.verdict("a"), family.verdict("b"))


def test_cross_is_compared_with_fettle_whatever_the_order(measured):
    options = CompareConfig(backbones=("bpr",), alignments=("cross", "fettle", "none"), seeds=(0,))
    result = result_of(options, recall)
    assert [row["compared"] for row in table_rows(result.tables["compare-tests"])][::2] == [
        *("cross v.s. fettle", "none v.s. cross", "none v.s. fettle"),
    ]


def test_cross_against_fettle_on_average(measured):
    table = result_of(CompareConfig(backbones=("bpr", "lightgcn"), seeds=(0, 1)), recall).tables["compare"]
    last = table_rows(table)[-1]
    assert last["model"] == "cross v.s. fettle"
    expected = (100 * (0.3005 / 0.2005 - 1) + 0.0) / 2
    assert [last[name] for name in ("ΔR@10", "ΔR@20", "ΔN@10", "ΔN@20")] == pytest.approx([expected] * 4)
    alone = result_of(CompareConfig(backbones=("bpr",), seeds=(0,)), recall).tables["compare"]
    assert len(table_rows(alone)) == 3, "of one backbone there is no average"


def test_findings_over_several_backbones(measured):
    findings = result_of(CompareConfig(backbones=("bpr", "lightgcn", "vbpr"), seeds=(0, 1)), recall).findings
    assert all(finding.startswith("synthetic-tiny: ") for finding in findings)
    assert (
        "cross v.s. none: Recall@20 changes by +66.3 % on average of 3 backbones, from +0.0 % (lightgcn) to +199.0 % "
        "(bpr); 1 of 3 higher and 0 lower beyond chance."
    ) in findings[1]
    claims = [finding.split(" claim that ")[1] for finding in findings if "claim" in finding]
    assert claims == [
        "CROSS improves every backbone does not hold in the mean, which may be chance (not lightgcn and vbpr).",
        "collaborative backbones gain more than multi-modal ones holds (+99.5 % and +0.0 % on average; the paper: "
        "+36.6 % and +12.6 %).",
        "CROSS outperforms FETTLE on average and on most backbones does not hold in the mean, which may be chance "
        "(+16.6 % on average, ahead on 1 of 3).",
    ]


def test_a_failure_is_reported_and_not_among_the_corrected_tests(measured):
    def value(cell):
        return None if cell.group[2] == "fettle" else recall(cell)

    result = result_of(CompareConfig(backbones=("bpr",), seeds=(0, 1)), value)
    rows = table_rows(result.tables["compare-tests"])
    assert [(row["verdict"] == NO_MEMORY, row["p"] is None) for row in rows] == [
        (a, a) for a in (True, True, False, False, True, True)
    ]
    assert "all 2 tests" in result.tables["compare-tests"].footnotes[0]
    small, large = sorted((row["p"], row["p (Holm)"]) for row in rows[2:4])
    assert (small[1], large[1]) == pytest.approx((min(1, 2 * small[0]), max(2 * small[0], large[0])))
    failed = table_rows(result.tables["compare-lists"])[1]
    assert failed["model"] == "+ fettle"
    assert list(failed.values())[1:] == [NO_MEMORY, *[None] * (len(failed) - 2)]
    assert any("fettle v.s. none: Recall@20 cannot be compared" in finding for finding in result.findings)
    assert any("CROSS outperforms FETTLE" in f and "cannot be judged" in f for f in result.findings)


def test_lists_users_and_cost(measured, groups, tmp_path):
    options = CompareConfig(backbones=("bpr",), alignments=("none",), seeds=(0, 1))
    runs = fake_results(cells(options, TINY), recall)
    for number, result in enumerate(runs):
        result.metrics.update(epochs=3 + number, train_seconds_per_epoch=2.0, peak_memory_mb=300.0)
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "history.csv").write_text("epoch,train_seconds,eval_seconds\n1,20,10\n2,20,10\n")
        object.__setattr__(result, "folder", folder)
    runs[1].folder.joinpath("history.csv").unlink()
    (row,) = table_rows(compare.result(options, TINY, runs, {TINY.data: load(TINY.data)}).tables["compare-lists"])
    assert [row[name] for name in LIST_METRICS] == [(v, v) for v in (0.5, 0.75, 2.0, 3.0, 4.0)]
    first, *others = groups[0].names
    assert row[first] == pytest.approx([np.mean(values("none", seed)["recall@20"]) for seed in (0, 1)])
    assert all(np.isnan(row[name]).all() for name in others), "no test user is in these"
    assert (row["epochs"], row["s/epoch"], row["peak MB"]) == ((3.0, 4.0), (2.0, 2.0), (300.0, 300.0))
    assert row["minutes"][0] == 1.0
    assert np.isnan(row["minutes"][1]), "its history is gone"


def test_users_differ_in_number_or_are_none():
    assert compare_methods(("a",), "failed: x", [], "recall@20").test == "failed: x"
    table = PairedTests([compare_methods(("a",), "failed: x", "failed: y", "recall@20")]).table("t", ("what",))
    assert table.rows[0][0] == "a"
    assert table.rows[0][-1] == "failed: x"
    assert PairedTests([]).p_holm == {}


def test_no_test_users(groups):
    empty = fake_evaluation({"recall@20": [], "ndcg@20": []}, *groups)
    assert compare_methods(("a",), [empty], [empty], "recall@20").test == "no test pairs"
    dataset = load(TINY.data)
    runs = fake_results(cells(CompareConfig(backbones=("bpr",), alignments=("none",), seeds=(0,)), TINY), lambda _: 0.1)
    ((row,),) = method_blocks(runs)
    rows = compare.list_rows([row], {"none": [empty]})
    assert table_rows(lists_table("t", rows, dataset, (0,), "recall@20"))[0]["coverage@20"] == "no test pairs"
    assert block_tests([row], {"none": [empty]}) == []


def test_baselines_stand_above_the_backbones(measured):
    options = CompareConfig(backbones=("bpr",), seeds=(0,), baselines=("popularity", "content"))
    table = result_of(options, recall).tables["compare"]
    plain = result_of(CompareConfig(backbones=("bpr",), seeds=(0,)), recall).tables["compare"]
    assert [row[0] if row else "" for row in table.rows] == [
        "popularity",
        "content",
        "",
        *(row[0] for row in plain.rows),
    ]
    assert table.rows[3:] == plain.rows
    dataset = load(TINY.data)
    valid, test = (held_out(dataset, split) for split in (dataset.valid, dataset.test))
    degree_I = torch.from_numpy(np.bincount(dataset.train.item_N, minlength=dataset.num_items)).float().unsqueeze(1)
    expected = evaluate_splits(torch.ones(dataset.num_users, 1), degree_I, {"valid": valid, "test": test})
    assert table.rows[0][1:5] == [expected["test"][m] for m in ("recall@10", "recall@20", "ndcg@10", "ndcg@20")]
    assert table.rows[0][5:] == ["", "", "", "", expected["valid"]["recall@20"], ""]


def test_a_baseline_that_does_not_fit_has_its_reason_in_the_table(monkeypatch):
    monkeypatch.setattr("crossrec.baselines.EASE_MEMORY", 24 * 30**2)
    bare = load(TINY.data.model_copy(update={"modalities": ()}))
    ease, content, popular = compare.baseline_rows(("ease", "content", "popularity"), bare)
    assert ease[:2] == [
        "ease",
        "failed: baseline 'ease': 40 items need 0 GiB, and there is memory for 30 items; leave it out of --baselines",
    ]
    assert content[1].startswith("failed: baseline 'content': the data set has no content modality")
    assert len(ease) == len(content) == len(popular)
    assert popular[1] > 0


def test_an_unknown_baseline_is_refused():
    with pytest.raises(ConfigError, match="--baselines: unknown 'popular'; did you mean 'popularity'"):
        cells(CompareConfig(baselines=("popular",)), TINY)


def test_trials_of_the_search_behind_the_settings(measured, tmp_path):
    settings, trials = tmp_path / "settings.json", tmp_path / "trials.csv"
    assert read_trials(None) == read_trials(settings) == {}
    trials.write_text("backbone,alignment,trial\nbpr,none,1\nbpr,none,2\nbpr,cross,1\nlightgcn,none,1\n")
    shared = replace(TINY, trials=read_trials(settings))
    options = CompareConfig(backbones=("lightgcn", "bpr"), seeds=(0,), baselines=("popularity",))
    runs = fake_results(cells(options, shared), recall)
    table = compare.result(options, shared, runs, {TINY.data: load(TINY.data)}).tables["compare"]
    assert [(row["model"], row["trials"]) for row in table_rows(table)][:7] == [
        ("popularity", ""),
        *(("lightgcn", "1"), ("+ fettle", "1 + 0"), ("+ cross", "1 + 0")),
        *(("bpr", "2"), ("+ fettle", "2 + 0"), ("+ cross", "2 + 1")),
    ]
    assert {row["trials"] for row in table_rows(table)[7:]} == {""}
    trials.write_text("backbone,trial\nbpr,1\n")
    with pytest.raises(ConfigError, match=r"trials\.csv: not the trials of a search \('alignment'\); run"):
        read_trials(settings)
