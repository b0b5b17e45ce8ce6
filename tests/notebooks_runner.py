"""Run the notebooks of ``examples/notebooks`` without Jupyter: ``make notebooks``.

``python tests/notebooks_runner.py [NAME …]`` runs the code cells of each in a folder of its own. A cell that fails ends
it with the cell and the error.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).resolve().parents[1] / "examples" / "notebooks"


def code_cells(path: Path) -> list[str]:
    """The code of each code cell."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def run(path: Path, folder: Path) -> dict[str, Any]:
    """Run the code cells in ``folder``; the names that they define. Figures are drawn to nowhere."""
    os.environ["MPLBACKEND"] = "agg"
    names: dict[str, Any] = {"__name__": "__main__"}
    before = Path.cwd()
    os.chdir(folder)
    try:
        for number, code in enumerate(code_cells(path), 1):
            exec(compile(code, f"{path.name}, code cell {number}", "exec"), names)
    finally:
        os.chdir(before)
    return names


if __name__ == "__main__":
    chosen = sys.argv[1:] or sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    for name in chosen:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as workspace:
            run(NOTEBOOKS / f"{name}.ipynb", Path(workspace))
        print(f"-- {name}: done in {time.monotonic() - start:.0f} s", flush=True)
