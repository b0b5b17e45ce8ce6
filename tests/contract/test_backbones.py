"""The contract of every backbone in BACKBONES. A new entry is tested without further changes."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save

from crossrec.alignment import ALIGNMENTS, CrossConfig
from crossrec.alignment.config import DamrsAlignmentConfig
from crossrec.backbones import BACKBONES, Backbone, BackboneConfig
from crossrec.errors import ConfigError
from crossrec.randomness import torch_generator

from .worlds import (
    ALONE_ITEM,
    ALONE_USER,
    DIM,
    ITEMS,
    SILENT_ITEM,
    USERS,
    backbone,
    batches,
    objective,
    same,
    scores,
    train,
    world,
)

MULTIMODAL = [name for name, kind in BACKBONES.items() if kind.multimodal]
every = pytest.mark.parametrize("name", BACKBONES)
BY_ID = {"mgcn", "gume", "damrs"}
"""Backbones whose vectors of a modality are made of item ids: an item without a trained id has none."""


@every
def test_is_registered_under_the_name_of_its_configuration(name):
    kind = BACKBONES[name]
    assert issubclass(kind, Backbone)
    assert issubclass(kind.config_type, BackboneConfig)
    assert kind.config_type.name == name
    assert kind.config_type().dim == 64


@every
def test_every_setting_is_explained(name):
    assert [field for field, info in BACKBONES[name].config_type.model_fields.items() if not info.description] == []


@every
@pytest.mark.parametrize("training", [True, False])
def test_propagate_returns_vectors_of_the_shared_space(name, training):
    data = world()
    model = backbone(name, data).train(training)
    model.before_epoch(1, torch_generator(0, "epoch"))
    reps = model.propagate()
    assert reps.user_UL.shape == (USERS, DIM)
    assert reps.item_IL.shape == (ITEMS, DIM)
    assert set(reps.modality_IL) == set(model.modalities)
    assert set(model.modalities) <= set(data.features)
    tensors = [reps.user_UL, reps.item_IL, reps.user_US, reps.item_IS, *reps.modality_IL.values()]
    assert all(vector.shape == (ITEMS, DIM) for vector in reps.modality_IL.values())
    assert reps.user_US.shape == (USERS, reps.item_IS.shape[1])
    assert reps.item_IS.shape[0] == ITEMS
    for tensor in tensors:
        assert tensor.dtype == torch.float32
        assert bool(tensor.isfinite().all())
        assert tensor.requires_grad


@every
def test_parts_sum_to_the_scoring_vectors(name):
    model = backbone(name, world()).eval()
    with torch.no_grad():
        reps = model.propagate()
        parts = model.parts(reps)
    if parts:
        torch.testing.assert_close(torch.stack(list(parts.values())).sum(0), reps.item_IS)
        assert "id" in parts or set(parts) == set(model.modalities)


@every
def test_content_encoders_reproduce_the_vectors_of_items_without_interactions(name):
    data = world()
    model = backbone(name, data).eval()
    encoders = model.content_encoders()
    if name in BY_ID:
        assert not encoders
        return
    assert set(model.modalities) <= set(encoders)
    assert bool(encoders) == model.multimodal
    with torch.no_grad():
        reps = model.propagate()
        for modality in model.modalities:
            encoded = encoders[modality](data.features[modality])
            torch.testing.assert_close(encoded[ALONE_ITEM], reps.modality_IL[modality][ALONE_ITEM])
            assert not encoded[SILENT_ITEM].any()


@every
def test_scores_differ_between_users(name):
    # a propagate() that returned zeros or constants would satisfy every shape
    score = scores(backbone(name, world()))
    assert score.std(0).min() > 0
    assert score[:ALONE_USER].std(1).min() > 0


@every
def test_losses_are_named_finite_scalars(name):
    data = world()
    model = backbone(name, data).train()
    model.before_epoch(1, torch_generator(0, "epoch"))
    terms = model.losses(model.propagate(), batches(data)[0])
    assert terms
    for term, value in terms.items():
        assert term.isidentifier()
        assert value.shape == ()
        assert bool(value.isfinite())
    reserved = {"loss", "epoch", "train_seconds", "eval_seconds"}
    reserved |= {term for kind in ALIGNMENTS.values() if kind is not None for term in kind().active}
    assert not reserved & set(terms), "columns of history.csv would clash"


@every
def test_every_parameter_gets_a_gradient(name):
    data = world()
    model = backbone(name, data).train()
    model.before_epoch(1, torch_generator(0, "epoch"))
    for batch in batches(data):
        sum(model.losses(model.propagate(), batch).values()).backward()
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@every
def test_every_parameter_learns_with_alignment(name):
    # A bias that cancels in positive - negative has no gradient of its own: with CROSS every parameter must have one.
    data = world()
    model = objective(name, data, CrossConfig(direction="bidirectional"))
    before = {key: p.detach().clone() for key, p in model.backbone.named_parameters()}
    train(model, data, epochs=1)
    assert [key for key, p in model.backbone.named_parameters() if torch.equal(before[key], p)] == []


@every
def test_one_seed_fixes_parameters_and_losses(name):
    data = world()
    runs = []
    for seed in (4, 4, 5):
        model = objective(name, data, None, seed=seed)
        start = {key: p.detach().clone() for key, p in model.state_dict().items()}
        runs.append((start, train(model, data), model.state_dict()))
    first, again, other = runs
    assert same(first[0], again[0])
    assert first[1] == again[1]
    assert same(first[2], again[2])
    assert not same(first[0], other[0])
    assert first[1] != other[1]


@every
def test_initial_values_come_from_the_generator_alone(name):
    torch.manual_seed(1)
    one = backbone(name, world(), seed=0).state_dict()
    state = torch.random.get_rng_state()
    torch.manual_seed(2)
    two = backbone(name, world(), seed=0).state_dict()
    assert same(one, two)
    torch.manual_seed(1)
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator was drawn from"


@every
@pytest.mark.parametrize("alignment", [kind and kind() for kind in ALIGNMENTS.values()], ids=ALIGNMENTS)
def test_an_epoch_of_training_lowers_the_loss(name, alignment):
    data = world()
    model = objective(name, data, alignment)
    model.train()
    model.backbone.before_epoch(1, torch_generator(0, "epoch"))

    def loss() -> float:
        return sum(model(batch)[1].item() for batch in batches(data, seed=1))

    before = loss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for batch in batches(data, seed=1):
        optimizer.zero_grad()
        model(batch)[1].backward()
        optimizer.step()
    assert loss() < before


@every
def test_recommending_is_deterministic_and_changes_no_state(name):
    data = world()
    model = objective(name, data, None)
    train(model, data, epochs=1)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    generator = torch.random.get_rng_state()
    first = scores(model.backbone)
    assert torch.equal(first, scores(model.backbone))
    assert same(state, model.state_dict())
    assert torch.equal(generator, torch.random.get_rng_state())
    assert not model.backbone.propagate().user_UL.isnan().any()


@every
def test_state_dict_round_trip_scores_the_same(name):
    data = world()
    model = objective(name, data, None, seed=0)
    train(model, data)
    copy = objective(name, data, None, seed=9)
    assert not torch.equal(scores(model.backbone), scores(copy.backbone))
    copy.load_state_dict(load(save({key: value.contiguous() for key, value in model.state_dict().items()})))
    assert torch.equal(scores(model.backbone), scores(copy.backbone))


@every
def test_before_epoch_draws_from_its_generator_alone(name):
    data = world()
    batch = batches(data)[0]
    losses, states = [], []
    for seed in (3, 3):
        torch.manual_seed(len(losses))  # must not matter
        model, generator = backbone(name, data).train(), torch_generator(seed, "epoch")
        for epoch in (1, 2):
            model.before_epoch(epoch, generator)
        losses.append({key: value.detach() for key, value in model.losses(model.propagate(), batch).items()})
        states.append(generator.get_state())
    assert same(*losses)
    assert torch.equal(*states)


DRAWS = {
    "sgl": ("sgl", {}),
    "ncl": ("ncl", {"warm_up": 0, "clusters": 4, "layers": 2, "proto": 1.0}),
    "freedom": ("freedom", {}),
    "slmrec fd": ("slmrec", {"task": "fd"}),
    "slmrec fm": ("slmrec", {"task": "fm"}),
    "gume": ("gume", {}),
    "pgl": ("pgl", {}),
    "pgl dropout": ("pgl", {"pruned": 0.0}),
}
"""Backbones that draw something in every epoch."""


@pytest.mark.parametrize(("name", "settings"), DRAWS.values(), ids=DRAWS)
def test_what_an_epoch_draws_follows_from_its_generator(name, settings):
    data = world()

    def losses(seed, global_seed):
        torch.manual_seed(global_seed)
        model = backbone(name, data, **settings).train()
        model.before_epoch(1, torch_generator(seed, "epoch"))
        terms = model.losses(model.propagate(), batches(data)[0])
        return {key: value.item() for key, value in terms.items()}

    assert losses(3, 0) == losses(3, 99)
    assert any(losses(seed, 0) != losses(3, 0) for seed in (4, 5, 6))


@every
def test_depends_on_the_training_pairs_alone(name):
    # the order of the rows in the file is no information either
    data = world()
    turned = torch.arange(len(data.user_T)).flip(0)
    mixed = type(data)(USERS, ITEMS, data.user_T[turned], data.item_T[turned], data.features)
    torch.testing.assert_close(scores(backbone(name, data)), scores(backbone(name, mixed)))


@pytest.mark.parametrize("name", MULTIMODAL)
def test_needs_content(name):
    with pytest.raises(ConfigError, match=rf"--backbone {name} needs at least one content modality.*_feat\.npy"):
        backbone(name, world(0))


@pytest.mark.parametrize(
    ("name", "count"), [(name, count) for name in BACKBONES for count in range(int(name in MULTIMODAL), 4)]
)
@pytest.mark.parametrize("alignment", [None, CrossConfig(), DamrsAlignmentConfig()], ids=["none", "cross", "damrs"])
def test_any_number_of_modalities(name, count, alignment):
    data = world(count)
    model = objective(name, data, alignment)
    steps = train(model, data, epochs=1)
    assert all(torch.tensor(list(step.values())).isfinite().all() for step in steps)
    assert all(p.isfinite().all() for p in model.parameters())
    if alignment is not None:
        assert set(model.cross.modalities) == {"id", *data.features}
        assert set(alignment.active) <= set(steps[0])


@every
def test_content_matters_to_multimodal_backbones_only(name):
    data = world()
    other = type(data)(USERS, ITEMS, data.user_T, data.item_T, {m: f.flip(0) for m, f in data.features.items()})
    assert torch.equal(scores(backbone(name, data)), scores(backbone(name, other))) == (name not in MULTIMODAL)


@every
def test_missing_features_and_unknown_users_and_items_stay_finite(name):
    data = world()
    assert not data.features["sound"][3].any()
    assert ALONE_USER not in data.user_T
    assert ALONE_ITEM not in data.item_T
    model = objective(name, data, CrossConfig())
    train(model, data)
    score = scores(model.backbone)
    assert bool(score.isfinite().all())
    assert score[ALONE_USER].shape == (ITEMS,)


@every
def test_one_pair_is_enough_for_a_batch(name):
    data = world()
    model = objective(name, data, CrossConfig())
    model.backbone.before_epoch(1, torch_generator(0, "epoch"))
    batch = batches(data, size=1)[0]
    terms, loss = model(batch)
    loss.backward()
    assert bool(torch.stack([*terms.values(), loss]).isfinite().all())
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
