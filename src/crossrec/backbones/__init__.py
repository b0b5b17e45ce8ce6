"""The recommenders that alignment is stacked on. A new one is a file here and a line in BACKBONES."""

from crossrec.backbones.base import Backbone, BackboneConfig
from crossrec.backbones.bpr import BPR
from crossrec.backbones.freedom import FREEDOM
from crossrec.backbones.lightgcn import LightGCN
from crossrec.backbones.vbpr import VBPR

BACKBONES: dict[str, type[Backbone]] = {
    "bpr": BPR,
    "lightgcn": LightGCN,
    "vbpr": VBPR,
    "freedom": FREEDOM,
}

__all__ = ["BACKBONES", "Backbone", "BackboneConfig"]
