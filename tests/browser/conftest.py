"""A real browser that reaches nothing but this machine. What a page does wrong fails the test that opened it.

``page``: a page in a wide window; ``new_page(width=…, colour=…)``: others. When a test ends, its pages must not have
written an error to their console, or asked for anything outside this machine. ``expected_problems`` holds parts of
errors that may be there.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

CHROMIUM = shutil.which("chromium")
LOCAL = re.compile(r"(http://(127\.0\.0\.1|localhost)[:/]|file:|data:|blob:|about:)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window. While it is open, playwright's event loop counts as running: a module lets it go."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def expected_problems() -> list[str]:
    """Parts of console errors that a test provokes; it appends them."""
    return []


@pytest.fixture
def new_page(browser: Browser, expected_problems: list[str]) -> Iterator[Callable[..., Page]]:
    """Makes pages: ``width`` and ``height`` in pixels, ``colour`` light or dark."""
    wrong: list[str] = []
    contexts: list[BrowserContext] = []

    def only_here(route: Route) -> None:
        if LOCAL.match(route.request.url):
            route.continue_()
        else:
            wrong.append(route.request.url)
            route.abort()

    def made(width: int = 1400, height: int = 900, colour: Literal["light", "dark"] = "light") -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=colour)
        contexts.append(context)
        context.set_default_timeout(30_000)
        context.route("**/*", only_here)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(f"a dialog: {dialog.message}"), dialog.dismiss()))
        return page

    yield made
    for context in contexts:
        context.close()
    assert [one for one in wrong if not any(part in one for part in expected_problems)] == []


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """A page in a wide window."""
    return new_page()
