"""Base of the image encoders: read picture files while the model works, and make vectors of those that can be read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crossrec.features.image_files import read_image
from crossrec.features.ledger import EncodedBatch, Mark
from crossrec.features.model_folder import ModelFolder
from crossrec.lazy import torch

if TYPE_CHECKING:
    from PIL.Image import Image


class PictureEncoder(ABC):
    """Encode pictures. A subclass prepares one picture and makes vectors of several.

    ``dimension``: D, columns of a vector. ``rule``: how the vector is taken from the model.
    """

    dimension: int
    rule: str

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    @abstractmethod
    def prepare(self, image: Image) -> Any:
        """Input of the model for one picture."""

    @abstractmethod
    def vectors(self, inputs: list[Any]) -> np.ndarray:
        """Vectors of prepared pictures, (n, D) float32."""

    def try_out(self, model: ModelFolder) -> None:
        """Encode a grey picture twice to find ``dimension``. Raises ConfigError if the vectors differ."""
        from PIL import Image

        with model.loading():
            grey = self.prepare(Image.new("RGB", (64, 48), "grey"))
            first, second = self.vectors([grey]), self.vectors([grey])
        if not np.allclose(first, second, rtol=1e-3, atol=1e-5, equal_nan=True):
            raise model.error("makes another vector of the same picture each time; give another model")
        self.dimension = first.shape[1]

    def run(self, batches: Iterable[np.ndarray]) -> Generator[EncodedBatch]:
        """Encode batches of rows; vectors are float32, and zero for a picture that cannot be read.

        Threads read the next batch while the model works on this one.
        """
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            previous: tuple[np.ndarray, Iterator[tuple[Any, Mark]]] | None = None
            for rows in batches:
                images = pool.map(self._read, [self.paths[row] for row in rows])
                if previous is not None:
                    yield self._encode(*previous)
                previous = rows, images
            if previous is not None:
                yield self._encode(*previous)

    def _encode(self, rows: np.ndarray, images: Iterator[tuple[Any, Mark]]) -> EncodedBatch:
        inputs, marks = zip(*images, strict=True)
        vectors = np.zeros((len(rows), self.dimension), dtype=np.float32)
        readable = [n for n, image_input in enumerate(inputs) if image_input is not None]
        if readable:
            vectors[readable] = self.vectors([inputs[n] for n in readable])
        return EncodedBatch(rows, vectors, np.array(marks))

    def _read(self, path: Path) -> tuple[Any, Mark]:
        image, marks = read_image(path)
        if image is None:
            return None, marks
        try:
            return self.prepare(image), marks
        except Exception:  # the processor refuses the picture
            return None, Mark.BROKEN
