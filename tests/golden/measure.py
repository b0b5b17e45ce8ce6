"""Losses of three epochs of every backbone and alignment. As a command it writes golden.json again::

    python tests/golden/measure.py

Run it only after an intended change of a formula or a default. Then also raise METHOD_VERSION in
crossrec/runs/config.py, and read the difference of golden.json before committing it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crossrec.alignment import ALIGNMENTS
from crossrec.backbones import BACKBONES
from crossrec.data import DataConfig, load
from crossrec.objective import Objective
from crossrec.runs.execute import held_out, training_set
from crossrec.training import TrainingConfig, fit, validate

FILE = Path(__file__).with_name("golden.json")
CASES = [(backbone, alignment) for backbone in BACKBONES for alignment in ALIGNMENTS]


def measure(backbone: str, alignment: str) -> dict[str, Any]:
    """Every term after every epoch, and the test metrics of the best epoch. Defaults, but for a high learning rate."""
    dataset, kind = load(DataConfig(data="synthetic-tiny")), ALIGNMENTS[alignment]
    data = training_set(dataset)
    settings = BACKBONES[backbone].config_type(learning_rate=0.02)
    objective = Objective(settings, None if kind is None else kind(), data, 0)
    config = TrainingConfig(epochs=3, batch_size=100, device="cpu", seed=0)
    progress = fit(objective, data, held_out(dataset, dataset.valid), config)
    skipped = ("epoch", "train_seconds", "eval_seconds")
    terms = [
        {name: value for name, value in row.items() if name not in skipped and not name.startswith("valid_")}
        for row in progress.history
    ]
    metrics = validate(objective, held_out(dataset, dataset.test))
    return {"terms": terms, "test": {name: metrics[name] for name in ("recall@10", "recall@20", "ndcg@10", "ndcg@20")}}


def rounded(value: Any) -> Any:
    """Seven significant digits: more than any machine agrees on."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else float(f"{value:.7g}")


if __name__ == "__main__":
    golden = {f"{backbone}+{alignment}": rounded(measure(backbone, alignment)) for backbone, alignment in CASES}
    FILE.write_text(json.dumps(golden, indent=1) + "\n")
    print(f"{len(golden)} cases written to {FILE}")
