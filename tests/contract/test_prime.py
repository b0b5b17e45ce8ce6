"""PRIME: a content graph where the backbone has no item graph, CROSS in the first epochs."""

from __future__ import annotations

import pytest
import torch
from tests.contract.worlds import world

from crossrec.alignment import PrimeConfig
from crossrec.backbones import BACKBONES
from crossrec.objective import Objective
from crossrec.types import Batch


@pytest.mark.parametrize("name", BACKBONES)
def test_the_parts_of_prime_around_every_backbone(name):
    data, kind = world(), BACKBONES[name]
    objective = Objective(kind.config_type(dim=8), PrimeConfig(prototypes_itv=4), data, 0)
    assert (objective.content_graph is None) == kind.has_item_graph
    batch = Batch(data.user_T[:8], data.item_T[:8], data.item_T[8:16])
    generator = torch.Generator().manual_seed(0)
    objective.before_epoch(10, generator)
    assert {"item", "tuning", "neighbor", "cluster_items", "cluster_users"} <= set(objective(batch)[0])
    objective.before_epoch(11, generator)
    terms, total = objective(batch)
    assert not {"item", "neighbor", "cluster_users"} & set(terms)
    torch.testing.assert_close(total, torch.stack(list(terms.values())).sum())


def test_the_settings():
    config = PrimeConfig()
    assert (config.alignment_epochs, config.alignment_batch, config.restart_optimizer) == (10, 256, True)
    assert (config.content_graph, config.lambda_f, config.lambda_c) == (1, 0.05, 0.1)
    assert PrimeConfig(restart_optimizer=False).restart_optimizer is None
