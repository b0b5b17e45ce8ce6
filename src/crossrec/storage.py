"""Files that are whole or not there: atomic text and JSON, and checkpoints that survive a kill at any instant."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossrec.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = "checkpoint.json"
"""Names the tensor file of a checkpoint; replacing it is what makes a new checkpoint the current one."""


def write_text_atomic(path: Path | str, text: str) -> None:
    """Write UTF-8 text so that ``path`` holds the old or the new text at any instant, never a part.

    Folders are made as needed. Raises RunError where the file cannot be written.
    """
    write_bytes_atomic(path, text.encode())


def write_json_atomic(path: Path | str, obj: Any) -> None:
    """Write ``obj`` as indented JSON, atomically; floats read back bit-equal.

    Raises RunError where the file cannot be written, or ``obj`` holds what JSON has no word for (NaN, inf, arrays).
    """
    write_text_atomic(path, _json(Path(path), obj))


def read_json(path: Path | str) -> Any:
    """The content of a JSON file. Raises RunError naming the file where it is missing or damaged."""
    path = Path(path)
    try:
        return json.loads(_read(path))
    except ValueError as error:
        raise RunError(
            f"{path}: damaged, not valid JSON ({error}); restore it or run again into a new folder"
        ) from None


def save_checkpoint(folder: Path | str, tensors: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> None:
    """Replace the checkpoint in ``folder`` by these tensors (any dtype, shape, strides, sharing) and plain values.

    The tensors go to a file named after their content, then the manifest that names it is replaced, then stale
    files are deleted: a kill between any two steps leaves the previous or the new checkpoint complete. One process
    may write to a folder at a time. Raises RunError where a file cannot be written or the manifest is not plain JSON.
    """
    from safetensors.torch import save

    folder = Path(folder)
    content = save({name: _plain(tensor) for name, tensor in tensors.items()})
    digest = hashlib.sha256(content).hexdigest()
    current = f"tensors-{digest[:16]}.safetensors"
    text = _json(folder / MANIFEST, {"tensors": current, "sha256": digest, "manifest": dict(manifest)})
    write_bytes_atomic(folder / current, content)
    write_text_atomic(folder / MANIFEST, text)
    for pattern in ("tensors-*.safetensors", ".tensors-*.tmp", f".{MANIFEST}.*.tmp"):
        for stale in folder.glob(pattern):
            if stale.name != current:
                stale.unlink(missing_ok=True)


def load_checkpoint(folder: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and manifest of the checkpoint in ``folder``, bit-equal to what was saved.

    Raises RunError naming the file where one is missing, cut short or not the one that the manifest describes.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = Path(folder) / MANIFEST
    record = read_json(path)
    try:
        name, digest, manifest = str(record["tensors"]), record["sha256"], dict(record["manifest"])
    except (TypeError, KeyError, ValueError):
        raise RunError(f"{path}: not a checkpoint manifest; delete this folder and train again") from None
    file = path.with_name(Path(name).name)
    content = _read(file)
    if hashlib.sha256(content).hexdigest() != digest:
        raise RunError(f"{file}: damaged, its sha256 is not the one in {MANIFEST}; delete this folder and train again")
    try:
        return load(content), manifest
    except SafetensorError as error:
        raise RunError(f"{file}: not a safetensors file ({error}); delete this folder and train again") from None


def _plain(tensor: Tensor) -> Tensor:
    """A copy on the CPU, contiguous and sharing storage with nothing."""
    from torch import contiguous_format

    return tensor.detach().to("cpu", copy=True, memory_format=contiguous_format)


def _json(path: Path, obj: Any) -> str:
    try:
        return json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise RunError(f"{path}: cannot be written as JSON: {error}") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise RunError(f"{path}: missing; is this the folder of a run that has got this far?") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from None


def write_bytes_atomic(path: Path | str, content: bytes) -> None:
    """Write a file by way of a temporary one in the same folder, flushed to disk and renamed over ``path``.

    Folders are made as needed. Raises RunError where the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from None


def move_into_place(draft: Path, path: Path) -> None:
    """Rename a file that is whole and flushed over ``path``, durably. Raises RunError where that cannot be done."""
    try:
        os.replace(draft, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from None


def cannot_write(path: Path, error: OSError) -> RunError:
    """What to tell a user when the system refuses to write ``path``."""
    return RunError(f"{path}: cannot be written: {error.strerror or error}; is there space and permission?")


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets folders be flushed."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
