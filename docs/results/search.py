"""The search over settings, on validation Recall@20: every value of the stated grids, one seed.

    python docs/results/search.py --data tiktok --jobs 2 --out runs/tiktok

First the backbones' own settings with the alignment off; then, on the best of these, the weights of FETTLE and CROSS.
Cells that are done are skipped, and stay for ``crossrec compare --out`` of the same folder. Writes two files beside
this one: search-DATA.csv with every value found, and DATA.json, the best ones, which ``compare --settings`` takes. It
reads validation alone.
"""

import argparse
import csv
import itertools
import json
from pathlib import Path

from crossrec.data import DataConfig, load
from crossrec.experiments.cells import Cell, Datasets, run_cells
from crossrec.run import RunConfig

BACKBONES = {
    "tiktok": {
        "bpr": {"reg": [1e-5, 1e-3, 1e-2, 0.1, 0.2, 0.5, 1.0]},
        "lightgcn": {"layers": [1, 2, 3, 4], "reg": [1e-4]},
        "vbpr": {"reg": [1e-2, 0.1, 0.5, 1.0]},
        "freedom": {"dropout": [0.8, 0.9], "reg": [0.0, 1e-3]},
    },
    "baby": {
        "bpr": {"reg": [1e-2, 0.1, 0.2]},
        "lightgcn": {"layers": [2, 3, 4], "reg": [1e-4]},
    },
}
WEIGHTS = [0.003, 0.01, 0.03]
"""α = β. The neighbour term has a tenth of it, or the same: γ/α in SHARES."""
SHARES = [0.1, 1.0]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default="tiktok")
parser.add_argument("--out", type=Path, default=Path("runs/tiktok"))
parser.add_argument("--backbones", nargs="+")
parser.add_argument("--epochs", type=int, default=1000)
parser.add_argument("--jobs", type=int, default=1)
arguments = parser.parse_args()

name = Path(arguments.data).name
grids = BACKBONES[name]
data = DataConfig(data=arguments.data)
dataset = load(data)
chosen_backbones = arguments.backbones or list(grids)
found: list[tuple[str, str, dict, dict]] = []
"""Backbone, alignment, setting, metrics."""


def search(grid: list[tuple[str, str, dict, dict]]) -> None:
    """Train all of (backbone, alignment, setting that varies, configuration), and keep what validation says."""
    cells = []
    for backbone, alignment, setting, config in grid:
        whole = RunConfig.parse({"data": data, "training": {"epochs": arguments.epochs}, **config})
        cells.append(Cell(whole, (backbone, alignment, json.dumps(setting))))
    say = lambda cell, state: None if state.startswith("epoch") else print(*cell.group, state, flush=True)  # noqa: E731
    for result in run_cells(cells, arguments.out, Datasets(), jobs=arguments.jobs, on_change=say):
        if result.metrics is None:
            raise SystemExit(f"{result.cell.group}: {result.failure}")
        backbone, alignment, setting = result.cell.group
        kept = {"valid recall@20": result.metrics["valid"]["recall@20"], "best epoch": result.metrics["best_epoch"]}
        found.append((backbone, alignment, json.loads(setting), kept))


def best(backbone: str, alignment: str) -> dict:
    """The setting with the highest validation Recall@20; the first of equals."""
    mine = [f for f in found if f[:2] == (backbone, alignment)]
    return max(mine, key=lambda f: f[3]["valid recall@20"])[2]


def product(grid: dict) -> list[dict]:
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


search(
    [
        (b, "none", setting, {"backbone": {"name": b, **setting}, "alignment": None})
        for b in chosen_backbones
        for setting in product(grids[b])
    ]
)
weights = {
    "fettle": [{"alpha": w, "beta": w} for w in WEIGHTS],
    "cross": [{"alpha": w, "beta": w, "gamma": round(w * share, 6)} for w in WEIGHTS for share in SHARES],
}
if not dataset.features:  # FETTLE without content is CROSS without neighbours, and the item level has nothing to align
    del weights["fettle"]
search(
    [
        (b, a, setting, {"backbone": {"name": b, **best(b, "none")}, "alignment": {"name": a, **setting}})
        for b in chosen_backbones
        for a, settings in weights.items()
        for setting in settings
    ]
)

here = Path(__file__).parent
with open(here / f"search-{name}.csv", "w", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["backbone", "alignment", "setting", "valid recall@20", "best epoch"])
    for backbone, alignment, setting, kept in found:
        shown = ", ".join(f"{key} {value:g}" for key, value in setting.items())
        writer.writerow([backbone, alignment, shown, round(kept["valid recall@20"], 5), kept["best epoch"]])
settings = {b: {"backbone": best(b, "none"), **{a: best(b, a) for a in weights}} for b in chosen_backbones}
(here / f"{name}.json").write_text(json.dumps(settings, indent=2) + "\n")
