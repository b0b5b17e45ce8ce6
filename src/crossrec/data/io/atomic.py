"""Write files and folders atomically: each is complete or not there, also after a kill or on a full disk."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from crossrec.errors import RunError


def write_text_atomic(path: Path | str, text: str) -> None:
    """Write UTF-8 text so that ``path`` holds the old or the new text at any instant, never a part.

    Folders are made as needed. Raises RunError where the file cannot be written.
    """
    write_bytes_atomic(path, text.encode())


def write_json_atomic(path: Path | str, obj: Any) -> None:
    """Write ``obj`` as indented JSON, atomically; floats read back bit-equal.

    Raises RunError where the file cannot be written, or ``obj`` holds what JSON has no word for (NaN, inf, arrays).
    """
    write_text_atomic(path, json_text(Path(path), obj))


def read_json(path: Path | str) -> Any:
    """The content of a JSON file. Raises RunError naming the file where it is missing or damaged."""
    path = Path(path)
    try:
        return json.loads(read_bytes(path))
    except ValueError as error:
        raise RunError(
            f"{path}: damaged, not valid JSON ({error}); restore it or run again into a new folder"
        ) from None


def json_text(path: Path, obj: Any) -> str:
    """``obj`` as indented JSON. Raises RunError naming ``path`` where JSON cannot express it."""
    try:
        return json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise RunError(f"{path}: cannot be written as JSON: {error}") from None


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises RunError naming it where it is missing or cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise RunError(f"{path}: missing; is this the folder of a run that has got this far?") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from None


def write_bytes_atomic(path: Path | str, content: bytes) -> None:
    """Write a file by way of a temporary one in the same folder, flushed to disk and renamed over ``path``.

    Folders are made as needed. Raises RunError where the file cannot be written.
    """
    write_chunks_atomic(path, [content])


def write_chunks_atomic(path: Path | str, chunks: Iterable[bytes | memoryview]) -> None:
    """``write_bytes_atomic`` of a content that comes in chunks, which are written one after the other."""
    path = Path(path)
    try:
        with draft_file(path) as draft, draft.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from None


@contextmanager
def draft_file(path: Path) -> Iterator[Path]:
    """Yield a hidden path beside ``path``; rename its file to ``path`` if the block succeeds, delete it otherwise.

    Missing parent folders are created. Raises OSError if the file system refuses a step.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def move_into_place(draft: Path, path: Path) -> None:
    """Rename a file that is whole and flushed over ``path``, durably. Raises RunError where that cannot be done."""
    try:
        os.replace(draft, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from None


@contextmanager
def new_folder(out: Path | str) -> Iterator[Path]:
    """Yield a hidden folder beside ``out``; rename it to ``out`` if the block succeeds, delete it otherwise.

    An existing ``out`` is replaced by two renames and survives any failure. Missing parent folders are created, and
    removed after a failure if they are empty. Raises RunError if the file system refuses a step.
    """
    out = Path(out).absolute()
    tag = uuid.uuid4().hex[:12]
    draft, previous = out.with_name(f".{out.name}.{tag}.tmp"), out.with_name(f".{out.name}.{tag}.old")
    missing_parents = [folder for folder in out.parents if not folder.exists()]  # the innermost first
    done = False
    try:
        draft.mkdir(parents=True)
        yield draft
        for path in draft.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if out.exists():
            out.rename(previous)
        draft.rename(out)
        done = True
    except OSError as error:
        raise RunError(
            f"{out}: cannot be written ({error.strerror or error}); is there space and permission?"
        ) from None
    finally:
        if done:
            shutil.rmtree(previous, ignore_errors=True)
        elif previous.exists():
            previous.rename(out)
        shutil.rmtree(draft, ignore_errors=True)
        for folder in [] if done else missing_parents:
            with suppress(OSError):
                folder.rmdir()


def cannot_write(path: Path, error: OSError) -> RunError:
    """What to tell a user when the system refuses to write ``path``."""
    return RunError(f"{path}: cannot be written: {error.strerror or error}; is there space and permission?")


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets folders be flushed."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
