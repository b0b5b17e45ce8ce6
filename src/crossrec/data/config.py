"""Settings of a data set: where it is, which columns to read, how to split and scale it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from crossrec.config import Config, Seed
from crossrec.data.io.time_bounds import SplitBound
from crossrec.data.io.times import check_time_format

Scaling = Literal["standardize_l2", "l2", "standardize", "none"]
Split = Literal["auto", "given", "random", "time", "leave_one_out", "date"]
"""``time`` and ``leave_one_out`` look at each user; ``date`` cuts the time of all users at two dates."""

Duplicates = Literal["error", "drop"]
TimeFormat = Annotated[str, AfterValidator(check_time_format)]
Share = Annotated[float, Field(ge=0, le=1)]
Replacement = Literal["shuffled", "constant", "noise"]
"""What can stand in for the features of all items in a knock-out."""


class DataConfig(Config):
    """The data set to use and how to read, scale and split it."""

    data: str = "synthetic"
    """Folder, interaction file, name of a folder under $CROSSREC_DATA, or name of a built-in generated set."""

    modalities: tuple[str, ...] | None = None
    """Content modalities to use, e.g. image text; default: all; an empty list: none."""

    feature_scaling: Scaling = "standardize_l2"
    """Scale columns to mean 0 and deviation 1 (standardize), rows to length 1 (l2), both, or neither."""

    split: Split = "auto"
    """How to split rows into train, valid and test; auto takes the split column if there is one, else random."""

    split_seed: Seed = 0
    """Seed of a random split."""

    valid_from: SplitBound | None = None
    """First time of validation with split date: a number in the unit of the column, an ISO date (in UTC without a time
    zone), or a share of the interactions; default: 80%."""

    test_from: SplitBound | None = None
    """First time of the test with split date, in the form of valid_from; default: 90%."""

    mask_validation: bool | None = None
    """Leave a user's validation items out of the ranking at test, as training items are; by default they stay."""

    user_column: str | None = None
    """Column of user ids; default: the column with a well-known name such as userID or user_id."""

    item_column: str | None = None
    """Column of item ids; default: the column with a well-known name such as itemID or item_id."""

    split_column: str | None = None
    """Column of labels train, valid and test (or 0, 1, 2); default: x_label or split."""

    time_column: str | None = None
    """Column of times (numbers or ISO dates); default: timestamp or time."""

    time_format: TimeFormat | None = None
    """Form of dates by the directives of strptime, such as %d/%m/%Y; default: numbers or ISO dates."""

    weighted: bool | None = None
    """Train with the weights of interactions; see --weighting for how they act."""

    weight_column: str | None = None
    """Column of weights above zero, which --weighted reads; default: weight, else rating or the like."""

    duplicates: Duplicates = "error"
    """Whether a repeated (user, item) pair is an error, or all its rows but the first are dropped."""

    missing_content: Share | None = None
    """Share of the items whose features are replaced by noise, drawn for each modality (Section 7.5)."""

    false_clicks: Share | None = None
    """Random interactions added to training, as a share of the training rows (Section 7.5)."""

    content: Replacement | None = None
    """Replace the features of all items: shuffled among the items, the same for all, or noise (knockout)."""

    alignment_content: Literal["original"] | Replacement | None = None
    """Features for the alignment, which projects them itself; default: what the backbone sees (knockout)."""

    alignment_modalities: tuple[str, ...] | None = None
    """Modalities for the alignment, which projects them itself; default: those of the backbone (knockout)."""

    corruption_seed: Seed | None = None
    """Seed of missing content, false clicks and replaced content; default: 0."""

    cold_items: Share | None = None
    """Share of the items with training rows to hold out with all their interactions (coldstart)."""

    cold_seed: Seed | None = None
    """Seed of the draw of cold items; default: 0."""

    @property
    def alignment_is_apart(self) -> bool:
        """Whether the alignment has features of its own."""
        return self.alignment_content is not None or self.alignment_modalities is not None

    @field_validator("weighted")
    @classmethod
    def _none_for_no(cls, value: bool | None) -> bool | None:
        return value or None  # False and None are the same data set, so they need the same digest

    @field_validator("missing_content", "false_clicks", "cold_items", "mask_validation")
    @classmethod
    def _zero_is_none(cls, value: float | None) -> float | None:
        return value or None  # a share of 0 is the same configuration as no share
