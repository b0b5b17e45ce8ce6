"""The command line: which commands there are, and how mistakes are told. Thin, so that ``--help`` answers at once."""

from __future__ import annotations

import contextlib
import signal
import sys
import warnings
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from crossrec._version import __version__
from crossrec.errors import CrossrecError

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

# Commands are named by import path and loaded when used: torch takes a second to import.
app.command(
    "crossrec.commands.train:train",
    name="train",
    help="Train a recommender, alone or with FETTLE or CROSS on top, and test it.",
    help_flags=[],
)
app.command(
    "crossrec.commands.experiments:compare",
    name="compare",
    help="Backbones x alignments x seeds x data sets (RQ1).",
    help_flags=[],
)
app.command(
    "crossrec.commands.experiments:ablate",
    name="ablate",
    help="Each component of CROSS, alone and with the others (RQ2).",
    help_flags=[],
)
app.command(
    "crossrec.commands.experiments:directions",
    name="directions",
    help="Which way to align modalities: both, one, dynamic or topmost (RQ3).",
    help_flags=[],
)
app.command(
    "crossrec.commands.experiments:robustness",
    name="robustness",
    help="Missing content and false clicks (RQ4).",
    help_flags=[],
)
app.command(
    "crossrec.commands.experiments:visualize",
    name="visualize",
    help="Vectors of modalities and users, before and after alignment (RQ5).",
    help_flags=[],
)
app.command(
    "crossrec.commands.experiments:popularity",
    name="popularity",
    help="Who gains, popular items or rare ones (RQ6).",
    help_flags=[],
)
app.command(
    "crossrec.commands.experiments:sensitivity",
    name="sensitivity",
    help="The settings of CROSS, one at a time (RQ7).",
    help_flags=[],
)
app.command(
    "crossrec.commands.experiments:strengths",
    name="strengths",
    help="How strong each modality is, and which way items align, by epoch (Fig. 2).",
    help_flags=[],
)
app.command(
    "crossrec.commands.experiments:coldstart",
    name="coldstart",
    help="Items that nobody has touched: vectors made of their content.",
    help_flags=[],
)
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
    help="The best items for users of a trained run, or for somebody with a history.",
)
app.command(
    "crossrec.commands.similar:similar",
    name="similar",
    help="The items most similar to others, by behaviour or by a modality.",
)
app.command(
    "crossrec.commands.export:export",
    name="export",
    help="The vectors of a trained run as .npy and Parquet files, with an index.",
)
app.command(
    "crossrec.commands.extend:extend",
    name="extend",
    help="A trained run with new items, by their texts and pictures alone.",
)
app.command(
    "crossrec.commands.serve:serve",
    name="serve",
    help="Trained runs over HTTP, with a page to explore them.",
)
data.command(
    "crossrec.commands.data_import:import_data",
    name="import",
    help="Make a data folder of tables, RecBole, MMRec, TikTok or Amazon files.",
)
data.command("crossrec.commands.data:describe", name="describe", help="The columns of the paper's Table 1, and more.")
data.command(
    "crossrec.commands.data_features:features",
    name="features",
    help="Features of items from their texts and pictures, by models you choose.",
)
data.command("crossrec.commands.data:validate", name="validate", help="List everything that is wrong, a line each.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 success, 2 a user's mistake (one line on stderr), 130 interrupted."""
    warnings.showwarning = _one_line_warning
    with contextlib.suppress(ValueError):  # only the main thread may: a polite kill stops like Ctrl-C, children and all
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = app(
            list(sys.argv[1:] if arguments is None else arguments),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        return _mistake(_plain(error))
    except CrossrecError as error:
        return _mistake(str(error))
    except KeyboardInterrupt:
        print("crossrec: stopped; the same command goes on (train: with --resume)", file=sys.stderr)
        return INTERRUPTED
    return result if isinstance(result, int) else 0


def _mistake(message: str) -> int:
    print("crossrec: error: " + " ".join(message.split()), file=sys.stderr)
    return USER_ERROR


def _plain(error: CycloptsError) -> str:
    """A usage error in one line: what pydantic says of a value comes without its links and counts."""
    cause = error.__cause__ or error.__context__
    if cause is not None and type(cause).__name__ == "ValidationError" and hasattr(cause, "errors"):
        first = cause.errors()[0]
        named = (part for part in first["loc"] if isinstance(part, str))  # numbers are places in a list of values
        flag = "--" + ".".join(named).replace("_", "-")
        reason = first["msg"].removeprefix("Value error, ")
        return f"{flag} {first.get('input')!r}: {reason}; see --help for what it takes"
    error.verbose = False
    return f"{str(error).removesuffix('.')}; see --help"


def _one_line_warning(message: Warning | str, *_: object, **__: object) -> None:
    print("crossrec: warning: " + " ".join(str(message).split()), file=sys.stderr)
