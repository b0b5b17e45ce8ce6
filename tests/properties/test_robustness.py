"""Finite values and gradients everywhere, and a differentiable zero where nothing takes part."""

from __future__ import annotations

import pytest
import torch
from tests.equations.worlds import TERMS, Case, close, generator, make, numbers, randn

from crossrec.alignment import Cross, CrossConfig
from crossrec.alignment.clusters import sinkhorn
from crossrec.ops.vectors import l2_normalize
from crossrec.types import Batch, Representations

DTYPES = [torch.float64, torch.float32, torch.bfloat16]


def as_type(case: Case, dtype: torch.dtype) -> Case:
    reps = case.reps
    case.cross = case.cross.to(dtype)
    case.reps = Representations(
        reps.user_UL.to(dtype),
        reps.item_IL.to(dtype),
        {name: table.to(dtype) for name, table in reps.modality_IL.items()},
    )
    return case


def check_finite(case: Case, expected: set[str] = frozenset(TERMS)) -> dict[str, torch.Tensor]:
    """All terms and every gradient are finite."""
    reps = case.reps
    inputs = {"user": reps.user_UL, "id": reps.item_IL, **reps.modality_IL}
    inputs = {name: table.detach().clone().requires_grad_() for name, table in inputs.items()}
    own_vectors = {name: inputs[name] for name in reps.modality_IL}
    terms = case.cross(Representations(inputs["user"], inputs["id"], own_vectors), case.batch)
    assert set(terms) == set(expected)
    learnt = {**inputs, **dict(case.cross.named_parameters())}
    for term, value in terms.items():
        assert value.dtype == reps.user_UL.dtype, term
        assert torch.isfinite(value), term
        if not value.requires_grad:
            continue
        actual = torch.autograd.grad(value, list(learnt.values()), retain_graph=True, allow_unused=True)
        for name, gradient in zip(learnt, actual, strict=True):
            assert gradient is None or torch.isfinite(gradient).all(), (term, name)
    case.cross.total(terms).backward()
    return terms


def check_differentiable(terms: dict[str, torch.Tensor]) -> None:
    """Each term can be trained on by itself."""
    assert [name for name, value in terms.items() if not value.requires_grad] == []


def alter(case: Case, **tables: torch.Tensor) -> Case:
    case.reps = Representations(
        tables.get("user", case.reps.user_UL), tables.get("item", case.reps.item_IL), case.reps.modality_IL
    )
    return case


def zero_features(case: Case) -> Case:
    for projection in case.cross.projections.values():
        projection.feature_matrix.zero_()
    return alter(case)


def parameter(name: str, value: float):
    def changed(case: Case) -> Case:
        with torch.no_grad():
            getattr(case.cross, name).fill_(value)
        return case

    return changed


def same_item(case: Case) -> Case:
    case.batch = Batch(case.batch.user_B, torch.full_like(case.batch.item_B, 2))
    return case


SITUATIONS = {
    "usual": lambda case: case,
    "one pair": lambda case: Case(case.cross, case.reps, Batch(torch.tensor([1]), torch.tensor([3])), {}, {}),
    "one pair without neighbours": lambda case: Case(
        case.cross, case.reps, Batch(torch.tensor([1]), torch.tensor([0])), {}, {}
    ),
    "all the same item": same_item,
    "no user has a vector": lambda case: alter(case, user=torch.zeros(4, 3)),
    "no item has a vector": lambda case: alter(case, item=torch.zeros(6, 3)),
    "nothing has a vector": lambda case: zero_features(alter(case, user=torch.zeros(4, 3), item=torch.zeros(6, 3))),
    "no item has features": zero_features,
    "vectors of 1e-9": lambda case: alter(case, user=case.reps.user_UL * 1e-9, item=case.reps.item_IL * 1e-9),
    "vectors of 1e9": lambda case: alter(case, user=case.reps.user_UL * 1e9, item=case.reps.item_IL * 1e9),
    **{f"lambda_f {v}": parameter("lambda_f", v) for v in (0.001, 0.5, -1.0, 0.0, 30.0)},
    **{f"lambda_c {v}": parameter("lambda_c", v) for v in (0.01, 0.99, -1.0, 0.0, 30.0)},
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=SITUATIONS)
def test_everything_stays_finite(situation, dtype):
    check_finite(as_type(situation(make(3)), dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {"prototypes_itv": 50, "prototypes_ui": 40},
        {"prototypes_itv": 1, "prototypes_ui": 1},
        {"clusterer": "kmeans", "aligner": "ffn", "negatives": "items"},
        {"sinkhorn_rounds": 0},
        {"lambda_n": 0.001, "lambda_c": 0.01, "lambda_f": 0.001},
    ],
    ids=["more prototypes than pairs", "one prototype", "other options", "no rounds", "cold"],
)
def test_options_stay_finite(options, dtype):
    check_finite(as_type(make(3, **options), dtype))


@pytest.mark.parametrize("direction", ["one_way", "dynamic", "topmost"])
def test_id_alone(direction):
    case = make(4, projected=(), unprojected=(), direction=direction)
    terms = check_finite(case)
    for name in ("item", "tuning", "cluster_items"):
        assert terms[name] == 0
    for name in ("neighbor", "cluster_users"):
        assert terms[name] > 0
    check_differentiable(terms)


@pytest.mark.parametrize("term", TERMS)
def test_a_single_term_without_participants_trains(term):
    # id alone, so no direction; the batch's item has no neighbours
    case = make(4, projected=(), unprojected=(), terms=(term,))
    case.batch = Batch(torch.tensor([0, 1]), torch.tensor([0, 0]))
    check_differentiable(check_finite(case, {term}))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_no_direction(dtype):
    case = make(4, projected=(), unprojected=("touch",), direction="one_way", zeros=False)
    case.reps = Representations(torch.zeros(4, 3), case.reps.item_IL, case.reps.modality_IL)
    terms = check_finite(as_type(case, dtype))
    assert terms["item"] == 0
    assert terms["tuning"] == 0
    check_differentiable(terms)


def test_bfloat16_is_near_float64():
    exact, rough = make(6).terms(), as_type(make(6), torch.bfloat16).terms()
    for name in ("neighbor", "cluster_items", "cluster_users"):
        assert rough[name].item() == pytest.approx(exact[name].item(), rel=0.05), name


def test_clamped_terms_equal_those_at_the_bound():
    for name, inside, outside in (("lambda_f", 0.5, 3.0), ("lambda_f", 0.001, -3.0), ("lambda_c", 0.99, 3.0)):
        at, beyond = parameter(name, inside)(make(3)).terms(), parameter(name, outside)(make(3)).terms()
        for term in TERMS:
            close(beyond[term], at[term])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("size", [1.0, 4.0, 1000.0])
def test_sinkhorn_of_large_scores(size, dtype):
    scores = (randn(0, 6, 5).sign() * size).to(dtype)
    scores[0] = -size
    code = sinkhorn(scores)
    assert code.dtype == dtype
    assert torch.isfinite(code).all()
    close(code.double().sum(dim=1), torch.ones(6), 1e-2 if dtype != torch.float32 else 1e-6)


def test_sinkhorn_of_many_merged_samples():
    # a range of scores just within what a float32 exponent holds, and a row that stands for many samples
    scores = torch.tensor([[0.0, -3.99], [-3.99, 0.0], [-3.99, -3.99]])
    code = sinkhorn(scores, weight_N=torch.tensor([1.0, 1.0, 1e5]))
    assert torch.isfinite(code).all()
    close(code, sinkhorn(scores.double(), weight_N=torch.tensor([1.0, 1.0, 1e5])), 1e-5)


@pytest.mark.parametrize("scale", [1e-21, 1e-15, 1e15, 1e19])
def test_l2_normalize_in_float32_at_any_length(scale):
    # the squares of such numbers leave float32, their lengths do not
    vector = (torch.tensor([[3.0, 4.0]]) * scale).requires_grad_()
    actual = l2_normalize(vector)
    actual[0, 0].backward()
    close(actual, [[0.6, 0.8]], 1e-3)
    assert torch.isfinite(vector.grad).all()


def test_a_real_size_in_float32():
    # 2,048 pairs as in training: nothing overflows, and the terms are near their logarithms
    draw = generator(0)
    user, item = torch.randn(300, 16, generator=draw), torch.randn(400, 16, generator=draw)
    pairs = torch.randint(300, (2048,), generator=draw), torch.randint(400, (2048,), generator=draw)
    cross = Cross(
        16,
        features={"sound": torch.randn(400, 30, generator=draw)},
        interactions=pairs,
        config=CrossConfig(prototypes_itv=64),
        generator=draw,
    )
    case = Case(cross, Representations(user, item), Batch(*pairs), {}, {})
    terms = check_finite(case)
    assert 0 < numbers(terms["neighbor"]) < 20
    assert numbers(terms["cluster_items"]) > 0
