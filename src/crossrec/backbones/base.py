"""What every backbone is: vectors once per step, named loss terms, and a word before each epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from crossrec.backbones.content_encoder import ContentEncoder
from crossrec.config import Config
from crossrec.errors import ConfigError
from crossrec.losses import logsumexp_dot
from crossrec.ops.vectors import gather_rows, l2_normalize
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

    def learning_rate_at(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 1: always the same, unless a backbone has a schedule."""
        return self.learning_rate


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

    def parts(self, reps: Representations) -> dict[str, Tensor]:
        """What ``reps.item_IS`` is the sum of, (I, S) each, where it is a sum: ``id`` (behaviour), then by modality.

        ``content`` is what an item has from items that look or read alike, ``bias`` what all items share.
        """
        return {}

    def content_encoders(self) -> dict[str, ContentEncoder]:
        """How features become this model's own vector of a modality, for an item without interactions."""
        return {}

    def before_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Whatever is renewed every epoch (graph views, clusters); ``epoch`` counts from 1."""


def xavier_table(num_rows: int, dim: int, generator: torch.Generator) -> nn.Parameter:
    """A (num_rows, dim) table of Xavier-uniform values (Glorot and Bengio 2010)."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(num_rows, dim), generator=generator))


def negatives(batch: Batch) -> Tensor:
    """The batch's sampled negative items, (B,). Raises ValueError where none were drawn."""
    if batch.negative_B is None:
        raise ValueError("this loss needs a negative item per pair: Batch.negative_B is None")
    return batch.negative_B


def contrast(
    anchor_NL: Tensor, candidate_PL: Tensor, index_B: Tensor, temperature: float, own_N: Tensor | None = None
) -> Tensor:
    """Σ_b -log softmax_p( cos(a_b, c_p) / τ )_own(b), a scalar: rows of one table against all rows of another.

    ``index_B``: the batch's rows, each counted as often as it occurs and computed once. ``own_N``: the candidate that
    each anchor belongs to; the one of the same row unless given.
    """
    index_D, count_D = torch.unique(index_B, return_counts=True)
    anchor_DL = l2_normalize(gather_rows(anchor_NL, index_D)) / temperature
    candidate_PL, weight_D = l2_normalize(candidate_PL), count_D.to(anchor_DL.dtype)
    positive_DL = gather_rows(candidate_PL, index_D if own_N is None else own_N[index_D])
    matched = ((anchor_DL * positive_DL).sum(-1) * weight_D).sum()
    total: Tensor = logsumexp_dot(anchor_DL, candidate_PL, weight_D) - matched
    return total


class Linear(nn.Module):
    """x Wᵀ + b, with Xavier-uniform W (out, in) from ``generator`` and b = 0."""

    def __init__(self, columns: int, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = xavier_table(dim, columns, generator)
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, vector_ND: Tensor) -> Tensor:
        return F.linear(vector_ND, self.weight, self.bias)


class FeatureMLP(nn.Module):
    """One modality's raw features, constant, through linear maps with a leaky ReLU between them: (I, last width)."""

    feature_matrix: Tensor

    def __init__(self, feature_matrix: Tensor, widths: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("feature_matrix", feature_matrix, persistent=False)
        columns = (feature_matrix.shape[1], *widths)
        self.maps = nn.ModuleList(Linear(a, b, generator) for a, b in zip(columns, widths, strict=False))

    def forward(self) -> Tensor:
        vector_ID = self.feature_matrix
        for place, linear in enumerate(self.maps):
            vector_ID = linear(F.leaky_relu(vector_ID) if place else vector_ID)
        return vector_ID

    def encoder(self, *, unit_input: bool = False, activate: bool = False, unit_output: bool = False) -> ContentEncoder:
        """The same map for features of further items."""
        linear = [cast(Linear, part) for part in self.maps]
        weights, biases = tuple(part.weight for part in linear), tuple(part.bias for part in linear)
        return ContentEncoder(weights, biases, unit_input, activate, unit_output)


class LazyTensors(Mapping[str, Tensor]):
    """Named tensors, each made when first asked for: what only the alignment may want costs nothing without it."""

    def __init__(self, makers: Mapping[str, Callable[[], Tensor]]) -> None:
        self._makers, self._made = makers, dict[str, Tensor]()

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)
