"""Find the files of a data set that is named by folder, file or name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from crossrec.config import did_you_mean
from crossrec.data.io.open_text import broken_link, ending, special_kind, stem, uncompressed
from crossrec.data.synthetic import RECIPES
from crossrec.errors import DataError, setting

INTER = ".inter"
SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson")
FEATURE_END = "_feat.npy"
LIKE_FEATURES = re.compile(r"(?i)feat(ure)?s?\.(npy|npz|pt|pth|safetensors|h5|hdf5|pkl|parquet)$")
"""Pattern of the name of a file that seems to hold features."""
RESERVED = "id"
"""Name reserved for a backbone's own vectors: crossrec.types.ID, which importing would need torch for."""


RENAME = "let its name end in .csv (cells between commas) or .tsv (between tabs)"
OTHER_KINDS = {
    (".txt", ".dat", ".data", ".log"): f"a text of unknown form; {RENAME}",
    (".json",): "JSON is read as one object a line: write it so, and let its name end in .jsonl",
    (".zip", ".bz2", ".xz", ".zst", ".7z", ".rar", ".tar", ".tgz"): "an archive; unpack it, or compress it with gzip",
    (".xlsx", ".xls", ".ods"): "a workbook; save the table as CSV",
    (".feather", ".arrow", ".ipc", ".orc", ".avro", ".h5", ".hdf5"): "write the table as Parquet",
    (".pkl", ".pickle", ".pt", ".pth"): "may hold code and is not loaded; write the table as Parquet or CSV",
    (".db", ".sqlite", ".sqlite3"): "a database; export the table as CSV",
}
"""Endings of files that are no table → what to do about such a file."""


@dataclass(frozen=True)
class Source:
    """The files of a data set, with its display name.

    ``items``: file that lists item ids in the row order of the features, if there is one.
    """

    name: str
    table: Path
    items: Path | None
    features: dict[str, Path]

    @property
    def row_indices(self) -> bool:
        """Whether ids in the table are row numbers (the MMRec layout)."""
        return ending(self.table) == INTER


def locate(data: str) -> Source:
    """Find the files of ``data``: a folder, an interaction file, or the name of a folder under $CROSSREC_DATA.

    Raises DataError if nothing has this name, or if a folder holds no interaction file or several candidates.
    """
    path = existing(data)
    table = _table_in(path) if path.is_dir() else path
    name = path.resolve().name if path.is_dir() else uncompressed(path).stem
    if ending(table) not in (INTER, *SUFFIXES):
        hint = other_kind(table) or f"use one of {INTER} {' '.join(SUFFIXES)}"
        raise DataError(f"{path}: not a known kind of interaction file; {hint}")
    features = feature_files(visible_files(table.parent, _has_features))
    return Source(name, table, None if ending(table) == INTER else items_file(table.parent), features)


def like_features(source: Source) -> list[Path]:
    """Files beside the table that seem to hold features, but are not read, such as ``image_feat.npz``."""
    candidates = visible_files(source.table.parent, lambda path: bool(LIKE_FEATURES.search(path.name)))
    return [path for path in candidates if path not in (source.table, *source.features.values())]


def other_kind(path: Path) -> str | None:
    """What to do about a file of a well-known kind that is not read as a table; None for others."""
    kind = path.suffix.lower() if path.suffix.lower() != ".gz" else ending(path)
    return next((hint for endings, hint in OTHER_KINDS.items() if kind in endings), None)


def items_file(folder: Path) -> Path | None:
    """Return the table called ``items`` in ``folder``, if there is one. Raises DataError if there are several."""
    paths = visible_files(folder, lambda path: stem(path) == "items" and ending(path) in SUFFIXES)
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths)
        raise DataError(f"{folder}: more than one items file ({names}); keep one of them")
    return paths[0] if paths else None


def feature_files(paths: Iterable[Path]) -> dict[str, Path]:
    """Map each modality to its ``<modality>_feat.npy`` among ``paths``. Raises DataError for an invalid name."""
    files = {path.name.removesuffix(FEATURE_END): path for path in paths if path.name.endswith(FEATURE_END)}
    files.pop("", None)
    for modality, path in files.items():
        if problem := name_problem(modality):
            raise DataError(f"{path}: {problem}; rename the file")
    return files


def name_problem(modality: str) -> str | None:
    """Return why a modality cannot have this name, or None."""
    if modality == RESERVED:
        return f"'{RESERVED}' names a model's own vectors"
    if "." in modality or "->" in modality:
        return "a modality's name has no '.' and no '->'"
    return None


def _has_features(path: Path) -> bool:
    return path.name.endswith(FEATURE_END)


def visible_files(folder: Path, matters: Callable[[Path], bool] = lambda path: True) -> list[Path]:
    """The files of a folder that matter, without hidden ones, sorted.

    Raises DataError for a broken link to a table or features, and for a folder or pipe that has their name.
    """
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".") and matters(entry))
    for entry in entries:
        is_table = ending(entry) in (INTER, *SUFFIXES)
        if is_table or _has_features(entry):
            if problem := broken_link(entry):
                raise DataError(f"{entry}: {problem}")
            if not entry.is_file() and (not is_table or stem(entry) in ("interactions", "items", "users")):
                raise DataError(f"{entry}: {special_kind(entry) or 'a folder'}, not a file; move it elsewhere")
    return [entry for entry in entries if entry.is_file()]


def existing(data: str) -> Path:
    """Return the path that ``data`` names, here or under $CROSSREC_DATA. Raises DataError if there is none."""
    path = Path(data)
    if data and path.exists():
        return path
    home = Path(os.environ["CROSSREC_DATA"]) if os.environ.get("CROSSREC_DATA") else None
    bare = Path(data).name == data
    if data and home and bare and (home / data).exists():
        return home / data
    if data and (problem := broken_link(path)):
        raise DataError(f"{setting('data')} '{data}': {problem}")
    folder = home if bare and home else path.parent
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    candidates = [*RECIPES, *names] if bare else names
    hint = did_you_mean(path.name, candidates) if candidates and data else ""
    if "did you mean" not in hint:
        hint = f"; name a folder, an interaction file or a built-in set ({', '.join(RECIPES)})"
    raise DataError(f"{setting('data')} '{data}': no such file or folder{hint}")


def _table_in(folder: Path) -> Path:
    paths = visible_files(folder)
    inter = [path for path in paths if ending(path) == INTER]
    tables = [path for path in paths if ending(path) in SUFFIXES and stem(path) not in ("items", "users")]
    named = [path for path in tables if stem(path) == "interactions"]
    candidates = [*inter, *named] or tables
    if not candidates:
        raise DataError(
            f"{folder}: no interaction file; put NAME{INTER} or interactions{{{','.join(SUFFIXES)}}} into the folder"
        )
    if len(candidates) > 1:
        names = ", ".join(path.name for path in candidates)
        raise DataError(
            f"{folder}: more than one interaction file ({names}); name the file to use instead of the folder, or make "
            "one data folder of all with crossrec data import"
        )
    return candidates[0]
