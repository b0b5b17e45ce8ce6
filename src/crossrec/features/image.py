"""Pictures of items, and the image encoder that turns them into vectors."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crossrec.devices import torch_device
from crossrec.errors import ConfigError, DataError
from crossrec.features.config import FeaturesConfig
from crossrec.features.image_files import file_stamp, names_by_column, names_by_item_id
from crossrec.features.items import CatalogueItems
from crossrec.features.ledger import DIGEST, Mark, input_digest
from crossrec.features.model_folder import PREPARATION, ModelFolder, find_model, require_packages
from crossrec.features.onnx_encoder import OnnxEncoder, OnnxFile, onnx_settings
from crossrec.features.picture_encoder import PictureEncoder
from crossrec.lazy import torch

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

READING = 2
"""Version of how picture files are read: raise it when the same file becomes another picture than before."""
SHARED, POOLED, MEAN = "features shared with text", "pooled output", "mean of last hidden states"


class ImageInputs:
    """One picture file per item, named by a column or by the item's id.

    Raises ConfigError without a model or the packages that it needs, DataError where no picture is found.
    """

    kind = "image"
    marks = (Mark.LOST, Mark.BROKEN, Mark.TOO_LARGE, Mark.ONE_COLOUR, Mark.CONVERTED, Mark.FRAMES, Mark.TURNED)

    def __init__(self, config: FeaturesConfig, items: CatalogueItems) -> None:
        if config.image_model is None:
            raise ConfigError("--image, --pictures: give --image-model too, e.g. facebook/dinov2-small or model.onnx")
        self.in_onnx = config.image_model.endswith(".onnx")
        self.packages = ("onnxruntime", "pillow") if self.in_onnx else ("transformers", "pillow")
        require_packages(self.packages[0], "PIL", extra="onnx" if self.in_onnx else "features")
        self.config, self.items, self.modality = config, items, config.image_name
        self.sources = (config.image or "the item's id",)
        self.folder = config.pictures or items.folder
        if not self.folder.is_dir():
            raise DataError(f"--pictures {self.folder}: no such folder")
        self.names, placeholders = (
            names_by_column(items, config.image, self.folder)
            if config.image
            else (names_by_item_id(items, self.folder), 0)
        )
        stamps = [file_stamp(self.folder / name) if name else None for name in self.names]
        if not any(stamps):
            first = next(filter(None, self.names), None)
            raise DataError(
                f"{self.folder}: none of the pictures is there (the first is {first}); --pictures names their folder"
            )
        self.digest_I = np.array(
            [
                input_digest(f"{name}\n{stamp}".encode()) if name else b""
                for name, stamp in zip(self.names, stamps, strict=True)
            ],
            dtype=DIGEST,
        )
        self.counts = {"no_picture": self.names.count(""), "placeholder": placeholders}
        self.settings: dict[str, Any] = {"reading": READING, **onnx_settings(config, self.in_onnx)}

    @cached_property
    def model(self) -> ModelFolder:
        """The model, fetched on first use: after all other settings have been checked."""
        name = self.config.image_model or ""
        return (OnnxFile.find if self.in_onnx else find_model)("--image-model", name)

    def order(self, rows: np.ndarray) -> np.ndarray:
        """Keep the order of ``rows``."""
        return rows

    def name(self, row: int) -> str:
        """What to call the input of a row: the picture, after the line of the table that names it."""
        return f"{self.items.location(row)}: {self.names[row]}" if self.config.image else self.names[row]

    def encoder(self) -> PictureEncoder:
        """Load the model."""
        paths = [self.folder / name for name in self.names]
        if isinstance(self.model, OnnxFile):
            return OnnxEncoder(self.model, self.config, paths)
        return ImageEncoder(self.model, self.config, paths)


class ImageEncoder(PictureEncoder):
    """Encode pictures by a model of ``transformers``, in float32.

    The vector is ``get_image_features`` where the model has a space shared with text (CLIP, SigLIP), else the pooled
    output if the file has the weights of the pooler, else the mean of the last hidden states.
    """

    def __init__(self, folder: ModelFolder, config: FeaturesConfig, paths: list[Path]) -> None:
        from PIL import Image

        super().__init__(paths)
        transformers: Any = import_module("transformers")
        self.device = torch_device(config.device)
        if not any((folder.path / name).is_file() for name in PREPARATION):
            raise folder.error(f"does not say how pictures are prepared (no {PREPARATION[0]}); give an image model")
        load_options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
        with folder.loading():
            self.processor = transformers.AutoImageProcessor.from_pretrained(folder.path, backend="pil", **load_options)
            model, loading_info = transformers.AutoModel.from_pretrained(
                folder.path, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **load_options
            )
        missing = loading_info["missing_keys"]
        folder.require_weights(missing)
        self.model = model.eval().to(self.device)
        with folder.loading():
            grey = self.prepare(Image.new("RGB", (64, 48), "grey"))
            self.rule = SHARED if hasattr(model, "get_image_features") else POOLED
            if self.rule == POOLED and (missing or getattr(self._output([grey]), "pooler_output", None) is None):
                self.rule = MEAN
        self.try_out(folder)

    def prepare(self, image: Image) -> dict[str, Tensor]:
        """Inputs of the model for one picture, each (1, ...)."""
        inputs = self.processor(image, return_tensors="pt", input_data_format="channels_last")
        return {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}

    def vectors(self, inputs: list[dict[str, Tensor]]) -> np.ndarray:
        """Vectors (n, D); pictures of the same shape form one batch."""
        by_shape: dict[tuple[Any, ...], list[int]] = {}
        for n, image_inputs in enumerate(inputs):
            by_shape.setdefault(tuple((name, value.shape) for name, value in image_inputs.items()), []).append(n)
        pooled = [self._pooled([inputs[n] for n in numbers]).float().cpu().numpy() for numbers in by_shape.values()]
        order = np.concatenate(list(by_shape.values()))
        return np.concatenate(pooled)[np.argsort(order)]

    def _pooled(self, inputs: list[dict[str, Tensor]]) -> Tensor:
        output = self._output(inputs)
        if self.rule == MEAN:
            hidden: Tensor = output.last_hidden_state  # (n, positions, D) or (n, D, height, width)
            return hidden.flatten(2).mean(2) if hidden.ndim == 4 else hidden.mean(1)
        pooled: Tensor = getattr(output, "pooler_output", output)
        return pooled.flatten(1)

    def _output(self, inputs: list[dict[str, Tensor]]) -> Any:
        batch = {name: torch.cat([image_inputs[name] for image_inputs in inputs]).to(self.device) for name in inputs[0]}
        with torch.inference_mode():
            return self.model.get_image_features(**batch) if self.rule == SHARED else self.model(**batch)
