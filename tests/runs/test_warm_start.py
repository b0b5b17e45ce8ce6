"""``init_from``: tables row by row by id, everything else by shape; what does not fit is one line."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from tests.training.runs import CROSS, tiny

from crossrec.backbones import BACKBONES
from crossrec.data import DataConfig, Interactions, load
from crossrec.data.io.tensor_file import read_tensors
from crossrec.errors import CrossrecError, RunError
from crossrec.objective import Objective
from crossrec.recommend import extend
from crossrec.runs.execute import run, training_set
from crossrec.runs.warm_start import WarmStart


@pytest.fixture(scope="module")
def dataset():
    return load(DataConfig(data="synthetic-tiny"))


def objective(config, dataset, seed=0):
    return Objective(config.backbone, config.alignment, training_set(dataset), seed).eval()


def renumbered(dataset, user_U, item_I):
    """The data set with the rows of users and items in another order, their ids with them."""
    new_user, new_item = np.argsort(user_U), np.argsort(item_I)

    def moved(split):
        return Interactions(new_user[split.user_N], new_item[split.item_N])

    return replace(
        dataset,
        **{name: moved(getattr(dataset, name)) for name in ("train", "valid", "test")},
        features={m: np.ascontiguousarray(x[item_I]) for m, x in dataset.features.items()},
        user_ids=dataset.user_ids.gather(user_U),
        item_ids=dataset.item_ids.gather(item_I),
    )


@pytest.mark.parametrize("name", BACKBONES)
def test_vectors_follow_their_ids(name, dataset):
    """The same people and items in another order get the vectors that they had, whatever the backbone is made of."""
    rng = np.random.default_rng(0)
    user_U, item_I = rng.permutation(60), rng.permutation(40)
    other = renumbered(dataset, user_U, item_I)
    config = tiny(name, CROSS)
    if name == "dualgnn":  # users with equally many common items: the order of the rows decides who is a neighbour
        config = config.model_copy(update={"backbone": config.backbone.model_copy(update={"user_neighbors": 60})})
    source, target = objective(config, dataset), objective(config, other, seed=1)
    start = WarmStart("", source.state_dict(), dataset.user_ids, dataset.item_ids)
    assert start.fill(target, other) == {"users": 60, "items": 40, "held_out": 0}
    for one in (source, target):  # an item graph that is learnt follows from the parameters
        one.train().before_epoch(1, torch.Generator().manual_seed(0))
        one.propagate()
        one.eval()
    with torch.no_grad():
        reps, expected = target.propagate(), source.propagate()
    assert torch.allclose(reps.user_US, expected.user_US[user_U], atol=1e-5)
    assert torch.allclose(reps.item_IS, expected.item_IS[item_I], atol=1e-5)
    codebooks = (dict(part.named_parameters())["cross.codebook_itv"] for part in (source, target))
    assert torch.equal(*codebooks)


def test_new_users_and_items_begin_as_new_and_others_are_left_behind(dataset):
    config = tiny("bpr")
    later = replace(dataset, user_ids=pl.Series([f"u{n}" for n in range(5, 65)]), item_ids=pl.Series(range(10, 50)))
    source, target, untouched = objective(config, dataset), objective(config, later, 1), objective(config, later, 1)
    start = WarmStart("", source.state_dict(), pl.Series([f"u{n}" for n in range(60)]), dataset.item_ids)
    assert start.fill(target, later) == {"users": 55, "items": 30, "held_out": 0}
    assert torch.equal(target.backbone.user[:55], source.backbone.user[5:])
    assert torch.equal(target.backbone.user[55:], untouched.backbone.user[55:])
    assert torch.equal(target.backbone.item[:30], source.backbone.item[10:])
    assert torch.equal(target.backbone.item[30:], untouched.backbone.item[30:])


def test_as_many_users_as_items_and_ids_of_another_type(dataset):
    square = replace(
        dataset,
        num_users=40,
        user_ids=pl.Series(range(40)),
        **{s: Interactions(p.user_N % 40, p.item_N) for s in ("train", "valid", "test") if (p := getattr(dataset, s))},
    )
    config = tiny("bpr")
    source, target = objective(config, square), objective(config, square, 1)
    start = WarmStart("", source.state_dict(), square.user_ids.cast(pl.String), square.item_ids.reverse())
    assert start.fill(target, square) == {"users": 40, "items": 40, "held_out": 0}
    assert torch.equal(target.backbone.user, source.backbone.user)
    assert torch.equal(target.backbone.item, source.backbone.item.flip(0))


@pytest.fixture(scope="module")
def source(dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("source") / "run"
    run(tiny("bpr", epochs=1), out, dataset=dataset)
    return out


def begun(source, **settings):
    return tiny(**({"backbone": "bpr", "epochs": 2} | settings)).model_copy(update={"init_from": str(source)})


def test_a_run_begins_with_another_and_says_so(source, dataset, tmp_path):
    metrics = run(begun(source), tmp_path / "warm", dataset=dataset)
    start = WarmStart.open(source, tiny("bpr"))
    assert metrics["init_from"] == {"identity": start.identity, "users": 60, "items": 40, "held_out": 0}
    assert metrics["identity"] != run(tiny("bpr", epochs=2), tmp_path / "cold", dataset=dataset)["identity"]
    still = begun(source)
    frozen = still.model_copy(update={"backbone": still.backbone.model_copy(update={"learning_rate": 1e-12})})
    run(frozen, tmp_path / "still", dataset=dataset)
    weights = (read_tensors(folder / "model.safetensors") for folder in (tmp_path / "still", source))
    assert all(torch.allclose(*pair) for pair in zip(*(w.values() for w in weights), strict=True))


def test_a_run_that_was_refit_does_not_give_away_what_is_held_out(dataset, tmp_path):
    """The training that is measured begins with the one that was measured; the other one with the vectors of use."""
    out = tmp_path / "refit"
    run(tiny("bpr", epochs=2).model_copy(update={"refit": True}), out, dataset=dataset)
    run(tiny("bpr", epochs=2), tmp_path / "split", dataset=dataset)
    of_split = read_tensors(tmp_path / "split" / "model.safetensors")
    start = WarmStart.open(out, tiny("bpr"))
    for measured, expected in ((True, of_split), (False, read_tensors(out / "model.safetensors"))):
        target = objective(tiny("bpr"), dataset, seed=1)
        assert start.fill(target, dataset, measured=measured)["held_out"] == 0
        assert torch.equal(target.backbone.item, expected["backbone.item"])
    assert not torch.equal(start.weights["backbone.item"], of_split["backbone.item"])
    swapped = replace(dataset, train=dataset.valid, valid=dataset.train)  # 327 validation pairs were trained on
    assert start.fill(target, swapped)["held_out"] == WarmStart.open(tmp_path / "split", tiny("bpr")).fill(
        target, swapped
    )["held_out"] == 327  # fmt: skip
    metrics = run(begun(out).model_copy(update={"refit": True}), tmp_path / "next", dataset=dataset)
    assert metrics["init_from"]["held_out"] == 0
    same = run(begun(tmp_path / "split"), tmp_path / "same", dataset=dataset)
    assert (metrics["valid"], metrics["test"]) == (same["valid"], same["test"])


def test_the_start_of_a_training_cannot_be_exchanged(source, dataset, tmp_path):
    link, out = tmp_path / "current", tmp_path / "out"
    shutil.copytree(source, link)

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(begun(link), out, dataset=dataset, on_epoch=stop)
    shutil.rmtree(link)
    run(tiny("bpr", epochs=3), link, dataset=dataset)
    with pytest.raises(RunError, match=r"current: is another run than the one that the training in .*out began with"):
        run(begun(link), out, dataset=dataset, resume=True)
    shutil.rmtree(link)
    shutil.copytree(source, link)
    metrics = run(begun(link), out, dataset=dataset, resume=True)
    shutil.rmtree(link)  # a run that is done needs its start no more
    assert run(begun(link), out, dataset=dataset, resume=True) == metrics


def test_an_extended_run_is_a_start_with_the_items_that_were_trained(dataset, tmp_path):
    run(tiny("lightgcn", CROSS, epochs=1), tmp_path / "run", dataset=dataset)
    feed = tmp_path / "feed"
    feed.mkdir()
    pl.DataFrame({"item": [100, 101]}).write_csv(feed / "items.csv")
    np.save(feed / "text_feat.npy", np.random.default_rng(0).normal(size=(2, dataset.features["text"].shape[1])))
    extend(tmp_path / "run", feed, tmp_path / "morning")
    pl.DataFrame({"item": [102, 101]}).write_csv(feed / "items.csv")
    extend(tmp_path / "morning", feed, tmp_path / "noon")
    start = WarmStart.open(tmp_path / "noon", tiny("lightgcn"))
    assert start.item_ids.to_list() == list(range(40))
    assert torch.equal(
        start.weights["backbone.item"], read_tensors(tmp_path / "run/model.safetensors")["backbone.item"]
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "lightgcn"}, "run: its backbone is bpr, here it is lightgcn; give --backbone bpr"),
        ({"dim": 4}, "run: its dim is 8, here it is 4; give --dim 8"),
        ({"folder": "nowhere"}, "nowhere/config.json: missing"),
        ({"without": "model.safetensors"}, r"model.safetensors: missing"),
    ],
)
def test_what_does_not_fit_is_one_line(settings, message, source, dataset, tmp_path):
    run_folder = tmp_path / "run"
    shutil.copytree(source, run_folder)
    if "without" in settings:
        (run_folder / settings["without"]).unlink()
    config = begun(settings.get("folder", run_folder), backbone=settings.get("backbone", "bpr"))
    if "dim" in settings:
        config = config.model_copy(update={"backbone": config.backbone.model_copy(update={"dim": settings["dim"]})})
    with pytest.raises(CrossrecError, match=message) as error:
        run(config, tmp_path / "out", dataset=dataset)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
