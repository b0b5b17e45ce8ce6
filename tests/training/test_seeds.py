"""The seed decides initial values, batches and graph views, and nothing else does."""

from __future__ import annotations

import pytest
import torch

from crossrec.data import DataConfig, load
from crossrec.objective import Objective
from crossrec.randomness import torch_generator
from crossrec.runs.embeddings import TrainedEmbeddings
from crossrec.runs.execute import held_out, run, training_set
from crossrec.sampling import Sampler
from crossrec.training import fit, validate

from .runs import CROSS, tiny


@pytest.fixture(scope="module")
def dataset():
    return load(DataConfig(data="synthetic-tiny"))


@pytest.fixture
def freedom(dataset):
    """FREEDOM at the start of an epoch, with its pruned graph."""
    model = Objective(tiny("freedom").backbone, None, training_set(dataset), 0)
    model.before_epoch(1, torch_generator(0, "epoch"))
    return model.train()


def full_graph(model):
    """Vectors over all edges."""
    backbone = model.backbone
    everything, layers = torch.cat([backbone.user, backbone.item]).detach(), 2
    total = layer = everything
    for _ in range(layers):
        layer = backbone.adjacency.product(layer)
        total = total + layer
    return (total / (layers + 1))[: backbone.num_users]


def watched(seed, dataset, monkeypatch):
    """First batch and pruned graph of a training with this seed, from the same initial values."""
    model, data = Objective(tiny("freedom").backbone, None, training_set(dataset), 0), training_set(dataset)
    batches, forward = [], Objective.forward
    with monkeypatch.context() as patch:
        patch.setattr(Objective, "forward", lambda self, batch: (batches.append(batch), forward(self, batch))[1])
        fit(model, data, held_out(dataset, dataset.valid), tiny(epochs=1, seed=seed).training)
    return batches[0], model.backbone.pruned.indices


def test_batches_and_views_follow_from_the_seed(dataset, monkeypatch):
    draws = []
    for seed, global_seed in ((3, 0), (3, 99), (4, 0)):
        torch.manual_seed(global_seed)
        draws.append(watched(seed, dataset, monkeypatch))
    (first, graph), (again, graph_again), (other, other_graph) = draws
    expected = next(iter(Sampler(training_set(dataset), 128).epoch(torch_generator(3, "sampling"))))
    for name in ("user_B", "item_B", "negative_B"):
        assert torch.equal(getattr(first, name), getattr(expected, name))
        assert torch.equal(getattr(first, name), getattr(again, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))
    assert torch.equal(graph, graph_again)
    assert not torch.equal(graph, other_graph)


def test_initial_values_follow_from_the_seed(dataset):
    states = []
    for seed, global_seed in ((3, 0), (3, 99), (4, 0)):
        torch.manual_seed(global_seed)
        states.append(Objective(tiny("freedom").backbone, CROSS, training_set(dataset), seed).state_dict())
    first, again, other = states
    learnt = {name for name in first if first[name].dim() > 1 and "feature" not in name}
    assert {name.split(".")[0] for name in learnt} == {"backbone", "cross"}
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in learnt)


def test_the_seed_of_a_run_is_that_of_its_configuration(dataset, tmp_path):
    for seed in (5, 6):
        run(tiny(epochs=1, seed=seed), tmp_path / str(seed), dataset=dataset)
    expected = Objective(tiny().backbone, None, training_set(dataset), 5)
    fit(expected, training_set(dataset), held_out(dataset, dataset.valid), tiny(epochs=1, seed=5).training)
    vectors = [TrainedEmbeddings.load(tmp_path / name / "vectors.safetensors") for name in ("5", "6")]
    expected.eval()
    torch.testing.assert_close(vectors[0].user_US, expected.propagate().user_US.detach(), rtol=0, atol=0)
    assert not torch.equal(vectors[0].user_US, vectors[1].user_US)


def test_vectors_are_those_of_the_whole_graph(freedom, dataset):
    """Not of the pruned graph that the last epoch trained on, whatever mode the model is left in."""
    assert not torch.allclose(freedom.propagate().user_UL, full_graph(freedom))
    vectors = TrainedEmbeddings.from_objective(freedom, dataset, tiny("freedom"), "")
    torch.testing.assert_close(vectors.user_US, full_graph(freedom))
    assert not freedom.training


def test_validation_is_on_the_whole_graph(freedom, dataset):
    valid = held_out(dataset, dataset.valid)
    in_training = validate(freedom, valid)
    freedom.backbone.pruned = freedom.backbone.adjacency
    assert validate(freedom, valid) == in_training
    assert not freedom.training
