"""Lazy imports: the public names of a package, polars and torch are imported on first use."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any


def lazy_exports(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make ``__getattr__`` and ``__dir__`` for a package from the imports below its ``if TYPE_CHECKING:``.

    A public name is written once, as ``from module import name as name``. Type checkers read that as an export.
    ``__getattr__`` imports the module on first use and returns the name from it; it raises AttributeError for any other
    name. ``__all__`` holds the public names. ``__dir__`` lists them and the package's dunder names, so tab completion
    shows them and nothing private.
    """

    @cache
    def modules() -> dict[str, str]:
        """For each public name, the module that defines it, read from the source of the package."""
        import ast
        import inspect

        tree = ast.parse(inspect.getsource(sys.modules[package]))
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        return {alias.name: str(node.module) for node in imports for alias in node.names if alias.asname == alias.name}

    def get(name: str) -> Any:
        if name == "__all__":
            return sorted(modules())
        if name.startswith("__") or name not in modules():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(modules()[name]), name)

    def names() -> list[str]:
        dunder_names = [name for name in vars(sys.modules[package]) if name.startswith("__")]
        return sorted({*dunder_names, *modules()})

    return get, names


class LazyModule:
    """A module that is imported on first use of one of its names."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)


if TYPE_CHECKING:
    import polars as polars
    import torch as torch
else:
    polars, torch = LazyModule("polars"), LazyModule("torch")
    """Importing polars takes 0.1 seconds and torch 1 second, which help texts and wrong flags need not wait for."""
