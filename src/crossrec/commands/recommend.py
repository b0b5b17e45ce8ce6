"""``crossrec recommend``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crossrec.commands.item_lists import MAX_PRINTED, deliver, read_ids
from crossrec.data.io.tables import check_ending
from crossrec.errors import ConfigError
from crossrec.recommend import FoldInMethod, Recommender
from crossrec.recommend.id_map import Unknown


def recommend(
    run: Path,
    /,
    *,
    k: int = 10,
    users: list[str] | None = None,
    history: list[str] | None = None,
    fold_in: FoldInMethod = "ridge",
    seen: bool = False,
    allow: list[str] | None = None,
    deny: list[str] | None = None,
    items: Path | None = None,
    category: list[str] | None = None,
    where: str | None = None,
    unknown: Unknown = "ignore",
    out: Path | None = None,
) -> int:
    """Recommend items to users of a trained run, or to a new user with a history.

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
    out
        File to write: .parquet, .csv or .jsonl; printed by default.
    """
    if users is not None and history is not None:
        raise ConfigError("--users and --history: give one of them")
    if out is not None:
        check_ending(out)
    recommender = Recommender.open(run, items)
    options: dict[str, Any] = {
        "exclude_seen": not seen,
        "allow": None if allow is None else read_ids(allow, recommender.items, "--allow", unknown),
        "deny": None if deny is None else read_ids(deny, recommender.items, "--deny", unknown, needed=False),
        "category": category,
        "where": where,
    }
    if history is not None:
        history_ids = read_ids(history, recommender.items, "--history", unknown)
        lists = recommender.for_history(history_ids, k, how=fold_in, **options)
        return deliver(iter([lists]), lists.clear(), 1, out)
    user_ids = None if users is None else read_ids(users, recommender.users, "--users")
    if out is None and user_ids is None:
        user_ids = recommender.users.ids.gather(recommender.users.present[: -(-MAX_PRINTED // max(k, 1))]).to_list()
    count = len(recommender.users.present) if user_ids is None else len(user_ids)
    return deliver(recommender.stream(user_ids, k, **options), recommender.empty(), count, out)
