"""Folder of a pretrained model, local or from the Hugging Face hub. No code in it is run, no pickle is loaded."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from crossrec.config import did_you_mean
from crossrec.errors import ConfigError

WEIGHTS = "*.safetensors"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
SETTINGS = ("*.json", "*.txt", "*.model", "*.jinja")
"""Settings and vocabularies. They and the weights are the files that are fetched, and that the digest covers."""
PREPARATION = ("preprocessor_config.json", "processor_config.json")
"""Files that say how pictures are prepared."""
OTHER_RUNTIMES = ("onnx/*", "openvino/*")


@dataclass(frozen=True)
class ModelFolder:
    """A model on disk: the ``flag`` that names it, its ``name`` there, and the ``revision`` of a model from the hub."""

    flag: str
    name: str
    path: Path
    revision: str | None = None

    def error(self, reason: str) -> ConfigError:
        """Make an error about this model, in one line."""
        return ConfigError(f"{self.flag} {self.name}: {' '.join(reason.split())}")

    def require_weights(self, missing_keys: Iterable[str]) -> None:
        """Raise ConfigError if the file lacks a weight, which would be random. Poolers are not used."""
        if lacking := sorted(key for key in missing_keys if "pooler" not in key):
            raise self.error(f"its weights lack {lacking[0]}; give the folder of a whole model")

    @cached_property
    def digest(self) -> str:
        """sha256 over the names and contents of weights, settings and vocabularies."""
        total = hashlib.sha256()
        for file in sorted(file for kind in (WEIGHTS, *SETTINGS) for file in self.path.rglob(kind) if file.is_file()):
            try:
                with file.open("rb") as content:
                    file_digest = hashlib.file_digest(content, "sha256").hexdigest()
            except OSError as error:
                raise self.error(f"{file.name} cannot be read ({error.strerror})") from None
            total.update(f"{file.relative_to(self.path).as_posix()} {file_digest}\n".encode())
        return total.hexdigest()

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Load or try the model in this block: without output, and with every exception as a ConfigError."""
        try:
            with silence_libraries():
                yield
        except ConfigError:
            raise
        except Exception as error:  # a damaged or foreign folder can raise anything in the libraries
            if "trust_remote_code" in str(error):
                raise self.error(
                    "comes with code of its own, which is not run; give a model that transformers itself knows"
                ) from None
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise self.error(f"cannot be used ({reason[:200]}); give another model, or fetch it again") from None


def require_packages(*names: str, extra: str = "features") -> None:
    """Raise ConfigError unless these packages are installed. ``extra``: the one of crossrec that brings them."""
    for name in names:
        if find_spec(name) is None:
            raise ConfigError(f"making features needs {name}: pip install 'crossrec[{extra}]'")


def find_model(flag: str, name: str) -> ModelFolder:
    """Find the folder ``name``, or fetch owner/name or owner/name@revision from the hub.

    Raises ConfigError where there is no such model, or it has no safetensors weights.
    """
    path = Path(name).expanduser()
    if path.is_file():
        raise ConfigError(f"{flag} {name}: is a file; give the folder that it is in")
    model = ModelFolder(flag, name, path) if path.is_dir() else _fetch(flag, name, path)
    _check(model)
    return model


def _fetch(flag: str, name: str, path: Path) -> ModelFolder:
    from huggingface_hub import errors, snapshot_download

    repository, _, revision = name.partition("@")
    siblings = [entry.name for entry in path.parent.iterdir() if entry.is_dir()] if path.parent.is_dir() else []
    hint = did_you_mean(path.name, siblings)
    advice = f"{hint if 'did you mean' in hint else ''}; give the folder of a model"
    try:
        folder = snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=[WEIGHTS, *SETTINGS],
            ignore_patterns=list(OTHER_RUNTIMES),
        )
    except errors.HFValidationError:
        raise ConfigError(f"{flag} {name}: no such folder, and no name of the hub either{advice}") from None
    except errors.GatedRepoError:
        raise ConfigError(f"{flag} {name}: the hub gives it to those only who agreed to its terms{advice}") from None
    except errors.RevisionNotFoundError:
        raise ConfigError(f"{flag} {name}: the hub has no such revision of it{advice}") from None
    except errors.RepositoryNotFoundError:
        raise ConfigError(f"{flag} {name}: no such folder, and the hub has no such model{advice}") from None
    except (errors.HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0][:100] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"{flag} {name}: no such folder, and it cannot be fetched from the hub ({reason}){advice}"
        ) from None
    return ModelFolder(flag, name, Path(folder), Path(folder).name)


def _check(model: ModelFolder) -> None:
    """Raise ConfigError where the folder holds no model, only pickled weights, or code."""
    folder = model.path
    modules = folder / "modules.json"
    weight_folders = [folder]
    if modules.is_file():
        try:
            parts = [(str(part["type"]), str(part["path"])) for part in json.loads(modules.read_text(encoding="utf-8"))]
        except (OSError, ValueError, TypeError, KeyError):
            raise model.error("its modules.json is damaged; fetch the model again") from None
        for kind, path in parts:
            if not kind.startswith("sentence_transformers."):
                raise model.error(
                    f"needs code that is not part of sentence-transformers ({kind}), which is not run; give another"
                )
            weight_folders.append(folder / path)
    elif not (folder / "config.json").is_file():
        raise model.error("no model in this folder (neither config.json nor modules.json); give another")
    for weight_folder in weight_folders:
        pickled = sorted(file.name for kind in PICKLED for file in weight_folder.glob(kind))
        if pickled and not any(weight_folder.glob(WEIGHTS)):
            raise model.error(
                f"its weights are pickled ({pickled[0]}), which is not loaded; give a model saved as safetensors"
            )
    if not any(folder.rglob(WEIGHTS)):
        raise model.error("has no weights that can be loaded (model.safetensors); give another model or revision")


@contextmanager
def silence_libraries() -> Iterator[None]:
    """Silence progress bars, notes and warnings of transformers and sentence-transformers; exceptions still raise."""
    if find_spec("transformers") is None:
        yield
        return
    transformers_logging: Any = import_module("transformers.utils.logging")
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    sentence_logger = logging.getLogger("sentence_transformers")
    sentence_level = sentence_logger.level
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    sentence_logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
        sentence_logger.setLevel(sentence_level)
