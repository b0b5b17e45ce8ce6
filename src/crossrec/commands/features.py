"""``crossrec data features``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from crossrec.commands.flags import use_threads
from crossrec.commands.show import stderr, stdout
from crossrec.features import FeatureCard, FeaturesConfig, encode_features

SAYING = {
    "encoded": "with a vector",
    "no_text": "without text",
    "no_picture": "without picture",
    "lost": "picture missing or unreadable",
    "broken": "picture broken, or no picture",
    "too_large": "picture too large or too narrow",
    "not_finite": "vector not finite",
    "cut": "text cut at the model's length",
    "converted": "picture turned into RGB",
    "frames": "picture of several frames, the first taken",
    "turned": "picture turned upright",
}
SECONDS = 10.0
"""Between two lines on progress, where stderr is no terminal."""


def features(settings: Annotated[FeaturesConfig, Parameter(name="*")], *, threads: int = 0) -> int:
    """Make text_feat.npy and image_feat.npy of a data folder, by a sentence encoder and an image encoder.

    The same command goes on where it was stopped, and does nothing where nothing has changed.

    Parameters
    ----------
    threads
        Processor threads; 0 for all.
    """
    use_threads(threads)
    with _progress() as (on_progress, rates):
        cards = encode_features(settings, on_progress)
    for card in cards:
        _show(card, rates.get(card.modality))
    return 0


def _show(card: FeatureCard, rate: str | None) -> None:
    table = Table(title=card.file, title_justify="left", show_header=False)
    table.add_row("items", f"{card.items:,}")
    for name, count in card.counts.items():
        if count or name == "encoded":
            table.add_row(SAYING[name], f"{count:,}")
    table.add_row("columns", f"{card.dimension:,} {card.dtype}")
    table.add_row("model", card.model)
    stdout.print(table)
    stdout.print(rate or "up to date: model and inputs are those it was made of")


@contextmanager
def _progress() -> Iterator[tuple[Callable[[str, int, int], None], dict[str, str]]]:
    """A bar per modality with the time left, or a line now and then; and in the end how fast each went."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    rates: dict[str, str] = {}
    begun: dict[str, tuple[float, int]] = {}
    told = 0.0
    with Bar(*columns, console=stderr, disable=not stderr.is_terminal) as bar:
        tasks = {}

        def on_progress(modality: str, done: int, total: int) -> None:
            nonlocal told
            now = time.monotonic()
            if modality not in begun:
                begun[modality], told = (now, done), now
                tasks[modality] = bar.add_task(modality, total=total, completed=done)
            since, before = begun[modality]
            bar.update(tasks[modality], completed=done)
            speed = (done - before) / max(now - since, 1e-9)
            kept = f", {before:,} kept from before" if before else ""
            rates[modality] = f"{done - before:,} encoded in {now - since:.0f} s, {speed:.1f} a second{kept}"
            if not stderr.is_terminal and now - told >= SECONDS and before < done < total:
                line = f"{modality}: {done:,} of {total:,}, {(total - done) / speed:.0f} s left"
                stderr.print(line, highlight=False, soft_wrap=True)
                told = now

        yield on_progress, rates
