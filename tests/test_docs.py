"""The documents say what is so: names resolve, links lead somewhere, code blocks run, figures are the measured ones."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

from crossrec.alignment import ALIGNMENTS, CrossConfig
from crossrec.backbones import BACKBONES, Backbone
from crossrec.data import DataConfig, ImportConfig, describe, validate
from crossrec.features import FeaturesConfig
from crossrec.randomness import torch_generator
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run
from crossrec.training import TrainingConfig
from crossrec.types import Batch, TrainingSet

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
MAP = (ROOT / "docs" / "paper-map.md").read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"`(crossrec(?:\.\w+)+)`", MAP)))
FENCE = re.compile(r"^( *)```python\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[str]:
    return [textwrap.dedent(match[2]) for match in FENCE.finditer(text(page))]


def complete(block: str) -> bool:
    """A block that starts with its imports, after a docstring perhaps, stands on its own; any other is a fragment."""
    return re.sub(r'\A""".*?"""\s*', "", block, flags=re.DOTALL).startswith(("import ", "from "))


BLOCKS = [
    pytest.param(page, block, id=f"{name_of(page)}-{n}")
    for page in PAGES
    if page.parent.name != "tutorials"  # tests/tutorials runs those, shell and all, one block after the other
    for n, block in enumerate(blocks(page))
]


def resolve(dotted: str) -> Any:
    """The object of an import path; a field of a configuration or dataclass counts as one."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError as error:
            if not ".".join(parts[:cut]).startswith(error.name or "?"):
                raise
            continue
        for part in parts[cut:]:
            fields = {**getattr(found, "__dataclass_fields__", {}), **getattr(found, "model_fields", {})}
            found = fields[part] if part in fields else getattr(found, part)
        return found
    raise ModuleNotFoundError(dotted)


@pytest.mark.parametrize("dotted", NAMES)
def test_every_name_of_the_paper_map_resolves(dotted):
    resolve(dotted)


def test_a_name_that_is_not_there_would_be_noticed():
    for dotted in ("crossrec.nothing", "crossrec.losses.nothing", "crossrec.alignment.config.CrossConfig.nothing"):
        with pytest.raises((AttributeError, ModuleNotFoundError)):
            resolve(dotted)


def test_every_equation_is_mapped_to_a_function_once():
    rows = dict(re.findall(r"^\| Eq\. (\d+) \|(.*)\|$", MAP, re.MULTILINE))
    assert sorted(map(int, rows)) == list(range(1, 13))
    assert len(re.findall(r"^\| Eq\. \d+ \|", MAP, re.MULTILINE)) == 12
    for row in rows.values():
        assert all(callable(resolve(name)) for name in re.findall(r"`(crossrec\.[\w.]+)`", row))
        assert re.search(r"`crossrec\.", row)
        assert "`tests/equations/" in row


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_paths_lead_somewhere(page):
    content = re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", content):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            there = (page.parent / path) if path else page
            assert there.exists(), f"{name_of(page)}: {target}"
            if anchor and there.suffix == ".md":
                heads = re.findall(r"^#+ (.*)$", text(there), re.MULTILINE)
                slugs = [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads]
                assert anchor in slugs, f"{name_of(page)}: {target}"
    for path in re.findall(r"`((?:src|tests|docs|examples|benchmarks)/[\w./-]*\.\w+)`", content):
        assert (ROOT / path).exists(), f"{name_of(page)}: {path}"


@pytest.mark.parametrize(("page", "block"), BLOCKS)
def test_python_blocks_run_or_at_least_compile(page, block, tmp_path, monkeypatch):
    compile(block, name_of(page), "exec", dont_inherit=True)
    if not complete(block):
        return
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_block.py").write_text(block, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("a_block", tmp_path / "a_block.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "a_block", module)  # where pydantic looks annotations up
    spec.loader.exec_module(module)
    for made in list(vars(module).values()):
        if isinstance(made, type) and issubclass(made, Backbone) and made.__module__ == "a_block":
            a_backbone_works(made)
    if name_of(page) == "docs/data.md" and (tmp_path / "shop").is_dir():
        config = DataConfig(data="shop", split="time")
        assert validate(config) == []
        for what, value in describe(config).rows():
            assert re.search(rf"│ {re.escape(what)} +│ {re.escape(value)} +│", text(page)), (what, value)
    if name_of(page) == "docs/import.md":
        for row in module.card.report():
            assert re.search("│ +".join(f"{re.escape(cell)} *" if cell else "" for cell in row), text(page)), row
        for what, value in module.card.facts():
            assert f"{what}: {value}" in text(page)
    # three vectors at right angles: every squared distance is 2
    if hasattr(module, "uniformity_loss"):
        assert module.uniformity_loss(torch.eye(3)).item() == pytest.approx(-4.0)
    if hasattr(module, "uniformity"):
        assert module.uniformity(torch.eye(3).tolist()) == pytest.approx(-4.0)


def a_backbone_works(backbone: type[Backbone]) -> None:
    """It makes vectors and a loss, and every parameter gets a gradient."""
    pair = torch.tensor([0, 1, 2]), torch.tensor([1, 2, 3])
    made = backbone(backbone.config_type(dim=4), TrainingSet(3, 5, *pair), torch_generator(0, "backbone"))
    reps = made.propagate()
    assert reps.user_UL.shape == (3, 4)
    assert reps.user_US.shape[1] == reps.item_IS.shape[1]
    sum(made.losses(reps, Batch(*pair, torch.tensor([4, 4, 0]))).values(), torch.zeros(())).backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


def test_the_backbone_of_the_guide_is_short_and_trains_under_cross(tmp_path, monkeypatch):
    block, *_ = blocks(ROOT / "docs" / "new-backbone.md")
    assert len(block.splitlines()) <= 60
    (tmp_path / "a_guide.py").write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    kind = importlib.import_module("a_guide").BiasedMF
    monkeypatch.delitem(sys.modules, "a_guide")
    monkeypatch.setitem(BACKBONES, kind.config_type.name, kind)
    config = RunConfig(
        data=DataConfig(data="synthetic-tiny"),
        backbone=kind.config_type(dim=8, learning_rate=0.02),
        alignment=CrossConfig(prototypes_itv=8),
        training=TrainingConfig(epochs=3, batch_size=128, device="cpu"),
    )
    rows = []
    metrics = run(config, tmp_path / "out", on_epoch=lambda progress: rows.append(progress.history[-1]))
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert {"bpr", "reg", *CrossConfig().active} < set(rows[0])
    assert 0 < metrics["test"]["recall@20"] <= 1


@pytest.mark.parametrize("name", ["deviations.md", "data.md", "features.md", "import.md"])
def test_flags_exist(name):
    configs = [CrossConfig, *filter(None, ALIGNMENTS.values()), *(b.config_type for b in BACKBONES.values())]
    configs += [DataConfig, FeaturesConfig, ImportConfig, TrainingConfig]
    known = {field.replace("_", "-") for config in configs for field in config.model_fields}
    known |= {"backbone", "alignment", "threads", "out", "overwrite", "rows"}
    for flag in re.findall(r"--([a-z][a-z-]*)", text(ROOT / "docs" / name)):
        assert re.sub(r"^(no|empty)-", "", flag) in known, flag


def test_choices_in_the_deviations_exist():
    found = re.findall(r"`--(direction|aligner|negatives|clusterer) (\w+)`", text(ROOT / "docs" / "deviations.md"))
    assert len(found) == 10
    for field, choice in found:
        CrossConfig.parse({field: choice})


@pytest.mark.parametrize("name", ["synthetic-tiny", "synthetic"])
def test_the_sizes_of_the_generated_sets(name):
    made = describe(DataConfig(data=name))
    sizes = f"{made.users:,} | {made.items:,} | {made.interactions:,} | {made.train:,} / {made.valid:,} / {made.test:,}"
    page = text(ROOT / "docs" / "data.md")
    assert re.search(rf"`{name}`[^|]*\| {re.escape(sizes)} \|", page)
    if name == "synthetic":
        assert f"{made.mean_cosine['image']:.4f}" in page


def test_the_example_of_an_own_loop_runs_and_the_terms_go_in():
    command = [sys.executable, str(ROOT / "examples" / "own_loop.py")]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    steps = re.findall(r"own loss (\S+)  with CROSS (\S+)\n  CROSS terms: (.*)", done.stdout)
    assert len(steps) == 2
    for own, whole, terms in steps:
        values = {name: float(value) for name, value in re.findall(r"(\w+) (-?[\d.]+)", terms)}
        assert set(values) == set(CrossConfig().active)
        added = sum(CrossConfig().weight(name) * value for name, value in values.items())
        assert float(whole) - float(own) == pytest.approx(added, abs=2e-4)
        assert abs(added) > 0.01
    (before, after) = (dict(re.findall(r"(\w+) (-?[\d.]+)", terms)) for *_, terms in steps)
    assert all(float(after[name]) < float(before[name]) for name in before)


def test_no_machine_paths():
    kinds = ("*.py", "*.md", "*.toml", "*.cff", "Makefile", "*.txt")
    folders = ("src", "tests", "docs", "examples", "benchmarks")
    files = [file for kind in kinds for folder in folders for file in (ROOT / folder).rglob(kind)]
    files += [file for kind in kinds for file in ROOT.glob(kind)]
    machine = re.compile(r"(?<![\w.])/(?:work|opt|home|root|Users)/\w")
    assert len(files) > 50
    for file in files:
        assert not machine.search(text(file)), name_of(file)


def test_the_citation_file():
    path = ROOT / "CITATION.cff"
    try:
        import yaml
    except ModuleNotFoundError:
        found: dict[str, Any] = dict(re.findall(r"^([a-z-]+): *(.*)$", text(path), re.MULTILINE))
    else:
        found = yaml.safe_load(text(path))
        assert [reference["doi"] for reference in found["references"]] == ["10.1145/3734527", "10.1145/3626772.3657701"]
        assert all(author.get("family-names") for reference in found["references"] for author in reference["authors"])
    assert {"cff-version", "message", "title", "authors", "type", "license", "version"} <= set(found)
    assert (found["cff-version"], found["type"], found["license"]) == ("1.2.0", "software", "Apache-2.0")
    assert found["version"] == importlib.import_module("crossrec").__version__


def test_the_licence_is_whole():
    licence = text(ROOT / "LICENSE")
    assert licence.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert [n for n in range(1, 10) if re.search(rf"^   {n}\. ", licence, re.MULTILINE)] == list(range(1, 10))
    assert "END OF TERMS AND CONDITIONS" in licence
