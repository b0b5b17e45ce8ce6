"""Arguments of Python calls in their usual forms, as tensors. A mistake is one sentence: what is wrong, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crossrec.errors import ArgumentError

_ROWS = 1 << 16
"""Rows of features that are looked at together."""


def as_tensor(value: Any, name: str) -> Tensor:
    """A tensor of what torch or numpy reads as numbers, such as an array, a list or a column of a table.

    A ``torch.nn.Embedding`` stands for its weight. Raises ArgumentError for anything else.
    """
    if isinstance(value, nn.Embedding):
        return value.weight
    if isinstance(value, Tensor):
        return value
    try:
        array = np.require(value, requirements=["C", "W"])
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    except (TypeError, ValueError):
        raise ArgumentError(f"{name} must be a tensor of numbers, and it is a {type(value).__name__}") from None


def as_ids(value: Any, name: str) -> Tensor:
    """Numbers of users or items as int64, one-dimensional. Raises ArgumentError for other shapes and types."""
    ids = as_tensor(value, name)
    if ids.dim() != 1:
        raise ArgumentError(f"{name} has shape {_shape(ids)}: give one whole number a pair, shape (B,)")
    if len(ids) and (ids.dtype.is_floating_point or ids.dtype.is_complex or ids.dtype == torch.bool):
        raise ArgumentError(f"{name} has type {_type(ids)}: give whole numbers counted from 0, such as int64")
    return ids.long()


def as_count(value: Any, name: str) -> int:
    """A whole number above 0. Raises ArgumentError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ArgumentError(f"{name} must be a whole number above 0, and it is {value!r}")
    return int(value)


def as_weights(value: Any, name: str, count: int) -> Tensor:
    """Weights of ``count`` pairs, floating point, (B,). Raises ArgumentError for other shapes and types."""
    weights = as_tensor(value, name)
    if weights.shape != (count,) or weights.is_complex():
        raise ArgumentError(f"{name} has shape {_shape(weights)}: give one number above 0 a pair, shape ({count},)")
    return weights if weights.is_floating_point() else weights.float()


def as_vectors(value: Any, name: str) -> Tensor:
    """A matrix of vectors, one a row. Raises ArgumentError for other shapes and types."""
    vectors = as_tensor(value, name)
    if vectors.dim() != 2 or not vectors.dtype.is_floating_point:
        raise ArgumentError(
            f"{name} has shape {_shape(vectors)} and type {_type(vectors)}: give a matrix of floating point numbers, "
            "one vector a row"
        )
    return vectors


def as_pairs(interactions: Any) -> tuple[Tensor, Tensor]:
    """Training pairs as (user_T, item_T), int64 each.

    ``interactions``: such a pair of columns, or one table (T, 2) with a row (user, item) for each pair. Raises
    ArgumentError for other shapes and types, columns of different lengths and negative numbers.
    """
    if not isinstance(interactions, tuple | list):
        table = as_tensor(interactions, "interactions")
        if table.dim() != 2 or table.shape[1] != 2:
            raise ArgumentError(
                f"interactions has shape {_shape(table)}: give (user, item), or a table of shape (T, 2)"
            )
        interactions = table.unbind(1)
    if len(interactions) != 2:
        raise ArgumentError(f"interactions has {len(interactions)} parts: give (user, item)")
    user_T, item_T = (
        as_ids(column, f"{name} of the interactions")
        for name, column in zip(("user", "item"), interactions, strict=True)
    )
    if len(user_T) != len(item_T):
        raise ArgumentError(f"interactions has {len(user_T)} users and {len(item_T)} items: give one of each a pair")
    for name, column in (("user", user_T), ("item", item_T)):
        if len(column) and int(column.min()) < 0:
            raise ArgumentError(f"interactions has {name} {int(column.min())}: number {name}s from 0")
    return user_T, item_T


def as_features(features: Any) -> dict[str, Tensor]:
    """Raw content features by modality, (I, D_m) floating point each.

    Whole numbers become floating point. Raises ArgumentError for anything but a mapping, for other shapes and types,
    and for a number that is not finite.
    """
    if not isinstance(features, Mapping):
        raise ArgumentError(
            f'features must name each modality, such as {{"image": image}}, and it is a {type(features).__name__}'
        )
    return {name: _feature(value, f"feature '{name}'") for name, value in features.items()}


def number_of_items(
    num_items: int | None,
    features: Mapping[str, Tensor],
    interactions: tuple[Tensor, Tensor] | None,
    neighbors: Tensor | None,
) -> tuple[int, bool]:
    """I, and whether it is exact: the interactions alone say only how many items there are at least.

    Raises ArgumentError where the arguments disagree or none says.
    """
    counts = {f"feature '{name}'": len(feature) for name, feature in features.items()}
    if num_items is not None:
        counts["num_items"] = as_count(num_items, "num_items")
    if neighbors is not None:
        counts["neighbors"] = len(neighbors)
    largest = int(interactions[1].max()) + 1 if interactions is not None and len(interactions[1]) else 0
    hint = ""
    if any(count < largest for count in counts.values()):
        counts["the largest item of the interactions"] = largest
        hint = "; interactions are (user, item), in this order"
    if len(set(counts.values())) > 1:
        each = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise ArgumentError(f"different numbers of items: {each}{hint}")
    if counts:
        return next(iter(counts.values())), True
    if largest:
        return largest, False
    raise ArgumentError("the number of items is unknown: give features, interactions, neighbors or num_items")


def check_same_device(tensors: Mapping[str, Tensor | None]) -> None:
    """Raise ArgumentError that names two of the tensors on different devices."""
    devices = {name: tensor.device for name, tensor in tensors.items() if tensor is not None}
    first = next(iter(devices), "")
    for name, device in devices.items():
        if device != devices[first]:
            raise ArgumentError(f"{first} is on {devices[first]} and {name} on {device}: move one with .to(...)")


def row_of(wanted_N: Tensor, rows_R: Tensor, name: str, fix: str) -> Tensor:
    """Where each of the wanted numbers stands in ``rows_R``, int64 (N,). It may be in any order.

    Raises ArgumentError where one is missing or stands twice. ``name`` of ``rows_R``; ``fix``: what helps.
    """
    ordered_R, order_R = rows_R.sort()
    twice = (ordered_R[1:] == ordered_R[:-1]).nonzero()
    if len(twice):
        raise ArgumentError(f"{name} holds {int(ordered_R[twice[0]])} twice: {fix}")
    at_N = torch.searchsorted(ordered_R, wanted_N).clamp_max(max(len(rows_R) - 1, 0))
    is_missing_N = ordered_R[at_N] != wanted_N if len(rows_R) else torch.ones_like(wanted_N, dtype=torch.bool)
    if is_missing_N.any():
        raise ArgumentError(f"{name} lacks {int(wanted_N[is_missing_N][0])}: {fix}")
    return order_R[at_N]


def _feature(value: Any, name: str) -> Tensor:
    feature = as_tensor(value, name).detach()
    if feature.dim() != 2:
        fix = {1: "; reshape(-1, 1) makes one column of it"}.get(feature.dim(), "; flatten(1) makes rows of it")
        raise ArgumentError(f"{name} has shape {_shape(feature)}: give a row for each item, shape (I, D){fix}")
    if not feature.shape[1]:
        raise ArgumentError(f"{name} has shape {_shape(feature)}: give at least one column, or leave it out")
    if feature.dtype.is_complex:
        raise ArgumentError(f"{name} has type {_type(feature)}: give floating point numbers")
    if not feature.dtype.is_floating_point:
        return feature.to(torch.get_default_dtype())
    for start in range(0, len(feature), _ROWS):
        is_finite_N = feature[start : start + _ROWS].isfinite().all(1)
        if not is_finite_N.all():
            row = start + int(is_finite_N.int().argmin())
            raise ArgumentError(
                f"{name} of item {row} is not finite (NaN or infinite): correct it, or give the item a row of zeros, "
                "which stands for a missing feature"
            )
    return feature


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def check_terms(terms: Mapping[str, object], where: str) -> None:
    """Raise ArgumentError unless ``terms``, of code that may be the user's, are scalar tensors, one at least."""
    if not terms:
        raise ArgumentError(f"{where}: returns no term; return a dict with one or more")
    for name, term in terms.items():
        if not isinstance(term, Tensor) or term.ndim:
            form = f"of shape {tuple(term.shape)}" if isinstance(term, Tensor) else f"of type {type(term).__name__}"
            raise ArgumentError(f"{where}: term '{name}' is {form}; return a scalar tensor")
