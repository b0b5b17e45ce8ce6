"""What a user may say about a data set: where it is, which columns, how it is split and scaled."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from crossrec.config import Config

Scaling = Literal["standardize_l2", "l2", "standardize", "none"]
Split = Literal["auto", "given", "random", "time", "leave_one_out"]
Duplicates = Literal["error", "drop"]
Share = Annotated[float, Field(ge=0, le=1)]


class DataConfig(Config):
    """Which data set to use and how to read, scale and split it."""

    data: str = "synthetic"
    """Folder, interaction file, name of a folder under $CROSSREC_DATA, or name of a built-in generated set."""

    modalities: tuple[str, ...] | None = None
    """Content modalities to use, e.g. image text; all that are found if not given, none if empty."""

    feature_scaling: Scaling = "standardize_l2"
    """Per column to mean 0 and deviation 1 (standardize), per row to length 1 (l2), both, or neither."""

    split: Split = "auto"
    """How rows are split into train, valid and test; auto takes the split column if there is one, else random."""

    split_seed: int = Field(default=0, ge=0)
    """Seed of a random split."""

    user_column: str | None = None
    """Column of user ids; well-known names such as userID and user_id are found without it."""

    item_column: str | None = None
    """Column of item ids; well-known names such as itemID and item_id are found without it."""

    split_column: str | None = None
    """Column that says train, valid or test (or 0, 1, 2); x_label and split are found without it."""

    time_column: str | None = None
    """Column of times (numbers or ISO dates); timestamp and time are found without it."""

    duplicates: Duplicates = "error"
    """A repeated (user, item) pair is an error, or is dropped but for its first row in the file."""

    missing_content: Share | None = None
    """Share of the items, in each modality apart, whose features are replaced by noise (Section 7.5)."""

    false_clicks: Share | None = None
    """Interactions that never happened, inserted into training, as a share of the training rows (Section 7.5)."""

    corruption_seed: Annotated[int, Field(ge=0)] | None = None
    """Seed of missing content and false clicks; 0 unless given."""

    cold_items: Share | None = None
    """Share of the items with training rows that are taken out, with all that was done with them (coldstart)."""

    cold_seed: Annotated[int, Field(ge=0)] | None = None
    """Seed of which items are taken out; 0 unless given."""

    @field_validator("missing_content", "false_clicks", "cold_items")
    @classmethod
    def _none_of_it(cls, value: float | None) -> float | None:
        return value or None  # so that a share of 0 is the very configuration that says nothing
