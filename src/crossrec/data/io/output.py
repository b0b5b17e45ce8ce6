"""Files and folders that are whole or not there: tables written by parts, folders that appear when they are done."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from crossrec.errors import ConfigError, RunError

if TYPE_CHECKING:
    import polars as pl

ENDINGS = (".parquet", ".csv", ".jsonl")
"""Endings of files that tables are written to."""


def check_ending(path: Path) -> None:
    """Raise ConfigError unless lists can be written to a file of this name."""
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"--out {path}: give a file that ends in {', '.join(ENDINGS)}")
    if path.is_dir():
        raise ConfigError(f"--out {path} is a folder: give a file")


def write_frames(
    frames: Iterator[pl.DataFrame],
    path: Path,
    schema: pl.DataFrame,
    on_frame: Callable[[pl.DataFrame], None] = lambda _: None,
) -> None:
    """Write frames one after the other as Parquet, CSV or JSON Lines, by the ending of ``path``.

    No more than a few frames are in memory. The file appears under its name when it is whole; a file that was there
    stays until then. ``schema``: a frame without rows. Raises ConfigError for another ending, RunError where the file
    cannot be written.
    """
    from polars.exceptions import PolarsError
    from polars.io.plugins import register_io_source

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

    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lazy = register_io_source(source, schema=schema.schema)
        if path.suffix.lower() == ".parquet":
            lazy.sink_parquet(draft)
        elif path.suffix.lower() == ".csv":
            lazy.sink_csv(draft)
        else:
            lazy.sink_ndjson(draft)
        os.replace(draft, path)
    except (OSError, PolarsError) as error:
        if raised:  # polars before 2.0 hides what the frames stopped for, Ctrl-C too, in an error of its own
            raise raised[0] from None
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise RunError(f"{path}: cannot be written ({reason}); is there space and permission?") from None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A hidden folder beside ``out`` to write into. It becomes ``out`` when the block ends well, and vanishes else.

    What was at ``out`` is replaced then, in two renames, and stays as it was if anything goes wrong. Folders above
    ``out`` are made, and vanish too if they are still empty. Raises RunError where the disk does not do its part.
    """
    out = out.absolute()
    tag = uuid.uuid4().hex[:12]
    draft, former = out.with_name(f".{out.name}.{tag}.tmp"), out.with_name(f".{out.name}.{tag}.old")
    made = [folder for folder in out.parents if not folder.exists()]  # the innermost first
    done = False
    try:
        draft.mkdir(parents=True)
        yield draft
        for file in draft.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        if out.exists():
            out.rename(former)
        draft.rename(out)
        done = True
    except OSError as error:
        raise RunError(
            f"{out}: cannot be written ({error.strerror or error}); is there space and permission?"
        ) from None
    finally:
        if done:
            shutil.rmtree(former, ignore_errors=True)
        elif former.exists():
            former.rename(out)
        shutil.rmtree(draft, ignore_errors=True)
        for folder in [] if done else made:
            with suppress(OSError):
                folder.rmdir()
