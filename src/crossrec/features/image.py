"""Pictures of items, and the image encoder that turns them into vectors."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crossrec.devices import torch_device
from crossrec.errors import ConfigError, DataError
from crossrec.features.config import FeaturesConfig
from crossrec.features.image_files import file_stamp, names_by_column, names_by_item_id, read_image
from crossrec.features.items import CatalogueItems
from crossrec.features.ledger import DIGEST, EncodedBatch, Mark, input_digest
from crossrec.features.model_folder import ModelFolder, find_model, require_packages
from crossrec.lazy import torch

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    Prepared = tuple[dict[str, Tensor] | None, Mark]

PREPARATION = ("preprocessor_config.json", "processor_config.json")
READING = 2
"""Version of how picture files are read: raise it when the same file becomes another picture than before."""
SHARED, POOLED, MEAN = "features shared with text", "pooled output", "mean of last hidden states"


class ImageInputs:
    """One picture file per item, named by a column or by the item's id.

    Raises ConfigError without a model or the packages that it needs, DataError where no picture is found.
    """

    kind, packages = "image", ("pillow",)
    marks = (Mark.LOST, Mark.BROKEN, Mark.TOO_LARGE, Mark.ONE_COLOUR, Mark.CONVERTED, Mark.FRAMES, Mark.TURNED)

    def __init__(self, config: FeaturesConfig, items: CatalogueItems) -> None:
        if config.image_model is None:
            raise ConfigError("--image, --pictures: give --image-model too, e.g. facebook/dinov2-small")
        require_packages("transformers", "PIL")
        self.config, self.modality, self.sources = config, config.image_name, (config.image or "the item's id",)
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
        self.settings: dict[str, Any] = {"reading": READING}

    @cached_property
    def model(self) -> ModelFolder:
        """The model, fetched on first use: after all other settings have been checked."""
        return find_model("--image-model", self.config.image_model or "")

    def order(self, rows: np.ndarray) -> np.ndarray:
        """Keep the order of ``rows``."""
        return rows

    def name(self, row: int) -> str:
        """What to call the input of a row: the name of the picture."""
        return self.names[row]

    def encoder(self) -> ImageEncoder:
        """Load the model."""
        return ImageEncoder(self.model, self.config, [self.folder / name for name in self.names])


class ImageEncoder:
    """Encode pictures by a model of ``transformers``, in float32.

    The vector is ``get_image_features`` where the model has a space shared with text (CLIP, SigLIP), else the pooled
    output if the file has the weights of the pooler, else the mean of the last hidden states.
    """

    def __init__(self, folder: ModelFolder, config: FeaturesConfig, paths: list[Path]) -> None:
        from PIL import Image

        transformers: Any = import_module("transformers")
        self.device, self.paths = torch_device(config.device), paths
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
            grey = self._prepare(Image.new("RGB", (64, 48), "grey"))
            self.rule = SHARED if hasattr(model, "get_image_features") else POOLED
            if self.rule == POOLED and (missing or getattr(self._output([grey]), "pooler_output", None) is None):
                self.rule = MEAN
            first, second = self._vectors([grey]), self._vectors([grey])
        if not np.allclose(first, second, rtol=1e-3, atol=1e-5, equal_nan=True):
            raise folder.error("makes another vector of the same picture each time; give another model")
        self.dimension = first.shape[1]

    def run(self, batches: Iterable[np.ndarray]) -> Generator[EncodedBatch]:
        """Encode batches of rows; vectors are float32, and zero for a picture that cannot be read.

        Threads read the next batch while the model works on this one.
        """
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            previous: tuple[np.ndarray, Iterator[Prepared]] | None = None
            for rows in batches:
                images = pool.map(self._read, [self.paths[row] for row in rows])
                if previous is not None:
                    yield self._encode(*previous)
                previous = rows, images
            if previous is not None:
                yield self._encode(*previous)

    def _encode(self, rows: np.ndarray, images: Iterator[Prepared]) -> EncodedBatch:
        inputs, marks = zip(*images, strict=True)
        vectors = np.zeros((len(rows), self.dimension), dtype=np.float32)
        readable = [n for n, image_inputs in enumerate(inputs) if image_inputs is not None]
        if readable:
            vectors[readable] = self._vectors([inputs[n] for n in readable])
        return EncodedBatch(rows, vectors, np.array(marks))

    def _read(self, path: Path) -> Prepared:
        image, marks = read_image(path)
        if image is None:
            return None, marks
        try:
            return self._prepare(image), marks
        except Exception:  # the processor refuses the picture
            return None, Mark.BROKEN

    def _prepare(self, image: Image) -> dict[str, Tensor]:
        """Inputs of the model for one picture, each (1, ...)."""
        inputs = self.processor(image, return_tensors="pt", input_data_format="channels_last")
        return {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}

    def _vectors(self, inputs: list[dict[str, Tensor]]) -> np.ndarray:
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
