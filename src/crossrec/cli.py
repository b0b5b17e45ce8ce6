"""The command line: its commands, and one line per user mistake. It imports nothing heavy, so ``--help`` is fast."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import signal
import sys
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter, UnknownOptionError

from crossrec import parallel
from crossrec._version import __version__
from crossrec.commands.guard import run_guarded, start_libraries
from crossrec.errors import USER_ERROR, CrossrecError, settings_as_flags
from crossrec.experiments.registry import QUESTIONS
from crossrec.memory import available_memory, is_out_of_memory, out_of_memory, process_limits

INTERRUPTED = 130
SCARCE = 32 * 2**20
"""Bytes left below which any unexpected error is one of memory: libraries check few of their own allocations."""
TRACEBACK_VARIABLE = "CROSSREC_TRACEBACK"
"""Environment variable that lets unexpected exceptions through, with their traceback."""
MAX_REASON = 300

app = App(
    name="crossrec",
    help="Better recommendations by aligning what items look and read like with how people behave towards them.",
    version=__version__,
    default_parameter=Parameter(consume_multiple=True),
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
data = App(name="data", help="Make, look at and check a data set.", help_format="plaintext")
app.command(data)


def _question_command(name: str) -> Callable[..., int]:
    """The command of a research question. It parses its own flags, which depend on the question."""

    def command(*tokens: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
        from crossrec.commands.experiments import question_command

        return question_command(name, tokens)

    return command


OWN_PARSER = {"train", "tune"}
"""Commands that parse their own flags, --help among them, as the questions do."""
COMMANDS = {
    "train": ("train:train", "Train a recommender, alone or with FETTLE or CROSS on top, and test it."),
    "report": ("report:report", "Write the results in a folder as one HTML page."),
    "tune": ("tune:tune", "Search settings on validation, here or on a cluster (Section 7.1)."),
    "recommend": ("recommend:recommend", "Recommend items to users of a trained run, or to a new user with a history."),
    "similar": ("similar:similar", "Find the items most similar to others, by behaviour or by a modality."),
    "export": (
        "export:export",
        "Export the vectors of a trained run as .npy and Parquet files, with an optional index.",
    ),
    "extend": ("extend:extend", "Add new items to a trained run, by their texts and pictures alone."),
    "serve": ("serve:serve", "Serve trained runs over HTTP, with a page to explore them."),
}
"""Function in ``crossrec.commands`` and help by name; it is imported when it is used, as torch takes a second."""
DATA_COMMANDS = {
    "import": ("data_import:import_data", "Make a data folder of tables, RecBole, MMRec, TikTok or Amazon files."),
    "describe": ("data_describe:describe", "The columns of the paper's Table 1, and more."),
    "features": ("data_features:features", "Features of items from their texts and pictures, by models you choose."),
    "validate": ("data_validate:validate", "List everything that is wrong, a line each."),
}
for _name, _question in QUESTIONS.items():
    app.command(_question_command(_name), name=_name, help=_question.help, help_flags=[])
for _name, (_function, _help) in COMMANDS.items():
    _options: dict[str, Any] = {"help_flags": []} if _name in OWN_PARSER else {}
    app.command(f"crossrec.commands.{_function}", name=_name, help=_help, **_options)
for _name, (_function, _help) in DATA_COMMANDS.items():
    data.command(f"crossrec.commands.{_function}", name=_name, help=_help)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 success, 2 a user's mistake (one line on stderr), 130 interrupted.

    Without ``arguments``, those of the process are taken; under a limit of its memory the command then has a process of
    its own (``crossrec.commands.guard``).
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    if tokens and tokens[0].lower() in {*QUESTIONS, *COMMANDS, "data"}:
        tokens[0] = tokens[0].lower()
    warnings.showwarning = _show_warning
    root_logger = logging.getLogger()
    root_logger.handlers = [handler for handler in root_logger.handlers if not isinstance(handler, NoticeHandler)]
    root_logger.addHandler(NoticeHandler())  # of this command: it prints each warning once
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character shows its escape
    if arguments is None and sys.platform.startswith("linux") and process_limits():
        return _one_line_errors(lambda: run_guarded(lambda: _run(tokens, limited=True)), tokens)
    return _run(tokens)


def _run(tokens: list[str], *, limited: bool = False) -> int:
    """Run a command in this process. ``limited``: start the libraries first, while there is memory."""
    with contextlib.suppress(ValueError):  # SIGTERM stops like Ctrl-C, with child processes; only the main thread may
        signal.signal(signal.SIGTERM, signal.default_int_handler)

    def command() -> int:
        if limited and tokens and not tokens[0].startswith("-"):
            start_libraries()
        if tokens and tokens[0] != "train":
            parallel.require_one_process(f"'crossrec {tokens[0]}'")
        result = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        return result if isinstance(result, int) else 0

    return _one_line_errors(command, tokens)


def _one_line_errors(command: Callable[[], int], tokens: Sequence[str]) -> int:
    """Call ``command``; print the errors that a user causes, and a lack of memory, in one line."""
    try:
        with settings_as_flags():
            return command()
    except CycloptsError as error:
        message = _usage_error(error, tokens)
    except CrossrecError as error:
        message = str(error)
    except KeyboardInterrupt:
        if parallel.speaks():
            _notify(
                parallel.STOPPED if parallel.launched() else "stopped; the same command goes on (train: with --resume)"
            )
        return INTERRUPTED
    except SystemExit as error:  # no code of this package ends so
        message = f"{_origin(error) or 'a library'} ended the command with exit code {error.code or 0}; nothing is done"
    except BaseException as error:  # whatever a library raises, a panic of Rust among it
        if is_out_of_memory(error) or (isinstance(error, Exception) and _memory_is_scarce()):
            message = out_of_memory()
        elif os.environ.get(TRACEBACK_VARIABLE):
            raise
        else:
            message = _unexpected(error)
    with contextlib.suppress(OSError):  # stderr may be a file on a full disk
        if parallel.speaks():
            _notify(message, "error")
    return USER_ERROR


def _memory_is_scarce() -> bool:
    return bool(process_limits()) and available_memory().bytes < SCARCE


def _unexpected(error: BaseException) -> str:
    """One line about an exception of a library, which names the file that it is about."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}; check the path, its rights and the disk"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE):
        return f"the output cannot be written: {error.strerror}; send it elsewhere, or free some space there"
    reading = sys.modules.get("crossrec.data.io.open_text")
    paths = list(reading.last_read) if reading else []
    where = _origin(error) or (str(paths[-1]) if paths and _is_of_data(error) else "")
    what = f"{where}: cannot be used" if where else "failed"
    reason = f"{type(error).__name__}: {_one_line(error)[:MAX_REASON]}"
    return f"{what} ({reason}); {TRACEBACK_VARIABLE}=1 in the environment shows where in the code"


def _files(error: BaseException) -> list[tuple[Path, int]]:
    """The files and lines that an exception has come through, the innermost last."""
    return [(Path(frame.f_code.co_filename), line) for frame, line in traceback.walk_tb(error.__traceback__)]


def _origin(error: BaseException) -> str:
    """File and line in the user's own code that an exception has come through, such as a metric's; "" for none."""
    others = {Path(__file__).parent, *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))}
    for path, line in reversed(_files(error)):
        if path.is_file() and not others & {*path.parents} and not {"site-packages", "dist-packages"} & {*path.parts}:
            return f"{path}, line {line}"
    return ""


def _is_of_data(error: BaseException) -> bool:
    """Whether an exception has come from reading a data set, a table or features."""
    package = Path(__file__).parent
    rooms = {package / "data", package / "features", package / "recommend"}
    return any(rooms & {*path.parents} for path, _ in _files(error))


def _usage_error(error: CycloptsError, tokens: Sequence[str]) -> str:
    """A usage error in one line, with the first message of pydantic for a value out of range."""
    cause = error.__cause__ or error.__context__
    if cause is not None and type(cause).__name__ == "ValidationError" and hasattr(cause, "errors"):
        first = cause.errors()[0]
        names = (part for part in first["loc"] if isinstance(part, str))  # numbers are positions in a list of values
        flag = "--" + ".".join(names).replace("_", "-")
        reason = first["msg"].removeprefix("Value error, ")
        return f"{flag} {first.get('input')!r}: {reason}; see --help for what it takes"
    error.verbose = False
    return f"{_one_line(error).removesuffix('.')}{_hyphen_hint(error, tokens)}; see --help"


def _hyphen_hint(error: CycloptsError, tokens: Sequence[str]) -> str:
    """How to write a value that begins with a hyphen, if the unknown option stands where a flag may have a value."""
    token = error.token.keyword if isinstance(error, UnknownOptionError) else None
    if token is None or token not in tokens:
        return ""
    before = tokens[: tokens.index(token)]
    flags = [other for other in before if other.startswith("--") and "=" not in other]
    if not flags or (token.startswith("--") and before[-1] != flags[-1]):
        return ""
    return f"; if {token} is a value, write {flags[-1]}={token}"


def _notify(message: str, kind: str = "") -> None:
    from crossrec.console import notify  # rich takes its time

    notify(message, kind)


def _one_line(message: object) -> str:
    return " ".join(line.strip() for line in str(message).split("\n"))


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    if parallel.prints():
        _notify(_one_line(message), "warning")


class NoticeHandler(logging.Handler):
    """Prints what is logged as notices; a warning is printed once."""

    KINDS = {logging.INFO: "", logging.WARNING: "warning"}

    def __init__(self) -> None:
        super().__init__()
        self._warnings: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record, and the traceback of an unexpected error."""
        from crossrec.console import stderr

        if not parallel.prints():
            return
        if record.levelno == logging.WARNING:
            if record.getMessage() in self._warnings:
                return
            self._warnings.add(record.getMessage())
        _notify(record.getMessage(), self.KINDS.get(record.levelno, "error"))
        if record.exc_info:
            stderr.print(logging.Formatter().formatException(record.exc_info), soft_wrap=True)
