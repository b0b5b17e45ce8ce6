"""Lazy exports: the public names of a package, imported on first use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_exports(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make ``__getattr__`` and ``__dir__`` for a package.

    ``modules``: for each public name, the module that defines it. ``__getattr__`` imports that module and returns the
    name from it; it raises AttributeError for any other name. ``__dir__`` lists the public names and the package's
    dunder names, so tab completion shows them and nothing private.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(modules[name]), name)

    def names() -> list[str]:
        dunder_names = [name for name in vars(sys.modules[package]) if name.startswith("__")]
        return sorted({*dunder_names, *modules})

    return get, names
