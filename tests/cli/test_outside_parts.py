"""Backbones, terms and metrics from outside the package: by entry point and as module:Class, in children too."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crossrec.alignment.terms import TERMS
from crossrec.backbones import BACKBONES
from crossrec.evaluation.metrics import METRICS

TEMPLATE = Path(__file__).resolve().parents[2] / "examples" / "template"
TINY = ("--data", "synthetic-tiny", "--epochs", "1", "--batch-size", "256", "--device", "cpu", "--threads", "1")


@pytest.fixture(autouse=True)
def registries_restored(monkeypatch):
    """Parts that a test imports are gone after it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for registry in (BACKBONES, TERMS, METRICS):
        for attribute in ("_parts", "_references"):
            monkeypatch.setattr(registry, attribute, dict(getattr(registry, attribute)))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in ("crossrec_template", "my_models", "my_terms")]:
        del sys.modules[name]


def on_path(folder, monkeypatch):
    """Put a folder on the import path of this process and of its children."""
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The template, installed."""
    pytest.importorskip("setuptools", minversion="77", reason="pip needs setuptools to build without network")
    source, target = tmp_path_factory.mktemp("template") / "source", tmp_path_factory.mktemp("site")
    shutil.copytree(TEMPLATE, source)
    flags = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", *flags, "--target", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return target


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_the_template_runs_through_compare_ablate_tune_and_report(crossrec, site, here, tmp_path, monkeypatch, read):
    on_path(site, monkeypatch)
    out, settings = tmp_path / "out", tmp_path / "settings.json"
    settings.write_text('{"biased": {"backbone": {"reg": 0.01}, "cross": {"terms": ["item", "uniformity"]}}}')
    common = (*TINY, "--seeds", "0", "--backbones", "biased", "--metrics", "recall", "rbp", "--out", out)
    answer = crossrec("compare", *common, "--alignments", "none", "cross", "--settings", settings, "--k", "5")
    assert answer.code == 0, answer.err
    assert [row["model"] for row in table(out / "compare.csv")] == ["biased", "  + cross"]
    assert set(table(out / "compare.csv")[0]) >= {"R@5", "rbp@5", "ΔR@5", "Δrbp@5"}
    (history,) = out.glob("biased+cross*/history.csv")
    assert {"item", "uniformity", "bpr", "valid_rbp@5"} <= set(table(history)[0])

    answer = crossrec("ablate", *common, "--subsets", "ILDA+item_scale", "uniformity")
    assert answer.code == 0, answer.err
    assert [row["model"].strip() for row in table(out / "ablate.csv")] == [
        "biased",
        "+ ILDA&item_scale",
        "+ uniformity",
    ]
    states = [path for path in out.glob("biased+cross*/model.safetensors") if b"item_scale.scale" in path.read_bytes()]
    assert len(states) == 1

    space = (*TINY, "--backbones", "biased", "--alignments", "cross", "--space", TEMPLATE / "space.json", "--out", out)
    answer = crossrec("tune", *space, "--metrics", "rbp", "--monitor", "rbp@10")  # in a process of its own
    assert answer.code == 0, answer.err
    (row,) = table(out / "trials.csv")
    assert (row["delta"], row["state"]) == ("0.1", "done")
    assert 0 < float(row["valid rbp@10"]) < 1
    best = read(out / "best.json")
    assert (best["backbone"]["name"], best["training"]["monitor"]) == ("biased", "rbp@10")
    assert list(read(out / "settings.json")) == ["biased"]

    answer = crossrec("report", out)
    assert answer.code == 0, answer.err
    assert "uniformity" in (out / "report.html").read_text()


def test_a_backbone_of_a_module_trains_in_children_and_resumes(crossrec, tmp_path, read):
    (tmp_path / "here" / "my_models.py").write_text((TEMPLATE / "src/crossrec_template/backbone.py").read_text())
    (tmp_path / "here" / "my_terms.py").write_text((TEMPLATE / "src/crossrec_template/term.py").read_text())
    tokens = (*TINY, "--backbones", "my_models:BiasedMF", "--alignments", "cross", "--seeds", "0", "--out", "out")
    Path("settings.json").write_text(
        '{"my_models:BiasedMF": {"backbone": {"dim": 4}, "cross": {"terms": ["my_terms:uniformity"], "delta": 0.5}}}'
    )
    answer = crossrec("compare", *tokens, "--settings", "settings.json")
    assert answer.code == 0, answer.err
    (folder,) = Path("out").glob("biased+cross*/")
    config = read(folder / "config.json")
    assert (config["backbone"]["name"], config["backbone"]["dim"]) == ("my_models:BiasedMF", 4)
    assert (config["alignment"]["terms"], config["alignment"]["delta"]) == (["my_terms:uniformity"], 0.5)
    train = ("train", "--config", folder / "config.json", "--out")
    assert crossrec(*train, folder).mistake.startswith(f"{folder} holds a run already")
    assert crossrec(*train, folder, "--resume").code == 0
    model = ("--backbone", "my_models:BiasedMF", "--dim", "4", "--alpha", "0", "--delta", "0.5")
    answer = crossrec("train", *TINY, *model, "--terms", "my_terms:uniformity", "--out", "again")
    assert answer.code == 0, answer.err
    assert read(Path("again/metrics.json"))["test"] == read(folder / "metrics.json")["test"]


NO_BACKBONE = "not a backbone; give a subclass of crossrec.backbones.Backbone"
MISTAKES = {
    "no module": ("gone_models:Net", "no module 'gone_models'; install its package, or start in the folder"),
    "no class": ("my_models:Nett", "AttributeError: module 'my_models' has no attribute 'Nett'"),
    "no backbone": ("torch.nn:Linear", NO_BACKBONE),
    "no settings": ("crossrec.backbones.base:Backbone", "has no config_type with a name"),
    "a broken module": ("my_models:Net", "ZeroDivisionError: division by zero"),
    "a name that is taken": ("my_models:LightGCN", "its name 'lightgcn' is that of another backbone"),
}


@pytest.mark.parametrize(("name", "problem"), MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("command", ["train --backbone", "compare --backbones", "tune --backbones", "--config"])
def test_a_part_that_cannot_be_used_is_one_line(command, name, problem, crossrec, tmp_path):
    source = "from crossrec.backbones.lightgcn import LightGCN as L\nclass LightGCN(L): pass\n"
    source += "1 / 0\n" if problem.startswith("Zero") else ""
    (tmp_path / "here" / "my_models.py").write_text(source)
    arguments = [*command.split(), name, *TINY, "--out", "out"]
    if command == "--config":
        Path("c.json").write_text(json.dumps({"backbone": {"name": name}}))
        arguments = ["train", "--config", "c.json", "--out", "out"]
    line = crossrec(*arguments).mistake
    assert f"backbone '{name}': " in line
    assert problem in line


def test_an_entry_point_that_cannot_be_used_names_its_package(crossrec, tmp_path, monkeypatch):
    for name, point in (("one", "lost = gone_module:Net"), ("two", "other = crossrec.backbones.lightgcn:LightGCN")):
        folder = tmp_path / name / f"{name}-1.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (folder / "entry_points.txt").write_text(f"[crossrec.backbones]\n{point}\n")
        on_path(folder.parent, monkeypatch)
    assert {"lost", "other", "lightgcn"} <= set(BACKBONES)
    line = crossrec("train", "--backbone", "lost", *TINY, "--out", "out").mistake
    assert line.startswith("backbone 'lost' of the package one, gone_module:Net: ModuleNotFoundError")
    line = crossrec("train", "--backbone", "other", *TINY, "--out", "out").mistake
    assert line.endswith("calls itself 'lightgcn'; give it and its entry point one name")
    line = crossrec("train", "--backbone", "loost", *TINY, "--out", "out").mistake
    assert "did you mean 'lost'" in line


def test_wrong_values_of_a_metric_are_one_line(crossrec, tmp_path):
    (tmp_path / "here" / "my_models.py").write_text("def short(hits):\n    return hits.total()[:3]\n")
    line = crossrec("train", *TINY, "--metrics", "my_models:short", "--out", "out")
    assert line.code == 2
    assert "metric 'short': returns (3,); need a value a user, (60,)" in line.err
