"""The recommender of Cornac in ``examples``, where Cornac is installed."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cornac", reason="Cornac is not installed", exc_type=ImportError)


@pytest.mark.filterwarnings("ignore")
def test_crossrec_models_in_an_experiment_of_cornac(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(Path(__file__).resolve().parents[1] / "examples" / "cornac_model.py"), run_name="cornac")
    experiment = names["demo"]()
    recall = {result.model_name: result.metric_avg_results["Recall@10"] for result in experiment.result}
    assert recall["LightGCN"] > recall["MostPop"]
    assert recall["LightGCN + CROSS"] > recall["MostPop"]
    model = experiment.models[-1]
    assert model.score(3).shape == (model.num_items,)
    assert model.score(3, 5) == pytest.approx(float(np.dot(model.item_vectors[5], model.user_vectors[3])))
