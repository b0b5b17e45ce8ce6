"""Registry of the backbones. A new one is a file in this folder and a line here, or an entry point of a package."""

from __future__ import annotations

from typing import Any

from crossrec.backbones.base import Backbone
from crossrec.backbones.bpr import BPR
from crossrec.backbones.damrs import DAMRS
from crossrec.backbones.directau import DirectAU
from crossrec.backbones.dualgnn import DualGNN
from crossrec.backbones.freedom import FREEDOM
from crossrec.backbones.grcn import GRCN
from crossrec.backbones.gume import GUME
from crossrec.backbones.lattice import LATTICE
from crossrec.backbones.lightgcn import LightGCN
from crossrec.backbones.mgcn import MGCN
from crossrec.backbones.ncl import NCL
from crossrec.backbones.pgl import PGL
from crossrec.backbones.sgl import SGL
from crossrec.backbones.slmrec import SLMRec
from crossrec.backbones.vbpr import VBPR
from crossrec.parts import Registry


def _problem(part: Any) -> str:
    """What is wrong with a backbone from outside the package, or ""."""
    if not isinstance(part, type) or not issubclass(part, Backbone):
        return "not a backbone; give a subclass of crossrec.backbones.Backbone"
    if not isinstance(getattr(getattr(part, "config_type", None), "name", None), str):
        return "has no config_type with a name; docs/new-backbone.md has an example"
    return ""


BUILT_IN: dict[str, type[Backbone]] = {
    "bpr": BPR,
    "lightgcn": LightGCN,
    "sgl": SGL,
    "directau": DirectAU,
    "ncl": NCL,
    "vbpr": VBPR,
    "grcn": GRCN,
    "dualgnn": DualGNN,
    "slmrec": SLMRec,
    "lattice": LATTICE,
    "freedom": FREEDOM,
    "mgcn": MGCN,
    "gume": GUME,
    "pgl": PGL,
    "damrs": DAMRS,
}
"""The backbones of this package by name."""

BACKBONES: Registry[type[Backbone]] = Registry(
    "backbone", "crossrec.backbones", BUILT_IN, problem=_problem, own_name=lambda part: part.config_type.name
)
"""Class of each backbone by what ``--backbone`` takes: a name, or ``module:Class``."""
