"""Invariances: order of a batch, numbering of items and users, lengths of vectors, merged repeats."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings, strategies as st
from tests.equations.worlds import TERMS, Case, close, double, generator, make, randn

from crossrec.alignment import Cross
from crossrec.alignment.clusters import sinkhorn
from crossrec.alignment.direction import directions
from crossrec.alignment.strength import compensation
from crossrec.types import Batch, Representations

seeds = st.integers(min_value=0, max_value=10_000)
rules = st.sampled_from(["dynamic", "one_way", "bidirectional", "topmost"])
few = settings(max_examples=8, deadline=None, derandomize=True)


def same(one: Case, other: Case) -> None:
    before, after = one.terms(), other.terms()
    assert set(before) == set(after) == set(TERMS)
    for name in TERMS:
        close(after[name], before[name], 1e-9)


def rebuilt(case: Case, item: torch.Tensor, user: torch.Tensor) -> Case:
    """The case with its items and users renumbered: row ``at`` was row ``item[at]``."""
    new_number = torch.argsort(item)
    old = case.cross.neighbor_IK[item]
    features = {name: table[item] for name, table in case.features.items()}
    cross = Cross(
        case.reps.item_IL.shape[1],
        features={name: table.float() for name, table in features.items()},
        modalities=tuple(case.reps.modality_IL),
        neighbors=torch.where(old < 0, old, new_number[old]),
        config=case.cross.config,
    ).double()
    cross.load_state_dict(case.cross.state_dict())
    reps = Representations(
        case.reps.user_UL[user],
        case.reps.item_IL[item],
        {name: table[item] for name, table in case.reps.modality_IL.items()},
    )
    batch = Batch(torch.argsort(user)[case.batch.user_B], new_number[case.batch.item_B])
    return Case(cross, reps, batch, features, case.neighbors)


@few
@given(seed=seeds, rule=rules)
def test_order_of_the_batch(seed, rule):
    case = make(seed, direction=rule)
    order = torch.randperm(len(case.batch), generator=generator(seed))
    same(case, Case(case.cross, case.reps, Batch(case.batch.user_B[order], case.batch.item_B[order]), {}, {}))


@few
@given(seed=seeds, rule=rules)
def test_numbers_of_items_and_users(seed, rule):
    case = make(seed, direction=rule)
    draw = generator(seed)
    same(case, rebuilt(case, torch.randperm(6, generator=draw), torch.randperm(4, generator=draw)))


@few
@given(seed=seeds, rule=rules)
def test_lengths_of_vectors(seed, rule):
    case, other = make(seed, direction=rule), make(seed, direction=rule)
    draw = generator(seed)

    def stretched(table):
        return table * torch.rand(len(table), 1, generator=draw).double().add(0.1).mul(50)

    reps = case.reps
    other.reps = Representations(
        stretched(reps.user_UL), stretched(reps.item_IL), {m: stretched(t) for m, t in reps.modality_IL.items()}
    )
    with torch.no_grad():
        for codebook in (other.cross.codebook_itv, other.cross.codebook_ui):
            codebook.copy_(stretched(codebook))
        for projection in other.cross.projections.values():
            projection.weight.mul_(7)
            projection.feature_matrix.copy_(stretched(projection.feature_matrix))
    same(case, other)


@few
@given(seed=seeds, clusterer=st.sampled_from(["sinkhorn", "kmeans"]))
def test_a_batch_twice_is_the_batch(seed, clusterer):
    case = make(seed, clusterer=clusterer)
    twice = Batch(case.batch.user_B.repeat(2), case.batch.item_B.repeat(2))
    same(case, Case(case.cross, case.reps, twice, {}, {}))


@few
@given(seed=seeds, clusterer=st.sampled_from(["sinkhorn", "kmeans"]))
def test_repeats_count_like_equal_items(seed, clusterer):
    # every pair gets its own user and item with the vectors of the old ones: repeats are written out
    case = make(seed, clusterer=clusterer, projected=(), unprojected=("touch",))
    user_B, item_B = case.batch.user_B, case.batch.item_B
    alike = Representations(
        case.reps.user_UL[user_B], case.reps.item_IL[item_B], {m: t[item_B] for m, t in case.reps.modality_IL.items()}
    )
    row_index = torch.arange(len(user_B))
    cross = Cross(
        3,
        modalities=("touch",),
        neighbors=torch.full((len(row_index), 1), -1),
        config=case.cross.config,
    ).double()
    cross.load_state_dict(case.cross.state_dict())
    before, after = case.terms(), cross(alike, Batch(row_index, row_index))
    for name in ("cluster_items", "cluster_users"):
        close(after[name], before[name], 1e-9)


# --- directions ------------------------------------------------------------------------------------------------------


@few
@given(seed=seeds, size=st.integers(2, 4), items=st.integers(1, 6))
def test_rules_of_direction(seed, size, items):
    table = randn(seed, size, items).tanh()
    dynamic, one_way = directions(table, "dynamic"), directions(table, "one_way")
    everything, topmost = directions(table, "bidirectional"), directions(table, "topmost")
    for m, n in itertools.permutations(range(size), 2):
        assert everything[m, n].all()
        assert (one_way[m, n] ^ one_way[n, m]).all()
        # both ways only where the compensation of the weaker one closes the gap
        both = dynamic[m, n] & dynamic[n, m]
        gap = table[m] - table[n]
        closed = torch.where(gap > 0, compensation(table[n]) > gap, compensation(table[m]) > -gap)
        assert torch.equal(both, closed)
    for mask in (dynamic, one_way, everything, topmost):
        assert not mask.diagonal().any()
    for narrower, wider in itertools.pairwise((topmost, one_way, dynamic, everything)):
        assert not (narrower & ~wider).any()
    assert topmost.sum(dim=(0, 1)).tolist() == [size - 1] * items
    assert (topmost.any(dim=0).sum(dim=0) == 1).all()
    # which modality comes first does not matter
    order = torch.randperm(size, generator=generator(seed))
    for rule, mask in {"dynamic": dynamic, "one_way": one_way, "topmost": topmost}.items():
        assert torch.equal(directions(table[order], rule), mask[order][:, order])


def test_ties_have_no_direction_one_way():
    assert not directions(torch.full((3, 4), 0.25), "one_way").any()
    # equal to the highest is not above it; topmost leads to the first of equals
    assert directions(torch.tensor([[0.5], [0.5], [0.1]]), "topmost")[:, :, 0].int().tolist() == [
        [0, 0, 0],
        [1, 0, 0],
        [1, 0, 0],
    ]


# --- Sinkhorn --------------------------------------------------------------------------------------------------------

shapes = {"samples": st.integers(1, 7), "prototypes": st.integers(1, 7), "seed": seeds}


@few
@given(scale=st.sampled_from([0.1, 1.0, 5.0, 100.0]), rounds=st.integers(0, 4), **shapes)
def test_codes_are_distributions(samples, prototypes, seed, scale, rounds):
    code = sinkhorn(randn(seed, samples, prototypes) * scale, rounds=rounds)
    assert (code >= 0).all()
    close(code.sum(dim=1), torch.ones(samples), 1e-12)


@few
@given(**shapes)
def test_codes_are_evenly_spread_after_many_rounds(samples, prototypes, seed):
    scores = randn(seed, samples, prototypes).tanh()
    close(sinkhorn(scores, rounds=3000, epsilon=0.3).sum(dim=0), torch.full((prototypes,), samples / prototypes), 1e-6)
    # with weights, the rows' shares are their weights
    weight = torch.randint(1, 5, (samples,), generator=generator(seed)).double()
    totals = weight @ sinkhorn(scores, rounds=3000, epsilon=0.3, weight_N=weight)
    close(totals, (weight.sum() / prototypes).expand(prototypes), 1e-6)


@few
@given(**shapes)
def test_a_shift_of_all_scores_changes_nothing(samples, prototypes, seed):
    scores = randn(seed, samples, prototypes).tanh()
    for shift in (-1000.0, 0.5, 1000.0):
        close(sinkhorn(scores + shift), sinkhorn(scores), 1e-9)


@few
@given(rounds=st.integers(0, 4), **shapes)
def test_logarithms_and_exponentials_agree(samples, prototypes, seed, rounds):
    # another sample of weight zero changes nothing, but its score is far enough to select the path of logarithms
    scores = randn(seed, samples, prototypes).tanh()
    weight = torch.randint(1, 4, (samples,), generator=generator(seed)).double()
    far = torch.cat([scores, torch.full((1, prototypes), -6.0).double()])
    by_logarithms = sinkhorn(far, rounds=rounds, weight_N=torch.cat([weight, double([0.0])]))
    close(by_logarithms[:-1], sinkhorn(scores, rounds=rounds, weight_N=weight), 1e-9)


@pytest.mark.parametrize("rule", ["dynamic", "one_way"])
def test_equal_modalities(rule):
    # with both modalities alike all strengths tie: one-way has no direction, dynamic has both wherever strengths vary
    case = make(8, direction=rule, projected=(), unprojected=("touch",), zeros=False)
    case.reps = Representations(case.reps.user_UL, case.reps.item_IL, {"touch": case.reps.item_IL})
    _, supported = case.cross.strengths(case.reps, case.batch)
    assert supported[0, 1].all() == supported[1, 0].all() == (rule == "dynamic")
    if rule == "one_way":
        assert not supported.any()
        assert case.terms()["item"] == 0
        assert case.terms()["tuning"] == 0
