"""The recommenders that alignment is stacked on. A new one is a file here and a line in BACKBONES."""

from crossrec.backbones.base import Backbone, BackboneConfig
from crossrec.backbones.bpr import BPR
from crossrec.backbones.directau import DirectAU
from crossrec.backbones.dualgnn import DualGNN
from crossrec.backbones.freedom import FREEDOM
from crossrec.backbones.grcn import GRCN
from crossrec.backbones.lattice import LATTICE
from crossrec.backbones.lightgcn import LightGCN
from crossrec.backbones.ncl import NCL
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
}

__all__ = ["BACKBONES", "Backbone", "BackboneConfig"]
