"""Findings, figures and titles speak of the metric that --metrics and --k name, and of the paper's without them."""

from __future__ import annotations

import re

import pytest
from tests.experiments.fake_runs import TINY, result_from

from crossrec.experiments.analysis import new_item_metrics
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.registry import QUESTIONS
from crossrec.training import TrainingConfig

ASKED = SharedSettings(data=TINY.data, training=TrainingConfig(metrics=("mrr", "ndcg"), k=(5, 7)))
OPTIONS = {
    "compare": {"alignments": ("none", "cross")},
    "ablate": {},
    "directions": {"backbones": ("bpr",)},
    "robustness": {"missing": (0.0, 0.2), "clicks": (0.0, 0.1)},
    "popularity": {},
    "sensitivity": {"parameters": ("alpha",)},
    "knockout": {"knockouts": ("shuffled",)},
    "coldstart": {},
}


@pytest.fixture(autouse=True)
def new_items(monkeypatch):
    """New items of a run: 0.2 with CROSS and 0.1 without by the paper's metrics, 1 minus that by those named."""

    def run_metrics(folder, dataset, quantiles, training):
        value = 0.2 if "cross" in str(folder) else 0.1
        values = dict.fromkeys(training.shown, 1 - value if training.metrics else value)
        return {"blend by features": values | {"new at 0.9": 0.1, "others at 0.9": 0.1}}

    monkeypatch.setattr(new_item_metrics, "run_metrics", run_metrics)


def of_cell(cell):
    return 0.1 if cell.config.alignment is None else 0.2


def texts(name, shared):
    config_type = QUESTIONS[name].load().config_type
    options = config_type(**{k: v for k, v in OPTIONS[name].items() if k in config_type.model_fields}, seeds=(0,))
    result = result_from(name, options, of_cell, shared)
    words = list(result.findings)
    for table in result.tables.values():
        words += [table.title, *table.footnotes]
        words += [f"{column.group} {column.header}" for column in table.columns]
    for figure in result.figures.values():
        words += [figure.caption, figure.data.title, *(column.header for column in figure.data.columns)]
    return words


@pytest.mark.parametrize("name", OPTIONS)
def test_all_texts_speak_of_the_named_metric(name):
    text = " ".join(texts(name, ASKED)).replace("chosen by validation Recall@20", "").replace("valid R@20", "")
    metrics = {metric.lower() for metric in re.findall(r"[A-Za-z]+@\d+", text)}
    of_lists = {f"{metric}@20" for metric in ("coverage", "gini", "popularity", "novelty", "tail")}
    assert "mrr@5" in metrics
    assert metrics - of_lists <= {"mrr@5", "mrr@7", "ndcg@5", "ndcg@7", "n@5", "n@7"}
    assert "ecall" not in text


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("compare", "cross v.s. none: MRR@5 changes by -11.1 % on lightgcn"),
        ("ablate", "freedom: ILDA alone changes MRR@5 by -11.1 %"),
        ("directions", "bpr: dynamic changes MRR@5 by -11.1 %"),
        ("robustness", "MRR@5 of ILDA against the backbone alone: -11.1 %"),
        ("coldstart", "lightgcn + cross against lightgcn: MRR@5 -11.1 %, one seed."),
        ("sensitivity", "freedom: CROSS as set changes MRR@5 by -11.1 %"),
    ],
)
def test_findings_are_of_its_values(name, finding):
    assert any(finding in text for text in texts(name, ASKED))
    usual = finding.replace("MRR@5", "Recall@20" if name in ("compare", "coldstart") else "Recall@10").replace(
        "-11.1", "+100.0"
    )
    assert any(usual in text for text in texts(name, TINY))


@pytest.mark.parametrize(
    ("named", "headline"),
    [
        ({}, "recall@10"),
        ({"metrics": ("ndcg",)}, "ndcg@10"),
        ({"metrics": ("hr", "recall"), "k": (5, 10)}, "hr@10"),
        ({"k": (5,)}, "recall@5"),
        ({"metrics": ("mrr",), "k": (50, 20)}, "mrr@50"),
        ({"monitor": "ndcg@5"}, "recall@10"),
    ],
)
def test_the_first_named_metric_at_the_papers_k_if_it_is_named(named, headline):
    assert TrainingConfig(**named).headline("recall@10") == headline
