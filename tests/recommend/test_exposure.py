"""New items get the share of places that is asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crossrec.errors import ConfigError
from crossrec.recommend import exposure as module
from crossrec.recommend.exposure import exposure, with_exposure


def counted(recommender, items, k):
    """The share by the lists themselves."""
    lists = recommender.recommend(k=k)
    return float(lists["item"].is_in(recommender.items.ids.gather(items).implode()).sum()) / lists.height


def test_exposure_is_the_share_of_places(tiny):
    items = np.asarray([3, 8, 20, 21])
    assert exposure(tiny, items, 5) == pytest.approx(counted(tiny, items, 5))
    assert exposure(tiny, np.zeros(0, dtype=np.int64)) == 0


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_new_items_get_their_share(tiny, share):
    raw = {"image": np.random.default_rng(0).normal(size=(6, tiny.cold_start.widths["image"]))}
    ids = [100 + n for n in range(6)]
    extended = tiny.with_items(ids, raw, share=share, k=5)
    plain = tiny.with_items(ids, raw)
    new_N = np.arange(40, 46)
    # places are a whole number: as near as one factor for all six can come
    assert counted(extended, new_N, 5) == pytest.approx(share, abs=0.02)
    assert counted(extended, new_N, 5) == pytest.approx(exposure(extended, new_N, 5))
    factor = extended.vectors.item_IS[40:] / plain.vectors.item_IS[40:]
    torch.testing.assert_close(factor, factor[0, 0].expand_as(factor))
    assert factor[0, 0] > 0
    assert torch.equal(extended.vectors.item_IS[:40], plain.vectors.item_IS[:40])


def test_of_many_users_some_stand_for_all(tiny, monkeypatch):
    monkeypatch.setattr(module, "MAX_USERS", 20)
    items = np.arange(10)
    lists = tiny.recommend([tiny.users.ids[int(row)] for row in np.linspace(0, 59, 20).astype(int)], 5)
    share = lists["item"].is_in(tiny.items.ids.gather(items).implode()).sum() / lists.height
    assert exposure(tiny, items, 5) == pytest.approx(share)


@pytest.mark.parametrize("share", [0, 1, -0.1, 2, float("nan")])
def test_a_share_is_between_0_and_1(tiny, share):
    with pytest.raises(ConfigError, match=r"share = .*above 0 and below 1"):
        with_exposure(tiny, np.asarray([1]), share)
