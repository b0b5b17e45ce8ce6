"""Tables written by parts appear complete or not at all."""

from __future__ import annotations

import errno
import os

import polars as pl
import pytest

from crossrec.data.io.tables import write_frames
from crossrec.errors import DataError, RunError

FRAME = pl.DataFrame({"user": [1, 1], "rank": [1, 2], "item": ["a", "b"], "score": [0.5, 0.25]})


@pytest.mark.parametrize("stop", [KeyboardInterrupt("Ctrl-C"), DataError("row 3: no number")])
def test_an_interrupted_write_leaves_the_old_file(tmp_path, stop):
    path = tmp_path / "lists.csv"
    path.write_text("as it was")

    def frames():
        yield FRAME
        raise stop

    with pytest.raises(type(stop), match=str(stop)):
        write_frames(frames(), path, FRAME.clear())
    assert path.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(RunError, match="cannot be written"):
        write_frames(iter([]), path / "below.csv", FRAME.clear())


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_a_full_disk_is_one_line(ending, tmp_path):
    path = tmp_path / f"lists{ending}"
    path.write_text("as it was")

    def frames():
        yield FRAME
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(RunError, match=r"lists\.\w+: cannot be written: No space left on device; free") as caught:
        write_frames(frames(), path, FRAME.clear())
    assert "\n" not in str(caught.value)
    assert path.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [path]
