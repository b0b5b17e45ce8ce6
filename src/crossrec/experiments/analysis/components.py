"""Components of CROSS by the paper's names, and the loss terms that each consists of."""

from __future__ import annotations

import re
from collections.abc import Sequence

from crossrec.alignment import CrossConfig
from crossrec.alignment.terms import TERMS as ALL_TERMS
from crossrec.experiments.experiment import check_name

COMPONENTS: dict[str, tuple[str, ...]] = {
    "ILDA": ("item",),
    "DT": ("tuning",),
    "CNA": ("neighbor",),
    "CLA": ("cluster_items", "cluster_users"),
}
"""Names of the paper → terms."""
TERMS: tuple[str, ...] = CrossConfig.model_fields["terms"].default


def parse_components(text: str, flag: str) -> tuple[str, ...]:
    """The terms that "ilda+cna" or "tuning+neighbor" names, in the order of CROSS; then those from outside the package.

    Raises ConfigError, naming the ``flag``, for an unknown component or term.
    """
    names = {name.lower(): terms for name, terms in COMPONENTS.items()}
    chosen: dict[str, None] = {}
    for part in map(str.strip, re.split(r"[+&]", text)):
        name = part.lower() if part.lower() in names else ALL_TERMS.canonical(part)
        check_name(name, dict.fromkeys([*names, *ALL_TERMS]), flag)
        chosen |= dict.fromkeys(names.get(name, (name,)))
    return (*(term for term in TERMS if term in chosen), *(term for term in chosen if term not in TERMS))


def components_label(terms: Sequence[str]) -> str:
    """ "ILDA&CNA" of item and neighbor. A term of CLA without the other, or from outside, keeps its own name."""
    parts: list[str] = []
    for name, component_terms in COMPONENTS.items():
        present = [term for term in component_terms if term in terms]
        parts += [name] if len(present) == len(component_terms) else present
    return "&".join([*parts, *(term for term in terms if term not in TERMS)])
