"""Ids in JSON Lines: their values are text or whole numbers, of one kind in a file. Read as text, kinds look alike."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from crossrec.data.io.ids import ID_KINDS
from crossrec.data.io.text_chunks import MalformedRecordError, TextChunk, parse_object
from crossrec.errors import DataError

NUMERIC = b"-0123456789"
DECIMAL = rb"-?[0-9]+[.eE]"
KINDS = {
    **{str: "a text", int: "a number", float: "a decimal"},
    **{bool: "a truth value", list: "a list", dict: "an object"},
}


class JsonIdKinds:
    """Checks chunk by chunk that the values of id columns are text, or that they are whole numbers."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = columns
        self._first: dict[str, tuple[str, str]] = {}  # column → kind and location of its first value

    def check(self, chunk: TextChunk) -> None:
        """Raise DataError naming the line of the first value that is no id, or of another kind than those before."""
        for column in self.columns:
            kinds = _kinds_at_a_glance(chunk.content, column)
            if len(kinds) == 1 and kinds <= {"a text", "a number"}:
                (kind,) = kinds
                if self._first.setdefault(column, (kind, chunk.location(0)))[0] == kind:
                    continue
            if kinds:
                self._check_values(chunk, column)

    def _check_values(self, chunk: TextChunk, column: str) -> None:
        for row, value in _values(chunk, column):
            kind, where = KINDS[type(value)], chunk.location(row)
            shown = json.dumps(value, ensure_ascii=False)[:80]
            if kind not in ("a text", "a number"):
                raise DataError(f"{chunk.path}, {where}: {column} {shown} is {kind}; {ID_KINDS}")
            first_kind, first_where = self._first.setdefault(column, (kind, where))
            if kind != first_kind:
                raise DataError(
                    f"{chunk.path}, {where}: {column} {shown} is {kind}, that on {first_where} {first_kind}; "
                    "write all ids as one kind"
                )


def check_repeated_keys(chunk: TextChunk, columns: Sequence[str]) -> None:
    """Raise DataError naming the first line of JSON Lines that has one of the columns twice."""
    for column in columns:
        if len(re.findall(_key(column), chunk.content)) <= len(chunk.records):
            continue
        for row in range(len(chunk.records)):
            line = chunk.content[chunk.records.start_R[row] : chunk.records.end_R[row]]
            try:
                pairs = json.loads(line, object_pairs_hook=tuple)
            except (ValueError, RecursionError):
                continue
            if isinstance(pairs, tuple) and sum(name == column for name, _ in pairs) > 1:
                raise DataError(f"{chunk.path}, {chunk.location(row)}: key '{column}' occurs twice; leave one of them")


def _key(column: str) -> bytes:
    """Pattern of a key and what is between it and its value."""
    names = {json.dumps(column, ensure_ascii=ascii_only).encode() for ascii_only in (True, False)}
    return b"(?:" + b"|".join(map(re.escape, names)) + rb")\s*:\s*"


def _kinds_at_a_glance(content: bytes, column: str) -> set[str]:
    """The kinds of values of a key, at any depth; more than there are where a nested key has the same name."""
    key = _key(column)
    starts = set(re.findall(key + b"(.)", content)) - {b"n"}
    kinds = {"a text" if start == b'"' else "a number" if start in NUMERIC else "other" for start in starts}
    return kinds | {"other"} if re.search(key + DECIMAL, content) else kinds


def _values(chunk: TextChunk, column: str) -> Iterator[tuple[int, Any]]:
    """Yield (row, value) of a column where there is one, without malformed lines."""
    for row in range(len(chunk.records)):
        line = chunk.content[chunk.records.start_R[row] : chunk.records.end_R[row]]
        try:
            value = parse_object(line, "").get(column)
        except MalformedRecordError:
            continue
        if value is not None:
            yield row, value
