"""What a user may say about a data set: where it is, which columns, how it is split and scaled."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from crossrec.config import Config

Scaling = Literal["standardize_l2", "l2", "standardize", "none"]
Split = Literal["auto", "given", "random", "time", "leave_one_out"]
Duplicates = Literal["error", "drop"]


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
