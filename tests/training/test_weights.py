"""Weights of interactions: a pair of weight 2 counts like two pairs, in losses, alignment and sampling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tests.contract.worlds import backbone, objective, world
from tests.equations.worlds import Case, close, make

from crossrec.alignment import CrossConfig
from crossrec.alignment.clusters import user_cluster_loss, user_cluster_loss_reference
from crossrec.alignment.strength import mean_preference
from crossrec.backbones import BACKBONES
from crossrec.cli import main
from crossrec.data import DataConfig, Dataset, load, validate
from crossrec.errors import ArgumentError, ConfigError, DataError
from crossrec.losses import bpr
from crossrec.randomness import torch_generator
from crossrec.runs import RunConfig, run
from crossrec.sampling import Sampler
from crossrec.training import TrainingConfig
from crossrec.types import Batch, TrainingSet

WEIGHTED = sorted(name for name, kind in BACKBONES.items() if kind.weighs_pairs)


def repeated(batch: Batch, times: torch.Tensor) -> tuple[Batch, Batch]:
    """The batch with weights, and the batch in which each pair stands as often as its weight says."""
    row = torch.repeat_interleave(torch.arange(len(batch)), times)
    parts = (None if part is None else part[row] for part in (batch.user_B, batch.item_B, batch.negative_B))
    return replace(batch, weight_B=times.double()), Batch(*parts)


def gradients(case: Case, batch: Batch) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """Terms and the gradient of their sum by users, items and parameters."""
    leaves = [case.reps.user_UL.clone().requires_grad_(), case.reps.item_IL.clone().requires_grad_()]
    terms = case.cross(replace(case.reps, user_UL=leaves[0], item_IL=leaves[1]), batch)
    total = torch.stack([*terms.values()]).sum()
    return terms, list(torch.autograd.grad(total, [*leaves, *case.cross.parameters()]))


@pytest.mark.parametrize("scale", ["cosine", "rank", "zscore"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_weight_of_two_counts_like_two_pairs_in_every_term(seed, scale):
    case = make(seed, strength_scale=scale)
    times = torch.randint(1, 4, (len(case.batch),), generator=torch.Generator().manual_seed(seed))
    weighted, written_out = repeated(case.batch, times)
    (terms, grads), (other_terms, other_grads) = gradients(case, weighted), gradients(case, written_out)
    assert terms.keys() == other_terms.keys() == {"item", "tuning", "neighbor", "cluster_items", "cluster_users"}
    for name in terms:
        close(terms[name], other_terms[name], 1e-8)
    for left, right in zip(grads, other_grads, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-6, atol=1e-8)
    plain = case.cross(case.reps, case.batch)
    for name in ("cluster_users", "tuning"):
        assert abs(plain[name].item() - terms[name].item()) > 1e-6


def test_weights_of_fractions_scale_out():
    case = make(3)
    weight = torch.rand(len(case.batch), generator=torch.Generator().manual_seed(3)).double() + 0.1
    one, many = (case.cross(case.reps, replace(case.batch, weight_B=weight * scale)) for scale in (1.0, 40.0))
    for name in one:
        close(one[name], many[name], 1e-7)


def test_the_mean_preference_and_the_loss_of_users_by_hand():
    user = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double()
    weight = torch.tensor([3.0, 1.0])
    index = torch.tensor([0, 0])
    close(mean_preference(user, index, 1, weight_B=weight), [[0.75, 0.25]])
    close(mean_preference(user, index, 1, user_index_B=torch.tensor([1, 0]), weight_B=weight), [[0.25, 0.75]])
    draw = torch.Generator().manual_seed(0)
    users, items, book = (torch.randn(n, 3, generator=draw).double() for n in (3, 2, 4))
    pairs = torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1])
    three = tuple(torch.repeat_interleave(part, torch.tensor([2, 1, 3])) for part in pairs)
    close(
        user_cluster_loss(users, items, book, temperature=0.2, pairs=pairs, weight_B=torch.tensor([2.0, 1.0, 3.0])),
        user_cluster_loss_reference(users, items, book, temperature=0.2, pairs=three),
        1e-8,
    )


def test_weighted_bpr_by_hand():
    positive, negative = torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 2.0]).double()
    expected = (3 * np.log1p(np.exp(-1.0)) + 1 * np.log1p(np.exp(2.0))) / 4
    close(bpr(positive, negative, torch.tensor([3.0, 1.0])), expected)


def test_all_backbones_but_one_weigh_pairs():
    assert sorted(BACKBONES.keys() - {*WEIGHTED}) == ["slmrec"]


@pytest.mark.parametrize("name", WEIGHTED)
def test_the_loss_of_each_backbone_weighs_pairs(name):
    data = world()
    model = backbone(name, data)
    model.train()
    model.before_epoch(1, torch_generator(0, "epoch"))
    batch = next(Sampler(data, 16).epoch(torch_generator(0, "sampling")))
    times = torch.randint(1, 4, (len(batch),), generator=torch.Generator().manual_seed(1))
    weighted, written_out = repeated(batch, times)
    reps = model.propagate()
    terms, others, plain = (model.losses(reps, part) for part in (weighted, written_out, batch))
    compared = [term for term in terms if term.startswith("bpr") or term == "closeness"]
    assert compared
    for term in compared:
        torch.testing.assert_close(terms[term], others[term], rtol=1e-4, atol=1e-6)
        assert abs(terms[term].item() - plain[term].item()) > 1e-7


def weights_of(data: TrainingSet) -> TrainingSet:
    """The set with weight 1 + user for each pair."""
    return replace(data, weight_T=(1 + data.user_T).float())


def test_batches_carry_the_weights_of_their_pairs_in_the_order_without():
    data = world()
    plain, weighted = (
        list(Sampler(part, 16).epoch(torch_generator(0, "sampling"))) for part in (data, weights_of(data))
    )
    for left, right in zip(plain, weighted, strict=True):
        assert torch.equal(left.item_B, right.item_B)
        assert torch.equal(left.negative_B, right.negative_B)
        assert left.weight_B is None
        assert torch.equal(right.weight_B, (1 + right.user_B).float())
        assert torch.equal(right.first(3).weight_B, right.weight_B[:3])


def test_sampling_draws_pairs_in_proportion_to_their_weights():
    data = weights_of(world())
    sampler, generator = Sampler(data, 1000, "sampling"), torch_generator(0, "sampling")
    count = torch.zeros(data.num_users)
    epochs = 400
    for _ in range(epochs):
        for batch in sampler.epoch(generator):
            assert batch.weight_B is None
            count += torch.bincount(batch.user_B, minlength=data.num_users)
    expected = torch.zeros(data.num_users).index_add(0, data.user_T, data.weight_T)
    expected *= epochs * len(data.user_T) / expected.sum()
    assert ((count - expected).abs() <= 5 * expected.clamp_min(1).sqrt()).all()
    assert count.sum() == epochs * len(data.user_T)


def test_the_objective_of_a_weighted_batch():
    data = weights_of(world())
    model = objective("lightgcn", data, CrossConfig(prototypes_itv=4, prototypes_ui=4), 0)
    batch = next(Sampler(data, 16).epoch(torch_generator(0, "sampling")))
    terms, _ = model(batch)
    plain, _ = model(replace(batch, weight_B=None))
    assert all(abs(terms[name].item() - plain[name].item()) > 1e-8 for name in ("bpr", "tuning", "cluster_users"))
    assert terms["neighbor"].item() == plain["neighbor"].item()


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.tensor([1.0, 0.0, 1.0]), "Batch.weight_B holds 0.0: give numbers above 0"),
        (torch.tensor([1.0, float("nan"), 1.0]), "Batch.weight_B holds nan: give numbers above 0"),
        ([1.0], r"Batch.weight_B has shape \(1,\): give one number above 0 a pair, shape \(3,\)"),
    ],
)
def test_weights_that_are_none(weight, message):
    case = make(0)
    with pytest.raises(ArgumentError, match=message):
        case.cross(case.reps, Batch([0, 1, 2], [0, 1, 2], weight_B=weight))


ROWS = [(u, i, 1 + (u * i) % 3, 1 + (u + i) % 5) for u in range(12) for i in range(u % 3, 10, 2)]


@pytest.fixture
def shop(tmp_path: Any) -> str:
    """A log with weights and ratings."""
    folder = tmp_path / "shop"
    folder.mkdir()
    frame = pl.DataFrame(ROWS, schema=["user", "item", "weight", "rating"], orient="row")
    frame.write_csv(folder / "interactions.csv")
    return str(folder)


def loaded(shop: str, **settings: Any) -> Dataset:
    return load(DataConfig(data=shop, **settings))


@pytest.mark.parametrize(("settings", "column"), [({}, 2), ({"weight_column": "rating"}, 3)])
def test_weights_are_read_where_they_are_asked_for(settings, column, shop):
    weights = {(row[0], row[1]): row[column] for row in ROWS}
    dataset = loaded(shop, weighted=True, **settings)
    for part in (dataset.train, dataset.valid, dataset.test):
        pairs = zip(part.user_N.tolist(), part.item_N.tolist(), strict=True)
        assert part.weight_N.tolist() == [weights[pair] for pair in pairs]
    plain = loaded(shop)
    assert plain.train.weight_N is None
    assert plain.fingerprint() != dataset.fingerprint()
    everything = dataset.all_in_training().train
    assert sorted(everything.weight_N) == sorted(weights.values())
    assert plain.all_in_training().train.weight_N is None


def test_ratings_are_the_weights_of_a_log_without_others(shop, tmp_path):
    frame = pl.read_csv(f"{shop}/interactions.csv").drop("weight")
    frame.write_csv(tmp_path / "log.csv")
    assert loaded(str(tmp_path / "log.csv"), weighted=True).train.weight_N.max() == 5
    frame.drop("rating").write_csv(tmp_path / "log.csv")
    with pytest.raises(DataError, match=r"no weight column.*\(weight_column names it\)"):
        loaded(str(tmp_path / "log.csv"), weighted=True)


@pytest.mark.parametrize("cell", ["0", "-1"])
def test_a_weight_that_is_not_above_zero_is_named(cell, shop):
    path = f"{shop}/interactions.csv"
    with open(path) as file:
        text = file.read()
    with open(path, "w") as file:
        file.write(text + f"0,11,{cell},3\n")
    with pytest.raises(DataError, match=rf"line {len(ROWS) + 2}: weight '{cell}' is no weight above zero; delete"):
        loaded(shop, weighted=True)
    loaded(shop)


def test_settings_of_weights_that_do_not_go_together(shop):
    (finding,) = validate(DataConfig(data=shop, weight_column="rating"))
    assert finding.message == "weight_column: says nothing without weighted; add it, or leave it out"
    with pytest.raises(DataError, match="a built-in set has no weights; leave weighted out"):
        load(DataConfig(data="synthetic-tiny", weighted=True))


def test_false_clicks_and_held_out_items_keep_the_weights(shop):
    plain = loaded(shop, weighted=True)
    noisy = loaded(shop, weighted=True, false_clicks=0.2).train
    assert noisy.weight_N[: len(plain.train)].tolist() == plain.train.weight_N.tolist()
    assert set(noisy.weight_N[len(plain.train) :]) == {plain.train.weight_N.mean()}


def config(shop: str, backbone: str = "lightgcn", weighted: bool | None = True, **training: Any) -> RunConfig:
    return RunConfig(
        data=DataConfig(data=shop, weighted=weighted),
        backbone={"name": backbone, "dim": 4},
        alignment={"name": "cross", "prototypes_itv": 4, "prototypes_ui": 4},
        training=TrainingConfig(epochs=2, batch_size=16, **training),
    )


def test_runs_with_weights_differ_and_repeat(shop, tmp_path):
    settings = [config(shop, weighted=None), config(shop), config(shop, weighting="sampling")]
    for number, setting in enumerate(settings):
        run(setting, tmp_path / str(number))
    run(settings[1], tmp_path / "again")
    losses = [pl.read_csv(tmp_path / str(number) / "history.csv")["loss"].to_list() for number in range(3)]
    assert len({tuple(loss) for loss in losses}) == 3
    assert pl.read_csv(tmp_path / "again" / "history.csv")["loss"].to_list() == losses[1]


def test_mistakes_of_weighted_runs(shop, tmp_path):
    with pytest.raises(ConfigError, match="--weighting: the interactions have no weights; read them with --weighted"):
        run(config(shop, weighted=None, weighting="loss"), tmp_path / "a")
    np.save(f"{shop}/sound_feat.npy", np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32))
    with pytest.raises(ConfigError, match=r"--weighted: the loss of SLMRec does not weigh pairs; draw them by"):
        run(config(shop, "slmrec"), tmp_path / "b")


def test_the_command(shop, tmp_path, capsys):
    command = ["train", "--data", shop, "--epochs", "1", "--dim", "4", "--alignment", "none"]
    assert main([*command, "--weighted", "--weighting", "sampling", "--out", str(tmp_path / "run")]) == 0
    assert main([*command, "--weighting", "sampling", "--out", str(tmp_path / "other")]) == 2
    assert "--weighting: the interactions have no weights; read them with --weighted" in capsys.readouterr().err


def test_settings_without_weights_leave_the_digest():
    assert RunConfig().digest() == RunConfig(data=DataConfig(weighted=False)).digest()
    assert RunConfig().digest() != RunConfig(data=DataConfig(weighted=True)).digest()
