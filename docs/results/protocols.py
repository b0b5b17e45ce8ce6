"""Rank finished runs under two protocols: ``python docs/results/protocols.py NAME RUNS …``.

The paper's protocol leaves training items out of the ranking at test and lets validation items compete with the test
items. The other one leaves both out (``--mask-validation``), as a service would. The runs are the same, only the
ranking differs. Runs of several seeds are one row; a place is that among the rows by the mean. Writes ``NAME.csv`` and
``NAME.md``.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from scipy.stats import kendalltau

from crossrec.data import load
from crossrec.evaluation import HeldOut, evaluate_splits
from crossrec.experiments.reporting.tables import Column, ResultTable, to_csv, to_markdown
from crossrec.runs.config import load_config
from crossrec.runs.directory import open_embeddings
from crossrec.runs.execute import held_out

HERE = Path(__file__).parent
PROTOCOLS = {"as in the paper": False, "validation items left out": True}


def main(arguments: list[str]) -> None:
    name, *folders = arguments
    values: dict[str, dict[str, list[float]]] = {}
    sets: dict[str, dict[str, HeldOut]] = {}
    for folder in folders:
        for metrics in sorted(Path(folder).glob("*/metrics.json")):
            config = load_config(metrics.parent / "config.json")
            if config.data.data not in sets:
                dataset = load(config.data)
                sets[config.data.data] = {
                    protocol: held_out(replace(dataset, mask_validation=masked), dataset.test)
                    for protocol, masked in PROTOCOLS.items()
                }
            embeddings = open_embeddings(metrics.parent)
            measured = evaluate_splits(embeddings.user_US, embeddings.item_IS, sets[config.data.data])
            row = values.setdefault(config.label, {protocol: [] for protocol in PROTOCOLS})
            for protocol in PROTOCOLS:
                row[protocol].append(measured[protocol]["recall@20"])
    means = {protocol: [fmean(row[protocol]) for row in values.values()] for protocol in PROTOCOLS}
    places = {
        protocol: [1 + sum(other > mean for other in column) for mean in column] for protocol, column in means.items()
    }
    tau = kendalltau(*means.values()).statistic
    table = ResultTable(
        "Recall@20 at test under two protocols",
        [
            Column("model", "left"),
            *(Column(header, group=protocol, format=".4f") for protocol in PROTOCOLS for header in ("R@20", "place")),
            Column("change in %", format="+.1f"),
        ],
        [
            [
                label,
                *(cell for protocol in PROTOCOLS for cell in (row[protocol], places[protocol][k])),
                100 * (means["validation items left out"][k] / means["as in the paper"][k] - 1),
            ]
            for k, (label, row) in enumerate(values.items())
        ],
        [f"Kendall's τ of the two orders: {tau:.3f}."],
    )
    (HERE / f"{name}.csv").write_text(to_csv(table), encoding="utf-8", newline="\n")
    (HERE / f"{name}.md").write_text(to_markdown(table), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
