"""Generate data sets with long-tailed popularity and two modalities, each informative about most items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossrec.randomness import numpy_generator

FACTORS = 16
"""Number of latent factors of an item."""

SHARPNESS = 0.6
"""Weight of taste against popularity and chance."""


@dataclass(frozen=True)
class Recipe:
    """Sizes and shares of a generated set. ``seed``: fixes every draw."""

    users: int
    items: int
    genres: int
    mean_interactions: float
    image_width: int = 64
    text_width: int = 32
    junk_share: float = 0.15
    seed: int = 2024


RECIPES = {
    "synthetic": Recipe(users=1500, items=1000, genres=25, mean_interactions=12.0),
    "synthetic-tiny": Recipe(users=60, items=40, genres=5, mean_interactions=8.0, image_width=12, text_width=8),
    "synthetic-large": Recipe(users=20_000, items=8_000, genres=80, mean_interactions=15.0),
}
"""Name of a built-in set → its recipe."""

USER_CHUNK = 256  # users whose scores are in memory at a time


@dataclass(frozen=True, repr=False)
class Generated:
    """Interactions in order of users, int64 (N,) each, and raw features for each modality, float16 (I, D_m)."""

    user_N: np.ndarray
    item_N: np.ndarray
    features: dict[str, np.ndarray]


def generate(recipe: Recipe) -> Generated:
    """Generate a set. The same recipe gives the same set on every machine.

    Items belong to genres: factors = genre centre + deviation. Users like a few genres. A user draws distinct items
    with probability ∝ popularity × exp(SHARPNESS taste · factors). Popularity is (20 + rank)^-0.8, independent of the
    factors. The number of interactions per user is long-tailed, at least five. ``image`` is a linear view of the first
    10 of 16 factors, ``text`` of the last 10, each with noise; the image has an offset that all items share, as real
    image features have. On ``junk_share`` of the items, drawn for each modality, the view shows random factors instead.
    So the more informative modality differs from item to item.
    """
    structure = numpy_generator(recipe.seed, "synthetic structure")
    genre_GF = structure.standard_normal((recipe.genres, FACTORS))
    genre_I = structure.integers(recipe.genres, size=recipe.items)
    factor_IF = 0.8 * genre_GF[genre_I] + 0.6 * structure.standard_normal((recipe.items, FACTORS))
    likes_UG = structure.standard_exponential((recipe.users, recipe.genres)) ** 3
    likes_UG /= likes_UG.sum(axis=1, keepdims=True)
    taste_UF = likes_UG @ genre_GF + 0.2 * structure.standard_normal((recipe.users, FACTORS))
    popularity_I = -0.8 * np.log(20.0 + structure.permutation(recipe.items))
    extra_U = structure.standard_gamma(0.8, size=recipe.users) * (recipe.mean_interactions - 5) / 0.8
    count_U = np.minimum(5 + np.floor(extra_U + 0.5).astype(np.int64), recipe.items // 2)
    user_N, item_N = _interactions(recipe, taste_UF, factor_IF, popularity_I, count_U)
    split = FACTORS - 10
    views = {
        "image": (factor_IF[:, :10], recipe.image_width, 1.5),
        "text": (factor_IF[:, split:], recipe.text_width, 0.0),
    }
    features = {name: _view(recipe, name, *view) for name, view in views.items()}
    return Generated(user_N, item_N, features)


def _interactions(
    recipe: Recipe, taste_UF: np.ndarray, factor_IF: np.ndarray, popularity_I: np.ndarray, count_U: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``count_U`` distinct items per user: the largest of log-weight plus Gumbel noise."""
    draws = numpy_generator(recipe.seed, "synthetic interactions")
    items: list[np.ndarray] = []
    for start in range(0, recipe.users, USER_CHUNK):
        taste = taste_UF[start : start + USER_CHUNK]
        noise = -np.log(draws.standard_exponential((len(taste), recipe.items)))
        score = SHARPNESS * taste @ factor_IF.T + popularity_I + noise
        most = int(count_U.max())
        top = np.argpartition(-score, most - 1, axis=1)[:, :most]
        top = np.take_along_axis(top, np.argsort(-np.take_along_axis(score, top, axis=1), axis=1), axis=1)
        items += [row[:count] for row, count in zip(top, count_U[start : start + USER_CHUNK], strict=True)]
    return np.repeat(np.arange(recipe.users), count_U), np.concatenate(items).astype(np.int64)


def _view(recipe: Recipe, name: str, factor_IF: np.ndarray, width: int, offset: float) -> np.ndarray:
    """A random linear view of the factors plus noise, of random factors on junk items, float16 (I, width)."""
    draws = numpy_generator(recipe.seed, f"synthetic {name}")
    junk_I = draws.random(recipe.items) < recipe.junk_share
    visible_IF = np.where(junk_I[:, None], draws.standard_normal(factor_IF.shape), factor_IF)
    view_FD = draws.standard_normal((factor_IF.shape[1], width)) / np.sqrt(factor_IF.shape[1])
    noise = 0.5 * draws.standard_normal((recipe.items, width))
    return np.asarray(offset + visible_IF @ view_FD + noise, dtype=np.float16)
