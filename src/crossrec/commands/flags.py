"""Flags made from configurations: which fields there are depends on --backbone and --alignment, read first."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import torch
from cyclopts import App, Parameter

from crossrec.alignment import ALIGNMENTS, CrossConfig
from crossrec.backbones import BACKBONES, BackboneConfig
from crossrec.errors import ConfigError

FLAT = Parameter(name="*")
MULTIPLE = Parameter(consume_multiple=True)

# Made from the tables, so that a new backbone is a choice of the flag without being written here.
BackboneName: Any = Literal[tuple(BACKBONES)]
AlignmentName: Any = Literal[tuple(ALIGNMENTS)]


def chosen(tokens: Sequence[str]) -> tuple[type[BackboneConfig], type[CrossConfig] | None]:
    """The configuration types that ``--backbone`` and ``--alignment`` in a command line stand for."""
    app = App(help_flags=[], version_flags=[], default_parameter=MULTIPLE)

    @app.default
    def names(*, backbone: BackboneName = "lightgcn", alignment: AlignmentName = "cross") -> None: ...

    _, bound, _, _ = app.parse_known_args(list(tokens))
    picked = bound.arguments
    backbone = BACKBONES[picked.get("backbone", "lightgcn")].config_type
    return backbone, ALIGNMENTS[picked.get("alignment", "cross")]


def parse(command: Callable[..., Any], tokens: Sequence[str], *, name: str, types: dict[str, Any]) -> Any:
    """Parse ``tokens`` into the parameters of ``command``, with ``types`` for its annotations, and call it.

    Parameters whose type is a configuration are taken apart into one flag per field.
    """
    command.__annotations__.update(types)
    app = App(
        name=name,
        help_format="plaintext",
        version_flags=[],
        default_parameter=MULTIPLE,
        suppress_keyboard_interrupt=False,
    )
    app.default(command)
    return app(list(tokens), exit_on_error=False, print_error=False, result_action="return_value")


def flat(config_type: type[Any]) -> Any:
    """The annotation of a parameter whose fields become flags."""
    return Annotated[config_type, FLAT]


def use_threads(threads: int) -> None:
    """Limit torch to so many threads; 0 leaves its own choice. Raises ConfigError below 0."""
    if threads < 0:
        raise ConfigError(f"--threads {threads}: give 0 (all cores) or more")
    if threads:
        torch.set_num_threads(threads)


def keep_pages() -> None:
    """Let this process keep the memory that it frees, so that a training step meets no fresh page of the kernel's.

    Steps make and drop temporaries of megabytes, and glibc would hand each back to the kernel and map it anew, zeroed:
    docs/performance.md has what that costs. Elsewhere than on glibc it does nothing. It is for a command's own
    process; a library leaves the memory of its caller alone.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return
    mallopt(ctypes.c_int(M_MMAP_MAX), ctypes.c_int(0))
    mallopt(ctypes.c_int(M_TRIM_THRESHOLD), ctypes.c_int(2**31 - 1))


M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Options of mallopt(3)."""
