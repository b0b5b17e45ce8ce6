"""Learning rates of groups of parameters: the temperatures' own."""

from __future__ import annotations

import pytest
from tests.contract.test_schedule import NOBODY
from tests.contract.worlds import objective, world

from crossrec import training
from crossrec.alignment import CrossConfig
from crossrec.training import TrainingConfig, fit

SETTINGS = {"alpha": 0.2, "beta": 0.05, "prototypes_itv": 8, "prototypes_ui": 8}


def trained(monkeypatch, name="lightgcn", epochs=1, backbone=None, **settings):
    """A model after some epochs, and the optimiser's groups in the last."""
    data, groups = world(), []
    adam = training.SharedAdam

    def recording(*args, **options):
        groups.append(adam(*args, **options))
        return groups[-1]

    monkeypatch.setattr(training, "SharedAdam", recording)
    model = objective(name, data, CrossConfig(**SETTINGS, **settings), **(backbone or {}))
    fit(model, data, NOBODY, TrainingConfig(epochs=epochs, batch_size=1000, device="cpu"))
    return model, groups[-1].param_groups


@pytest.mark.parametrize("name", ["lightgcn", "grcn"])
def test_temperatures_learn_at_a_rate_times_the_weight_of_their_loss(monkeypatch, name):
    free, _ = trained(monkeypatch, name)
    model, groups = trained(monkeypatch, name, temperature_gradient="weighted")
    rate = model.learning_rate_at(1)
    assert [group["lr"] for group in groups] == pytest.approx([rate, rate, 0.2 * rate, 0.05 * rate])
    assert [group["params"] for group in groups[2:]] == [[model.cross.lambda_f], [model.cross.lambda_c]]
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    # one step of Adam has the length of the learning rate
    for trained_model, factors in ((free, (1, 1)), (model, (0.2, 0.05))):
        moved = (abs(trained_model.cross.lambda_f.item() - 0.1), abs(trained_model.cross.lambda_c.item() - 0.2))
        assert moved == pytest.approx(tuple(rate * factor for factor in factors), rel=2e-2)


def test_fixed_temperatures_have_no_group(monkeypatch):
    model, groups = trained(monkeypatch, temperature_gradient="weighted", learn_lambda_f=False, learn_lambda_c=False)
    assert len(groups) == 2
    assert model.cross.lambda_f is None


def test_a_learning_rate_that_falls_applies_to_every_group(monkeypatch):
    falling = {"learning_rate_decay": 0.5, "decay_epochs": 1}
    model, groups = trained(monkeypatch, "pgl", 2, falling, temperature_gradient="weighted")
    assert model.learning_rate_at(2) == model.learning_rate_at(1) / 2
    assert [g["lr"] for g in groups] == pytest.approx([model.learning_rate_at(2) * f for f in (1, 1, 0.2, 0.05)])
