"""Registry of the backbones. A new one is a file in this folder and a line here."""

from __future__ import annotations

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

BACKBONES: dict[str, type[Backbone]] = {
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
"""Class of each backbone by the name that ``--backbone`` takes."""
