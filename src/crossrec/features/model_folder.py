"""A model's folder, local or from the hub: nothing in it is run, nothing pickled is loaded."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from crossrec.config import nearest
from crossrec.errors import ConfigError

WEIGHTS = "*.safetensors"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
WORDS = ("*.json", "*.txt", "*.model", "*.jinja")
"""Settings and vocabularies: with the weights, all that is fetched and all that counts for a model's digest."""
ELSEWHERE = ("onnx/*", "openvino/*")


@dataclass(frozen=True)
class ModelFolder:
    """A model on disk. ``flag``: who asked for it; ``name``: by what name; ``revision``: which one, if of the hub."""

    flag: str
    name: str
    path: Path
    revision: str | None = None

    def complaint(self, reason: str) -> ConfigError:
        """A mistake with this model, in one line."""
        return ConfigError(f"{self.flag} {self.name}: {' '.join(reason.split())}")

    @cached_property
    def digest(self) -> str:
        """sha256 over the names and contents of weights, settings and vocabularies."""
        total = hashlib.sha256()
        for file in sorted(file for kind in (WEIGHTS, *WORDS) for file in self.path.rglob(kind) if file.is_file()):
            try:
                with file.open("rb") as content:
                    one = hashlib.file_digest(content, "sha256").hexdigest()
            except OSError as error:
                raise self.complaint(f"{file.name} cannot be read ({error.strerror})") from None
            total.update(f"{file.relative_to(self.path).as_posix()} {one}\n".encode())
        return total.hexdigest()

    @contextmanager
    def loading(self) -> Iterator[None]:
        """A block that loads or tries the model: quiet, and whatever goes wrong becomes one line."""
        try:
            with quiet():
                yield
        except ConfigError:
            raise
        except Exception as error:  # whatever a damaged or foreign folder makes of the libraries
            if "trust_remote_code" in str(error):
                raise self.complaint(
                    "comes with code of its own, which is not run; give a model that transformers itself knows"
                ) from None
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise self.complaint(f"cannot be used ({reason[:200]}); give another model, or fetch it again") from None


def need(*names: str) -> None:
    """Raise ConfigError unless these packages are installed."""
    for name in names:
        if find_spec(name) is None:
            raise ConfigError(f"making features needs {name}: pip install 'crossrec[features]'")


def find_model(flag: str, name: str) -> ModelFolder:
    """The folder of a model: ``name`` itself, else what the hub has under owner/name or owner/name@revision.

    Raises ConfigError where there is none, or none whose weights are safetensors.
    """
    path = Path(name).expanduser()
    if path.is_file():
        raise ConfigError(f"{flag} {name}: is a file; give the folder that it is in")
    found = ModelFolder(flag, name, path) if path.is_dir() else _fetch(flag, name, path)
    _check(found)
    return found


def _fetch(flag: str, name: str, path: Path) -> ModelFolder:
    from huggingface_hub import errors, snapshot_download

    repository, _, revision = name.partition("@")
    beside = [entry.name for entry in path.parent.iterdir() if entry.is_dir()] if path.parent.is_dir() else []
    hint = nearest(path.name, beside) if beside else ""
    hint = hint if "did you mean" in hint else ""
    advice = f"{hint}; give the folder of a model"
    try:
        folder = snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=[WEIGHTS, *WORDS],
            ignore_patterns=list(ELSEWHERE),
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
    """Raise ConfigError where there is no model, or one with pickled weights or code of its own."""
    folder = model.path
    modules = folder / "modules.json"
    places = [folder]
    if modules.is_file():
        try:
            parts = [(str(part["type"]), str(part["path"])) for part in json.loads(modules.read_text(encoding="utf-8"))]
        except (OSError, ValueError, TypeError, KeyError):
            raise model.complaint("its modules.json is damaged; fetch the model again") from None
        for kind, path in parts:
            if not kind.startswith("sentence_transformers."):
                raise model.complaint(
                    f"needs code that is not part of sentence-transformers ({kind}), which is not run; give another"
                )
            places.append(folder / path)
    elif not (folder / "config.json").is_file():
        raise model.complaint("no model in this folder (neither config.json nor modules.json); give another")
    for place in places:
        pickled = sorted(file.name for kind in PICKLED for file in place.glob(kind))
        if pickled and not any(place.glob(WEIGHTS)):
            raise model.complaint(
                f"its weights are pickled ({pickled[0]}), which is not loaded; give a model saved as safetensors"
            )
    if not any(folder.rglob(WEIGHTS)):
        raise model.complaint("has no weights that can be loaded (model.safetensors); give another model or revision")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the bars, notes and warnings of the libraries; mistakes still raise."""
    library: Any = import_module("transformers.utils.logging")
    level, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    other = logging.getLogger("sentence_transformers")
    other_level = other.level
    library.set_verbosity_error()
    library.disable_progress_bar()
    other.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        library.set_verbosity(level)
        if bars:
            library.enable_progress_bar()
        other.setLevel(other_level)
