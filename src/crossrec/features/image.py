"""Pictures of items, and their vectors by an image encoder."""

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
from crossrec.features.items import Items
from crossrec.features.model_folder import ModelFolder, find_model, need
from crossrec.features.pictures import by_column, by_id, read_picture, stamp
from crossrec.features.store import DIGEST, Encoded, Mark, digest

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from torch import Tensor

    Prepared = tuple[dict[str, Tensor] | None, Mark]

PREPARATION = ("preprocessor_config.json", "processor_config.json")
SHARED, POOLED, MEAN = "features shared with text", "pooled output", "mean of last hidden states"


class Pictures:
    """What there is to encode: a picture file an item, named by a column or by the item's id."""

    kind, absent, packages = "image", "no_picture", ("pillow",)
    counted = {
        "lost": Mark.LOST,
        "broken": Mark.BROKEN,
        "too_large": Mark.LARGE,
        "converted": Mark.CONVERTED,
        "frames": Mark.FRAMES,
        "turned": Mark.TURNED,
    }

    def __init__(self, config: FeaturesConfig, items: Items) -> None:
        if config.image_model is None:
            raise ConfigError("--image, --pictures: give --image-model too, e.g. facebook/dinov2-small")
        need("transformers", "PIL")
        self.config, self.modality, self.sources = config, config.image_name, (config.image or "the item's id",)
        self.folder = config.pictures or items.folder
        if not self.folder.is_dir():
            raise DataError(f"--pictures {self.folder}: no such folder")
        self.names = by_column(items, config.image, self.folder) if config.image else by_id(items, self.folder)
        stamps = [None if name is None else stamp(self.folder / name) for name in self.names]
        if not any(stamps):
            first = next((name for name in self.names if name is not None), None)
            raise DataError(
                f"{self.folder}: none of the pictures is there (the first is {first}); --pictures names their folder"
            )
        self.digest_I = np.array(
            [
                b"" if name is None else digest(f"{name}\n{known}".encode())
                for name, known in zip(self.names, stamps, strict=True)
            ],
            dtype=DIGEST,
        )
        self.settings: dict[str, Any] = {}

    @cached_property
    def model(self) -> ModelFolder:
        """Fetched when first asked for, after everything else has been checked."""
        return find_model("--image-model", self.config.image_model or "")

    def order(self, rows: np.ndarray) -> np.ndarray:
        """As they come."""
        return rows

    def encoder(self) -> ImageEncoder:
        """The model, loaded."""
        return ImageEncoder(
            self.model, self.config, [None if name is None else self.folder / name for name in self.names]
        )


class ImageEncoder:
    """A vector of every picture by a model of ``transformers``, computed in float32.

    The vector is that of the space shared with text where the model has one (CLIP, SigLIP: ``get_image_features``),
    else the pooled output if the weights of the pooler are there, else the mean of the last hidden states.
    """

    def __init__(self, folder: ModelFolder, config: FeaturesConfig, paths: list[Path | None]) -> None:
        import torch
        from PIL import Image

        transformers: Any = import_module("transformers")
        self.device, self.paths = torch_device(config.device), paths
        if not any((folder.path / name).is_file() for name in PREPARATION):
            raise folder.complaint(f"does not say how pictures are prepared (no {PREPARATION[0]}); give an image model")
        trust: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
        with folder.loading():
            self.processor = transformers.AutoImageProcessor.from_pretrained(folder.path, backend="pil", **trust)
            model, told = transformers.AutoModel.from_pretrained(
                folder.path, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **trust
            )
        lacking = sorted(told["missing_keys"])
        if needed := [key for key in lacking if "pooler" not in key]:
            raise folder.complaint(f"its weights lack {needed[0]}; give the folder of a whole model")
        self.model = model.eval().to(self.device)
        with folder.loading():
            grey = self._prepare(Image.new("RGB", (64, 48), "grey"))
            self.rule = SHARED if hasattr(model, "get_image_features") else POOLED
            if self.rule == POOLED and (lacking or getattr(self._output([grey]), "pooler_output", None) is None):
                self.rule = MEAN
            once, again = self._vectors([grey]), self._vectors([grey])
        if not np.allclose(once, again, rtol=1e-3, atol=1e-5, equal_nan=True):
            raise folder.complaint("makes another vector of the same picture each time; give another model")
        self.dimension = once.shape[1]

    def run(self, batches: Iterable[np.ndarray]) -> Generator[Encoded]:
        """Batch by batch: rows, vectors (float32; zeros of what cannot be read), marks.

        While the model works on a batch, threads read the next one.
        """
        import torch

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            waiting: tuple[np.ndarray, Iterator[Prepared]] | None = None
            for rows in batches:
                reading = pool.map(self._read, [self.paths[row] for row in rows])
                if waiting is not None:
                    yield self._encode(*waiting)
                waiting = rows, reading
            if waiting is not None:
                yield self._encode(*waiting)

    def _encode(self, rows: np.ndarray, reading: Iterator[Prepared]) -> Encoded:
        prepared, marks = zip(*reading, strict=True)
        vectors = np.zeros((len(rows), self.dimension), dtype=np.float32)
        there = [place for place, one in enumerate(prepared) if one is not None]
        if there:
            vectors[there] = self._vectors([one for one in prepared if one is not None])
        return Encoded(rows, vectors, np.array(marks))

    def _read(self, path: Path | None) -> Prepared:
        assert path is not None
        picture, marks = read_picture(path)
        if picture is None:
            return None, marks
        try:
            return self._prepare(picture), marks
        except Exception:  # a picture that the processor cannot take
            return None, Mark.BROKEN

    def _prepare(self, picture: Picture) -> dict[str, Tensor]:
        from torch import Tensor

        made = self.processor(picture, return_tensors="pt", input_data_format="channels_last")
        return {name: value for name, value in made.items() if isinstance(value, Tensor)}

    def _vectors(self, prepared: list[dict[str, Tensor]]) -> np.ndarray:
        """(n, D); pictures of one shape go through the model together."""
        alike: dict[tuple[Any, ...], list[int]] = {}
        for place, one in enumerate(prepared):
            alike.setdefault(tuple((name, value.shape) for name, value in one.items()), []).append(place)
        parts = [(places, self._pooled([prepared[place] for place in places])) for places in alike.values()]
        vectors = np.empty((len(prepared), parts[0][1].shape[1]), dtype=np.float32)
        for places, part in parts:
            vectors[places] = part.float().cpu().numpy()
        return vectors

    def _pooled(self, prepared: list[dict[str, Tensor]]) -> Tensor:
        made = self._output(prepared)
        if self.rule == MEAN:
            hidden: Tensor = made.last_hidden_state  # (n, positions, D) or (n, D, height, width)
            return hidden.flatten(2).mean(2) if hidden.ndim == 4 else hidden.mean(1)
        pooled: Tensor = getattr(made, "pooler_output", made)
        return pooled.flatten(1)

    def _output(self, prepared: list[dict[str, Tensor]]) -> Any:
        import torch

        inputs = {name: torch.cat([one[name] for one in prepared]).to(self.device) for name in prepared[0]}
        with torch.inference_mode():
            return self.model.get_image_features(**inputs) if self.rule == SHARED else self.model(**inputs)
