"""The paper: feedback-oriented dynamic alignment of modalities. docs/paper-map.md says which equation lives where."""

from crossrec.alignment.config import ALIGNMENTS, FETTLE, CrossConfig, FettleConfig
from crossrec.alignment.cross import Cross

__all__ = ["ALIGNMENTS", "FETTLE", "Cross", "CrossConfig", "FettleConfig"]
