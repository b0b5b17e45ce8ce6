"""Built-in search spaces: "paper", the grids of the published tables (Section 7.1), and "wide", ranges far beyond them.

Values are plain, as in a file for ``--space`` (see ``crossrec.experiments.search.space_files``): a list, a range
{"low": 1e-5, "high": 100, "log": True}, or a multiple of another setting, {"of": "alpha"}.
"""

from __future__ import annotations

from typing import Any

from crossrec.backbones import BACKBONES

Values = dict[str, Any]
"""Values to search, by setting."""


def _log(low: float, high: float) -> Values:
    return {"low": low, "high": high, "log": True}


_REG = [2, 1, 0.1, 0.01, 1e-3, 1e-4, 1e-5]
_LAMBDAS = {"lambda_f": [0.05, 0.1, 0.15], "lambda_c": [0.1, 0.2, 0.3]}

PAPER_BACKBONES: dict[str, Values] = {
    "bpr": {"reg": _REG},
    "lightgcn": {"layers": [1, 2, 3, 4], "reg": [1e-2, 1e-3, 1e-4, 1e-5, 1e-6]},
    "sgl": {"ssl": [0.005, 0.05, 0.1], "temperature": [0.2, 0.5]},
    "directau": {"gamma_uniformity": [0.1, 0.2, 0.5, 1, 2, 5, 10]},
    "ncl": {"reg": [1e-4], "temperature": [0.1], "ssl": [1e-7], "proto": [8e-8], "clusters": [1000]},
    "vbpr": {"reg": _REG},
    "grcn": {"reg": [0.1, 0.01, 1e-3, 1e-4, 1e-5], "learning_rate": [1, 0.1, 0.01, 1e-3, 1e-4]},
    "dualgnn": {"reg": [0.1, 0.01, 1e-3, 1e-4, 1e-5], "learning_rate": [0.1, 0.01, 1e-3, 1e-4, 1e-5]},
    "slmrec": {
        "ssl": [0.01, 0.05, 0.1, 0.5, 1],
        "ssl_temperature": [0.1, 0.2, 0.5, 1],
        "learning_rate": [1e-4, 1e-3, 0.01, 0.1],
    },
    "lattice": {"reg": [0, 1e-5, 1e-4, 1e-3], "learning_rate": [1e-4, 5e-4, 1e-3, 5e-3]},
    "freedom": {"dropout": [0.8, 0.9], "reg": [0, 1e-5, 1e-4, 1e-3]},
    "mgcn": {"cl": [0.001, 0.01, 0.1]},
    "gume": {"temperature": [0.2, 0.4], "item_layers": [1, 2], "vt": [0.01, 0.1]},
    "pgl": {"ssl": [0, 0.05]},
    "damrs": {"neighbor_weight": [1e-4, 0.001, 0.01], "kl": [0.1, 1]},
}
"""The backbones' own settings: the grids behind the paper's tables. NCL has one point. MGCN, GUME, PGL and DA-MRS
are not in the paper: settings of their own publications, and some beside them."""
PAPER_WEIGHTS: dict[bool, Values] = {
    False: {"alpha": [1, 10, 100], "beta": [1, 10, 100]},
    True: {"alpha": [1e-4, 1e-3, 1e-2], "beta": [1e-4, 1e-3, 1e-2]},
}
"""Weights of the alignment, by whether the backbone is multi-modal."""
PAPER_DAMRS: Values = {"relation_weight": [1e-4, 0.001, 0.01], "preference_weight": [0.1, 1]}
"""Settings of DA-MRS's alignment: those of its publication, and some beside them."""
PAPER_PRIME: Values = {"alignment_epochs": [5, 10, 20], "content_graph": [0.5, 1, 2]}
"""Settings of PRIME, which is not in the paper: those beside its defaults."""
PAPER_ALIGNMENTS: dict[str, Values] = {
    "fettle": _LAMBDAS,
    "cross": {"gamma": {"of": "alpha"}, **_LAMBDAS, "lambda_n": [0.2, 2, 20], "neighbors": [3, 5, 10]},
}
"""Other settings of CROSS and FETTLE."""

_RATE = _log(1e-4, 1e-2)
_WEIGHT = _log(1e-5, 100)
_WIDE_LAMBDAS = {"lambda_f": _log(0.02, 0.3), "lambda_c": _log(0.05, 0.5)}

WIDE_BACKBONES: dict[str, Values] = {
    "bpr": {"reg": _log(1e-5, 2), "learning_rate": _RATE},
    "lightgcn": {"layers": {"low": 1, "high": 4}, "reg": _log(1e-6, 0.1), "learning_rate": _RATE},
    "sgl": {
        "layers": {"low": 1, "high": 4},
        "reg": _log(1e-6, 0.1),
        "dropout": {"low": 0.05, "high": 0.5},
        "ssl": _log(1e-3, 1),
        "temperature": _log(0.05, 1),
        "learning_rate": _RATE,
    },
    "directau": {
        "encoder": ["mf", "lightgcn"],
        "gamma_uniformity": _log(0.1, 10),
        "weight_decay": _log(1e-8, 1e-3),
        "learning_rate": _RATE,
    },
    "ncl": {
        "layers": {"low": 2, "high": 4},
        "reg": _log(1e-6, 0.1),
        "temperature": _log(0.05, 0.5),
        "ssl": _log(1e-8, 1e-5),
        "proto": _log(1e-9, 1e-6),
        "clusters": _log(50, 2000),
        "learning_rate": _RATE,
    },
    "vbpr": {"reg": _log(1e-5, 2), "learning_rate": _RATE},
    "grcn": {"routing": {"low": 1, "high": 4}, "reg": _log(1e-6, 1), "learning_rate": _log(1e-4, 1)},
    "dualgnn": {
        "layers": {"low": 1, "high": 3},
        "user_neighbors": _log(5, 80),
        "reg": _log(1e-6, 1),
        "learning_rate": _log(1e-5, 0.1),
    },
    "slmrec": {
        "layers": {"low": 1, "high": 4},
        "temperature": _log(0.05, 1),
        "ssl": _log(0.01, 1),
        "ssl_temperature": _log(0.05, 1),
        "learning_rate": _log(1e-4, 0.1),
    },
    "lattice": {
        "layers": {"low": 1, "high": 3},
        "knn": _log(5, 30),
        "original": {"low": 0, "high": 1},
        "reg": _log(1e-6, 0.01),
        "learning_rate": _RATE,
    },
    "freedom": {
        "layers": {"low": 1, "high": 3},
        "knn": _log(5, 30),
        "dropout": {"low": 0, "high": 0.95},
        "reg": _log(1e-6, 0.1),
        "learning_rate": _RATE,
    },
    "mgcn": {"knn": _log(5, 30), "cl": _log(1e-4, 1), "reg": _log(1e-6, 0.01), "learning_rate": _RATE},
    "gume": {
        "item_layers": {"low": 1, "high": 3},
        "cl": _log(1e-4, 1),
        "um": _log(1e-4, 1),
        "vt": _log(1e-4, 1),
        "temperature": _log(0.05, 1),
        "learning_rate": _RATE,
    },
    "pgl": {"knn": _log(5, 30), "pruned": {"low": 0, "high": 0.95}, "ssl": _log(1e-4, 1), "learning_rate": _RATE},
    "damrs": {"knn": _log(5, 30), "neighbor_weight": _log(1e-5, 0.1), "kl": _log(0.01, 10), "learning_rate": _RATE},
}
"""The backbones' own settings, over their sensible ranges."""
WIDE_ALIGNMENTS: dict[str, Values] = {
    "fettle": {"alpha": _WEIGHT, "beta": _WEIGHT, **_WIDE_LAMBDAS},
    "cross": {
        "alpha": _WEIGHT,
        "beta": _WEIGHT,
        "gamma": _WEIGHT,
        **_WIDE_LAMBDAS,
        "lambda_n": _log(0.05, 20),
        "neighbors": _log(1, 20),
    },
    "prime": {
        "alpha": _WEIGHT,
        "beta": _WEIGHT,
        "gamma": _WEIGHT,
        **_WIDE_LAMBDAS,
        "alignment_epochs": _log(3, 50),
        "content_graph": _log(0.1, 5),
        "content_neighbors": _log(3, 30),
    },
    "damrs": {"relation_weight": _log(1e-5, 0.1), "preference_weight": _log(0.01, 10), "relation_knn": _log(5, 30)},
}
"""Settings of the alignments; weights are independent, as those that work on TikTok differ from the paper's grids."""


def paper_space(backbone: str) -> Values:
    """The paper's grids for a backbone: its own settings under "backbone", and those of each alignment on it.

    A backbone from outside the package has no settings of its own here.
    """
    weights = PAPER_WEIGHTS[BACKBONES[backbone].multimodal]
    return {
        "backbone": PAPER_BACKBONES.get(backbone, {}),
        **{key: weights | values for key, values in PAPER_ALIGNMENTS.items()},
        "damrs": PAPER_DAMRS,
        "prime": PAPER_PRIME,
    }


def wide_space(backbone: str) -> Values:
    """The wide ranges for a backbone: its own settings under "backbone", and those of each alignment on it."""
    return {"backbone": WIDE_BACKBONES.get(backbone, {"learning_rate": _RATE}), **WIDE_ALIGNMENTS}


BUILT_IN = {"paper": paper_space, "wide": wide_space}
"""Built-in spaces by name: the values for a backbone."""
