"""Load the data set that a :class:`DataConfig` names, or list what is wrong with it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from crossrec.data.config import DataConfig, Replacement
from crossrec.data.corrupt import add_false_clicks, replace_content, replace_features
from crossrec.data.dataset import Dataset, Interactions
from crossrec.data.findings import Finding, Findings
from crossrec.data.holdout_items import hold_out_items
from crossrec.data.io.feature_card import FeatureCard, card_path, read_card
from crossrec.data.io.features import Scaler, choose_modalities, missing_rows, open_features, too_large
from crossrec.data.io.header import types_in_header
from crossrec.data.io.parse_log import TEST, TRAIN, VALID, InteractionLog, read_log
from crossrec.data.io.tables import Table, open_table
from crossrec.data.row_numbers import assign_rows
from crossrec.data.sources import FEATURE_END, Source, existing, like_features, locate
from crossrec.data.splits import check_split, split_log
from crossrec.data.synthetic import RECIPES, generate
from crossrec.errors import DataError, setting
from crossrec.lazy import polars as pl

logger = logging.getLogger(__name__)
GENERATED_MODALITIES = ("image", "text")
"""Modalities of the built-in sets."""


def load(config: DataConfig) -> Dataset:
    """Read, split and scale the data set that ``config`` names; what is odd about its ids is logged.

    Raises DataError, one line, for the first problem that :func:`validate` reports as an error.
    """
    findings = Findings()
    dataset = _assemble(config, findings)
    errors = findings.errors
    if errors or dataset is None:
        more = f" [and {len(errors) - 1} more; 'crossrec data validate' lists them]" if len(errors) > 1 else ""
        raise DataError(f"{errors[0].message}{more}")
    for finding in findings:
        if finding.is_logged:
            logger.warning("%s", finding.message)
    return dataset


def validate(config: DataConfig) -> list[Finding]:
    """Return all errors and warnings about the data set that ``config`` names, [] if there are none."""
    findings = Findings()
    _assemble(config, findings)
    return list(findings)


def modalities_of(config: DataConfig) -> list[str]:
    """Return the modalities of the data set that ``config`` names, those to use, without reading it.

    Raises DataError as :func:`load` does, where there is no such data set or modality.
    """
    if config.data in RECIPES:
        return choose_modalities(GENERATED_MODALITIES, config.modalities, f"{setting('data')} '{config.data}'")
    source = locate(config.data)
    return choose_modalities(list(source.features), config.modalities, str(source.table.parent))


def data_folder(config: DataConfig) -> Path | None:
    """Return the folder that is the data set; None for a built-in set or a single file."""
    if config.data in RECIPES:
        return None
    path = existing(config.data)
    return path.resolve() if path.is_dir() else None


def _assemble(config: DataConfig, findings: Findings) -> Dataset | None:
    """Build the data set and add its problems to ``findings``; None if they leave no data set."""
    dataset: Dataset | None = None
    with findings.attempt():
        check_split(config)
        dataset = _generate(config, findings) if config.data in RECIPES else _read(config, findings)
    return dataset


def _generate(config: DataConfig, findings: Findings) -> Dataset | None:
    """Generate a built-in set, which has neither columns nor a split or times."""
    recipe = RECIPES[config.data]
    for name in ("user_column", "item_column", "split_column", "time_column", "time_format", "weight_column"):
        if getattr(config, name) is not None:
            findings.error(
                f"{setting('data')} '{config.data}': a built-in set has no columns; leave {setting(name)} out"
            )
    if config.weighted:
        findings.error(
            f"{setting('data')} '{config.data}': a built-in set has no weights; leave {setting('weighted')} out"
        )
    if config.split in ("given", "time", "date"):
        findings.error(
            f"{setting('data')} '{config.data}': has no column for {setting('split', config.split)}; "
            f"use {setting('split', 'random')} or leave_one_out"
        )
    modalities = _modalities(config, GENERATED_MODALITIES, f"{setting('data')} '{config.data}'")
    if findings.errors:
        return None
    generated = generate(recipe)
    ids = (pl.Series(np.arange(recipe.users)), pl.Series(np.arange(recipe.items)))
    log = InteractionLog(*ids, generated.user_N, generated.item_N)
    features = {modality: generated.features[modality] for modality in modalities}
    return _finish(config, config.data, log, features, findings)


def _read(config: DataConfig, findings: Findings) -> Dataset | None:
    """Read a data set from files. Raises DataError for a problem that hides all others."""
    source = locate(config.data)
    modalities: list[str] = []
    with findings.attempt():
        modalities = _modalities(config, list(source.features), str(source.table.parent))
    features: dict[str, np.ndarray] = {}
    cards: dict[str, FeatureCard] = {}
    for modality in modalities:
        with findings.attempt():
            features[modality] = open_features(source.features[modality])
            if (card := read_card(source.features[modality])) is not None:
                cards[modality] = card
    if config.modalities is None:
        _report_missing(source, findings)
    table = open_table(source.table)
    if problem := types_in_header(table.path, table.columns):
        raise DataError(f"{table.path}, line 1: {problem}")
    if table.bom:
        findings.warn(f"{table.path}, line 1: starts with a byte-order mark (ignored); save as UTF-8 without BOM")
    log = read_log(table, config, findings, row_indices=source.row_indices)
    if log is None:
        return None
    repeated_N = _repeated(log, table, config, findings)
    with findings.attempt():
        row_counts = {source.features[modality]: len(matrix) for modality, matrix in features.items()}
        assign_rows(source, log, table, config.item_column, row_counts, findings)
    if log.split_N is not None and not (log.split_N == TRAIN).any():
        findings.error(f"{table.path}: no row has {log.columns['split']} train; label rows 0 or train")
    if findings.errors:
        return None
    log.filter(~repeated_N)
    dataset = _finish(config, source.name, log, features, findings, int(repeated_N.sum()))
    _warn(dataset, source, features, findings)
    return replace(dataset, feature_cards=cards)


def _report_missing(source: Source, findings: Findings) -> None:
    """Add an error for each feature file that is missing though its card is there, and tell files of another form."""
    for path in like_features(source):
        findings.tell(
            f"{path}: not read; features are files NAME{FEATURE_END}, written with numpy.save; write it so or move it"
        )
    for card in sorted(source.table.parent.glob(f"*{card_path(Path(FEATURE_END))}")):
        path = card.with_suffix(".npy")
        if not path.exists():
            findings.error(f"{path}: missing, but its card {card.name} is there; put the file back or delete the card")


def _finish(
    config: DataConfig,
    name: str,
    log: InteractionLog,
    features: dict[str, np.ndarray],
    findings: Findings,
    dropped: int = 0,
) -> Dataset:
    """Split, hold out items, corrupt and scale as ``config`` says. Raises DataError as these steps do."""
    user_N, item_N = (np.ascontiguousarray(row_N, dtype=np.int64) for row_N in (log.user_N, log.item_N))
    split_N, item_ids = log.split_N, log.item_ids
    if split_N is None:
        split_N = split_log(log, config, findings.tell)
    everything = Interactions(user_N, item_N, log.weight_N)
    splits = {label: everything.select(split_N == label) for label in (TRAIN, VALID, TEST)}
    cold = None
    if config.cold_items:
        item_ids, splits, features, cold = hold_out_items(
            item_ids, splits, features, config.cold_items, config.cold_seed or 0
        )
    seed = config.corruption_seed or 0
    if config.missing_content:
        features = replace_features(features, config.missing_content, seed)
    if config.false_clicks:
        held_out = (splits[VALID], splits[TEST])
        splits[TRAIN] = add_false_clicks(splits[TRAIN], held_out, len(item_ids), config.false_clicks, seed)
    scalers = {modality: Scaler.fit(matrix, config.feature_scaling) for modality, matrix in features.items()}

    def scaled(modalities: Sequence[str], content: Replacement | None) -> dict[str, np.ndarray]:
        seen = {modality: features[modality] for modality in modalities}
        seen = seen if content is None else replace_content(seen, content, seed)
        return {modality: scalers[modality](matrix) for modality, matrix in seen.items()}

    available = list(features)
    of_backbone = choose_modalities(available, config.modalities, name)
    alignment_features = None
    if config.alignment_is_apart:
        wanted = config.modalities if config.alignment_modalities is None else config.alignment_modalities
        content = None if config.alignment_content == "original" else config.alignment_content
        alignment_features = scaled(choose_modalities(available, wanted, name), content)
    return Dataset(
        name=name,
        num_users=len(log.user_ids),
        num_items=len(item_ids),
        train=splits[TRAIN],
        valid=splits[VALID],
        test=splits[TEST],
        features=scaled(of_backbone, config.content),
        user_ids=log.user_ids.alias("id"),
        item_ids=item_ids.alias("id"),
        dropped_duplicates=dropped,
        scalers=scalers,
        cold=cold,
        alignment_features=alignment_features,
        mask_validation=bool(config.mask_validation),
    )


def _modalities(config: DataConfig, available: Sequence[str], where: str) -> list[str]:
    """Modalities to read, sorted: those of the backbone and of the alignment. Raises DataError for a missing one."""
    chosen = choose_modalities(available, config.modalities, where)
    return sorted({*chosen, *choose_modalities(available, config.alignment_modalities or (), where)})


def _repeated(log: InteractionLog, table: Table, config: DataConfig, findings: Findings) -> np.ndarray:
    """Which rows repeat the (user, item) pair of an earlier row, bool (N,)."""
    pair_N = log.user_N * np.int64(len(log.item_ids)) + log.item_N
    if pl.Series(pair_N).n_unique() == len(pair_N):
        return np.zeros(len(pair_N), dtype=bool)
    _, first, inverse = np.unique(pair_N, return_index=True, return_inverse=True)
    repeated_N: np.ndarray = first[inverse] != np.arange(len(pair_N))
    count = int(repeated_N.sum())
    if count:
        assert log.row_N is not None
        row = int(np.argmax(repeated_N))
        user, item = log.user_ids[int(log.user_N[row])], log.item_ids[int(log.item_N[row])]
        here, there = (table.location(int(log.row_N[index])) for index in (row, int(first[inverse][row])))
        message = (
            f"{table.path}, {here}: {log.columns['user']} {user}, {log.columns['item']} {item} is already on {there}"
        )
        total = f" ({count} repeated rows in all)" if count > 1 else ""
        if config.duplicates == "error":
            findings.error(f"{message}{total}; remove it, or set duplicates to drop")
        else:
            findings.warn(f"{message}{total}; dropped")
    return repeated_N


def _warn(dataset: Dataset, source: Source, features: dict[str, np.ndarray], findings: Findings) -> None:
    """Add the warnings about a usable data set."""
    number_anew = f"; 'crossrec data import {source.table} --out NEW' numbers those that occur"
    trained_U = np.bincount(dataset.train.user_N, minlength=dataset.num_users) > 0
    if count := int((~trained_U).sum()):
        names = ", ".join(str(dataset.user_ids[int(row)]) for row in np.flatnonzero(~trained_U)[:5])
        absent = int(dataset.absent_U.sum())
        report = findings.tell if absent else findings.warn
        report(
            f"{source.table}: {count} users have no training row ({names}{', …' if count > 5 else ''}); "
            f"they are left out of evaluation; give each a training row to count them"
            + (
                f"; {absent:,} of {dataset.num_users:,} have no row at all and get no lists{number_anew}"
                if absent
                else ""
            )
        )
    if absent := int(dataset.absent_I.sum()):
        first = dataset.item_ids[int(np.argmax(dataset.absent_I))]
        findings.tell(
            f"{source.table}: {absent:,} of {dataset.num_items:,} items have no row and no feature (the first is "
            f"{first}); they are never recommended{number_anew if source.row_indices and not dataset.features else ''}"
        )
    for split, part in (("validation", dataset.valid), ("test", dataset.test)):
        if not len(part):
            findings.warn(
                f"{source.table}: no {split} rows; nothing to measure on; label rows, or give users three or more"
            )
    last = max(int(part.item_N.max(initial=-1)) for part in (dataset.train, dataset.valid, dataset.test))
    if source.items is None and last < dataset.num_items - 1:
        findings.warn(
            f"{source.table}: the highest item is {last}, but the features have {dataset.num_items} rows; the "
            f"further ones stay as items without interactions; delete the rows if they are none"
        )
    for modality, matrix in dataset.all_features.items():
        if problem := too_large(modality, matrix):
            findings.warn(f"{source.features[modality]}: {problem}")
    for modality, matrix in features.items():
        if not dataset.scalers[modality].factor_D.any() and matrix.any():
            findings.warn(
                f"{source.features[modality]}: all items have the same features, which say nothing about them"
            )
        missing_I = missing_rows(matrix)
        if count := int(missing_I.sum()):
            first = int(np.argmax(missing_I))
            findings.warn(
                f"{source.features[modality]}: {count} of {len(matrix)} items have no feature (all-zero rows, first is "
                f"row {first} from 0, item {dataset.item_ids[first]}); add the features if you have them"
            )
