"""Types shared by every part: batches, representations, training sets, alignment directions.

Shape suffixes used in names throughout the package:

| letter | meaning |
| --- | --- |
| U, I | all users, all items of the data set |
| B | pairs (user, item) of a batch |
| N | distinct items of a batch (n = |I| in the paper's per-batch formulas) |
| L | dimension of the shared embedding space |
| D | columns of a raw feature matrix |
| S | width of the vectors a backbone scores with (L for most) |
| P | prototypes of a codebook |
| K | neighbours of an item |

Ids and vectors come as tensors or in another usual form, such as arrays (``crossrec.arguments``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from crossrec.arguments import as_ids, as_vectors, as_weights
from crossrec.errors import ArgumentError

ID = "id"
"""Name of the modality of a backbone's own item vectors, i^ID in the paper."""

Direction = Literal["dynamic", "one_way", "bidirectional", "topmost"]
"""Which ordered pairs of modalities m → n an item supports (Sections 4.2 and 5)."""


@dataclass(frozen=True)
class Distinct:
    """The distinct users, or items, of a batch.

    ``value_N``: their numbers, ascending; ``index_B``: which of them each pair is of; ``count_N``: how many pairs each
    is in. All int64.
    """

    value_N: Tensor
    index_B: Tensor
    count_N: Tensor

    @classmethod
    def of(cls, number_B: Tensor) -> Distinct:
        """From the number of each pair, (B,). For numbers on a GPU it waits: the host must know how many there are."""
        return cls(*torch.unique(number_B, return_inverse=True, return_counts=True))


@dataclass(frozen=True)
class Batch:
    """Observed pairs (u_b, i_b) and one sampled negative item j_b each.

    ``user_B``, ``item_B``, ``negative_B``: int64 of shape (B,). The alignment needs no negatives;
    ``negative_B`` may be None for losses that draw none. ``weight_B``: floating point, above 0, how much each pair
    counts; a pair of weight 2 counts like two pairs. None: all the same. ``is_checked``: numbers and weights are those
    of a data set that was checked as a whole, so that no step looks at them again. Raises ArgumentError for other types
    and shapes.
    """

    user_B: Tensor
    item_B: Tensor
    negative_B: Tensor | None = None
    weight_B: Tensor | None = None
    is_checked: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("user_B", "item_B", "negative_B"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, as_ids(value, f"Batch.{name}"))
        if self.weight_B is not None:
            object.__setattr__(self, "weight_B", as_weights(self.weight_B, "Batch.weight_B", len(self.user_B)))
        if len(self.user_B) != len(self.item_B):
            raise ArgumentError(
                f"Batch has {len(self.user_B)} users and {len(self.item_B)} items: give one of each a pair"
            )

    def __len__(self) -> int:
        return self.user_B.shape[0]

    @cached_property
    def users(self) -> Distinct:
        """The distinct users."""
        return Distinct.of(self.user_B)

    @cached_property
    def items(self) -> Distinct:
        """The distinct items."""
        return Distinct.of(self.item_B)

    def first(self, count: int) -> Batch:
        """The first ``count`` pairs; all where there are no more."""
        if count >= len(self):
            return self
        negative_B, weight_B = (None if part is None else part[:count] for part in (self.negative_B, self.weight_B))
        return Batch(self.user_B[:count], self.item_B[:count], negative_B, weight_B, self.is_checked)


@dataclass(frozen=True)
class Representations:
    """Vectors that a backbone computes once per step, shared by its own loss and by the alignment.

    ``user_UL``, ``item_IL``: u and i^ID, the final vectors in the shared space of dimension L.
    ``modality_IL``: the backbone's own item vectors per content modality, (I, L) each. The alignment projects the raw
    features of a content modality that is absent here.
    ``scoring``: (user_US, item_IS), the vectors whose dot product ranks items, where they are wider than L, such as
    concatenations; None where they are ``user_UL`` and ``item_IL`` themselves.
    ``normalized``: the rows of ``user_UL`` and ``item_IL`` have length 1 or 0 already, so that the alignment takes them
    as they are.
    ``user_rows``, ``item_rows``: int64, whose vectors these are, for a model that computes those of a batch only: row r
    of ``user_UL`` is of user ``user_rows[r]``, row r of ``item_IL`` and ``modality_IL`` of item ``item_rows[r]``, each
    at most once. None: all users, all items, in their order.
    ``columns``: L, where a process has its own columns of ``user_UL`` and ``item_IL`` only (``crossrec.parallel``).
    ``gather_rows`` with it gives whole rows.

    A ``torch.nn.Embedding`` stands for its weight. Raises ArgumentError for other types and shapes.
    """

    user_UL: Tensor
    item_IL: Tensor
    modality_IL: Mapping[str, Tensor] = field(default_factory=dict)
    scoring: tuple[Tensor, Tensor] | None = None
    normalized: bool = False
    user_rows: Tensor | None = None
    item_rows: Tensor | None = None
    columns: int | None = None

    def __post_init__(self) -> None:
        values: dict[str, Any] = {
            name: as_vectors(getattr(self, name), f"Representations.{name}") for name in ("user_UL", "item_IL")
        }
        if type(self.modality_IL) is dict:  # another mapping may compute its vectors when they are read
            values["modality_IL"] = {
                m: as_vectors(vectors, f"Representations.modality_IL['{m}']") for m, vectors in self.modality_IL.items()
            }
        for name, rows in (("user_rows", self.user_rows), ("item_rows", self.item_rows)):
            values[name] = None if rows is None else as_ids(rows, f"Representations.{name}")
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def user_US(self) -> Tensor:
        """User vectors to score with, (U, S)."""
        return self.user_UL if self.scoring is None else self.scoring[0]

    @property
    def item_IS(self) -> Tensor:
        """Item vectors to score with, (I, S)."""
        return self.item_IL if self.scoring is None else self.scoring[1]


@dataclass(frozen=True)
class TrainingSet:
    """Training pairs and content features: all that a model may learn from. Holds no validation or test label.

    ``user_T``, ``item_T``: int64, the T training interactions. ``features``: raw content features per modality,
    (I, D_m) floating point; an item without the feature has a row of zeros. ``alignment_features``: the same for the
    alignment, where it has its own (knock-outs). ``weight_T``: float32, above 0, the weight of each interaction; None:
    all the same.
    """

    num_users: int
    num_items: int
    user_T: Tensor
    item_T: Tensor
    features: Mapping[str, Tensor] = field(default_factory=dict)
    alignment_features: Mapping[str, Tensor] | None = None
    weight_T: Tensor | None = None

    def to(self, device: torch.device | str) -> TrainingSet:
        """The same set with its tensors on ``device``."""

        def moved(features: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: feature.to(device) for name, feature in features.items()}

        return replace(
            self,
            user_T=self.user_T.to(device),
            item_T=self.item_T.to(device),
            features=moved(self.features),
            alignment_features=None if self.alignment_features is None else moved(self.alignment_features),
            weight_T=None if self.weight_T is None else self.weight_T.to(device),
        )
