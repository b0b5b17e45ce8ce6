"""Write and read safetensors files one tensor at a time, so that no second copy of all tensors is in memory.

The files are those that ``safetensors.torch.save`` makes, byte for byte, and every reader of the format reads them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossrec import parallel
from crossrec.data.io.atomic import write_chunks_atomic
from crossrec.ops.divided import Divided

DTYPES = {
    "I64": torch.int64,
    "F64": torch.float64,
    "F32": torch.float32,
    "I32": torch.int32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""Types by their name in a file, in the order in which a file holds them."""
NAMES = {dtype: name for name, dtype in DTYPES.items()}
RANK = {dtype: rank for rank, dtype in enumerate(NAMES)}


def write_tensors(path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors (any of ``DTYPES``, shape, strides, sharing, device) to a safetensors file, atomically.

    Of several processes that train together (``crossrec.parallel``) the first one writes; all call this. Raises
    RunError if the file cannot be written.
    """
    chunks = tensor_chunks(tensors, metadata)
    if parallel.is_main():
        write_chunks_atomic(path, chunks)
    else:
        for _ in chunks:  # hand over this process's part of each tensor
            pass


def tensor_chunks(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> Iterator[bytes | memoryview]:
    """The content of a safetensors file: its header, then every tensor. On a CPU contiguous tensors are not copied."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    names = sorted(tensors, key=lambda name: (RANK[tensors[name].dtype], name))
    end = 0
    for name in names:
        tensor, start = tensors[name], end
        end += tensor.numel() * tensor.itemsize
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        tensor = tensors[name]
        for piece in tensor.pieces() if isinstance(tensor, Divided) else (tensor.detach(),):
            yield _memory(piece.cpu().contiguous())


def read_tensors(
    path: Path | str, part: Callable[[str, Tensor], Tensor] = lambda _, tensor: tensor
) -> dict[str, Tensor]:
    """The tensors of a file that ``write_tensors`` wrote, on the CPU, each with memory of its own.

    ``part(name, tensor)``: what to keep of a tensor, so that no more is in memory than that and one tensor. Raises
    OSError if the file cannot be read, ValueError if it is no such file.
    """
    tensors = {}
    with open(path, "rb") as file:
        try:
            length = min(int.from_bytes(file.read(8), "little"), os.fstat(file.fileno()).st_size)
            header = json.loads(file.read(length))
            data_start = file.tell()
            for name, entry in header.items():
                if name != "__metadata__":
                    tensor = torch.empty(entry["shape"], dtype=DTYPES[entry["dtype"]])
                    file.seek(data_start + entry["data_offsets"][0])
                    if file.readinto(_memory(tensor)) < tensor.numel() * tensor.itemsize:
                        raise ValueError("cut short")
                    tensors[name] = part(name, tensor)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a safetensors file: {error}") from None
    return tensors


def _memory(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous tensor on the CPU."""
    return tensor.flatten().view(torch.uint8).numpy().data
