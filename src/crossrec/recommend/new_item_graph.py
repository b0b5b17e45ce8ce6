"""The content graph of a run, for items that were not in its training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from crossrec.content_graph import ContentGraph
from crossrec.data import Dataset, load
from crossrec.data.io.features import Scaler
from crossrec.errors import DataError, RunError
from crossrec.runs.embeddings import TrainedEmbeddings

if TYPE_CHECKING:
    from crossrec.runs.config import RunConfig


class NewItemGraph:
    """What the content graph of a run gives to new items: w · the mean of their nearest items of the run by content.

    ``own_IS``: vectors of the run's items without what the graph adds; ``part_IS``: what it adds; both of the items of
    the training. Items whose vectors were made from content after training are no neighbours.
    """

    def __init__(self, graph: ContentGraph, scalers: Mapping[str, Scaler], own_IS: Tensor, part_IS: Tensor) -> None:
        self.graph, self.scalers, self.own_IS, self.part_IS = graph, scalers, own_IS, part_IS

    @classmethod
    def of(cls, config: RunConfig, embeddings: TrainedEmbeddings, dataset: Dataset) -> NewItemGraph | None:
        """The graph of a run on this data set; None for a run without one."""
        from crossrec.objective import content_graph  # loads backbones and losses, which a run without a graph spares

        features = {m: torch.from_numpy(x) for m, x in dataset.features.items()}
        if embeddings.refit:
            dataset = dataset.all_in_training()
        interactions = torch.from_numpy(dataset.train.user_N), torch.from_numpy(dataset.train.item_N)
        graph = content_graph(config.backbone, config.alignment, features, interactions)
        if graph is None:
            return None
        if embeddings.from_content_I is not None:
            trained_I1 = ~embeddings.from_content_I[: dataset.num_items, None]
            features = {m: x * trained_I1 for m, x in features.items()}
            graph = ContentGraph(features, weight=graph.weight, neighbors=graph.neighbors, shares=graph.shares)
        part_IS = embeddings.part_IS["content"]
        return cls(graph, dataset.scalers, embeddings.item_IS[: len(part_IS)] - part_IS, part_IS)

    @classmethod
    def open(cls, run: Path, embeddings: TrainedEmbeddings) -> NewItemGraph | None:
        """The graph of the run in a folder, from its data set; None for a run without one, which needs no data set.

        Raises RunError where the data set cannot be read or has changed.
        """
        if "content" not in embeddings.part_IS:
            return None
        from crossrec.runs.config import load_config  # loads the trainer, which a run without a graph spares

        config = load_config(run / "config.json")
        if config.alignment is None or not config.alignment.content_graph:
            return None
        try:
            dataset = load(config.data)
        except DataError as error:
            raise RunError(
                f"{run}: vectors of new items need the data set of the run, whose content graph they join: {error}"
            ) from None
        same_features = all(
            m in dataset.scalers and np.array_equal(scaler.centre_D, dataset.scalers[m].centre_D)
            for m, scaler in embeddings.scalers.items()
        )
        if not same_features or not embeddings.matches(dataset):
            raise RunError(
                f"{run}: vectors of new items need the data set of the run, whose content graph they join, and it has "
                "changed since: train the run again"
            )
        return cls.of(config, embeddings, dataset)

    def of_run(self, row_N: Tensor) -> Tensor:
        """The graph's part of items of the run, (N, S); zeros for items that were added after training."""
        in_training = row_N < len(self.part_IS)
        return self.part_IS[row_N.clamp(max=len(self.part_IS) - 1)] * in_training[:, None]

    def __call__(self, raw: Mapping[str, np.ndarray]) -> Tensor:
        """The graph's part of items with these raw features, (N, D_m) by modality: (N, S)."""
        features = {m: torch.from_numpy(self.scalers[m](x)) for m, x in raw.items() if m in self.graph.features}
        return self.graph.of_new_items(features, self.own_IS)
