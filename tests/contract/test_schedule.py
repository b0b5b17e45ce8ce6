"""An alignment that ends, fades or skips steps leaves the other steps to the backbone, bit for bit."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from crossrec import parallel
from crossrec.alignment import Cross, CrossConfig
from crossrec.alignment.schedule import alignment_factor, last_start
from crossrec.backbones import BACKBONES
from crossrec.errors import ConfigError, RunError
from crossrec.evaluation import HeldOut
from crossrec.randomness import torch_generator
from crossrec.training import Progress, TrainingConfig, fit
from crossrec.types import Batch

from .worlds import DIM, ITEMS, USERS, batches, objective, same, world

CONFIG = CrossConfig(alignment_epochs=2, prototypes_itv=8, prototypes_ui=8)
every = pytest.mark.parametrize("name", BACKBONES)


def step(model, batch):
    """Terms, loss and gradients of one step."""
    model.zero_grad(set_to_none=True)
    terms, loss = model(batch)
    loss.backward()
    gradients = {n: p.grad for n, p in model.backbone.named_parameters() if p.grad is not None}
    return {n: v.detach() for n, v in terms.items()} | {"loss": loss.detach()}, gradients


def test_the_factor_of_an_epoch_is_that_of_its_first_step():
    assert [alignment_factor(epoch, epochs=4, fade="linear") for epoch in range(1, 6)] == [1, 0.75, 0.5, 0.25, 0]
    assert [alignment_factor(epoch, every=3) for epoch in range(1, 6)] == [1, 0, 0, 1, 0]


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
    assert plain.digest() == RunConfig(alignment=CrossConfig(alignment_epochs=None, fade=None, every=None)).digest()
    assert plain.digest() != RunConfig(alignment=CrossConfig(alignment_epochs=10)).digest()
    assert plain.digest() != RunConfig(alignment=CrossConfig(every=2)).digest()


def factors(count, steps, **settings):
    return [alignment_factor(e, s, steps, **settings) for e in range(1, count + 1) for s in range(steps)]


def test_how_the_alignment_ends():
    assert factors(2, 2) == [1, 1, 1, 1]
    assert factors(3, 2, epochs=2) == [1, 1, 1, 1, 0, 0]
    assert factors(3, 2, epochs=2, fade="linear") == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0])
    cosine = [(1 + math.cos(math.pi * t / 4)) / 2 for t in range(4)]
    assert factors(3, 2, epochs=2, fade="cosine") == pytest.approx([*cosine, 0, 0])
    assert factors(3, 3, every=4) == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert factors(2, 3, every=2, epochs=1, fade="linear") == pytest.approx([1, 0, 1 / 3, 0, 0, 0])
    assert factors(2, 2, epochs=0) == [0] * 4


@pytest.mark.parametrize("fade", ["linear", "cosine"])
def test_a_fade_needs_an_end(fade):
    with pytest.raises(ConfigError, match=r"'fade'.*--alignment-epochs"):
        CrossConfig.parse({"fade": fade})
    with pytest.raises(ValueError, match="number of epochs"):
        alignment_factor(1, fade=fade)


def test_a_step_weights_the_alignment_and_a_step_without_is_the_backbones_own():
    data = world()
    settings = {"alignment_epochs": 1, "fade": "linear", "every": 2}
    model = objective("lightgcn", data, CONFIG.model_copy(update=settings))
    plain = objective("lightgcn", data, None)
    batch, expected = batches(data)[0], [1, 0, 1 / 2, 0, 0, 0]
    for number, factor in enumerate(expected):
        for each in (model, plain):
            if number % 4 == 0:
                each.before_epoch(1 + number // 4, torch_generator(0, "epoch"), 4)
        (terms, gradients), (plain_terms, plain_gradients) = step(model, batch), step(plain, batch)
        if not factor:
            assert same(terms, plain_terms)
            assert same(gradients, plain_gradients)
            continue
        own = {name: terms.pop(name) for name in plain_terms if name != "loss"}
        loss = terms.pop("loss")
        torch.testing.assert_close(loss, own["bpr"] + own.get("reg", 0) + factor * model.cross.total(terms))


def test_history_has_the_mean_over_the_steps_with_alignment():
    data = world()
    model = objective("lightgcn", data, CrossConfig(every=2, prototypes_itv=8))
    seen, forward = [], model.forward

    def recording(batch):
        terms, loss = forward(batch)
        seen.append({name: value.item() for name, value in terms.items()})
        return terms, loss

    model.forward = recording
    row = fit(model, data, NOBODY, TrainingConfig(epochs=1, batch_size=16, device="cpu")).history[0]
    values = [terms["item"] for terms in seen if "item" in terms]
    assert len(seen) > len(values) == (len(seen) + 1) // 2
    assert row["item"] == pytest.approx(sum(values) / len(values))


FADING = CrossConfig(
    alignment_epochs=3, fade="cosine", every=2, temperature_gradient="weighted", prototypes_itv=8, prototypes_ui=8
)


@pytest.mark.parametrize("alignment", [CONFIG, FADING], ids=["ends", "fades and skips steps"])
def test_a_run_that_is_stopped_in_the_middle_goes_on_bit_equal(tmp_path, alignment):
    data = world()
    config = TrainingConfig(epochs=4, batch_size=16, device="cpu", checkpoint_seconds=0)
    whole = objective("lightgcn", data, alignment)
    fit(whole, data, NOBODY, config)
    for stop_after in (1, 2, 3):
        folder = tmp_path / str(stop_after)

        class StopError(Exception):
            pass

        def stop(progress, last=stop_after):
            if progress.epoch == last:
                raise StopError

        with pytest.raises(StopError):
            fit(objective("lightgcn", data, alignment), data, NOBODY, config, checkpoints=folder, on_epoch=stop)
        resumed = objective("lightgcn", data, alignment)
        fit(resumed, data, NOBODY, config, checkpoints=folder)
        assert same(whole.state_dict(), resumed.state_dict())
        assert isinstance(resumed.cross.lambda_f, torch.nn.Parameter)


def test_the_alignment_sees_the_first_pairs_of_a_step():
    data = world()
    part, whole = objective("lightgcn", data, replaced(alignment_batch=5)), objective("lightgcn", data, CONFIG)
    batch = batches(data)[0]
    terms, total = part(batch)
    expected = whole.cross(whole.propagate(), Batch(batch.user_B[:5], batch.item_B[:5]))
    own = whole.backbone.losses(whole.propagate(), batch)  # all pairs
    assert terms.keys() == {*own, *expected}
    for name, value in {**own, **expected}.items():
        torch.testing.assert_close(terms[name], value)
    torch.testing.assert_close(total, sum(own.values()) + whole.cross.total(expected))
    more, _ = objective("lightgcn", data, replaced(alignment_batch=len(batch) + 1))(batch)
    assert same(more, whole(batch)[0])


def replaced(**settings):
    return CONFIG.model_copy(update=settings)


@pytest.mark.parametrize("restart", [True, None])
def test_adam_starts_anew_when_the_alignment_has_ended(restart, monkeypatch):
    data, steps = world(), []
    model = objective("lightgcn", data, replaced(restart_optimizer=restart))
    step = torch.optim.Adam.step

    def counting(self, *args):
        step(self, *args)
        steps.append(int(self.state[model.backbone.user]["step"]))

    monkeypatch.setattr(torch.optim.Adam, "step", counting)
    fit(model, data, NOBODY, TrainingConfig(epochs=4, batch_size=16, device="cpu"))
    epoch = len(steps) // 4
    assert epoch > 1
    first, rest = list(range(1, 2 * epoch + 1)), range(1, 2 * epoch + 1)
    assert steps == first + [n if restart else n + 2 * epoch for n in rest]


def test_a_restart_needs_an_end():
    with pytest.raises(ConfigError, match="--alignment-epochs"):
        CrossConfig.parse({"restart_optimizer": True})
    assert CrossConfig(restart_optimizer=False) == CrossConfig()


def test_where_the_alignment_has_last_started():
    values = [1, 3, 2, 2, 2, 2, 2, 2, 2, 2]
    starts = [last_start(values[:count], epochs=2, stalled=3) for count in range(len(values) + 1)]
    # two epochs with it, three without it and without progress, then anew in epoch 6, and so on
    assert starts == [1, 1, 1, 1, 1, 6, 6, 6, 6, 6, 11]
    better = [1, 3, 2, 4, 2, 2, 2]  # progress in epoch 4 puts the start off
    assert [last_start(better[:count], epochs=2, stalled=3) for count in range(8)] == [1, 1, 1, 1, 1, 1, 1, 8]
    assert last_start(values, epochs=2, stalled=None) == 1


def test_the_alignment_starts_anew_when_validation_stalls(monkeypatch):
    data = world()
    model = objective("lightgcn", data, replaced(restart_after=1, restart_optimizer=True))
    active, forward, cleared = [], model.cross.forward, []
    metrics = {"recall@20": 0.5, "ndcg@20": 0.5}
    monkeypatch.setattr(model.cross, "forward", lambda *args: active.append(len(cleared)) or forward(*args))
    monkeypatch.setattr("crossrec.training.validate", lambda *_: cleared.append(0) or metrics)
    fit(model, data, NOBODY, TrainingConfig(epochs=8, batch_size=1000, device="cpu"))
    assert active == [0, 1, 3, 4, 6, 7]  # epochs from 0: two with the alignment, one without


def test_a_fade_goes_on_within_an_epoch():
    config = CrossConfig(alignment_epochs=2, fade="linear", prototypes_itv=8, prototypes_ui=8)
    model, factors = objective("lightgcn", world(), config), []
    for epoch in (1, 2, 3):
        model.before_epoch(epoch, torch_generator(0, "epoch"), steps=4)
        factors += [model._next_factor() for _ in range(4)]
    assert factors == pytest.approx([1 - t / 8 for t in range(8)] + [0] * 4)


def test_a_training_that_follows_another_sees_only_the_epochs_before(monkeypatch):
    config = CrossConfig(alignment_epochs=1, restart_after=1, prototypes_itv=8)
    model, seen = objective("lightgcn", world(), config), []
    prepare = model.before_epoch
    monkeypatch.setattr(model, "before_epoch", lambda *args: (seen.append(list(args[3])), prepare(*args)))
    earlier = Progress(history=[{"epoch": n, "valid_recall@20": n / 10} for n in range(1, 6)])
    fit(model, world(), NOBODY, TrainingConfig(epochs=3, batch_size=16, device="cpu"), follow=earlier)
    assert seen == [[], [0.1], [0.1, 0.2]]


def test_a_table_of_which_a_process_has_some_columns_is_whole_in_a_file(monkeypatch):
    model = objective("lightgcn", world(), CONFIG)
    assert all(model.whole(name, tensor) is tensor for name, tensor in model.state_dict().items())
    vectors = model.propagate()
    model.backbone.columns = DIM
    for name, tensor in model.state_dict().items():
        written = model.whole(name, tensor)
        if name.startswith("backbone."):
            assert (written.by, written.shape) == ("columns", (len(tensor), DIM))
            assert torch.equal(written.detach(), tensor)
        else:
            assert written is tensor
    monkeypatch.setattr(parallel, "exchange", lambda _: None)  # this process has all the columns
    model.propagate = lambda: replace(vectors, columns=DIM)
    whole = model.whole_vectors()
    assert whole.columns is None
    assert torch.equal(whole.user_UL, vectors.user_UL)
    assert torch.equal(whole.item_IL, vectors.item_IL)


def test_the_alignment_starts_from_its_own_generator_of_the_seed():
    data = world()
    model = objective("bpr", data, CONFIG, seed=3)
    alone = Cross(
        DIM,
        features=data.features,
        interactions=(data.user_T, data.item_T),
        num_items=ITEMS,
        config=CONFIG,
        generator=torch_generator(3, "alignment"),
    )
    assert same(dict(model.cross.named_parameters()), dict(alone.named_parameters()))


def test_a_training_that_pauses_goes_on_from_its_checkpoint(tmp_path):
    config = TrainingConfig(epochs=3, batch_size=16, device="cpu")
    whole, paused = (objective("lightgcn", world(), CONFIG) for _ in range(2))
    fit(whole, world(), NOBODY, config)
    saved = {"checkpoints": tmp_path / "saved", "identity": "this run"}
    progress = fit(paused, world(), NOBODY, config, pause=lambda progress: progress.epoch == 2, **saved)
    assert (progress.epoch, progress.finished) == (2, False)
    with pytest.raises(RunError):
        fit(objective("lightgcn", world(), CONFIG), world(), NOBODY, config, **(saved | {"identity": "another"}))
    resumed = objective("lightgcn", world(), CONFIG, seed=9)
    assert [row["epoch"] for row in fit(resumed, world(), NOBODY, config, **saved).history] == [1, 2, 3]
    assert same(dict(resumed.state_dict()), dict(whole.state_dict()))
