"""Odd paths, columns and types: a file that can be read is read right, for all else one line names what was read."""

from __future__ import annotations

import base64
import os
import re
import socket
from datetime import UTC, datetime
from unittest.mock import Mock

import numpy as np
import polars as pl
import pytest

from crossrec import cli
from crossrec.data import DataConfig, ImportConfig, import_data, load
from crossrec.data.io import tables
from crossrec.data.io.open_text import last_read
from crossrec.data.io.system_errors import no_panic
from crossrec.errors import DataError
from crossrec.recommend.id_map import IdMap
from crossrec.recommend.item_table import ItemTable

PAIRS = [(f"u{user}", f"i{(user + step) % 6}") for user in range(5) for step in range(4)]
LOG = pl.DataFrame(PAIRS, schema=["user", "item"], orient="row")
TINY = ("--backbone", "bpr", "--alignment", "none", "--epochs", "1", "--dim", "4", "--device", "cpu", "--threads", "1")
ZONE = "POLARS_IGNORE_TIMEZONE_PARSE_ERROR"


@pytest.fixture
def zoned(tmp_path):
    """A log whose times are in the zone +05:30, from 20 January 2024, 5:30 there, hour by hour.

    polars does not write such a file: the zone is replaced in the schema, which Parquet holds in base 64.
    """
    hours = pl.Series([1705708800 + 3600 * hour for hour in range(len(PAIRS))]) * 1000
    path = tmp_path / "log.parquet"
    LOG.with_columns(time=hours.cast(pl.Datetime("ms", "Israel"))).write_parquet(path)
    content = path.read_bytes()
    (schema,) = [text for text in re.findall(rb"[A-Za-z0-9+/=]{200,}", content) if b"Israel" in base64.b64decode(text)]
    other_schema = base64.b64encode(base64.b64decode(schema).replace(b"Israel", b"+05:30"))
    path.write_bytes(content.replace(schema, other_schema))
    return path


def test_a_time_zone_without_a_name_keeps_the_moments(zoned, tmp_path):
    import_data(zoned, tmp_path / "out", ImportConfig(until="2024-01-20T05:00:00Z"))
    frame = pl.read_parquet(tmp_path / "out" / "interactions.parquet")
    assert frame["time"].dtype == pl.Datetime("ms", "UTC")
    assert frame["time"].to_list() == [datetime(2024, 1, 20, hour, tzinfo=UTC) for hour in range(5)]
    assert load(DataConfig(data=str(zoned), split="time")).user_ids.to_list() == [f"u{user}" for user in range(5)]


def test_a_panic_is_one_line_and_rust_prints_nothing(zoned, monkeypatch, capfd):
    monkeypatch.setenv(ZONE, "0")
    with pytest.raises(DataError, match=r"log.parquet: cannot be read as Parquet .*time zone: '\+05:30'"):
        load(DataConfig(data=str(zoned)))
    assert cli.main(["data", "validate", "--data", str(zoned)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"crossrec: error: {zoned}: cannot be read as Parquet (")


@pytest.mark.parametrize(
    ("kind", "value", "days"),
    [
        (pl.Date, 2_932_897, "2,932,897"),
        (pl.Date, -719_163, "-719,163"),
        (pl.Datetime("us"), 9 * 10**18, "104,166,666"),
        (pl.Datetime("ms", "UTC"), 2_932_897 * 86_400_000, "2,932,897"),
    ],
)
@pytest.mark.parametrize("column", ["item", "time", "rating"])
def test_dates_outside_the_calendar_are_named(tmp_path, crossrec, kind, value, days, column):
    last_days = [0] * (len(PAIRS) - 2) + [2_932_896 if kind == pl.Date else 0, value]
    frame = LOG.with_columns(time=pl.Series(range(len(PAIRS))), rating=pl.lit(1))
    path = tmp_path / "log.parquet"
    frame.with_columns(pl.Series(column, last_days).cast(kind)).write_parquet(path)
    flags = ["--min-rating", "1"] if column == "rating" else []
    line = crossrec("data", "import", path, "--out", "out", *flags).mistake
    expected = f"{path}, row 20: column '{column}' holds a date {days} days from 1970, outside the years 1 to 9999; "
    assert line == f"{expected}is it in another unit?"


def test_other_output_on_stderr_is_kept(capfd):
    with no_panic():
        os.write(2, b"a note of a library\n")
    assert capfd.readouterr().err == "a note of a library\n"


@pytest.mark.parametrize(
    "name", ["log[1].parquet", "log*.parquet", "~.parquet", "**.parquet", "log?.parquet", "a\nb.parquet"]
)
def test_paths_are_no_patterns(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    pl.DataFrame({"user": ["other"], "item": ["other"]}).write_parquet(tmp_path / "log1.parquet")
    with (tmp_path / name).open("wb") as file:
        LOG.write_parquet(file)
    assert load(DataConfig(data=name)).user_ids.to_list() == [f"u{user}" for user in range(5)]
    import_data(name, "out[1]*")
    with (tmp_path / "out[1]*" / "interactions.parquet").open("rb") as file:
        assert pl.read_parquet(file).height == len(PAIRS)


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize("names", [("*", "^.*$"), ("^user$", "user"), ("__row", "*"), ("~", "^i"), ("len", "literal")])
def test_columns_are_no_patterns(tmp_path, ending, names):
    user, item = names
    path = tmp_path / f"log{ending}"
    frame = LOG.rename({"user": user, "item": item}).with_columns(pl.Series("other", ["x"] * len(PAIRS)))
    {".parquet": frame.write_parquet, ".csv": frame.write_csv, ".jsonl": frame.write_ndjson}[ending](path)
    dataset = load(DataConfig(data=str(path), user_column=user, item_column=item))
    assert dataset.user_ids.to_list() == [f"u{number}" for number in range(5)]
    assert dataset.item_ids.to_list() == [f"i{number}" for number in range(6)]
    import_data(path, tmp_path / "out", ImportConfig(user_column=user, item_column=item))
    with (tmp_path / "out" / "interactions.parquet").open("rb") as file:
        assert sorted(pl.read_parquet(file).select("user", "item").rows()) == sorted(PAIRS)


@pytest.mark.parametrize("column", ["*", "^.*$", "__row", "^ti.*$"])
def test_columns_of_the_items_are_no_patterns(tmp_path, column):
    path = tmp_path / "items.parquet"
    titles = ["five", "four", "one"]
    pl.DataFrame({"item": ["i5", "i4", "i1"], column: titles, "title": titles}).write_parquet(path)
    table = ItemTable.read(path, IdMap(pl.Series(["i1", "i2", "i5"]), "item"))
    assert table.frame.to_dict(as_series=False) == {column: ["one", None, "five"], "title": ["one", None, "five"]}
    LOG.filter(pl.col("item").is_in(["i1", "i4", "i5"])).write_parquet(tmp_path / "log.parquet")
    import_data(tmp_path / "log.parquet", tmp_path / "out")
    with (tmp_path / "out" / "items.parquet").open("rb") as file:
        assert pl.read_parquet(file).to_dict(as_series=False) == {
            "item": ["i5", "i4", "i1"],
            column: titles,
            "title": titles,
        }


def test_a_table_of_other_items_is_refused(tmp_path, crossrec):
    LOG.write_csv(tmp_path / "log.csv")
    (tmp_path / "items.csv").write_text("item,title,category\nz1,a,b\nz2,a,b\n")
    items = tmp_path / "items.csv"
    expected = f"{items}: has none of the items of log.csv, such as 'i0'; is it the right file and column?"
    assert crossrec("data", "import", tmp_path / "log.csv", "--out", "out").mistake == expected
    np.save(tmp_path / "image_feat.npy", np.ones((2, 3)))
    assert "item 'i0' is not in items.csv" in crossrec("data", "validate", "--data", tmp_path / "log.csv").mistake
    with pytest.raises(
        DataError, match=r"items.csv: none of its 2 ids is an item of the run \(here 'z1', there 'i0'\)"
    ):
        ItemTable.read(items, IdMap(pl.Series(["i0"]), "item"))


@pytest.fixture
def specials(tmp_path):
    """Paths that are neither files nor folders, and what they are."""
    os.mkfifo(tmp_path / "pipe.csv")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket.csv"))
    (tmp_path / "device.csv").symlink_to("/dev/zero")
    return {"pipe.csv": "a pipe", "socket.csv": "a socket", "device.csv": "a device"}


def test_pipes_devices_and_sockets_are_refused(tmp_path, specials, crossrec):
    LOG.write_csv(tmp_path / "log.csv")
    out = crossrec("train", "--data", tmp_path / "log.csv", *TINY, "--out", tmp_path / "run")
    assert out.code == 0, out
    for name, kind in specials.items():
        path = tmp_path / name
        for arguments in (
            ("train", "--data", path, *TINY),
            ("data", "import", path, "--out", "out"),
            ("data", "import", tmp_path / "log.csv", "--items", path, "--out", "out"),
            ("recommend", tmp_path / "run", "--items", path),
            ("recommend", tmp_path / "run", "--users", path),
            ("compare", "--data", "synthetic-tiny", "--settings", path),
            ("train", "--config", path, "--out", "out"),
        ):
            mistake = crossrec(*arguments).mistake
            assert str(path) in mistake, arguments
            assert kind in mistake or "no such file" in mistake, arguments
            assert kind in mistake or arguments[0] == "train", arguments
    (tmp_path / "run" / "config.json").unlink()
    os.mkfifo(tmp_path / "run" / "config.json")
    assert "config.json: " in crossrec("recommend", tmp_path / "run").mistake


@pytest.mark.parametrize("name", ["a" * 300, "folder/" + "b" * 300, "log.csv/below"])
def test_impossible_paths_are_one_line(tmp_path, crossrec, name):
    LOG.write_csv("log.csv")
    for arguments in (
        ("train", "--data", name, *TINY),
        ("train", "--data", "log.csv", *TINY, "--out", name),
        ("data", "import", name, "--out", "out"),
        ("data", "import", "log.csv", "--out", name),
        ("recommend", name),
        ("export", name, "--out", "out"),
        ("report", name),
        ("train", "--config", name, "--out", "out"),
        ("compare", "--data", "synthetic-tiny", "--settings", name),
        ("data", "features", "--data", name, "--text", "title", "--text-model", "model"),
    ):
        assert name in crossrec(*arguments).mistake, arguments


def test_an_unexpected_exception_is_one_line_that_names_the_file(tmp_path, crossrec, monkeypatch):
    LOG.write_csv(tmp_path / "log.csv")

    fail = Mock(side_effect=TypeError("an internal\nfault"))  # a fault of the package, none of the user's own code
    monkeypatch.setattr(tables, "_block", fail)
    line = crossrec("data", "describe", "--data", tmp_path / "log.csv").mistake
    assert line.startswith(
        f"{tmp_path / 'log.csv'}: cannot be used (TypeError: an internal fault); CROSSREC_TRACEBACK=1"
    )
    last_read.clear()
    monkeypatch.setattr(tables, "open_table", fail)
    monkeypatch.setattr("crossrec.data.loading.open_table", fail)
    assert crossrec("data", "describe", "--data", tmp_path / "log.csv").mistake.startswith("failed (TypeError: an")
    monkeypatch.setenv("CROSSREC_TRACEBACK", "1")
    with pytest.raises(TypeError):
        crossrec("data", "describe", "--data", tmp_path / "log.csv")
    monkeypatch.delenv("CROSSREC_TRACEBACK")

    def refuse(*arguments):
        raise PermissionError(13, "Permission denied", str(tmp_path / "log.csv"))

    monkeypatch.setattr("crossrec.data.loading.open_table", refuse)
    line = crossrec("data", "describe", "--data", tmp_path / "log.csv").mistake
    assert line == f"{tmp_path / 'log.csv'}: Permission denied; check the path, its rights and the disk"


def test_a_full_disk_under_the_output_is_told(crossrec, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("crossrec.console.stdout.print", full)
    line = crossrec("data", "describe", "--data", "synthetic-tiny").mistake
    assert line.startswith("the output cannot be written: No space left on device; ")


def test_a_broken_link_as_a_run_or_as_out_is_named(tmp_path, crossrec):
    (tmp_path / "link").symlink_to("gone")
    expected = f"{tmp_path / 'link'}: a link to gone, which is not there; mend the link"
    assert crossrec("recommend", tmp_path / "link").mistake == expected
    assert crossrec("train", "--data", "synthetic-tiny", *TINY, "--out", tmp_path / "link").mistake == expected
    assert not (tmp_path / "gone").exists()
