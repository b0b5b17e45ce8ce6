"""The paper: feedback-oriented dynamic alignment of modalities. docs/paper-map.md maps equations to functions."""

from crossrec.alignment.base import Alignment
from crossrec.alignment.config import ALIGNMENTS, FETTLE, AlignmentConfig, CrossConfig, FettleConfig, PrimeConfig
from crossrec.alignment.cross import Cross
from crossrec.alignment.registry import module_of

__all__ = [
    "ALIGNMENTS",
    "FETTLE",
    "Alignment",
    "AlignmentConfig",
    "Cross",
    "CrossConfig",
    "FettleConfig",
    "PrimeConfig",
    "module_of",
]
