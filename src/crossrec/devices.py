"""Device setting: the names that are accepted and the torch device that each stands for."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from crossrec import parallel
from crossrec.errors import ConfigError
from crossrec.lazy import torch


def _valid_name(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", name):
        raise ValueError("no such device; give cpu, cuda, cuda:1 (the second one) or auto")
    return name


Device = Annotated[str, AfterValidator(_valid_name)]
"""Name of a device: cpu, cuda, cuda:1 (the second one), or auto, which is cuda if there is one."""


def torch_device(name: str) -> torch.device:
    """The torch device of that name on this machine; of several processes each has its own GPU.

    Raises ConfigError where the machine has no such device.
    """
    name = parallel.device_name(name)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    device = torch.device(("cuda" if count else "cpu") if name == "auto" else name)
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ConfigError(f"--device {name}: torch finds {count} CUDA devices here; use cpu or auto")
    return device
