"""Encode columns of texts and pictures into feature files."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np

from crossrec._version import __version__
from crossrec.data.io.feature_card import FeatureCard
from crossrec.errors import ConfigError, DataError
from crossrec.features.config import FeaturesConfig
from crossrec.features.image import ImageInputs
from crossrec.features.items import CatalogueItems, feature_path, read_items
from crossrec.features.ledger import FAILED, Mark
from crossrec.features.model_folder import silence_libraries
from crossrec.features.picture_encoder import PictureEncoder
from crossrec.features.store import FeatureStore
from crossrec.features.text import SentenceEncoder, TextInputs
from crossrec.lazy import torch

METHOD = 1
"""Version of the encoding: raise it when the same model gives other vectors of the same inputs than before."""
CHECKPOINT_SECONDS = 10.0
NAMED = 20
"""Failed inputs that a card names."""
Inputs = TextInputs | ImageInputs
Encoder = SentenceEncoder | PictureEncoder
OnProgress = Callable[[str, int, int], None]
"""Called with the modality, the number of items done, and the number of all items."""


def encode_features(config: FeaturesConfig, on_progress: OnProgress = lambda *_: None) -> list[FeatureCard]:
    """Encode the texts, the pictures or both of a data folder into feature files; returns the card of each file.

    A file is an array (I, D) of float32 or float16 with its rows in the order of ``load``. A row is all zero where the
    item has no text or picture, or it cannot be read. A stopped call resumes where it was. Items that have not changed
    are not encoded again, and a file of the same inputs and model is left as it is.

    Raises ConfigError or DataError before anything is written, where a setting, column, picture path or model is
    wrong, and where a file would be replaced without ``overwrite``; RunError where a file cannot be written.
    """
    encode_images = config.image is not None or config.pictures is not None
    for model, flag, has_inputs, advice in (
        (config.text_model, "--text-model", bool(config.text), "--text COLUMNS"),
        (config.image_model, "--image-model", encode_images, "--image COLUMN or --pictures FOLDER"),
    ):
        if model is not None and not has_inputs:
            raise ConfigError(f"{flag} {model}: nothing to encode with it; give {advice} too")
    if not config.text and not encode_images:
        raise ConfigError(
            "nothing to encode: give --text COLUMNS with --text-model, or --image COLUMN or --pictures "
            "FOLDER with --image-model"
        )
    if config.text and encode_images and config.text_name == config.image_name:
        raise ConfigError(f"--text-name and --image-name are both {config.text_name}; call one of them otherwise")
    items = read_items(config)
    all_inputs: list[Inputs] = [TextInputs(config, items)] if config.text else []
    all_inputs += [ImageInputs(config, items)] if encode_images else []
    pairs = [(inputs, _store(inputs, items, config)) for inputs in all_inputs]
    with ExitStack() as stack:
        for inputs, store in pairs:
            stack.enter_context(store.lock())
            _check_replacing(inputs, store, config)
        jobs = [(inputs, store, None if store.up_to_date else inputs.encoder()) for inputs, store in pairs]
        return [_encode(*job, config, on_progress) for job in jobs]


def _store(inputs: Inputs, items: CatalogueItems, config: FeaturesConfig) -> FeatureStore:
    material = {"method": METHOD, "model": inputs.model.digest, "settings": inputs.settings, "dtype": config.dtype}
    key = hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()
    rows = items.row_source(config.text if inputs.kind == "text" else filter(None, [config.image]))
    return FeatureStore(feature_path(items.folder, inputs.modality), key, inputs.digest_I, config.dtype, rows)


def _check_replacing(inputs: Inputs, store: FeatureStore, config: FeaturesConfig) -> None:
    """Raise ConfigError where a file would be replaced without ``overwrite``."""
    if config.overwrite or store.up_to_date or not store.path.exists():
        return
    if store.finished_card is None:
        origin = "and not as this command has made it"
    elif store.finished_card.key != store.key:
        origin = f"made with another model or other settings ({store.finished_card.model or 'imported'})"
    else:
        origin = "made of other inputs"
    raise ConfigError(
        f"{store.path} is there already, {origin}; --overwrite replaces it, --{inputs.kind}-name NAME writes another"
    )


def _encode(
    inputs: Inputs,
    store: FeatureStore,
    encoder: Encoder | None,
    config: FeaturesConfig,
    on_progress: OnProgress,
) -> FeatureCard:
    """Encode the remaining rows and finish the file. ``encoder`` is None where the file is up to date."""
    if encoder is None:
        assert store.finished_card is not None
        return store.finished_card
    rows = inputs.order(store.begin(encoder.dimension))
    total = int(np.count_nonzero(inputs.digest_I))
    done = total - len(rows)
    on_progress(inputs.modality, done, total)
    batches = (rows[start : start + config.batch_size] for start in range(0, len(rows), config.batch_size))
    saved = time.monotonic()
    try:
        with silence_libraries(), closing(encoder.run(batches)) as encoded_batches:
            for batch in encoded_batches:
                store.put(batch)
                if time.monotonic() - saved >= CHECKPOINT_SECONDS:
                    store.save()
                    saved = time.monotonic()
                done += len(batch.rows)
                on_progress(inputs.modality, done, total)
    except (MemoryError, torch.OutOfMemoryError):
        raise ConfigError(
            f"--batch-size {config.batch_size}: too many for the memory; give fewer, what is done is kept"
        ) from None
    finally:
        store.save()
    return _finish(inputs, store, encoder.rule)


def _finish(inputs: Inputs, store: FeatureStore, rule: str) -> FeatureCard:
    """Move the file into place and write its card. Raises DataError where no item has a vector."""
    counts = {
        "encoded": store.count(Mark.DONE) - store.count(FAILED),
        **inputs.counts,
        **{str(mark.name).lower(): store.count(mark) for mark in (*inputs.marks, Mark.NOT_FINITE)},
    }
    if not counts["encoded"]:
        store.discard()
        reasons = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        raise DataError(f"{store.path}: no item got a vector ({reasons}); nothing is written")
    failed = np.flatnonzero(store.ledger["marks"] & FAILED)[:NAMED]
    packages = ("torch", *inputs.packages)
    return store.finish(
        modality=inputs.modality,
        counts=counts,
        failed=tuple(f"{inputs.name(row)}: {_reason(store.ledger['marks'][row])}" for row in failed),
        sources=inputs.sources,
        settings=inputs.settings,
        model=inputs.model.name,
        revision=inputs.model.revision,
        model_digest=inputs.model.digest,
        rule=rule,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"crossrec": __version__, **{name: version(name) for name in packages}},
    )


def _reason(marks: int) -> str:
    """The mark of a failure in words."""
    return next(str(mark.name).lower().replace("_", " ") for mark in Mark if mark & FAILED & marks)
