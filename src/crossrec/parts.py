"""Parts by name: those of this package, those of installed packages, and those of any module (``module:Class``)."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar, cast

from crossrec.config import did_you_mean
from crossrec.errors import ConfigError

T = TypeVar("T")
V = TypeVar("V")
REFERENCE = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")
"""``module:Class``."""


class Registry(MutableMapping[str, T]):
    """Parts of one kind, such as backbones, by name.

    A part has one of three kinds of names:

    - of this package, such as ``lightgcn``;
    - of an installed package, which declares it as an entry point of ``group``. It is imported when it is used, and
      never replaces a part of this package;
    - ``module:Class`` of any module that can be imported, also from the current folder. From then on the part has its
      own name too, which is what ``own_name`` returns.

    Capitals, hyphens and underscores do not matter: ``LightGCN`` is ``lightgcn``. ``what`` is the word for a part in
    messages; ``problem`` returns what is wrong with a part, or ""; ``own_name`` what it is called.
    """

    def __init__(
        self,
        what: str,
        group: str,
        parts: Mapping[str, T],
        *,
        problem: Callable[[Any], str],
        own_name: Callable[[T], str],
    ) -> None:
        self.what, self.group = what, group
        self._parts, self._problem, self._own_name = dict(parts), problem, own_name
        self._references: dict[str, str] = {}

    def __getitem__(self, name: str) -> T:
        """The part. Raises KeyError for an unknown name, ConfigError for a part that cannot be imported or used."""
        name = self.canonical(name)
        if name not in self._parts:
            if name not in self._entry_points():
                raise KeyError(name)
            self._parts[name] = self._load_entry_point(name)
        return self._parts[name]

    def __setitem__(self, name: str, part: T) -> None:
        self._parts[name] = part

    def __delitem__(self, name: str) -> None:
        del self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._parts, *self._entry_points()]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name := self.canonical(name)) in {*self._parts, *self._entry_points()}

    def canonical(self, name: str) -> str:
        """The part's own name, for any way of writing it; ``name`` itself where there is no such part.

        Imports the part of a ``module:Class``. Raises ConfigError where that is impossible.
        """
        if name in self._parts:
            return name
        if REFERENCE.fullmatch(name):
            return self._load_reference(name)
        return nearest_spelling(name, self)

    def canonical_keys(self, values: Mapping[str, V], where: str) -> dict[str, V]:
        """``values`` with ``canonical`` keys. Raises ConfigError where two keys are one part."""
        renamed = {self.canonical(name): value for name, value in values.items()}
        if len(renamed) < len(values):
            raise ConfigError(f"{where}: two of {', '.join(values)} are the same {self.what}; keep one")
        return renamed

    def check(self, name: str, flag: str = "", others: Iterable[str] = ()) -> str:
        """The part's own name. Raises ConfigError, with the nearest name or one of ``others``, where there is none."""
        if name not in self:
            where = f"{flag}: unknown" if flag else f"unknown {self.what}"
            raise ConfigError(f"{where} '{name}'{did_you_mean(name, [*self, *others])}")
        return self.canonical(name)

    @property
    def loaded(self) -> Mapping[str, T]:
        """The parts of this package and those that were imported already."""
        return self._parts

    def reference(self, name: str) -> str:
        """The name by which another process finds the part: its own, or ``module:Class``."""
        return self._references.get(name, name)

    def checked(self, name: str) -> str:
        """``check`` for a field of a configuration, which expects a ValueError."""
        try:
            return self.check(name)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    def _entry_points(self) -> Mapping[str, EntryPoint]:
        return _entry_points(self.group, tuple(sys.path))

    def _load_entry_point(self, name: str) -> T:
        entry_point = self._entry_points()[name]
        package = entry_point.dist.name if entry_point.dist else "?"
        where = f"{self.what} '{name}' of the package {package}, {entry_point.value}"
        try:
            part = entry_point.load()
        except Exception as error:  # the code is not ours
            raise ConfigError(f"{where}: {_reason(error)}") from None
        part = self._valid(part, where)
        if (own_name := self._own_name(part)) != name:
            raise ConfigError(f"{where}: calls itself '{own_name}'; give it and its entry point one name")
        return part

    def _load_reference(self, reference: str) -> str:
        """Import a ``module:Class``, keep the part under its own name, and return that name."""
        where, (module_name, _, path) = f"{self.what} '{reference}'", reference.partition(":")
        if os.getcwd() not in sys.path and "" not in sys.path:
            sys.path.append(os.getcwd())
        try:
            part: Any = import_module(module_name)
            for attribute in path.split("."):
                part = getattr(part, attribute)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"{where}: no module '{error.name}'; install its package, or start in the folder that holds it"
            ) from None
        except Exception as error:
            raise ConfigError(f"{where}: {_reason(error)}") from None
        part = self._valid(part, where)
        name = self._own_name(part)
        if name in self and self[name] is not part:
            raise ConfigError(f"{where}: its name '{name}' is that of another {self.what}; give it a name of its own")
        if name not in self._parts:
            self._parts[name], self._references[name] = part, reference
        return name

    def _valid(self, part: Any, where: str) -> T:
        if problem := self._problem(part):
            raise ConfigError(f"{where}: {problem}")
        return cast(T, part)


@cache
def _entry_points(group: str, search_path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Entry points of a group by name; of two with the same name the first on the search path."""
    return {point.name: point for point in reversed(list(entry_points(group=group)))} if group else {}


def nearest_spelling(name: str, names: Iterable[str]) -> str:
    """The one of ``names`` that is ``name`` but for capitals, hyphens and underscores; ``name`` if there is none."""
    return next((other for other in names if _folded(other) == _folded(name)), name)


def _folded(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).casefold()


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
