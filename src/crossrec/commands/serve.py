"""``crossrec serve``."""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from crossrec.commands.whole_number import WholeNumber
from crossrec.console import stderr
from crossrec.errors import ConfigError
from crossrec.serving.config import MIN_TOKEN, ServeConfig

TOKEN_VARIABLE = "CROSSREC_TOKEN"
"""Environment variable of the token."""
DEFAULT = ServeConfig()


def serve(
    run: Path,
    other: Path | None = None,
    /,
    *,
    items: Path | None = None,
    pictures: Path | None = None,
    where: str | None = None,
    popular_days: WholeNumber | None = None,
    popular_log: Path | None = None,
    settings: Annotated[ServeConfig, Parameter(name="*")] = DEFAULT,
) -> int:
    """Serve a trained run over HTTP, with a page to explore it; or two runs side by side.

    If another run replaces a served one, in its folder or behind a link, the service loads and serves it. SIGTERM and
    Ctrl-C stop the service after the requests in progress are answered.

    Parameters
    ----------
    run
        Folder of a finished run, or a link to one.
    other
        A second run to compare with.
    items
        Table of items with titles, categories and file names of pictures.
    pictures
        Folder of pictures, named as in the table or by item id.
    where
        Condition on the table's columns that all listed items meet, such as 'stock > 0'; a new table counts at once.
    popular_days
        Days that count for what is popular, back from the latest row of the log; by default all the run's interactions.
    popular_log
        Log to count in; by default the data set of the run. A new log counts at once.
    """
    missing = [name for name in ("fastapi", "uvicorn", "prometheus_client") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"serving needs {' and '.join(missing)}: pip install 'crossrec[serve]'")
    if settings.token is None and os.environ.get(TOKEN_VARIABLE):
        try:
            settings = ServeConfig.parse({**settings.model_dump(), "token": os.environ[TOKEN_VARIABLE]})
        except ConfigError:
            raise ConfigError(f"${TOKEN_VARIABLE}: give at least {MIN_TOKEN} printable ASCII characters") from None
    settings.check()
    from crossrec.serving.hot_swap import ServedRun
    from crossrec.serving.server import serve as run_service

    logging.getLogger("crossrec.serving").setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # do not log invalid requests
    popular: dict[str, Any] = {"popular_days": popular_days, "popular_log": popular_log}
    folders = [folder for folder in (run, other) if folder is not None]
    runs = [ServedRun(folder, items, pictures, where=where, **popular) for folder in folders]
    labels = " and ".join(served.current.card["label"] for served in runs)

    def on_start(address: str) -> None:
        stderr.print(f"crossrec serves {labels} on {address} until Ctrl-C", soft_wrap=True)

    run_service(runs, settings, on_start)
    return 0
