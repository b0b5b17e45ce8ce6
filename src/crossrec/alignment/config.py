"""Settings of the alignment, named as in the paper."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from crossrec.alignment.clusters import Clusterer
from crossrec.alignment.item_level import AlignerKind
from crossrec.alignment.neighbors import Negatives
from crossrec.alignment.schedule import Fade
from crossrec.alignment.strength import StrengthScale
from crossrec.alignment.terms import Term
from crossrec.config import Config, Layers, Neighbors, Number, NumberOrZero, Prototypes
from crossrec.ops.blockwise import Precision
from crossrec.parts import Registry
from crossrec.types import Direction

Weight = Annotated[float, Field(ge=0)]
Temperature = Annotated[float, Field(gt=0)]

DELTA = 0.01
"""δ unless given."""
LAMBDA_F_BOUNDS = (0.001, 0.5)
"""A learnable λ_f is clamped to this range before use."""
LAMBDA_C_BOUNDS = (0.01, 0.99)
"""A learnable λ_c is clamped to this range before use."""


class AlignmentConfig(Config):
    """Settings of every alignment. Each alignment adds its own."""

    name: ClassVar[str]
    """Name of the alignment for ``--alignment``."""
    module_type: ClassVar[Any] = None
    """Module of an alignment from outside the package, a subclass of ``Alignment``."""
    alignment_epochs: NumberOrZero | None = None
    """Epochs in which the alignment takes part, from the first; all unless given."""
    fade: Fade | None = None
    """linear or cosine: the alignment's weight falls to 0 by the end of --alignment-epochs. By default it stays."""
    every: Number | None = None
    """k: the alignment takes part in every k-th step only, with the same weight; in all steps unless given."""
    restart_after: Number | None = None
    """Start the alignment anew for --alignment-epochs after this many epochs without it and without progress."""
    restart_optimizer: bool | None = None
    """Start Adam anew, without its moments, where --alignment-epochs have ended. By default it goes on with them."""
    alignment_batch: Number | None = None
    """Pairs of a step that the alignment sees: the first ones of the batch, whose order is random. Default: all."""
    conflicts: Literal["project"] | None = None
    """project: leave out the part of each row's alignment gradient that points against the backbone's (PCGrad)."""
    gradient_share: Annotated[float, Field(gt=0)] | None = None
    """ρ: scale the alignment in each step so that its gradient on users and items has ρ times the backbone's norm."""
    content_graph: Weight | None = None
    """w of the content graph: item + w · mean of its nearest items by content, in training and in recommending."""
    content_neighbors: Neighbors | None = None
    """K of the content graph, nearest items per item and modality; 10 unless given."""
    content_shares: dict[str, Weight] | None = None
    """Shares of modalities, e.g. image 0.1 text 0.9. Default: in the graph by feedback, for --fill-neighbors equal."""

    @field_validator("fade", "restart_after", "restart_optimizer")
    @classmethod
    def _has_an_end(cls, value: Fade | int | None, info: ValidationInfo) -> Fade | int | None:
        if value and info.data.get("alignment_epochs") is None:
            raise ValueError("give --alignment-epochs, the epochs in which the alignment takes part")
        return value or None

    def weight(self, term: str) -> float:
        """Weight of a term in the loss."""
        raise NotImplementedError

    @property
    def active(self) -> tuple[str, ...]:
        """The terms to compute, those with a weight above 0."""
        raise NotImplementedError


class CrossConfig(AlignmentConfig):
    """CROSS: loss = backbone + α (item + tuning) + β (cluster_items + cluster_users) + γ neighbor."""

    name: ClassVar[str] = "cross"
    terms: tuple[Term, ...] = ("item", "tuning", "neighbor", "cluster_items", "cluster_users")
    """Terms to compute, by name or as module:function. A term of weight 0 is left out as well."""
    alpha: Weight = 0.01
    """α, weight of item-level alignment and direction tuning (Eq. 4 and 6)."""
    beta: Weight = 0.01
    """β, weight of cluster-level alignment (Eq. 11 and 12)."""
    gamma: Weight = 0.01
    """γ, weight of neighbour-level alignment (Eq. 9)."""
    delta: Weight | None = None
    """δ, weight of each term from outside the package; 0.01 unless given."""
    direction: Direction = "dynamic"
    """Rule for the direction of item-level alignment (Sections 4.2 and 5)."""
    strength_scale: StrengthScale | None = None
    """Strength in the direction rule: cosine (Eq. 1), or rank or zscore of an item's users among the batch's users."""
    lambda_f: Temperature = 0.1
    """λ_f, temperature of Eq. 4; its initial value if it is learnt."""
    lambda_c: Temperature = 0.2
    """λ_c, temperature of Eq. 11 and 12; its initial value if it is learnt."""
    lambda_n: Temperature = 0.2
    """λ_n, temperature of Eq. 9."""
    learn_lambda_f: bool = True
    """Learn λ_f within [0.001, 0.5], as the official losses do."""
    learn_lambda_c: bool = True
    """Learn λ_c within [0.01, 0.99], as the official losses do."""
    temperature_gradient: Literal["weighted"] | None = None
    """weighted: multiply the learning rate of λ_f by α, that of λ_c by β, since Adam does not see a loss's weight."""
    neighbors: Neighbors = 5
    """K, neighbours per item (Section 6.1)."""
    fill_neighbors: bool | None = None
    """Fill the neighbours that an item lacks (Eq. 7) with the nearest items by content."""
    prototypes_itv: Prototypes | None = None
    """P of C^ITV, prototypes shared by the items' modalities. By default chosen by the number of items."""
    prototypes_ui: Prototypes | None = None
    """P of C^UI, prototypes shared by users and items. By default twice as many as in C^ITV."""
    sinkhorn_rounds: Layers = 3
    """N, rounds of Sinkhorn-Knopp (Eq. 10)."""
    aligner: AlignerKind = "linear"
    """f of Eq. 3: a bias-free linear map (official) or a two-layer network (the paper's text)."""
    negatives: Negatives = "neighborhoods"
    """Denominator of Eq. 9: other items' neighbourhoods (official) or other items (as printed)."""
    clusterer: Clusterer = "sinkhorn"
    """Assignment of codes: optimal transport (Eq. 10) or k-means."""
    precision: Precision | None = None
    """bfloat16: faster contrastive products where the processor has them, to about three digits. Default: float32."""

    @field_validator("fill_neighbors")
    @classmethod
    def _none_for_no(cls, value: bool | None) -> bool | None:
        return value or None

    @field_validator("strength_scale")
    @classmethod
    def _none_for_cosine(cls, value: str | None) -> str | None:
        return None if value == "cosine" else value  # the same run, so the same digest

    def weight(self, term: str) -> float:
        """Weight of a term: α, β, γ or δ."""
        of_paper = {
            **dict.fromkeys(("item", "tuning"), self.alpha),
            **dict.fromkeys(("cluster_items", "cluster_users"), self.beta),
            "neighbor": self.gamma,
        }
        return of_paper.get(term, DELTA if self.delta is None else self.delta)

    @property
    def active(self) -> tuple[str, ...]:
        """The terms of ``terms`` with a weight above 0."""
        return tuple(term for term in self.terms if self.weight(term) > 0)


class FettleConfig(CrossConfig):
    """FETTLE (Li et al., SIGIR 2024): one-way item level with direction tuning, clusters, no neighbour level."""

    name: ClassVar[str] = "fettle"
    terms: tuple[Term, ...] = ("item", "tuning", "cluster_items", "cluster_users")
    """Terms to compute, by name or as module:function. A term of weight 0 is left out as well."""
    direction: Direction = "one_way"
    """Rule for the direction of item-level alignment (Sections 4.2 and 5)."""


FETTLE = FettleConfig()
"""FETTLE with its default settings: ``Cross(64, ..., config=FETTLE)``."""


class PrimeConfig(CrossConfig):
    """PRIME, beyond the paper: content in the path of the items, and CROSS in the first epochs only."""

    name: ClassVar[str] = "prime"
    alignment_epochs: NumberOrZero | None = 10
    """Epochs in which the alignment takes part, from the first; all unless given."""
    restart_optimizer: bool | None = True
    """Start Adam anew, without its moments, where --alignment-epochs have ended. By default it goes on with them."""
    alignment_batch: Number | None = 256
    """Pairs of a step that the alignment sees: the first ones of the batch, whose order is random. Default: all."""
    content_graph: Weight | None = 1.0
    """w of the content graph: item + w · mean of its nearest items by content, in training and in recommending."""
    lambda_f: Temperature = 0.05
    """λ_f, temperature of Eq. 4; its initial value if it is learnt."""
    lambda_c: Temperature = 0.1
    """λ_c, temperature of Eq. 11 and 12; its initial value if it is learnt."""


class DamrsAlignmentConfig(AlignmentConfig):
    """The alignment losses of DA-MRS (Xv et al., KDD 2024); see ``crossrec.alignment.damrs``."""

    name: ClassVar[str] = "damrs"
    relation_weight: Weight = 0.001
    """Weight of the alignment by graded item relations, for each item graph."""
    relation_items: Neighbors = 10
    """Positive items, and next ones, of an item in the alignment by item relations."""
    relation_temperature: Temperature = 0.2
    """τ of the alignment by item relations."""
    relation_knn: Neighbors = 10
    """Most similar items per item and modality in the item graphs, itself included."""
    preference_weight: Weight = 1.0
    """Weight of the alignment by user preference."""

    def weight(self, term: str) -> float:
        """Weight of a term."""
        return self.relation_weight if term == "item_relations" else self.preference_weight

    @property
    def active(self) -> tuple[str, ...]:
        """The terms with a weight above 0."""
        return tuple(term for term in ("item_relations", "user_preference") if self.weight(term) > 0)


def _problem(part: Any) -> str:
    """What is wrong with an alignment from outside the package, or ""."""
    if isinstance(part, type) and issubclass(part, AlignmentConfig) and isinstance(getattr(part, "name", None), str):
        return ""
    return "not the settings of an alignment; give a subclass of AlignmentConfig with a name"


ALIGNMENTS: Registry[type[AlignmentConfig] | None] = Registry(
    "alignment",
    "crossrec.alignments",
    {
        "none": None,
        "fettle": FettleConfig,
        "cross": CrossConfig,
        "prime": PrimeConfig,
        "damrs": DamrsAlignmentConfig,
    },
    problem=_problem,
    own_name=lambda part: "none" if part is None else part.name,
)
"""Settings by what ``--alignment`` takes: none (the backbone alone), FETTLE, CROSS, PRIME, DA-MRS's losses, others."""


def default_prototypes(num_items: int) -> int:
    """P of C^ITV for a catalogue: the power of two nearest to 1/32 of its items, within 64 … 10,240.

    The paper's 10,240 prototypes outnumber the items of its own smaller data sets; docs/results has the measurements.
    """
    return int(min(10_240, max(64, 2 ** round(math.log2(max(num_items, 1) / 32)))))
