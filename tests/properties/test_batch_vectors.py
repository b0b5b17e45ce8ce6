"""Vectors of the batch only (two towers): terms and gradients are exactly those with the vectors of everything."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from tests.equations.worlds import close, make, randn

from crossrec import FETTLE, ArgumentError, Batch, Cross, Representations
from crossrec.alignment.balance import balanced
from crossrec.alignment.config import DamrsAlignmentConfig
from crossrec.alignment.damrs import DamrsAlignment

KINDS = {
    "cross": {},
    "fettle": {"terms": FETTLE.terms, "direction": FETTLE.direction},
    "by rank": {"strength_scale": "rank"},
    "neighbours alone": {"terms": ("neighbor",)},
    "users' clusters alone": {"terms": ("cluster_users",)},
}


def leaf(tensor):
    return tensor.detach().clone().requires_grad_()


def partial(reps, users, items):
    """The vectors of some users and items."""
    content = {m: table[items] for m, table in reps.modality_IL.items()}
    return Representations(reps.user_UL[users], reps.item_IL[items], content, user_rows=users, item_rows=items)


def measured(case, cut):
    """Terms, and gradients by all vectors and parameters, of the vectors that ``cut`` leaves of all."""
    tables = {"user": leaf(case.reps.user_UL), "id": leaf(case.reps.item_IL)}
    tables |= {m: leaf(table) for m, table in case.reps.modality_IL.items()}
    whole = Representations(tables["user"], tables["id"], {m: tables[m] for m in case.reps.modality_IL})
    case.cross.zero_grad()
    terms = case.cross(cut(whole), case.batch)
    case.cross.total(terms).backward()
    learnt = {**tables, **dict(case.cross.named_parameters())}
    return terms, {name: torch.zeros_like(t) if t.grad is None else t.grad.clone() for name, t in learnt.items()}


@pytest.mark.parametrize("order", ["as needed", "shuffled, with others"])
@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_terms_and_gradients_are_exact(settings, order):
    case = make(5, users=9, items=12, batch=6, **settings)
    users, items = torch.unique(case.batch.user_B), case.cross.items_needed(case.batch)
    assert len(items) < 12
    if order != "as needed":
        others = torch.tensor([i for i in range(12) if i not in items.tolist()][:1])
        items, users = torch.cat([others, items.flip(0)]), users.flip(0)
    expected, expected_gradients = measured(case, lambda whole: whole)
    terms, gradients = measured(case, lambda whole: partial(whole, users, items))
    assert terms
    for name, value in expected.items():
        close(terms[name], value)
    for name, gradient in expected_gradients.items():
        close(gradients[name], gradient)


def test_rows_of_users_or_of_items_alone():
    case = make(5, users=9, items=12, batch=6)
    users, items = torch.unique(case.batch.user_B), case.cross.items_needed(case.batch)
    cut = partial(case.reps, users, items)
    for reps in (
        replace(cut, user_UL=case.reps.user_UL, user_rows=None),
        replace(case.reps, user_UL=cut.user_UL, user_rows=users),
    ):
        for name, value in case.terms().items():
            close(case.cross(reps, case.batch)[name], value)


def test_the_items_needed_are_those_of_the_batch_and_their_neighbours():
    table = torch.tensor([[1, -1], [0, 3], [-1, -1], [4, 0], [3, -1], [-1, -1]])
    batch = Batch(torch.tensor([0, 1, 0]), torch.tensor([3, 2, 3]))
    cross = Cross(3, neighbors=table)
    assert sorted(cross.items_needed(batch).tolist()) == [0, 2, 3, 4]
    assert Cross(3, num_items=6, config=FETTLE).items_needed(batch).tolist() == [2, 3]


def test_balanced_keeps_the_rows():
    case = make(5, users=9, items=12, batch=6, gradient_share=2.0, conflicts="project")
    users, items = torch.unique(case.batch.user_B), case.cross.items_needed(case.batch)
    user, item = leaf(case.reps.user_UL), leaf(case.reps.item_IL)

    def total(reps):
        own_loss = (reps.user_UL.sum(0) * reps.item_IL[: len(items)].sum(0)).sum()
        return balanced(case.cross, reps, case.batch, own_loss)[0]

    cut = partial(replace(case.reps, user_UL=user, item_IL=item), users, items)
    for name, value in case.terms().items():
        close(total(cut)[name], value)


def test_strengths_with_rows():
    case = make(5, users=9, items=12, batch=6)
    users, items = torch.unique(case.batch.user_B), torch.unique(case.batch.item_B)
    for actual, expected in zip(
        case.cross.strengths(partial(case.reps, users, items), case.batch),
        case.cross.strengths(case.reps, case.batch),
        strict=True,
    ):
        assert torch.equal(actual, expected)


SOUND = randn(0, 30, 4).float()
USER, ITEM = torch.tensor([7, 9, 8, 7]), torch.tensor([20, 21, 20, 22])
BATCH = Batch(USER, ITEM)


def reps(users, items, **rows):
    return Representations(torch.ones(users, 3), torch.ones(items, 3), **rows)


MISTAKES = {
    "vectors of the pairs": (reps(10, 4), "item_IL has 4 rows, but there are 30 items"),
    "an item lacks": (reps(10, 3, item_rows=[20, 21, 29]), "item_rows lacks 22: give cross.items_needed(batch)"),
    "no item": (reps(10, 0, item_rows=torch.zeros(0, dtype=torch.int64)), "item_rows lacks 20"),
    "an item twice": (reps(10, 4, item_rows=[20, 21, 20, 22]), "item_rows holds 20 twice"),
    "a row more": (reps(10, 4, item_rows=[20, 21, 22]), "item_IL has 4 rows, but item_rows has 3"),
    "a user lacks": (reps(2, 30, user_rows=[7, 9]), "user_rows lacks 8: give torch.unique(batch.user_B)"),
    "a user twice": (reps(4, 30, user_rows=USER), "user_rows holds 7 twice"),
    "users' rows": (reps(4, 30, user_rows=[7, 8, 9]), "user_UL has 4 rows, but user_rows has 3"),
    "vectors of the users": (reps(3, 30), "the batch has user 9, but there are 3 users"),
}


@pytest.mark.parametrize(("inputs", "message"), MISTAKES.values(), ids=MISTAKES)
def test_vectors_that_are_not_those_of_the_batch(inputs, message):
    cross = Cross(3, features={"sound": SOUND}, config=FETTLE)
    with pytest.raises(ArgumentError, match=re.escape(message)):
        cross(inputs, BATCH)


def test_numbers_of_rows_instead_of_items_are_refused():
    # the pairs' vectors with the numbers of their rows would align the content of items 0 to 3
    cross = Cross(3, features={"sound": SOUND}, config=FETTLE)
    with pytest.raises(ArgumentError, match="item_rows"):
        cross(reps(4, 4), Batch(torch.arange(4), torch.arange(4)))


def test_the_losses_of_damrs_need_everything():
    damrs = DamrsAlignment(
        3, features={"sound": SOUND}, interactions=(USER, ITEM), num_items=30, config=DamrsAlignmentConfig()
    )
    with pytest.raises(ArgumentError, match="all users and items"):
        damrs(reps(3, 3, user_rows=[7, 8, 9], item_rows=[20, 21, 22]), BATCH)
    with pytest.raises(ArgumentError, match="30 items"):
        damrs(reps(10, 3), BATCH)
