"""Write files and folders atomically: each is complete or not there, also after a kill or on a full disk.

A file or folder is written as a hidden, locked draft beside its name, flushed to disk, and renamed. The kernel frees
the lock of a process that was killed, and the next writer of the same name deletes its draft.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO

from crossrec.data.io.durable import make_folder, sync
from crossrec.data.io.lock import is_at, lock_descriptor
from crossrec.data.io.open_text import special_kind
from crossrec.data.io.system_errors import writing
from crossrec.errors import RunError

Waiting = list[tuple[Path, Path, ExitStack]]
"""Files that wait for others: the draft, the path that it will replace, and what deletes the draft and frees it."""
_waiting: ContextVar[Waiting | None] = ContextVar("waiting", default=None)
AT_FDCWD, RENAME_EXCHANGE = -100, 2
"""Constants of renameat2(2)."""


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
        return json.loads(read_bytes(path), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"{path}: damaged, not valid JSON ({error}); restore it or run again into a new folder"
        ) from None


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of ``pairs``, for json's ``object_pairs_hook``. Raises ValueError for a key that is there twice."""
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        raise ValueError(f"'{twice}' is there twice")
    return values


def json_text(path: Path, obj: Any) -> str:
    """``obj`` as indented JSON. Raises RunError naming ``path`` where JSON cannot express it."""
    try:
        return json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise RunError(f"{path}: cannot be written as JSON: {error}") from None


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises RunError naming it where it is missing or cannot be read."""
    try:
        if kind := special_kind(path):
            raise RunError(f"{path}: {kind}, not a file")
        return path.read_bytes()
    except OSError as error:
        raise cannot_read(path, error) from None


def cannot_read(path: Path, error: OSError) -> RunError:
    """What to tell a user where the system refuses to read ``path``."""
    if isinstance(error, FileNotFoundError):
        return RunError(f"{path}: missing; is this the folder of a run that has got this far?")
    return RunError(f"{path}: cannot be read: {error.strerror}")


def write_bytes_atomic(path: Path | str, content: bytes) -> None:
    """Replace the file ``path`` by one with this content. Raises RunError as :func:`new_file` does."""
    write_chunks_atomic(path, [content])


def write_chunks_atomic(path: Path | str, chunks: Iterable[bytes | memoryview]) -> None:
    """``write_bytes_atomic`` of a content that comes in chunks, which are written one after the other."""
    with new_file(path) as file:
        for chunk in chunks:
            file.write(chunk)


@contextmanager
def new_file(path: Path | str) -> Iterator[BinaryIO]:
    """Yield a file to write. If the block succeeds, the file is flushed to disk and replaces ``path``.

    If the block raises, ``path`` stays as it was. Missing parent folders are created. A link stays: the file that it
    names is replaced. Raises RunError where the system refuses a step, also where a library in the block reports that
    in an exception of its own, and where ``path`` is a pipe or a device.
    """
    path = Path(path)
    with writing(path):
        path = Path(os.path.realpath(path)) if path.is_symlink() else path
        if path.exists() and (kind := special_kind(path)):
            raise RunError(f"{path}: {kind}, not a file; choose another path")
        make_folder(path.parent)
        with ExitStack() as kept:
            draft, descriptor = kept.enter_context(_draft(path, _create_file))
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                yield file
            os.fsync(descriptor)
            if (waiting := _waiting.get()) is not None:
                waiting.append((draft, path, kept.pop_all()))
                return
            move_into_place(draft, path)
    _delete_abandoned_drafts(path)


@contextmanager
def files_together() -> Iterator[None]:
    """Let the files that :func:`new_file` writes in the block take their names at its end, all of them or none.

    If the block raises, also on a full disk, every file stays as it was. Only a kill between two renames leaves new
    files beside old ones.
    """
    if _waiting.get() is not None:
        yield
        return
    waiting: Waiting = []
    token = _waiting.set(waiting)
    try:
        with ExitStack() as kept:
            try:
                yield
            finally:
                for _, _, draft_kept in waiting:
                    kept.enter_context(draft_kept)
            for draft, path, _ in waiting:
                move_into_place(draft, path)
    finally:
        _waiting.reset(token)
    for _, path, _ in waiting:
        _delete_abandoned_drafts(path)


@contextmanager
def new_folder(out: Path | str) -> Iterator[Path]:
    """Yield a hidden folder beside ``out``. If the block succeeds, it is flushed to disk and takes the name ``out``.

    An existing ``out`` is replaced at one instant where the system can exchange two names (Linux), else by two renames.
    If the block raises, it stays as it was. Missing parent folders are created, and removed after a failure if they are
    empty. Raises RunError as :func:`new_file` does.
    """
    out = Path(out).absolute()
    missing_parents = [folder for folder in out.parents if not folder.exists()]  # the innermost first
    try:
        with writing(out):
            make_folder(out.parent)
            _recover(out)
            with _draft(out, _create_folder) as (draft, _):
                try:
                    yield draft
                except RunError as error:  # about a file of the draft
                    raise RunError(str(error).replace(str(draft), str(out))) from None
                for path in (*draft.rglob("*"), draft):
                    sync(path)
                _replace_folder(draft, out)
                sync(out.parent)
    except BaseException:
        for folder in missing_parents:
            with suppress(OSError):
                folder.rmdir()
        raise
    _delete_abandoned_drafts(out)


def move_into_place(draft: Path, path: Path) -> None:
    """Rename a file that is whole and flushed over ``path``, durably. Raises RunError where that cannot be done."""
    with writing(path):
        os.replace(draft, path)
        sync(path.parent)


@contextmanager
def _draft(path: Path, create: Callable[[Path], int]) -> Iterator[tuple[Path, int]]:
    """Create a locked draft of ``path``; at the end, delete what is under its name then, and free the lock.

    ``create`` makes a file or folder and returns a descriptor of it. Yields the draft and the descriptor.
    """
    draft, descriptor = _create_locked(path, create)
    try:
        yield draft, descriptor
    finally:
        _delete(draft)
        os.close(descriptor)


def _create_locked(path: Path, create: Callable[[Path], int]) -> tuple[Path, int]:
    while True:
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
        descriptor = create(draft)
        try:
            if lock_descriptor(descriptor) and is_at(draft, descriptor):
                return draft, descriptor
        except OSError:  # a file system without locks
            return draft, descriptor
        os.close(descriptor)  # another process took the draft for abandoned before it was locked


def _create_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)


def _create_folder(path: Path) -> int:
    path.mkdir()
    return os.open(path, os.O_RDONLY)


def _replace_folder(draft: Path, out: Path) -> None:
    """Give ``draft`` the name ``out``; a previous ``out`` is under the name ``draft`` afterwards, or deleted."""
    if not out.exists():
        draft.rename(out)
    elif not _exchange(draft, out):
        previous = draft.with_suffix(".old")
        out.rename(previous)
        try:
            draft.rename(out)
        except OSError:
            previous.rename(out)
            raise
        _delete(previous)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names at one instant; False where the system or the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(number, os.strerror(number))


def _recover(out: Path) -> None:
    """Give a folder back its name that a process had set aside when it was killed between two renames."""
    for previous in _drafts(out, "old"):
        if not out.exists():
            previous.rename(out)


def _delete_abandoned_drafts(path: Path) -> None:
    """Delete the drafts of ``path`` that nobody has locked, and folders that were set aside for it."""
    for draft in [*_drafts(path, "tmp"), *_drafts(path, "old")]:
        with suppress(OSError):  # gone meanwhile, or a file system without locks
            descriptor = os.open(draft, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                if lock_descriptor(descriptor):
                    _delete(draft)
            finally:
                os.close(descriptor)


def _drafts(path: Path, ending: str) -> list[Path]:
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{12,32}}\.{ending}")
    return [entry for entry in path.parent.iterdir() if pattern.fullmatch(entry.name)]


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
