"""An alignment that ends after its last epoch leaves the backbone's own steps, bit for bit."""

from __future__ import annotations

import pytest
import torch

from crossrec.alignment import CrossConfig
from crossrec.backbones import BACKBONES
from crossrec.evaluation import HeldOut
from crossrec.randomness import torch_generator
from crossrec.training import TrainingConfig, fit

from .worlds import ITEMS, USERS, batches, objective, same, world

CONFIG = CrossConfig(alignment_epochs=2, prototypes_itv=8, prototypes_ui=8)
every = pytest.mark.parametrize("name", BACKBONES)


def step(model, batch):
    """Terms, loss and gradients of one step."""
    model.zero_grad(set_to_none=True)
    terms, loss = model(batch)
    loss.backward()
    gradients = {n: p.grad for n, p in model.backbone.named_parameters() if p.grad is not None}
    return {n: v.detach() for n, v in terms.items()} | {"loss": loss.detach()}, gradients


@every
def test_after_its_last_epoch_a_step_is_the_backbones_own(name):
    data = world()
    aligned, plain = objective(name, data, CONFIG), objective(name, data, None)
    for epoch, active in ((1, True), (2, True), (3, False), (9, False)):
        for model in (aligned, plain):
            model.train()
            model.before_epoch(epoch, torch_generator(0, "epoch"))
        batch = batches(data)[0]
        ends = []
        for model in (aligned, plain):
            model.before_epoch(epoch, torch_generator(0, "epoch"))
            ends.append(step(model, batch))
        (terms, gradients), (plain_terms, plain_gradients) = ends
        assert (terms.keys() > plain_terms.keys()) == active
        assert same(terms, plain_terms) == (not active)
        assert same(gradients, plain_gradients) == (not active)
        learnt = [p.grad for p in aligned.cross.parameters()]
        assert any(grad is not None for grad in learnt) == active


def test_no_epoch_at_all_is_the_backbone_alone():
    data = world()
    never = fit_two_epochs(data, CrossConfig(alignment_epochs=0, prototypes_itv=8))
    plain = fit_two_epochs(data, None)
    assert same(never, plain)
    assert not same(never, fit_two_epochs(data, CrossConfig(alignment_epochs=1, prototypes_itv=8)))


def fit_two_epochs(data, alignment):
    model = objective("lightgcn", data, alignment)
    fit(model, data, NOBODY, TrainingConfig(epochs=2, batch_size=16, device="cpu"))
    return dict(model.backbone.state_dict())


NOBODY = HeldOut.build([0], [0], [], [], USERS, ITEMS)


def test_the_configuration_names_no_new_run_unless_it_is_given():
    from crossrec.runs import RunConfig

    plain = RunConfig()
    assert plain.digest() == RunConfig(alignment=CrossConfig(alignment_epochs=None)).digest()
    assert plain.digest() != RunConfig(alignment=CrossConfig(alignment_epochs=10)).digest()


def test_a_run_that_is_stopped_in_the_middle_goes_on_bit_equal(tmp_path):
    data = world()
    config = TrainingConfig(epochs=4, batch_size=16, device="cpu", checkpoint_seconds=0)
    whole = objective("lightgcn", data, CONFIG)
    fit(whole, data, NOBODY, config)
    for stop_after in (1, 2, 3):
        folder = tmp_path / str(stop_after)

        class StopError(Exception):
            pass

        def stop(progress, last=stop_after):
            if progress.epoch == last:
                raise StopError

        with pytest.raises(StopError):
            fit(objective("lightgcn", data, CONFIG), data, NOBODY, config, checkpoints=folder, on_epoch=stop)
        resumed = objective("lightgcn", data, CONFIG)
        fit(resumed, data, NOBODY, config, checkpoints=folder)
        assert same(whole.state_dict(), resumed.state_dict())
        assert isinstance(resumed.cross.lambda_f, torch.nn.Parameter)
