"""Texts of items, and the sentence encoder that turns them into vectors."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from crossrec.devices import torch_device
from crossrec.errors import ConfigError, DataError
from crossrec.features.config import FeaturesConfig
from crossrec.features.items import CatalogueItems
from crossrec.features.ledger import DIGEST, EncodedBatch, Mark, input_digest
from crossrec.features.model_folder import ModelFolder, find_model, require_packages
from crossrec.lazy import polars as pl, torch

PROBE = "crossrec"
"""Text that tests whether a model works."""


class TextInputs:
    """One text per item, its columns joined by line breaks; "" for an item without text.

    Raises ConfigError without a model or the packages that it needs, DataError where no item has a text.
    """

    kind, packages = "text", ("transformers", "sentence-transformers")
    marks = (Mark.CUT,)

    def __init__(self, config: FeaturesConfig, items: CatalogueItems) -> None:
        if config.text_model is None:
            raise ConfigError("--text: give --text-model too, e.g. sentence-transformers/all-MiniLM-L6-v2")
        require_packages("sentence_transformers")
        self.config, self.modality, self.sources, self.ids = config, config.text_name, config.text, items.ids
        columns, placeholders = zip(*(items.text(name) for name in config.text), strict=True)
        joined = pl.concat_str(columns, separator="\n", ignore_nulls=True).fill_null("")  # "" where all are null
        self.texts: list[str] = pl.select(joined).to_series().to_list()
        self.digest_I = np.array([input_digest(text.encode()) if text else b"" for text in self.texts], dtype=DIGEST)
        if not any(self.texts):
            raise DataError(f"{items.column(config.text[0])} is empty for every item; name columns with text")
        self.counts = {"no_text": self.texts.count(""), "placeholder": sum(placeholders)}
        self.settings = {"prompt": config.text_prompt, "tokens": config.text_tokens}

    @cached_property
    def model(self) -> ModelFolder:
        """The model, fetched on first use: after all other settings have been checked."""
        return find_model("--text-model", self.config.text_model or "")

    def order(self, rows: np.ndarray) -> np.ndarray:
        """Sort rows by length, longest first: batches need little padding, and memory runs out at once if at all."""
        length = np.array([len(self.texts[row]) for row in rows], dtype=np.int64)
        return np.asarray(rows[np.argsort(-length, kind="stable")])

    def name(self, row: int) -> str:
        """What to call the input of a row: the item's id."""
        return str(self.ids[int(row)])

    def encoder(self) -> SentenceEncoder:
        """Load the model."""
        return SentenceEncoder(self.model, self.config, self.texts)


class SentenceEncoder:
    """Encode texts by ``sentence_transformers.SentenceTransformer.encode``, in float32."""

    def __init__(self, folder: ModelFolder, config: FeaturesConfig, texts: Sequence[str]) -> None:
        self.texts = texts
        with folder.loading():
            from sentence_transformers import SentenceTransformer

            model = SentenceTransformer(
                str(folder.path),
                device=str(torch_device(config.device)),
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True, "dtype": torch.float32},
            )
            _check_weights(model, folder)
            self.prompt = config.text_prompt
            if self.prompt is None and model.default_prompt_name is not None:
                self.prompt = model.prompts.get(model.default_prompt_name)
            limit, self.tokenizer = model.max_seq_length, getattr(model, "tokenizer", None)
        self.limit = min((n for n in (limit, config.text_tokens) if n is not None), default=None)
        self.model: Any = model
        if config.text_tokens is not None:
            model.max_seq_length = self.limit
        with folder.loading():
            first, second = self._vectors([PROBE]), self._vectors([PROBE])
            self._cut([PROBE])
        if first.ndim != 2 or not np.allclose(first, second, rtol=1e-3, atol=1e-5, equal_nan=True):
            raise folder.error("makes another vector of the same text each time; give another model")
        self.dimension = first.shape[1]
        self.rule = " → ".join(type(module).__name__ for module in model)

    def run(self, batches: Iterable[np.ndarray]) -> Generator[EncodedBatch]:
        """Encode batches of rows; vectors are float32."""
        for rows in batches:
            texts = [self.texts[row] for row in rows]
            yield EncodedBatch(rows, self._vectors(texts), np.where(self._cut(texts), Mark.CUT, Mark(0)))

    def _vectors(self, texts: list[str]) -> np.ndarray:
        vectors: np.ndarray = self.model.encode(
            texts, batch_size=len(texts), prompt=self.prompt, show_progress_bar=False, convert_to_numpy=True
        )
        return vectors

    def _cut(self, texts: list[str]) -> np.ndarray:
        """Whether each text has more tokens than the model reads, bool (n,)."""
        if self.limit is None or not callable(self.tokenizer):
            return np.zeros(len(texts), dtype=bool)
        tokens = self.tokenizer([(self.prompt or "") + text for text in texts], truncation=False, padding=False)
        return np.array([len(ids) for ids in tokens["input_ids"]]) > self.limit


def _check_weights(model: Any, folder: ModelFolder) -> None:
    """Raise ConfigError if the file lacks a weight that the transformer needs."""
    transformer = getattr(model, "transformers_model", None)
    if transformer is not None and Path(transformer.name_or_path, "config.json").is_file():
        _, loading_info = type(transformer).from_pretrained(
            transformer.name_or_path, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
        folder.require_weights(loading_info["missing_keys"])
