"""Run directories: paths may be text, and reading a run loads neither trainer nor backbones."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from tests.training.runs import CROSS, tiny

from crossrec.checkpoint import load_checkpoint, save_checkpoint
from crossrec.data import DataConfig, load
from crossrec.experiments.analysis.run_evaluation import run_evaluation
from crossrec.recommend import Recommender
from crossrec.runs import TrainedEmbeddings, load_config, open_embeddings, run
from crossrec.runs.directory import learnt_temperatures
from crossrec.training import fit

OPEN_A_RUN = """
import json, sys
from crossrec import Recommender
lists = Recommender.open(sys.argv[1]).recommend(k=3)
print(json.dumps(sorted(name for name in sys.modules if name.startswith("crossrec."))))
"""


@pytest.fixture(scope="module")
def dataset():
    return load(DataConfig(data="synthetic-tiny"))


@pytest.fixture(scope="module")
def folder(dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    run(tiny("lightgcn", CROSS), os.fspath(out), dataset=dataset)
    return out


def test_paths_may_be_text(folder, dataset, tmp_path):
    text = str(folder)
    assert load_config(f"{text}/config.json") == load_config(folder / "config.json") == tiny("lightgcn", CROSS)
    assert run(tiny("lightgcn", CROSS), text, resume=True) == json.loads((folder / "metrics.json").read_text())
    assert torch.equal(open_embeddings(text).item_IS, open_embeddings(folder).item_IS)
    assert learnt_temperatures(text) == learnt_temperatures(folder) != {}
    assert len(Recommender.open(text).items) == dataset.num_items
    assert run_evaluation(text, dataset).exposure == run_evaluation(folder, dataset).exposure
    open_embeddings(text).save(f"{tmp_path}/vectors.safetensors")
    assert TrainedEmbeddings.load(f"{tmp_path}/vectors.safetensors").identity == open_embeddings(text).identity
    save_checkpoint(f"{tmp_path}/checkpoint", {}, {"epoch": 1})
    assert load_checkpoint(f"{tmp_path}/checkpoint") == ({}, {"epoch": 1})


def test_learnt_temperatures(dataset, tmp_path):
    cross = CROSS.model_copy(update={"lambda_f": 0.7})
    run(tiny("bpr", cross), tmp_path / "both", dataset=dataset)
    weights = load_file(tmp_path / "both" / "model.safetensors")
    assert weights["cross.lambda_c"] != pytest.approx(cross.lambda_c, abs=1e-6), "λ_c moved"
    assert weights["cross.lambda_f"] == pytest.approx(0.7), "λ_f is beyond its range and does not move"
    learnt = {"lambda_f": 0.5, "lambda_c": weights["cross.lambda_c"].item()}
    assert learnt_temperatures(tmp_path / "both") == learnt, "as the losses read them"
    run(tiny("bpr", cross.model_copy(update={"learn_lambda_c": False})), tmp_path / "one", dataset=dataset)
    assert learnt_temperatures(tmp_path / "one") == {"lambda_f": 0.5}
    run(tiny("bpr"), tmp_path / "none", dataset=dataset)
    assert learnt_temperatures(tmp_path / "none") == {}
    assert learnt_temperatures(tmp_path / "nothing") == {}


def test_fit_takes_a_folder_as_text(dataset, tmp_path):
    from crossrec.objective import Objective
    from crossrec.runs.execute import held_out, training_set

    config, data = tiny(epochs=1), training_set(dataset)
    objective = Objective(config.backbone, None, data, 0)
    fit(objective, data, held_out(dataset, dataset.valid), config.training, checkpoints=str(tmp_path / "here"))
    assert load_checkpoint(tmp_path / "here")[1]["progress"]["epoch"] == 1


def test_embeddings_come_back_bit_equal(folder, tmp_path):
    embeddings = open_embeddings(folder)
    embeddings.save(tmp_path / "vectors.safetensors")
    assert (tmp_path / "vectors.safetensors").read_bytes() == (folder / "vectors.safetensors").read_bytes()


def test_reading_a_run_loads_neither_trainer_nor_backbones(folder):
    process = subprocess.run(
        [sys.executable, "-c", OPEN_A_RUN, str(folder)], capture_output=True, text=True, check=True
    )
    modules = set(json.loads(process.stdout.splitlines()[-1]))
    assert "crossrec.runs.embeddings" in modules
    assert not modules & {"crossrec.training", "crossrec.objective", "crossrec.sampling", "crossrec.checkpoint"}
    assert not modules & {"crossrec.runs.execute", "crossrec.evaluation"}
    assert {name for name in modules if name.startswith("crossrec.backbones.")} == {
        "crossrec.backbones.content_encoder"
    }
