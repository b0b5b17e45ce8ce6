"""Validation in inference mode before and between training steps, and steps that torch compiles."""

from __future__ import annotations

import pytest
import torch
from tests.contract.worlds import batches, objective, train, world
from tests.equations.worlds import close, make

from crossrec import Batch, CrossConfig, Representations
from crossrec.alignment import PrimeConfig
from crossrec.alignment.config import DamrsAlignmentConfig
from crossrec.backbones import BACKBONES

ALIGNMENTS = {
    "none": None,
    "cross": CrossConfig(prototypes_itv=8),
    "prime": PrimeConfig(prototypes_itv=8),
    "damrs": DamrsAlignmentConfig(),
}


def validate(model, batch):
    """A trainer's validation step: eval(), inference_mode, the losses, the scores, train()."""
    model.eval()
    with torch.inference_mode():
        reps = model.propagate()
        step = model.step
        model(batch)
        model.step = step
        scores = reps.user_US @ reps.item_IS.T
    model.train()
    return scores


CASES = [("lightgcn", name) for name in ALIGNMENTS] + [(name, "cross") for name in BACKBONES if name != "lightgcn"]


@pytest.mark.parametrize(("name", "alignment"), CASES)
def test_training_is_the_same_after_a_validation_in_inference_mode(name, alignment):
    data, alignment = world(), ALIGNMENTS[alignment]
    expected = train(objective(name, data, alignment), data)
    model = objective(name, data, alignment)
    assert validate(model, batches(data)[0]).isfinite().all()
    assert train(model, data) == expected
    assert validate(model, batches(data)[0]).isfinite().all()
    train(model, data, epochs=1)


def test_memory_of_a_validation_step_serves_training_steps():
    case = make(2)
    with torch.inference_mode():
        case.cross(case.reps, case.batch)
    case.cross.total(case.terms()).backward()
    with torch.inference_mode():
        case.cross(case.reps, case.batch)
    assert all(parameter.grad is not None for parameter in case.cross.parameters())


def compiled(function):
    """``torch.compile`` with a backend that runs the graphs as they are, and its counter of compiled frames."""
    from torch._dynamo.testing import CompileCounter

    torch.compiler.reset()
    counter = CompileCounter()
    return torch.compile(function, backend=counter), counter


@pytest.mark.filterwarnings("ignore")  # torch warns about its own code
def test_torch_compile_leaves_cross_as_it_is_and_compiles_what_is_around():
    case = make(2)
    expected = case.terms()
    module, counter = compiled(case.cross)
    for name, value in module(case.reps, case.batch).items():
        assert torch.equal(value, expected[name]), name
    assert counter.frame_count == 0

    def loss(user_UL, item_IL):
        reps = Representations(user_UL * 2, item_IL * 3, case.reps.modality_IL)
        return case.cross.total(case.cross(reps, Batch(case.batch.user_B, case.batch.item_B))) * 5

    whole, counter = compiled(loss)
    user_UL, item_IL = case.reps.user_UL.clone().requires_grad_(), case.reps.item_IL.clone().requires_grad_()
    value = whole(user_UL, item_IL)
    close(value, case.cross.total(expected) * 5)  # the lengths of vectors make no difference
    value.backward()
    assert user_UL.grad.any()
    assert counter.frame_count >= 1
