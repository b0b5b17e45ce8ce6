"""The page of ``crossrec report`` in a real browser: it works offline, has the numbers of the CSVs, and sorts."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest
from tests.experiments.sample_results import COLUMNS, CURVE, FAILURE, POINTS, WIDE, copy_sample_results

from crossrec.experiments.reporting.html import MAX_FIGURE_ROWS, write_report

WIDTHS = {"wide": 1400, "phone": 375}
WEIGHTS = "sensitivity-2-weights"
"""The table that has every kind of cell."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_sample_results(tmp_path_factory, tmp_path_factory.mktemp("browser") / "runs")
    write_report(folder)
    return folder


@pytest.fixture
def opened(page, folder: Path):
    page.goto((folder / "report.html").as_uri())
    return page


def cells_of(page, table: str) -> list[list[dict[str, str | None]]]:
    """Current text and number of every cell."""
    script = """rows => rows.map(row => [...row.cells].map(cell => ({
        text: cell.innerText.trim(), value: cell.dataset.value ?? null, bold: cell.querySelector("strong") !== null,
    })))"""
    return page.locator(f"#{table} tbody tr").evaluate_all(script)


def names_of(page, table: str) -> list[str]:
    return [row[0]["text"] for row in cells_of(page, table)]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def check_cell(cell: dict[str, str | None], row: dict[str, str], column) -> None:
    """Assert that a cell has the number of the CSV in full, and the text that the CSV's numbers format to."""
    seeds = f"{column.name} mean" in row
    value = row[f"{column.name} mean"] if seeds else row[column.name]
    try:
        number = float(value)
    except ValueError:
        assert (cell["text"], cell["value"]) == (value.strip(), None)
        return
    assert float(cell["value"]) == number or (math.isnan(float(cell["value"])) and math.isnan(number))
    n = int(row[f"{column.name} n"]) if seeds else 1
    plain = str(int(number)) if value.isdigit() else f"{number:{column.format}}"
    spread = row[f"{column.name} deviation"] if seeds else ""
    accepted = [f"{number:{column.format}} ± " + (f"{float(spread):{column.format}}" if spread else "–")]
    assert cell["text"] in (accepted if n > 1 else [plain, *accepted])


@pytest.mark.parametrize(
    ("table", "path", "result_table"),
    [
        (WEIGHTS, "tiktok/weights.csv", WIDE),
        ("compare-1-compare", "compare.csv", CURVE),
        ("own-3-wide", "own/wide.csv", CURVE),
    ],
)
def test_the_numbers_are_those_of_the_csv(opened, folder, table, path, result_table):
    rows, html_rows = read_csv(folder / path), cells_of(opened, table)
    assert len(rows) == len(html_rows) > 5
    for row, cells in zip(rows, html_rows, strict=True):
        for cell, column in zip(cells, result_table.columns, strict=True):
            check_cell(cell, row, column)


def test_the_numbers_behind_a_figure_are_those_of_the_csv(opened, folder):
    opened.get_by_text("Numbers behind the figure").nth(0).click()
    opened.locator("#compare-1-points").wait_for(state="visible")
    rows, html_rows = read_csv(folder / "points.csv"), cells_of(opened, "compare-1-points")
    assert len(html_rows) == MAX_FIGURE_ROWS < len(rows) == len(POINTS.rows)
    for row, cells in zip(rows, html_rows, strict=False):
        for cell, column in zip(cells, POINTS.columns, strict=True):
            check_cell(cell, row, column)
    assert opened.get_by_text(f"The first {MAX_FIGURE_ROWS} of {len(rows)} rows").is_visible()


def test_best_and_failed_cells_are_visible(opened):
    html_rows = cells_of(opened, WEIGHTS)
    recall = [c.name for c in COLUMNS].index("tiktok R@20")
    assert [row[recall]["bold"] for row in html_rows] == [True, False, False, False, True, False]
    assert html_rows[1][1]["text"] == FAILURE
    assert [row[2]["text"] for row in html_rows[1:2]] == ["not run"]
    assert opened.locator("#sensitivity-2 .failures").inner_text().count(FAILURE.removeprefix("failed: ")) == 1
    assert opened.locator("#summary").get_by_text("1 failed").count() == 3


def test_clicks_sort_and_the_third_restores_the_order(opened):
    before = names_of(opened, WEIGHTS)
    head = opened.locator(f"#{WEIGHTS} th[data-first]").nth(9)
    button = head.get_by_role("button", name="epochs", exact=True)
    button.click()  # the least is best: it comes first
    assert head.get_attribute("aria-sort") == "ascending"
    values = [float(row[9]["value"]) for row in cells_of(opened, WEIGHTS)]
    assert values == sorted(values) == [1e-7, 3.25, 7, 12, 40, math.inf]
    assert names_of(opened, WEIGHTS)[1:] == [
        *("lightgcn", "lightgcn + cross", "bpr", "lightgcn + fettle", "bpr + cross")  # torn from their blocks
    ]
    assert opened.locator("#live").inner_text() == "Sorted by epochs, ascending"
    button.click()
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(row[9]["value"]) for row in cells_of(opened, WEIGHTS)] == values[::-1]
    button.click()
    assert head.get_attribute("aria-sort") is None
    assert (
        names_of(opened, WEIGHTS) == before == ["bpr", "+ cross", "lightgcn", "+ fettle", "+ cross", "average + cross"]
    )


def test_means_are_sorted_by_number_and_text_comes_last(opened):
    head = opened.locator(f"#{WEIGHTS} th[data-first]").nth(1)
    for direction, sign in (("descending", -1), ("ascending", 1)):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == direction
        column = [row[1] for row in cells_of(opened, WEIGHTS)]
        means = [float(cell["value"]) for cell in column[:3]]
        assert means == sorted(means, key=lambda mean: sign * mean)
        assert {cell["text"] for cell in column[3:]} == {"nan", FAILURE, ""}
        assert column[-1]["text"] == ""


def test_the_keyboard_sorts_and_text_sorts_naturally(opened):
    head = opened.locator(f"#{WEIGHTS} th[data-first]").nth(10)
    head.get_by_role("button").focus()
    opened.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    words = [row[10]["text"] for row in cells_of(opened, WEIGHTS)]
    assert words[1:] == ["a", "b1", "b2", "b10", ""]
    opened.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "descending"
    opened.keyboard.press("Shift+Tab")
    opened.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") is None
    assert opened.locator(f"#{WEIGHTS} th[aria-sort]").get_by_role("button").inner_text() == "epochs"


def test_every_table_can_be_sorted(opened):
    tables = opened.locator("table").all()
    assert len(tables) == 3 + 2 + 3 * 2  # of experiments, behind figures, and data sets and cells of each experiment
    for table in tables:
        rows = table.locator("tbody tr").count()
        heads, buttons = table.locator("th[data-first]").count(), table.locator("thead button").count()
        assert buttons == (heads if rows > 1 else 0)


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_it_fits_the_window_with_everything_unfolded(opened, width):
    opened.set_viewport_size({"width": width, "height": 800})
    opened.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    wider = [box for box in opened.locator(".scroll").all() if box.evaluate("e => e.scrollWidth > e.clientWidth")]
    assert wider or width > 1000
    for box in wider[:2]:  # a table that is too wide scrolls by itself, for the keyboard too
        box.focus()
        assert box.evaluate("e => e === document.activeElement")
        box.evaluate("e => { e.scrollLeft = 1e6; }")
        assert box.evaluate("e => e.scrollLeft > 0 && e.getBoundingClientRect().right <= innerWidth")
    beyond = """width => [...document.querySelectorAll("header *, nav *, main *")]
        .filter(e => !e.closest(".scroll") && e.getBoundingClientRect().right > width + 1).map(e => e.outerHTML)"""
    assert opened.evaluate(beyond, width) == []


def test_light_and_dark(opened):
    def brightness():
        colours = opened.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
        return [sum(map(int, colour[4:-1].split(","))) for colour in colours]

    opened.emulate_media(color_scheme="light")
    paper, ink = brightness()
    assert paper - ink > 400
    opened.emulate_media(color_scheme="dark")
    paper, ink = brightness()
    assert ink - paper > 400
    opened.emulate_media(color_scheme="dark", media="print")
    paper, ink = brightness()
    assert paper == 3 * 255
    assert ink < 150


def test_pictures_are_drawn_and_described(opened):
    pictures = opened.locator("img")
    assert pictures.count() == 2
    for picture in pictures.all():
        assert picture.evaluate("e => e.decode().then(() => e.complete && e.naturalWidth > 300)")
        assert picture.get_attribute("src").startswith("data:image/png;base64,")
    assert [p.get_attribute("alt").split(";")[0] for p in pictures.all()] == [
        "Items before and after",
        "Sensitivity to α",
    ]
    assert pictures.nth(0).evaluate("e => [e.width, e.height]") == [6 * 96, 2 * 96]


def test_provenance(opened, folder):
    answer = json.loads((folder / "compare.json").read_text())
    about = opened.locator("#compare-1-about")
    assert about.locator("code").inner_text() == answer["command"]
    text = about.inner_text()
    for part in ("84 min", "0, 4", answer["date"], f"torch {answer['versions']['torch']}"):
        assert part in text
    assert answer["machine"]["processor"] in text
    assert [cell["text"] for cell in cells_of(opened, "compare-1-data")[0]] == [
        *("synthetic-tiny", "60", "40", "327", "60", "60", "image 12, text 8", answer["data"][0]["fingerprint"])
    ]
    about.get_by_text("All 6 cells").click()
    html_rows = cells_of(opened, "compare-1-cells")
    assert [row[0]["text"] for row in html_rows] == [cell["label"] for cell in answer["cells"]]
    assert [row[3]["text"] for row in html_rows] == [*["done"] * 3, FAILURE, *["done"] * 2]
    assert [row[6]["text"] for row in html_rows] == ["1.50", "2.50", "3.50", "", "5.50", "6.50"]
    config = opened.locator("#compare-1-cells details").nth(4)
    config.locator("summary").click()
    assert json.loads(config.locator("pre").inner_text())["config"] == answer["cells"][4]["config"]


def test_html_in_a_result_is_escaped(opened):
    assert opened.title() == "runs · crossrec report"
    assert opened.locator("script").count() == 1
    assert opened.locator("#sensitivity-2").get_by_text("Not <b>quite</b>.").count() == 1
    assert opened.locator("b").count() == 0


def test_copies(opened, folder):
    def copied(name: str) -> str:
        block = opened.locator("#sensitivity-2-table-1")
        return block.get_by_role("button", name=name, exact=True).get_attribute("data-copy")

    for name, ending in (("CSV", "csv"), ("LaTeX", "tex"), ("Markdown", "md")):
        assert copied(name) == (folder / "tiktok" / f"weights.{ending}").read_text(encoding="utf-8")
    opened.evaluate("""() => { navigator.clipboard.writeText = async text => { window.taken = text; }; }""")
    opened.locator("#compare-1-figure-1").get_by_role("button", name="CSV").click()
    opened.get_by_role("button", name="copied").wait_for()
    assert len(list(csv.reader(io.StringIO(opened.evaluate("window.taken"))))) == len(POINTS.rows) + 1


def test_links_lead_to_files_and_sections(opened, folder):
    for link in opened.locator("a").all():
        target = link.get_attribute("href")
        if target.startswith("#"):
            assert opened.locator(f"[id='{target[1:]}']").count() == 1
        else:
            assert (folder / target).is_file()
    assert opened.locator("#sensitivity-2 .files a").all_inner_texts() == [
        *("csv", "tex", "md", "txt"),
        *("csv", "pdf", "png"),
    ]
