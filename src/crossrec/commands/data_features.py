"""``crossrec data features``."""

from __future__ import annotations

import time
from typing import Annotated

from cyclopts import Parameter
from rich.progress import MofNCompleteColumn, TaskID, TimeRemainingColumn
from rich.table import Table

from crossrec.commands.flags import use_threads
from crossrec.commands.progress import ProgressBar
from crossrec.commands.whole_number import WholeNumber
from crossrec.console import add_cells, say, stdout
from crossrec.features import FeatureCard, FeaturesConfig, encode_features
from crossrec.features.ledger import FAILED, Mark

COUNTS = {
    "encoded": "with a vector",
    "no_text": "without text",
    "no_picture": "without picture",
    "lost": "picture missing or unreadable",
    "broken": "picture broken, or no picture",
    "too_large": "picture too large or too narrow",
    "not_finite": "vector not finite",
    "placeholder": "a word for none, such as nan: taken for empty",
    "one_colour": "picture of one colour",
    "cut": "text cut at the model's length",
    "converted": "picture turned into RGB",
    "frames": "picture of several frames, the first taken",
    "turned": "picture turned upright",
}
"""Labels of the counts on a card."""
LOG_SECONDS = 10.0
"""Between two lines of progress where stderr is no terminal."""


def features(settings: Annotated[FeaturesConfig, Parameter(name="*")], *, threads: WholeNumber = 0) -> int:
    """Encode texts and pictures of items into text_feat.npy and image_feat.npy of a data folder.

    Run again, the command resumes where it stopped, and does nothing where nothing has changed.

    Parameters
    ----------
    threads
        Processor threads; 0 for all.
    """
    use_threads(threads)
    with EncodingProgress() as progress:
        cards = encode_features(settings, progress.on_progress)
    for card in cards:
        _print_card(card, progress.speeds.get(card.modality))
    return 0


def _print_card(card: FeatureCard, speed: str | None) -> None:
    table = Table(title=card.file, title_justify="left", show_header=False)
    add_cells(table, ("items", f"{card.items:,}"))
    for name, count in card.counts.items():
        if count or name == "encoded":
            add_cells(table, (COUNTS[name], f"{count:,}"))
    add_cells(table, ("columns", f"{card.dimension:,} {card.dtype}"))
    add_cells(table, ("model", card.model))
    stdout.print(table)
    for name in card.failed:
        say(f"no vector: {name}")
    if more := sum(card.counts.get(str(mark.name).lower(), 0) for mark in Mark if mark & FAILED) - len(card.failed):
        say(f"no vector: {more:,} more")
    say(speed or "up to date: model and inputs are those it was made of")


class EncodingProgress(ProgressBar):
    """A bar per modality with the time left, or a line every LOG_SECONDS without a terminal.

    ``speeds`` says by modality how many items were encoded, and how fast.
    """

    def __init__(self) -> None:
        super().__init__(MofNCompleteColumn(), TimeRemainingColumn(elapsed_when_finished=True))
        self.speeds: dict[str, str] = {}
        self._starts: dict[str, tuple[TaskID, float, int]] = {}
        self._logged = 0.0

    def on_progress(self, modality: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` items have a vector."""
        now = time.monotonic()
        if modality not in self._starts:
            task = self.add_task(modality, total=total, completed=done)
            self._starts[modality], self._logged = (task, now, done), now
        task, start, before = self._starts[modality]
        self.update(task, completed=done)
        speed = (done - before) / max(now - start, 1e-9)
        reused = f", {before:,} kept from before" if before else ""
        self.speeds[modality] = f"{done - before:,} encoded in {now - start:.0f} s, {speed:.1f} a second{reused}"
        if now - self._logged >= LOG_SECONDS and before < done < total:
            self.print_line(f"{modality}: {done:,} of {total:,}, {(total - done) / speed:.0f} s left")
            self._logged = now
