"""The command line: its commands, and one line per user mistake. It imports nothing heavy, so ``--help`` is fast."""

from __future__ import annotations

import contextlib
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from crossrec._version import __version__
from crossrec.errors import CrossrecError
from crossrec.experiments.registry import QUESTIONS

USER_ERROR = 2
INTERRUPTED = 130

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


# Commands are imported when they are used: torch takes a second to import.
app.command(
    "crossrec.commands.train:train",
    name="train",
    help="Train a recommender, alone or with FETTLE or CROSS on top, and test it.",
    help_flags=[],
)
for _name, _question in QUESTIONS.items():
    app.command(_question_command(_name), name=_name, help=_question.help, help_flags=[])
app.command(
    "crossrec.commands.report:report",
    name="report",
    help="Write the results in a folder as one HTML page.",
)
app.command(
    "crossrec.commands.tune:tune",
    name="tune",
    help="Search settings on validation, alone or with other workers (Section 7.1).",
    help_flags=[],
)
app.command(
    "crossrec.commands.recommend:recommend",
    name="recommend",
    help="Recommend items to users of a trained run, or to a new user with a history.",
)
app.command(
    "crossrec.commands.similar:similar",
    name="similar",
    help="Find the items most similar to others, by behaviour or by a modality.",
)
app.command(
    "crossrec.commands.export:export",
    name="export",
    help="Export the vectors of a trained run as .npy and Parquet files, with an optional index.",
)
app.command(
    "crossrec.commands.extend:extend",
    name="extend",
    help="Add new items to a trained run, by their texts and pictures alone.",
)
app.command(
    "crossrec.commands.serve:serve",
    name="serve",
    help="Serve trained runs over HTTP, with a page to explore them.",
)
data.command(
    "crossrec.commands.data_import:import_data",
    name="import",
    help="Make a data folder of tables, RecBole, MMRec, TikTok or Amazon files.",
)
data.command(
    "crossrec.commands.data_describe:describe", name="describe", help="The columns of the paper's Table 1, and more."
)
data.command(
    "crossrec.commands.data_features:features",
    name="features",
    help="Features of items from their texts and pictures, by models you choose.",
)
data.command(
    "crossrec.commands.data_validate:validate", name="validate", help="List everything that is wrong, a line each."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 success, 2 a user's mistake (one line on stderr), 130 interrupted."""
    warnings.showwarning = _one_line_warning
    with contextlib.suppress(ValueError):  # SIGTERM stops like Ctrl-C, with child processes; only the main thread may
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = app(
            list(sys.argv[1:] if arguments is None else arguments),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        return _print_error(_usage_error(error))
    except CrossrecError as error:
        return _print_error(str(error))
    except KeyboardInterrupt:
        print("crossrec: stopped; the same command goes on (train: with --resume)", file=sys.stderr)
        return INTERRUPTED
    return result if isinstance(result, int) else 0


def _print_error(message: str) -> int:
    print("crossrec: error: " + " ".join(message.split()), file=sys.stderr)
    return USER_ERROR


def _usage_error(error: CycloptsError) -> str:
    """A usage error in one line, with the first message of pydantic for a value out of range."""
    cause = error.__cause__ or error.__context__
    if cause is not None and type(cause).__name__ == "ValidationError" and hasattr(cause, "errors"):
        first = cause.errors()[0]
        names = (part for part in first["loc"] if isinstance(part, str))  # numbers are positions in a list of values
        flag = "--" + ".".join(names).replace("_", "-")
        reason = first["msg"].removeprefix("Value error, ")
        return f"{flag} {first.get('input')!r}: {reason}; see --help for what it takes"
    error.verbose = False
    return f"{str(error).removesuffix('.')}; see --help"


def _one_line_warning(message: Warning | str, *_: object, **__: object) -> None:
    print("crossrec: warning: " + " ".join(str(message).split()), file=sys.stderr)
