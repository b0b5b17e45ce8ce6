"""Train on tables in memory: a data folder is written from them, and a run is trained on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crossrec.alignment import ALIGNMENTS
from crossrec.backbones import BACKBONES
from crossrec.config import Config, did_you_mean
from crossrec.data import DataConfig
from crossrec.data.io.atomic import new_folder
from crossrec.data.sources import FEATURE_END, name_problem
from crossrec.errors import ArgumentError, ConfigError, DataError
from crossrec.lazy import polars as pl
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run
from crossrec.training import TrainingConfig
from crossrec.training_state import Progress

DATA, RUN = "data", "run"
"""Names of the data set and the run in the folder of ``Recommender.fit``."""


def train(
    folder: Path,
    interactions: Any,
    items: Any | None,
    features: Mapping[str, Any] | None,
    backbone: str,
    alignment: str | None,
    settings: Mapping[str, Any],
    on_epoch: Callable[[Progress], None],
) -> None:
    """Write ``folder/data`` and train ``folder/run`` on it, as ``Recommender.fit`` says. Raises what that raises."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: not an empty folder; give a new one")
    config = run_config(backbone, alignment, {"data": str(folder / DATA), "duplicates": "drop", **settings})
    write_data(folder / DATA, as_frame(interactions, "interactions"), items, features)
    try:
        run(config, folder / RUN, on_epoch=on_epoch)
    except DataError as error:  # the caller knows tables, not the files that were made of them
        raise type(error)(str(error).replace(f"{folder / DATA}/", "")) from None


def run_config(backbone: str, alignment: str | None, settings: Mapping[str, Any]) -> RunConfig:
    """The configuration with the settings sorted into data, backbone, alignment and training by their names.

    Raises ConfigError for an unknown backbone, alignment or setting, and for a value out of range.
    """
    kinds: dict[str, type[Config] | None] = {
        "data": DataConfig,
        "backbone": BACKBONES[BACKBONES.check(str(backbone))].config_type,
        "alignment": ALIGNMENTS[ALIGNMENTS.check(str(alignment or "none"))],
        "training": TrainingConfig,
    }
    names = dict.fromkeys(RunConfig.model_fields.keys() - kinds, "run")
    names |= {name: part for part, kind in reversed(kinds.items()) if kind for name in kind.model_fields}
    values: dict[str, dict[str, Any]] = {part: {} for part in (*kinds, "run")}
    for name, value in settings.items():
        if name not in names:
            raise ConfigError(f"unknown setting '{name}'{did_you_mean(name, list(names))}")
        values[names[name]][name] = value
    of_run = values.pop("run")
    parsed = {part: None if (kind := kinds[part]) is None else kind.parse(values[part]) for part in values}
    return RunConfig(**parsed, **of_run)  # type: ignore[arg-type]


def as_frame(table: Any, name: str) -> pl.DataFrame:
    """A polars frame of a polars or pandas frame, or of a dict of columns. Raises ArgumentError for anything else."""
    if isinstance(table, pl.LazyFrame):
        return table.collect()
    if isinstance(table, pl.DataFrame):
        return table
    if type(table).__module__.split(".")[0] == "pandas" and hasattr(table, "columns"):
        if not table.columns.is_unique:
            raise ArgumentError(f"{name} has two columns of the same name: rename one")
        table = {str(column): _of_pandas(table[column]) for column in table.columns}
    if not isinstance(table, Mapping):
        raise ArgumentError(f"{name} must be a polars or pandas frame, and it is a {type(table).__name__}")
    columns = {}
    for column, values in table.items():
        try:
            columns[column] = pl.Series(column, values)
        except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
            reason = str(error).splitlines()[0]
            raise ArgumentError(f"{name}, column '{column}': values of different kinds ({reason})") from None
        if columns[column].dtype == pl.Object:
            kind = type(columns[column].drop_nulls()[0]).__name__
            raise ArgumentError(f"{name}, column '{column}': holds {kind}; make numbers, text or dates of it")
    try:
        return pl.DataFrame(columns)
    except pl.exceptions.PolarsError as error:
        raise ArgumentError(f"{name} cannot be read as a table: {str(error).splitlines()[0]}") from None


def _of_pandas(column: Any) -> Any:
    """The values of a pandas column, None where one is missing."""
    if column.dtype.kind in "iufb" and hasattr(column.dtype, "byteorder"):  # a type of numpy
        return column.to_numpy()
    return column.astype(object).where(column.notna(), None).tolist()


def write_data(
    folder: Path, interactions: pl.DataFrame, items: Any | None, features: Mapping[str, Any] | None = None
) -> None:
    """Write a data folder: ``interactions.parquet``, ``items.parquet`` and a feature file for each modality.

    Columns of ``items`` that hold lists of numbers become features under their names; ``features``: further ones, (I,
    D_m), in the order of the rows of ``items``. A missing list is a row of zeros. Raises ArgumentError for features
    without items, of other sizes or with names that cannot be used.
    """
    table = None if items is None else as_frame(items, "items")
    matrices = {} if table is None else _vector_columns(table)
    for name, values in (features or {}).items():
        if name in matrices:
            raise ArgumentError(f"feature '{name}' is also a column of items: leave one out")
        matrices[name] = np.asarray(values)
    for name, matrix in matrices.items():
        if problem := name_problem(name):
            raise ArgumentError(f"feature '{name}': {problem}; rename it")
        if table is None:
            raise ArgumentError(f"feature '{name}' needs items, a table with a row for each row of it")
        if matrix.ndim != 2 or len(matrix) != len(table):
            raise ArgumentError(
                f"feature '{name}' has shape {matrix.shape}, and items has {len(table)} rows: give a row for each item"
            )
    with new_folder(folder) as draft:
        interactions.write_parquet(draft / "interactions.parquet")
        if table is not None:
            table.drop([name for name in matrices if name in table.columns]).write_parquet(draft / "items.parquet")
        for name, matrix in matrices.items():
            np.save(draft / f"{name}{FEATURE_END}", matrix)


def _vector_columns(table: pl.DataFrame) -> dict[str, np.ndarray]:
    """Columns of lists of numbers as matrices; lists of other things are left in the table."""
    matrices = {}
    for name, dtype in table.schema.items():
        if not isinstance(dtype, pl.List | pl.Array) or not dtype.inner.is_numeric():
            continue
        column = table[name].cast(pl.List(pl.Float64))
        width = int(column.drop_nulls().list.len().to_numpy().max(initial=0))
        missing = column.is_null()
        if (odd := (~missing & (column.list.len() != width)).arg_true()).len():
            raise ArgumentError(
                f"items, row {odd[0]}: '{name}' has {len(column[int(odd[0])])} numbers and other rows {width}"
            )
        matrix = np.zeros((len(table), width))
        if (present := column.filter(~missing)).len():
            matrix[~missing.to_numpy()] = present.explode().to_numpy().reshape(-1, width)
        matrices[name] = matrix
    return matrices
