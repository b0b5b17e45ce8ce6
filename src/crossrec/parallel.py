"""One training on several processes, started by ``torchrun``: what they share and how they hand it over.

Every process holds the same data and draws the same batches. Work is divided so that every number is computed by the
same operations as in one process, so weights on a CPU do not depend on how many processes there are. In one process
nothing here acts, and ``torch.distributed`` is not loaded.
"""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from crossrec.errors import ConfigError, TrainingError
from crossrec.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

TIMEOUT = timedelta(seconds=40)
"""How long a process waits for the others in a step before it takes them for lost. A process that ends is noticed at
once; this is for a host that vanishes."""
PATIENCE = timedelta(hours=2)
"""How long processes wait for the first one where it writes files or decides before the training."""
OTHERS_LOST = (
    "another process of this training has ended or cannot be reached; start the same command again with --resume, or "
    "let torchrun do so with --max-restarts"
)
STOPPED = (
    "stopped by torchrun, as when another process of the training has ended; the same command goes on with --resume"
)


VECTOR = 16
"""Numbers that a processor updates at a time. The rest of a tensor may be rounded in another way, so tensors are cut
at multiples of it."""


@dataclass
class _Group:
    """The processes that train together. ``brief``, ``patient``: the same ones, on a CPU. ``store``: keys of all.
    ``sent``: bytes."""

    rank: int = 0
    size: int = 1
    brief: Any = None
    patient: Any = None
    store: Any = None
    gpu: bool = False
    sent: int = 0


_group = _Group()


def launched() -> bool:
    """Whether torchrun has started this process as one of several."""
    return "LOCAL_RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def rank() -> int:
    """The number of this process, from 0."""
    return _group.rank


def size() -> int:
    """W, the number of processes that train together; 1 without ``joined``."""
    return _group.size


def is_main() -> bool:
    """Whether this process writes files and prints: the first one, and the only one."""
    return _group.rank == 0


def prints() -> bool:
    """Whether this process prints notices; it may not have joined the others yet."""
    return not launched() or os.environ.get("RANK") == "0"


def sent_bytes() -> int:
    """How many bytes this process has handed to others so far."""
    return _group.sent


def restarted() -> bool:
    """Whether torchrun has started the processes again after one had failed."""
    return launched() and int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def device_name(name: str) -> str:
    """The device of this process for the setting ``name``: each process of a host has a GPU of its own."""
    if not launched() or name not in ("auto", "cuda") or not torch.cuda.is_available():
        return name
    return f"cuda:{os.environ['LOCAL_RANK']}"


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Work with the other processes that torchrun has started; does nothing in a process of its own.

    ``device``: name of the device to compute on. Raises TrainingError where another process ends or cannot be reached.
    """
    if not launched():
        yield
        return
    import torch.distributed as dist
    from torch.distributed import distributed_c10d
    from torch.distributed.rendezvous import rendezvous

    gpu = device_name(device).startswith("cuda:")
    if gpu:
        torch.cuda.set_device(device_name(device))
    try:
        store, number, count = next(iter(rendezvous("env://", timeout=PATIENCE)))
        prefix = _agreed_prefix(store, number, count)
        join(distributed_c10d.PrefixStore(prefix, store), number, count, "cpu:gloo,cuda:nccl" if gpu else "gloo")
        yield
    except (RuntimeError, dist.DistError) as error:
        if not _is_lost(error):
            raise
        raise TrainingError(OTHERS_LOST) from error
    leave()


def _agreed_prefix(store: Any, number: int, count: int) -> str:
    """A name that the processes of this attempt agree on: the store may hold what those of an earlier one have left.

    Each process calls with a name that nobody has used, and the first one answers with the common name until all have
    it.
    """
    if number:
        call = uuid.uuid4().hex
        store.set(f"call/{number}", call)
        store.wait([f"answer/{call}"], PATIENCE)
        prefix = str(store.get(f"answer/{call}").decode())
        store.set(f"{prefix}/has/{number}", "")
        return prefix
    prefix, missing, deadline = uuid.uuid4().hex, set(range(1, count)), time.monotonic() + PATIENCE.total_seconds()
    while missing and time.monotonic() < deadline:
        for other in missing:
            if store.check([f"call/{other}"]):
                store.set(f"answer/{store.get(f'call/{other}').decode()}", prefix)
        missing = {other for other in missing if not store.check([f"{prefix}/has/{other}"])}
        time.sleep(0.01)
    return prefix


def join(store: Any, number: int, count: int, backend: str = "gloo") -> None:
    """Become process ``number`` of ``count``, which meet at ``store``, a ``torch.distributed.Store``."""
    import torch.distributed as dist

    dist.init_process_group(backend, store=store, rank=number, world_size=count, timeout=TIMEOUT)
    _group.rank, _group.size, _group.store, _group.gpu = number, count, store, "nccl" in backend
    _group.brief, _group.patient = (dist.new_group(backend="gloo", timeout=limit) for limit in (TIMEOUT, PATIENCE))


def leave() -> None:
    """Work alone again. Does not wait for the others."""
    import torch.distributed as dist

    dist.destroy_process_group()
    global _group
    _group = _Group()


def _is_lost(error: BaseException) -> bool:
    """Whether an exception of torch says that another process is gone or too late."""
    import torch.distributed as dist

    words = ("gloo", "connection", "socket", "nccl", "timed out", "timeout", "peer", "broken pipe")
    return isinstance(error, dist.DistError) or any(word in str(error).lower() for word in words)


def speaks() -> bool:
    """Whether this process prints the error that it ends with: of several that fail, the first one does.

    A process of several is no longer stopped by SIGTERM then.
    """
    if not launched():
        return True
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun stops what is left, and this process is ending
    if _group.store is None:  # not joined yet, so all processes fail alike
        return int(os.environ["RANK"]) == 0
    _group.store.set_timeout(timedelta(seconds=5))
    try:
        return bool(_group.store.compare_set("error", "", str(_group.rank)).decode() == str(_group.rank))
    except RuntimeError:  # the host that keeps the store is gone
        return True


def require_one_process(what: str) -> None:
    """Raise ConfigError where torchrun has started several processes of what runs in one."""
    if launched():
        raise ConfigError(f"torchrun is for 'crossrec train', which trains one model: start {what} without it")


def from_main(value: Callable[[], Any], *, patient: bool = False) -> Any:
    """What ``value`` returns in the first process, in every process; plain JSON.

    ``patient``: wait for ``PATIENCE`` instead of ``TIMEOUT``, where the first process may have more to do.
    """
    if size() == 1:
        return value()
    import torch.distributed as dist

    text = json.dumps(value()).encode() if is_main() else b""
    length, group = torch.tensor([len(text)]), _group.patient if patient else _group.brief
    dist.broadcast(length, 0, group=group)
    content = torch.zeros(int(length), dtype=torch.uint8)
    if is_main():
        content.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
    dist.broadcast(content, 0, group=group)
    return json.loads(content.numpy().tobytes())


def parts(count: int, unit: int = 1) -> list[slice]:
    """``count`` rows or columns in equal contiguous parts, one a process, cut at multiples of ``unit``."""
    units = -(-count // unit)
    cuts = [min(count, units * number // size() * unit) for number in range(size() + 1)]
    return [slice(start, stop) for start, stop in pairwise(cuts)]


def own_part(count: int, unit: int = 1) -> slice:
    """The part of ``parts`` that is this process's."""
    return parts(count, unit)[rank()]


def column_parts(columns: int) -> list[slice]:
    """The columns of each process in a table that is divided by columns."""
    return parts(columns, 1 if _group.gpu else VECTOR)


def divides_columns(columns: int) -> bool:
    """Whether tables of so many columns are divided: every process has some, in whole ``VECTOR``s on a CPU."""
    unit = 1 if _group.gpu else VECTOR
    return size() > 1 and columns % unit == 0 and columns >= unit * size()


def exchange(tensors: Sequence[Tensor]) -> None:
    """Hand this process's tensor, ``tensors[rank()]``, to all others and receive theirs; contiguous, of one type."""
    import torch.distributed as dist

    own = tensors[rank()]
    _group.sent += own.numel() * own.itemsize * (size() - 1)
    if len({tensor.shape for tensor in tensors}) == 1:
        if own.numel():
            dist.all_gather(list(tensors), own)
        return
    for work in [dist.broadcast(t, number, async_op=True) for number, t in enumerate(tensors) if t.numel()]:
        work.wait()


def fill_rows(matrix: Tensor, rows: Sequence[slice] | None = None) -> None:
    """Fill a contiguous matrix of which this process has computed ``rows[rank()]``, by default its own part."""
    if size() > 1:
        exchange([matrix[part] for part in rows or parts(len(matrix))])


def add_from(partner: int, tensor: Tensor) -> None:
    """Add to a tensor that of another process, which does the same: both have the same sum, bit for bit."""
    import torch.distributed as dist

    tensor_sent, other = tensor.contiguous(), torch.empty_like(tensor, memory_format=torch.contiguous_format)
    _group.sent += tensor.numel() * tensor.itemsize
    pair = [dist.P2POp(dist.isend, tensor_sent, partner), dist.P2POp(dist.irecv, other, partner)]
    for work in dist.batch_isend_irecv(pair):
        work.wait()
    tensor += other


def hand_out(tensor: Tensor) -> None:
    """Give the first process's tensor to all."""
    import torch.distributed as dist

    if is_main():
        _group.sent += tensor.numel() * tensor.itemsize * (size() - 1)
    dist.broadcast(tensor, 0)


def send(process: int, tensor: Tensor) -> None:
    """Send a contiguous tensor to a process, which calls ``receive``."""
    import torch.distributed as dist

    if tensor.numel():
        _group.sent += tensor.numel() * tensor.itemsize
        dist.send(tensor, process)


def receive(process: int, tensor: Tensor) -> Tensor:
    """Fill a contiguous tensor with what a process sends; the same tensor."""
    import torch.distributed as dist

    if tensor.numel():
        dist.recv(tensor, process)
    return tensor
