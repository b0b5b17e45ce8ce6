"""Manifest of a folder: the size and sha256 of each of its files. A file that is damaged or of elsewhere is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from crossrec.data.io.atomic import cannot_read, json_text, read_bytes, read_json, write_bytes_atomic
from crossrec.errors import RunError

MANIFEST = "manifest.json"
SEAL = "seal"
"""Key of a sealed JSON file: the sha256 of everything else in it."""


def write_sealed(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON object with the sha256 of its content, atomically. Raises RunError as ``write_json_atomic`` does."""
    write_bytes_atomic(path, _sealed(path, values))


def read_sealed(path: Path, way_out: str) -> dict[str, Any]:
    """Read what ``write_sealed`` wrote. Raises RunError with ``way_out`` where the file is missing or altered."""
    content, values = read_bytes(path), read_json(path)
    if not isinstance(values, dict) or not values.pop(SEAL, None):
        raise RunError(f"{path}: damaged, or of an earlier version: it has no digest of itself; {way_out}")
    if content != _sealed(path, values):
        raise RunError(f"{path}: damaged, its content is not what was written; {way_out}")
    return values


def file_entry(path: Path) -> dict[str, Any]:
    """Size in bytes and sha256 of a file. Raises RunError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return {"size": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    except OSError as error:
        raise cannot_read(path, error) from None


def difference(path: Path, entry: Any) -> str | None:
    """Why a file is not the one that ``entry`` describes, or None. Raises RunError where it cannot be read."""
    if not path.is_file():
        return "missing"
    if path.stat().st_size != entry["size"]:
        return f"altered, {path.stat().st_size:,} bytes instead of {entry['size']:,}"
    return None if file_entry(path) == entry else "altered, its sha256 is another than when it was written"


def write_manifest(folder: Path, names: Collection[str]) -> None:
    """Write the manifest of these files of ``folder``, atomically."""
    write_sealed(folder / MANIFEST, {"files": {name: file_entry(folder / name) for name in names}})


def check_manifest(folder: Path, names: Collection[str], way_out: str) -> None:
    """Hold files against the manifest of their folder.

    Every file of the manifest must be there and unaltered, and none of ``names`` may be there without being in it.
    Raises RunError that names the file and ends with ``way_out``.
    """
    files = _read_files(folder, way_out)
    for name in sorted({*files, *names}):
        if name in files:
            problem = difference(folder / name, files[name])
        else:
            problem = "not a file of this run" if (folder / name).exists() else None
        if problem:
            raise RunError(f"{folder / name}: {problem}; {way_out}")


def check_file(path: Path, way_out: str) -> None:
    """Hold one file against the manifest of its folder, where there is one that lists it. Raises RunError."""
    if (path.parent / MANIFEST).exists():
        entry = _read_files(path.parent, way_out).get(path.name)
        if entry is not None and (problem := difference(path, entry)):
            raise RunError(f"{path}: {problem}; {way_out}")


def _read_files(folder: Path, way_out: str) -> dict[str, Any]:
    """The entries of a manifest by file name."""
    files = read_sealed(folder / MANIFEST, way_out).get("files")
    if not isinstance(files, dict):
        raise RunError(f"{folder / MANIFEST}: not the manifest of a run; {way_out}")
    return files


def _sealed(path: Path, values: Mapping[str, Any]) -> bytes:
    digest = hashlib.sha256(json_text(path, values).encode("utf-8", "surrogatepass")).hexdigest()
    return json_text(path, {**values, SEAL: digest}).encode("utf-8", "surrogatepass")
