"""The documentation site and the notebooks: complete, well formed, without stored output. ``make docs`` builds it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.notebooks_runner import NOTEBOOKS, code_cells, run

import crossrec

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(NOTEBOOKS.glob("*.ipynb"))


def test_the_reference_has_every_public_name():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"crossrec\.(\w+)$", page, re.MULTILINE)) | {"ArgumentError"}  # by automodule of errors
    assert set(crossrec.__all__) - {"__version__"} <= listed
    assert all(hasattr(crossrec, name) or name == "errors" for name in listed)
    assert ".. automodule:: crossrec.errors" in page


def test_every_page_is_in_a_table_of_contents():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    entries = [line for block in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL) for line in block.splitlines()]
    pages = {
        path for entry in entries if entry and not entry.startswith(":") for path in (ROOT / "docs").glob(f"{entry}.md")
    }
    results = set((ROOT / "docs" / "results").glob("*.md")) - {ROOT / "docs" / "results" / "README.md"}
    missing = set((ROOT / "docs").rglob("*.md")) - results - {path.resolve() for path in pages} - pages
    assert missing == set()


def test_there_are_four_notebooks_and_a_page_that_lists_them():
    page = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    assert len(FILES) == 4
    assert {path.name for path in FILES} == set(re.findall(r"notebooks/(\w+\.ipynb)", page))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_notebook_is_well_formed_and_holds_no_output(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["language"] == "python"
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", identity) for identity in ids)
    for cell in notebook["cells"]:
        assert isinstance(cell["source"], list)
        assert cell["cell_type"] in ("markdown", "code")
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
    assert notebook["cells"][0]["source"][0].startswith("# ")
    for code in code_cells(path):
        compile(code, path.name, "exec")


def test_the_runner_runs_cells_in_order_and_notices_a_failure(tmp_path):
    def write(*cells):
        sources = [{"cell_type": "code", "source": [cell]} for cell in cells]
        (tmp_path / "a.ipynb").write_text(json.dumps({"cells": sources}))
        return tmp_path / "a.ipynb"

    assert run(write("x = 2", "y = x * 3"), tmp_path)["y"] == 6
    with pytest.raises(ZeroDivisionError):
        run(write("x = 0", "1 / x"), tmp_path)


@pytest.mark.slow
def test_the_notebook_of_the_own_shop_runs(tmp_path):
    names = run(NOTEBOOKS / "own_shop.ipynb", tmp_path)
    assert names["shop"].metrics["test"]["recall@20"] > names["PRODUCTS"] ** -1 * 20  # better than chance
    assert (tmp_path / "runs" / "own-shop" / "manifest.json").exists()
