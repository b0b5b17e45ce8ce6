"""What a user may say about features: which columns and pictures, which models, which file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from crossrec.config import Config
from crossrec.data.sources import name_problem
from crossrec.devices import Device


def _modality(name: str) -> str:
    if problem := name_problem(name):
        raise ValueError(problem)
    if not name or name != Path(name).name or "\\" in name:
        raise ValueError("a modality's name becomes a file's: letters and digits")
    return name


Modality = Annotated[str, AfterValidator(_modality)]


class FeaturesConfig(Config):
    """Which features to make for the items of a data folder, and with which models.

    A model is a folder, or a name on the Hugging Face hub such as owner/name or owner/name@revision.
    """

    data: str
    """Data folder (or interaction file in it, or name of a folder under $CROSSREC_DATA); the features go there."""

    text: tuple[str, ...] = ()
    """Columns to read as the text of an item, one below the other, e.g. title description."""

    text_model: str | None = None
    """Sentence encoder: a folder, or a hub name such as sentence-transformers/all-MiniLM-L6-v2."""

    text_name: Modality = "text"
    """Name of the modality made from text: NAME_feat.npy."""

    text_prompt: str | None = None
    """Words to put before every text, such as 'passage: '; what the model itself says unless given."""

    text_tokens: Annotated[int, Field(ge=8)] | None = None
    """Cut texts after so many tokens, if the model does not do so earlier."""

    image: str | None = None
    """Column of picture files, relative to --pictures, else to the data folder."""

    pictures: Path | None = None
    """Folder of pictures; without --image they are called by item id, such as sku-7.jpg."""

    image_model: str | None = None
    """Image encoder: a folder, or a hub name such as facebook/dinov2-small."""

    image_name: Modality = "image"
    """Name of the modality made from pictures: NAME_feat.npy."""

    items: Path | None = None
    """Table with the columns, if it is not the items file of the folder; a row an item, in any order."""

    item_column: str | None = None
    """Column of item ids; well-known names such as itemID and item_id are found without it."""

    dtype: Literal["float32", "float16"] = "float32"
    """Kind of number in the file; float16 halves its size."""

    batch_size: Annotated[int, Field(ge=1)] = 32
    """Texts or pictures at a time."""

    device: Device = "auto"
    """cpu, cuda, cuda:1, or auto: cuda where there is one."""

    overwrite: bool = False
    """Replace a feature file that is there; it stays until the new one is whole."""
