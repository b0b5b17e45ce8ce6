"""Components of CROSS by name."""

from __future__ import annotations

import pytest

from crossrec.errors import ConfigError
from crossrec.experiments.analysis.components import components_label, parse_components


@pytest.mark.parametrize(
    ("text", "terms", "label"),
    [
        ("ilda+cna", ("item", "neighbor"), "ILDA&CNA"),
        ("CNA & ILDA", ("item", "neighbor"), "ILDA&CNA"),
        ("neighbor+tuning", ("tuning", "neighbor"), "DT&CNA"),
        ("cluster_users+item", ("item", "cluster_users"), "ILDA&cluster_users"),
        ("cla+cluster_items", ("cluster_items", "cluster_users"), "CLA"),
        ("item", ("item",), "ILDA"),
    ],
)
def test_subsets_by_component_or_term(text, terms, label):
    assert (parse_components(text, "--subsets"), components_label(terms)) == (terms, label)


def test_an_unknown_component_names_the_flag_and_the_nearest_one():
    with pytest.raises(ConfigError, match="--alignments: unknown 'cls'; did you mean 'cla'"):
        parse_components("cna+cls", "--alignments")
