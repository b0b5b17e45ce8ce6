"""Checks of the numbers: those of the GPU against those of the CPU."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.datasets import generated
from benchmarks.gpu_check.common import (
    ALIGNED,
    Session,
    Training,
    difference,
    objective_of,
    split_off,
    tiktok_sized,
)
from crossrec.backbones import BACKBONES
from crossrec.data import DataConfig, load
from crossrec.evaluation.ranking import rank_held_out, top_k
from crossrec.graph import knn
from crossrec.ops.sparse import bag_sums, csr_sums
from crossrec.ops.topk import exact_topk
from crossrec.runs.execute import held_out, training_set
from crossrec.training import TrainingConfig, fit, validate

GOLDEN = Path(__file__).parents[2] / "tests" / "golden" / "golden.json"
CPU = torch.device("cpu")


def products(session: Session) -> None:
    """Both kernels of the sparse product, against each other on the CPU, in float32 and bfloat16."""
    data, _ = tiktok_sized(session.tiny)
    graph = objective_of("lightgcn", "none", data, CPU).backbone.adjacency
    dense = torch.randn(graph.shape[1], 64, generator=torch.Generator().manual_seed(0))
    arguments = (graph.indptr, graph.indices, graph.values, dense)
    expected = bag_sums(*arguments)
    for number, bound in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
        for kernel in (bag_sums, csr_sums):
            with session.part(f"sparse product, {kernel.__name__}, {str(number).removeprefix('torch.')}") as row:
                if kernel is csr_sums and number == torch.bfloat16 and not session.on_gpu:
                    row.skipped = "a CPU has no such kernel"
                    continue
                index, values = arguments[:2], (part.to(number) for part in arguments[2:])
                moved = [part.to(session.device) for part in (*index, *values)]
                error = float((kernel(*moved).float().cpu() - expected).abs().max() / expected.abs().max())
                row.value, row.bound, row.ok = f"{error:.1e}", f"≤ {bound:.0e} of the largest", error <= bound


def golden(session: Session) -> None:
    """Two epochs of every cell with the draws of the CPU, against the golden values. Later epochs amplify rounding."""
    dataset = load(DataConfig(data="synthetic-tiny"))
    data, test, golden_values = training_set(dataset), held_out(dataset, dataset.test), json.loads(GOLDEN.read_text())
    for backbone in BACKBONES:
        for alignment in (*ALIGNED, "fettle"):
            name = f"golden values, {backbone} + {alignment}"
            if (session.tiny and (backbone, alignment) != ("lattice", "cross")) or not session.has_time(name):
                continue
            with session.part(name) as row:
                objective = objective_of(backbone, alignment, data, session.device, learning_rate=0.02)
                training = Training(objective, data, session.device, 100)
                expected = golden_values[f"{backbone}+{alignment}"]["terms"]
                first, second = (difference(training.run_epoch(), terms) for terms in expected[:2])
                recall = validate(objective, test)["recall@20"]
                row.value, row.bound = f"{first:.1e}, {second:.1e}; recall@20 {recall:.3f}", "≤ 1e-4, ≤ 1e-2"
                row.ok = first <= 1e-4 and second <= 1e-2


def against_cpu(session: Session) -> None:
    """Two epochs of LightGCN on the set of TikTok's size on both devices, with the same draws."""
    data, held = tiktok_sized(session.tiny)
    for alignment in ("none", "cross"):
        with session.part(f"TikTok's size against the CPU, lightgcn + {alignment}") as row:
            terms, metrics = [], []
            for device in (session.device, CPU):
                objective = objective_of("lightgcn", alignment, data, device)
                training = Training(objective, data, device, 2048)
                terms.append([training.run_epoch() for _ in range(2)])
                metrics.append(validate(objective, held))
            worst = max(difference(mine, other) for mine, other in zip(*terms, strict=True))
            apart = difference(*metrics)
            row.value, row.bound = f"terms {worst:.1e}, metrics {apart:.1e}", "≤ 1e-3, ≤ 0.1"
            row.ok = worst <= 1e-3 and apart <= 0.1


def precision(session: Session) -> None:
    """The terms of a step with products in bfloat16 against those in float32."""
    data, _ = tiktok_sized(session.tiny)
    with session.part("LightGCN + CROSS with --precision bfloat16") as row:
        terms = []
        for chosen in (None, "bfloat16"):
            objective = objective_of("lightgcn", "cross", data, session.device, precision=chosen)
            terms.append(Training(objective, data, session.device, 2048).run_epoch())
        worst = difference(terms[1], terms[0])
        row.value, row.bound, row.ok = f"{worst:.1e} from float32", "≤ 2e-2", worst <= 2e-2


def resume(session: Session) -> None:
    """Four epochs at once, twice, and with a stop after two."""
    data, held = split_off(generated(300, 200, 2500, (16, 8)))
    data = data.to(session.device)

    def train(stop: int | None = None) -> dict[str, torch.Tensor]:
        config = TrainingConfig(epochs=4, batch_size=256, checkpoint_seconds=0)
        with tempfile.TemporaryDirectory() as folder:
            for stops_at in [None] if stop is None else [stop, None]:
                objective = objective_of("lightgcn", "cross", data, session.device)
                fit(
                    objective,
                    data,
                    held,
                    config,
                    checkpoints=folder,
                    identity="check",
                    pause=lambda progress, at=stops_at: progress.epoch == at,  # type: ignore[misc]
                )
        return {name: value.cpu() for name, value in objective.state_dict().items()}

    def apart(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
        return max(float((left[name] - right[name]).abs().max() / right[name].abs().max()) for name in right)

    with session.part("the same training twice") as row:
        whole = train()
        distance = apart(train(), whole)
        row.value, row.bound, row.ok = _distance(distance), "≤ 1e-2 of the largest weight", distance <= 1e-2
    with session.part("stopped after two epochs and resumed") as row:
        distance = apart(train(2), whole)
        row.value, row.bound, row.ok = _distance(distance), "≤ 1e-2 of the largest weight", distance <= 1e-2


def _distance(value: float) -> str:
    return f"{value:.1e}" if value else "bit-equal"


def ranking(session: Session) -> None:
    """Ranks, lists and nearest items on both devices, from the same vectors."""
    draw = torch.Generator().manual_seed(0)
    data, held = tiktok_sized(session.tiny)
    user, item = (torch.randn(count, 64, generator=draw) for count in (data.num_users, data.num_items))
    moved = user.to(session.device), item.to(session.device)
    with session.part("ranks of held-out items") as row:
        ours, theirs = (rank_held_out(*vectors, held).rank_P for vectors in (moved, (user, item)))
        same = float((ours == theirs).mean())
        row.value, row.bound = f"{same:.2%} the same, {np.abs(ours - theirs).max()} places at most", "≥ 99 %, ≤ 3"
        row.ok = same >= 0.99 and int(np.abs(ours - theirs).max()) <= 3
    with session.part("lists of 20") as row:
        pairs = (np.arange(min(2000, len(user))), data.user_T.numpy(), data.item_T.numpy(), 20)
        ours, theirs = (top_k(*vectors, *pairs)[0] for vectors in (moved, (user, item)))
        same = float((ours == theirs).mean())
        row.value, row.bound, row.ok = f"{same:.2%} of the places the same", "≥ 99 %", same >= 0.99
    with session.part("lists of 20 with exact scores") as row:
        ours, theirs = (exact_topk(vectors[0][:500], vectors[1], 20) for vectors in (moved, (user, item)))
        row.ok = bool(torch.equal(ours[0].cpu(), theirs[0])) and bool(torch.allclose(ours[1].cpu(), theirs[1]))
        row.value, row.bound = "the same" if row.ok else "others", "the same"
    with session.part("nearest items by content") as row:
        feature = data.features["image"]
        ours, theirs = (knn(part, 10)[0].cpu() for part in (feature.to(session.device), feature))
        same = float((ours == theirs).float().mean())
        row.value, row.bound, row.ok = f"{same:.2%} the same", "≥ 99.9 %", same >= 0.999


def command(session: Session) -> None:
    """``crossrec train`` on the device, ``recommend`` from its run, and the same training under ``torchrun``."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        options = ["--data", "synthetic-tiny", "--backbone", "lightgcn", "--alignment", "cross", "--epochs", "3"]
        options += ["--batch-size", "256", "--device", session.device.type]
        with session.part("crossrec train and recommend") as row:
            alone = _train([sys.executable, "-m"], options, folder / "alone")
            lists = [sys.executable, "-m", "crossrec", "recommend", str(folder / "alone"), "--users", "0"]
            done = subprocess.run(lists, capture_output=True, text=True, check=False)
            row.value = done.stderr.strip()[-200:] or f"recall@20 {alone['test']['recall@20']:.3f}"
            row.bound, row.ok = "exit code 0", done.returncode == 0
        with session.part("torchrun with one process") as row:
            if session.tiny:
                row.skipped = "a short run"
                return
            runner = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1", "-m"]
            metrics = _train(runner, options, folder / "torchrun")
            apart = difference(metrics["test"], alone["test"])
            row.value, row.bound, row.ok = f"metrics {apart:.1e} apart", "≤ 0.05", apart <= 0.05


def _train(runner: list[str], options: list[str], out: Path) -> dict[str, Any]:
    done = subprocess.run(
        [*runner, "crossrec", "train", *options, "--out", str(out)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-200:].replace("\n", " "))
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return metrics


def nccl(session: Session) -> None:
    """What several processes hand each other by NCCL, here by one process, since a GPU takes part once."""
    with session.part("collectives of NCCL, one process") as row:
        if not session.on_gpu:
            row.skipped = "no GPU"
            return
        store = torch.distributed.HashStore()
        torch.distributed.init_process_group("nccl", store=store, rank=0, world_size=1, device_id=session.device)
        sent = torch.arange(1000.0, device=session.device)
        summed, gathered, broadcast = sent.clone(), torch.empty_like(sent), sent.clone()
        torch.distributed.all_reduce(summed)
        torch.distributed.all_gather_into_tensor(gathered, sent)
        torch.distributed.broadcast(broadcast, 0)
        row.ok = all(torch.equal(sent, received) for received in (summed, gathered, broadcast))
        row.value, row.bound = "the same" if row.ok else "others", "the same"
        torch.distributed.destroy_process_group()


def features(session: Session) -> None:
    """Vectors of random pictures by a small random vision transformer on both devices."""
    with session.part("vectors of pictures") as row:
        if importlib.util.find_spec("transformers") is None or importlib.util.find_spec("PIL") is None or session.tiny:
            row.skipped = "a short run" if session.tiny else "transformers or pillow are not installed"
            return
        import polars as pl
        from PIL import Image
        from transformers import ViTConfig, ViTImageProcessor, ViTModel

        from crossrec.features import FeaturesConfig, encode_features

        with tempfile.TemporaryDirectory() as text:
            folder, model = Path(text) / "shop", Path(text) / "model"
            folder.mkdir()
            shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
            ViTModel(ViTConfig(**shape, image_size=32, patch_size=8)).save_pretrained(model)
            ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(model)
            noise = np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3), dtype=np.uint8)
            for number, pixels in enumerate(noise):
                Image.fromarray(pixels).save(folder / f"{number}.png")
            ids = [f"i{number}" for number in range(len(noise))]
            pictures = [f"{number}.png" for number in range(len(noise))]
            pl.DataFrame({"item_id": ids, "picture": pictures}).write_parquet(folder / "items.parquet")
            users = [f"u{number % 5}" for number in range(len(noise))]
            pl.DataFrame({"user_id": users, "item_id": ids}).write_parquet(folder / "interactions.parquet")
            vectors = []
            for device in (session.device.type, "cpu"):
                settings = {"image": "picture", "image_model": str(model), "image_name": device, "device": device}
                encode_features(FeaturesConfig.parse({"data": str(folder), **settings}))
                vectors.append(np.load(folder / f"{device}_feat.npy"))
            apart = float(np.abs(vectors[0] - vectors[1]).max())
            row.value, row.bound, row.ok = f"{apart:.1e} apart", "≤ 1e-3", apart <= 1e-3
