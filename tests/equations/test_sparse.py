"""Sparse products with learnt values against dense ones: values and gradients, in float64."""

from __future__ import annotations

import pytest
import torch
from sklearn.cluster import KMeans

from crossrec.graph import mean_adjacency, sum_adjacency
from crossrec.ops.kmeans import kmeans, nearest
from crossrec.ops.sparse import SparsePattern, bag_sums, csr_sums

from . import reference as ref
from .backbone_worlds import EDGE_T, EDGES, ITEMS, USERS, dense
from .worlds import close, double, generator, numbers, randn

ROW = torch.tensor([0, 0, 0, 1, 3, 3, 3])
COLUMN = torch.tensor([4, 0, 2, 0, 1, 1, 3])  # row 2 is empty, (3, 1) is there twice
ROWS, COLUMNS = 4, 6  # column 5 is empty


@pytest.fixture
def pattern():
    return SparsePattern(ROW, COLUMN, ROWS, COLUMNS)


def written(values):
    """The matrix of these values, dense and differentiable."""
    return torch.zeros(ROWS, COLUMNS, dtype=torch.float64).index_put((ROW, COLUMN), values, accumulate=True)


def gradients(result, weight, *inputs):
    return torch.autograd.grad((result * weight).sum(), inputs)


def test_product(pattern):
    values, table = randn(0, len(ROW)).requires_grad_(), randn(1, COLUMNS, 3).requires_grad_()
    actual, expected = pattern.product(values, table), written(values) @ table
    close(actual, expected)
    weight = randn(2, ROWS, 3)
    for got, want in zip(
        gradients(actual, weight, values, table), gradients(expected, weight, values, table), strict=True
    ):
        close(got, want)


@pytest.mark.parametrize("index", [torch.int32, torch.int64])
@pytest.mark.parametrize("number", [torch.float32, torch.float64])
def test_both_kernels_give_the_same_product(pattern, index, number):
    values, table = randn(0, len(ROW)).to(number), randn(1, COLUMNS, 3).to(number)
    arguments = (pattern.indptr.to(index), COLUMN.to(index), values, table)
    close(csr_sums(*arguments), written(values.double()) @ table.double(), 1e-6)
    close(csr_sums(*arguments), bag_sums(*arguments), 1e-6)
    without_edges = (torch.zeros(ROWS + 1, dtype=index), COLUMN[:0].to(index), values[:0], table)
    assert torch.equal(csr_sums(*without_edges), torch.zeros(ROWS, 3, dtype=number))


def test_gradient_for_one_side_alone(pattern):
    values, table = randn(0, len(ROW)), randn(1, COLUMNS, 3)
    pattern.product(values.requires_grad_(), table).sum().backward()
    assert values.grad is not None
    table.requires_grad_()
    pattern.product(values.detach(), table).sum().backward()
    assert table.grad is not None


def test_dots(pattern):
    left, right = randn(0, ROWS, 3).requires_grad_(), randn(1, COLUMNS, 3).requires_grad_()
    actual, expected = pattern.dots(left, right), (left @ right.T)[ROW, COLUMN]
    close(actual, expected)
    weight = randn(2, len(ROW))
    for got, want in zip(gradients(actual, weight, left, right), gradients(expected, weight, left, right), strict=True):
        close(got, want)


def test_dots_over_many_blocks():
    row = torch.arange(300).repeat_interleave(150)
    column = torch.randint(300, (len(row),), generator=generator(0))
    left, right = randn(0, 300, 2), randn(1, 300, 2)
    assert len(row) > 2 << 14
    close(SparsePattern(row, column, 300, 300).dots(left, right), (left[row] * right[column]).sum(-1))


def test_dots_of_more_entries_than_a_full_matrix_has():
    row, column = torch.tensor([0, 0, 0, 0, 0, 0, 1]), torch.tensor([0, 1, 2, 2, 2, 0, 1])
    left, right = randn(0, 2, 2).requires_grad_(), randn(1, 3, 2).requires_grad_()
    actual, expected = SparsePattern(row, column, 2, 3).dots(left, right), (left @ right.T)[row, column]
    close(actual, expected)
    weight = randn(2, len(row))
    for got, want in zip(gradients(actual, weight, left, right), gradients(expected, weight, left, right), strict=True):
        close(got, want)


def test_softmax(pattern):
    values = (randn(0, len(ROW)) * 400).requires_grad_()  # would overflow without a shift
    actual = pattern.softmax(values)
    assert bool(actual.isfinite().all())
    for r in (0, 1, 3):
        close(actual[row_of(r)], values[row_of(r)].softmax(0))
    small = randn(1, len(ROW)).requires_grad_()
    expected = torch.cat([small[row_of(r)].softmax(0) for r in (0, 1, 3)])
    (got,), (want,) = (gradients(r, randn(2, len(ROW)), small) for r in (pattern.softmax(small), expected))
    close(got, want)


def row_of(r):
    return r == ROW


def test_transposed_and_constant(pattern):
    values, table = randn(0, len(ROW)), randn(1, ROWS, 2)
    close(pattern.transposed().product(values[pattern.order_E], table), written(values).T @ table)
    close(dense(pattern.matrix(values)), written(values))
    close(dense(pattern.matrix(values).transposed), written(values).T)


def test_other_adjacencies():
    size = USERS + ITEMS
    plain = [[0.0] * size for _ in range(size)]
    for u, i in EDGES:
        plain[u][USERS + i] = plain[USERS + i][u] = 1.0
    close(dense(sum_adjacency(*EDGE_T, USERS, ITEMS)), plain)
    looped = [[plain[a][b] + (a == b) for b in range(size)] for a in range(size)]
    mean = mean_adjacency(*EDGE_T, USERS, ITEMS)
    expected = torch.tensor([[x / sum(row) for x in row] for row in looped], dtype=torch.float64)
    close(dense(mean), expected, 1e-6)
    close(dense(mean.transposed), expected.T, 1e-6)


def test_kmeans_is_lloyds():
    points = torch.cat([randn(k, 30, 3) + 3 * k for k in range(4)])
    start = points[torch.randperm(len(points), generator=generator(5))[:4]]
    centroid, index = kmeans(points, 4, generator(5), rounds=50)
    oracle = KMeans(4, init=start.numpy(), n_init=1, max_iter=50, tol=0, algorithm="lloyd").fit(points.numpy())
    close(centroid, oracle.cluster_centers_, 1e-8)
    assert index.tolist() == oracle.labels_.tolist()


def lloyd(points, start, rounds):
    """Centroids after so many rounds of Lloyd's algorithm."""
    centroids = [list(row) for row in start]
    for _ in range(rounds):
        members = [[] for _ in centroids]
        for x in points:
            squares = [sum((a - b) ** 2 for a, b in zip(x, c, strict=True)) for c in centroids]
            members[squares.index(min(squares))].append(x)
        centroids = [
            [ref.mean(values) for values in zip(*own, strict=True)] if own else c
            for own, c in zip(members, centroids, strict=True)
        ]
    return centroids


@pytest.mark.parametrize("rounds", [0, 1, 2, None])
def test_kmeans_takes_twenty_rounds_unless_given(rounds):
    # evenly spread points along a line: centroids that start at one end creep along for more than twenty rounds
    points = double([[x, 0.1 * x * x] for x in range(120)])
    seed = next(s for s in range(300) if torch.randperm(120, generator=generator(s))[:3].max() < 45)
    start = numbers(points[torch.randperm(120, generator=generator(seed))[:3]])
    given = {} if rounds is None else {"rounds": rounds}
    centroid, _ = kmeans(points, 3, generator(seed), **given)
    close(centroid, lloyd(numbers(points), start, 20 if rounds is None else rounds))
    assert numbers(centroid) != lloyd(numbers(points), start, 19), "it has not converged before"


def test_kmeans_fits_256_vectors_a_cluster():
    points = randn(2, 700, 2)
    drawn = points[torch.randperm(700, generator=generator(3))]
    close(kmeans(points, 2, generator(3), rounds=1)[0], lloyd(numbers(drawn[:512]), numbers(drawn[:2]), 1))
    given = kmeans(points, 2, generator(3), rounds=1, sample=5)[0]
    close(given, lloyd(numbers(drawn[:10]), numbers(drawn[:2]), 1))


@pytest.mark.parametrize("clusters", [99, 100, 101, 137, 1000])
def test_kmeans_makes_as_many_clusters_as_asked_for(clusters):
    points = randn(4, 137, 2)
    centroid, index = kmeans(points, clusters, generator(0))
    assert len(centroid) == min(clusters, 137)
    assert int(index.max()) < len(centroid)


def test_kmeans_draws_from_its_generator_alone():
    points, draws = randn(5, 60, 2), []
    for seed, global_seed in ((1, 0), (1, 99), (2, 0)):
        torch.manual_seed(global_seed)
        draws.append(kmeans(points, 4, generator(seed), rounds=1)[0])
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_nearest():
    points, centroids = randn(0, 900, 3), randn(1, 7, 3)
    for x, found in zip(numbers(points), nearest(points, centroids).tolist(), strict=True):
        squares = [ref.norm([a - b for a, b in zip(x, c, strict=True)]) for c in numbers(centroids)]
        assert found == squares.index(min(squares))


def test_kmeans_in_awkward_cases():
    few = randn(0, 3, 2)
    centroid, index = kmeans(few, 1000, generator(0))
    assert sorted(index.tolist()) == [0, 1, 2]
    close(centroid[index], few)
    same = torch.ones(6, 2)
    centroid, index = kmeans(same, 3, generator(0))
    assert bool(centroid.isfinite().all())
    assert centroid.shape == (3, 2)
    many = randn(1, 500, 2)
    again = [kmeans(many, 5, generator(7), sample=10)[0] for _ in range(2)]
    assert torch.equal(*again)
    assert not torch.equal(again[0], kmeans(many, 5, generator(8), sample=10)[0])
