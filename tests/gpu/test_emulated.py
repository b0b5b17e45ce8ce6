"""Training on an emulated GPU: nothing is on another device than its operation, and the losses are those of the CPU.

Branches for GPUs run too, since tensors say that they are on one. ``make gpu-check`` runs the same on a real one.
"""

from __future__ import annotations

import json
from unittest import mock

import pytest
import torch
from tests.golden.measure import FILE

from crossrec.alignment import ALIGNMENTS, Cross
from crossrec.backbones import BACKBONES
from crossrec.data import DataConfig, load
from crossrec.data.io.tensor_file import read_tensors
from crossrec.objective import Objective
from crossrec.ops.blockwise import rows_per_block
from crossrec.randomness import torch_generator
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import held_out, run, training_set
from crossrec.sampling import Sampler
from crossrec.training import TrainingConfig, fit, validate
from crossrec.types import Batch, Distinct, Representations, TrainingSet

from .emulated import CUDA, emulated_cuda

GOLDEN = json.loads(FILE.read_text())
CASES = [(backbone, "cross") for backbone in BACKBONES] + [("lightgcn", name) for name in ALIGNMENTS if name != "cross"]


@pytest.fixture(scope="module")
def dataset():
    return load(DataConfig(data="synthetic-tiny"))


@pytest.mark.parametrize(("backbone", "alignment"), CASES)
def test_an_epoch_is_that_of_the_cpu_and_a_step_hardly_waits(dataset, backbone, alignment):
    kind = ALIGNMENTS[alignment]
    with emulated_cuda() as gpu:
        data = training_set(dataset).to(CUDA)
        settings = BACKBONES[backbone].config_type(learning_rate=0.02)
        objective = Objective(settings, None if kind is None else kind(), data, 0).to(CUDA)
        assert {tensor.device for tensor in objective.state_dict().values()} == {CUDA}
        config = TrainingConfig(epochs=1, batch_size=100, device="cpu", seed=0)
        (row,) = fit(objective, data, held_out(dataset, dataset.valid), config).history
        metrics = validate(objective, held_out(dataset, dataset.test))
        batches = list(Sampler(data, 100).epoch(torch_generator(0, "sampling", CUDA)))
        objective.train()
        gpu.waits.clear()
        for batch in batches[:2]:
            objective(batch)[1].backward()
        waits = gpu.waits.copy()
    expected = GOLDEN[f"{backbone}+{alignment}"]["terms"][0]
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-4, abs=2e-6)
    assert 0 < metrics["recall@20"] <= 1
    # for the neighbours of the batch's items, and for the items that support each direction
    limit = {"none": 0, "damrs": 0, "fettle": 1}.get(alignment, 2)
    assert waits.total() == 2 * limit, waits


def test_a_run_on_a_gpu_that_stops_and_resumes_is_that_of_the_cpu(tmp_path):
    settings = {"data": {"data": "synthetic-tiny"}, "backbone": {"name": "lattice"}, "alignment": {"name": "prime"}}
    training = {"epochs": 2, "batch_size": 256, "record_strengths": True, "checkpoint_seconds": 0}
    on_gpu, on_cpu = (
        RunConfig.parse({**settings, "training": {**training, "device": device}}) for device in ("cuda:0", "cpu")
    )
    with (
        emulated_cuda(),
        mock.patch.object(torch.cuda, "is_available", return_value=True),
        mock.patch.object(torch.cuda, "device_count", return_value=1),
    ):
        assert run(on_gpu, tmp_path / "gpu", pause=lambda progress: progress.epoch == 1) == {}
        metrics = run(on_gpu, tmp_path / "gpu", resume=True)
    assert metrics["test"] == pytest.approx(run(on_cpu, tmp_path / "cpu")["test"], abs=1 / 60 + 1e-9)
    ours, theirs = (read_tensors(tmp_path / name / "model.safetensors") for name in ("gpu", "cpu"))
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=1e-4)


def test_a_step_of_an_own_loop_waits_five_times():
    draw = torch.Generator().manual_seed(0)
    user, item = (torch.randint(count, (64,), generator=draw) for count in (30, 20))
    vectors = torch.randn(30, 8, generator=draw), torch.randn(20, 8, generator=draw)
    with emulated_cuda() as gpu:
        interactions = (user.to(CUDA), item.to(CUDA))
        cross = Cross(8, interactions=interactions, features={"text": torch.randn(20, 5).to(CUDA)}).to(CUDA)
        reps = Representations(*(part.to(CUDA) for part in vectors))
        gpu.waits.clear()
        cross.total(cross(reps, Batch(*interactions)))
    # the bounds of the numbers, distinct users, distinct items, neighbours, and the items of each direction
    assert gpu.waits.total() == 5, gpu.waits


def test_a_block_on_a_gpu_has_a_limit():
    with emulated_cuda():
        left = torch.empty(2048, 0, device=CUDA)
        assert rows_per_block(left, 20_000) == 2048
        assert rows_per_block(left, 10**6) * 10**6 <= 1.5 * 2**28
        assert 2048 % rows_per_block(left, 10**6) < 16  # equal blocks
        assert rows_per_block(left, 10**9) == 16


def test_batches_on_a_gpu_bring_their_distinct_users_and_items(monkeypatch):
    monkeypatch.setattr("crossrec.sampling.AHEAD", 3)
    draw = torch.Generator().manual_seed(0)
    data = TrainingSet(50, 40, *(torch.randint(count, (330,), generator=draw) for count in (50, 40)))
    with emulated_cuda() as gpu:
        batches = list(Sampler(data.to(CUDA), 20).epoch(torch_generator(0, "sampling", CUDA)))
        gpu.waits.clear()
        ready = [(getattr(batch, side), number_B) for batch in batches for side, number_B in sides(batch)]
        assert not gpu.waits
        assert len(ready) == 2 * 17
        for distinct, number_B in ready:
            expected = Distinct.of(number_B.cpu())
            for name in ("value_N", "index_B", "count_N"):
                assert getattr(distinct, name).cpu().equal(getattr(expected, name))


def sides(batch):
    return ("users", batch.user_B), ("items", batch.item_B)


def test_the_emulation_refuses_what_a_gpu_refuses():
    plain = torch.ones(3)
    with emulated_cuda():
        on_gpu = plain.to(CUDA)
        assert on_gpu.device == CUDA
        assert (on_gpu + 1).device == CUDA
        assert (on_gpu + 1).cpu().tolist() == [2, 2, 2]
        with pytest.raises(RuntimeError, match="on one device"):
            on_gpu + plain
        with pytest.raises(RuntimeError, match="numpy"):
            on_gpu.numpy()
        with pytest.raises(RuntimeError, match="generator is not on"):
            torch.rand(3, device=CUDA, generator=torch_generator(0, "test"))
        drawn = torch.rand(3, device=CUDA, generator=torch_generator(0, "test", CUDA))
        assert drawn.cpu().equal(torch.rand(3, generator=torch_generator(0, "test")))


def test_the_emulation_counts_waits():
    with emulated_cuda() as gpu:
        numbers = torch.arange(4.0).to(CUDA, non_blocking=True)
        numbers.square().sum().sqrt()
        assert gpu.waits.total() == 0
        float(numbers.sum())
        numbers[numbers > 1]
        numbers.nonzero()
        torch.unique(numbers)
        numbers.tolist()
        assert gpu.waits.total() == 5
