"""A split by date cuts the time of all users at two bounds, and says who and what occurs only behind them."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from crossrec import Recommender
from crossrec.data import DataConfig, ImportConfig, import_data, load, validate
from crossrec.data.io.parse_log import InteractionLog
from crossrec.data.io.times import TimeEncoder
from crossrec.data.splits import make_split, split_log
from crossrec.errors import ConfigError, DataError
from crossrec.randomness import numpy_generator
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import held_out

DAYS = [dt.date(2024, 5, day) for day in range(1, 11)]


def split_of(config: DataConfig | ImportConfig, times: pl.Series) -> list[int]:
    log = InteractionLog(pl.Series([0]), pl.Series(range(len(times))), np.zeros(len(times), int), np.arange(len(times)))
    log.times = TimeEncoder()
    encoded, _, _ = log.times.encode(times)
    log.time_N = encoded.to_numpy()
    return split_log(log, config, lambda _: None).tolist()


def dates(**bounds: str) -> DataConfig:
    return DataConfig(split="date", **bounds)


@settings(deadline=None)
@given(times=st.lists(st.integers(0, 12), min_size=3, max_size=40), bounds=st.tuples(*[st.integers(0, 12)] * 2))
def test_before_the_first_bound_train_behind_the_second_test(times, bounds):
    config = dates(valid_from=str(bounds[0]), test_from=str(bounds[1]))
    expected = [0 if time < bounds[0] else 1 if time < bounds[1] else 2 for time in times]
    if bounds[0] < bounds[1] and {*expected} == {0, 1, 2}:
        assert split_of(config, pl.Series(times)) == expected
    else:
        with pytest.raises(ConfigError, match=f"times run from {min(times)} to {max(times)}"):
            split_of(config, pl.Series(times))


@settings(deadline=None)
@given(times=st.lists(st.integers(0, 30), min_size=1, max_size=60), first=st.integers(1, 98), gap=st.integers(1, 50))
def test_a_share_is_of_the_interactions_in_the_order_of_time(times, first, gap):
    second = min(first + gap, 99)
    config = dates(valid_from=f"{first}%", test_from=f"{second} %")
    bounds = [sorted(times)[len(times) * share // 100] for share in (first, second)]
    expected = [sum(time >= bound for bound in bounds) for time in times]
    if {*expected} == {0, 1, 2}:
        assert split_of(config, pl.Series(times)) == expected
    else:
        with pytest.raises(ConfigError, match=r"valid_from \d+% \(\d+\)"):
            split_of(config, pl.Series(times))


@pytest.mark.parametrize(
    "times",
    [
        lambda days: days,
        lambda days: days.cast(pl.Datetime("ms")),
        lambda days: days.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo"),
        lambda days: days.cast(pl.String),
        lambda days: days.cast(pl.String) + "T00:00:00Z",
        lambda days: days.cast(pl.Datetime("us")).dt.epoch("s"),
        lambda days: days.cast(pl.Datetime("us")).dt.epoch("ms").cast(pl.Float64),
    ],
    ids=["date", "datetime", "zone", "text", "text with a zone", "seconds", "decimal milliseconds"],
)
def test_bounds_are_dates_in_utc_whatever_holds_the_times(times):
    times = times(pl.Series(DAYS))
    by_day = dates(valid_from="2024-05-06", test_from="2024-05-09T02:00+02:00")
    assert split_of(by_day, times) == [0] * 5 + [1] * 3 + [2] * 2
    assert split_of(dates(test_from="2024-05-10"), times) == [0] * 8 + [1, 2]
    assert split_of(dates(), times) == [0] * 8 + [1, 2]


@pytest.mark.parametrize("split", ["auto", "given", "random"])
def test_without_a_date_or_a_time_the_split_is_drawn_by_the_seed(split):
    user_N, item_N = np.repeat([0, 1], 10), np.tile(np.arange(10), 2)
    log = InteractionLog(pl.Series(range(2)), pl.Series(range(10)), user_N, item_N)
    log.time_N = np.arange(20)
    expected = make_split(user_N, item_N, None, "random", numpy_generator(5, "split"))
    assert np.array_equal(split_log(log, DataConfig(split=split, split_seed=5), lambda _: None), expected)


SHOP = [("a", 1, 1), ("a", 2, 2), ("b", 1, 3), ("b", 2, 6), ("new", 1, 6), ("a", 3, 9), ("new", 3, 9), ("b", 4, 10)]
"""User, item, day: user new, and items 3 and 4, come after the fifth day."""
NOTE = (
    "split date, valid_from 2024-05-05, test_from 2024-05-09: 1 users have no training row and are left out of "
    "evaluation, with 1 of 2 validation rows and 1 of 3 test rows; 2 items have none and are ranked as cold items, in "
    "0 of 2 validation rows and 3 of 3 test rows"
)
BOUNDS = {"split": "date", "valid_from": "2024-05-05", "test_from": "2024-05-09"}


def shop_frame() -> pl.DataFrame:
    user, item, day = zip(*SHOP, strict=True)
    return pl.DataFrame({"user": user, "item": item, "time": [DAYS[n - 1] for n in day]})


def test_users_and_items_that_come_after_a_bound_are_counted(put, caplog):
    folder = put({"interactions.parquet": shop_frame()})
    config = DataConfig(data=str(folder), **BOUNDS)
    dataset = load(config)
    assert [len(part) for part in (dataset.train, dataset.valid, dataset.test)] == [3, 2, 3]
    assert NOTE in caplog.messages
    assert NOTE in [finding.message for finding in validate(config)]
    users = dataset.user_ids.to_list()
    for part, evaluated in ((dataset.valid, ["b"]), (dataset.test, ["a", "b"])):
        assert [users[row] for row in held_out(dataset, part).user_E] == evaluated


def test_an_import_writes_the_same_split_and_says_so_on_its_card(put, tmp_path):
    source = put({"log.csv": shop_frame().with_columns(time=pl.col("time").dt.strftime("%d.%m.%Y")).write_csv()})
    rules = {"time_format": "%d.%m.%Y", **BOUNDS}
    card = import_data(source, tmp_path / "out", ImportConfig(**rules))
    assert card.splits == {"train": 3, "valid": 2, "test": 3}
    assert NOTE in card.notes
    assert f"- {NOTE}" in (tmp_path / "out" / "card.md").read_text()
    assert "split date, valid_from 2024-05-05, test_from 2024-05-09" in (tmp_path / "out" / "card.md").read_text()
    imported, made = load(DataConfig(data=str(tmp_path / "out"))), load(DataConfig(data=str(source), **rules))
    for name in ("train", "valid", "test"):
        pairs = [
            {*zip(d.user_ids.gather(part.user_N), d.item_ids.gather(part.item_N), strict=True)}
            for d, part in ((imported, getattr(imported, name)), (made, getattr(made, name)))
        ]
        assert pairs[0] == pairs[1]


def test_items_alone_that_come_after_a_bound_are_counted(put, caplog):
    frame = pl.DataFrame({"user": [*"abab"], "item": [1, 2, 2, 3], "time": DAYS[:4]})
    load(DataConfig(data=str(put({"interactions.parquet": frame})), split="date", valid_from="50%", test_from="75%"))
    (message,) = [message for message in caplog.messages if "split date" in message]
    assert "0 users have no training row" in message
    assert "1 items have none and are ranked as cold items, in 0 of 1 validation rows and 1 of 1 test rows" in message


def test_nothing_is_said_where_everybody_has_training_rows(put, caplog):
    frame = pl.DataFrame({"user": [*"abab"], "item": [1, 2, 2, 1], "time": DAYS[:4]})
    folder = put({"interactions.parquet": frame})
    load(DataConfig(data=str(folder), split="date", valid_from="50%", test_from="75%"))
    assert not [message for message in caplog.messages if "split date" in message]


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"valid_from": "0.8", "test_from": "0.9"}, "valid_from 0.8: the times are dates; give an ISO date"),
        ({"valid_from": "2024-05-09", "test_from": "2024-05-05"}, "valid_from 2024-05-09 is not before test_from"),
        ({"valid_from": "2024-05-05", "test_from": "2024-05-05"}, "valid_from 2024-05-05 is not before test_from"),
        ({"test_from": "2025-01-01"}, "no interaction test_from 2025-01-01; times run from 2024-05-01 to 2024-05-10"),
        ({"valid_from": "2024-05-01"}, "split date: no interaction before valid_from 2024-05-01; times run from"),
        ({"valid_from": "2024-05-07", "test_from": "2024-05-08"}, "no interaction from valid_from 2024-05-07 to test_"),
        ({"split": "time", "valid_from": "80%"}, "valid_from 80%: says nothing with split time; add split date"),
        ({"split": "auto", "test_from": "80%"}, "test_from 80%: says nothing with split auto; add split date"),
    ],
)
def test_bounds_that_split_nothing_are_refused(bounds, message, put, tmp_path):
    folder = put({"interactions.parquet": shop_frame()})
    settings = {"split": "date", **bounds}
    with pytest.raises(DataError, match=message.replace("(", r"\(")):
        load(DataConfig(data=str(folder), **settings))
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        import_data(folder / "interactions.parquet", tmp_path / "out", ImportConfig(**settings))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["31.12.2024", "soon", "inf", "nan%", "0%", "100%", "-5%", "%", "1e9%", "80 percent"])
@pytest.mark.parametrize("config_type", [DataConfig, ImportConfig])
def test_what_is_no_bound_is_refused(config_type, text):
    with pytest.raises(ConfigError, match=rf"setting 'test_from' = '{text}': Value error, neither a number"):
        config_type.parse({"test_from": text})


def test_a_log_without_times_cannot_be_split_by_date(put):
    folder = put({"log.csv": "user,item\na,1\na,2\n"})
    with pytest.raises(DataError, match="time"):
        load(DataConfig(data=str(folder), split="date"))
    with pytest.raises(DataError, match="time"):
        import_data(folder / "log.csv", folder / "out", ImportConfig(split="date"))
    with pytest.raises(DataError, match="'synthetic-tiny': has no column for split date"):
        load(DataConfig(data="synthetic-tiny", split="date"))


def test_bounds_are_part_of_what_a_run_is_only_where_they_are_given():
    plain = RunConfig().digest()
    assert plain == RunConfig(data=DataConfig(valid_from=None)).digest()
    given = [RunConfig(data=dates(**bounds)).digest() for bounds in ({}, {"valid_from": "70%"}, {"test_from": "95%"})]
    assert len({plain, *given}) == 4


def test_one_object_trains_on_a_split_by_date(tmp_path):
    rng = np.random.default_rng(0)
    pairs = pl.DataFrame({"user": rng.integers(0, 9, 80), "item": rng.integers(0, 12, 80)}).unique(maintain_order=True)
    frame = pairs.with_columns(time=pl.int_range(pl.len()))
    recommender = Recommender.fit(
        frame, backbone="bpr", alignment=None, epochs=1, dim=4, split="date", valid_from="50%", folder=tmp_path / "run"
    )
    sizes = recommender.vectors.split_sizes
    assert sizes["train"] == len(frame) // 2
    assert sizes["test"] == len(frame) - len(frame) * 9 // 10
