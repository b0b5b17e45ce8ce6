"""All of CROSS: five terms and their total against the slow reference, values and gradients."""

from __future__ import annotations

import pytest
import torch

from . import reference as ref
from .worlds import TERMS, close, make

OPTIONS = {
    "as published": {},
    "topmost": {"direction": "topmost"},
    "one way": {"direction": "one_way"},
    "bidirectional": {"direction": "bidirectional"},
    "strength by rank": {"strength_scale": "rank"},
    "strength by z-score": {"strength_scale": "zscore"},
    "ffn": {"aligner": "ffn"},
    "negatives as printed": {"negatives": "items"},
    "kmeans": {"clusterer": "kmeans"},
    "fixed temperatures": {"learn_lambda_f": False, "learn_lambda_c": False, "lambda_f": 0.7, "lambda_c": 1.5},
    "learnt and clamped": {"lambda_f": 0.7, "lambda_c": 1.5},
    "one round": {"sinkhorn_rounds": 1},
    "training pairs": {"own_neighbors": False},
    "one pair": {"batch": 1},
    "one item": {"items": 1, "zeros": False},
}
SETS = {1: ((), ()), 2: (("sound",), ()), 3: (("sound",), ("touch",)), 4: (("sound", "scent"), ("touch",))}


def check(case):
    world = case.world()
    expected = ref.cross(world)
    terms = case.terms()
    assert set(terms) == set(TERMS)
    for name in TERMS:
        assert terms[name].shape == ()
        close(terms[name], expected[name])
    close(case.cross.total(terms), ref.total(expected, 0.7, 0.3, 1.3))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_terms_under_every_option(options):
    for seed in range(2):
        check(make(seed, **options))


@pytest.mark.parametrize("size", SETS)
def test_terms_for_any_number_of_modalities(size):
    projected, unprojected = SETS[size]
    for seed in range(2):
        check(make(seed, projected=projected, unprojected=unprojected, batch=5 + 4 * seed))


def test_only_projected_and_only_unprojected_modalities():
    check(make(5, projected=("sound", "scent", "touch"), unprojected=()))
    check(make(6, projected=(), unprojected=("sound", "scent")))


@pytest.mark.parametrize("scale", [None, "rank", "zscore"])
def test_strengths_and_directions(scale):
    for rule in ("dynamic", "one_way", "topmost", "bidirectional"):
        case = make(3, direction=rule, strength_scale=scale)
        held = ref.Constants(case.world())
        strengths, supported = case.cross.strengths(case.reps, case.batch)
        names = case.world().modalities
        close(strengths, [list(held.scaled[name].values()) for name in names])
        items = ref.distinct_items(case.world().pairs)
        for m, one in enumerate(names):
            for n, other in enumerate(names):
                expected = held.supported.get((one, other), [])
                assert [i for i, yes in zip(items, supported[m, n].tolist(), strict=True) if yes] == expected


def variables(case):
    """Every differentiable input by the name the reference knows it by: tensor, and where it stands in the world."""
    inputs = {"user": (case.reps.user_UL, lambda w: w.user), "id": (case.reps.item_IL, lambda w: w.item["id"])}
    for name, table in case.reps.modality_IL.items():
        inputs[name] = (table, lambda w, name=name: w.item[name])
    for name, parameter in case.cross.named_parameters():
        if name.startswith("projections."):
            modality = name.split(".")[1].removesuffix("_feat")
            inputs[name] = (parameter, lambda w, modality=modality: w.projections[modality])
        elif name.startswith("aligners."):
            _, pair, part = name.split(".")
            key, index = tuple(pair.split("->")), ("weight", "bias", "second", "second_bias").index(part)
            inputs[name] = (
                parameter,
                lambda w, key=key, index=index: (
                    w.aligners[key][index] if isinstance(w.aligners[key], tuple) else w.aligners[key]
                ),
            )
        elif name.startswith("codebook"):
            inputs[name] = (parameter, lambda w, name=name: getattr(w, name))
        else:
            inputs[name] = (parameter, name)
    return inputs


def slope(measure, row, at, step=1e-5):
    """Central difference of ``measure`` in one number of a row."""
    before = row[at]
    values = []
    for sign in (1, -1):
        row[at] = before + sign * step
        values.append(measure())
    row[at] = before
    return (values[0] - values[1]) / (2 * step)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"aligner": "ffn", "direction": "bidirectional", "negatives": "items"},
        {"direction": "one_way", "unprojected": ()},
    ],
    ids=["as published", "other options", "projected alone"],
)
def test_gradient_of_the_total(options):
    # codes, strengths, directions, compensation, targets j^n and the users of Equation 6 pass no gradient: the
    # reference holds them while everything else moves
    case = make(11, users=3, items=4, batch=5, projected=("sound",), zeros=False, **options)
    inputs = variables(case)
    for tensor, _ in inputs.values():
        tensor.requires_grad_()
    case.cross.total(case.terms()).backward()
    world = case.world()
    held = ref.Constants(world)

    def measure():
        return ref.total(ref.cross(world, held), 0.7, 0.3, 1.3)

    for name, (tensor, where) in inputs.items():
        actual = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
        if isinstance(where, str):
            expected = slope(measure, world.__dict__, where)
        else:
            table = where(world)
            expected = [
                [slope(measure, row, at) for at in range(len(row))]
                if isinstance(row, list)
                else slope(measure, table, r)
                for r, row in enumerate(table)
            ]
        torch.testing.assert_close(
            actual, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-8, msg=lambda m, name=name: name + m
        )
        assert actual.abs().sum() > 0, name
