"""A generated shop: purchases over 90 days, with tastes, trends, new products, and people who come late or seldom."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl

GENRES = 8
START = datetime(2024, 3, 1)


def shop_log(products: int = 60, customers: int = 80, events: int = 900, days: int = 90, seed: int = 0) -> pl.DataFrame:
    """Purchases with the columns customer_id (c0007), product_id (p0031) and time, in order of time.

    A customer likes two of eight genres, buys more or less often, and exists from a day of their own on. A product has
    a genre, a popularity with a long tail, and is sold from a day of its own on; its popularity falls with its age. So
    the latest days differ from the ones before. A pair may occur several times.
    """
    rng = np.random.default_rng(seed)
    genre_I, launch_I = rng.integers(GENRES, size=products), np.sort(rng.uniform(-days, days - 2, size=products))
    weight_I = 1 / np.arange(1, products + 1) ** 0.7
    rng.shuffle(weight_I)
    liked_UG = np.full((customers, GENRES), 0.15)
    for user in range(customers):
        liked_UG[user, rng.choice(GENRES, 2, replace=False)] = (5.0, 2.5)
    arrival_U = rng.uniform(-3 * days, days - 2, size=customers)
    activity_U = rng.pareto(1.5, size=customers) + 0.5
    day_N = np.sort(rng.uniform(0, days, size=events))
    user_N = np.empty(events, dtype=np.int64)
    item_N = np.empty(events, dtype=np.int64)
    bounds = np.searchsorted(day_N, np.arange(days + 1))
    for day in range(days):
        here = slice(*bounds[day : day + 2])
        active_U = activity_U * (arrival_U <= day)
        age_I = day - launch_I
        now_I = weight_I * (age_I >= 0) * (0.3 + np.exp(-age_I.clip(0) / 30))
        user_N[here] = rng.choice(customers, size=here.stop - here.start, p=active_U / active_U.sum())
        chance_UI = now_I * liked_UG[user_N[here]][:, genre_I]
        chance_UI = (chance_UI / chance_UI.sum(1, keepdims=True)).cumsum(1)
        item_N[here] = (chance_UI < rng.random((len(chance_UI), 1))).sum(1).clip(max=products - 1)
    return pl.DataFrame(
        {
            "customer_id": [f"c{user:04}" for user in user_N],
            "product_id": [f"p{item:04}" for item in item_N],
            "time": [(START + timedelta(days=float(day))).isoformat(timespec="seconds") for day in day_N],
        }
    )
