"""Base class of the backbones and of their settings, and layers that several backbones share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from crossrec.backbones.content_encoder import ContentEncoder
from crossrec.config import Config, Dimension, Number
from crossrec.errors import ConfigError
from crossrec.losses import logsumexp_dot
from crossrec.ops.divided import own_columns
from crossrec.ops.sparse import SparseMatrix
from crossrec.ops.vectors import gather_rows, l2_normalize
from crossrec.types import Batch, Distinct, Representations, TrainingSet


class BackboneConfig(Config):
    """Settings of every backbone. Each backbone adds its own."""

    name: ClassVar[str]
    """Name of the backbone for ``--backbone``."""
    dim: Dimension = 64
    """L, dimension of user and item vectors."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate of Adam, for backbone and alignment."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of Adam on the backbone's parameters."""

    def learning_rate_at(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 1. Constant unless a backbone overrides it with a schedule."""
        return self.learning_rate


class DecayedConfig(BackboneConfig):
    """Settings of a backbone whose learning rate falls in steps."""

    learning_rate_decay: Annotated[float, Field(gt=0, le=1)] = 0.96
    """Factor on the learning rate every ``decay_epochs`` epochs."""
    decay_epochs: Number = 50
    """Epochs with the same learning rate."""

    def learning_rate_at(self, epoch: int) -> float:
        return self.learning_rate * self.learning_rate_decay ** ((epoch - 1) // self.decay_epochs)


class Backbone(nn.Module, ABC):
    """A recommender without a training loop of its own, on which CROSS can be stacked.

    A subclass names the type of its settings (``config_type``), says whether it needs content features
    (``multimodal``), takes ``(config, data, generator)``, and draws every initial value from ``generator``.
    ``modalities``: content modalities for which ``propagate`` returns item vectors of its own; none unless set.
    """

    config_type: ClassVar[type[BackboneConfig]]
    multimodal: ClassVar[bool] = False
    has_item_graph: ClassVar[bool] = False
    """Whether items already receive the vectors of items with similar content: no content graph is put on top."""
    weighs_pairs: ClassVar[bool] = False
    """Whether ``losses`` weighs the pairs of a batch that has ``weight_B``."""
    divides_columns: ClassVar[bool] = False
    """Whether several processes may have some columns each of all parameters: ``propagate`` treats every column alike
    and sets ``Representations.columns``, and ``losses`` reads rows by ``gather_rows``. Not inherited."""

    def __init__(self, config: BackboneConfig, data: TrainingSet, generator: torch.Generator) -> None:
        super().__init__()
        if self.multimodal and not data.features:
            raise ConfigError(
                f"--backbone {config.name} needs at least one content modality, and this data set has none: "
                "add a <modality>_feat.npy, or use a collaborative backbone such as lightgcn"
            )
        self.num_users, self.num_items = data.num_users, data.num_items
        self.modalities: tuple[str, ...] = ()
        self.columns: int | None = None

    def keep_own_columns(self) -> None:
        """Keep this process's columns of every parameter (``crossrec.parallel``); ``columns`` is then L."""
        for parameter in self.parameters():
            self.columns = parameter.shape[1]
            parameter.data = own_columns(parameter.data)
        for value in vars(self).values():
            if isinstance(value, SparseMatrix):
                value.shared = value.transposed.shared = False

    @abstractmethod
    def propagate(self) -> Representations:
        """All vectors, once per step, with gradient in training. In ``eval()`` mode: the vectors to recommend with."""

    @abstractmethod
    def losses(self, reps: Representations, batch: Batch) -> dict[str, Tensor]:
        """Named scalar terms, already weighted: their sum is the backbone's own loss."""

    def parts(self, reps: Representations) -> dict[str, Tensor]:
        """Summands of ``reps.item_IS``, (I, S) each: ``id`` (behaviour) and one per modality; none if it is no sum.

        ``content`` is the part that an item gets from items with similar content, ``bias`` the part all items share.
        """
        return {}

    def content_encoders(self) -> dict[str, ContentEncoder]:
        """Encoders of each modality's features into this model's vectors, for items without interactions."""
        return {}

    def before_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Renew what changes every epoch, such as graph views or clusters. ``epoch`` counts from 1."""


def xavier_table(num_rows: int, dim: int, generator: torch.Generator) -> nn.Parameter:
    """A (num_rows, dim) table of Xavier-uniform values (Glorot and Bengio 2010)."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(num_rows, dim), generator=generator))


def negatives(batch: Batch) -> Tensor:
    """The batch's sampled negative items, (B,). Raises ValueError where none were drawn."""
    if batch.negative_B is None:
        raise ValueError("this loss needs a negative item per pair: Batch.negative_B is None")
    return batch.negative_B


def gather_batch(
    user_US: Tensor, item_IS: Tensor, batch: Batch, columns: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of the batch's users, positive and negative items, (B, S) each. ``columns``: as for ``gather_rows``.

    Raises ValueError as ``negatives`` does.
    """
    user_BS = gather_rows(user_US, batch.user_B, columns)
    positive_BS, negative_BS = gather_rows(item_IS, torch.cat([batch.item_B, negatives(batch)]), columns).chunk(2)
    return user_BS, positive_BS, negative_BS


def contrast(
    anchor_NL: Tensor, candidate_PL: Tensor, rows: Distinct, temperature: float, positive_N: Tensor | None = None
) -> Tensor:
    """Σ_b -log softmax_p( cos(a_b, c_p) / τ )_positive(b), a scalar: rows of one table against all rows of another.

    ``rows``: the batch's rows of ``anchor_NL``; repeats count each time and are computed once. ``positive_N``: the
    candidate that each anchor belongs to; the one in the same row unless given.
    """
    index_D, count_D = rows.value_N, rows.count_N
    anchor_DL = l2_normalize(gather_rows(anchor_NL, index_D)) / temperature
    candidate_PL, weight_D = l2_normalize(candidate_PL), count_D.to(anchor_DL.dtype)
    positive_DL = gather_rows(candidate_PL, index_D if positive_N is None else positive_N[index_D])
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
    """Linear maps, with a leaky ReLU between them, of one modality's features (I, D): (I, last width).

    The features are constant unless ``trainable``.
    """

    feature_matrix: Tensor

    def __init__(
        self, feature_matrix: Tensor, widths: Sequence[int], generator: torch.Generator, *, trainable: bool = False
    ) -> None:
        super().__init__()
        if trainable:
            self.feature_matrix = nn.Parameter(feature_matrix.clone())
        else:
            self.register_buffer("feature_matrix", feature_matrix, persistent=False)
        columns = (feature_matrix.shape[1], *widths)
        self.maps = nn.ModuleList(Linear(a, b, generator) for a, b in zip(columns, widths, strict=False))

    def forward(self) -> Tensor:
        vector_IL = self.feature_matrix
        for layer, linear in enumerate(self.maps):
            vector_IL = linear(F.leaky_relu(vector_IL) if layer else vector_IL)
        return vector_IL

    def encoder(self, **options: Any) -> ContentEncoder:
        """The maps, for features of further items; ``options`` of ``ContentEncoder``."""
        maps = [cast(Linear, linear) for linear in self.maps]
        return ContentEncoder(tuple(m.weight for m in maps), tuple(m.bias for m in maps), **options)


def content_encoders(modalities: Sequence[str], content: nn.ModuleList, **options: Any) -> dict[str, ContentEncoder]:
    """The encoders of ``FeatureMLP`` modules, one a modality; ``options`` of ``ContentEncoder``."""
    mlps = (cast(FeatureMLP, mlp) for mlp in content)
    return {modality: mlp.encoder(**options) for modality, mlp in zip(modalities, mlps, strict=True)}


class LazyTensors(Mapping[str, Tensor]):
    """Named tensors, each computed at first access, so that vectors which only CROSS reads cost nothing without it."""

    def __init__(self, functions: Mapping[str, Callable[[], Tensor]]) -> None:
        self._functions, self._tensors = functions, dict[str, Tensor]()

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._tensors:
            self._tensors[name] = self._functions[name]()
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)
