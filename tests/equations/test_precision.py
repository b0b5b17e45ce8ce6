"""Errors of float32 and of bfloat16 products against float64: every term and its gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from crossrec.alignment import Cross, CrossConfig
from crossrec.alignment.clusters import item_cluster_loss, user_cluster_loss
from crossrec.alignment.item_level import item_level_loss
from crossrec.alignment.neighbors import neighbor_loss
from crossrec.losses import info_nce, logsumexp_dot
from crossrec.ops.blockwise import block_buffer
from crossrec.types import Batch, Representations

from .worlds import TERMS, generator, make

VALUE, GRADIENT = 1e-5, 1e-5
"""Largest relative error of float32: of a term, and of a gradient in its length."""
ROUNDED_VALUE, ROUNDED_GRADIENT = 1e-3, 1e-2
"""The same where products are bfloat16, whose numbers are rounded by up to 1/512."""


def errors(**settings: object) -> dict[str, tuple[float, float]]:
    """Relative error of each term, and of its worst gradient, against float64; blocks of rows and repeats included."""
    draw = generator(0)
    user, item = torch.randn(300, 64, generator=draw), torch.randn(500, 64, generator=draw)
    pairs = torch.randint(300, (1200,), generator=draw), torch.randint(500, (1200,), generator=draw)
    features = {"sound": torch.randn(500, 30, generator=draw), "scent": torch.randn(500, 20, generator=draw)}
    config = CrossConfig(**{"prototypes_itv": 96, "prototypes_ui": 1500, **settings})
    cross = Cross(64, features=features, interactions=pairs, config=config, generator=draw)
    exact = copy.deepcopy(cross).double()
    exact.config = config.model_copy(update={"precision": None})

    def measured(cross: Cross, dtype: torch.dtype) -> dict[str, tuple[Tensor, list[Tensor | None]]]:
        leaves = [vector.to(dtype).requires_grad_() for vector in (user, item)]
        terms = cross(Representations(*leaves), Batch(*pairs))
        learnt = [*leaves, *cross.parameters()]
        return {
            name: (term.detach(), list(torch.autograd.grad(term, learnt, retain_graph=True, allow_unused=True)))
            for name, term in terms.items()
        }

    actual, expected = measured(cross, torch.float32), measured(exact, torch.float64)
    assert set(actual) == set(expected) == set(TERMS)
    return {
        name: (
            float((actual[name][0] - value).abs() / value.abs()),
            max(
                float((mine - other).norm() / other.norm())
                for mine, other in zip(actual[name][1], gradients, strict=True)
                if mine is not None and other is not None and other.norm() > 0
            ),
        )
        for name, (value, gradients) in expected.items()
    }


SETTINGS = [{}, {"lambda_f": 0.02, "lambda_c": 0.02, "lambda_n": 0.02}, {"negatives": "items", "lambda_c": 0.05}]
"""With temperatures at which logits need no shift by their maximum, and at which they do."""


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_float32_agrees_with_float64(settings):
    for name, (value, gradient) in errors(**settings).items():
        assert value < VALUE, name
        assert gradient < GRADIENT, name


@pytest.mark.parametrize("settings", SETTINGS[:1], ids=str)
def test_products_in_bfloat16_are_near_float64(settings):
    actual = errors(precision="bfloat16", **settings)
    for name, (value, gradient) in actual.items():
        assert value < ROUNDED_VALUE, name
        assert gradient < ROUNDED_GRADIENT, name
    assert actual["neighbor"][1] > GRADIENT  # the option does something


def test_products_in_bfloat16_ignore_uninitialised_memory(monkeypatch):
    # 1,500 prototypes are no multiple of what a processor reads at a time
    new_empty = torch.Tensor.new_empty

    def full_of_nan(*args, **kwargs):
        tensor = new_empty(*args, **kwargs)
        return tensor.fill_(torch.nan) if tensor.is_floating_point() else tensor

    monkeypatch.setattr(torch.Tensor, "new_empty", full_of_nan)
    for by_columns in (False, True):
        buffer = block_buffer(4, 30, torch.zeros(1, dtype=torch.bfloat16), by_columns=by_columns)
        assert not torch.as_strided(buffer, (4 * 30 + 1,), (1,)).isnan().any()
    for value, gradient in errors(precision="bfloat16").values():
        assert value < ROUNDED_VALUE
        assert gradient < ROUNDED_GRADIENT


@pytest.mark.parametrize("settings", [{}, {"negatives": "items"}, {"clusterer": "kmeans"}], ids=str)
def test_products_in_bfloat16_of_a_few_items_and_zero_vectors(settings):
    exact, rough = make(3, **settings), make(3, precision="bfloat16", **settings)
    for (name, value), rounded in zip(exact.terms().items(), rough.terms().values(), strict=True):
        assert rounded.dtype == value.dtype
        assert rounded.item() == pytest.approx(value.item(), rel=0.02, abs=0.02), name


LOSSES = {
    "info_nce": lambda x, y, precision: info_nce(x, y, ROWS, temperature=0.2, precision=precision),
    "logsumexp_dot": lambda x, y, precision: logsumexp_dot(x, y, precision=precision),
    "item_level": lambda x, y, precision: item_level_loss(
        {("id", "a"): x}, {"id": x, "a": y}, {("id", "a"): ROWS}, temperature=0.2, precision=precision
    ),
    "neighbor, neighborhoods": lambda x, y, precision: neighbor_loss(x, y, temperature=0.2, precision=precision),
    "neighbor, items": lambda x, y, precision: neighbor_loss(
        x, y, temperature=0.2, negatives="items", precision=precision
    ),
    "item_cluster": lambda x, y, precision: item_cluster_loss([x, y], x[:16], temperature=0.2, precision=precision),
    "user_cluster": lambda x, y, precision: user_cluster_loss(x, y, x[:16], temperature=0.2, precision=precision),
}
ROWS = torch.arange(40)


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_multiplies_in_the_precision_it_is_given(loss):
    x, y = (torch.nn.functional.normalize(torch.randn(40, 8, generator=generator(n)), dim=1) for n in (1, 2))
    plain, rounded = (LOSSES[loss](x, y, precision) for precision in (None, "bfloat16"))
    assert plain != rounded
    assert rounded == pytest.approx(plain.item(), rel=0.01)
