"""Train LightGCN alone, with FETTLE and with CROSS on generated data, and say what came of it: ``make demo``."""

import csv
import sys
from pathlib import Path

from crossrec.cli import main

OUT = Path("runs/demo")
COMMAND = [
    "compare",
    "--data",
    "synthetic",
    "--backbones",
    "lightgcn",
    "--seeds",
    "0",
    "--jobs",
    "2",
    "--out",
    str(OUT),
]
NAMES = {"fettle": "LightGCN + FETTLE", "cross": "LightGCN + CROSS"}


def summary(folder: Path) -> list[str]:
    """What was compared, by how much, whether it is chance, and what next: lines on the result in ``folder``."""
    with (folder / "compare-tests.csv").open(newline="", encoding="utf-8") as file:
        tests = {row["compared"]: row for row in csv.DictReader(file) if row["metric"] == "R@20"}
    baseline = tests["cross v.s. none"]
    alone = float(baseline["base"])
    lines = [
        "RESULT: how many of the products that people really took are among the 20 that were recommended to them?",
        f"  {'LightGCN alone':<18} {alone:6.1%}",
    ]
    for name, label in NAMES.items():
        test = tests[f"{name} v.s. none"]
        new, p = float(test["new"]), float(test["p (Holm)"])
        verdict = "not chance" if p < 0.05 else "may be chance"
        size = "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"
        lines.append(f"  {label:<18} {new:6.1%}   {new / alone - 1:+.0%}, {verdict} ({size})")
    return [
        *lines,
        f"  Chance: paired tests over {int(baseline['users']):,} people, corrected for their number.",
        "  The data are generated, and trained on with one seed.",
        "NEXT: crossrec compare --data YOUR_FOLDER --seeds 0 1 2   the same on your data (docs/data.md)",
        f"      crossrec report {folder}                          all tables on one page",
        "      examples/own_loop.py                              CROSS in your own training loop, in three lines",
    ]


if __name__ == "__main__":
    code = main(COMMAND)
    if code == 0:
        print("\n" + "\n".join(summary(OUT)))
    sys.exit(code)
