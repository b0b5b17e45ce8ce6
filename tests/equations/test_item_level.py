"""Equations 1 to 6: strength, compensation, directions, aligners, item-level loss, direction tuning."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from crossrec.alignment.direction import directions
from crossrec.alignment.item_level import Aligner, item_level_loss
from crossrec.alignment.strength import compensation, mean_preference, strength
from crossrec.alignment.tuning import direction_tuning_loss

from . import reference as ref
from .worlds import close, double, generator, keyed, numbers, randn

RULES = ["dynamic", "one_way", "bidirectional", "topmost"]
NAMES = ("id", "sound", "scent", "touch")


class Level:
    """A batch of pairs over ``items`` items and |M| = ``size`` modalities, with some zero vectors."""

    def __init__(self, seed: int, size: int, items: int = 4, batch: int = 7):
        draw = generator(seed)
        self.user = randn(seed, 5, 3)
        self.user[seed % 5] = 0
        self.item = {name: randn(seed + 10 * number, items, 3) for number, name in enumerate(NAMES[:size])}
        self.item["id"][seed % items] = 0
        more = torch.randint(items, (batch - items,), generator=draw)
        self.item_B = torch.cat([torch.arange(items), more])[torch.randperm(batch, generator=draw)]
        self.user_B = torch.randint(5, (batch,), generator=draw)
        self.pairs = list(zip(self.user_B.tolist(), self.item_B.tolist(), strict=True))
        self.preference = mean_preference(self.user[self.user_B], self.item_B, items)
        self.strength = {name: strength(self.preference, table) for name, table in self.item.items()}
        self.expected = {name: ref.strength(self.pairs, keyed(self.user), keyed(t)) for name, t in self.item.items()}

    def aligned(self, rule: str):
        """Aligned vectors and their rows per direction, with some linear aligner each; and those of the reference."""
        actual = directions(torch.stack(list(self.strength.values())), rule)
        names = list(self.item)
        supported, aligned, expected = {}, {}, {}
        for number, (m, n) in enumerate(itertools.permutations(range(len(names)), 2)):
            pair = names[m], names[n]
            weight = randn(100 + number, 3, 3)
            rows = actual[m, n].nonzero().flatten()
            unit = self.item[pair[0]][rows] / self.item[pair[0]][rows].norm(dim=1, keepdim=True).clamp(min=1e-300)
            supported[pair], aligned[pair] = rows, unit + unit @ weight.T
            expected[pair] = {
                i: ref.align_linear(numbers(weight), numbers(self.item[pair[0]])[i]) for i in rows.tolist()
            }
        return aligned, supported, expected


@pytest.mark.parametrize("seed", range(4))
def test_strength(seed):
    level = Level(seed, 3)
    for name, expected in level.expected.items():
        close(level.strength[name], list(expected.values()))


def test_strength_by_hand():
    # item 0 is chosen by users (1, 0) and (0, 2): cosines with (3, 4) are .6 and .8; item 1 by a user without a vector
    user = double([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    preference = mean_preference(user, torch.tensor([0, 0, 1]), 2)
    close(preference, [[0.5, 0.5], [0.0, 0.0]])
    close(strength(preference, double([[3.0, 4.0], [1.0, 0.0]])), [(0.6 + 0.8) / 2, 0.0])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_compensation(count):
    values = randn(count, count).tanh()
    close(compensation(values), ref.compensation(numbers(values)))
    assert (compensation(values) >= 0).all()


def test_compensation_by_hand():
    # strengths .6 and .8: mean .7, unbiased variance (.01 + .01) / 1 = .02
    close(compensation(double([0.6, 0.8])), [0.02 * (math.exp(0.4) - 1), 0.02 * (math.exp(0.2) - 1)])
    # one item has no variance
    close(compensation(double([0.6])), [0.0])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_directions(rule, size):
    for seed in range(4):
        table = randn(seed + 31 * size, size, 5).tanh()
        table[:, 0] = table[0, 0]  # a tie of all
        if size > 2:
            table[2, 1] = table[1, 1] = table[:, 1].max()  # a tie at the top
        actual = directions(table, rule)
        assert actual.dtype == torch.bool
        assert actual.shape == (size, size, 5)
        listed = numbers(table)
        for m, n, i in itertools.product(range(size), range(size), range(5)):
            assert actual[m, n, i].item() == ref.supports(listed, rule, m, n, i), (m, n, i)


def test_directions_by_hand():
    # items a, b; modality 0 has strengths .8, .6, modality 1 has .78, .9
    # g of 0: .02 (e^.2 - 1) = .0044, .02 (e^.4 - 1) = .0098
    # g of 1: .0072 (e^.22 - 1) = .0018, .0072 (e^.1 - 1) = .0008
    # a: 0 → 1 needs .78 + .0018 > .8, no; 1 → 0 yes. b: 0 → 1 yes; 1 → 0 needs .6098 > .9, no
    table = double([[0.8, 0.6], [0.78, 0.9]])
    for rule in ("dynamic", "one_way", "topmost"):
        actual = directions(table, rule)
        assert actual[0, 1].tolist() == [False, True]
        assert actual[1, 0].tolist() == [True, False]
    # at .799 the gap of .001 is within the compensation .0051 (e^.201 - 1) = .0011: both ways, in `dynamic` alone
    table[1, 0] = 0.799
    assert directions(table, "dynamic")[:, :, 0].tolist() == [[False, True], [True, False]]
    assert directions(table, "one_way")[:, :, 0].tolist() == [[False, False], [True, False]]


def test_unknown_direction():
    with pytest.raises(ValueError, match="sideways"):
        directions(torch.zeros(2, 2), "sideways")


@pytest.mark.parametrize("kind", ["linear", "ffn"])
def test_aligner(kind):
    aligner = Aligner(3, kind, generator(0)).double()
    with torch.no_grad():
        for number, parameter in enumerate(aligner.parameters()):
            parameter.copy_(randn(number, *parameter.shape))
    vectors = randn(9, 5, 3)
    vectors[2] = 0
    state = {name: numbers(value) for name, value in aligner.state_dict().items()}
    for actual, vector in zip(aligner(vectors), numbers(vectors), strict=True):
        if kind == "linear":
            assert list(state) == ["weight"]
            expected = ref.align_linear(state["weight"], vector)
        else:
            expected = ref.align_ffn(state["weight"], state["bias"], state["second"], state["second_bias"], vector)
        close(actual, expected)


def test_aligner_by_hand():
    # (3, 4) → (.6, .8); W swaps and doubles: + (1.6, 1.2)
    aligner = Aligner(2).double()
    with torch.no_grad():
        aligner.weight.copy_(torch.tensor([[0.0, 2.0], [2.0, 0.0]]))
    close(aligner(double([[3.0, 4.0]])), [[0.6 + 1.6, 0.8 + 1.2]])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [2, 3, 4])
def test_item_level_loss_and_tuning(rule, size):
    for seed in range(3):
        level = Level(seed, size)
        aligned, supported, expected = level.aligned(rule)
        targets = {name: keyed(table) for name, table in level.item.items()}
        close(
            item_level_loss(aligned, level.item, supported, temperature=0.07), ref.item_level(expected, targets, 0.07)
        )
        actual = direction_tuning_loss(aligned, level.preference, level.strength, supported)
        close(actual, ref.direction_tuning(expected, level.pairs, keyed(level.user), level.expected))


def test_item_level_loss_by_hand():
    # two items, modalities a and b, one direction a → b with both items. Targets b are (1, 0) and (.6, .8); the aligned
    # vectors are (2, 0), cosines 1 and .6, and (0, 5), cosines 0 and .8. λ = .2. Sum over both, divided by n = 2.
    aligned = {("a", "b"): double([[2.0, 0.0], [0.0, 5.0]]), ("b", "a"): double([]).reshape(0, 2)}
    item = {"a": double([[9.0, 9.0], [9.0, 9.0]]), "b": double([[1.0, 0.0], [3.0, 4.0]])}
    rows = {("a", "b"): torch.tensor([0, 1]), ("b", "a"): torch.tensor([], dtype=torch.int64)}
    first = math.log(math.exp(1 / 0.2) + math.exp(0.6 / 0.2)) - 1 / 0.2
    second = math.log(math.exp(0.0) + math.exp(0.8 / 0.2)) - 0.8 / 0.2
    close(item_level_loss(aligned, item, rows, temperature=0.2), (first + second) / 2)
    # one direction of one item still divides by n = 2
    aligned["a", "b"], rows["a", "b"] = double([[0.0, 5.0]]), torch.tensor([1])
    close(item_level_loss(aligned, item, rows, temperature=0.2), second / 2)


def test_direction_tuning_by_hand():
    # M = {a, b}: 1/(2·1). a → b: item 0 with cos = .6 and strength .5, item 1 with cos 0 and strength -.2: mean of .1
    # and .2; b → a: nobody, 0. In all -(.15 + 0) / 2.
    aligned = {("a", "b"): double([[3.0, 4.0], [0.0, 0.0]]), ("b", "a"): double([]).reshape(0, 2)}
    rows = {("a", "b"): torch.tensor([0, 1]), ("b", "a"): torch.tensor([], dtype=torch.int64)}
    strengths = {"a": double([0.5, -0.2]), "b": double([0.7, 0.7])}
    preference = double([[1.0, 0.0], [1.0, 0.0]])
    close(direction_tuning_loss(aligned, preference, strengths, rows), -(0.1 + 0.2) / 2 / 2)


def nobody():
    """Two modalities of which no item supports a direction."""
    empty = torch.tensor([], dtype=torch.int64)
    vectors = randn(0, 0, 3).requires_grad_()
    return {("a", "b"): vectors, ("b", "a"): vectors}, {("a", "b"): empty, ("b", "a"): empty}


def test_item_level_loss_without_items_is_a_differentiable_zero():
    aligned, rows = nobody()
    item = {"a": randn(1, 4, 3).requires_grad_(), "b": randn(2, 4, 3).requires_grad_()}
    loss = item_level_loss(aligned, item, rows, temperature=0.1)
    assert loss.shape == ()
    assert loss.item() == 0
    loss.backward()


def test_direction_tuning_without_items_is_a_differentiable_zero():
    aligned, rows = nobody()
    strengths = {"a": double([0.0] * 4), "b": double([0.0] * 4)}
    loss = direction_tuning_loss(aligned, randn(3, 4, 3), strengths, rows)
    assert loss.shape == ()
    assert loss.item() == 0
    loss.backward()
