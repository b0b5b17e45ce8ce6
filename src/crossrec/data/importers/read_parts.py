"""Read the files of a log block by block into arrays of numbers; unusable rows raise an error or are counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from crossrec.data.importers.apply_rules import OnProgress
from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.import_card import ImportSteps
from crossrec.data.importers.import_source import ImportSource, LogPart
from crossrec.data.importers.rules import TimeWindow
from crossrec.data.io.codes import IdEncoder, code_counts
from crossrec.data.io.features import no_feature_row
from crossrec.data.io.ids import WHOLE, check_ids, parse_ids
from crossrec.data.io.numbers import NumberReader
from crossrec.data.io.parse_log import LABELS, NO_ROWS, InteractionLog, LogRows
from crossrec.data.io.tables import Block
from crossrec.data.io.times import TimeEncoder
from crossrec.errors import DataError, setting
from crossrec.lazy import polars as pl

OPTIONAL = {"time": "times", "rating": "ratings"}
"""Columns that an import can do without."""
DTYPES = {"rating": np.float64, "weight": np.float64, "split": np.int8}
UNUSABLE = "unusable rows"
"""The step of rows that are dropped and counted."""
MAX_EVENTS = 1000
"""A column with more types of events holds something else."""


def read_parts(
    source: ImportSource, config: ImportConfig, steps: ImportSteps, on_progress: OnProgress
) -> InteractionLog:
    """Read all parts of a source, drop rows outside the time window and record both in ``steps``.

    Raises DataError naming file, line and column of an unusable cell (``bad_rows="drop"`` counts such rows instead), or
    if no row is left; ConfigError if the time window does not suit the times.
    """
    reader = _PartReader(source, config)
    total, bytes_before = sum(part.path.stat().st_size for part in source.parts), 0
    for part in source.parts:
        for block in part.blocks():
            reader.add(part, block)
            on_progress("reading", bytes_before + block.bytes_read, total)
        bytes_before += part.path.stat().st_size
    return reader.finish(steps)


class _PartReader:
    """Collect the columns of a log. ``num_rows``: rows in the files. ``num_usable``: rows without an unusable cell.
    ``bad_counts``: reason → number of unusable rows."""

    def __init__(self, source: ImportSource, config: ImportConfig) -> None:
        self.source, self.config = source, config
        self.ids = {"user": IdEncoder(), "item": IdEncoder()}
        self.times = TimeEncoder(config.time_format, finds_format=True)
        self.numbers = NumberReader(config.decimal)
        self.event_codes: dict[str, int] = {}
        self.window = TimeWindow(config, self.times)
        self.chunks: dict[str, list[np.ndarray]] = {}
        self.num_rows = self.num_usable = 0
        self.bad_counts: Counter[str] = Counter()

    def add(self, part: LogPart, block: Block) -> None:
        """Check and encode the rows of a block; keep those inside the time window."""
        rows = LogRows.of(part.path, part.columns, part.typed, block)
        self.num_rows += len(rows) + block.malformed
        if block.malformed:
            self.bad_counts["line of a wrong form"] += block.malformed
        values: dict[str, pl.Series] = {}
        usable_N = np.ones(len(rows), dtype=bool)
        for role, column in part.columns.items():
            values[role], bad, reason = rows.parse(role, self.times, self.numbers)
            if bad.any() and self.config.bad_rows == "error":
                way_out = (
                    f", or leave {OPTIONAL[role]} out with an empty {setting(f'{role}_column')}"
                    if role in OPTIONAL
                    else ""
                )
                raise rows.error(role, bad, f"{reason}{way_out} (or drop such rows: {setting('bad_rows', 'drop')})")
            bad_N = bad.to_numpy()
            if count := int((bad_N & usable_N).sum()):
                self.bad_counts[f"{column} {'is empty' if role in self.ids else 'cannot be read'}"] += count
                usable_N &= ~bad_N
        if not usable_N.all():
            rows = rows.filter(usable_N)
            values = {role: column.filter(usable_N) for role, column in values.items()}
        self.num_usable += len(rows)
        if self.source.feature_rows is not None:
            _check_feature_rows(rows, values["item"], *self.source.feature_rows)
        columns = {role: self._encode_ids(rows.path, values[role]) for role in self.ids}
        if "event" in values:
            columns["event"] = self._encode_events(rows.path, values["event"])
        for role in ("time", "rating", "weight", "split"):
            if role in values:
                columns[role] = values[role].to_numpy().astype(DTYPES.get(role), copy=False)
        if part.split is not None:
            columns["split"] = np.full(len(rows), LABELS[part.split], dtype=np.int8)
        keep_N = self.window.mask(columns.get("time"))
        for role, array in columns.items():
            self.chunks.setdefault(role, []).append(array if keep_N is None else array[keep_N])

    def finish(self, steps: ImportSteps) -> InteractionLog:
        """Concatenate the columns and sort the ids."""
        path = self.source.parts[0].path
        if not self.num_rows:
            raise DataError(f"{path}: {NO_ROWS}")
        self.times.seen.check()
        reasons = ", ".join(f"{count:,} × {reason}" for reason, count in self.bad_counts.items())
        if not self.num_usable:
            raise DataError(
                f"{path}: {setting('bad_rows', 'drop')} leaves none of {self.num_rows:,} rows ({reasons}); "
                "mend the file"
            )
        columns = {role: np.concatenate(self.chunks.pop(role)) for role in list(self.chunks)}
        ids: dict[str, pl.Series] = {}
        for role in list(self.ids):
            ids[role], position = self.ids.pop(role).sorted_ids(typed=self.source.parts[0].typed)
            columns[role] = position[columns[role]]
            self._check_ids(role, ids[role], columns[role], steps)
        users, items = len(ids["user"]), len(ids["item"])
        steps.add("read", "", self.num_rows, users, items)
        if self.num_rows > self.num_usable:
            steps.add(UNUSABLE, reasons, self.num_usable, users, items)
        if self.window.rule and not len(columns["user"]):
            raise DataError(f"{self.window.rule} leaves none of {self.num_usable:,} rows; {self.window.range_text()}")
        log = InteractionLog(
            ids["user"],
            ids["item"],
            columns["user"],
            columns["item"],
            columns.get("time"),
            columns.get("rating"),
            columns.get("split"),
            self.times,
            weight_N=columns.get("weight"),
            event_N=columns.get("event"),
            event_names=list(self.event_codes),
        )
        steps.notes += self._formats_found()
        if doubt := self.times.seen.doubt():
            steps.notes.append(doubt)
        if self.window.rule:
            steps.add("time window", self.window.rule, *log.sizes())
            if len(log) == self.num_usable:
                steps.notes.append(f"{self.window.rule} leaves out no row: {self.window.range_text()}")
            if self.times.is_local:
                steps.notes.append("the times have no time zone: they are read as UTC")
        return log

    def _formats_found(self) -> list[str]:
        """The forms of times and numbers that the settings leave open and the cells have shown."""
        notes = []
        if self.times.time_format != self.config.time_format:
            notes.append(f"times: in the form {self.times.time_format}, as days above 12 show")
        if self.numbers.decimal != self.config.decimal:
            sign = {",": "comma", ".": "point"}[str(self.numbers.decimal)]
            notes.append(f"numbers: with a decimal {sign}, as the cells show")
        return notes

    def _encode_events(self, path: Path, events: pl.Series) -> np.ndarray:
        for name in events.unique(maintain_order=True):
            self.event_codes.setdefault(name, len(self.event_codes))
        if len(self.event_codes) > MAX_EVENTS:
            raise DataError(
                f"{path}: column '{self.config.event_column}' has more than {MAX_EVENTS:,} types of events; name "
                "another"
            )
        codes = self.event_codes
        return events.replace_strict(list(codes), list(codes.values()), return_dtype=pl.Int32).to_numpy()

    def _encode_ids(self, path: Path, ids: pl.Series) -> np.ndarray:
        try:
            return self.ids[ids.name].encode(ids)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None

    def _check_ids(self, role: str, ids: pl.Series, code_N: np.ndarray, steps: ImportSteps) -> None:
        """Check the distinct ids of a role; see ``ids.check_ids``. Only for messages, files are read again."""

        def locate(code: int) -> str:
            for part in self.source.parts:
                for block in part.blocks():
                    cells = parse_ids(block.frame[role], lambda reason, _: DataError(reason)).cast(pl.String)
                    if (is_id := cells == str(ids[code])).any():
                        return f"{part.path}, {block.location(int(is_id.arg_max() or 0))}"
            raise RuntimeError(f"{role} {ids[code]!r} is nowhere")

        part = self.source.parts[0]
        check_ids(ids, part.columns[role], part.path, locate, steps.notes.append, code_counts(code_N))


def _check_feature_rows(rows: LogRows, ids: pl.Series, path: Path, count: int) -> None:
    """Raise DataError for an item that is none of the ``count`` row numbers of the features in ``path``."""
    number = ids.cast(pl.Int64, strict=False)
    if ids.dtype == pl.String:
        number = pl.select(pl.when(ids.str.contains(WHOLE)).then(number)).to_series()
    bad = (number.is_null() | (number < 0) | (number >= count)).fill_null(True)
    if bad.any():
        raise rows.error("item", bad, no_feature_row(path, count))
