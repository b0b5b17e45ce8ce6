"""The fused kernel of the cluster losses against the plain formulas of Equations 10 to 12: values and gradients."""

from __future__ import annotations

import pytest
import torch

from crossrec.alignment.clusters import (
    SINKHORN_EPSILON,
    cluster_codes,
    item_cluster_loss,
    item_cluster_loss_reference,
    user_cluster_loss,
    user_cluster_loss_reference,
)
from crossrec.ops import cluster_kernel
from crossrec.ops.blockwise import Workspace
from crossrec.ops.cluster_kernel import cluster_cross_entropy
from crossrec.ops.vectors import l2_normalize

from .worlds import close, double, generator, randn

CODES = [("sinkhorn", 0), ("sinkhorn", 1), ("sinkhorn", 3), ("kmeans", 3)]
TEMPERATURES = [0.3, 0.01]
"""One at which logits need no shift by their maximum, and one at which they do."""


def leaves(*tensors):
    return [tensor.clone().requires_grad_() for tensor in tensors]


def value_and_gradients(loss, inputs):
    value = loss(*inputs)
    return [value, *torch.autograd.grad(value, inputs)]


def agree(fused, plain, *tensors, tolerance=1e-10):
    """Both functions have one value and one gradient for every tensor."""
    left, right = value_and_gradients(fused, leaves(*tensors)), value_and_gradients(plain, leaves(*tensors))
    for number, (actual, expected) in enumerate(zip(left, right, strict=True)):
        assert torch.isfinite(actual).all(), number
        close(actual, expected, tolerance)


@pytest.fixture(params=["kept", "recomputed"])
def kernel_matrix(request, monkeypatch):
    """Both ways to hold the Sinkhorn kernel between its rounds."""
    if request.param == "recomputed":
        monkeypatch.setattr(cluster_kernel, "KEPT_NUMBERS", 0)


@pytest.mark.usefixtures("kernel_matrix")
@pytest.mark.parametrize(("clusterer", "rounds"), CODES)
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("weight", [None, double([1.0, 3.0, 2.0, 1.0, 5.0])], ids=["each once", "repeats merged"])
def test_items(clusterer, rounds, temperature, weight):
    options = {"weight_N": weight, "clusterer": clusterer, "rounds": rounds}
    inputs = (randn(0, 5, 3), randn(1, 5, 3), randn(2, 5, 3), randn(3, 7, 3), double(temperature))
    agree(
        lambda a, b, c, book, t: item_cluster_loss([a, b, c], book, temperature=t, **options),
        lambda a, b, c, book, t: item_cluster_loss_reference([a, b, c], book, temperature=t, **options),
        *inputs,
    )


@pytest.mark.usefixtures("kernel_matrix")
@pytest.mark.parametrize(("clusterer", "rounds"), CODES)
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(
    "pairs",
    [None, (torch.tensor([0, 1, 1, 2, 0, 3]), torch.tensor([3, 3, 0, 1, 2, 0]))],
    ids=["each once", "repeats merged"],
)
def test_users(clusterer, rounds, temperature, pairs):
    options = {"pairs": pairs, "clusterer": clusterer, "rounds": rounds}
    agree(
        lambda user, item, book, t: user_cluster_loss(user, item, book, temperature=t, **options),
        lambda user, item, book, t: user_cluster_loss_reference(user, item, book, temperature=t, **options),
        *(randn(0, 4, 3), randn(1, 4, 3), randn(2, 6, 3), double(temperature)),
    )


@pytest.mark.usefixtures("kernel_matrix")
@pytest.mark.parametrize("rounds", [None, 0, 3])
@pytest.mark.parametrize("partitions", [1, 2])
def test_the_kernel_is_its_formula(rounds, partitions):
    # Σ_n [ partitions · w_n log Σ_p exp(x_n · c_p / λ) - t_n · C q_n / λ ]
    weight = double([2.0, 1.0, 4.0])
    prototype = l2_normalize(randn(2, 5, 3))
    clusterer = "kmeans" if rounds is None else "sinkhorn"

    def plain(target, vector, prototype, temperature):
        score = vector @ prototype.T
        code = cluster_codes(score, clusterer=clusterer, rounds=rounds or 0, weight_N=weight)
        partition = torch.logsumexp(score / temperature, dim=1)
        return partitions * (weight * partition).sum() - (target * (code @ prototype)).sum() / temperature

    def fused(target, vector, prototype, temperature):
        return cluster_cross_entropy(
            target,
            vector,
            prototype,
            temperature=temperature,
            weight_N=weight,
            rounds=rounds,
            epsilon=SINKHORN_EPSILON,
            partitions=partitions,
        )

    agree(fused, plain, randn(0, 3, 3), l2_normalize(randn(1, 3, 3)), prototype, double(0.3))


@pytest.mark.usefixtures("kernel_matrix")
def test_more_than_one_block_of_rows():
    # 1,000 rows of 2,000 logits are several blocks
    draw = generator(0)
    item = [torch.randn(1000, 4, generator=draw).double() for _ in range(2)]
    weight = torch.randint(1, 4, (1000,), generator=draw)
    agree(
        lambda a, b, book: item_cluster_loss([a, b], book, temperature=0.2, weight_N=weight),
        lambda a, b, book: item_cluster_loss_reference([a, b], book, temperature=0.2, weight_N=weight),
        *(*item, torch.randn(2000, 4, generator=draw).double()),
        tolerance=1e-8,
    )


@pytest.mark.usefixtures("kernel_matrix")
@pytest.mark.parametrize(("clusterer", "rounds"), [("sinkhorn", 3), ("kmeans", 3)])
def test_products_in_bfloat16_are_near_the_plain_formula(clusterer, rounds):
    # 50 rows and 75 prototypes are no multiples of what bfloat16 products are padded to
    draw = generator(1)
    a, b, book = (torch.randn(count, 16, generator=draw) for count in (50, 50, 75))
    weight, options = torch.randint(1, 4, (50,), generator=draw), {"clusterer": clusterer, "rounds": rounds}
    temperature = torch.tensor(0.2)

    def fused(a, b, book, t):
        return item_cluster_loss([a, b], book, temperature=t, weight_N=weight, precision="bfloat16", **options)

    def plain(a, b, book, t):
        return item_cluster_loss_reference([a, b], book, temperature=t, weight_N=weight, **options)

    rounded = value_and_gradients(fused, leaves(a, b, book, temperature))
    exact = value_and_gradients(plain, leaves(a, b, book, temperature))
    assert rounded[0].item() == pytest.approx(exact[0].item(), rel=1e-3)
    for actual, expected in zip(rounded[1:], exact[1:], strict=True):
        assert actual.dtype == torch.float32
        assert (actual - expected).norm() < 1e-2 * expected.norm()


def test_normalized_vectors_give_the_same_values():
    item = [l2_normalize(randn(seed, 5, 3)) for seed in range(2)]
    user, book = l2_normalize(randn(3, 5, 3)), randn(2, 7, 3)
    for normalized in (False, True):
        close(
            item_cluster_loss(item, book, temperature=0.3, normalized=normalized),
            item_cluster_loss_reference(item, book, temperature=0.3),
        )
        close(
            user_cluster_loss(user, item[0], book, temperature=0.3, normalized=normalized),
            user_cluster_loss_reference(user, item[0], book, temperature=0.3),
        )


def test_one_workspace_serves_losses_of_any_size():
    workspace = Workspace()
    for rows, prototypes in ((5, 7), (9, 3), (2, 2), (12, 20)):
        item, book = [randn(seed, rows, 3) for seed in range(2)], randn(2, prototypes, 3)
        close(
            item_cluster_loss(item, book, temperature=0.3, workspace=workspace),
            item_cluster_loss_reference(item, book, temperature=0.3),
        )


@pytest.mark.parametrize("loss", [item_cluster_loss, item_cluster_loss_reference])
def test_unknown_clusterer_raises(loss):
    with pytest.raises(ValueError, match="sinkhorn or kmeans"):
        loss([randn(0, 2, 2), randn(1, 2, 2)], randn(2, 3, 2), temperature=0.3, clusterer="dbscan")
