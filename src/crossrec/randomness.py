"""Random generators: one per seed and purpose, so that no draw disturbs another purpose."""

from __future__ import annotations

import hashlib

import numpy as np

from crossrec.lazy import torch


def _entropy(seed: int, purpose: str) -> np.random.SeedSequence:
    digest = hashlib.sha256(purpose.encode()).digest()
    return np.random.SeedSequence([seed, *np.frombuffer(digest[:16], dtype=np.uint32).tolist()])


def torch_generator(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator that depends on ``seed`` and ``purpose`` ("backbone", "alignment", "sampling", …) alone."""
    state = int(_entropy(seed, purpose).generate_state(1, dtype=np.uint64)[0] >> np.uint64(1))
    return torch.Generator(device=device).manual_seed(state)


def numpy_generator(seed: int, purpose: str) -> np.random.Generator:
    """A numpy generator that depends on ``seed`` and ``purpose`` alone."""
    return np.random.default_rng(_entropy(seed, purpose))
