"""The card of an imported data folder: its source, the rules applied, and the rows, users and items left by each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crossrec.config import Config
from crossrec.errors import DataError

CARD = "card.json"
TEXT = "card.md"


class ImportStep(Config):
    """Interactions, users and items left by a step. ``rule``: its settings, or reasons with their counts."""

    what: str
    rule: str
    interactions: int
    users: int
    items: int


class SourceFile(Config):
    """Name and size of a file."""

    name: str
    bytes: int


class ModalitySummary(Config):
    """Columns and type of a feature matrix, and the number of items without a feature (rows of zeros)."""

    modality: str
    columns: int
    dtype: str
    missing: int


class ImportCard(Config):
    """The content of ``card.json`` in an imported folder.

    ``columns``: role → column of the source. ``rules``: the settings of the import. ``steps``: reading and each rule,
    in order. ``splits``: split → rows. ``items``: number of items in items.parquet; ``item_columns``: its columns →
    items with a value. ``source``: files that were read; ``ignored``: files that were not. ``files``: files of the
    folder.
    """

    name: str
    kind: str
    source: list[SourceFile]
    ignored: list[str]
    columns: dict[str, str]
    rules: dict[str, Any]
    steps: list[ImportStep]
    splits: dict[str, int]
    items: int
    item_columns: dict[str, int]
    features: list[ModalitySummary]
    notes: list[str]
    files: list[str]
    versions: dict[str, str]

    @classmethod
    def read(cls, folder: Path | str) -> ImportCard:
        """Read the card of ``folder``. Raises DataError if it is missing or damaged."""
        path = Path(folder) / CARD
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError:
            raise DataError(f"{path}: missing; is {folder} a folder that crossrec imported?") from None
        except ValueError:
            raise DataError(f"{path}: damaged, or of another version of crossrec; import again") from None

    def report(self) -> list[tuple[str, str, str, str, str, str]]:
        """(step, rule, interactions left, dropped, users left, items left) of each step, as text."""
        rows = []
        for before, step in zip([None, *self.steps], self.steps, strict=False):
            dropped = f"{before.interactions - step.interactions:,}" if before else ""
            rows.append((step.what, step.rule, f"{step.interactions:,}", dropped, f"{step.users:,}", f"{step.items:,}"))
        return rows

    def facts(self) -> list[tuple[str, str]]:
        """(name, value) of source, columns, splits, items and features, as text."""
        files = ", ".join(f"{file.name} ({file.bytes:,} bytes)" for file in self.source)
        facts = [("source", f"{self.kind}: {files}")]
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
        """The card as Markdown, the content of ``card.md``."""
        lines = [f"# {self.name}", "", "| step | rule | interactions | dropped | users | items |"]
        lines += ["| --- | --- | ---: | ---: | ---: | ---: |"]
        lines += ["| " + " | ".join(row) + " |" for row in self.report()]
        lines += ["", *(f"- {name}: {value}" for name, value in self.facts()), *(f"- {note}" for note in self.notes)]
        rules = (f"{name} {value}" for name, value in self.rules.items() if value is not None)
        lines += ["- rules: " + ", ".join(rules)]
        lines += ["- made with " + ", ".join(f"{name} {version}" for name, version in self.versions.items())]
        return "\n".join(lines) + "\n"


class ImportSteps:
    """Collect the steps and notes of a running import."""

    def __init__(self) -> None:
        self.steps: list[ImportStep] = []
        self.notes: list[str] = []

    def add(self, what: str, rule: str, interactions: int, users: int, items: int) -> None:
        """Record the interactions, users and items left after a step."""
        self.steps.append(ImportStep(what=what, rule=rule, interactions=interactions, users=users, items=items))
