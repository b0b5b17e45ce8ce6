"""The promises of the docstring of Cross: three lines in a loop, presets, errors, state, names."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.equations.worlds import TERMS, close, generator, make, numbers, randn

import crossrec.alignment
from crossrec.alignment import FETTLE, Cross, CrossConfig
from crossrec.ops.vectors import l2_normalize
from crossrec.types import Batch, Representations

USER, ITEM = torch.tensor([0, 1, 2, 2, 0]), torch.tensor([0, 1, 1, 3, 3])
SOUND = randn(0, 5, 4).float()


def reps(dim=3, items=5):
    return Representations(randn(1, 3, dim).float().requires_grad_(), randn(2, items, dim).float().requires_grad_())


def test_three_lines_in_a_custom_loop():
    inputs = Representations(randn(1, 3, 64).float().requires_grad_(), randn(2, 5, 64).float().requires_grad_())
    cross = Cross(64, features={"image": SOUND}, interactions=(USER, ITEM), num_items=5, generator=generator(0))
    optimizer = torch.optim.Adam([inputs.user_UL, inputs.item_IL, *cross.parameters()], lr=0.01)
    values = []
    for _ in range(12):
        terms = cross(inputs, Batch(USER, ITEM))
        loss = cross.total(terms)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert set(terms) == set(TERMS)
    assert values[-1] < values[0]


def test_total_weights_the_terms():
    case = make(1, alpha=2.0, beta=3.0, gamma=5.0)
    one = {name: torch.tensor(1.0) for name in TERMS}
    assert case.cross.total(one) == 2 * 2 + 2 * 3 + 5
    assert case.cross.total({"neighbor": torch.tensor(1.0)}) == 5
    assert case.cross.total({}) == 0


def test_fettle():
    cross = Cross(3, features={"sound": SOUND}, config=FETTLE)
    assert cross.config.direction == "one_way"
    assert cross.neighbor_IK is None
    assert set(cross(reps(), Batch(USER, ITEM))) == {"item", "tuning", "cluster_items", "cluster_users"}


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"alpha": 0}, {"neighbor", "cluster_items", "cluster_users"}),
        ({"beta": 0}, {"item", "tuning", "neighbor"}),
        ({"gamma": 0}, {"item", "tuning", "cluster_items", "cluster_users"}),
        ({"terms": ("tuning", "neighbor"), "gamma": 0}, {"tuning"}),
        ({"alpha": 0, "beta": 0, "gamma": 0}, set()),
    ],
)
def test_a_term_without_weight_is_absent(options, left):
    source = {} if options.get("gamma") == 0 else {"interactions": (USER, ITEM)}
    cross = Cross(3, features={"sound": SOUND}, config=CrossConfig(**options), **source)
    assert set(cross(reps(), Batch(USER, ITEM))) == left
    names = {name.split(".")[0] for name, _ in cross.named_parameters()}
    assert ("aligners" in names) == bool(left & {"item", "tuning"})
    assert ("lambda_f" in names) == ("item" in left)
    assert ("lambda_c" in names) == bool(left & {"cluster_items", "cluster_users"})
    assert ("codebook_itv" in names) == ("cluster_items" in left)


def test_every_parameter_of_the_active_terms_learns():
    case = make(3, direction="bidirectional")
    case.cross.total(case.terms()).backward()
    assert [name for name, p in case.cross.named_parameters() if p.grad is None or not p.grad.any()] == []


MISTAKES = {
    "no interactions": ({"features": {"sound": SOUND}}, "interactions"),
    "called id": ({"features": {"id": SOUND}, "interactions": (USER, ITEM)}, "'id'"),
    "without a name": ({"features": {"": SOUND}, "interactions": (USER, ITEM)}, "''"),
    "dot": ({"features": {"so.und": SOUND}, "interactions": (USER, ITEM)}, "'so.und'"),
    "called id, too": ({"modalities": ("id",), "interactions": (USER, ITEM), "num_items": 5}, "'id'"),
    "features disagree": ({"features": {"sound": SOUND, "scent": SOUND[:4]}, "interactions": (USER, ITEM)}, "scent"),
    "num_items": ({"features": {"sound": SOUND}, "interactions": (USER, ITEM), "num_items": 7}, "7"),
    "neighbors": ({"features": {"sound": SOUND}, "neighbors": torch.zeros(4, 2, dtype=torch.int64)}, "neighbors"),
    "unknown number of items": ({"config": FETTLE}, "number of items"),
    # not in the docstring, but a mistake of the same kind
    "a name twice": ({"modalities": ("sound", "sound"), "interactions": (USER, ITEM)}, "sound"),
}


@pytest.mark.parametrize(("arguments", "named"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_value_errors(arguments, named):
    with pytest.raises(ValueError, match=re.escape(named)):
        Cross(3, **arguments)


@pytest.mark.parametrize("name", ["type", "keys", "items", "half"])
def test_modalities_may_have_the_names_of_module_attributes(name):
    # names that torch's modules use themselves
    cross = Cross(3, features={name: SOUND}, interactions=(USER, ITEM))
    assert set(cross(reps(), Batch(USER, ITEM))) == set(TERMS)


def test_missing_modality_raises():
    cross = Cross(3, modalities=("touch",), interactions=(USER, ITEM), num_items=5)
    with pytest.raises(ValueError, match="touch"):
        cross(reps(), Batch(USER, ITEM))


def test_vectors_of_the_backbone_are_not_projected():
    # the backbone's own vectors take precedence over raw features of the same name
    vectors = randn(7, 5, 3).float().requires_grad_()
    cross = Cross(3, features={"sound": SOUND}, modalities=("sound",), interactions=(USER, ITEM))
    assert not list(cross.projections)
    inputs = reps()
    terms = cross(Representations(inputs.user_UL, inputs.item_IL, {"sound": vectors}), Batch(USER, ITEM))
    terms["cluster_items"].backward()
    assert vectors.grad.any()


def test_projected_features_equal_the_same_vectors_of_a_backbone():
    projected = make(2, projected=("sound",), unprojected=())
    vectors = projected.features["sound"] @ projected.cross.projections["sound_feat"].weight.T
    handed = make(2, projected=(), unprojected=("sound",))
    state = {name: value for name, value in projected.cross.state_dict().items() if "projections" not in name}
    handed.cross.load_state_dict(state)
    handed.cross.neighbor_IK.copy_(projected.cross.neighbor_IK)
    terms = handed.cross(
        Representations(projected.reps.user_UL, projected.reps.item_IL, {"sound": vectors}), projected.batch
    )
    for name, value in projected.terms().items():
        close(terms[name], value)


def test_state_holds_no_features():
    cross = Cross(3, features={"sound": torch.randn(5000, 7)}, neighbors=torch.zeros(5000, 2, dtype=torch.int64))
    assert max(value.numel() for value in cross.state_dict().values()) < 5000
    assert not [name for name in cross.state_dict() if "feature" in name or "neighbor" in name]


def test_features_get_the_dtype_of_the_module():
    cross = Cross(3, features={"sound": SOUND}, interactions=(USER, ITEM)).double()
    inputs = reps()
    terms = cross(Representations(inputs.user_UL.double(), inputs.item_IL.double()), Batch(USER, ITEM))
    assert {value.dtype for value in terms.values()} == {torch.float64}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"features": {"sound": SOUND}}, 5),
        ({"num_items": 9}, 9),
        ({}, 4),  # the largest item number of the interactions is 3
    ],
)
def test_number_of_items(arguments, expected):
    cross = Cross(3, interactions=(USER, ITEM), **arguments)
    assert len(cross.neighbor_IK) == expected


def test_neighbors_come_from_the_interactions():
    # item 1 shares user 2 with item 3, item 0 shares user 0 with item 3: cosines 1/2 and 1/√2
    cross = Cross(3, interactions=(USER, ITEM), num_items=5, config=CrossConfig(neighbors=2))
    assert cross.neighbor_IK.tolist() == [[3, -1], [3, -1], [-1, -1], [0, 1], [-1, -1]]


def test_the_generator_determines_initial_values():
    def initial_values(seed):
        torch.manual_seed(seed + 17)
        cross = Cross(3, features={"sound": SOUND}, interactions=(USER, ITEM), generator=generator(seed))
        return {name: numbers(value) for name, value in cross.state_dict().items()}

    torch.manual_seed(0)
    one = initial_values(1)
    torch.manual_seed(99)
    assert initial_values(1) == one
    other = initial_values(2)
    assert [name for name in one if other[name] == one[name] and "lambda" not in name] == []


def test_size_and_initial_length_of_codebooks():
    cross = Cross(3, interactions=(USER, ITEM), config=CrossConfig(prototypes_itv=7))
    assert cross.codebook_itv.shape == (7, 3)
    assert cross.codebook_ui.shape == (14, 3)
    close(cross.codebook_itv.norm(dim=1), torch.ones(7), 1e-6)
    assert Cross(3, interactions=(USER, ITEM)).codebook_itv.shape == (64, 3)
    assert Cross(3, num_items=16_000, config=FETTLE).codebook_itv.shape == (512, 3)


def test_strengths_pass_no_gradient():
    case = make(0)
    case.reps.user_UL.requires_grad_()
    strengths, supported = case.cross.strengths(case.reps, case.batch)
    assert not strengths.requires_grad
    assert supported.dtype == torch.bool


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("settings", [{}, {"negatives": "items", "clusterer": "kmeans", "aligner": "ffn"}], ids=str)
def test_values_are_the_same_without_gradients(mode, settings):
    case = make(0, **settings)
    terms = case.terms()
    total = case.cross.total(terms)
    with mode():
        fresh = Representations(
            case.reps.user_UL.clone(),
            case.reps.item_IL.clone(),
            {name: vectors.clone() for name, vectors in case.reps.modality_IL.items()},
        )
        for reps in (case.reps, fresh):
            values = case.cross(reps, case.batch)
            assert set(values) == set(TERMS)
            for name, value in values.items():
                assert not value.requires_grad
                assert torch.equal(value, terms[name]), name
            assert torch.equal(case.cross.total(values), total)


def test_normalized_vectors_give_the_same_values():
    case = make(1)
    user, item = l2_normalize(case.reps.user_UL), l2_normalize(case.reps.item_IL)
    plain = Representations(user, item, case.reps.modality_IL)
    for name, value in case.cross(replace(plain, normalized=True), case.batch).items():
        close(value, case.cross(plain, case.batch)[name])


def words(identifier):
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", identifier)}


def test_alignment_names_no_modality():
    forbidden = {"image", "images", "img", "text", "texts", "visual", "textual", "audio", "vision", "picture"}
    matches = []
    for path in sorted(Path(crossrec.alignment.__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            names = [getattr(node, field, None) for field in ("id", "attr", "arg", "name", "asname")]
            if isinstance(node, ast.Constant) and id(node) not in prose:
                names.append(node.value)
            matches += [(path.name, name) for name in names if isinstance(name, str) and words(name) & forbidden]
    assert matches == []
