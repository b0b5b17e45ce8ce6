"""Architecture: imports point down, backbones have no training loop, nothing unsafe is read."""

from __future__ import annotations

import ast
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "crossrec"
FILES = sorted(SOURCE.rglob("*.py"))
every = pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(SOURCE)) for path in FILES])

LAYERS = (
    {
        "types",
        "arguments",
        "errors",
        "config",
        "cluster",
        "parts",
        "console",
        "devices",
        "memory",
        "parallel",
        "randomness",
        "lazy",
        "_version",
    },
    {"ops"},
    {"losses", "graph"},
    {"alignment", "backbones", "content_graph", "data", "evaluation"},
    {"baselines", "objective", "optimizer", "sampling", "trackers", "checkpoint"},
    {"training_state"},
    {"training"},
    {"runs"},
    {"features"},
    {"recommend"},
    {"experiments"},
    {"serving"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
"""Modules and packages of crossrec, lowest first. One imports those below it, and itself, and none beside it."""
BESIDE = {
    *(("types", "arguments"), ("types", "errors"), ("arguments", "errors"), ("parts", "config"), ("parts", "errors")),
    *(("config", "errors"), ("console", "errors"), ("devices", "errors"), ("devices", "lazy"), ("devices", "parallel")),
    *(("memory", "errors"), ("parallel", "errors"), ("parallel", "lazy"), ("randomness", "lazy")),
    *(("cluster", "config"), ("cluster", "errors")),
}
"""Neighbours of a layer that may know each other."""
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}

REFUSED = {
    *("hydra", "omegaconf", "torchmetrics", "lightning", "pytorch_lightning", "torchrec", "rectools", "recpack"),
    *("torch_scatter", "hnswlib"),
}
"""The "Not" list of the design."""
EMPTY_NAMES = {"found", "known", "place", "made", "told"}
"""Names that say how a value came about, not what it is."""
UNSAFE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(node: ast.AST) -> list[str]:
    """Full names of all modules that are imported anywhere below, lazily and for types too."""
    names = []
    for part in ast.walk(node):
        if isinstance(part, ast.Import):
            names += [alias.name for alias in part.names]
        elif isinstance(part, ast.ImportFrom):
            assert part.level == 0, f"line {part.lineno}: imports are absolute"
            names += (
                [f"{part.module}.{alias.name}" for alias in part.names] if part.module == "crossrec" else [part.module]
            )
    return names


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def part_of(path: Path) -> str:
    """The module or package of crossrec that a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def test_there_is_something_to_look_at():
    assert len(FILES) > 40
    assert {part_of(path) for path in FILES} - {"__init__"} <= set(RANK), "give the new module a layer above"


@pytest.mark.parametrize("path", [p for p in FILES if p != SOURCE / "__init__.py"], ids=lambda p: p.stem)
def test_imports_point_down(path):
    package = part_of(path)
    others = {name.split(".")[1] for name in imported(tree(path)) if name.startswith("crossrec.")} - {package}
    allowed = {name for name, rank in RANK.items() if rank < RANK[package]} | {b for a, b in BESIDE if a == package}
    assert others <= allowed


def test_the_two_seams_do_not_know_each_other():
    for package, other in (("alignment", "backbones"), ("backbones", "alignment")):
        for path in (SOURCE / package).glob("*.py"):
            assert not [name for name in imported(tree(path)) if name.startswith(f"crossrec.{other}")]
    knows_both = {
        str(path.relative_to(SOURCE))
        for path in FILES
        if {"crossrec.alignment", "crossrec.backbones"} <= {".".join(n.split(".")[:2]) for n in imported(tree(path))}
    }
    assert "objective.py" in knows_both
    assert not {p for p in knows_both if RANK[p.split("/")[0].removesuffix(".py")] < RANK["objective"]}


def test_the_package_imports_nothing_of_its_own_at_once():
    body = [node for node in tree(SOURCE / "__init__.py").body if not isinstance(node, ast.If)]
    names = imported(ast.Module(body, []))
    assert [name for name in names if name.startswith("crossrec")] == ["crossrec._version", "crossrec.lazy"]
    assert "torch" not in names


@every
def test_nothing_refused_or_unsafe_is_imported(path):
    roots = {name.split(".")[0] for name in imported(tree(path))}
    assert not roots & REFUSED
    assert not roots & UNSAFE


@every
def test_nothing_is_unpickled_or_evaluated(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            assert dotted(node.func) not in ("torch.load", "eval", "exec", "compile", "__import__"), (
                f"line {node.lineno}"
            )
            for keyword in node.keywords:
                unsafe = keyword.arg == "allow_pickle" and getattr(keyword.value, "value", True) is not False
                assert not unsafe, f"line {node.lineno}"
            if dotted(node.func) in ("np.load", "numpy.load"):
                assert "allow_pickle" in {keyword.arg for keyword in node.keywords}, f"line {node.lineno}: say False"


@every
def test_a_module_says_what_it_is(path):
    assert ast.get_docstring(tree(path))


@pytest.mark.parametrize("path", [p for p in FILES if part_of(p) in ("backbones", "alignment")], ids=lambda p: p.name)
def test_no_training_loop_outside_training(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.For):
            looped = {n.id for n in ast.walk(node.target) if isinstance(n, ast.Name)}
            looped |= {n.id for n in ast.walk(node.iter) if isinstance(n, ast.Name)}
            assert not {name for name in looped if "epoch" in name}, f"line {node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in ("backward", "zero_grad"), f"line {node.lineno}"
        if isinstance(node, ast.Attribute):
            assert not dotted(node).startswith(("torch.optim", "optim.")), f"line {node.lineno}"


def test_training_never_hears_of_test_data():
    names = {node.id for node in ast.walk(tree(SOURCE / "training.py")) if isinstance(node, ast.Name)}
    names |= {node.arg for node in ast.walk(tree(SOURCE / "training.py")) if isinstance(node, ast.arg)}
    assert not {name for name in names if name.lower() in ("test", "tests", "dataset")}
    assert "crossrec.data" not in imported(tree(SOURCE / "training.py"))


def test_no_machine_paths():
    for path in [*FILES, *Path(__file__).resolve().parent.rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert not [word for word in ("/" + "home/", "/" + "work/", "/" + "Users/") if word in text], path


def module_name(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("folder", ["src/crossrec", "benchmarks"])
def test_no_modules_import_in_a_circle(folder):
    package = SOURCE.parents[1] / folder
    files = {module_name(path, package.parent): path for path in package.rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for name, path in files.items():
        nodes = tree(path).body if folder == "src/crossrec" else ast.walk(tree(path))  # of the benchmarks lazy ones too
        modules = {
            f"{module}.{alias.name}" if f"{module}.{alias.name}" in files else module
            for node in nodes
            if isinstance(node, ast.Import | ast.ImportFrom)
            for module in imported(node)
            for alias in node.names
        }
        graph[name] = (modules & set(files)) - {name}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_a_class_name_exists_once():
    names = Counter(node.name for path in FILES for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef))
    assert not [name for name, count in names.items() if count > 1]


@every
def test_variables_say_what_they_hold(path):
    nodes = list(ast.walk(tree(path)))
    fields = {
        id(part.target)
        for node in nodes
        if isinstance(node, ast.ClassDef)
        for part in node.body
        if isinstance(part, ast.AnnAssign)
    }
    for node in nodes:
        if isinstance(node, ast.arg):
            assert node.arg not in EMPTY_NAMES, f"line {node.lineno}"
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in fields:
            assert node.id not in EMPTY_NAMES, f"line {node.lineno}"
