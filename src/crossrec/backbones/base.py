"""What every backbone is: vectors once per step, named loss terms, and a word before each epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from crossrec.config import Config
from crossrec.errors import ConfigError
from crossrec.types import Batch, Representations, TrainingSet


class BackboneConfig(Config):
    """Settings that every backbone has; each adds its own."""

    name: ClassVar[str]
    """What ``--backbone`` calls it."""
    dim: Annotated[int, Field(ge=1)] = 64
    """L, dimension of user and item vectors."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate of Adam, for backbone and alignment."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of Adam on the backbone's parameters."""


class Backbone(nn.Module, ABC):
    """A recommender to be aligned. It has no training loop of its own.

    Subclasses say what their settings are (``config_type``) and whether they need content (``multimodal``), take
    ``(config, data, generator)``, and draw every initial value from ``generator``.
    """

    config_type: ClassVar[type[BackboneConfig]]
    multimodal: ClassVar[bool] = False

    def __init__(self, config: BackboneConfig, data: TrainingSet, generator: torch.Generator) -> None:
        super().__init__()
        if self.multimodal and not data.features:
            raise ConfigError(
                f"--backbone {config.name} needs at least one content modality, and this data set has none: "
                "add a <modality>_feat.npy, or use a collaborative backbone such as lightgcn"
            )
        self.num_users, self.num_items = data.num_users, data.num_items

    @property
    def modalities(self) -> tuple[str, ...]:
        """Content modalities for which ``propagate`` hands over its own item vectors."""
        return ()

    @abstractmethod
    def propagate(self) -> Representations:
        """All vectors, once per step; with gradient in training. In ``eval()`` mode: those to recommend with."""

    @abstractmethod
    def losses(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        """Named scalar terms, weighted: their plain sum is the backbone's own loss."""

    def before_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Whatever is renewed every epoch (graph views, clusters); ``epoch`` counts from 1."""


def xavier_table(rows: int, dim: int, generator: torch.Generator) -> nn.Parameter:
    """A (rows, dim) table of Xavier-uniform values (Glorot and Bengio 2010)."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, dim), generator=generator))


def negatives(batch: Batch) -> Tensor:
    """The batch's sampled negative items, (B,). Raises ValueError where none were drawn."""
    if batch.negative_B is None:
        raise ValueError("this loss needs a negative item per pair: Batch.negative_B is None")
    return batch.negative_B
