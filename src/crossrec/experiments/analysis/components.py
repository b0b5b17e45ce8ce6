"""Components of CROSS by the paper's names, and the loss terms that each consists of."""

from __future__ import annotations

import re
from collections.abc import Sequence

from crossrec.alignment import CrossConfig
from crossrec.alignment.config import Term
from crossrec.experiments.experiment import check_name

COMPONENTS: dict[str, tuple[Term, ...]] = {
    "ILDA": ("item",),
    "DT": ("tuning",),
    "CNA": ("neighbor",),
    "CLA": ("cluster_items", "cluster_users"),
}
"""Names of the paper → terms."""
TERMS: tuple[Term, ...] = CrossConfig.model_fields["terms"].default


def parse_components(text: str, flag: str) -> tuple[Term, ...]:
    """The terms that "ilda+cna" or "tuning+neighbor" names, in the order of CROSS.

    Raises ConfigError, naming the ``flag``, for an unknown component or term.
    """
    terms_by_name: dict[str, tuple[Term, ...]] = {name.lower(): terms for name, terms in COMPONENTS.items()}
    terms_by_name |= {term: (term,) for term in TERMS}
    chosen: set[str] = set()
    for part in re.split(r"[+&]", text.lower()):
        check_name(part.strip(), terms_by_name, flag)
        chosen |= set(terms_by_name[part.strip()])
    return tuple(term for term in TERMS if term in chosen)


def components_label(terms: Sequence[str]) -> str:
    """ "ILDA&CNA" of item and neighbor; a term of CLA without the other keeps its own name."""
    parts: list[str] = []
    for name, component_terms in COMPONENTS.items():
        present = [term for term in component_terms if term in terms]
        parts += [name] if len(present) == len(component_terms) else present
    return "&".join(parts)
