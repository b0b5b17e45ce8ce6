"""The page of ``crossrec serve`` in a real browser: pointer, keyboard, phone, light and dark."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.serving.worlds import (
    ITEM_IDS,
    MARKUP,
    NO_TEXT,
    TITLES,
    UNTOUCHED,
    USER_IDS,
    serve_in_thread,
    write_run,
)

from crossrec.recommend import Recommender
from crossrec.serving import ServedRun

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
expect.set_options(timeout=20_000)
USER = USER_IDS[3]
TOKEN = "a token of many characters"


@pytest.fixture(scope="module")
def lists(shop: Path) -> list[list[str]]:
    """Items that each run recommends to ``USER``."""
    runs = [Recommender.open(shop / name) for name in ("plain", "cross")]
    return [run.recommend([USER], 10)["item"].to_list() for run in runs]


@pytest.fixture(scope="module")
def address(served_runs: list[ServedRun]) -> Iterator[str]:
    with serve_in_thread(served_runs) as address:
        yield address


@pytest.fixture
def go(page: Any, address: str) -> Callable[..., Any]:
    return lambda view="", on=page: visit(on, address, view)


def visit(page: Any, address: str, view: str = "") -> Any:
    page.goto("about:blank")
    page.goto(f"{address}#/{view}")
    page.wait_for_selector("main:not([aria-busy]) h1")
    return page


def user(id: str) -> str:
    return f"user/{quote(id, safe='')}"


def item(id: str) -> str:
    return f"item/{quote(id, safe='')}"


def arrives(page: Any, heading: str | re.Pattern[str]) -> None:
    """Wait until a view with this heading is loaded."""
    expect(page.locator("main:not([aria-busy]) h1")).to_have_text(heading)


def focused(page: Any, attribute: str = "innerText") -> str:
    return page.evaluate(f"document.activeElement.{attribute}")


def ids_in(page: Any, index: int) -> list[str]:
    """The ids of the rows of a list."""
    rows = page.locator(".ranked").nth(index).locator(".row .names").all_inner_texts()
    id_of_title = dict(zip(TITLES, ITEM_IDS, strict=True))
    return [id_of_title.get(row.split("\n")[0], row.split("\n")[0]) for row in rows]


def test_the_start_view_shows_model_cards_users_and_items(go):
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
    page = go(user(USER))
    arrives(page, f"User {USER}")
    assert page.locator(".panel h2").first.inner_text() == "History: 6 items"
    assert page.locator(".cards .badge").all_inner_texts() == ["validation", "test"]
    assert [ids_in(page, index) for index in (0, 1)] == lists
    both = set(lists[0]) & set(lists[1])
    assert page.inner_text("#shared") == f"{len(both)} of 10 items are in both lists."
    assert page.locator("li.shared").count() == 2 * len(both)
    badge = page.locator(".ranked").first.locator(".badge.both").first
    first = next(one for one in lists[0] if one in both)
    assert badge.inner_text() == f"in both lists, {lists[1].index(first) + 1} there"


def test_pictures_and_placeholders(go):
    page = go(item(ITEM_IDS[1]))
    expect(page.locator("img.picture")).to_have_js_property("naturalWidth", 8)
    page = go(item(ITEM_IDS[4]))
    assert page.locator("img.picture").count() == 0
    assert page.inner_text(".picture.blank").strip() == "P"


def test_a_row_explains_its_score(go, lists, shop):
    page = go(user(USER))
    for index, name in enumerate(("plain", "cross")):
        explanation = Recommender.open(shop / name).explain(USER, lists[index][0])
        panel = page.locator(".columns > .panel").nth(index)
        panel.locator(".row").first.click()
        panel.locator(".why dl").first.wait_for()
        texts = panel.locator(".why .bar").all_inner_texts()
        bars = [(text.split("\n")[0], text.split()[-1]) for text in texts]
        expected = [(name, f"{value:.3f}") for name, value in explanation["parts"].items()]
        for modality, value in explanation["cosine"].items():
            expected.append(("behaviour" if modality == "id" else modality, f"{value:.3f}"))
            if modality in explanation["aligned"]:
                expected.append((f"{modality}, aligned", f"{explanation['aligned'][modality]:.3f}"))
        assert bars == expected
    panel.locator(".why a").click()
    arrives(page, TITLES[ITEM_IDS.index(lists[1][0])])


def test_list_settings_are_in_the_address(go, page):
    go(user(USER))
    page.select_option("#k", "20")
    expect(page.locator(".ranked .row")).to_have_count(40)
    page.select_option("#category", "tea")
    expect(page.locator(".ranked .row")).not_to_have_count(40)
    page.check("#seen")
    page.wait_for_selector(".ranked .badge.train")
    assert page.evaluate("location.hash").endswith("?k=20&category=tea&seen=1")
    assert page.locator(".ranked .badge.valid, .ranked .badge.test").count() == 2
    assert focused(page, "id") == "seen"
    items = ids_in(page, 0)
    page.reload()
    page.wait_for_selector(".ranked .badge.train")
    assert ids_in(page, 0) == items
    assert page.is_checked("#seen")
    assert page.input_value("#category") == "tea"


def test_an_item_has_neighbours_by_behaviour_and_by_each_modality(go, shop):
    id = ITEM_IDS[5]
    page = go(item(id))
    arrives(page, TITLES[5])
    assert page.locator(".facts").first.inner_text().split("\n") == ["price", "5 €"]
    assert page.locator("h3").all_inner_texts() == 2 * [
        *("Near by behaviour", "Near by image", "Near by text"),
        "Who would like it, of those who have not taken it",
    ]
    index = 0
    for name in ("plain", "cross"):
        run = Recommender.open(shop / name)
        for by in ("behaviour", "image", "text"):
            assert ids_in(page, index) == run.similar([id], 10, by=by)["similar"].to_list()
            index += 1
    page.locator(".chips a").first.click()
    arrives(page, re.compile("^User "))
    page = go(item(ITEM_IDS[NO_TEXT]))
    assert page.locator("h3", has_text="text").count() == 0
    page = go(item(ITEM_IDS[UNTOUCHED]))
    assert page.locator("text=Nobody has taken it in training").count() == 2


def test_markup_in_ids_and_titles_is_shown_as_text(go):
    page = go(user(MARKUP))
    arrives(page, f"User {MARKUP}")
    page.select_option("#k", "50")
    expect(page.locator(".ranked .row")).to_have_count(68)
    page.fill("#search", "alert")
    page.wait_for_selector("#results [role=option]")
    texts = page.inner_text("main") + page.inner_text("#results")
    assert MARKUP in texts
    assert "<script>alert(7)</script>" in texts
    assert page.locator("main script, main b, main i, img[src=x], #results img").count() == 0


def test_search_finds_users_and_items_by_keyboard(go, page):
    go()
    page.keyboard.press("/")
    assert focused(page, "id") == "search"
    page.keyboard.type("ann/2")
    expect(page.locator("#results .name").first).to_have_text("ann/2")
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
    page.wait_for_selector("#results .none")
    page.press("#search", "Escape")
    assert page.is_hidden("#results")


def test_keyboard_navigation(go, page, lists):
    go(user(USER))
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

    def position() -> tuple[int, int]:
        """List and row of the focused element."""
        return tuple(
            page.evaluate(
                """() => {
                    const lists = [...document.querySelectorAll(".ranked")];
                    const list = document.activeElement.closest(".ranked");
                    return [lists.indexOf(list), [...list.querySelectorAll(".row")].indexOf(document.activeElement)];
                }"""
            )
        )

    assert position() == (0, 0)
    for key, expected in (("ArrowDown", (0, 1)), ("ArrowRight", (1, 1)), ("End", (1, 9)), ("ArrowDown", (1, 9))):
        page.keyboard.press(key)
        assert position() == expected
    for key, expected in (("ArrowLeft", (0, 9)), ("Home", (0, 0)), ("ArrowUp", (0, 0))):
        page.keyboard.press(key)
        assert position() == expected
    page.keyboard.press("Enter")
    page.wait_for_selector(".why dl")
    assert focused(page, "getAttribute('aria-expanded')") == "true"
    page.keyboard.press("Tab")
    assert focused(page) == "Open the item"
    page.keyboard.press("Tab")
    assert position() == (1, 9)  # the other list is one stop, where it was left
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    arrives(page, TITLES[ITEM_IDS.index(lists[0][0])])
    assert focused(page, "tagName") == "H1"


def test_the_skip_link_focuses_the_main_content(go, page):
    go(user(USER))
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert focused(page, "id") == "main"
    arrives(page, f"User {USER}")


def test_a_random_user(go, page):
    go()
    page.click("#random")
    arrives(page, re.compile("^User "))
    assert page.inner_text("h1").removeprefix("User ") in USER_IDS


def test_elements_have_accessible_names_and_roles(go):
    page = go(user(USER))
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
    assert page.inner_text("#status") == f"User {USER}"


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_needs_no_sideways_scrolling(new_page, address, width):
    page = new_page(width, 700)
    for view in ("", user(USER), user(MARKUP), item(ITEM_IDS[5]), "nothing"):
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


def test_contrast_in_light_and_dark(new_page, address):
    grounds = set()
    for colour in ("light", "dark"):
        page = new_page(colour=colour)
        visit(page, address, user(USER) + "?seen=1&k=50")
        page.locator(".row").first.click()
        page.wait_for_selector(".why dl")
        pairs = page.evaluate(CONTRAST)
        assert len(pairs) > 50
        assert [pair for pair in pairs if pair[0] < 4.5] == []
        grounds.add(pairs[0][2])
    assert len(grounds) == 2


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (user("nobody"), "user 'nobody' is none of the 30 users of this run"),
        (item("x"), "item 'x' is none of the 40 items of this run"),
        (user(USER) + "?category=none", "no item of category 'none'"),
        ("elsewhere/x", "There is nothing at this address."),
        ("user/%E0%A4%A", "There is nothing at this address."),
    ],
)
def test_an_invalid_address_shows_an_error(go, expected_problems, view, message):
    expected_problems.append("Failed to load resource")
    page = go(view)
    arrives(page, "That did not work")
    assert message in page.inner_text(".problem")
    page.click("text=Back to the start")
    arrives(page, "Two runs, side by side")


def test_a_user_of_only_one_run(page, served_runs, tmp_path, expected_problems):
    expected_problems.append("Failed to load resource")
    newer = ServedRun(write_run(tmp_path / "newer", seed=2, users=[*USER_IDS, "somebody new"]))
    with serve_in_thread([served_runs[1], newer], page) as address:
        visit(page, address, user("somebody new"))
        arrives(page, "User somebody new")
        assert page.locator(".panel h2").all_inner_texts()[1].startswith("lightgcn+cross (1)")
        assert "none of the 30 users" in page.inner_text(".problem")
        assert page.locator(".ranked").count() == 1


def test_a_single_run(page, served_runs):
    with serve_in_thread(served_runs[1:], page) as address:
        visit(page, address, user(USER))
        assert page.locator(".ranked").count() == 1
        assert page.locator("#shared, .badge.both").count() == 0


def test_the_page_asks_for_the_token_and_keeps_it(page, served_runs, expected_problems):
    expected_problems.append("401")
    with serve_in_thread(served_runs, page, token=TOKEN) as address:
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
