"""CROSS on a model of RecBole, in a loop of your own: ``python examples/recbole_model.py``.

Needs RecBole 1.2.1 (``pip install --no-deps recbole``, and the packages that its import then asks for).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import scipy.sparse
import torch

from crossrec import Batch, Cross, Representations

# RecBole 1.2.1 uses what NumPy 2 and SciPy 1.13 have taken out.
for old, new in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_)):
    setattr(np, old, new)
scipy.sparse.dok_matrix._update = lambda self, pairs: self._dict.update(pairs)


def train(name: str, folder: Path, epochs: int = 2) -> list[float]:
    """Train RecBole's LightGCN or BPR with CROSS on a drawn data set; the loss after each epoch."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.model import general_recommender

    draw = np.random.default_rng(0)
    pairs = sorted({*zip(draw.integers(1, 40, 600).tolist(), draw.integers(1, 30, 600).tolist(), strict=True)})
    rows = ["user_id:token\titem_id:token", *(f"u{user}\ti{item}" for user, item in pairs)]
    (folder / "toy").mkdir(parents=True, exist_ok=True)
    (folder / "toy" / "toy.inter").write_text("\n".join(rows) + "\n")
    settings = {"data_path": str(folder), "use_gpu": False, "state": "ERROR", "reproducibility": True}
    config = Config(model=name, dataset="toy", config_dict=settings)
    batches, _, _ = data_preparation(config, create_dataset(config))
    dataset = batches.dataset
    model = getattr(general_recommender, name)(config, dataset)

    image = torch.randn(dataset.item_num, 16, generator=torch.Generator().manual_seed(0))
    image[0] = 0.0  # RecBole's item 0 is padding
    interactions = (dataset.inter_feat[model.USER_ID], dataset.inter_feat[model.ITEM_ID])
    cross = Cross(64, features={"image": image}, interactions=interactions, num_items=dataset.item_num)
    optimizer = torch.optim.Adam([*model.parameters(), *cross.parameters()], lr=1e-2)
    losses = []
    for _ in range(epochs):
        for interaction in batches:
            if hasattr(model, "norm_adj_matrix"):  # all vectors, of a graph
                reps = Representations(*model.forward())
            else:  # tables
                reps = Representations(model.user_embedding, model.item_embedding)
            terms = cross(reps, Batch(interaction[model.USER_ID], interaction[model.ITEM_ID]))
            loss = model.calculate_loss(interaction) + cross.total(terms)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(float(loss))
    return losses


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for name in ("LightGCN", "BPR"):
            print(f"{name} + CROSS: loss", *(f"{loss:.4f}" for loss in train(name, Path(folder), epochs=5)))
