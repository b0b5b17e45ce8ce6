"""``crossrec serve``."""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from crossrec.commands.console import stderr
from crossrec.errors import ConfigError
from crossrec.serving.config import MIN_TOKEN, ServeConfig

TOKEN = "CROSSREC_TOKEN"
"""The environment variable that holds the token."""
DEFAULT = ServeConfig()


def serve(
    run: Path,
    other: Path | None = None,
    /,
    *,
    items: Path | None = None,
    pictures: Path | None = None,
    settings: Annotated[ServeConfig, Parameter(name="*")] = DEFAULT,
) -> int:
    """Serve a trained run over HTTP, with a page to explore it; two runs side by side.

    Where another run comes to lie in the place of a served one, in its folder or behind a link, it is served as soon as
    it is read. SIGTERM and Ctrl-C end the service when all requests that have begun are answered.

    Parameters
    ----------
    run
        Folder of a run that is done, or a link to one.
    other
        A second run, to compare with.
    items
        Table of items with their titles, categories and names of pictures.
    pictures
        Folder of pictures, by the name in the table or by item id.
    """
    missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"serving needs {' and '.join(missing)}: pip install 'crossrec[serve]'")
    if settings.token is None and os.environ.get(TOKEN):
        try:
            settings = ServeConfig.parse({**settings.model_dump(), "token": os.environ[TOKEN]})
        except ConfigError:
            raise ConfigError(f"${TOKEN}: give at least {MIN_TOKEN} printable ASCII characters") from None
    settings.check()
    from crossrec.serving.hot_swap import Slot
    from crossrec.serving.server import serve as run_service

    logging.basicConfig(level=logging.WARNING, format="crossrec: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # requests that make no sense are no news
    slots = [Slot(one, items, pictures) for one in (run, other) if one is not None]
    names = " and ".join(slot.current.card["label"] for slot in slots)

    def started(address: str) -> None:
        stderr.print(f"crossrec serves {names} on {address} until Ctrl-C", highlight=False, soft_wrap=True)

    run_service(slots, settings, started)
    return 0
