"""``crossrec recommend``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from crossrec.cluster import ClusterConfig
from crossrec.commands.item_lists import MAX_PRINTED, deliver, deliver_blocks, read_ids
from crossrec.commands.whole_number import WholeNumber
from crossrec.console import say
from crossrec.data.io.tables import check_ending
from crossrec.errors import ConfigError
from crossrec.recommend import FoldInMethod, LogConfig, Recommender, bulk_lists
from crossrec.recommend.id_map import Unknown


def recommend(
    run: Path,
    /,
    *,
    k: WholeNumber = 10,
    users: list[str] | None = None,
    history: list[str] | None = None,
    histories: Path | None = None,
    fallback: Literal["popular"] | None = None,
    popular_days: WholeNumber | None = None,
    popular_log: Path | None = None,
    fold_in: FoldInMethod = "ridge",
    seen: bool = False,
    allow: list[str] | None = None,
    deny: list[str] | None = None,
    items: Path | None = None,
    category: list[str] | None = None,
    where: str | None = None,
    unknown: Unknown = "ignore",
    diversity: float = 0.0,
    max_per_category: WholeNumber | None = None,
    out: Path | None = None,
    columns: Annotated[LogConfig, Parameter(name="*")] = LogConfig(),  # noqa: B008
    cluster: Annotated[ClusterConfig, Parameter(name="*")] = ClusterConfig(),  # noqa: B008
) -> int:
    """Recommend items to users of a trained run, to a new user with a history, or to everybody in a log.

    Ids are the original ones. Instead of several ids, a flag takes one file: a table with a column of users or items,
    or a .txt with one id a line.

    Parameters
    ----------
    run
        Folder of a finished run.
    k
        Items per list.
    users
        Users to recommend to; all users by default.
    history
        Items of a user who was not in training, instead of --users.
    histories
        Log of anybody's items, a table or folder as for data import. People who were in training get the list of their
        trained vector, all others one by their history.
    fallback
        popular: people of whom neither the run nor the histories know an item get the most popular items.
    popular_days
        Days of the log that count for the fallback, back from its latest row; by default all interactions of the run.
    popular_log
        Log to count in; by default that of --histories if it has times, else the data set of the run.
    fold_in
        How a history becomes a user vector.
    seen
        Also recommend items that a user has, in training, validation or test (or in the history).
    allow
        Only these items.
    deny
        Not these items.
    items
        Table of items, for --category and --where.
    category
        Only items of these categories, by its column category.
    where
        Only items for which this SQL condition on its columns holds, such as 'stock > 0 and price < 50'.
    unknown
        Items of --history, --allow or --deny that the run does not have: ignore (told with their number) or error.
    diversity
        0 to 1: how much unlikeness to the items before counts beside the score when each place is filled.
    max_per_category
        Most items of one category in a list, by the column category of --items.
    out
        File to write: .parquet, .csv or .jsonl; printed by default. With --cluster a folder, with a file for each block
        of users; the same command goes on where it was stopped.
    """
    if history is not None and (users is not None or histories is not None):
        raise ConfigError(f"--{'users' if users else 'histories'} and --history: give one of them")
    for flag, needed, value in (
        ("--popular-days", "--fallback popular", popular_days if fallback is None else None),
        ("--popular-log", "--popular-days", popular_log if popular_days is None else None),
    ):
        if value is not None:
            raise ConfigError(f"{flag} {value}: counts for {needed} only; give {needed} too, or leave it out")
    on_cluster = cluster.checked()
    if on_cluster is not None:
        if out is None or history is not None or histories is not None or fallback is not None:
            raise ConfigError(
                "--cluster makes lists of trained users: give --out FOLDER, and no --history, --histories or --fallback"
            )
        if out.suffix:
            raise ConfigError(
                f"--out {out}: with --cluster it is a folder of Parquet files; give a name without an ending"
            )
    elif out is not None:
        check_ending(out)
    recommender = Recommender.open(run, items)
    options: dict[str, Any] = {
        "exclude_seen": not seen,
        "allow": None if allow is None else read_ids(allow, recommender.items, "--allow", unknown),
        "deny": None if deny is None else read_ids(deny, recommender.items, "--deny", unknown, needed=False),
        "category": category,
        "where": where,
        "diversity": diversity,
        "max_per_category": max_per_category,
    }
    if on_cluster is not None and out is not None:
        user_ids = None if users is None else read_ids(users, recommender.users, "--users")
        return deliver_blocks(recommender, k, out, on_cluster, user_ids, options)
    if history is not None:
        history_ids = read_ids(history, recommender.items, "--history", unknown)
        lists = recommender.for_history(history_ids, k, how=fold_in, **options)
        return deliver(iter([lists]), lists.clear(), 1, out)
    if histories is not None or fallback is not None:
        user_ids = None if users is None else read_ids(users, recommender.users, "--users", "keep")
        everybody = bulk_lists(
            recommender,
            k,
            histories=histories,
            users=user_ids,
            fallback=fallback,
            popular_days=popular_days,
            popular_log=popular_log,
            columns=columns,
            how=fold_in,
            unknown=unknown,
            **options,
        )
        code = deliver(iter(everybody), everybody.empty(), len(everybody), out)
        say(everybody.summary())
        return code
    user_ids = None if users is None else read_ids(users, recommender.users, "--users")
    if out is None and user_ids is None:
        user_ids = recommender.users.ids.gather(recommender.users.present[: -(-MAX_PRINTED // max(k, 1))]).to_list()
    count = len(recommender.users.present) if user_ids is None else len(user_ids)
    return deliver(recommender.stream(user_ids, k, **options), recommender.empty(), count, out)
