"""From files of any known kind to one clean data folder: look, read, apply the rules, split, write, rename."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crossrec.data.importers.card import CARD, TEXT, Card, File, Ledger, Modality, versions
from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.detect import IMPORTERS, detect, gather
from crossrec.data.importers.import_source import ImportSource
from crossrec.data.importers.read_parts import Log, Progress, read_log
from crossrec.data.importers.rules import k_core, rated_below, repeated
from crossrec.data.io.output import new_folder, write_frames
from crossrec.data.io.parse_log import TEST, TRAIN, VALID, positions
from crossrec.data.sources import FEATURE_END
from crossrec.data.splits import make_split
from crossrec.errors import ConfigError, DataError
from crossrec.randomness import numpy_generator

if TYPE_CHECKING:
    import polars as pl

SPLITS = {"train": TRAIN, "valid": VALID, "test": TEST}
ROWS = 2**19  # interactions that are written at a time


def import_data(
    source: Path | str | Sequence[Path | str],
    out: Path | str,
    config: ImportConfig = ImportConfig(),  # noqa: B008
    *,
    overwrite: bool = False,
    on_progress: Progress = lambda what, done, total: None,
) -> Card:
    """Make the data folder ``out`` of a folder, a file or several files, and hand back its card.

    The folder appears when it is complete; a folder that ``overwrite`` replaces stays until then, and only one that an
    import made and nobody added to is replaced. ``on_progress`` is told what is being done, how much of it, of how much
    (0: not known). Memory: about 40 bytes an interaction and what the distinct ids take.

    Raises DataError, one line, for whatever is wrong with the source; ConfigError if ``out`` is there already or a
    setting does not suit the source; RunError if the folder cannot be written.
    """
    files = gather([source] if isinstance(source, Path | str) else list(source))
    _check_target(Path(out), [*files.paths, *([config.items] if config.items else [])], overwrite)
    kind = detect(files, config)
    raw = IMPORTERS[kind](files, config)
    ignored = [path.name for path in files.paths if path not in raw.used]
    return build_folder(raw, Path(out), config, kind=kind, ignored=ignored, on_progress=on_progress)


def build_folder(
    raw: ImportSource,
    out: Path,
    config: ImportConfig,
    *,
    kind: str,
    ignored: Sequence[str] = (),
    on_progress: Progress = lambda what, done, total: None,
) -> Card:
    """Make ``out`` of a source that an importer has opened; ``kind`` and ``ignored`` files go into the card.

    What is at ``out`` is replaced. Raises as :func:`import_data` does.
    """
    ledger = Ledger()
    with new_folder(out) as draft:
        log = read_log(raw, config, ledger, on_progress)
        _apply_rules(log, config, ledger, on_progress)
        split_N = _split(log, config, on_progress)
        item_ids, catalogue = _items(raw, log, config, ledger, on_progress)
        _write_interactions(draft / "interactions.parquet", log, split_N, on_progress)
        catalogue.write_parquet(draft / "items.parquet")
        if raw.users is not None:
            user_ids = log.user_ids.gather(np.unique(log.user_N)).alias("user")
            _rows_of(raw.users, "user", user_ids).write_parquet(draft / "users.parquet")
        features = _write_features(draft, raw, item_ids, on_progress)
        card = Card(
            name=out.absolute().name,
            kind=kind,
            source=[File(name=path.name, bytes=path.stat().st_size) for path in raw.used],
            ignored=list(ignored),
            columns=raw.parts[0].columns,
            rules=config.model_dump(mode="json") | {"items": config.items.name if config.items else None},
            steps=ledger.steps,
            splits={} if split_N is None else {name: int((split_N == label).sum()) for name, label in SPLITS.items()},
            items=len(item_ids),
            item_columns={
                name: int(catalogue[name].is_not_null().sum()) for name in catalogue.columns if name != "item"
            },
            features=features,
            notes=ledger.notes,
            files=sorted([*(path.name for path in draft.iterdir()), CARD, TEXT]),
            versions=versions(),
        )
        (draft / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (draft / TEXT).write_text(card.markdown(), encoding="utf-8")
    return card


def _check_target(out: Path, sources: list[Path], overwrite: bool) -> None:
    """Raise ConfigError unless ``out`` may be made, or replaced, without anything being lost."""
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ConfigError(f"out {out}: is a file or a link; name a folder that is not there yet")
    if not out.exists():
        return
    if not overwrite:
        raise ConfigError(f"out {out}: is there already; name another folder, or replace it with overwrite")
    if any(path.resolve().is_relative_to(out.resolve()) for path in sources):
        raise ConfigError(f"out {out}: holds the source, which would be lost; name another folder")
    try:
        known = Card.read(out).files
    except DataError as error:
        raise ConfigError(f"out {out}: no import made this folder, so it is not replaced ({error})") from None
    foreign = [path.name for path in sorted(out.iterdir()) if path.name not in known]
    if foreign:
        raise ConfigError(
            f"out {out}: holds {', '.join(foreign[:5])}, which the import did not make; move it away, or name another "
            "folder"
        )


def _apply_rules(log: Log, config: ImportConfig, ledger: Ledger, on_progress: Progress) -> None:
    """Duplicates, rating, k-core, in this order. Raises DataError naming the rule that leaves nothing."""
    on_progress("looking for duplicates", 0, 0)
    keep_N = ~repeated(log, config.duplicates)
    dropped = len(log) - int(keep_N.sum())
    if dropped:
        log.take(keep_N)
        ledger.add("duplicates", f"{config.duplicates} kept", *log.sizes())
    if config.min_rating is not None:
        assert log.rating_N is not None
        keep_N = ~rated_below(log, config.min_rating)
        if not keep_N.any():
            raise DataError(
                f"min_rating {config.min_rating:g} leaves none of {len(log):,} rows; ratings run from "
                f"{log.rating_N.min():g} to {log.rating_N.max():g}; lower it"
            )
        log.take(keep_N)
        ledger.add("rating", f"at least {config.min_rating:g}", *log.sizes())
    least = config.min_user_interactions, config.min_item_interactions
    if max(least) > 1:
        keep_N = np.ones(len(log), dtype=bool)
        rounds = k_core(log.user_N, log.item_N, least, keep_N, lambda n: on_progress("k-core, round by round", n, 0))
        rule = f"{least[0]} a user, {least[1]} an item"
        if not keep_N.any():
            _, users, items = log.sizes()
            raise DataError(
                f"min_user_interactions {least[0]} and min_item_interactions {least[1]} (k-core) leave none of "
                f"{len(log):,} rows of {users:,} users and {items:,} items (after {rounds} rounds); lower them"
            )
        log.take(keep_N)
        ledger.add("k-core", f"{rule}; {rounds} rounds", *log.sizes())


def _split(log: Log, config: ImportConfig, on_progress: Progress) -> np.ndarray | None:
    """Label of every row, int8 (N,): as given, or made; None where none is wanted."""
    if config.split == "none":
        return None
    if config.split == "given" or (config.split == "auto" and log.split_N is not None):
        if log.split_N is None:
            raise DataError("split given: the source has no split; choose random, time, leave_one_out or none")
        if not (log.split_N == TRAIN).any():
            raise DataError(f"split {config.split}: no row that is left is a training row; choose another split")
        return log.split_N
    on_progress("splitting", 0, 0)
    scheme = "random" if config.split == "auto" else config.split
    return make_split(log.user_N, log.item_N, log.time_N, scheme, numpy_generator(config.split_seed, "split"))


def _items(
    raw: ImportSource, log: Log, config: ImportConfig, ledger: Ledger, on_progress: Progress
) -> tuple[pl.Series, pl.DataFrame]:
    """(ids of the items in row order, what is known of them): in the order of the source's list, then sorted."""
    import polars as pl

    keep = config.unused_items == "keep"
    used = log.item_ids.gather(np.unique(log.item_N)).alias("item")
    known = None if raw.items is None else raw.items(None if keep else used, partial(on_progress, "items"))
    listed = used.clear()
    if known is not None:
        listed = known["item"]
    elif raw.features and raw.features[0].keys is not None:
        listed = raw.features[0].keys.alias("item")
    if listed.dtype != used.dtype:
        listed, used = listed.cast(pl.String), used.cast(pl.String)
    there = listed.is_in(used.implode())
    ids = pl.concat([listed if keep else listed.filter(there), used.filter(~used.is_in(listed.implode()))])
    if unused := int((~there).sum()):
        ledger.notes.append(f"items without an interaction that is left: {unused:,}, {'kept' if keep else 'left out'}")
    if known is None:
        return ids, ids.to_frame()
    if missing := len(used) - int(there.sum()):
        ledger.notes.append(f"items that the table of items does not list: {missing:,}, kept with empty columns")
    return ids, _rows_of(known, "item", ids)


def _rows_of(known: pl.DataFrame, key: str, ids: pl.Series) -> pl.DataFrame:
    """The rows of ``known`` in the order of ``ids``, empty where it has none."""
    import polars as pl

    row = pl.Series(positions(ids, known[key]))
    return known.drop(key)[row.replace(-1, None)].insert_column(0, ids)


def _write_interactions(path: Path, log: Log, split_N: np.ndarray | None, on_progress: Progress) -> None:
    import polars as pl

    labels = pl.Series(list(SPLITS))

    def frames() -> Iterator[pl.DataFrame]:
        for start in range(0, len(log), ROWS):
            yield rows(slice(start, start + ROWS))
            on_progress("writing", min(start + ROWS, len(log)), len(log))

    def rows(part: slice) -> pl.DataFrame:
        columns = {"user": log.user_ids.gather(log.user_N[part]), "item": log.item_ids.gather(log.item_N[part])}
        if split_N is not None:
            columns["split"] = labels.gather(split_N[part])
        if log.time_N is not None:
            columns["time"] = log.times.decode(log.time_N[part])
        if log.rating_N is not None:
            columns["rating"] = pl.Series(log.rating_N[part])
        return pl.DataFrame(columns)

    write_frames(frames(), path, rows(slice(0)))


def _write_features(draft: Path, raw: ImportSource, ids: pl.Series, on_progress: Progress) -> list[Modality]:
    cards = []
    for features in raw.features:
        target = np.lib.format.open_memmap(
            draft / f"{features.modality}{FEATURE_END}", "w+", features.dtype, (len(ids), features.columns)
        )
        there_N = features.fill(ids, target, partial(on_progress, f"features {features.modality}"))
        target.flush()
        cards.append(
            Modality(
                modality=features.modality,
                columns=features.columns,
                dtype=str(features.dtype),
                missing=int((~there_N).sum()),
            )
        )
    return cards
