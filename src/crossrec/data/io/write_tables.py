"""Write tables frame by frame, atomically, as Parquet, CSV or JSON Lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from crossrec.data.io.atomic import draft_file
from crossrec.errors import ConfigError, RunError
from crossrec.lazy import polars as pl

ENDINGS = (".parquet", ".csv", ".jsonl")
"""File extensions that :func:`write_frames` supports."""


def check_ending(path: Path | str) -> None:
    """Raise ConfigError unless ``path`` has an extension that :func:`write_frames` supports."""
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"--out {path}: give a file that ends in {', '.join(ENDINGS)}")
    if path.is_dir():
        raise ConfigError(f"--out {path} is a folder: give a file")


def write_frames(
    frames: Iterator[pl.DataFrame],
    path: Path | str,
    schema: pl.DataFrame,
    on_frame: Callable[[pl.DataFrame], None] = lambda _: None,
) -> None:
    """Write frames one after another to one Parquet, CSV or JSON Lines file, by the extension of ``path``.

    Only a few frames are in memory at a time. The file replaces an existing one when it is complete. ``schema``: a
    frame without rows. Raises ConfigError for another extension, RunError if the file cannot be written.
    """
    from polars.exceptions import PolarsError
    from polars.io.plugins import register_io_source

    path = Path(path)
    check_ending(path)
    raised: list[BaseException] = []

    def source(*_: object) -> Iterator[pl.DataFrame]:
        yield schema
        try:
            for frame in frames:
                on_frame(frame)
                yield frame
        except (GeneratorExit, OSError, PolarsError):
            raise
        except BaseException as error:
            raised.append(error)
            raise

    lazy = register_io_source(source, schema=schema.schema)
    sinks: dict[str, Callable[..., object]] = {
        ".parquet": lazy.sink_parquet,
        ".csv": lazy.sink_csv,
        ".jsonl": lazy.sink_ndjson,
    }
    try:
        with draft_file(path) as draft:
            sinks[path.suffix.lower()](draft)
    except (OSError, PolarsError) as error:
        if raised:  # polars before 2.0 wraps an exception of the frames, even KeyboardInterrupt, in its own
            raise raised[0] from None
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise RunError(f"{path}: cannot be written ({reason}); is there space and permission?") from None
