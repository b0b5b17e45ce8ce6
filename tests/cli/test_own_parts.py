"""Code of a user that is wrong: a metric, a tracker or a backbone given as ``module:name``."""

import json
import sys

import pytest

from crossrec.backbones import BACKBONES
from crossrec.evaluation.metrics import METRICS
from crossrec.trackers import TRACKERS

PARTS = """
import sys
from typing import ClassVar
import numpy as np
from crossrec.backbones.bpr import BPR, BPRConfig

def leaves(hits): sys.exit(0)
def fails(hits): raise KeyError("no such thing")
def nan(hits): return np.full(len(hits.count_E), np.nan)
def text(hits): return np.full(len(hits.count_E), "a")

class Clears:
    def __init__(self, name, folder, config): pass
    def log(self, values, step): values.clear()
    def finish(self, values): values.clear()

class Config(BPRConfig):
    name: ClassVar[str] = "own"

class Own(BPR):
    config_type = Config
    def losses(self, reps, batch):
        terms = super().losses(reps, batch)
        return TERM
"""
TERMS = {
    "{}": "returns no term",
    "{'bpr': 1.0}": "term 'bpr' is of type float",
    "{'bpr': terms['bpr'].expand(3)}": "term 'bpr' is of shape (3,)",
}
"""Wrong terms of a backbone and the reason that is given."""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write a module of parts that can be imported; returns its file. The registries forget them after the test."""

    def write(term: str = "terms"):
        path = tmp_path / "own_parts.py"
        path.write_text(PARTS.replace("TERM", term))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "own_parts", raising=False)
        return path

    for registry in (BACKBONES, METRICS, TRACKERS):
        for name in ("_parts", "_references"):
            monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
    yield write
    sys.modules.pop("own_parts", None)


TRAIN = ("train", "--data", "synthetic-tiny", "--alignment", "none", "--epochs", 1, "--threads", 1, "--out")


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("leaves", "own_parts.py, line 7 ended the command with exit code 0"),
        ("fails", "own_parts.py, line 8: cannot be used (KeyError: 'no such thing')"),
        ("nan", "metric 'nan': returns values that are no finite numbers"),
        ("text", "metric 'text': returns values that are no finite numbers"),
    ],
)
def test_a_wrong_metric_is_named_and_never_a_success(crossrec, tmp_path, own, metric, reason):
    own()
    out = tmp_path / "run"
    line = crossrec(*TRAIN, out, "--backbone", "bpr", "--metrics", f"own_parts:{metric}").mistake
    assert reason in line, line
    assert not (out / "metrics.json").exists()


def test_a_tracker_cannot_change_what_is_written(crossrec, tmp_path, own):
    own()
    runs = tmp_path / "plain", tmp_path / "tracked"
    for out, flags in zip(runs, ([], ["--tracker", "own_parts:Clears"]), strict=True):
        crossrec(*TRAIN, out, "--backbone", "bpr", *flags)
    plain, tracked = (json.loads((out / "metrics.json").read_text()) for out in runs)
    assert tracked["test"] == plain["test"]
    header, row = (runs[1] / "history.csv").read_text().splitlines()
    assert len(header.split(",")) == len(row.split(",")) > 3


@pytest.mark.parametrize("term", TERMS)
def test_wrong_terms_of_a_backbone_are_named(crossrec, tmp_path, own, term):
    own(term)
    line = crossrec(*TRAIN, tmp_path / "run", "--backbone", "own_parts:Own").mistake
    assert f"Own.losses: {TERMS[term]}" in line, line
