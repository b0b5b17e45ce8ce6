"""Training checkpoints that survive a kill at any instant."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from crossrec import parallel
from crossrec.data.io.atomic import json_text
from crossrec.data.io.manifest import file_entry, read_sealed, write_sealed
from crossrec.data.io.tensor_file import read_tensors, tensor_chunks, write_tensors
from crossrec.errors import RunError

MANIFEST = "checkpoint.json"
"""Names the current tensor file. Replacing the manifest makes a new checkpoint current."""


def save_checkpoint(folder: str | os.PathLike[str], tensors: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> None:
    """Replace the checkpoint in ``folder`` by tensors (any dtype, shape, strides, sharing) and a JSON manifest.

    Three steps: write the tensors to a file named after their content, replace the manifest, which names that file,
    and delete stale files. A kill between any two leaves the previous or the new checkpoint complete. Only one process
    may write to a folder at a time. Tensors are digested and written one after the other, without a copy of them all.
    Of several processes that train together the first one writes; all call this.
    Raises RunError if a file cannot be written or the manifest is not plain JSON.
    """
    folder, sha256 = Path(folder), hashlib.sha256()
    for chunk in tensor_chunks(tensors):
        sha256.update(chunk)
    digest = sha256.hexdigest()
    file_name = f"tensors-{digest[:16]}.safetensors"
    record = {"tensors": file_name, "sha256": digest, "manifest": dict(manifest)}
    json_text(folder / MANIFEST, record)  # raises before anything is written
    write_tensors(folder / file_name, tensors)
    if not parallel.is_main():
        return
    write_sealed(folder / MANIFEST, record)
    for pattern in ("tensors-*.safetensors", ".tensors-*.tmp", f".{MANIFEST}.*.tmp"):
        for stale in folder.glob(pattern):
            if stale.name != file_name:
                stale.unlink(missing_ok=True)


def load_checkpoint(
    folder: str | os.PathLike[str], part: Callable[[str, Tensor], Tensor] = lambda _, tensor: tensor
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors (on the CPU) and the manifest of a checkpoint, bit-equal to what was saved.

    ``part(name, tensor)``: what to keep of a tensor.
    Raises RunError naming the file if one is missing, cut short or not the one that was written.
    """
    path, way_out = Path(folder) / MANIFEST, f"delete {folder} and train again"
    record = read_sealed(path, way_out)
    try:
        name, digest, manifest = str(record["tensors"]), record["sha256"], dict(record["manifest"])
    except (TypeError, KeyError, ValueError):
        raise RunError(f"{path}: not a checkpoint manifest; {way_out}") from None
    file = path.with_name(Path(name).name)
    if file_entry(file)["sha256"] != digest:
        raise RunError(f"{file}: damaged, its sha256 is not the one in {MANIFEST}; {way_out}")
    try:
        return read_tensors(file, part), manifest
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: not a safetensors file ({error}); {way_out}") from None
