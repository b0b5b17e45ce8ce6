"""The search over the backbones' own settings, on validation: every value of the stated grids, one seed.

    python docs/results/search.py --data tiktok --out runs/search

Cells that are done are skipped. Writes search-DATA.csv beside this file: backbone, setting, validation Recall@20, best
epoch. The alignment is off: what suits the plain backbone is kept for FETTLE and CROSS, which run on their defaults.
"""

import argparse
import csv
import itertools
from pathlib import Path

from crossrec.data import DataConfig, load
from crossrec.run import RunConfig, run

GRIDS = {
    "bpr": {"reg": [1e-5, 1e-3, 1e-2, 0.1, 0.2, 0.5, 1.0]},
    "lightgcn": {"layers": [1, 2, 3, 4]},
    "vbpr": {"reg": [1e-2, 0.1, 0.5, 1.0]},
    "freedom": {"dropout": [0.8, 0.9], "reg": [0.0, 1e-3]},
}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default="tiktok")
parser.add_argument("--out", type=Path, default=Path("runs/search"))
parser.add_argument("--backbones", nargs="+", default=list(GRIDS))
parser.add_argument("--epochs", type=int, default=1000)
arguments = parser.parse_args()

data = DataConfig(data=arguments.data)
dataset = load(data)
rows = []
for backbone in arguments.backbones:
    grid = GRIDS[backbone]
    for values in itertools.product(*grid.values()):
        setting = dict(zip(grid, values, strict=True))
        config = RunConfig.parse(
            {
                "data": data,
                "backbone": {"name": backbone, **setting},
                "alignment": None,
                "training": {"epochs": arguments.epochs},
            }
        )
        metrics = run(config, arguments.out / f"{backbone}-{config.digest()[:10]}", resume=True, dataset=dataset)
        shown = ", ".join(f"{name} {value:g}" for name, value in setting.items())
        rows.append([backbone, shown, round(metrics["valid"]["recall@20"], 5), metrics["best_epoch"]])
        print(*rows[-1], sep="  ", flush=True)
name = Path(arguments.data).name
with open(Path(__file__).parent / f"search-{name}.csv", "w", newline="") as file:
    csv.writer(file, lineterminator="\n").writerows([["backbone", "setting", "valid recall@20", "best epoch"], *rows])
