"""A CUDA device for machines without one: tensors say that they are on it, and a CPU computes their values.

Inside ``emulated_cuda()`` every tensor made or moved with ``device="cuda"`` is an ``OnCuda``. An operation that mixes
it with a tensor of the CPU raises RuntimeError as a GPU would, so do ``numpy()`` and a generator of another device.
What makes a program wait for a GPU is counted. All else is that of a CPU: no kernel, no rounding and no speed of a GPU
is tested.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
WAITS = {
    "_local_scalar_dense",
    "_unique",
    "_unique2",
    "bincount",
    "equal",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}
"""Operations whose result, or its size, the host must know before it goes on. Masks as indices and copies between the
devices wait too."""
MAY_MIX = {"_to_copy", "copy_", "index", "index_put_", "_index_put_impl_", "_foreach_copy_", "set_"}
"""Operations that a GPU does with tensors of a CPU: copies, and indexing by indices of a CPU."""


_PlainGenerator = torch.Generator


class OnCuda(torch.Tensor):
    """A tensor that says it is on the GPU; ``values`` is where it is in truth."""

    values: torch.Tensor

    @staticmethod
    def __new__(cls, values: torch.Tensor, requires_grad: bool = False) -> OnCuda:
        tensor = torch.Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            layout=values.layout,
            device="meta",  # the only device besides the CPU that torch knows without a GPU
            requires_grad=requires_grad,
        )
        tensor.values = values
        return tensor

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)

    def tolist(self) -> list:
        return self.cpu().tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func} outside emulated_cuda()")


class CudaGenerator(torch.Generator):
    """A generator that says it is on the GPU; a plain one where it is made for the CPU."""

    def __new__(cls, device: object = "cpu") -> torch.Generator:
        if torch.device(device).type != "cuda":
            return _PlainGenerator(device)
        generator = super().__new__(cls, "cpu")
        generator.all[generator._cdata] = generator
        return generator

    all: ClassVar[dict[int, torch.Generator]] = {}
    """By address, since torch hands operations another Python object for the same generator."""

    device = property(lambda self: CUDA)

    def manual_seed(self, seed: int) -> CudaGenerator:
        super().manual_seed(seed)
        return self


class Emulation(TorchDispatchMode):
    """The emulated GPU. ``waits``: how often the program waited, by the operation and the line that called it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = func.overloadpacket.__name__
        leaves = list(_leaves((*args, *kwargs.values())))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        on_cuda = [tensor for tensor in tensors if isinstance(tensor, OnCuda)]
        device = kwargs.get("device")
        target = CUDA if (on_cuda and device is None) or (device is not None and device.type != "cpu") else CPU
        for leaf in leaves:
            if isinstance(leaf, _PlainGenerator) and (leaf._cdata in CudaGenerator.all) != (target == CUDA):
                raise RuntimeError(f"{func}: the generator is not on {target}, where the result is")
        if on_cuda and name not in MAY_MIX and any(t.dim() for t in tensors if not isinstance(t, OnCuda)):
            raise RuntimeError(f"{func}: expected all tensors on one device, but one is on cpu and one on cuda")
        self._count(name, args, kwargs, on_cuda, target, tensors)
        if device is not None:
            kwargs["device"] = CPU
        result = func(*_mapped(args, _values), **{key: _mapped(value, _values) for key, value in kwargs.items()})
        if target == CPU:
            return result
        wrapped = _mapped(result, _on_cuda)
        return (
            wrapped if name == "_to_copy" or not on_cuda else return_and_correct_aliasing(func, args, kwargs, wrapped)
        )

    def _count(self, name, args, kwargs, on_cuda, target, tensors) -> None:
        waits = bool(on_cuda) and name in WAITS
        if name in ("index", "index_put_", "_index_put_impl_") and on_cuda:
            indices = [index for index in args[1] if index is not None]
            is_mask = any(index.dtype in (torch.bool, torch.uint8) for index in indices)
            waits = is_mask or not all(isinstance(part, OnCuda) for part in (*indices, *args[2:3]))
        if name == "where" and on_cuda:  # a number of the host is copied first
            waits = not all(isinstance(tensor, OnCuda) for tensor in tensors)
        if name == "repeat_interleave" and on_cuda:
            waits = kwargs.get("output_size") is None
        if name == "_to_copy":
            waits = (target == CUDA) != bool(on_cuda) and not kwargs.get("non_blocking")
        if name == "copy_":
            waits = 0 < len(on_cuda) < len(tensors)
        if waits:
            self.waits[f"{name} {_caller()}"] += 1


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    return type(value)(_mapped(part, change) for part in value) if type(value) in (list, tuple) else change(value)


def _values(leaf: Any) -> Any:
    return leaf.values if isinstance(leaf, OnCuda) else leaf


def _on_cuda(leaf: Any) -> Any:
    return OnCuda(leaf) if isinstance(leaf, torch.Tensor) else leaf


def _caller() -> str:
    """The innermost function of the package that called."""
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("crossrec."):
            return f"{module}.{frame.f_code.co_name}"
        frame = frame.f_back
    return "outside the package"


@contextlib.contextmanager
def emulated_cuda() -> Iterator[Emulation]:
    """Pretend that there is a GPU. Yields what counts the waits."""
    with (
        mock.patch.object(torch.cuda, "_lazy_init", return_value=None),
        mock.patch.object(torch, "Generator", CudaGenerator),
        mock.patch("crossrec.ops.sparse.CUDA_USES_CSR", new=False),  # no sparse tensors are emulated
        Emulation() as emulation,
    ):
        yield emulation
