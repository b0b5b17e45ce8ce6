"""A crossrec model as a recommender of Cornac, for its experiments and metrics (``pip install cornac``).

``CrossrecModel`` trains a backbone, with or without alignment, on Cornac's training set. Features come from Cornac's
image and text modalities, or from ``features``, a matrix (I, D) by modality in the order of ``train_set.item_ids``.
Run it with ``python examples/cornac_model.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from cornac.models import Recommender

from crossrec import HeldOut, Objective, TrainingConfig, TrainingSet, fit
from crossrec.recommend.from_frames import run_config


class CrossrecModel(Recommender):
    """``backbone``, ``alignment``: names as in ``crossrec train``; ``settings``: its other settings, such as dim=32."""

    def __init__(
        self,
        backbone: str = "lightgcn",
        alignment: str | None = "cross",
        *,
        features: Mapping[str, Any] | None = None,
        name: str | None = None,
        trainable: bool = True,
        verbose: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(name or f"{backbone}+{alignment}", trainable=trainable, verbose=verbose)
        self.config = run_config(backbone, alignment, settings)
        self.backbone, self.alignment, self.features, self.settings = backbone, alignment, features, settings

    def fit(self, train_set: Any, val_set: Any = None) -> CrossrecModel:
        """Train, and choose the epoch on ``val_set`` where there is one."""
        super().fit(train_set, val_set)
        if not self.trainable:
            return self
        user, item = (torch.as_tensor(np.array(part)).long() for part in train_set.uir_tuple[:2])
        users, items = train_set.num_users, train_set.num_items
        data = TrainingSet(users, items, user, item, self._features(train_set, items))
        chosen = ([], []) if val_set is None else val_set.uir_tuple[:2]
        valid_user, valid_item = (np.array(part, dtype=np.int64) for part in chosen)
        present = (valid_user < users) & (valid_item < items)  # others have no vector
        valid = HeldOut.build(user.numpy(), item.numpy(), valid_user[present], valid_item[present], users, items)
        training: TrainingConfig = self.config.training
        objective = Objective(self.config.backbone, self.config.alignment, data, training.seed)
        fit(objective, data, valid, training)
        objective.eval()
        with torch.no_grad():
            reps = objective.propagate()
        self.user_vectors, self.item_vectors = reps.user_US.numpy(), reps.item_IS.numpy()
        return self

    def score(self, user_idx: int, item_idx: int | None = None) -> Any:
        """Scores of all items for a user, or of one item."""
        scores = self.item_vectors @ self.user_vectors[user_idx]
        return scores if item_idx is None else scores[item_idx]

    def _features(self, train_set: Any, items: int) -> dict[str, torch.Tensor]:
        matrices = dict(self.features or {})
        for modality, name in (("item_image", "image"), ("item_text", "text")):
            held = getattr(getattr(train_set, modality, None), "features", None)
            if held is not None and name not in matrices:
                matrices[name] = held
        return {
            name: torch.tensor(np.asarray(matrix)[:items], dtype=torch.float32) for name, matrix in matrices.items()
        }


def demo() -> Any:
    """Compare LightGCN alone and with CROSS to Cornac's most popular items, on generated ratings."""
    import cornac

    draw = np.random.default_rng(0)
    taste, kind = draw.integers(0, 4, 120), draw.integers(0, 4, 80)
    pairs = [(u, i) for u in range(120) for i in range(80) if draw.random() < (0.4 if taste[u] == kind[i] else 0.05)]
    ratings = [(f"u{u}", f"i{i}", 5.0) for u, i in pairs]
    split = cornac.eval_methods.RatioSplit(ratings, test_size=0.2, val_size=0.1, seed=1, exclude_unknowns=True)
    options: dict[str, Any] = {"dim": 16, "epochs": 10, "batch_size": 512, "device": "cpu", "learning_rate": 0.01}
    models = [
        cornac.models.MostPop(),
        CrossrecModel("lightgcn", None, name="LightGCN", **options),
        CrossrecModel("lightgcn", "cross", name="LightGCN + CROSS", **options),
    ]
    experiment = cornac.Experiment(split, models, [cornac.metrics.Recall(k=10), cornac.metrics.NDCG(k=10)])
    experiment.run()
    return experiment


if __name__ == "__main__":
    demo()
