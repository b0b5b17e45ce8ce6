"""``crossrec extend``."""

from __future__ import annotations

from pathlib import Path

from crossrec.console import say
from crossrec.recommend import ColdStartMethod
from crossrec.recommend.cold_start import DEFAULT_METHOD
from crossrec.recommend.extend import extend as extend_run


def extend(
    run: Path,
    /,
    *,
    data: str,
    out: Path,
    how: ColdStartMethod = DEFAULT_METHOD,
    quantile: float = 0.5,
    share: float | None = None,
) -> int:
    """Add new items to a trained run, with vectors from their texts and pictures alone.

    Nothing is trained. Items of the run without training interactions get such vectors too.

    Parameters
    ----------
    run
        Folder of a finished run; it may have been extended before.
    data
        Folder with a table of items and their features, as 'crossrec data features' writes them. Items that the run
        already has are skipped.
    out
        Folder of the new run, which can be served and extended like any other.
    how
        How content becomes an item's vector.
    quantile
        Above 0.5 puts new items into more lists, and others into fewer.
    share
        Part of the places in all users' lists of ten that the new items get, such as 0.03; by default as it comes.
    """
    summary = extend_run(run, data, out, how=how, quantile=quantile, share=share)
    say(f"new items: {summary.added:,}; items of the run that nobody has taken: {summary.untouched:,}")
    if summary.added:
        say(f"the new items get {summary.share:.2%} of the places in lists of ten; --share sets it")
    left_out = summary.left_out
    if left_out:
        names = ", ".join(map(str, left_out[:5])) + (", …" if len(left_out) > 5 else "")
        say(f"left out, without features: {len(left_out):,} ({names})")
    say(out)
    return 0
