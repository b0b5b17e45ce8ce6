"""From columns of texts and pictures to feature files."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from crossrec._version import __version__
from crossrec.errors import ConfigError, DataError
from crossrec.features.config import FeaturesConfig
from crossrec.features.image import ImageEncoder, Pictures
from crossrec.features.items import feature_path, read_items
from crossrec.features.model_folder import quiet
from crossrec.features.store import FAILED, FeatureCard, Mark, Store
from crossrec.features.text import SentenceEncoder, Texts

METHOD = 1
"""Raised when the same model makes other vectors of the same inputs than before, so that none are taken over."""
CHECKPOINT_SECONDS = 10.0
OnProgress = Callable[[str, int, int], None]
"""Called with modality, items done and items in all."""


def encode_features(config: FeaturesConfig, on_progress: OnProgress = lambda *_: None) -> list[FeatureCard]:
    """Make the feature files of a data folder that ``config`` asks for; the card of each.

    A file that is there and made of the same inputs by the same model is left as it is. Rows are float32 or float16,
    (I, D), in the row order that ``load`` takes; all zero where an item has nothing to encode or it cannot be read.
    Stopped, it goes on where it was; items that have not changed are not encoded again.

    Raises ConfigError or DataError, one line, before anything is written, where a setting, column, picture path or
    model is wrong, and where a file would be replaced without ``overwrite``; RunError where it cannot be written.
    """
    pictures = config.image is not None or config.pictures is not None
    for model, flag, wanted, advice in (
        (config.text_model, "--text-model", bool(config.text), "--text COLUMNS"),
        (config.image_model, "--image-model", pictures, "--image COLUMN or --pictures FOLDER"),
    ):
        if model is not None and not wanted:
            raise ConfigError(f"{flag} {model}: nothing to encode with it; give {advice} too")
    if not config.text and not pictures:
        raise ConfigError(
            "nothing to encode: give --text COLUMNS with --text-model, or --image COLUMN or --pictures "
            "FOLDER with --image-model"
        )
    if config.text and pictures and config.text_name == config.image_name:
        raise ConfigError(f"--text-name and --image-name are both {config.text_name}; call one of them otherwise")
    items = read_items(config)
    jobs: list[Texts | Pictures] = [Texts(config, items)] if config.text else []
    jobs += [Pictures(config, items)] if pictures else []
    work = [(job, _store(job, feature_path(items.folder, job.modality), config)) for job in jobs]
    with ExitStack() as stack:
        for job, store in work:
            stack.enter_context(store.lock())
            _check_replacing(job, store, config)
        encoders = [None if store.up_to_date else job.encoder() for job, store in work]
        return [
            _make(job, store, encoder, config, on_progress)
            for (job, store), encoder in zip(work, encoders, strict=True)
        ]


def _store(job: Texts | Pictures, path: Path, config: FeaturesConfig) -> Store:
    material = {"method": METHOD, "model": job.model.digest, "settings": job.settings, "dtype": config.dtype}
    key = hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()
    return Store(path, key, job.digest_I, config.dtype)


def _check_replacing(job: Texts | Pictures, store: Store, config: FeaturesConfig) -> None:
    """Raise ConfigError where another file would be replaced without having been asked for."""
    if config.overwrite or store.up_to_date or not store.path.exists():
        return
    if store.finished is None:
        origin = "and not as this command has made it"
    elif store.finished.key != store.key:
        origin = f"made with another model or other settings ({store.finished.model})"
    else:
        origin = "made of other inputs"
    raise ConfigError(
        f"{store.path} is there already, {origin}; --overwrite replaces it, --{job.kind}-name NAME writes another"
    )


def _make(
    job: Texts | Pictures,
    store: Store,
    encoder: SentenceEncoder | ImageEncoder | None,
    config: FeaturesConfig,
    on_progress: OnProgress,
) -> FeatureCard:
    import torch

    if encoder is None:
        assert store.finished is not None
        return store.finished
    rows = job.order(store.begin(encoder.dimension))
    total = int(np.count_nonzero(job.digest_I))
    done = total - len(rows)
    on_progress(job.modality, done, total)
    batches = (rows[start : start + config.batch_size] for start in range(0, len(rows), config.batch_size))
    saved = time.monotonic()
    try:
        with quiet(), closing(encoder.run(batches)) as made:
            for batch in made:
                store.put(batch)
                if time.monotonic() - saved >= CHECKPOINT_SECONDS:
                    store.save()
                    saved = time.monotonic()
                done += len(batch.rows)
                on_progress(job.modality, done, total)
    except torch.OutOfMemoryError:
        raise ConfigError(
            f"--batch-size {config.batch_size}: too many for the memory of the device; give fewer, what is done is kept"
        ) from None
    finally:
        store.save()
    return _finish(job, store, encoder.rule)


def _finish(job: Texts | Pictures, store: Store, rule: str) -> FeatureCard:
    """Put the file in place. Raises DataError where it would hold nothing."""
    counts = {
        "encoded": store.count(Mark.DONE) - store.count(FAILED),
        job.absent: int(np.count_nonzero(job.digest_I == b"")),
        **{name: store.count(mark) for name, mark in job.counted.items()},
        "not_finite": store.count(Mark.NOT_FINITE),
    }
    if not counts["encoded"]:
        store.discard()
        told = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        raise DataError(f"{store.path}: no item got a vector ({told}); nothing is written")
    packages = ("torch", "transformers", *job.packages)
    return store.finish(
        modality=job.modality,
        counts=counts,
        sources=job.sources,
        settings=job.settings,
        model=job.model.name,
        revision=job.model.revision,
        model_digest=job.model.digest,
        rule=rule,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"crossrec": __version__, **{name: version(name) for name in packages}},
    )
