"""Command-line flags from the fields of configurations. --backbone and --alignment decide which fields there are."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import torch
from cyclopts import App, Parameter

from crossrec.alignment import ALIGNMENTS, AlignmentConfig
from crossrec.backbones import BACKBONES, BackboneConfig
from crossrec.errors import ConfigError

MULTIPLE = Parameter(consume_multiple=True)

# From the registries: a new backbone or alignment becomes a choice of its flag.
BackboneName: Any = Literal[tuple(BACKBONES)]
AlignmentName: Any = Literal[tuple(ALIGNMENTS)]


def config_types(tokens: Sequence[str]) -> tuple[type[BackboneConfig], type[AlignmentConfig] | None]:
    """Return the configuration types that ``--backbone`` and ``--alignment`` select in a command line."""
    app = App(help_flags=[], version_flags=[], default_parameter=MULTIPLE)

    @app.default
    def names(*, backbone: BackboneName = "lightgcn", alignment: AlignmentName = "cross") -> None: ...

    _, bound, _, _ = app.parse_known_args(list(tokens))
    backbone = BACKBONES[bound.arguments.get("backbone", "lightgcn")].config_type
    return backbone, ALIGNMENTS[bound.arguments.get("alignment", "cross")]


def parse(command: Callable[..., Any], tokens: Sequence[str], *, name: str, types: dict[str, Any]) -> int:
    """Parse ``tokens`` into the parameters of ``command`` and call it; returns its exit code, 0 after --help.

    ``types`` overrides its annotations. A parameter with the type ``flat(config_type)`` becomes one flag per field.
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
    exit_code = app(list(tokens), exit_on_error=False, print_error=False, result_action="return_value")
    return exit_code or 0


def flat(config_type: type[Any]) -> Any:
    """Annotation of a parameter whose fields become flags."""
    return Annotated[config_type, Parameter(name="*")]


def use_threads(threads: int) -> None:
    """Set the number of torch threads; 0 keeps torch's default. Raises ConfigError below 0."""
    if threads < 0:
        raise ConfigError(f"--threads {threads}: give 0 (all cores) or more")
    if threads:
        torch.set_num_threads(threads)


def keep_freed_memory() -> None:
    """Let glibc keep freed memory instead of returning it to the kernel.

    Training steps allocate and free megabytes of temporaries. By default glibc returns each to the kernel and maps new
    zeroed pages for the next; docs/performance.md measures the cost. Without glibc the function does nothing. Call it
    only in a command's own process: a library leaves its caller's memory settings alone.
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
