"""The paper: feedback-oriented dynamic alignment of modalities. docs/paper-map.md maps equations to functions."""

from crossrec.alignment.config import ALIGNMENTS, FETTLE, CrossConfig, FettleConfig
from crossrec.alignment.cross import Cross

__all__ = ["ALIGNMENTS", "FETTLE", "Cross", "CrossConfig", "FettleConfig"]
