"""The page of ``crossrec serve``, in a real browser: by pointer, by keyboard, on a phone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.serving.worlds import (
    EVIL,
    ITEM_IDS,
    NO_TEXT,
    TITLES,
    UNTOUCHED,
    USER_IDS,
    a_run,
    a_shop,
    both_of,
    served,
)

from crossrec.recommend import Recommender
from crossrec.serving import Slot

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
expect.set_options(timeout=20_000)
SOMEBODY = USER_IDS[3]
TOKEN = "a token of many characters"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def slots(shop: Path) -> list[Slot]:
    return both_of(shop)


@pytest.fixture(scope="module")
def lists(shop: Path) -> list[list[str]]:
    """What both runs recommend to somebody."""
    runs = [Recommender.open(shop / name) for name in ("plain", "cross")]
    return [run.recommend([SOMEBODY], 10)["item"].to_list() for run in runs]


@pytest.fixture(scope="module")
def address(slots: list[Slot]) -> Iterator[str]:
    with served(slots) as at:
        yield at


@pytest.fixture
def go(page: Any, address: str) -> Callable[..., Any]:
    return lambda view="", on=page: visit(on, address, view)


def visit(page: Any, address: str, view: str = "") -> Any:
    page.goto("about:blank")
    page.goto(f"{address}#/{view}")
    page.wait_for_selector("main:not([aria-busy]) h1")
    return page


def user(one: str) -> str:
    return f"user/{quote(one, safe='')}"


def item(one: str) -> str:
    return f"item/{quote(one, safe='')}"


def arrives(page: Any, heading: str | re.Pattern[str]) -> None:
    """Wait until a view with this heading is there, whole."""
    expect(page.locator("main:not([aria-busy]) h1")).to_have_text(heading)


def focused(page: Any, what: str = "innerText") -> str:
    return page.evaluate(f"document.activeElement.{what}")


def ids_in(page: Any, place: int) -> list[str]:
    """The ids of a list's rows: the text under the title, or the title where there is none."""
    rows = page.locator(".ranked").nth(place).locator(".row .names").all_inner_texts()
    known = dict(zip(TITLES, ITEM_IDS, strict=True))
    return [known.get(row.split("\n")[0], row.split("\n")[0]) for row in rows]


def test_the_start_shows_the_runs_and_where_to_begin(go):
    page = go()
    arrives(page, "Two runs, side by side")
    assert page.locator("h2").all_inner_texts() == ["vbpr", "lightgcn+cross", "30 users", "40 items"]
    assert page.locator(".panel").nth(1).locator("table").inner_text().split() == [
        *("valid", "test", "recall@20", "0.2700", "0.2700", "ndcg@20", "0.1250", "0.1250")
    ]
    page.click(f"text={USER_IDS[4]}")
    arrives(page, f"User {USER_IDS[4]}")
    page.go_back()
    arrives(page, "Two runs, side by side")


def test_a_user_has_a_history_and_the_lists_of_both_runs(go, lists):
    page = go(user(SOMEBODY))
    arrives(page, f"User {SOMEBODY}")
    assert page.locator(".panel h2").first.inner_text() == "History: 6 items"
    assert page.locator(".cards .badge").all_inner_texts() == ["validation"]
    assert [ids_in(page, place) for place in (0, 1)] == lists
    both = set(lists[0]) & set(lists[1])
    assert page.inner_text("#shared") == f"{len(both)} of 10 items are in both lists."
    assert page.locator("li.shared").count() == 2 * len(both)
    badge = page.locator(".ranked").first.locator(".badge.both").first
    first = next(one for one in lists[0] if one in both)
    assert badge.inner_text() == f"in both lists, {lists[1].index(first) + 1} there"


def test_pictures_are_shown_where_there_are_some(go):
    page = go(item(ITEM_IDS[1]))
    expect(page.locator("img.picture")).to_have_js_property("naturalWidth", 8)
    page = go(item(ITEM_IDS[4]))
    assert page.locator("img.picture").count() == 0
    assert page.inner_text(".picture.blank").strip() == "P"


def test_a_row_says_what_its_score_is_made_of(go, lists, shop):
    page = go(user(SOMEBODY))
    for place, name in enumerate(("plain", "cross")):
        told = Recommender.open(shop / name).explain(SOMEBODY, lists[place][0])
        panel = page.locator(".columns > .panel").nth(place)
        panel.locator(".row").first.click()
        panel.locator(".why dl").first.wait_for()
        texts = panel.locator(".why .bar").all_inner_texts()
        shown = [(text.split("\n")[0], text.split()[-1]) for text in texts]
        expected = [(name, f"{value:.3f}") for name, value in told["parts"].items()]
        for modality, value in told["cosine"].items():
            expected.append(("behaviour" if modality == "id" else modality, f"{value:.3f}"))
            if modality in told["aligned"]:
                expected.append((f"{modality}, aligned", f"{told['aligned'][modality]:.3f}"))
        assert shown == expected
    panel.locator(".why a").click()
    arrives(page, TITLES[ITEM_IDS.index(lists[1][0])])


def test_settings_of_the_lists_are_in_the_address(go, page):
    go(user(SOMEBODY))
    page.select_option("#k", "20")
    expect(page.locator(".ranked .row")).to_have_count(40)
    page.select_option("#category", "tea")
    expect(page.locator(".ranked .row")).not_to_have_count(40)
    page.check("#seen")
    page.wait_for_selector(".ranked .badge.train")
    assert page.evaluate("location.hash").endswith("?k=20&category=tea&seen=1")
    assert page.locator(".ranked .badge.valid").count() == 2
    assert focused(page, "id") == "seen"
    shown = ids_in(page, 0)
    page.reload()
    page.wait_for_selector(".ranked .badge.train")
    assert ids_in(page, 0) == shown
    assert page.is_checked("#seen")
    assert page.input_value("#category") == "tea"


def test_an_item_has_neighbours_by_behaviour_and_by_each_modality(go, shop):
    one = ITEM_IDS[5]
    page = go(item(one))
    arrives(page, TITLES[5])
    assert page.locator(".facts").first.inner_text().split("\n") == ["price", "5 €"]
    assert page.locator("h3").all_inner_texts() == 2 * [
        *("Near by behaviour", "Near by image", "Near by text"),
        "Who would like it, of those who have not taken it",
    ]
    place = 0
    for name in ("plain", "cross"):
        run = Recommender.open(shop / name)
        for by in ("behaviour", "image", "text"):
            assert ids_in(page, place) == run.similar([one], 10, by=by)["similar"].to_list()
            place += 1
    page.locator(".chips a").first.click()
    arrives(page, re.compile("^User "))
    page = go(item(ITEM_IDS[NO_TEXT]))
    assert page.locator("h3", has_text="text").count() == 0
    page = go(item(ITEM_IDS[UNTOUCHED]))
    assert page.locator("text=Nobody has taken it in training").count() == 2


def test_what_looks_like_markup_is_text(go):
    page = go(user(EVIL))
    arrives(page, f"User {EVIL}")
    page.select_option("#k", "50")
    expect(page.locator(".ranked .row")).to_have_count(68)
    page.fill("#search", "alert")
    page.wait_for_selector("#found [role=option]")
    texts = page.inner_text("main") + page.inner_text("#found")
    assert EVIL in texts
    assert "<script>alert(7)</script>" in texts
    assert page.locator("main script, main b, main i, img[src=x], #found img").count() == 0


def test_search_finds_users_and_items_by_keyboard(go, page):
    go()
    page.keyboard.press("/")
    assert focused(page, "id") == "search"
    page.keyboard.type("ann/2")
    expect(page.locator("#found .name").first).to_have_text("ann/2")
    assert page.get_attribute("#search", "aria-expanded") == "true"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    active = page.get_attribute("#search", "aria-activedescendant")
    assert page.locator(f"[id='{active}']").get_attribute("aria-selected") == "true"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    arrives(page, "User ann/2")
    page.keyboard.press("/")
    page.keyboard.type('Pot "12"')
    page.keyboard.press("Enter")  # before anything is shown
    arrives(page, TITLES[12])
    page.fill("#search", "no such thing")
    page.wait_for_selector("#found .none")
    page.press("#search", "Escape")
    assert page.is_hidden("#found")


def test_all_of_it_goes_by_keyboard(go, page, lists):
    go(user(SOMEBODY))
    stops = []
    for _ in range(40):
        page.keyboard.press("Tab")
        stops.append(focused(page, "className") or focused(page, "id") or focused(page, "tagName"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", stops
        if stops[-1] == "row":
            break
    assert stops[:4] == ["skip", "brand", "search", "random"]
    assert stops[-4:] == ["k", "category", "seen", "row"]

    def at() -> tuple[int, int]:
        return tuple(
            page.evaluate(
                """() => {
                    const lists = [...document.querySelectorAll(".ranked")];
                    const list = document.activeElement.closest(".ranked");
                    return [lists.indexOf(list), [...list.querySelectorAll(".row")].indexOf(document.activeElement)];
                }"""
            )
        )

    assert at() == (0, 0)
    for key, place in (("ArrowDown", (0, 1)), ("ArrowRight", (1, 1)), ("End", (1, 9)), ("ArrowDown", (1, 9))):
        page.keyboard.press(key)
        assert at() == place
    for key, place in (("ArrowLeft", (0, 9)), ("Home", (0, 0)), ("ArrowUp", (0, 0))):
        page.keyboard.press(key)
        assert at() == place
    page.keyboard.press("Enter")
    page.wait_for_selector(".why dl")
    assert focused(page, "getAttribute('aria-expanded')") == "true"
    page.keyboard.press("Tab")
    assert focused(page) == "Open the item"
    page.keyboard.press("Tab")
    assert at() == (1, 9)  # the other list is one stop, where it was left
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    arrives(page, TITLES[ITEM_IDS.index(lists[0][0])])
    assert focused(page, "tagName") == "H1"


def test_the_skip_link_leads_to_the_lists(go, page):
    go(user(SOMEBODY))
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert focused(page, "id") == "main"
    arrives(page, f"User {SOMEBODY}")


def test_a_random_user(go, page):
    go()
    page.click("#random")
    arrives(page, re.compile("^User "))
    assert page.inner_text("h1").removeprefix("User ") in USER_IDS


def test_names_and_roles_are_there_for_those_who_do_not_see(go):
    page = go(user(SOMEBODY))
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, a, input, select")]
            .filter((one) => !(one.getAttribute("aria-label") || one.labels?.length || one.innerText.trim()))
            .map((one) => one.outerHTML)"""
    )
    assert unnamed == []
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("main h1").count() == 1
    assert page.get_by_role("list", name="vbpr recommends").count() == 1
    assert page.get_by_role("combobox", name="Find a user or an item").count() == 1
    assert page.inner_text("#status") == f"User {SOMEBODY}"


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_needs_no_sideways_scrolling(new_page, address, width):
    page = new_page(width, 700)
    for view in ("", user(SOMEBODY), user(EVIL), item(ITEM_IDS[5]), "nothing"):
        if view != "nothing":
            visit(page, address, view)
        if "user" in view:
            page.locator(".row").first.click()
            page.wait_for_selector(".why dl")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
        small = page.evaluate(
            """() => [...document.querySelectorAll("button, select, .ranked a.row, .cards a, input[type=search]")]
                .filter((one) => one.offsetHeight < 36).map((one) => one.outerHTML)"""
        )
        assert small == [], view
    lists = page.locator(".columns > section")
    assert lists.nth(0).bounding_box()["x"] == lists.nth(1).bounding_box()["x"]  # one below the other


CONTRAST = """() => {
    const light = (colour) => {
        const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => {
            const one = part / 255;
            return one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
    };
    const ground = (one) => {
        for (; one; one = one.parentElement) {
            const colour = getComputedStyle(one).backgroundColor;
            if (!/, 0\\)$/.test(colour)) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    const pairs = [];
    for (const one of document.querySelectorAll("main *, header *")) {
        if (![...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) || !one.offsetParent) continue;
        const [dark, bright] = [light(getComputedStyle(one).color), light(ground(one))].sort((a, b) => a - b);
        const body = getComputedStyle(document.body).backgroundColor;
        pairs.push([(bright + 0.05) / (dark + 0.05), one.className || one.tagName, body]);
    }
    return pairs;
}"""


def test_light_and_dark_can_be_read(new_page, address):
    grounds = set()
    for colour in ("light", "dark"):
        page = new_page(colour=colour)
        visit(page, address, user(SOMEBODY) + "?seen=1&k=50")
        page.locator(".row").first.click()
        page.wait_for_selector(".why dl")
        pairs = page.evaluate(CONTRAST)
        assert len(pairs) > 50
        assert [pair for pair in pairs if pair[0] < 4.5] == []
        grounds.add(pairs[0][2])
    assert len(grounds) == 2


@pytest.mark.parametrize(
    ("view", "told"),
    [
        (user("nobody"), "user 'nobody' is none of the 30 users of this run"),
        (item("x"), "item 'x' is none of the 40 items of this run"),
        (user(SOMEBODY) + "?category=none", "no item of category 'none'"),
        ("elsewhere/x", "There is nothing at this address."),
        ("user/%E0%A4%A", "There is nothing at this address."),
    ],
)
def test_an_address_that_leads_nowhere_says_so(go, expected_problems, view, told):
    expected_problems.append("Failed to load resource")
    page = go(view)
    arrives(page, "That did not work")
    assert told in page.inner_text(".problem")
    page.click("text=Back to the start")
    arrives(page, "Two runs, side by side")


def test_a_user_that_only_one_run_knows(page, slots, tmp_path, expected_problems):
    expected_problems.append("Failed to load resource")
    newer = Slot(a_run(tmp_path / "newer", seed=2, users=[*USER_IDS, "somebody new"]))
    with served([slots[1], newer], page) as address:
        visit(page, address, user("somebody new"))
        arrives(page, "User somebody new")
        assert page.locator(".panel h2").all_inner_texts()[1].startswith("lightgcn+cross (1)")
        assert "none of the 30 users" in page.inner_text(".problem")
        assert page.locator(".ranked").count() == 1


def test_one_run_alone(page, slots):
    with served(slots[1:], page) as address:
        visit(page, address, user(SOMEBODY))
        assert page.locator(".ranked").count() == 1
        assert page.locator("#shared, .badge.both").count() == 0


def test_a_token_is_asked_for_and_kept(page, slots, expected_problems):
    expected_problems.append("401")
    with served(slots, page, token=TOKEN) as address:
        visit(page, address, item(ITEM_IDS[1]))
        arrives(page, "A token is needed")
        page.fill("#token", "wrong")
        page.press("#token", "Enter")
        expect(page.locator("#token")).to_have_value("")  # asked for again
        page.fill("#token", TOKEN)
        page.press("#token", "Enter")
        page.wait_for_selector("img.picture")
        expect(page.locator("img.picture")).to_have_js_property("naturalWidth", 8)
        page.reload()
        page.wait_for_selector("img.picture")
        assert TOKEN not in page.content()
