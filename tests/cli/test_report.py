"""``crossrec report``: one page of the results in a folder; a missing or damaged file is named."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from tests.experiments.sample_results import EVIL, copy_sample_results

from crossrec.experiments.reporting.html import write_report
from crossrec.experiments.reporting.result_files import read_results


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    return copy_sample_results(tmp_path_factory, tmp_path / "runs")


def links(page: str) -> list[str]:
    return [target for target in re.findall(r'href="([^"]+)"', page) if not target.startswith("#")]


def test_paths_may_be_text(folder, tmp_path):
    path = write_report(str(folder), str(tmp_path / "page.html"))
    assert "<!doctype html>" in path.read_text(encoding="utf-8")
    assert list(read_results(str(folder))) == list(read_results(folder))


def test_one_page_beside_the_results(crossrec, folder, content):
    before = content(folder)
    answer = crossrec("report", folder)
    assert (answer.code, answer.out, answer.err) == (0, f"{folder / 'report.html'}\n", "")
    after = content(folder)
    assert set(after) - set(before) == {"report.html"}
    assert {name: after[name] for name in before} == before
    page = (folder / "report.html").read_text(encoding="utf-8")
    for text in ("Does it help?", "It does &amp; more.", "Is it steady?", "What of one&#39;s own?"):
        assert page.count(text) == 2, "in the summary and in its section"
    assert EVIL not in page
    assert "&lt;script&gt;document.title" in page
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert set(re.findall(r'src="(.{22})', page)) == {"data:image/png;base64,"}
    assert "tiktok/alpha.pdf" in links(page)
    # the same results make the same page
    assert crossrec("report", folder).code == 0
    assert (folder / "report.html").read_text(encoding="utf-8") == page


def test_links_of_a_page_elsewhere(crossrec, folder, tmp_path):
    page = tmp_path / "new" / "page.html"
    assert crossrec("report", folder, "--out", page).out == f"{page}\n"
    assert links(page.read_text()) == []
    above = tmp_path / "page.html"
    assert crossrec("report", folder, "--out", above).code == 0
    assert "runs/tiktok/alpha.pdf" in links(above.read_text())
    assert not (folder / "report.html").exists()


def test_a_picture_that_is_missing_or_damaged_is_named(crossrec, folder):
    (folder / "points.png").unlink()
    picture = folder / "tiktok" / "alpha.png"
    picture.write_bytes(picture.read_bytes()[:-20])
    assert crossrec("report", folder).code == 0
    page = (folder / "report.html").read_text()
    assert "points.png is missing" in page
    assert "alpha.png is damaged" in page
    assert "<img" not in page
    assert "Items before and after" in page
    assert page.count("Numbers behind the figure") == 2


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "runs: no such folder"),
        (
            lambda folder: [path.unlink() for path in folder.rglob("*.json")],
            "runs: no experiment has written an answer",
        ),
        (lambda folder: (folder / "compare.json").write_text("{"), "compare.json: damaged, not valid JSON"),
        (lambda folder: (folder / "compare.json").write_bytes(b"\xff"), "compare.json: damaged, not valid JSON"),
        (
            lambda folder: (folder / "compare.json").write_text('{"experiment": "compare", "tables": []}'),
            "compare.json: 'question': Field required",
        ),
        (
            lambda folder: [(folder / "points.png").unlink(), (folder / "points.png").mkdir()],
            "points.png: cannot be read",
        ),
    ],
)
def test_mistakes(crossrec, folder, spoil, message):
    spoil(folder)
    assert message in crossrec("report", folder).mistake
    assert not (folder / "report.html").exists()


def test_a_page_that_cannot_be_written(crossrec, folder, content):
    before = content(folder)
    assert "cannot be written" in crossrec("report", folder, "--out", folder / "own").mistake
    assert "cannot be written" in crossrec("report", folder, "--out", folder / "compare.json" / "page").mistake
    assert content(folder) == before


def test_a_folder_is_needed(crossrec):
    assert "--help" in crossrec("report").mistake
