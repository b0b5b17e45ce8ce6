"""Apply the rules of an import to a log, in their order, and record what each leaves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crossrec.config import did_you_mean
from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.import_card import ImportSteps
from crossrec.data.importers.rules import busy_rows, decay, k_core, merge_repeated
from crossrec.data.io.codes import code_counts
from crossrec.data.io.parse_log import InteractionLog
from crossrec.data.splits import check_split
from crossrec.errors import ConfigError, DataError, setting

OnProgress = Callable[[str, int, int], None]
"""Called with (name of the step, amount done, total amount or 0 if unknown)."""

NOTHING_LEFT = 1e-9
"""A weight below this share of the largest one is what rounding leaves of zero."""


def check_rules(config: ImportConfig) -> None:
    """Raise ConfigError for settings that do not go together."""
    check_split(config)
    if config.event_column is None:
        for name in ("events", "event_weights"):
            if getattr(config, name) is not None:
                raise ConfigError(
                    f"{setting(name)}: says nothing without the column of events; name it with "
                    f"{setting('event_column')}"
                )
    elif config.events is not None and config.event_weights is not None:
        for event in config.weight_of_event.keys() - {*config.events}:
            raise ConfigError(
                f"{setting('event_weights')}: '{event}' is none of the events ({', '.join(config.events)}); add it"
            )


def apply_rules(log: InteractionLog, config: ImportConfig, steps: ImportSteps, on_progress: OnProgress) -> None:
    """Apply the rules of ``config`` after the time window. Raises DataError naming a rule that leaves no row."""
    keep_events(log, config, steps)
    _keep_ratings(log, config, steps)
    _leave_out_busy_users(log, config, steps)
    _weigh(log, config)
    on_progress("looking for duplicates", 0, 0)
    _merge(log, config, steps)
    _keep_core(log, config, steps, on_progress)


def keep_events(log: InteractionLog, config: ImportConfig, steps: ImportSteps) -> None:
    """Keep the events that count, and weigh each by its type."""
    if log.event_N is None:
        return
    names = log.event_names
    row_count_E = np.bincount(log.event_N, minlength=len(names))
    weights = config.weight_of_event
    wanted = config.events if config.events is not None else list(weights) or names
    for name in wanted:
        if name not in names and "did you mean" in (hint := did_you_mean(name, names)):
            raise DataError(f"{setting('events')}: no '{name}' in column '{config.event_column}'{hint}")
        if name not in names:
            steps.notes.append(f"{setting('events')}: none is '{name}'")
    counts_E = np.isin(names, wanted)
    if not counts_E.any():
        raise DataError(
            f"{setting('events', ', '.join(wanted))}: column '{config.event_column}' has none; it has {_some(names)}"
        )
    if config.event_weights is not None:
        event_weight_E = np.array([weights.get(name, 1.0) for name in names])
        _multiply(log, event_weight_E[log.event_N])
    rows = [f"{name} {count:,}" for name, count in zip(names, row_count_E, strict=True)]
    if config.event_weights is not None:
        rows = [f"{row} × {weights.get(name, 1.0):g}" for row, name in zip(rows, names, strict=True)]
    left_out = [f"{names[code]} {row_count_E[code]:,}" for code in np.flatnonzero(~counts_E)]
    rule = ", ".join(rows[code] for code in np.flatnonzero(counts_E))
    log.filter(counts_E[log.event_N])
    log.event_N = None
    steps.add("events", rule + (f"; left out: {_some(left_out)}" if left_out else ""), *log.sizes())


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def _keep_ratings(log: InteractionLog, config: ImportConfig, steps: ImportSteps) -> None:
    if config.min_rating is None:
        return
    assert log.rating_N is not None
    keep_N = log.rating_N >= config.min_rating
    if not keep_N.any():
        raise DataError(
            f"{setting('min_rating', f'{config.min_rating:g}')} leaves none of {len(log):,} rows; ratings run from "
            f"{log.rating_N.min():g} to {log.rating_N.max():g}; lower it"
        )
    log.filter(keep_N)
    steps.add("rating", f"at least {config.min_rating:g}", *log.sizes())


def _leave_out_busy_users(log: InteractionLog, config: ImportConfig, steps: ImportSteps) -> None:
    """Drop users with too many rows, or their rows but the latest."""
    most = config.max_user_interactions
    if most is None:
        return
    row_count_U = code_counts(log.user_N)
    busy_U, busiest = row_count_U > most, int(row_count_U.argmax())
    rule = f"no user has more than {most:,} rows"
    if count := int(busy_U.sum()):
        what = "dropped" if config.busy_users == "drop" else f"cut to the latest {most:,}"
        log.filter(~busy_rows(log, busy_U, keep_latest=0 if config.busy_users == "drop" else most))
        rule = (
            f"{count:,} {'user' if count == 1 else 'users'} with more than {most:,} rows {what}; the busiest, "
            f"'{log.user_ids[busiest]}', had {row_count_U[busiest]:,}"
        )
    if not len(log):
        raise DataError(f"{setting('max_user_interactions', f'{most:,}')} leaves no row: every user has more; raise it")
    steps.add("busy users", rule, *log.sizes())


def _multiply(log: InteractionLog, factor_N: np.ndarray) -> None:
    log.weight_N = factor_N if log.weight_N is None else log.weight_N * factor_N


def _weigh(log: InteractionLog, config: ImportConfig) -> None:
    """Give every row a weight if the rules ask for weights, and let it fall with age."""
    if config.half_life is not None:
        _multiply(log, decay(log, config.half_life))
    if config.has_weights and log.weight_N is None:
        log.weight_N = np.ones(len(log))


def _merge(log: InteractionLog, config: ImportConfig, steps: ImportSteps) -> None:
    """Leave one row of each repeated pair, and no pair without a weight above zero."""
    how = config.duplicates_rule
    if how == "highest" and log.rating_N is None and log.weight_N is None:
        raise ConfigError(
            f"{setting('duplicates', 'highest')}: the rows have neither ratings nor weights; choose first or last"
        )
    rows = len(log)
    log.filter(merge_repeated(log, how))
    if len(log) < rows:
        steps.add("duplicates", "weights added" if how == "sum" else f"{how} kept", *log.sizes())
    if log.weight_N is None:
        return
    keep_N = log.weight_N > (NOTHING_LEFT * max(log.weight_N.max(), 0) if config.half_life else 0)
    if not keep_N.any():
        raise DataError("no (user, item) pair has a weight above zero; check the weights of events and rows")
    if not keep_N.all():
        log.filter(keep_N)
        steps.add("taken back", "pairs with a weight of zero or less dropped", *log.sizes())
    steps.notes.append(
        f"weights run from {log.weight_N.min():.3g} to {log.weight_N.max():.3g}, on average {log.weight_N.mean():.3g}; "
        "training uses them if it is asked to (--weighted)"
    )


def _keep_core(log: InteractionLog, config: ImportConfig, steps: ImportSteps, on_progress: OnProgress) -> None:
    min_counts = config.min_user_interactions, config.min_item_interactions
    if max(min_counts) <= 1:
        return
    keep_N = np.ones(len(log), dtype=bool)
    rounds = k_core(log.user_N, log.item_N, min_counts, keep_N, lambda n: on_progress("k-core, round by round", n, 0))
    rule = f"{min_counts[0]} a user, {min_counts[1]} an item"
    if not keep_N.any():
        _, users, items = log.sizes()
        raise DataError(
            f"{setting('min_user_interactions', min_counts[0])} and "
            f"{setting('min_item_interactions', min_counts[1])} (k-core) leave none "
            f"of {len(log):,} rows of {users:,} users and {items:,} items (after {rounds} rounds); lower them"
        )
    log.filter(keep_N)
    steps.add("k-core", f"{rule}; {rounds} rounds", *log.sizes())
