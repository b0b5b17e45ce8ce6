"""Documentation: names resolve, links have targets, Python blocks run, figures agree with the code."""

from __future__ import annotations

import importlib
import os
import re
import runpy
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tests.test_architecture import LAYERS

from crossrec.alignment import ALIGNMENTS, CrossConfig
from crossrec.backbones import BACKBONES, Backbone
from crossrec.commands.experiments import question_command
from crossrec.data import DataConfig, ImportConfig, describe, validate
from crossrec.evaluation.metrics import METRICS
from crossrec.experiments.registry import QUESTIONS, Question
from crossrec.features import FeaturesConfig
from crossrec.randomness import torch_generator
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run
from crossrec.training import TrainingConfig
from crossrec.types import Batch, TrainingSet

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PAPER_MAP = (ROOT / "docs" / "paper-map.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^ *```python(| excerpt)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
BACKGROUND = {
    ROOT / "README.md": """
        import torch
        user_table, item_table = torch.randn(6, 64), torch.randn(8, 64)
        user, item = torch.arange(24) % 6, torch.arange(24) % 8
        image, text = torch.randn(8, 10), torch.randn(8, 4)
        batch_user, batch_item, own_loss = user[:12], item[:12], torch.zeros(())
    """
}
"""By page the code that its blocks take as given."""


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@dataclass(frozen=True)
class PythonBlock:
    """A ```python block of a page. ``line`` counts the page's lines before its code. An excerpt does not run."""

    code: str
    line: int
    is_excerpt: bool


def python_blocks(page: Path) -> list[PythonBlock]:
    content = text(page)
    return [
        PythonBlock(textwrap.dedent(match[2]), content.count("\n", 0, match.start(2)), bool(match[1]))
        for match in FENCE.finditer(content)
    ]


# tests/tutorials runs the tutorials, with their shell commands
PAGES_WITH_PYTHON = [page for page in PAGES if page.parent.name != "tutorials" and python_blocks(page)]


def dotted_names(page: Path) -> set[str]:
    """The import paths in backticks on a page; of the change log those after the restructuring, in the last column."""
    content = text(page)
    if page.name == "CHANGELOG.md":
        content = "\n".join(re.findall(r"^ *\| `.* \| (.*) \|$", content.split("\n## 0.")[0], re.MULTILINE))
    return set(re.findall(r"`(crossrec(?:\.\w+)+)`", content))


def resolve(dotted: str) -> Any:
    """The object of an import path; a field of a configuration or dataclass counts as one."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        module_name = ".".join(parts[:cut])
        try:
            target: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if not module_name.startswith(error.name or "?"):
                raise
            continue
        for part in parts[cut:]:
            fields = {**getattr(target, "__dataclass_fields__", {}), **getattr(target, "model_fields", {})}
            target = fields[part] if part in fields else getattr(target, part)
        return target
    raise ModuleNotFoundError(dotted)


@pytest.mark.parametrize("page", [page for page in PAGES if dotted_names(page)], ids=name_of)
def test_every_import_path_resolves(page):
    for dotted in sorted(dotted_names(page)):
        resolve(dotted)


def test_a_name_that_does_not_exist_is_noticed():
    for dotted in ("crossrec.nothing", "crossrec.losses.nothing", "crossrec.alignment.config.CrossConfig.nothing"):
        with pytest.raises((AttributeError, ModuleNotFoundError)):
            resolve(dotted)


def test_every_equation_is_mapped_to_a_function_once():
    rows = dict(re.findall(r"^\| Eq\. (\d+) \|(.*)\|$", PAPER_MAP, re.MULTILINE))
    assert sorted(map(int, rows)) == list(range(1, 13))
    assert len(re.findall(r"^\| Eq\. \d+ \|", PAPER_MAP, re.MULTILINE)) == 12
    for row in rows.values():
        assert all(callable(resolve(name)) for name in re.findall(r"`(crossrec\.[\w.]+)`", row))
        assert re.search(r"`crossrec\.", row)
        assert "`tests/equations/" in row


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_paths_exist(page):
    content = re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", content):
        if not re.match(r"[a-z]+:", link):
            path, _, anchor = link.partition("#")
            target = (page.parent / path) if path else page
            assert target.exists(), f"{name_of(page)}: {link}"
            if anchor and target.suffix == ".md":
                headings = re.findall(r"^#+ (.*)$", text(target), re.MULTILINE)
                slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
                assert anchor in slugs, f"{name_of(page)}: {link}"
    for path in re.findall(r"`((?:src|tests|docs|examples|benchmarks)/[\w./-]*\.\w+)`", content):
        assert (ROOT / path).exists(), f"{name_of(page)}: {path}"


def test_the_layers_are_those_of_the_architecture():
    rows = re.findall(r"^\| (`.*?) \|", text(ROOT / "CONTRIBUTING.md"), re.MULTILINE)
    documented = [set(re.findall(r"`(\w+)`", row)) for row in rows[1:]]  # the first is the header
    assert documented == [layer - {"lazy", "_version"} for layer in LAYERS if layer != {"__main__"}]


@pytest.mark.parametrize("page", PAGES_WITH_PYTHON, ids=name_of)
def test_python_blocks_run_in_order(page, tmp_path, monkeypatch):
    """The blocks of a page share a module and an empty folder. A block headed ```python excerpt only has to compile."""
    module = run_page(page, tmp_path, monkeypatch)
    for value in list(vars(module).values()):
        if isinstance(value, type) and issubclass(value, Backbone) and value.__module__ == module.__name__:
            check_backbone(value)
    if name_of(page) == "docs/data.md":
        config = DataConfig(data="shop", split="time")
        assert validate(config) == []
        for label, value in describe(config).rows():
            assert re.search(rf"│ {re.escape(label)} +│ {re.escape(value)} +│", text(page)), (label, value)
    if name_of(page) == "docs/import.md":
        for row in module.card.report():
            assert re.search("│ +".join(f"{re.escape(cell)} *" if cell else "" for cell in row), text(page)), row
        for label, value in module.card.facts():
            assert f"{label}: {value}" in text(page)
    # three vectors at right angles: every squared distance is 2
    if hasattr(module, "uniformity_loss"):
        assert module.uniformity_loss(torch.eye(3)).item() == pytest.approx(-4.0)
        assert module.uniformity(torch.eye(3).tolist()) == pytest.approx(-4.0)


def run_page(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module with the names that the page's blocks define. Its line numbers are those of the page."""
    monkeypatch.chdir(folder)
    file = folder / f"{page.stem.replace('-', '_')}_page.py"
    module = ModuleType(file.stem)
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, file.stem, module)  # pydantic looks annotations up here, and inspect the source
    exec(textwrap.dedent(BACKGROUND.get(page, "")), vars(module))
    source = ""
    with registries_restored():
        for block in python_blocks(page):
            padding = "\n" * (block.line - source.count("\n"))
            code = compile("\n" * block.line + block.code, str(file), "exec", dont_inherit=True)
            if not block.is_excerpt:
                source += padding + block.code
                file.write_text(source, encoding="utf-8")
                exec(code, vars(module))
    return module


@contextmanager
def registries_restored() -> Iterator[None]:
    """Undo what happens to the package's constant dicts, so that a guide may register a backbone or an importer."""
    loaded = [module for name, module in list(sys.modules.items()) if name.split(".")[0] == "crossrec"]
    registries = [
        (entries, dict(entries))
        for module in loaded
        for name, value in vars(module).items()
        if name.isupper() and isinstance(entries := getattr(value, "_parts", value), dict)
    ]
    try:
        yield
    finally:
        for registry, entries in registries:
            registry.clear()
            registry.update(entries)


def test_a_block_that_fails_is_noticed(tmp_path, monkeypatch):
    page = tmp_path / "guide.md"
    page.write_text("```python\nvalue = 1\n```\n\n- deeper\n\n  ```python\n  raise KeyError(value)\n  ```\n")
    with pytest.raises(KeyError):
        run_page(page, tmp_path, monkeypatch)
    page.write_text("```python excerpt\nvalue =\n```\n")
    with pytest.raises(SyntaxError):
        run_page(page, tmp_path, monkeypatch)


def check_backbone(backbone: type[Backbone]) -> None:
    """It makes vectors and a loss, and every parameter gets a gradient."""
    pair = torch.tensor([0, 1, 2]), torch.tensor([1, 2, 3])
    model = backbone(backbone.config_type(dim=4), TrainingSet(3, 5, *pair), torch_generator(0, "backbone"))
    reps = model.propagate()
    assert reps.user_UL.shape == (3, 4)
    assert reps.user_US.shape[1] == reps.item_IS.shape[1]
    sum(model.losses(reps, Batch(*pair, torch.tensor([4, 4, 0]))).values(), torch.zeros(())).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_backbone_of_the_guide_is_short_and_trains_under_cross(tmp_path, monkeypatch):
    page = ROOT / "docs" / "new-backbone.md"
    assert len(python_blocks(page)[0].code.splitlines()) <= 60
    backbone = run_page(page, tmp_path, monkeypatch).BiasedMF
    monkeypatch.setitem(BACKBONES, backbone.config_type.name, backbone)
    config = RunConfig(
        data=DataConfig(data="synthetic-tiny"),
        backbone=backbone.config_type(dim=8, learning_rate=0.02),
        alignment=CrossConfig(prototypes_itv=8),
        training=TrainingConfig(epochs=3, batch_size=128, device="cpu"),
    )
    epochs = []
    metrics = run(config, tmp_path / "out", on_epoch=lambda progress: epochs.append(progress.history[-1]))
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    assert {"bpr", "reg", *CrossConfig().active} < set(epochs[0])
    assert 0 < metrics["test"]["recall@20"] <= 1


def test_the_question_of_the_guide_is_a_command_that_finds_its_runs(tmp_path, monkeypatch, capsys):
    page = run_page(ROOT / "docs" / "new-question.md", tmp_path, monkeypatch)
    monkeypatch.setitem(QUESTIONS, "length", Question(page.__name__, "Vectors of several lengths."))
    flags = ["--data", "synthetic-tiny", "--epochs", "1", "--device", "cpu", "--lengths", "4", "8", "--seeds", "0"]
    assert question_command("length", flags) == 0
    printed = capsys.readouterr()
    assert printed.err.count("done before") == 2
    assert page.length_result.findings[0] in printed.out
    assert {"length.json", "length.tex", "length-figure.pdf"} < {path.name for path in Path("runs/length").iterdir()}


def test_the_metric_of_the_guide_is_in_the_results_of_a_run(tmp_path, monkeypatch):
    monkeypatch.setitem(METRICS, "rbp", run_page(ROOT / "docs" / "new-metric.md", tmp_path, monkeypatch).rbp)
    training = TrainingConfig(epochs=1, device="cpu", metrics=("rbp",))
    config = RunConfig(data=DataConfig(data="synthetic-tiny"), training=training)
    epochs = []
    metrics = run(config, tmp_path / "out", on_epoch=lambda progress: epochs.append(progress.history[-1]))
    assert epochs[0]["valid_rbp@20"] == metrics["valid"]["rbp@20"]
    assert 0 < metrics["test"]["precision@20"] < metrics["test"]["rbp@20"] < 1


def test_the_table_of_the_readme_has_the_figures_of_the_results():
    readme = [row.split(" | ") for row in re.findall(r"^\|(.*) \|$", text(ROOT / "README.md"), re.MULTILINE)]
    rows = [row for row in readme if len(row) == 7][2:]
    assert len(rows) == 4
    sections = text(ROOT / "docs" / "results" / "README.md").split("\n## ")
    data = ""
    for title, backbone, *figures in rows:
        data = title.split(" (")[0].strip() or data
        section = next(part for part in sections if re.match(rf"{data}(,| \()", part))
        results = section[section.index(f"| {backbone.lower()} | 3 |") :].splitlines()
        alone, fettle, cross = (
            next(row for row in results if row.startswith(f"| {name} |")).split(" | ")
            for name in (backbone.lower(), "+ FETTLE", "+ CROSS")
        )
        expected = [alone[3], fettle[3], fettle[7], cross[3], cross[7]]
        assert [figure.strip("*") for figure in figures] == [cell.split(" ± ")[0].lstrip("0") for cell in expected]


def test_the_claims_are_answered_by_the_tables():
    claims = runpy.run_path(str(ROOT / "docs" / "results" / "claims.py"), run_name="claims")
    everything = [row for claim in claims["CLAIMS"] for row in claims["answers"](claim, claim.tables)]
    assert claims["markdown"](everything, "") in text(ROOT / "docs" / "results" / "README.md")
    main = [row for claim in claims["CLAIMS"] for row in claims["answers"](claim, claim.main)]
    assert len(main) == 6
    assert set(main) < set(everything)
    assert claims["markdown"](main, "docs/results/") in text(ROOT / "README.md")
    assert text(ROOT / "docs" / "results" / "claims.csv").count("\n") == len(everything) + 1


@pytest.mark.parametrize(
    ("verdicts", "changes", "answer"),
    [
        (["higher", "higher"], [0.1, 0.2], "**beyond chance**"),
        (["higher", "no difference shown"], [0.1, -0.3], "beyond chance in 1 of 2"),
        (["higher", "lower"], [0.1, -0.3], "beyond chance in 1 of 2; the opposite in 1"),
        (["no difference shown"], [0.01], "in the mean"),
        (["no difference shown", "lower"], [0.01, -0.1], "not found; the opposite in 1"),
    ],
)
def test_the_answer_to_a_claim(tmp_path, verdicts, changes, answer):
    claims = runpy.run_path(str(ROOT / "docs" / "results" / "claims.py"), run_name="claims")
    lines = [
        f"{1 + change},1,{0.01 * k},{verdict}"
        for k, (verdict, change) in enumerate(zip(verdicts, changes, strict=True))
    ]
    (tmp_path / "table.csv").write_text("\n".join(["new,base,p (Holm),verdict", *lines]), encoding="utf-8")
    claims["answers"].__globals__["HERE"] = tmp_path
    [(*_, change, p, result)] = claims["answers"](claims["Claim"]("a claim", "", {"data": ("table",)}), ["data"])
    assert result == answer
    assert change == f"{100 * sum(changes) / len(changes):+.1f} %"
    held = [0.01 * k for k, verdict in enumerate(verdicts) if verdict == "higher"]
    assert float(p) == (max(held) if held else 0)


@pytest.mark.parametrize("script", sorted((ROOT / "docs" / "results").glob("*.py")), ids=name_of)
def test_the_scripts_of_the_results_import(script):
    assert callable(runpy.run_path(str(script), run_name=script.stem)["main"])


@pytest.mark.parametrize("name", ["deviations.md", "data.md", "features.md", "import.md"])
def test_flags_exist(name):
    configs = [CrossConfig, *filter(None, ALIGNMENTS.values()), *(b.config_type for b in BACKBONES.values())]
    configs += [DataConfig, FeaturesConfig, ImportConfig, TrainingConfig]
    flags = {field.replace("_", "-") for config in configs for field in config.model_fields}
    flags |= {"backbone", "alignment", "threads", "out", "overwrite", "rows"}
    for flag in re.findall(r"--([a-z][a-z-]*)", text(ROOT / "docs" / name)):
        assert re.sub(r"^(no|empty)-", "", flag) in flags, flag


def test_choices_in_the_deviations_exist():
    choices = re.findall(r"`--(direction|aligner|negatives|clusterer) (\w+)`", text(ROOT / "docs" / "deviations.md"))
    assert len(choices) == 10
    for field, choice in choices:
        CrossConfig.parse({field: choice})


@pytest.mark.parametrize("name", ["synthetic-tiny", "synthetic"])
def test_the_sizes_of_the_generated_sets(name):
    data = describe(DataConfig(data=name))
    sizes = f"{data.users:,} | {data.items:,} | {data.interactions:,} | {data.train:,} / {data.valid:,} / {data.test:,}"
    page = text(ROOT / "docs" / "data.md")
    assert re.search(rf"`{name}`[^|]*\| {re.escape(sizes)} \|", page)
    if name == "synthetic":
        assert f"{data.mean_cosine['image']:.4f}" in page


def test_the_own_loop_example_adds_the_weighted_terms():
    command = [sys.executable, str(ROOT / "examples" / "own_loop.py")]
    process = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240, check=False
    )
    assert process.returncode == 0, process.stderr
    steps = re.findall(r"own loss (\S+)  with CROSS (\S+)\n  CROSS terms: (.*)", process.stdout)
    assert len(steps) == 2
    for own_loss, loss, terms in steps:
        values = {name: float(value) for name, value in re.findall(r"(\w+) (-?[\d.]+)", terms)}
        assert set(values) == set(CrossConfig().active)
        added = sum(CrossConfig().weight(name) * value for name, value in values.items())
        assert float(loss) - float(own_loss) == pytest.approx(added, abs=2e-4)
        assert abs(added) > 0.01
    (before, after) = (dict(re.findall(r"(\w+) (-?[\d.]+)", terms)) for *_, terms in steps)
    assert all(float(after[name]) < float(before[name]) for name in before)


@pytest.mark.parametrize("arguments", [[], ["--alone"]], ids=["with CROSS", "alone"])
def test_the_two_tower_example_trains(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["two_tower.py", *arguments])
    with torch.random.fork_rng():
        names = runpy.run_path(str(ROOT / "examples" / "two_tower.py"), run_name="__main__")
    first, last = re.findall(r"own loss (\S+)  in all (\S+)  \((\d+) item vectors\)", capsys.readouterr().out)
    assert float(last[0]) < 0.7 * float(first[0])
    assert (float(last[1]) > float(last[0])) == (not arguments)
    assert int(last[2]) < names["ITEMS"]
    assert names["recall"] > 3 * 20 / names["ITEMS"]


def test_the_demo_says_what_by_how_much_chance_and_what_next(tmp_path):
    demo = runpy.run_path(str(ROOT / "examples" / "demo.py"), run_name="demo")
    lines = text(ROOT / "docs" / "results" / "compare-tiktok-tests.csv").splitlines()
    kept = [line for line in lines if line.startswith(("backbone,", "lightgcn,"))]
    (tmp_path / "compare-tests.csv").write_text("\n".join(kept), encoding="utf-8")
    result = demo["summary"](tmp_path)
    assert [re.sub(" +", " ", line).strip() for line in result[1:4]] == [
        "LightGCN alone 8.8%",
        "LightGCN + FETTLE 9.5% +8%, not chance (p = 0.00062)",
        "LightGCN + CROSS 10.4% +18%, not chance (p < 0.0001)",
    ]
    assert "paired tests over 6,125 people" in result[4]
    assert any(line.startswith("NEXT: crossrec compare --data") for line in result)
    no_effect = [line.replace(line.split(",")[-2], "0.4") for line in kept[1:]]
    (tmp_path / "compare-tests.csv").write_text("\n".join([kept[0], *no_effect]), encoding="utf-8")
    assert [line.count("may be chance (p = 0.4)") for line in demo["summary"](tmp_path)[2:4]] == [1, 1]
    assert "examples/demo.py" in text(ROOT / "Makefile")


def test_no_machine_paths():
    patterns = ("*.py", "*.md", "*.toml", "*.cff", "Makefile", "*.txt", "*.ipynb", "*.yml", "*.yaml", "*.lock", "*.in")
    folders = ("src", "tests", "docs", "examples", "benchmarks", ".github")
    files = [file for pattern in patterns for folder in folders for file in (ROOT / folder).rglob(pattern)]
    files += [file for pattern in patterns for file in ROOT.glob(pattern)]
    machine = re.compile(r"(?<![\w.])/(?:work|opt|home|root|Users)/\w")
    assert len(files) > 50
    for file in files:
        assert not machine.search(text(file)), name_of(file)


def test_the_citation_file():
    path = ROOT / "CITATION.cff"
    try:
        import yaml
    except ModuleNotFoundError:
        citation: dict[str, Any] = dict(re.findall(r"^([a-z-]+): *(.*)$", text(path), re.MULTILINE))
    else:
        citation = yaml.safe_load(text(path))
        assert [reference["doi"] for reference in citation["references"]] == [
            "10.1145/3734527",
            "10.1145/3626772.3657701",
        ]
        assert all(
            author.get("family-names") for reference in citation["references"] for author in reference["authors"]
        )
    assert {"cff-version", "message", "title", "authors", "type", "license", "version"} <= set(citation)
    assert (citation["cff-version"], citation["type"], citation["license"]) == ("1.2.0", "software", "Apache-2.0")
    project = tomllib.loads(text(ROOT / "pyproject.toml"))
    assert citation["version"] == project["tool"]["setuptools_scm"]["fallback_version"]


def test_the_licence_is_complete():
    licence = text(ROOT / "LICENSE")
    assert licence.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert [n for n in range(1, 10) if re.search(rf"^   {n}\. ", licence, re.MULTILINE)] == list(range(1, 10))
    assert "END OF TERMS AND CONDITIONS" in licence
