"""Import files of any known kind into a data folder: read, apply the rules, split, write."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from crossrec._version import __version__
from crossrec.data.importers.apply_rules import OnProgress, apply_rules, check_rules
from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.detect import IMPORTERS, collect_files, detect
from crossrec.data.importers.import_card import CARD, TEXT, ImportCard, ImportSteps, ModalitySummary, SourceFile
from crossrec.data.importers.import_source import ITEM_COLUMNS, ImportSource
from crossrec.data.importers.read_parts import read_parts
from crossrec.data.io.atomic import new_folder
from crossrec.data.io.blank import says_nothing
from crossrec.data.io.codes import positions
from crossrec.data.io.feature_card import FeatureCard, RowSource, write_card
from crossrec.data.io.ids import plain_ids
from crossrec.data.io.manifest import file_entry
from crossrec.data.io.npy import RowWriter
from crossrec.data.io.parse_log import TEST, TRAIN, VALID, InteractionLog
from crossrec.data.io.tables import write_frames
from crossrec.data.sources import FEATURE_END
from crossrec.data.splits import split_log
from crossrec.errors import ConfigError, DataError, setting, visible
from crossrec.lazy import polars as pl

SPLITS = {"train": TRAIN, "valid": VALID, "test": TEST}
WRITE_ROWS = 2**19  # interactions written at a time


def import_data(
    source: Path | str | Sequence[Path | str],
    out: Path | str,
    config: ImportConfig = ImportConfig(),  # noqa: B008
    *,
    overwrite: bool = False,
    on_progress: OnProgress = lambda step, done, total: None,
) -> ImportCard:
    """Import a folder, a file or several files into the data folder ``out`` and return its card.

    The folder appears when it is complete. ``overwrite`` replaces an existing folder only if an import made it and no
    file was added; it stays until the new one is complete. ``on_progress`` is called with the name of the step, the
    amount done and the total (0: unknown). Memory: about 40 bytes per interaction plus the distinct ids.

    Raises DataError, one line, if the source is unusable; ConfigError if ``out`` exists or a setting does not suit the
    source; RunError if the folder cannot be written.
    """
    check_rules(config)
    files = collect_files([source] if isinstance(source, Path | str) else list(source))
    _check_target(Path(out), [*files.paths, *([config.items] if config.items else [])], overwrite)
    kind = detect(files, config)
    import_source = IMPORTERS[kind](files, config)
    ignored = [path.name for path in files.paths if path not in import_source.used]
    return build_folder(import_source, out, config, kind=kind, ignored=ignored, on_progress=on_progress)


def build_folder(
    source: ImportSource,
    out: Path | str,
    config: ImportConfig,
    *,
    kind: str,
    ignored: Sequence[str] = (),
    on_progress: OnProgress = lambda step, done, total: None,
) -> ImportCard:
    """Import an opened source into ``out``, replacing it; ``kind`` and ``ignored`` are written into the card.

    Raises as :func:`import_data` does.
    """
    check_rules(config)
    _check_kind(config, kind, source)
    steps = ImportSteps()
    steps.notes += source.notes
    with new_folder(out) as draft:
        log = read_parts(source, config, steps, on_progress)
        apply_rules(log, config, steps, on_progress)
        split_N = log.split_N = _split(log, config, steps, on_progress)
        items = _order_items(source, log, config, steps, on_progress)
        _write_interactions(draft / "interactions.parquet", log, on_progress)
        items.write_parquet(draft / "items.parquet")
        if source.users is not None:
            user_ids = log.user_ids.gather(np.unique(log.user_N)).alias("user")
            _select_rows(source.users, "user", user_ids).write_parquet(draft / "users.parquet")
        features = _write_features(draft, source, items["item"], on_progress)
        card = ImportCard(
            name=visible(Path(out).absolute().name),
            kind=kind,
            source=[SourceFile(name=visible(path.name), bytes=path.stat().st_size) for path in source.used],
            ignored=list(map(visible, ignored)),
            columns=source.parts[0].columns,
            rules=config.model_dump(mode="json", exclude={"items"})
            | {"items": visible(config.items.name) if config.items else None, "duplicates": config.duplicates_rule},
            steps=steps.steps,
            splits={} if split_N is None else {name: int((split_N == label).sum()) for name, label in SPLITS.items()},
            items=items.height,
            item_columns={cells.name: _count_values(cells) for cells in items if cells.name != "item"},
            features=features,
            notes=list(map(visible, steps.notes)),
            files=sorted([*(path.name for path in draft.iterdir()), CARD, TEXT]),
            versions={
                "crossrec": __version__,
                "python": platform.python_version(),
                "polars": pl.__version__,
                "numpy": np.__version__,
            },
        )
        (draft / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (draft / TEXT).write_text(card.markdown(), encoding="utf-8")
    return card


def _check_kind(config: ImportConfig, kind: str, source: ImportSource) -> None:
    """Raise ConfigError for a setting that goes with plain tables or a table of items, where the source has none."""
    for name in ("separator", "quote"):
        if getattr(config, name) is not None and kind != "tables":
            raise ConfigError(f"{setting(name)}: goes with {setting('kind')} tables only; leave it out")
    for name in ("item_id_column", *(f"{name}_column" for name in ITEM_COLUMNS)):
        if getattr(config, name) and (source.items is None or kind == "amazon"):
            raise ConfigError(f"{setting(name)}: the source has no table of items with columns to name; leave it out")


def _count_values(cells: pl.Series) -> int:
    """The number of cells with a value; text such as ``nan`` and ``[]`` is none."""
    cells = cells.alias("cells")  # polars takes a name such as ^a.*$ for a pattern
    return int((~says_nothing(cells) if cells.dtype == pl.String else cells.is_not_null()).sum())


def _check_target(out: Path, sources: list[Path], overwrite: bool) -> None:
    """Raise ConfigError unless ``out`` can be created, or replaced without losing other files."""
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ConfigError(f"{setting('out')} {out}: is a file or a link; name a folder that is not there yet")
    if not out.exists():
        return
    if not overwrite:
        raise ConfigError(
            f"{setting('out')} {out}: is there already; name another folder, or replace it with {setting('overwrite')}"
        )
    if any(path.resolve().is_relative_to(out.resolve()) for path in sources):
        raise ConfigError(f"{setting('out')} {out}: holds the source, which would be lost; name another folder")
    try:
        card_files = ImportCard.read(out).files
    except DataError as error:
        raise ConfigError(
            f"{setting('out')} {out}: no import made this folder, so it is not replaced ({error})"
        ) from None
    added = [path.name for path in sorted(out.iterdir()) if path.name not in card_files]
    if added:
        raise ConfigError(
            f"{setting('out')} {out}: holds {', '.join(added[:5])}, which the import did not make; move it "
            "away, or name another folder"
        )


def _split(log: InteractionLog, config: ImportConfig, steps: ImportSteps, on_progress: OnProgress) -> np.ndarray | None:
    """Return the split of every row, int8 (N,), given or new; None for split none."""
    if config.split == "none":
        return None
    if config.split == "given" or (config.split == "auto" and log.split_N is not None):
        if log.split_N is None:
            raise DataError(
                f"{setting('split', 'given')}: the source has no split; choose random, time, leave_one_out, "
                "date or none"
            )
        if not (log.split_N == TRAIN).any():
            raise DataError(
                f"{setting('split', config.split)}: no row that is left is a training row; choose another split"
            )
        return log.split_N
    on_progress("splitting", 0, 0)
    return split_log(log, config, steps.notes.append)


def _order_items(
    source: ImportSource, log: InteractionLog, config: ImportConfig, steps: ImportSteps, on_progress: OnProgress
) -> pl.DataFrame:
    """Return the table of items in row order: items of the source's list in its order, then others sorted by id."""
    keep = config.unused_items == "keep"
    used = log.item_ids.gather(np.unique(log.item_N)).alias("item")
    table = None if source.items is None else source.items(None if keep else used, partial(on_progress, "items"))
    listed = used.clear()
    if table is not None:
        listed = table["item"]
    elif source.features and source.features[0].keys is not None:
        listed = source.features[0].keys.alias("item")
    if listed.dtype != used.dtype:
        listed, used = listed.cast(pl.String), used.cast(pl.String)
    is_used = listed.is_in(used.implode())
    if table is not None and not is_used.any():
        raise DataError(
            f"{source.items_path}: has none of the items of {source.parts[0].path.name}, such as '{used[0]}'; is it "
            "the right file and column?"
        )
    ids = pl.concat([listed if keep else listed.filter(is_used), used.filter(~used.is_in(listed.implode()))])
    if unused := int((~is_used).sum()):
        steps.notes.append(f"items without an interaction that is left: {unused:,}, {'kept' if keep else 'left out'}")
    if table is None:
        return ids.to_frame()
    if missing := len(used) - int(is_used.sum()):
        steps.notes.append(f"items that the table of items does not list: {missing:,}, kept with empty columns")
    return _select_rows(table, "item", ids)


def _select_rows(table: pl.DataFrame, key: str, ids: pl.Series) -> pl.DataFrame:
    """The rows of ``table`` in the order of ``ids``; nulls for ids it does not have."""
    row = pl.Series(positions(ids, table[key]))
    return table.drop(key)[row.set(row < 0, None)].insert_column(0, ids)


def _write_interactions(path: Path, log: InteractionLog, on_progress: OnProgress) -> None:
    labels = pl.Series(list(SPLITS))

    def frames() -> Iterator[pl.DataFrame]:
        for start in range(0, len(log), WRITE_ROWS):
            yield rows(slice(start, start + WRITE_ROWS))
            on_progress("writing", min(start + WRITE_ROWS, len(log)), len(log))

    def rows(part: slice) -> pl.DataFrame:
        columns = {"user": log.user_ids.gather(log.user_N[part]), "item": log.item_ids.gather(log.item_N[part])}
        if log.split_N is not None:
            columns["split"] = labels.gather(log.split_N[part])
        if log.time_N is not None:
            columns["time"] = log.times.decode(log.time_N[part])
        if log.rating_N is not None:
            columns["rating"] = pl.Series(log.rating_N[part])
        if log.weight_N is not None:
            columns["weight"] = pl.Series(log.weight_N[part])
        return pl.DataFrame(columns)

    write_frames(frames(), path, rows(slice(0)))


def _write_features(
    draft: Path, source: ImportSource, ids: pl.Series, on_progress: OnProgress
) -> list[ModalitySummary]:
    """Write the feature files with their cards; ``ids``: the items of ``items.parquet``."""
    summaries = []
    rows = RowSource.of([ids.name], plain_ids(ids, typed=True), pl.DataFrame())
    for features in source.features:
        path = draft / f"{features.modality}{FEATURE_END}"
        with path.open("wb") as file:
            target = RowWriter.create(file, (len(ids), features.columns), features.dtype)
            features.fill(ids, target, partial(on_progress, f"features {features.modality}"))
        missing = int((~target.has_values_N).sum())
        written = {
            "file": path.name,
            "modality": features.modality,
            "items": len(ids),
            "dimension": features.columns,
            "dtype": str(features.dtype),
            "counts": {"encoded": len(ids) - missing, "missing": missing},
            "rows": rows,
            "sha256": file_entry(path)["sha256"],
        }
        card = FeatureCard.parse(written if features.card is None else features.card.of_model() | written)
        write_card(path, card)
        summaries.append(
            ModalitySummary(modality=card.modality, columns=card.dimension, dtype=card.dtype, missing=missing)
        )
    return summaries
