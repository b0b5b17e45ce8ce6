"""What a process holds and sends when several train one model, as formulas, and step times that follow from them.

    python -m benchmarks.step_times

prints the table of docs/scale.md. Its times are computed from the formulas and from assumed rates, not measured.
"""

from __future__ import annotations

import math
from typing import NamedTuple

FLOAT = 4
"""Bytes of a number."""


def sent_rows(rows: float, columns: int, processes: int) -> float:
    """Numbers that a process hands over so that all have rows of which each had its own part."""
    return rows * columns * (processes - 1) / processes


def sent_contrast(rows: int, columns: int, dim: int, processes: int, *, left: bool = True, right: bool = True) -> float:
    """Of a contrast of rows with columns; ``left``, ``right``: whether either needs a gradient."""
    return sent_rows(rows, 2 + dim * left, processes) + math.log2(processes) * columns * dim * right


def sent_clusters(rows: int, prototypes: int, dim: int, processes: int, rounds: int = 3) -> float:
    """Of a cluster term: two vectors and two numbers a row, two vectors and a number a round a prototype."""
    sums = prototypes * (2 * dim + rounds)
    return sent_rows(rows, 2 + 2 * dim, processes) + math.log2(processes) * sums


class Rates(NamedTuple):
    """Assumed rates of a GPU: bytes a second of its memory that irregular reads reach, multiply-adds a second of
    contrasts, bytes a second to other GPUs, seconds before a message arrives, and bytes of memory."""

    memory: float = 1.5e12
    products: float = 10e12
    network: float = 25e9
    latency: float = 30e-6
    room: float = 80e9


class Step(NamedTuple):
    """Seconds of a step of LightGCN + CROSS, and bytes that a process holds in training."""

    seconds: float
    held: float


PAIRS_A_USER, USERS_AN_ITEM, DIM, BATCH, LAYERS, PROTOTYPES, MODALITIES = 20, 10, 64, 8192, 3, 10_240, 3
BRANCHES = 8
"""Most processes that share a contrast (``crossrec.ops.row_blocks``)."""
MESSAGES = 60
"""Messages of a step that wait for each other."""
TABLES = 13
"""Tables of users and items: weights, best weights, two moments, gradient, and what a step computes with gradients."""


def bytes_of_an_entry(pairs: float) -> int:
    """Column and weight of an entry of the graph."""
    return 8 if 2 * pairs < 2**31 else 12


def held_memory(rows: float, pairs: float, dim: int, processes: int) -> float:
    """Bytes that a process holds in training, without features: tables of so many users and items, divided; the graph,
    and of each pair its numbers, a key of the sampler, and its position and negative in the epoch, all of them."""
    return TABLES * rows * dim / processes * FLOAT + pairs * (2 * bytes_of_an_entry(pairs) + 16 + 8 + 8)


def step(users: float, processes: int, rates: Rates | None = None) -> Step:
    """A step with ``USERS_AN_ITEM`` users an item and ``PAIRS_A_USER`` pairs a user."""
    rates = rates or Rates()
    rows, pairs = users * (1 + 1 / USERS_AN_ITEM), users * PAIRS_A_USER
    table = rows * DIM / processes * FLOAT
    edge = bytes_of_an_entry(pairs)
    products = 2 * LAYERS * (2 * pairs * (edge + DIM / processes * FLOAT) + 3 * table)
    adam = 7 * table
    distinct = BATCH
    kernels = [(distinct, distinct)] * (2 * MODALITIES) + [(distinct, PROTOTYPES)] * MODALITIES
    kernels += [(distinct, 2 * PROTOTYPES)] * 2
    sharing = min(processes, BRANCHES)
    multiply_adds = sum(5 * n * p * DIM for n, p in kernels) / sharing
    sent = FLOAT * sum(sent_clusters(n, p, DIM, sharing) for n, p in kernels)
    sent += FLOAT * sent_rows(6 * BATCH + 4 * BATCH, DIM, processes)
    waits = MESSAGES * rates.latency if processes > 1 else 0
    seconds = (products + adam) / rates.memory + multiply_adds / rates.products + sent / rates.network + waits
    return Step(seconds, held_memory(rows, pairs, DIM, processes) + users / USERS_AN_ITEM * DIM * FLOAT)


def table() -> list[str]:
    """The table of docs/scale.md, as lines of Markdown."""
    counts = (1, 8, 64)
    lines = ["| users | " + " | ".join(f"{count} GPU{'s' * (count > 1)}" for count in counts) + " |"]
    lines.append("| :-- |" + " --: |" * len(counts))
    for power in (6, 7, 8):
        cells = []
        for count in counts:
            seconds, held = step(10.0**power, count)
            fits = "" if held < Rates().room else ", does not fit"
            cells.append(f"{seconds * 1000:,.0f} ms, {held / 1e9:,.1f} GB{fits}")
        lines.append(f"| 10^{power} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
