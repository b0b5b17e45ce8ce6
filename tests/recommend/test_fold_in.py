"""Fold-in against the formulas, and against the trained user vectors."""

from __future__ import annotations

import pytest
import torch

from crossrec.data import DataConfig, load
from crossrec.evaluation import evaluate
from crossrec.ops.ridge import Ridge
from crossrec.recommend.fold_in import training_interactions
from crossrec.runs.config import load_config
from crossrec.runs.execute import held_out


def test_mean_and_propagation_match_their_formulas(tiny):
    vectors, history = tiny.vectors, [3, 8, 21]
    item = vectors.item_IS[history]
    torch.testing.assert_close(tiny.history_vector(history, "mean"), item.mean(0))
    weight = 1 / (vectors.degree_I[history].float() * 3).sqrt()
    torch.testing.assert_close(tiny.history_vector(history, "propagation"), (weight[:, None] * item).sum(0))
    assert torch.equal(tiny.history_vector([21, 3, 8, 3], "mean"), tiny.history_vector(history, "mean"))


def test_lists_for_a_history_rank_by_the_folded_in_vector(tiny):
    lists = tiny.for_history([3, 8, 21], 5, how="mean")
    score = (tiny.vectors.item_IS @ tiny.history_vector([3, 8, 21], "mean")).tolist()
    order = sorted((i for i in range(40) if i not in (3, 8, 21)), key=lambda i: -score[i])[:5]
    assert lists.columns == ["rank", "item", "score"]
    assert lists["item"].to_list() == order
    assert tiny.for_history([3], 40, exclude_seen=False).height == 40
    assert tiny.for_history([3], 40, deny=[5]).height == 38


def test_histories_to_learn_from_hold_training_items_only(text, text_run):
    """Not the validation items, which the vectors of users have not seen."""
    train = load(load_config(text_run / "config.json").data).train
    matrix = training_interactions(text.vectors)
    assert matrix.shape == (12, 11)
    assert matrix.sum() == len(train) < len(text.vectors.seen_item)
    assert matrix[train.user_N, train.item_N].tolist() == [[1.0] * len(train)]
    expected = Ridge(text.fold_in.user_vectors(matrix, "propagation"), text.vectors.user_US)
    row_S = text.history_vector(["tea, 1", "tea, 4"], "propagation")
    torch.testing.assert_close(text.history_vector(["tea, 1", "tea, 4"]), expected(row_S[None])[0])


@pytest.mark.parametrize("how", ["mean", "ridge"])
def test_folded_in_users_come_close_to_the_trained_users(tiny, how):
    dataset = load(DataConfig(data="synthetic-tiny"))
    held, vectors = held_out(dataset, dataset.test), tiny.vectors
    folded_in_US = tiny.fold_in.user_vectors(training_interactions(vectors), how)
    trained = evaluate(vectors.user_US, vectors.item_IS, held)["recall@20"]
    assert evaluate(folded_in_US, vectors.item_IS, held)["recall@20"] > 0.6 * trained
