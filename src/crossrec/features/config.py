"""Configuration of feature encoding: columns and pictures, models, and the files to write."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveFloat

from crossrec.config import Config, Number
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
    """Which texts and pictures of a data folder to encode, and with which models.

    A model is a folder, or a name on the Hugging Face hub such as owner/name or owner/name@revision.
    """

    data: str
    """Data folder, interaction file in it, or name of a folder under $CROSSREC_DATA; the features are written there."""

    text: tuple[str, ...] = ()
    """Columns that make up the text of an item, joined by line breaks, e.g. title description."""

    text_model: str | None = None
    """Sentence encoder: a folder, or a hub name such as sentence-transformers/all-MiniLM-L6-v2."""

    text_name: Modality = "text"
    """Name of the text modality: NAME_feat.npy."""

    text_prompt: str | None = None
    """Words before every text, such as 'passage: '; the model's own prompt by default."""

    text_tokens: Annotated[Number, Field(ge=8)] | None = None
    """Cut texts after so many tokens, where the model does not cut them earlier."""

    image: str | None = None
    """Column of picture files, relative to --pictures, or to the data folder without it."""

    pictures: Path | None = None
    """Folder of pictures; without --image, files are named by item id, such as sku-7.jpg."""

    image_model: str | None = None
    """Image encoder: a folder, a hub name such as facebook/dinov2-small, or an ONNX file."""

    image_name: Modality = "image"
    """Name of the image modality: NAME_feat.npy."""

    image_size: Annotated[int, Field(ge=8, le=4096)] | None = None
    """Height and width that an ONNX model reads, where the file does not say; 224 unless given."""

    image_layout: Literal["NCHW", "NHWC"] | None = None
    """Order of batch, channels, height and width in an ONNX model, where the file does not say."""

    image_mean: tuple[float, float, float] | None = None
    """Mean of red, green and blue from 0 to 1 that an ONNX model expects; that of ImageNet unless the file says."""

    image_std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    """Standard deviation of red, green and blue that an ONNX model expects; that of ImageNet unless the file says."""

    image_output: str | None = None
    """Output of an ONNX model that is the vector, where there are several."""

    items: Path | None = None
    """Table with the columns, where it is not the items file of the folder; one row per item, in any order."""

    item_column: str | None = None
    """Column of item ids; not needed for common names such as itemID and item_id."""

    dtype: Literal["float32", "float16"] = "float32"
    """Number type of the file; float16 halves its size."""

    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 32
    """Texts or pictures per batch."""

    device: Device = "auto"
    """cpu, cuda, cuda:1, or auto: cuda where there is one."""

    overwrite: bool = False
    """Replace an existing feature file; it stays until the new one is complete."""
