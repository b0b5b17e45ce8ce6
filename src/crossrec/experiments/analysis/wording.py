"""Words for findings and footnotes: names of metrics, changes, and whether a claim of the paper holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from crossrec.experiments.analysis.seed_values import SeedValues, mean_over_seeds, percent_change

RESULTS_MISSING = "results are missing"
"""The usual reason why a claim cannot be judged."""
SHORT = {"recall": "R", "ndcg": "N", "precision": "P"}
"""Metrics by one letter."""
ABBREVIATIONS = {"ndcg": "NDCG", "map": "MAP", "mrr": "MRR", "hr": "HR"}


def short_metric(metric: str) -> str:
    """R@10 for recall@10, MRR@10 for mrr@10: for the heads of tables."""
    name, k = metric.split("@")
    return f"{SHORT.get(name) or ABBREVIATIONS.get(name, name)}@{k}"


def metric_label(metric: str) -> str:
    """Recall@10 for recall@10, NDCG@10 for ndcg@10: for sentences and axes."""
    name, k = metric.split("@")
    return f"{ABBREVIATIONS.get(name, name.capitalize())}@{k}"


def seeds_note(seeds: Iterable[int]) -> str:
    """ ", mean ± sample deviation over seeds 0, 1" for a footnote."""
    distinct = sorted(set(seeds))
    numbers = ", ".join(map(str, distinct))
    return f", mean ± sample deviation over seeds {numbers}" if len(distinct) > 1 else f" of seed {numbers}"


def join_words(words: Sequence[str]) -> str:
    """ "A, B and C"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def describe_change(new: SeedValues, old: SeedValues) -> str:
    """The change in words: "+3.2 %, higher in 2 of 3 seeds"."""
    percent = percent_change(new, old)
    if isinstance(percent, str):
        return "– (a result is missing)"
    if math.isnan(percent):
        return f"from 0 to {mean_over_seeds(new):.4f}"
    if not (isinstance(new, tuple) and isinstance(old, tuple)):
        return f"{percent:+.1f} %, one seed"
    higher = sum(a > b for a, b in zip(new, old, strict=True))
    return f"{percent:+.1f} %, higher in {higher} of {len(new)} seeds"


def all_hold(judgements: Iterable[bool | None]) -> bool | None:
    """False where one is False; else None where one is None, or there is none at all; else True."""
    judged = list(judgements)
    if False in judged:
        return False
    return None if None in judged or not judged else True


def judge_claim(
    subject: str,
    claim: str,
    holds: bool | None,
    detail: str = "",
    tests: Sequence[str | None] = (),
    unknown: str = RESULTS_MISSING,
) -> str:
    """Say in a sentence whether a claim of the paper holds here. None: it cannot be judged, and ``unknown`` is why.

    ``holds`` compares means. ``tests``: verdicts of the paired tests ("higher", "lower" …) on the differences that the
    claim says are "higher", None for one that was not tested. Without any the sentence does not mention chance.
    """
    judgement = {True: "holds", False: "does not hold", None: f"cannot be judged, as {unknown}"}[holds]
    verdicts = [verdict for verdict in tests if verdict is not None]
    if verdicts and holds is not None:
        beyond_chance = all(verdict == "higher" for verdict in verdicts) if holds else "lower" in verdicts
        certainty = " beyond chance" if holds else ": the contrary is beyond chance"
        judgement += certainty if beyond_chance else " in the mean, which may be chance"
    return f"{subject}: the paper's claim that {claim} {judgement}{f' ({detail})' if detail else ''}."


def judge_all(
    subject: str,
    claim: str,
    judgements: Mapping[str, bool | None],
    tests: Sequence[str | None] = (),
    *,
    exceptions: str = "not {}",
    join: Callable[[Sequence[str]], str] = join_words,
) -> str:
    """``judge_claim`` for a claim on several cases, by name: it holds if it does in all of them.

    ``exceptions``: detail that names the cases in which it does not hold, joined by ``join``.
    """
    failing = [name for name, holds in judgements.items() if holds is False]
    detail = exceptions.format(join(failing)) if failing else ""
    return judge_claim(subject, claim, all_hold(judgements.values()), detail, tests)
