"""Collect the files of a source and detect its kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from crossrec.config import did_you_mean
from crossrec.data.importers import amazon, json_lists, mmrec, plain_tables, recbole
from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.import_source import ImportSource, SourceFiles
from crossrec.data.io.header import types_in_header
from crossrec.data.io.open_text import broken_link, ending, stem
from crossrec.data.io.tables import open_table
from crossrec.data.sources import FEATURE_END, INTER, SUFFIXES, other_kind, visible_files
from crossrec.errors import DataError, setting

IMPORTERS: dict[str, Callable[[SourceFiles, ImportConfig], ImportSource]] = {
    "tables": plain_tables.open_source,
    "recbole": recbole.open_source,
    "mmrec": mmrec.open_source,
    "json": json_lists.open_source,
    "amazon": amazon.open_source,
}
"""Kind of a source → function that opens it."""

KINDS = (
    f"tables ({', '.join(SUFFIXES)}), NAME{INTER} of MMRec or RecBole, train.json, or Amazon's reviews_*.json.gz with "
    "meta_*.json.gz and image_features_*.b"
)


def collect_files(sources: Sequence[Path | str]) -> SourceFiles:
    """List the files of ``sources`` (files or folders), without hidden files and subfolders.

    A file brings its companions in the same folder: features, tables of items and users, other files of its layout.
    Raises DataError if a source does not exist.
    """
    paths: list[Path] = []
    named: set[Path] = set()
    for source in map(Path, sources):
        if problem := broken_link(source):
            raise DataError(f"{source}: {problem}")
        if not source.exists():
            siblings = [entry.name for entry in source.parent.iterdir()] if source.parent.is_dir() else []
            hint = did_you_mean(source.name, siblings) if siblings else ""
            raise DataError(f"{source}: no such file or folder{hint if 'did you mean' in hint else '; check the path'}")
        folder = source if source.is_dir() else source.parent
        if not source.is_dir() and source.resolve() not in named:  # by another path, which would double its rows
            named.add(source.resolve())
            paths.append(source)
        paths += visible_files(folder, partial(_belongs, source))
    if not paths:
        raise DataError(f"{sources[0] if sources else 'source'}: no files there; known are {KINDS}")
    where = str(sources[0]) if len(sources) == 1 else str(Path(sources[0]).parent)
    return SourceFiles(where, list(dict.fromkeys(paths)))


def _belongs(source: Path, path: Path) -> bool:
    """Whether ``path`` is read where ``source`` is named: a folder that holds it, or a file beside it."""
    if path.name.startswith("_"):
        return False
    if source.is_dir():
        return True
    if amazon.category(source):
        return amazon.category(path) == amazon.category(source) and not amazon.REVIEWS.match(path.name)
    if json_lists.is_lists(source) and json_lists.is_lists(path):
        return True
    if ending(source) == INTER and ending(path) in (recbole.ITEM, recbole.USER):
        return stem(path) == stem(source).partition(".")[0]
    table = ending(source) in SUFFIXES and ending(path) in SUFFIXES and stem(path) in ("items", "users")
    return table or path.name.endswith(FEATURE_END)


def detect(files: SourceFiles, config: ImportConfig) -> str:
    """Return the kind of the files: the one in ``config``, or the one their names and headers show.

    Raises DataError if they show no kind, or several.
    """
    if config.items is not None and config.kind not in ("auto", "tables"):
        raise DataError(f"{setting('items')} {config.items}: goes with kind tables only; leave it out")
    if config.kind != "auto":
        return config.kind
    signs: dict[str, Path] = {}
    for path in files.paths:
        if amazon.category(path):
            signs.setdefault("amazon", path)
        elif json_lists.is_lists(path):
            signs.setdefault("json", path)
        elif ending(path) == INTER:
            has_types = types_in_header(path, open_table(path).columns)
            signs.setdefault("recbole" if has_types else "mmrec", path)
        elif ending(path) in SUFFIXES and stem(path) == "interactions":
            signs.setdefault("tables", path)
    if not signs and any(ending(path) in SUFFIXES and stem(path) not in ("items", "users") for path in files.paths):
        return "tables"
    if len(signs) == 1:
        return next(iter(signs))
    if signs:
        kinds = ", ".join(f"{path.name} ({kind})" for kind, path in signs.items())
        raise DataError(f"{files.where}: files of several kinds, {kinds}; name the files to read, or choose a kind")
    names = [path.name for path in files.paths if not path.name.endswith(FEATURE_END)]
    more = ", …" if len(names) > 3 else ""
    hint = next((f"; {path.name}: {hint}" for path in files.paths if (hint := other_kind(path))), "")
    listed = ", ".join(names[:3])
    raise DataError(f"{files.where}: no data of a known kind ({listed}{more}); known are {KINDS}{hint}")
