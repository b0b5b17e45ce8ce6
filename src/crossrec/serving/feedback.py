"""What people did with their lists, appended to a log that ``crossrec data import`` reads."""

from __future__ import annotations

import csv
import io
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crossrec.errors import DataError

COLUMNS = ("user", "item", "time", "event", "run", "identity")


class FeedbackLog:
    """A CSV file with the columns of ``COLUMNS``, to which rows are appended, each in one piece.

    Several threads and several processes may append to it. Raises DataError where the file cannot be written, or has
    other columns.
    """

    def __init__(self, path: Path | str) -> None:
        self.path, self._lock = Path(path), threading.Lock()
        header = ",".join(COLUMNS)
        try:
            with self.path.open("a+", encoding="utf-8", newline="") as file:
                file.seek(0)
                first = file.readline().rstrip("\n")
                if first and first != header:
                    raise DataError(f"--feedback {self.path}: its first line is not '{header}'; give another file")
                if not first:
                    file.write(header + "\n")
        except OSError as error:
            raise DataError(f"--feedback {self.path}: {error.strerror}; give a file that can be written") from None
        except UnicodeDecodeError:
            raise DataError(f"--feedback {self.path}: not a log of feedback; give another file") from None

    def append(self, user: Any, item: Any, event: str, run: int, identity: str) -> None:
        """Append a row with the time of now in UTC. Raises OSError where it cannot be written."""
        text = io.StringIO()
        time = datetime.now(UTC).isoformat(timespec="seconds")
        csv.writer(text, lineterminator="\n").writerow([user, item, time, event, run, identity])
        row = text.getvalue().encode()
        with self._lock:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
            try:
                if os.write(descriptor, row) != len(row):
                    raise OSError("the row was cut short")
            finally:
                os.close(descriptor)
