"""Open files for reading, compressed or not, and give text one kind of line end, whatever the file has."""

from __future__ import annotations

import gzip
import os
import re
import stat
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from crossrec.errors import DataError

BOM = b"\xef\xbb\xbf"
GZIP = b"\x1f\x8b"
SAVE_AS_UTF8 = "not UTF-8 text; save the file as UTF-8, e.g. with iconv -f WINDOWS-1252 -t UTF-8"
OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive (so is an Excel workbook); unpack it, or save the table as CSV",
    b"PAR1": "a Parquet file; let its name end in .parquet",
    b"BZh": "compressed with bzip2; unpack it with bunzip2, or compress it with gzip",
    b"\xfd7zXZ": "compressed with xz; unpack it with unxz, or compress it with gzip",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it with unzstd, or compress it with gzip",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    GZIP: "compressed with gzip twice; unpack it once with gunzip",
    b"ARROW1": "an Arrow file (Feather); write the table as Parquet",
    b"SQLite f": "an SQLite database; export the table as CSV",
    b"\x89HDF": "an HDF5 file; write the table as Parquet or CSV",
    b"\x80": "a pickle, which is not loaded; write the table as Parquet or CSV",
    b"%PDF": "a PDF; save the table as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save the table as CSV",
    b"<!doctyp": "a web page, perhaps of a failed download; get the file again",
    b"<html": "a web page, perhaps of a failed download; get the file again",
    b"<?xml": "XML; save the table as CSV",
    b"version ": "a pointer of Git LFS, or a note; get the file itself, e.g. with git lfs pull",
}
"""First bytes of a file that is no text → what it is, and what to do."""
SPECIAL_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
last_read: deque[Path] = deque(maxlen=1)
"""The path that ``reading`` got last, for messages about unexpected errors."""
LINE_END = re.compile(rb"\r*\n(?:\r+(?![\r\n]))?|\r")
"""A line end: ``\\n`` with any ``\\r`` around it, or ``\\r`` alone."""


def uncompressed(path: Path) -> Path:
    """The path without ``.gz`` at its end."""
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


def ending(path: Path) -> str:
    """The lower-case extension of a file; for a compressed file, the extension before ``.gz``."""
    return uncompressed(path).suffix.lower()


def stem(path: Path) -> str:
    """The file name in lower case, without its extension and ``.gz``."""
    return uncompressed(path).stem.lower()


def broken_link(path: Path) -> str | None:
    """The problem of a link to a file that is not there; None for any other path."""
    if not path.is_symlink() or path.exists():
        return None
    return f"a link to {os.readlink(path)}, which is not there; mend the link"


def special_kind(path: Path) -> str | None:
    """What a path is that is neither a file nor a folder. Raises OSError as ``Path.stat`` does."""
    mode = path.stat().st_mode
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else SPECIAL_KINDS.get(stat.S_IFMT(mode), "a special file")


def first_line(reason: str) -> str:
    """The first line of another library's message, at most 200 characters."""
    return reason.strip().splitlines()[0][:200] if reason.strip() else "no reason given"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise DataError where the system refuses to read ``path`` in the block, or its compressed data are damaged.

    Also where it is no file but a pipe or a device, which would not end.
    """
    last_read.append(path)
    try:
        if kind := special_kind(path):
            raise DataError(f"{path}: {kind}, not a file; save its content to a file and name that")
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: truncated or damaged ({first_line(str(error))}); get the file again") from None
    except PermissionError:
        raise DataError(f"{path}: no right to read it; change its rights, e.g. with chmod a+r") from None
    except FileNotFoundError:
        raise DataError(f"{path}: {broken_link(path) or 'no such file; check the path'}") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a folder, not a file; name a file in it") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the file and the disk") from None


@contextmanager
def open_bytes(path: Path) -> Iterator[tuple[IO[bytes], Callable[[], int]]]:
    """Open a file for reading bytes; yields (file, function that returns the bytes read so far).

    Decompresses gzip, whether the name ends in ``.gz`` or not. Raises DataError if the file cannot be read or its
    compressed data are truncated.
    """
    with reading(path), path.open("rb") as raw:
        is_gzip = raw.peek(2).startswith(GZIP)
        if path.suffix.lower() == ".gz" and not is_gzip:
            raise DataError(f"{path}: not compressed by gzip, as .gz says; rename it to {path.stem}, or get it again")
        if is_gzip:
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield cast("IO[bytes]", unpacked), raw.tell
        else:
            yield raw, raw.tell


class TextFile:
    r"""Bytes of a text file without byte-order mark, in which ``\n`` ends every line outside quotes.

    Line ends within quotes are part of a cell and stay as they are. ``quote``: the character around cells, None for
    none. ``bom``: whether the file starts with a byte-order mark.
    """

    def __init__(self, path: Path, file: IO[bytes], quote: str | None) -> None:
        self.path, self._file, self._quote = path, file, (quote or "").encode()
        self._inside_quotes = False
        self._line = 1
        start = file.read(8)
        for magic, what in OTHER_FORMATS.items():
            if start.startswith(magic) or start.lower().startswith(magic):
                raise DataError(f"{path}: not text but {what}")
        if start.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(f"{path}, line 1: {SAVE_AS_UTF8.replace('WINDOWS-1252', 'UTF-16')}")
        self.bom = start.startswith(BOM)
        self._rest = start.removeprefix(BOM)

    def read(self, size: int) -> bytes:
        """Read about ``size`` bytes; none at the end of the file. Raises DataError naming the line of a NUL byte."""
        content = b""
        while not content:
            whole, ahead = self._rest + self._file.read(size), self._file.read(1)
            is_cut = ahead in (b"\r", b"\n")  # perhaps within a line end, which is then left for the next call
            content = whole.rstrip(b"\r\n") if is_cut else whole
            self._rest = whole[len(content) :] + ahead
            if not ahead:
                break
        content = self._with_plain_line_ends(content)
        if b"\0" in content:
            line = self._line + content.count(b"\n", 0, content.index(b"\0"))
            raise DataError(f"{self.path}, line {line}: a NUL byte, which no text has; save the file as UTF-8 text")
        self._line += content.count(b"\n")
        return content

    def _with_plain_line_ends(self, content: bytes) -> bytes:
        has_quotes = bool(self._quote) and self._quote in content
        if content.count(b"\r") == content.count(b"\r\n"):  # Unix and Windows line ends need no change
            self._inside_quotes ^= bool(has_quotes and content.count(self._quote) % 2)
            return content
        if not (has_quotes or self._inside_quotes):
            return LINE_END.sub(b"\n", content)
        parts = content.split(self._quote)
        for index in range(self._inside_quotes, len(parts), 2):
            parts[index] = LINE_END.sub(b"\n", parts[index])
        self._inside_quotes ^= len(parts) % 2 == 0
        return self._quote.join(parts)


def read_lines(path: Path) -> list[str]:
    """Read the lines of a small text file. Raises DataError naming the line if it cannot be read as text."""
    with open_text(path, quote=None) as (file, _):
        content = b"".join(iter(lambda: file.read(2**20), b""))
    try:
        return content.decode().split("\n")
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        raise DataError(f"{path}, line {line}: {SAVE_AS_UTF8}") from None


@contextmanager
def open_text(path: Path, *, quote: str | None) -> Iterator[tuple[TextFile, Callable[[], int]]]:
    """Open a text file; yields (file, function that returns the bytes read so far). Raises as :func:`open_bytes`."""
    with open_bytes(path) as (file, position):
        yield TextFile(path, file, quote), position
