"""How a text file separates and quotes its cells: by its ending, by a setting, or as its first lines show."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossrec.data.io.header import SEPARATOR_NAMES, SEPARATORS
from crossrec.data.io.open_text import ending, open_text

QUOTABLE = (".csv", ".tsv")
SAMPLE_BYTES = 2**16  # bytes read to see the format of a file
SAMPLE_LINES = 100
CANDIDATES = (",", ";", "\t", "|")
SPELLINGS = {"tab": "\t", r"\t": "\t", "comma": ",", "semicolon": ";", "bar": "|"}
"""What people write for a character that is hard to type → the character."""


@dataclass(frozen=True)
class TextFormat:
    """``separator`` of cells, None in JSON Lines; ``quote`` around cells, None for none."""

    separator: str | None
    quote: str | None

    @classmethod
    def of(cls, path: Path) -> TextFormat:
        """The format that the ending of a file stands for."""
        kind = ending(path)
        return cls(SEPARATORS.get(kind), '"' if kind in QUOTABLE else None)

    @property
    def separator_name(self) -> str:
        """The separator in words, such as 'commas'."""
        return SEPARATOR_NAMES.get(str(self.separator), f"'{self.separator}'")

    def csv_options(self) -> dict[str, Any]:
        """The options of Python's ``csv.reader``."""
        if self.quote is None:
            return {"delimiter": self.separator, "quoting": csv.QUOTE_NONE}
        return {"delimiter": self.separator, "quotechar": self.quote}

    def __str__(self) -> str:
        """The format in words."""
        quotes = {'"': "", "'": ", single quotes around cells", None: ", no quotes"}
        return f"separated by {self.separator_name}{quotes.get(self.quote, f', {self.quote} around cells')}"


def check_character(text: str) -> str:
    """Return the character that ``text`` writes or names. Raises ValueError for what can be no separator or quote."""
    character = SPELLINGS.get(text.lower(), text)
    if len(character) != 1 or not character.isascii() or character.isalnum() or character in "\r\n\0.+-_\\":
        raise ValueError("give one character, such as ; or | or tab")
    return character


def check_quote(text: str) -> str:
    """As :func:`check_character`, with '' for none."""
    return "" if text.lower() in ("", "none") else check_character(text)


def find_format(path: Path, separator: str | None = None, quote: str | None = None) -> TextFormat:
    """The format of a text file: as given, else as its first lines show, else by its ending.

    The separator is the one of commas, semicolons, tabs and bars that makes most columns of the first line; of equals,
    the one of the ending. A ``separator`` that makes one column only belongs to another file, and does not count here.
    The quote is a single one if every line has a cell inside single quotes, and none has a double quote. ``quote``: ''
    for none.
    """
    usual = TextFormat.of(path)
    if ending(path) not in QUOTABLE:
        return usual
    lines = _first_lines(path)
    mark = '"' if quote is None else quote or None
    columns = {other: _columns(lines, TextFormat(other, mark)) for other in dict.fromkeys([separator, *CANDIDATES])}
    best = max([str(usual.separator), *CANDIDATES], key=columns.__getitem__)
    if separator is not None and columns[separator] > 1:
        best = separator
    if quote is None and not any('"' in line for line in lines):
        end = re.escape(best)
        cell = re.compile(rf"(?:^|{end})'(?:[^']|'')*'(?={end}|$)")
        mark = "'" if lines and all(map(cell.search, lines[1:] or lines)) else mark
    return TextFormat(best, mark)


def _first_lines(path: Path) -> list[str]:
    """The first complete lines of a file that are not blank."""
    with open_text(path, quote=None) as (file, _):
        content = file.read(SAMPLE_BYTES)
    whole = content[: content.rfind(b"\n") + 1] or content
    return [line for line in whole.decode(errors="replace").split("\n") if line.strip()][:SAMPLE_LINES]


def _columns(lines: list[str], form: TextFormat) -> int:
    """The number of columns of the first line."""
    if form.separator is None:
        return 0
    try:
        return len(next(csv.reader(lines, **form.csv_options()), []))
    except csv.Error:
        return 0
