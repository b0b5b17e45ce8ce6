"""Where a data set lies: a built-in name, a folder or a file becomes the paths of its parts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from crossrec.config import did_you_mean
from crossrec.errors import DataError

INTER = ".inter"
SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson")
FEATURE_END = "_feat.npy"
RESERVED = "id"
"""The modality of a backbone's own vectors: crossrec.types.ID, but that module needs torch, and this one must not."""


@dataclass(frozen=True)
class Source:
    """The files of one data set. ``items`` lists item ids in the row order of the features, where there is such a file.

    ``name``: what to call the set. ``row_indices``: ids are row numbers already (the MMRec layout).
    """

    name: str
    table: Path
    items: Path | None
    features: dict[str, Path]

    @property
    def row_indices(self) -> bool:
        """Whether ids in the table are the rows themselves."""
        return self.table.suffix.lower() == INTER


def locate(data: str, built_in: list[str]) -> Source:
    """Find the files of ``data``: a folder, an interaction file, or the name of a folder under $CROSSREC_DATA.

    ``built_in``: names of generated sets, for the hint only. Raises DataError if there is no such place, if a folder
    holds no interaction file, or more than one that could be it.
    """
    path = existing(data, built_in)
    if path.is_dir():
        table = _table_in(path)
        return _source(path.resolve().name, table)
    if path.suffix.lower() not in (INTER, *SUFFIXES):
        raise DataError(f"{path}: not a known kind of interaction file; use one of {INTER} {' '.join(SUFFIXES)}")
    return _source(path.stem, path)


def items_file(folder: Path) -> Path | None:
    """The table called ``items`` in ``folder``, if there is one. Raises DataError if there are several."""
    found = [file for file in _visible(folder) if file.stem.lower() == "items" and file.suffix.lower() in SUFFIXES]
    if len(found) > 1:
        raise DataError(f"{folder}: more than one items file ({', '.join(f.name for f in found)}); keep one of them")
    return found[0] if found else None


def name_problem(modality: str) -> str | None:
    """Why a modality cannot be called so, or None."""
    if modality == RESERVED:
        return f"'{RESERVED}' names a model's own vectors"
    if "." in modality or "->" in modality:
        return "a modality's name has no '.' and no '->'"
    return None


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))


def existing(data: str, built_in: list[str]) -> Path:
    """The folder or file that ``data`` names, here or under $CROSSREC_DATA. Raises DataError if there is none."""
    path = Path(data)
    if data and path.exists():
        return path
    home = Path(os.environ["CROSSREC_DATA"]) if os.environ.get("CROSSREC_DATA") else None
    bare = Path(data).name == data
    if data and home and bare and (home / data).exists():
        return home / data
    around = [] if bare and home else [path.parent]
    if bare and home:
        around.append(home)
    neighbours = [entry.name for folder in around if folder.is_dir() for entry in folder.iterdir()]
    known = [*built_in, *neighbours] if bare else neighbours
    hint = did_you_mean(path.name, known) if known and len(data) > 0 else ""
    if "did you mean" not in hint:
        hint = f"; name a folder, an interaction file or a built-in set ({', '.join(built_in)})"
    raise DataError(f"data '{data}': no such file or folder{hint}")


def _table_in(folder: Path) -> Path:
    files = _visible(folder)
    inter = [file for file in files if file.suffix.lower() == INTER]
    tables = [file for file in files if file.suffix.lower() in SUFFIXES and file.stem.lower() not in ("items", "users")]
    named = [file for file in tables if file.stem.lower() == "interactions"]
    found = [*inter, *named] or tables
    if not found:
        raise DataError(
            f"{folder}: no interaction file; put NAME{INTER} or interactions{{{','.join(SUFFIXES)}}} into the folder"
        )
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise DataError(
            f"{folder}: more than one interaction file ({names}); name the file to use instead of the folder"
        )
    return found[0]


def _source(name: str, table: Path) -> Source:
    folder = table.parent
    features = {
        file.name.removesuffix(FEATURE_END): file for file in _visible(folder) if file.name.endswith(FEATURE_END)
    }
    features.pop("", None)
    for modality, file in features.items():
        if problem := name_problem(modality):
            raise DataError(f"{file}: {problem}; rename the file")
    return Source(name, table, None if table.suffix.lower() == INTER else items_file(folder), features)
