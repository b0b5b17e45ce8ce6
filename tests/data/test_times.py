"""Times: what each form of date means, and that no date, unit or time zone is guessed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from crossrec.data import DataConfig, ImportConfig, import_data, load, validate
from crossrec.data.io import text_chunks
from crossrec.data.io.times import TimeEncoder, find_time_format
from crossrec.errors import ConfigError, CrossrecError, DataError

DAY = "2024-05-31"
MOMENT = datetime(2024, 5, 31, 10, tzinfo=UTC)


def decoded(cells: list[Any], **options: Any) -> list[Any]:
    """The times that a column holds, None for an unusable cell."""
    times = TimeEncoder(**options)
    numbers, other_form, _ = times.encode(pl.Series("time", cells))
    assert other_form is None or not other_form.any()
    return times.decode(numbers.to_numpy()).to_list() if not numbers.null_count() else numbers.to_list()


@pytest.mark.parametrize(
    "cell",
    [
        "2024-05-31T10:00:00Z", "2024-05-31 10:00:00+00:00", "2024-05-31T10:00Z", "2024/5/31 12:00:00.000 +02:00",
        "2024-05-31T04:30:00-0530", "2024-05-31T10:00:00 UTC", "2024-05-31t12:00:00,0+02",
    ],
)  # fmt: skip
def test_iso_dates_with_a_time_zone(cell):
    assert decoded([cell]) == [MOMENT]


@pytest.mark.parametrize("cell", [DAY, "2024/05/31", "2024-5-31", " 2024-05-31T00:00 ", "2024-05-31 00:00:00.000"])
def test_iso_dates_without_a_time_zone(cell):
    assert decoded([cell]) == [datetime(2024, 5, 31)]


@settings(max_examples=100, deadline=None)
@given(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),
    st.sampled_from([None, *(timedelta(minutes=minutes) for minutes in (0, 60, -330, 345, 840))]),
)
def test_what_python_writes_in_iso_form_is_read_back(moment, offset):
    if offset is not None:
        moment = moment.replace(tzinfo=timezone(offset))
    assert decoded([moment.isoformat(), moment.isoformat(" ")]) == [moment, moment]


@pytest.mark.parametrize(
    ("time_format", "cell", "moment"),
    [
        ("%d/%m/%Y", "01/12/2024", datetime(2024, 12, 1)),
        ("%m/%d/%Y", "01/12/2024", datetime(2024, 1, 12)),
        ("%m/%d/%y %I:%M %p", "1/2/24 3:04 PM", datetime(2024, 1, 2, 15, 4)),
        ("%d %b %Y", "1 Mar 2024", datetime(2024, 3, 1)),
        ("%Y-%d-%m", "2024-13-05", datetime(2024, 5, 13)),
        ("%Y%m%d", "20240531", datetime(2024, 5, 31)),
        ("%Y%m%d", 20240531, datetime(2024, 5, 31)),
        ("%Y%m%d", 20240531.0, datetime(2024, 5, 31)),
        ("%Y%m%d%H", "2024053110", datetime(2024, 5, 31, 10)),
        ("%d.%m.%Y %H:%M:%S.%f", "31.05.2024 10:00:00.25", datetime(2024, 5, 31, 10, 0, 0, 250_000)),
        ("%d/%m/%Y %H:%M%z", "31/05/2024 12:00+0200", MOMENT),
        ("%d/%m/%Y %H:%M%z", "31/05/2024 10:00Z", MOMENT),
    ],
)
def test_a_given_form(time_format, cell, moment):
    assert decoded([cell, cell], time_format=time_format) == [moment, moment]


@pytest.mark.parametrize("time_format", ["%H:%M", "%Y", "dd/mm/yyyy", "%d/%m", "%Q", ""])
def test_a_form_that_is_none_of_dates(time_format):
    for config in (ImportConfig, DataConfig):
        with pytest.raises(ValueError, match="no form of dates; write year, month and day"):
            config(time_format=time_format)


def imported(put: Any, times: list[Any], *, file: str = "log.csv", **rules: Any) -> Any:
    """(card, items that are left) of a log whose n-th row has the item n, and the n-th time."""
    rows = {"user": ["u"] * len(times), "item": [f"i{n}" for n in range(len(times))], "time": times}
    if file.endswith(".parquet"):
        folder = put({file: pl.DataFrame(rows)})
    else:
        folder = put({file: "user,item,time\n" + "".join(f"u,i{n},{time}\n" for n, time in enumerate(times))})
    card = import_data(folder, folder.parent / "out", ImportConfig(**rules), overwrite=True)
    items = pl.read_parquet(folder.parent / "out" / "interactions.parquet")["item"].to_list()
    return card, [int(item[1:]) for item in items]


BOUNDS: dict[str, tuple[list[Any], str, int]] = {
    "days in text": (["2024-05-30", DAY, "2024-06-01"], DAY, 1),
    "moments in text": (["2024-05-30T23:59:59.999999", "2024-05-31T00:00:00", "2024-05-31T00:00:01"], DAY, 1),
    "moments with a zone": (["2024-05-31T01:59+02:00", "2024-05-31T02:00+02:00", "2024-05-31T03:00+02:00"], DAY, 1),
    "bound with a zone": (["2024-05-30T21:59", "2024-05-30T22:00", DAY], "2024-05-31T00:00+02:00", 1),
    "seconds": (["1717113599", "1717113600", "1717113601"], DAY, 1),
    "seconds with decimals": (["1717113599.999", "1717113600.0", "1717113600.001"], DAY, 1),
    "milliseconds": (["1717113599999", "1717113600000", "1717113600001"], DAY, 1),
    "microseconds": (["1717113599999999", "1717113600000000", "1717113600000001"], DAY, 1),
    "numbers": (["4", "5", "6"], "5", 1),
    "dates": ([date(2024, 5, 30), date(2024, 5, 31), date(2024, 6, 1)], DAY, 1),
    "decimals": ([Decimal("1717113599.999"), Decimal("1717113600.000"), Decimal("1717113600.001")], DAY, 1),
    "nanoseconds": ([1717113599 * 10**9, 1717113600 * 10**9, 1717113600 * 10**9 + 1], DAY, 1),
}


@pytest.mark.parametrize("case", BOUNDS)
def test_since_is_included_and_until_is_not(case, put):
    times, bound, first = BOUNDS[case]
    file = "log.csv" if isinstance(times[0], str) else "log.parquet"
    assert imported(put, times, file=file, until=bound)[1] == list(range(first))
    assert imported(put, times, file=file, since=bound)[1] == list(range(first, 3))


def test_times_without_a_zone_are_utc_and_the_card_says_so(put):
    for times, said in ((["2024-05-30", DAY], True), (["2024-05-30T00:00Z", "2024-05-31T00:00Z"], False)):
        card, left = imported(put, times, until=DAY)
        assert left == [0]
        assert ("the times have no time zone: they are read as UTC" in card.notes) is said


def test_a_window_that_leaves_out_nothing_says_so(put):
    card, left = imported(put, ["2024-05-30", DAY], until="2024-06-01")
    assert left == [0, 1]
    assert card.notes[0] == (
        "until 2024-06-01 leaves out no row: times run from 2024-05-30 00:00:00 to 2024-05-31 00:00:00"
    )


MISREAD: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "day or month first": (
        [DAY, "01/12/2024", "02/11/2024"],
        {},
        "log.csv, line 3: time '01/12/2024' may begin with its day or with its month; say which with --time-format "
        "%d/%m/%Y or %m/%d/%Y, with %H:%M:%S for a time of day (2 such rows)",
    ),
    "a single day above 12 proves nothing about the others": (
        ["01/12/2024"] * 10 + ["31/12/2024"],
        {},
        "line 2: time '01/12/2024' may begin with its day",
    ),
    "a time of day": (["01/12/2024 1:05 PM"], {}, "say which with --time-format '%d/%m/%Y %I:%M %p' or "
                      "'%m/%d/%Y %I:%M %p'"),
    "a time of day of another form": (["01/12/2024 13 h"], {}, "--time-format %d/%m/%Y or %m/%d/%Y, with %H:%M:%S"),
    "dots": (["1.12.24"], {}, "line 2: time '1.12.24' may begin with its day or with its month or with its "
             "year; say which with --time-format %d.%m.%y or %m.%d.%y"),
    "day before month": ([DAY, "2024-13-05"], {}, "line 3: time '2024-13-05' has its day before its month; say so"),
    "wrong order given": (
        ["01/12/2024", "31/12/2024"],
        {"time_format": "%m/%d/%Y"},
        "line 3: time '31/12/2024' does not fit --time-format %m/%d/%Y, but %d/%m/%Y; give the right one",
    ),
    "some with a zone": (
        ["2024-05-31T10:00:00Z", "2024-05-31T10:00:00", DAY],
        {},
        "line 3: time '2024-05-31T10:00:00' has no time zone, and times before have one; write all with a zone "
        "(such as Z) or none (2 such rows)",
    ),
    "some without a zone": (
        [DAY, "2024-05-31T10:00:00+02:00"],
        {},
        "line 3: time '2024-05-31T10:00:00+02:00' has a time zone, and times before have none; write",
    ),
    "milliseconds among seconds": (
        ["1717113600", "1717113601", "1717113602000"],
        {},
        "log.csv, line 4: time 1717113602000 seems to be in milliseconds, but 1717113600 (",
    ),
    "seconds among microseconds": (["1717113602000000", "1717113600"], {}, "2: time 1717113602000000 seems to be in"),
    "days among seconds": (["1717113602.5", "19874"], {}, "2: time 1717113602.5 seems to be in seconds, but 19874"),
    "digits among seconds": (["1717113602", "20240531"], {}, "3) in digits of a date; write all times in one unit"),
}  # fmt: skip


@pytest.mark.parametrize("bad_rows", ["error", "drop"])
@pytest.mark.parametrize("size", [1, 2**20])
@pytest.mark.parametrize("case", MISREAD)
def test_a_column_in_two_forms_is_an_error_even_where_bad_rows_are_dropped(case, size, bad_rows, put, monkeypatch):
    times, rules, message = MISREAD[case]
    if size == 1:  # each row a block of its own: only the first of the rows is counted
        message = message.partition(" (2 such")[0]
    monkeypatch.setattr(text_chunks, "CHUNK_BYTES", size)
    with pytest.raises(DataError) as caught:
        imported(put, times, bad_rows=bad_rows, **rules)
    assert message in str(caught.value)


@pytest.mark.parametrize("case", MISREAD)
def test_training_refuses_them_too(case, put):
    times, rules, message = MISREAD[case]
    rows = "".join(f"u,i{n},{time}\n" for n, time in enumerate(times))
    config = DataConfig(data=str(put({"log.csv": f"user,item,time\n{rows}"})), split="time", **rules)
    with pytest.raises(DataError) as caught:
        load(config)
    assert message in str(caught.value)


def test_training_reads_a_given_form(put):
    rows = "".join(f"u,i{n},{day}/06/2024\nv,i{n},{n + 1}/06/2024\n" for n, day in enumerate((9, 10, 11, 8, 12)))
    folder = put({"log.csv": f"user,item,time\n{rows}"})
    dataset = load(DataConfig(data=str(folder), split="leave_one_out", time_format="%d/%m/%Y"))
    items = dataset.item_ids.to_list()
    assert dict(zip(dataset.test.user_N.tolist(), (items[item] for item in dataset.test.item_N), strict=True)) == {
        0: "i4",
        1: "i4",
    }
    assert {items[item] for item in dataset.valid.item_N} == {"i2", "i3"}


@pytest.mark.parametrize("cell", ["nan", "-inf", "1e999", ""])
def test_a_number_that_is_no_time_is_an_error_or_dropped(cell, put):
    with pytest.raises(DataError, match=r"log.csv, line 3: time .*is (no time|empty);"):
        imported(put, ["1717113600", cell, "1717113700"], until="2025-01-01")
    card, left = imported(put, ["1717113600", cell, "1717113700"], until="2024-05-31T00:01", bad_rows="drop")
    assert left == [0]
    assert card.steps[1].rule == "1 × time cannot be read"


@pytest.mark.parametrize("cell", ["2024-02-30", "2024-05-32", "soon", "nan", "12:30"])
def test_a_text_that_is_no_date_is_an_error_or_dropped(cell, put):
    with pytest.raises(DataError, match=f"log.csv, line 3: time '{cell}' is no time;"):
        imported(put, [DAY, cell])
    card, left = imported(put, [DAY, cell], bad_rows="drop")
    assert left == [0]
    assert card.steps[-1].rule == "1 × time cannot be read"


@pytest.mark.parametrize(
    "times",
    [
        [MOMENT.replace(tzinfo=None), None],
        [MOMENT, None],
        [1717113600.0, float("nan")],
        [1717113600.0, float("inf")],
        [1717113600, None],
    ],
)
def test_missing_times_of_parquet(times, put):
    with pytest.raises(DataError, match=r"log.parquet, row 2: time .*is (no time|empty);"):
        imported(put, times, file="log.parquet", until="2025-01-01")
    assert imported(put, times, file="log.parquet", until="2025-01-01", bad_rows="drop")[1] == [0]


def test_times_of_day_have_no_date(put):
    with pytest.raises(DataError, match="column 'time' holds Time; times are numbers or dates"):
        imported(put, [MOMENT.time()], file="log.parquet")


def test_files_with_times_of_different_types(put):
    frame = pl.DataFrame({"user": [1], "item": [1], "time": [datetime(2024, 5, 31)]})
    folder = put({"a.parquet": frame, "b.parquet": frame.with_columns(pl.col("time").cast(pl.Datetime("ms")))})
    with pytest.raises(
        DataError, match=r"b.parquet: column 'time' holds Datetime.*'ms'.* in the files before; give it"
    ):
        import_data(folder, folder.parent / "out", ImportConfig(bad_rows="drop"))


WRONG_BOUNDS: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "digits of a date": (
        ["20240531", "20240601"],
        {"until": DAY},
        "until 2024-05-31: the times are numbers such as 20240601, which seem to be dates; say so with --time-format "
        "%Y%m%d",
    ),
    "digits of an hour": (["2024053110"], {"since": DAY}, "say so with --time-format %Y%m%d%H"),
    "digits of a minute": (["202405311059"], {"since": DAY}, "say so with --time-format %Y%m%d%H%M"),
    "ranks": (["7", "8"], {"until": DAY}, "such as 8, which are no (milli-, micro-, nano-)seconds since 1970; give a"),
    "days since 1970": (["19874"], {"until": DAY}, "such as 19874, which are no (milli-, micro-, nano-)seconds since"),
    "milliseconds for seconds": (
        ["1717113600", "1717113700"],
        {"until": "1717113650000"},
        "until 1717113650000: the times seem to be in seconds, such as 1717113700, and this in milliseconds; give it "
        "in the same unit, or as an ISO date",
    ),
    "seconds for milliseconds": (["1717113600000"], {"since": "1717113650"}, "in milliseconds, such as 1717113600000"),
    "digits for seconds": (["1717113600"], {"since": "20240531"}, "and this in digits of a date; give it in the same"),
    "number for dates": ([DAY], {"since": "20240531"}, "since 20240531: the times are dates; give an ISO date"),
    "form for dates of Parquet": (
        [date(2024, 5, 31)],
        {"time_format": "%d/%m/%Y"},
        "column 'time' holds Date, no text; leave time_format out",
    ),
}


@pytest.mark.parametrize("case", WRONG_BOUNDS)
def test_bounds_that_do_not_suit_the_times(case, put):
    times, rules, message = WRONG_BOUNDS[case]
    file = "log.csv" if isinstance(times[0], str) else "log.parquet"
    with pytest.raises(CrossrecError) as caught:
        imported(put, times, file=file, **rules)
    assert message in str(caught.value)
    assert isinstance(caught.value, ConfigError) or "form" in case


@pytest.mark.parametrize("bound", ["nan", "inf", "-inf", "01/12/2024", ""])
def test_bounds_that_are_no_times(bound):
    with pytest.raises(ValueError, match="neither a number nor an ISO date"):
        ImportConfig(until=bound)


def test_times_that_stand_for_a_missing_one_are_told(put):
    times = ["1717113600", "0", "-1", "1717113700"]
    card, left = imported(put, times, until="2024-06-01")
    assert left == [0, 1, 2, 3]
    doubt = "times that are 0 or -1: 2, read as 1970; delete these rows if they have no time"
    assert card.notes[0] == doubt
    config = DataConfig(data=str(put({}) / "log.csv"), split="leave_one_out")
    assert f"warning: {config.data}: {doubt}" in map(str, validate(config))
    assert not any("1970" in note for note in imported(put, ["-1", "0", "1", "2"])[0].notes)


def test_a_clock_of_its_own_may_cross_units(put):
    times = [5_000, 90_000, 20_000_000, 50_000_000, 400_000_000]  # milliseconds since the start of a log
    assert imported(put, times, until="50000000")[1] == [0, 1, 2]


FAR = {
    "year 1": ("0001-01-01", "2024-03-{:02}"),
    "year 9999": ("9999-12-31", "2024-03-{:02}"),
    "the first day of computers": ("1970-01-01", "2024-03-{:02}"),
    "negative": ("-1700000000", "17000000{:02}"),
    "ten times": ("17000000000", "17000000{:02}"),
}


@pytest.mark.parametrize("case", FAR)
def test_few_times_far_from_the_others_are_told(case):
    far, usual = FAR[case]
    times = TimeEncoder()
    cells = [usual.format(day) for day in range(1, 21)]
    values, _, _ = times.encode(pl.Series([*cells[:9], far, *cells[9:]]))
    times.note_units(values, "line {}".format)
    doubt = times.seen.doubt()
    assert doubt.startswith("times before 1973 or after 2102, far from the others: 1, such as " + far)
    assert "(line 9); mend them" in doubt
    usual_times = TimeEncoder()
    values, _, _ = usual_times.encode(pl.Series(cells))
    usual_times.note_units(values, str)
    assert usual_times.seen.doubt() is None


def test_two_units_are_told_also_with_a_time_between_them():
    times = TimeEncoder()
    values, _, _ = times.encode(pl.Series([1700000000, 17000000000, 1700000000000]))
    times.note_units(values, str)
    times.seen.check()
    assert times.seen.doubt() == (
        "times that seem to be in seconds (1700000000) and milliseconds (1700000000000); write all times in one unit"
    )


@pytest.mark.parametrize("number", ["9223372036854775807", "9223372036854775808", "-5e18", "1e30"])
def test_numbers_beyond_nanoseconds_are_no_times(number):
    values, _, _ = TimeEncoder().encode(pl.Series(["1700000000", number]))
    assert values.to_list() == [1700000000, None]


@pytest.mark.parametrize("zone", ["+25:00", "-15", "+05:60"])
def test_zones_that_are_nowhere_are_no_times(zone):
    cells = pl.Series(["2024-03-01T10:00:00+05:30", f"2024-03-01T10:00:00{zone}"])
    assert TimeEncoder().encode(cells)[0].is_null().to_list() == [False, True]


def test_two_digits_of_a_year_in_front_are_not_taken_for_a_day():
    days = [f"{day:02}" for day in range(1, 29)]
    assert find_time_format(pl.Series([f"24-03-{day}" for day in days])) is None
    assert find_time_format(pl.Series([f"{day}-03-24" for day in days])) == "%d-%m-%y"
    assert find_time_format(pl.Series([f"03-{day}-24" for day in days])) == "%m-%d-%y"
    _, other_form, reason = TimeEncoder().encode(pl.Series(["24-03-01"]))
    assert other_form.to_list() == [True]
    assert "or with its year; say which with --time-format %d-%m-%y or %m-%d-%y or %y-%m-%d" in reason
