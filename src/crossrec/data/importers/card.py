"""The card of an imported data folder: where it comes from, every rule applied, and what each left."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from crossrec._version import __version__
from crossrec.config import Config
from crossrec.errors import DataError

CARD = "card.json"
TEXT = "card.md"


class Step(Config):
    """What a rule left. ``rule``: its settings, or the reasons with their counts."""

    what: str
    rule: str
    interactions: int
    users: int
    items: int


class File(Config):
    """Name and size of a file."""

    name: str
    bytes: int


class Modality(Config):
    """A modality: columns and type of its matrix, and how many items have no feature (rows of zeros)."""

    modality: str
    columns: int
    dtype: str
    missing: int


class Card(Config):
    """``card.json`` of a data folder.

    ``columns``: role → column of the source. ``rules``: the settings of the import. ``steps``: what reading and each
    rule left, in order. ``splits``: rows of train, valid and test. ``items``: how many items.parquet lists, and
    ``item_columns``: its columns → items that have a value. ``source``: files that were read; ``ignored``: that were
    not. ``files``: what the folder consists of.
    """

    name: str
    kind: str
    source: list[File]
    ignored: list[str]
    columns: dict[str, str]
    rules: dict[str, Any]
    steps: list[Step]
    splits: dict[str, int]
    items: int
    item_columns: dict[str, int]
    features: list[Modality]
    notes: list[str]
    files: list[str]
    versions: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> Card:
        """The card of ``folder``. Raises DataError where there is none or it is damaged."""
        path = Path(folder) / CARD
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError:
            raise DataError(f"{path}: missing; is {folder} a folder that crossrec imported?") from None
        except ValueError:
            raise DataError(f"{path}: damaged, or of another version of crossrec; import again") from None

    def report(self) -> list[tuple[str, str, str, str, str, str]]:
        """(step, rule, interactions left, dropped, users left, items left) as text, in order."""
        rows = []
        before: Step | None = None
        for step in self.steps:
            dropped = f"{before.interactions - step.interactions:,}" if before else ""
            rows.append((step.what, step.rule, f"{step.interactions:,}", dropped, f"{step.users:,}", f"{step.items:,}"))
            before = step
        return rows

    def facts(self) -> list[tuple[str, str]]:
        """(what, value) of the splits, items and features, as text."""
        facts = [
            ("source", f"{self.kind}: " + ", ".join(f"{file.name} ({file.bytes:,} bytes)" for file in self.source))
        ]
        if self.ignored:
            facts.append(("not read", ", ".join(self.ignored)))
        facts.append(("columns", ", ".join(f"{role}: {column}" for role, column in self.columns.items())))
        if self.splits:
            facts.append((" / ".join(self.splits), " / ".join(f"{count:,}" for count in self.splits.values())))
        for column, count in self.item_columns.items():
            facts.append((f"items with {column}", f"{count:,} of {self.items:,}"))
        for feature in self.features:
            missing = f", {feature.missing:,} items without" if feature.missing else ""
            facts.append((f"features {feature.modality}", f"{feature.columns:,} columns of {feature.dtype}{missing}"))
        return facts

    def markdown(self) -> str:
        """The card to be read."""
        lines = [f"# {self.name}", "", "| step | rule | interactions | dropped | users | items |"]
        lines += [
            "| --- | --- | ---: | ---: | ---: | ---: |",
            *("| " + " | ".join(row) + " |" for row in self.report()),
        ]
        lines += ["", *(f"- {what}: {value}" for what, value in self.facts())]
        lines += [f"- {note}" for note in self.notes]
        lines += ["- rules: " + ", ".join(f"{name} {value}" for name, value in self.rules.items())]
        lines += ["- made with " + ", ".join(f"{name} {version}" for name, version in self.versions.items())]
        return "\n".join(lines) + "\n"


class Ledger:
    """The steps of an import as they are taken."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.notes: list[str] = []

    def add(self, what: str, rule: str, interactions: int, users: int, items: int) -> None:
        """Write down what is left after a step."""
        self.steps.append(Step(what=what, rule=rule, interactions=interactions, users=users, items=items))


def versions() -> dict[str, str]:
    """What the folder was made with."""
    import numpy as np
    import polars as pl

    return {
        "crossrec": __version__,
        "python": platform.python_version(),
        "polars": pl.__version__,
        "numpy": np.__version__,
    }
