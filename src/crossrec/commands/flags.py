"""Command-line flags from the fields of configurations. --backbone and --alignment decide which fields there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import torch
from cyclopts import App, Parameter, Token, UnknownOptionError

from crossrec.alignment import ALIGNMENTS, AlignmentConfig
from crossrec.backbones import BACKBONES, BackboneConfig
from crossrec.config import Config
from crossrec.errors import ConfigError
from crossrec.parts import Registry, nearest_spelling

MULTIPLE = Parameter(consume_multiple=True)
MAX_THREADS, MAX_JOBS = 256, 1024

AUTO = "auto"
"""The alignment that a race on validation chooses."""


def part_names() -> dict[str, Any]:
    """Annotations of --backbone and --alignment, which decide what other flags there are."""
    race = f"{AUTO}: a race on validation chooses, within 2.5 times the backbone's training time"
    return {
        "backbone": _name_type(BACKBONES, "backbone", "Recommender to train"),
        "alignment": _name_type(ALIGNMENTS, "alignment", "Alignment on top of it", f" {race}.", AUTO),
    }


def _name_type(names: Registry[Any], flag: str, help: str, more: str = "", *others: str) -> Any:
    """Annotation of a flag that names a part: the help lists all names, and any way of writing one is taken.

    ``more`` is added to the help; ``others`` are names that are no part.
    """

    def own_name(_: Any, tokens: Sequence[Token]) -> str:
        name = nearest_spelling(tokens[0].value, others)
        return name if name in others else names.check(name, f"--{flag}", others)

    listed = ", ".join([*names, *others])
    return Annotated[str, Parameter(converter=own_name, help=f"{help}: {listed}, or module:Class.{more}")]


def config_types(tokens: Sequence[str]) -> tuple[type[BackboneConfig], type[AlignmentConfig] | None]:
    """Return the configuration types that ``--backbone`` and ``--alignment`` select in a command line."""
    app = App(help_flags=[], version_flags=[], default_parameter=MULTIPLE)

    def names(*, backbone: str = "lightgcn", alignment: str = "cross") -> None: ...

    names.__annotations__.update(part_names())
    app.default(names)

    _, bound, _, _ = app.parse_known_args(list(tokens))
    backbone = BACKBONES[bound.arguments.get("backbone", "lightgcn")].config_type
    return backbone, ALIGNMENTS.get(bound.arguments.get("alignment", "cross"))


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
    try:
        exit_code = app(list(tokens), exit_on_error=False, print_error=False, result_action="return_value")
    except UnknownOptionError as error:
        if owners := settings_of(str(error.token.keyword)):
            raise ConfigError(_misplaced(str(error.token.keyword), owners, name)) from None
        raise
    return exit_code or 0


def settings_of(flag: str) -> dict[str, tuple[str, str]]:
    """The backbones and alignments with the setting of a flag: by name, the setting and its part in a settings file."""
    setting = flag.lstrip("-").partition("=")[0].partition(".")[0].replace("-", "_")
    owners = {name: (setting, "backbone") for name, kind in BACKBONES.loaded.items() if _has(kind.config_type, setting)}
    return owners | {name: (setting, name) for name, kind in ALIGNMENTS.loaded.items() if _has(kind, setting)}


def _has(config_type: type[Config] | None, setting: str) -> bool:
    fields = {} if config_type is None else config_type.model_fields
    return setting in fields or setting.removeprefix("no_") in fields


def _misplaced(flag: str, owners: Mapping[str, tuple[str, str]], command: str) -> str:
    """Say where the setting of a model goes that is no flag of this command."""
    names, (setting, part) = ", ".join(owners), next(iter(owners.values()))
    if command == "crossrec train":
        return f"{flag} is a setting of {names}, which this run does not use; leave it out"
    backbone = next(iter(owners)) if part == "backbone" else "lightgcn"
    return (
        f"{flag} is a setting of {names}; {command} takes such settings in a file: --settings FILE with "
        f'{{"{backbone}": {{"{part}": {{"{setting.removeprefix("no_")}": …}}}}}}'
    )


def flat(config_type: type[Any]) -> Any:
    """Annotation of a parameter whose fields become flags."""
    return Annotated[config_type, Parameter(name="*")]


def check_threads(threads: int) -> None:
    """Raise ConfigError for fewer threads than 0 or for more than any use has: OpenMP ends the process for too many."""
    cores = os.cpu_count() or 1
    if not 0 <= threads <= max(MAX_THREADS, cores):
        raise ConfigError(
            f"--threads {threads}: give 0 (all cores) to {max(MAX_THREADS, cores)}; this machine has {cores} cores"
        )


def check_jobs(jobs: int) -> None:
    """Raise ConfigError for fewer jobs than 1 or more than ``MAX_JOBS``."""
    if not 1 <= jobs <= MAX_JOBS:
        raise ConfigError(f"--jobs {jobs}: give 1 to {MAX_JOBS} processes; this machine has {os.cpu_count()} cores")


def use_threads(threads: int) -> None:
    """Set the number of torch threads; 0 keeps torch's default. Raises ConfigError as ``check_threads`` does."""
    check_threads(threads)
    if threads:
        torch.set_num_threads(threads)
