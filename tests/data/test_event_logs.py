"""Event logs: which rows count, with which weights, and in which form their files are."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.data.event_shop import BOT, COLUMNS, EVENTS, ITEM_COLUMNS, Event, write_shop

from crossrec.cli import main
from crossrec.data import ImportConfig, import_data
from crossrec.data.io.numbers import NumberReader
from crossrec.data.io.times import check_time_format, find_time_format, parse_dates
from crossrec.errors import ConfigError, DataError

VIEWED, CART, BOUGHT, REFUNDED = EVENTS
WEIGHTS = {BOUGHT: 3.0, CART: 1.0, REFUNDED: -3.0}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(folder, events) of the German shop."""
    folder = tmp_path_factory.mktemp("shop")
    return folder, write_shop(folder)


def imported(shop: Any, tmp_path: Any, **rules: Any) -> Any:
    """(card, {(user, item): row}) of the shop under rules."""
    config = ImportConfig(items=shop[0] / "artikel.csv", **{**COLUMNS, **ITEM_COLUMNS, **rules})
    card = import_data(shop[0] / "ereignisse.csv", tmp_path / "out", config, overwrite=True)
    frame = pl.read_parquet(tmp_path / "out" / "interactions.parquet")
    assert frame.select("user", "item").is_unique().all()
    return card, {(row["user"], row["item"]): row for row in frame.rows(named=True)}


def slow_weights(events: list[Event], weights: dict[str, float], half_life: float | None = None) -> Any:
    """(user, item) → sum of the weights of its events, those above zero."""
    last = max(event.moment for event in events if event.kind in weights)
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for event in events:
        if event.kind in weights:
            age = (last - event.moment).total_seconds() / 86_400
            decay = 1.0 if half_life is None else 0.5 ** (age / half_life)
            sums[event.customer, event.product] += weights[event.kind] * decay
    return {pair: weight for pair, weight in sums.items() if weight > 1e-8}


@pytest.mark.parametrize("half_life", [None, 20.0])
def test_weights_of_a_shop_log_agree_with_a_slow_loop(half_life, shop, tmp_path):
    card, rows = imported(shop, tmp_path, event_weights=WEIGHTS, half_life=half_life)
    expected = slow_weights(shop[1], WEIGHTS, half_life)
    assert rows.keys() == expected.keys()
    np.testing.assert_allclose([rows[pair]["weight"] for pair in expected], [*expected.values()], rtol=1e-9)
    for pair, row in rows.items():  # the row of the last event with a weight above zero
        moments = [e.moment for e in shop[1] if (e.customer, e.product) == pair and e.kind in (BOUGHT, CART)]
        assert row["time"] == max(moments)
    counts = {kind: sum(event.kind == kind for event in shop[1]) for kind in EVENTS}
    step = next(step for step in card.steps if step.what == "events")
    for kind in WEIGHTS:
        assert f"{kind} {counts[kind]:,} × {WEIGHTS[kind]:g}" in step.rule
    assert step.rule.endswith(f"; left out: {VIEWED} {counts[VIEWED]:,}")
    assert step.interactions == len(shop[1]) - counts[VIEWED]


def test_refunds_of_the_same_weight_take_purchases_back(shop, tmp_path):
    weights = {BOUGHT: 1.0, REFUNDED: -1.0}
    card, rows = imported(shop, tmp_path, event_weights=weights)
    expected = slow_weights(shop[1], weights)
    assert rows.keys() == expected.keys() < {(e.customer, e.product) for e in shop[1] if e.kind == BOUGHT}
    assert card.steps[-1].what == "taken back"
    assert card.steps[-2].interactions - card.steps[-1].interactions > 5


def test_events_without_weights(shop, tmp_path):
    card, rows = imported(shop, tmp_path, events=(BOUGHT,))
    first = {}
    for event in shop[1]:
        if event.kind == BOUGHT:
            first.setdefault((event.customer, event.product), event.moment)
    assert {pair: row["time"] for pair, row in rows.items()} == first
    assert "weight" not in next(iter(rows.values()))
    assert card.rules["duplicates"] == "first"


def test_a_column_of_weights_multiplies_those_of_events(shop, tmp_path):
    weights = {BOUGHT: 2.0}
    _, rows = imported(shop, tmp_path, event_weights=weights, weight_column="Menge")
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for event in shop[1]:
        if event.kind == BOUGHT:
            sums[event.customer, event.product] += 2 * event.amount
    assert {pair: row["weight"] for pair, row in rows.items()} == sums
    assert {0.5, 1.0, 1.5} <= {event.amount for event in shop[1]}


@pytest.mark.parametrize("how", ["drop", "cap"])
def test_a_bot_is_dropped_or_cut(how, shop, tmp_path):
    rules = {"events": (VIEWED,), "max_user_interactions": 200, "busy_users": how}
    card, rows = imported(shop, tmp_path, **rules)
    bot = [event for event in shop[1] if event.customer == BOT]
    left = {item for user, item in rows if user == BOT}
    assert len(bot) == 300
    assert left == (set() if how == "drop" else {event.product for event in bot[-200:]})
    step = next(step for step in card.steps if step.what == "busy users")
    what = "dropped" if how == "drop" else "cut to the latest 200"
    assert step.rule == f"1 user with more than 200 rows {what}; the busiest, '{BOT}', had 300"
    assert {pair for pair in rows if pair[0] != BOT} == {
        (e.customer, e.product) for e in shop[1] if e.kind == VIEWED and e.customer != BOT
    }


def test_the_form_of_the_files_is_found_and_reported(shop, tmp_path):
    card, _ = imported(shop, tmp_path, weight_column="Menge", events=(BOUGHT,))
    for note in (
        "ereignisse.csv: separated by semicolons",
        "artikel.csv: separated by semicolons",
        "times: in the form %d.%m.%Y %H:%M:%S, as days above 12 show",
        "numbers: with a decimal comma, as the cells show",
        "prices: with a decimal comma, as the cells show",
    ):
        assert note in card.notes
    items = pl.read_parquet(tmp_path / "out" / "items.parquet").sort("item")
    assert items.columns == ["item", "title", "text", "category", "price", "picture"]
    number = int(items["item"][3][1:])
    assert items.row(3) == (
        f"A{number:05}", f'Tee "{number}"', "Grüner Tee, lose", "Tee; Kräuter",
        (number % 9 + 1) * 1000 + number + number / 100, f"bilder/{number}.jpg",
    )  # fmt: skip


def test_the_command_gives_the_same_as_python(shop, tmp_path, capsys):
    flags = [
        part for name, value in {**COLUMNS, **ITEM_COLUMNS}.items() for part in (f"--{name.replace('_', '-')}", value)
    ]
    rules = ["--event-weights", f"{BOUGHT}=3", f"{CART}=1", f"{REFUNDED}=-3", "--half-life", "20"]
    given = ["--separator", ";", "--decimal", ",", "--quote", '"', "--time-format", "%d.%m.%Y %H:%M:%S"]
    log, out = shop[0] / "ereignisse.csv", tmp_path / "command"
    command = ["data", "import", str(log), "--items", str(shop[0] / "artikel.csv"), "--out", str(out)]
    assert main([*command, *flags, *rules, *given]) == 0
    assert f"{CART} " in capsys.readouterr().out
    imported(shop, tmp_path, event_weights=WEIGHTS, half_life=20)
    for name in ("interactions.parquet", "items.parquet"):
        assert (out / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


ROWS = [("a", "x", "view", 1, 1), ("a", "x", "buy", 5, 2), ("a", "x", "cart", 2, 3), ("a", "y", "view", 1, 4)]


def small(put: Any, text: str, **rules: Any) -> Any:
    """The interactions of a CSV under rules."""
    folder = put({"log.csv": text})
    card = import_data(folder / "log.csv", folder.parent / "out", ImportConfig(**rules), overwrite=True)
    return card, pl.read_parquet(folder.parent / "out" / "interactions.parquet").rows(named=True)


@pytest.mark.parametrize(
    ("rules", "rows"),
    [
        # a purchase after a view stays under a rule about its rating
        ({"min_rating": 5}, [("x", 2, None)]),
        ({"duplicates": "highest"}, [("x", 2, None), ("y", 4, None)]),
        ({"duplicates": "last"}, [("x", 3, None), ("y", 4, None)]),
        ({"duplicates": "sum"}, [("x", 3, 3.0), ("y", 4, 1.0)]),
        ({"event_weights": {"buy": 3, "view": 1}}, [("x", 2, 4.0), ("y", 4, 1.0)]),
        ({"event_weights": {"buy": 3}, "events": ("buy", "view")}, [("x", 2, 4.0), ("y", 4, 1.0)]),
        ({"event_weights": {"buy": 3, "cart": 9}, "duplicates": "first"}, [("x", 2, 3.0)]),
        ({"event_weights": {"buy": 3, "cart": 9}, "duplicates": "highest"}, [("x", 3, 9.0)]),
        ({"event_weights": {"buy": 3, "cart": -9, "view": 1}}, [("y", 4, 1.0)]),
        ({"event_weights": {"buy": 3, "cart": -9, "view": 1}, "duplicates": "highest"}, [("x", 2, 3.0), ("y", 4, 1.0)]),
        ({"weight_column": "rating"}, [("x", 3, 8.0), ("y", 4, 1.0)]),
    ],
    ids=str,
)
def test_which_rows_count_with_which_weights(rules, rows, put):
    text = "user,item,event,rating,time\n" + "".join(",".join(map(str, row)) + "\n" for row in ROWS)
    _, left = small(put, text, **{"event_column": "event", "split": "none", **rules})
    assert [(row["item"], row["time"], row.get("weight")) for row in left] == rows


@pytest.mark.parametrize(
    ("rules", "error", "message"),
    [
        ({"events": ("buy",)}, ConfigError, "events: says nothing without the column of events; name it with"),
        ({"event_weights": {"buy": 3}}, ConfigError, "event_weights: says nothing without the column of events"),
        (
            {"event_column": "event", "events": ("view",), "event_weights": {"buy": 3}},
            ConfigError,
            "event_weights: 'buy' is none of the events (view); add it",
        ),
        ({"event_column": "event", "events": ("bui",)}, DataError, "no 'bui' in column 'event'; did you mean 'buy'?"),
        ({"event_column": "event", "events": ("zzz",)}, DataError, "column 'event' has none; it has view, buy, cart"),
        ({"event_column": "evnt", "events": ("buy",)}, DataError, "log.csv: no column 'evnt'; did you mean 'event'?"),
        ({"event_column": "event", "event_weights": {"buy": -1.0}}, DataError, "no (user, item) pair has a weight"),
        ({"max_user_interactions": 1}, DataError, "max_user_interactions 1 leaves no row: every user has more; raise"),
        ({"duplicates": "highest", "rating_column": "price"}, DataError, "no column 'price'"),
        ({"half_life": 3.0}, ConfigError, "half_life 3: the times are in no known unit, such as 4"),
        ({"title_column": "name"}, ConfigError, "title_column: the source has no table of items with columns to name"),
    ],
    ids=str,
)  # fmt: skip
def test_mistakes(rules, error, message, put):
    text = "user,item,event,rating,time\n" + "".join(",".join(map(str, row)) + "\n" for row in ROWS)
    with pytest.raises(error) as caught:
        small(put, text, **rules)
    assert message in str(caught.value)
    assert not (put({}).parent / "out").exists()


def test_an_event_that_is_empty_is_named(put):
    text = "user,item,event\na,x,buy\na,y, \n"
    with pytest.raises(DataError, match=r"log.csv, line 3: event is empty; fill the cell in"):
        small(put, text, event_column="event")
    _, left = small(put, text, event_column="event", bad_rows="drop")
    assert [row["item"] for row in left] == ["x"]


@pytest.mark.parametrize("text", ["buy", "buy=", "=3", "buy=much", "buy=inf"])
def test_weights_that_are_none_are_refused(text, tmp_path, capsys):
    assert main(["data", "import", str(tmp_path), "--out", str(tmp_path / "o"), "--event-weights", text]) == 2
    assert f"'{text}' gives no event its weight; write purchase=3" in capsys.readouterr().err


FORMS = {
    "semicolons": ("user;item;note\na;x;1,5\nb;y;2\n", {}, "separated by semicolons"),
    "tabs": ("user\titem\tnote\na\tx\t1\n", {}, "separated by tabs"),
    "bars": ("user|item|note\na|x|1\n", {}, "separated by bars"),
    "commas in the header": ("user;item;note, long\na;x;1\n", {}, "separated by semicolons"),
    "another character": ("user~item~note\na~x~1\n", {"separator": "~"}, "separated by '~'"),
    "single quotes": ("'user';'item'\n'a;b';'x'\n'c''d';'y'\n", {}, "separated by semicolons, single quotes"),
    "no quotes": ('user,item\na,x"\n', {"quote": "none"}, "separated by commas, no quotes"),
    "tab by name": ("user\titem,s\na\tx\n", {"separator": "tab", "item_column": "item,s"}, "separated by tabs"),
}


@pytest.mark.parametrize("case", FORMS)
def test_separators_and_quotes(case, put):
    text, rules, note = FORMS[case]
    card, left = small(put, text, **rules)
    pairs = {
        "single quotes": [("a;b", "x"), ("c'd", "y")],
        "semicolons": [("a", "x"), ("b", "y")],
        "no quotes": [("a", 'x"')],
    }
    assert [(row["user"], row["item"]) for row in left] == pairs.get(case, [("a", "x")])
    assert any(n.startswith(f"log.csv: {note}") for n in card.notes)


def test_a_separator_inside_quotes_and_line_ends_in_cells(put):
    text = 'user;item;note\r\n"a;1";x;"two\nlines; ""quoted"""\r\nb;y;\r\n'
    _, left = small(put, text)
    assert [(row["user"], row["item"]) for row in left] == [("a;1", "x"), ("b", "y")]


def test_a_wrong_number_of_cells_is_named_by_line(put):
    with pytest.raises(DataError, match=r"log.csv, line 3: 3 fields where the header has 2.*separated by semicolons"):
        small(put, "user;item\na;x\nb;y;z\n")


@pytest.mark.parametrize("character", ["ab", "x", "7", "\n", "é", "."])
def test_characters_that_separate_nothing_are_refused(character):
    with pytest.raises(ValueError, match="give one character"):
        ImportConfig(separator=character)


@pytest.mark.parametrize("setting", ["separator", "quote"])
def test_other_kinds_have_their_own_separators(setting, put):
    folder = put({"train.json": json.dumps({"a": [1]})})
    with pytest.raises(ConfigError, match=f"{setting}: goes with kind tables only"):
        import_data(folder, folder.parent / "out", ImportConfig(**{setting: ";"}))


@pytest.mark.parametrize(
    ("cells", "decimal", "numbers"),
    [
        (["3,5", "1"], None, [3.5, 1]),
        (["1.299", "3,5"], None, [1299, 3.5]),
        (["1.299.000"], None, [None]),
        (["1,299,000", "1,5"], None, [None, None]),
        (["1.299,00", "-7"], None, [1299, -7]),
        (["1,299.5", "1,000"], None, [1299.5, 1000]),
        (["0,125"], None, [0.125]),
        (["1,299"], None, [None]),
        (["1,299"], ",", [1.299]),
        (["1,299"], ".", [1299]),
        (["1.5", "2,5"], None, [1.5, None]),
        (["1.5"], ",", [None]),
        (["12 EUR", "", None], ",", [None, None, None]),
        (["inf", "nan", "1e3"], None, [None, None, 1000]),
    ],
    ids=str,
)
def test_decimal_signs(cells, decimal, numbers):
    assert NumberReader(decimal).parse(pl.Series(cells))[0].to_list() == numbers


def test_a_number_that_may_be_two_is_an_error_that_names_the_option(put):
    text = "user;item;rating\na;x;1,299\n"
    with pytest.raises(DataError, match=r"line 2: rating '1,299' may have a decimal comma or a comma between"):
        small(put, text)
    assert small(put, text, decimal=",")[1][0]["rating"] == 1.299


@pytest.mark.parametrize(
    ("cells", "form"),
    [
        (["01.12.2024", "31.12.2024"], "%d.%m.%Y"),
        (["1.12.24 9:05", "31.12.24 19:05"], "%d.%m.%y %H:%M"),
        (["12/31/2024", "", "12/01/2024"], "%m/%d/%Y"),
        (["12/31/2024 1:05 PM", "12/01/2024 12:00 AM"], "%m/%d/%Y %I:%M %p"),
        (["31/12/2024 01:05:07am"], "%d/%m/%Y %I:%M:%S%p"),
        (["31.12.2024 23:59:59,250"], "%d.%m.%Y %H:%M:%S,%f"),
        (["31.12.2024 23:59:59.5"], "%d.%m.%Y %H:%M:%S.%f"),
        (["01/02/2024", "03/04/2024"], None),
        (["31/12/2024", "12/31/2024"], None),
        (["2024-05-31"], None),
        (["1717113600"], None),
        ([], None),
    ],
    ids=str,
)
def test_the_form_of_dates_is_found_where_days_above_12_show_it(cells, form):
    assert find_time_format(pl.Series(cells, dtype=pl.String)) == form


@pytest.mark.parametrize(
    ("cell", "form", "clock"),
    [
        ("31.12.2024 23:59:59,25", "%d.%m.%Y %H:%M:%S,%f", (23, 59, 59, 250_000)),
        ("31.12.2024 23:59:59.5", "%d.%m.%Y %H:%M:%S.%f", (23, 59, 59, 500_000)),
        ("12/31/2024 12:05 am", "%m/%d/%Y %I:%M %p", (0, 5, 0, 0)),
    ],
)
def test_forms_of_a_time_of_day(cell, form, clock):
    assert check_time_format(form) == form
    assert parse_dates(pl.Series([cell]), form).to_list() == [datetime(2024, 12, 31, *clock)]


def test_a_huge_weight_takes_no_other_rows_with_it(tmp_path):
    rows = ["a,x,1e15", "a,y,2", "b,x,0.001", "b,y,0.1", "b,y,0.2", "b,y,-0.3", "c,x,5", "c,x,-5"]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,weight", *rows]) + "\n")
    import_data(tmp_path / "log.csv", tmp_path / "out", ImportConfig(weight_column="weight", split="none"))
    left = pl.read_parquet(tmp_path / "out" / "interactions.parquet").select("user", "item", "weight").rows()
    assert left == [("a", "x", 1e15), ("a", "y", 2.0), ("b", "x", 0.001)]


def test_a_weight_beyond_float32_is_an_error(tmp_path):
    (tmp_path / "log.csv").write_text("user,item,weight\na,x,1\na,y,1e300\n")
    with pytest.raises(DataError, match="line 3: weight '1e300' is no number"):
        import_data(tmp_path / "log.csv", tmp_path / "out", ImportConfig(weight_column="weight", split="none"))
