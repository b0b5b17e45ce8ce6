"""Inputs of an own loop in other usual forms work and give the same values; wrong ones are one sentence each."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest
import torch
from tests.equations.worlds import close, generator, randn
from torch import nn

from crossrec import FETTLE, ArgumentError, Batch, ContentGraph, Cross, CrossConfig, CrossrecError, Representations
from crossrec.alignment import ALIGNMENTS
from crossrec.alignment.base import not_compiled
from crossrec.errors import ConfigError

USER, ITEM = torch.tensor([0, 1, 2, 2, 0]), torch.tensor([0, 1, 1, 3, 4])
SOUND = randn(0, 5, 4).float()
TABLES = randn(1, 3, 3).float(), randn(2, 5, 3).float()
NAN, INFINITE = float("nan"), float("inf")


def with_value(row, column, value):
    changed = SOUND.clone()
    changed[row, column] = value
    return changed


def cross(**arguments):
    return Cross(
        3, **{"features": {"sound": SOUND}, "interactions": (USER, ITEM), "generator": generator(0), **arguments}
    )


def values(module, reps=None, batch=None):
    terms = module(reps or Representations(*TABLES), batch or Batch(USER, ITEM))
    return torch.stack(list(terms.values()))


FORMS = {
    "table of interactions": {"interactions": torch.stack([USER, ITEM], 1)},
    "array of interactions": {"interactions": np.stack([USER.numpy(), ITEM.numpy()], 1)},
    "frame of interactions": {"interactions": pl.DataFrame({"user": USER.numpy(), "item": ITEM.numpy()})},
    "int32 interactions": {"interactions": (USER.int(), ITEM.to(torch.int16))},
    "arrays": {"interactions": (USER.numpy(), ITEM.numpy().astype(np.int32))},
    "lists": {"interactions": [USER.tolist(), ITEM.tolist()]},
    "columns": {"interactions": (pl.Series(USER.numpy()), pl.Series(ITEM.numpy()))},
    "unsigned": {"interactions": (USER.numpy().astype(np.uint8), ITEM.numpy().astype(np.uint32))},
    "array of features": {"features": {"sound": SOUND.numpy()}},
    "read-only, big-endian features": {
        "features": {"sound": np.frombuffer(SOUND.numpy().astype(">f4").tobytes(), ">f4").reshape(5, 4)}
    },
    "reversed view": {"features": {"sound": SOUND.numpy()[::-1].copy()[::-1]}},
    "list of features": {"features": {"sound": SOUND.tolist()}},
    "frame of features": {"features": {"sound": pl.DataFrame(SOUND.numpy())}},
    "features of an embedding": {"features": {"sound": nn.Embedding.from_pretrained(SOUND)}},
    "settings as a dict": {"config": {"alpha": 0.01}},
    "numpy's number of items": {"num_items": np.int64(5)},
}


@pytest.mark.parametrize("arguments", FORMS.values(), ids=FORMS)
def test_other_forms_of_the_arguments(arguments):
    close(values(cross(**arguments)), values(cross()), 1e-5)


def test_other_forms_of_the_neighbours():
    table = torch.tensor([[1, -1], [3, 0], [-1, -1], [4, 0], [3, 2]])
    for neighbors in (table.numpy(), table.int(), table.tolist()):
        close(values(cross(neighbors=neighbors)), values(cross(neighbors=table)))


def test_whole_numbers_as_features():
    pixels = torch.arange(20, dtype=torch.uint8).view(5, 4)
    close(values(cross(features={"sound": pixels})), values(cross(features={"sound": pixels.float()})))


@pytest.mark.parametrize("dim", [0, "3", 3.0, True])
def test_the_number_of_columns_is_a_whole_number(dim):
    with pytest.raises(ArgumentError, match=re.escape(f"dim must be a whole number above 0, and it is {dim!r}")):
        Cross(dim, features={"sound": SOUND})


def test_a_tuple_is_no_batch():
    with pytest.raises(ArgumentError, match=re.escape("the batch is a tuple: make one with crossrec.types.Batch(")):
        cross()(Representations(*TABLES), (USER, ITEM))


def test_vectors_are_of_the_type_of_the_alignment():
    double = Representations(*(table.double() for table in TABLES))
    with pytest.raises(ArgumentError, match="user_UL has type float64, and the alignment float32"):
        values(cross(), double)
    close(values(cross().double(), double), values(cross()).double(), 1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert values(cross(), Representations(*(table.bfloat16() for table in TABLES))).isfinite().all()


BATCHES = {
    "int32": Batch(USER.int(), ITEM.int()),
    "arrays": Batch(USER.numpy(), ITEM.numpy()),
    "lists": Batch(USER.tolist(), ITEM.tolist()),
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_other_forms_of_the_batch(batch):
    assert torch.equal(values(cross(), batch=batch), values(cross()))


def test_an_embedding_stands_for_its_weight():
    tables = [nn.Embedding(*table.shape, _weight=table.clone()) for table in TABLES]
    total = values(cross(), Representations(*tables)).sum()
    assert torch.equal(total, values(cross()).sum())
    total.backward()
    assert all(table.weight.grad.any() for table in tables)


def test_settings_as_a_dict_are_checked():
    assert cross(config={"alpha": 2, "direction": "one_way"}).config == CrossConfig(alpha=2, direction="one_way")
    with pytest.raises(ConfigError, match="'alhpa'; did you mean 'alpha'"):
        cross(config={"alhpa": 0.1})
    with pytest.raises(ConfigError, match="'alpha' = -1"):
        cross(config={"alpha": -1})


MISTAKES = {
    "NaN": ({"features": {"sound": with_value(3, 1, NAN)}}, "feature 'sound' of item 3 is not finite"),
    "infinite": ({"features": {"sound": with_value(0, 0, -INFINITE)}}, "feature 'sound' of item 0 is not finite"),
    "one number an item": (
        {"features": {"price": SOUND[:, 0]}},
        "feature 'price' has shape (5,): give a row for each item",
    ),
    "pictures": ({"features": {"image": SOUND.view(5, 2, 2)}}, "feature 'image' has shape (5, 2, 2)"),
    "complex": ({"features": {"sound": SOUND.to(torch.complex64)}}, "has type complex64"),
    "texts": ({"features": {"text": ["a", "b", "c", "d", "e"]}}, "feature 'text' must be a tensor of numbers"),
    "not by name": ({"features": SOUND}, "features must name each modality"),
    "a list of features": ({"features": [SOUND]}, "features must name each modality"),
    "float ids": ({"interactions": (USER.float(), ITEM)}, "user of the interactions has type float32"),
    "string ids": ({"interactions": (["u", "v"], ["i", "j"])}, "user of the interactions must be a tensor of numbers"),
    "mask": ({"interactions": (USER > 0, ITEM)}, "user of the interactions has type bool"),
    "three columns": ({"interactions": torch.ones(7, 3, dtype=torch.int64)}, "interactions has shape (7, 3)"),
    "two rows": ({"interactions": torch.stack([USER, ITEM])}, "interactions has shape (2, 5)"),
    "with times": ({"interactions": (USER, ITEM, ITEM)}, "interactions has 3 parts"),
    "different lengths": ({"interactions": (USER, ITEM[:3])}, "5 users and 3 items"),
    "columns of columns": (
        {"interactions": (USER.view(-1, 1), ITEM.view(-1, 1))},
        "user of the interactions has shape (5, 1)",
    ),
    "negative": ({"interactions": (USER, ITEM - 1)}, "item -1"),
    "no column": ({"features": {"sound": SOUND[:, :0]}}, "feature 'sound' has shape (5, 0): give at least one column"),
    "number of items as text": ({"num_items": "5"}, "num_items must be a whole number above 0, and it is '5'"),
    "swapped": (
        {"interactions": (ITEM + 5, USER), "features": {"sound": SOUND[:2]}},
        "interactions are (user, item), in this order",
    ),
    "settings by name": (
        {"config": "fettle"},
        "config must be a CrossConfig or a dict of its settings, and it is a str",
    ),
    "neighbours out of range": (
        {"neighbors": torch.full((5, 2), 5)},
        "neighbors must hold numbers of items from 0 to 4",
    ),
    "weights as neighbours": ({"neighbors": torch.rand(5, 2)}, "neighbors has shape (5, 2)"),
    "one neighbour": ({"neighbors": torch.zeros(5, dtype=torch.int64)}, "neighbors has shape (5,)"),
    "a modality without a list": (
        {"modalities": "touch"},
        "modalities must be a list or tuple of names, such as ('touch',)",
    ),
    "a modality's number": ({"modalities": (1,)}, "a content modality cannot be called 1"),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_in_the_arguments(arguments, message):
    with pytest.raises(ArgumentError, match=re.escape(message)) as mistake:
        cross(**arguments)
    assert isinstance(mistake.value, ValueError)
    assert isinstance(mistake.value, CrossrecError)
    assert "\n" not in str(mistake.value)


USERS, ITEMS = TABLES
STEPS = {
    "dimension of the users": (
        lambda: (Representations(USERS[:, :2], ITEMS), Batch(USER, ITEM)),
        "user_UL has 2 columns, but the alignment was made for 3",
    ),
    "dimension of the items": (
        lambda: (Representations(USERS, torch.ones(5, 4)), Batch(USER, ITEM)),
        "item_IL has 4 columns",
    ),
    "vectors swapped": (
        lambda: (Representations(ITEMS, USERS), Batch(USER, ITEM)),
        "item_IL has 3 rows, but there are 5 items",
    ),
    "batch swapped": (
        lambda: (Representations(USERS, ITEMS), Batch(ITEM, USER)),
        "the batch has user 4, but there are 3 users, numbered from 0; a batch is (user, item)",
    ),
    "an item too many": (
        lambda: (Representations(USERS, ITEMS), Batch(USER, ITEM + 1)),
        "the batch has item 5, but there are 5 items",
    ),
    "padding": (lambda: (Representations(USERS, ITEMS), Batch(USER, ITEM - 1)), "the batch has item -1"),
    "one vector": (
        lambda: (Representations(USERS[0], ITEMS), Batch(USER, ITEM)),
        "Representations.user_UL has shape (3,)",
    ),
    "whole numbers as vectors": (
        lambda: (Representations(USERS.long(), ITEMS), Batch(USER, ITEM)),
        "Representations.user_UL has shape (3, 3) and type int64",
    ),
    "a model": (
        lambda: (Representations(nn.Linear(3, 3), ITEMS), Batch(USER, ITEM)),
        "Representations.user_UL must be a tensor of numbers, and it is a Linear",
    ),
    "lengths": (lambda: (Representations(USERS, ITEMS), Batch(USER, ITEM[:2])), "Batch has 5 users and 2 items"),
    "float batch": (
        lambda: (Representations(USERS, ITEMS), Batch(USER, ITEM.float())),
        "Batch.item_B has type float32",
    ),
    "pairs": (
        lambda: (Representations(USERS, ITEMS), Batch(torch.stack([USER, ITEM], 1), ITEM)),
        "Batch.user_B has shape (5, 2)",
    ),
    "unannounced": (
        lambda: (Representations(USERS, ITEMS, {"touch": ITEMS}), Batch(USER, ITEM)),
        "modality_IL holds 'touch', which was not announced",
    ),
    "a feature's vectors, unannounced": (
        lambda: (Representations(USERS, ITEMS, {"sound": ITEMS}), Batch(USER, ITEM)),
        "modality_IL holds 'sound', which was not announced",
    ),
    "another device": (
        lambda: (Representations(USERS.to("meta"), ITEMS), Batch(USER, ITEM)),
        "user_UL is on meta and Representations.item_IL on cpu",
    ),
}


@pytest.mark.parametrize(("step", "message"), STEPS.values(), ids=STEPS)
def test_mistakes_in_a_step(step, message):
    with pytest.raises(ArgumentError, match=re.escape(message)) as mistake:
        cross()(*step())
    assert "\n" not in str(mistake.value)


def test_an_announced_modality_is_missing_or_has_other_rows():
    announced = Cross(3, modalities=("touch",), num_items=5, config=FETTLE)
    with pytest.raises(ArgumentError, match=re.escape("modality_IL['touch'] is missing")):
        announced(Representations(*TABLES), Batch(USER, ITEM))
    with pytest.raises(ArgumentError, match=re.escape("modality_IL['touch'] has 4 rows, but there are 5 items")):
        announced(Representations(*TABLES, {"touch": ITEMS[:4]}), Batch(USER, ITEM))


def test_more_items_than_the_interactions_have():
    by_interactions = Cross(3, interactions=(USER, ITEM), generator=generator(0))
    more = Representations(USERS, torch.cat([ITEMS, torch.ones(2, 3)]))
    assert torch.equal(values(by_interactions, more), values(by_interactions))


GRAPHS = {
    "NaN": ({"features": {"sound": with_value(4, 0, NAN)}}, "feature 'sound' of item 4 is not finite"),
    "one number an item": ({"features": {"price": SOUND[:, 0]}}, "feature 'price' has shape (5,)"),
    "not by name": ({"features": SOUND}, "features must name each modality"),
    "numbers of items": ({"features": {"sound": SOUND, "scent": SOUND[:3]}}, "feature 'scent' has 3"),
    "swapped": ({"features": {"sound": SOUND[:3]}, "interactions": (USER, ITEM)}, "interactions are (user, item)"),
    "float ids": (
        {"features": {"sound": SOUND}, "interactions": (USER, ITEM.float())},
        "item of the interactions has type",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), GRAPHS.values(), ids=GRAPHS)
def test_mistakes_in_a_content_graph(arguments, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        ContentGraph(**arguments)


def test_a_content_graph_of_other_forms():
    expected = ContentGraph({"sound": SOUND}, interactions=(USER, ITEM), neighbors=2)(ITEMS)
    pairs = np.stack([USER.numpy(), ITEM.numpy()], 1)
    close(ContentGraph({"sound": SOUND.numpy()}, interactions=pairs, neighbors=2)(ITEMS), expected, 1e-6)
    with pytest.raises(ArgumentError, match="has 5 items, but there are vectors of 3"):
        ContentGraph({"sound": SOUND})(USERS)


def test_neighbours_that_are_no_numbers_are_named():
    with pytest.raises(ArgumentError, match=r"^neighbors must be a tensor of numbers, and it is a list"):
        cross(neighbors=[["a"]])


def test_what_is_not_compiled_runs_as_it_is():
    @not_compiled
    def power(base, *, exponent):
        return base**exponent

    assert power(3, exponent=2) == 9


class OwnAlignment(CrossConfig):
    name = "own"


class Named:
    name = "named"


@pytest.mark.parametrize("other", ["Cross", "randn", "FETTLE", "Named"])
def test_an_alignment_from_outside_is_a_class_of_settings_with_a_name(other):
    assert ALIGNMENTS[f"{__name__}:OwnAlignment"] is OwnAlignment
    with pytest.raises(ConfigError, match="not the settings of an alignment"):
        ALIGNMENTS[f"{__name__}:{other}"]


def squares(view):
    return view.item["id"].square().sum()


class OwnTerm(torch.nn.Module):
    def __init__(self, dim, *, modalities, num_items, generator):
        super().__init__()
        self.given = dim, modalities, num_items
        self.weight = nn.Parameter(torch.rand(dim, generator=generator))

    def forward(self, view):
        return (view.item["id"] @ self.weight).sum()


def test_terms_from_outside_are_functions_and_modules_that_draw_from_the_generator():
    config = CrossConfig(terms=(f"{__name__}:squares", f"{__name__}:OwnTerm"))
    own = Cross(3, features={"sound": SOUND}, num_items=5, config=config, generator=generator(4))
    again = Cross(3, features={"sound": SOUND}, num_items=5, config=config, generator=generator(4))
    other = Cross(3, features={"sound": SOUND}, num_items=5, config=config, generator=generator(5))
    (term,), (same,), (another,) = (list(cross.outside.values()) for cross in (own, again, other))
    assert term.given == (3, ("id", "sound"), 5)
    assert torch.equal(term.weight, same.weight)
    assert not torch.equal(term.weight, another.weight)
    terms = own(Representations(*TABLES), Batch(USER, ITEM))
    unit = torch.nn.functional.normalize(TABLES[1][ITEM.unique()], dim=1)
    expected = [(unit @ term.weight).sum().item(), len(unit)]
    assert sorted(value.item() for value in terms.values()) == pytest.approx(sorted(expected))


@pytest.mark.parametrize("wrong", ["SOUND", "Named"])
def test_what_is_no_term_is_refused(wrong):
    with pytest.raises(ConfigError, match="not a term; give a function"):
        CrossConfig.parse({"terms": [f"{__name__}:{wrong}"]})


@pytest.mark.parametrize("name", ["a.b", "a->b", "", "id"])
def test_names_that_modalities_cannot_have(name):
    with pytest.raises(ArgumentError, match="a content modality cannot be called"):
        cross(features={name: SOUND})
