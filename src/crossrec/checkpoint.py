"""Checkpoints of a training that survive a kill at any instant."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossrec.data.io.atomic import json_text, read_bytes, read_json, write_bytes_atomic, write_text_atomic
from crossrec.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = "checkpoint.json"
"""Names the tensor file of a checkpoint; replacing it is what makes a new checkpoint the current one."""


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
    text = json_text(folder / MANIFEST, {"tensors": current, "sha256": digest, "manifest": dict(manifest)})
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
    content = read_bytes(file)
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
