"""Knock-outs of content: which runs, the table, and where a gain comes from."""

from __future__ import annotations

import pytest
from tests.experiments.fake_runs import NO_MEMORY, TINY, fake_results, result_from, table_rows

from crossrec.data import DataConfig
from crossrec.errors import ConfigError
from crossrec.evaluation import PairedTest
from crossrec.experiments.analysis.significance_tables import Comparison, PairedTests
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.questions import compare
from crossrec.experiments.questions.knockout import KnockoutConfig, KnockoutRuns, View, _source, cells

WORTH = {"as it is": 0.01, "as it is, apart": 0.01, "image alone": 0.005, "text alone": 0.004}


def recall(cell):
    """A loss that gives .02, content that gives .01 to the alignment and .03 to the backbone."""
    _, method, of_backbone, of_alignment = cell.group
    worth = 0.03 * (of_backbone in WORTH) + (method != "none") * (0.02 + WORTH.get(of_alignment, 0))
    return 0.05 + worth + 1e-4 * cell.config.training.seed


def planned(backbone, shared=TINY, **options):
    config = KnockoutConfig(backbones=(backbone,), seeds=(0,), **options)
    return {cell.group[1:]: cell.config for cell in cells(config, shared)}


def test_a_backbone_without_content_leaves_it_to_the_alignment():
    runs = planned("bpr")
    assert list(runs) == [
        ("none", "–", "–"),
        *(("cross", "–", name) for name in ("as it is", "shuffled", "constant", "noise")),
        *(("cross", "–", name) for name in ("image alone", "text alone", "ids alone")),
    ]
    plain, cross = compare.cells(
        compare.CompareConfig(backbones=("bpr",), alignments=("none", "cross"), seeds=(0,)), TINY
    )
    assert [*runs.values()][:2] == [plain.config, cross.config], "the runs of compare"
    data = {name: config.data.model_dump(exclude_none=True) for (_, _, name), config in runs.items()}
    base = TINY.data.model_dump(exclude_none=True)
    for name in ("shuffled", "constant", "noise"):
        assert data[name] == base | {"content": name}
    assert data["image alone"] == base | {"modalities": ("image",)}
    assert data["ids alone"] == base | {"modalities": ()}


def test_content_of_backbone_and_alignment_apart():
    runs = planned("freedom", knockouts=("shuffled", "alone", "ids"))
    assert list(runs) == [
        *(("none", name, "–") for name in ("as it is", "shuffled", "image alone", "text alone")),
        *(("cross", name, name) for name in ("as it is", "shuffled", "image alone", "text alone")),
        *(("cross", name, "as it is, apart") for name in ("as it is", "shuffled", "image alone", "text alone")),
        *(("cross", "as it is", name) for name in ("shuffled", "image alone", "text alone", "ids alone")),
    ]
    both = {"alignment_modalities": ("image", "text")}
    expected = {
        ("as it is", "as it is"): {},
        ("shuffled", "shuffled"): {"content": "shuffled"},
        ("as it is", "as it is, apart"): {"alignment_content": "original", **both},
        ("shuffled", "as it is, apart"): {"content": "shuffled", "alignment_content": "original", **both},
        ("text alone", "as it is, apart"): {"modalities": ("text",), "alignment_content": "original", **both},
        ("as it is", "shuffled"): {"alignment_content": "shuffled", **both},
        ("as it is", "text alone"): {"alignment_content": "original", "alignment_modalities": ("text",)},
        ("as it is", "ids alone"): {"alignment_content": "original", "alignment_modalities": ()},
    }
    base = TINY.data.model_dump(exclude_none=True)
    for view, changed in expected.items():
        assert runs["cross", *view].data.model_dump(exclude_none=True) == base | changed
    assert len({config.digest() for config in runs.values()}) == len(runs)


@pytest.mark.parametrize(("side", "views"), [("both", 3), ("backbone", 4), ("alignment", 5)])
def test_one_side(side, views):
    runs = planned("freedom", knockouts=("shuffled", "noise", "ids"), sides=(side,))
    assert len([view for method, *view in runs if method == "cross"]) == views


def test_a_content_graph_makes_the_backbone_read_content():
    settings = {"bpr": {"cross": {"content_graph": 1.0, "content_shares": {"image": 0.1, "text": 0.9}}}}
    runs = planned("bpr", SharedSettings(TINY.data, TINY.training, settings), knockouts=("shuffled", "alone", "ids"))
    assert list(runs)[:5] == [
        ("none", "–", "–"),
        *(("cross", name, name) for name in ("as it is", "shuffled", "image alone", "text alone")),
    ]
    assert ("cross", "ids alone", "ids alone") in runs
    assert ("cross", "shuffled", "as it is") in runs
    assert ("cross", "as it is", "as it is, apart") not in runs, "it has no vectors of its own to be apart from"
    assert runs["cross", "shuffled", "shuffled"].alignment.content_shares == {"image": 0.1, "text": 0.9}
    assert runs["cross", "image alone", "image alone"].alignment.content_shares is None
    assert runs["cross", "as it is", "image alone"].alignment.content_shares == {"image": 0.1, "text": 0.9}


def test_settings_by_modality_are_left_out_where_one_is_alone():
    settings = {"freedom": {"backbone": {"modality_weights": {"image": 0.1, "text": 0.9}}}}
    runs = planned("freedom", SharedSettings(TINY.data, TINY.training, settings))
    assert runs["none", "image alone", "–"].backbone.modality_weights is None
    assert runs["none", "shuffled", "–"].backbone.modality_weights == {"image": 0.1, "text": 0.9}


def test_one_modality_is_never_alone():
    data = TINY.data.model_copy(update={"modalities": ("text",)})
    assert not [view for view in planned("bpr", SharedSettings(data)) if "text alone" in view]


def test_mistakes():
    bare = SharedSettings(TINY.data.model_copy(update={"modalities": ()}))
    with pytest.raises(ConfigError, match=r"no content to knock out.*_feat\.npy"):
        cells(KnockoutConfig(), bare)
    for update in ({"content": "noise"}, {"alignment_modalities": ()}, {"alignment_content": "original"}):
        with pytest.raises(ConfigError, match="knockout sets them"):
            cells(KnockoutConfig(), SharedSettings(DataConfig(data="synthetic-tiny", **update)))
    with pytest.raises(ConfigError, match="'fetle'; did you mean 'fettle'"):
        cells(KnockoutConfig(alignments=("fetle",)), TINY)


@pytest.mark.parametrize("alignment", ["fettle", "cross", "damrs"])
def test_the_table(alignment):
    options = KnockoutConfig(backbones=("bpr", "freedom"), alignments=(alignment,), seeds=(0, 1))
    table = result_from("knockout", options, recall).tables["knockout"]
    rows = {(row["model"], row["backbone sees"], row["alignment sees"]): row for row in table_rows(table)}
    model = f"+ {alignment}"
    kept = {key: row["gain kept"] for key, row in rows.items()}
    assert kept["bpr", "–", "–"] == ""
    assert kept[model, "–", "as it is"] == pytest.approx(100)
    assert kept[model, "–", "shuffled"] == kept[model, "–", "ids alone"] == pytest.approx(200 / 3)
    assert kept[model, "–", "image alone"] == pytest.approx(250 / 3)
    assert kept["freedom", "shuffled", "–"] == ""
    assert kept[model, "as it is", "shuffled"] == pytest.approx(200 / 3)
    assert kept[model, "noise", "noise"] == pytest.approx(200 / 3), "against the backbone that sees noise"
    assert kept[model, "noise", "as it is, apart"] == pytest.approx(100)
    change = rows["freedom", "shuffled", "–"]["ΔR@10"]
    assert change == pytest.approx(100 * (0.05005 / 0.08005 - 1))


def test_what_is_tested_against_what():
    options = KnockoutConfig(backbones=("freedom",), knockouts=("shuffled",), seeds=(0,))
    tests = result_from("knockout", options, recall).tables["knockout-tests"]
    assert [(row["new model"], row["base model"]) for row in table_rows(tests)] == [
        ("alone, shuffled", "alone, as it is"),
        ("cross, as it is", "alone, as it is"),
        ("cross, shuffled", "cross, as it is"),
        ("cross, shuffled", "alone, shuffled"),
        ("cross, apart", "cross, as it is"),
        ("cross, apart", "alone, as it is"),
        ("cross, backbone shuffled", "cross, apart"),
        ("cross, backbone shuffled", "alone, shuffled"),
        ("cross, alignment shuffled", "cross, apart"),
        ("cross, alignment shuffled", "alone, as it is"),
    ]


def test_findings_and_failures():
    options = KnockoutConfig(backbones=("bpr",), knockouts=("shuffled", "ids"), seeds=(0, 1))
    findings = result_from("knockout", options, recall).findings
    assert findings == [
        "bpr + cross, as it is: Recall@20 +59.9 %, higher in 2 of 2 seeds against the backbone alone.",
        "bpr + cross, shuffled: Recall@20 -12.5 %, higher in 0 of 2 seeds against the content as it is, +40.0 %, "
        "higher in 2 of 2 seeds against the backbone alone.",
        "bpr + cross, ids alone: Recall@20 -12.5 %, higher in 0 of 2 seeds against the content as it is, +40.0 %, "
        "higher in 2 of 2 seeds against the backbone alone.",
        "bpr + cross: the gain cannot be judged, as results are missing.",
    ], "there are no runs to test"

    failing = result_from("knockout", options, lambda cell: None if "shuffled" in cell.group else recall(cell))
    rows = table_rows(failing.tables["knockout"])
    assert [row["R@10"] for row in rows if row["alignment sees"] == "shuffled"] == [NO_MEMORY]
    assert [row["gain kept"] for row in rows][2] == "–"
    assert "a result is missing" in failing.findings[1]


def test_nothing_gained_has_no_share():
    options = KnockoutConfig(backbones=("bpr",), knockouts=("ids",), seeds=(0,))
    rows = table_rows(result_from("knockout", options, lambda cell: 0.05).tables["knockout"])
    assert [row["gain kept"] for row in rows] == ["", "–", "–"]


def runs_and_tests(gain, above, below, knockouts=("shuffled", "ids"), backbone="bpr", shared=TINY, **options):
    """Runs, and tests with these three differences; each has a p of 0 unless it is 0."""
    config = KnockoutConfig(backbones=(backbone,), knockouts=knockouts, seeds=(0,), **options)
    block = KnockoutRuns(backbone, fake_results(cells(config, shared), recall))
    differences = {"as it is": gain, "apart": gain}
    comparisons = []
    for labels, _, _ in block.test_pairs():
        against_alone = labels[2].startswith("alone")
        difference = differences.get(labels[1].partition(", ")[2], above) if against_alone else below
        test = PairedTest(9, difference, 0.0, difference, 0.0, 0.0, 1e-9 if difference else 1.0)
        comparisons.append(Comparison(labels, test))
    return block, PairedTests(comparisons)


def judged(*differences, **options):
    """The sentence on the source of a gain."""
    block, tests = runs_and_tests(*differences, **options)
    return _source(block, "cross", tests)


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ((1, 1, -1), "comes from both"),
        ((1, 1, 0), "comes from the loss"),
        ((1, 1, 1), "comes from the loss"),
        ((1, 0, -1), "comes from content"),
        ((1, -1, -1), "comes from content"),
        ((1, 0, 0), "cannot be divided"),
        ((0, 1, 0), "is not beyond chance"),
        ((-1, 0, 0), "is not beyond chance"),
    ],
)
def test_where_a_gain_comes_from(differences, words):
    sentence = judged(*differences)
    assert sentence.startswith(f"bpr + cross: the gain {words}")
    assert ('judged by "shuffled"' in sentence) == (differences[0] > 0)


def test_the_knock_out_that_judges():
    assert 'judged by "ids alone"' in judged(1, 1, 0, ("noise", "ids"))
    assert 'judged by "noise"' in judged(1, 1, 0, ("constant", "noise"))
    assert 'judged by "alignment shuffled"' in judged(1, 1, 0, ("shuffled",), "freedom")
    assert 'judged by "shuffled"' in judged(1, 1, 0, ("shuffled",), "freedom", sides=("both",))
    assert judged(1, 1, 0, ("alone",)) == "", "one modality is still content"


def test_a_content_graph_is_a_part_of_the_gain():
    shared = SharedSettings(TINY.data, TINY.training, {"bpr": {"cross": {"content_graph": 1.0}}})
    assert 'judged by "shuffled"' in judged(1, 1, 0, ("shuffled",), shared=shared), "in graph and alignment"
    assert judged(1, 1, 0, ("shuffled",), shared=shared, sides=("alignment", "backbone")) == ""


@pytest.mark.parametrize(("gain", "kept"), [(1, 200 / 3), (0, "–"), (-1, "–")])
def test_a_gain_that_may_be_chance_has_no_share(gain, kept):
    block, tests = runs_and_tests(gain, 1, -1)
    assert block.kept("cross", View("–", "shuffled"), tests) == (kept if gain < 1 else pytest.approx(kept))


def test_names_of_views():
    views = {
        ("–", "–"): "–",
        ("–", "noise"): "noise",
        ("noise", "noise"): "noise",
        ("as it is", "noise"): "alignment noise",
    }
    views |= {("noise", "as it is"): "backbone noise", ("noise", "as it is, apart"): "backbone noise"}
    views |= {("as it is", "as it is, apart"): "apart", ("noise", "–"): "noise"}
    assert {view: View(*view).words for view in views} == views
