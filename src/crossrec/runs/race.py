"""Race of the alignments on validation: which one suits this backbone and these data, within a bounded time."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossrec.alignment import ALIGNMENTS
from crossrec.checkpoint import load_checkpoint, save_checkpoint
from crossrec.data import Dataset, load
from crossrec.data.io.atomic import read_json, write_json_atomic
from crossrec.data.io.lock import FolderLock
from crossrec.data.io.manifest import MANIFEST, read_sealed, write_sealed
from crossrec.errors import ConfigError, RunError
from crossrec.lazy import polars as pl
from crossrec.runs.config import RunConfig
from crossrec.runs.directory import claim, finished_metrics, seal
from crossrec.runs.execute import run
from crossrec.training_state import Progress

CONTENDERS = ("prime", "cross", "fettle")
"""The alignments that race against the backbone alone, with their default settings, in the order in which they run."""
BUDGET = 2.5
"""Training time of the whole race, in trainings of the backbone alone."""
WAY_OUT = "delete the folder and start the race again"
RACE_FILE = "race.json"
"""What every contender reached, in which time. The folder of the race holds it beside the files of the best run."""


@dataclass
class Standing:
    """How far a contender has come. ``seconds``: training time; ``valid``: its best on validation so far."""

    alignment: str
    epochs: int
    seconds: float
    valid: float
    finished: bool


def race(
    config: RunConfig,
    out: str | os.PathLike[str],
    *,
    contenders: Sequence[str] = CONTENDERS,
    budget: float = BUDGET,
    resume: bool = False,
    dataset: Dataset | None = None,
    on_epoch: Callable[[str, Progress], None] = lambda *_: None,
) -> tuple[dict[str, Any], list[Standing]]:
    """Train the backbone alone, race the alignments against it, and leave the best run in ``out``.

    The backbone alone is trained to its end; its training time is the unit T. Then the contenders train one after the
    other, each until it ends by itself, as long as there is time left of ``budget`` T; when it is over, the one that is
    training stops where it is. The run with the best validation metric wins, so the result is never worse on validation
    than the backbone alone. Test data decide nothing.

    Returns the contents of the winner's ``metrics.json`` and the standings, which ``race.json`` in ``out`` holds too.
    ``out`` is an ordinary run: its ``config.json`` has the winner's settings, with ``training.epochs`` at the epoch in
    which its time was up, and trains to the same weights again. Which contender gets how far depends on measured times,
    so another machine may choose another one. ``config.alignment`` is not used. ``on_epoch`` is called with the
    contender's name and its progress. With ``resume`` a stopped race goes on.

    Raises ConfigError where no user has validation items and for ``refit`` and ``init_from``, and all that ``run``
    raises.
    """
    out = Path(out)
    if config.refit or config.init_from is not None:
        flag = "refit" if config.refit else "init-from"
        raise ConfigError(
            f"--{flag}: --alignment auto chooses and measures; train its choice: crossrec train --config "
            f"{out}/config.json --{flag}"
        )
    dataset = dataset or load(config.data)
    plain = config.model_copy(update={"alignment": None})
    identity = plain.identity(dataset)
    if not len(dataset.valid.user_N):
        raise ConfigError("--alignment auto chooses by validation, and this data set has no validation items")
    with FolderLock(out):
        if (out / MANIFEST).exists():
            return _result(out, identity, resume)
        if not resume:
            finished_metrics(out, identity, resume)  # refuses a folder that holds anything else
            if (out / ".race").exists():
                raise RunError(f"{out} holds a race already: pass --resume to go on with it, or another --out")
        runs = _RaceRuns(plain, out / ".race", dataset, on_epoch)
        standings = runs.decided() or _run_all(runs, contenders, budget)
        folder = runs.finish(standings)
        record = {"identity": identity, "standings": [asdict(standing) for standing in standings]}
        write_json_atomic(out / RACE_FILE, record)
        for file in sorted(folder.iterdir()):
            if file.is_file() and file.name != MANIFEST and not file.name.startswith("."):
                shutil.copyfile(file, out / file.name)
        seal(out)
        shutil.rmtree(out / ".race")
    return _result(out, identity, resume=True)


def _run_all(runs: _RaceRuns, contenders: Sequence[str], budget: float) -> list[Standing]:
    """Train the backbone alone, then each contender while there is time; the best on validation comes first."""
    standings = [runs.train("none", math.inf)]
    end = budget * standings[0].seconds
    for name in contenders:
        left = end - sum(standing.seconds for standing in standings)
        if left > 0:
            standings.append(runs.train(name, left))
    return sorted(standings, key=lambda standing: -standing.valid)


def _result(out: Path, identity: str, resume: bool) -> tuple[dict[str, Any], list[Standing]]:
    """Read the result of a race that is done."""
    if not resume:
        raise RunError(f"{out} holds a run already: pass --resume to go on with it, or another --out")
    record = read_json(out / RACE_FILE) if (out / RACE_FILE).exists() else None
    if not isinstance(record, dict) or record.get("identity") != identity:
        raise RunError(f"{out} holds a run of other settings or data, or no race; give another --out")
    own = read_json(out / "config.json")
    metrics = finished_metrics(out, own["identity"] if isinstance(own, dict) else "", resume=True)
    assert metrics is not None
    return metrics, [Standing(**standing) for standing in record["standings"]]


@dataclass
class _RaceRuns:
    """The runs of a race, a folder each."""

    plain: RunConfig
    folder: Path
    dataset: Dataset
    on_epoch: Callable[[str, Progress], None]

    def _config(self, name: str) -> RunConfig:
        settings = ALIGNMENTS[name]
        return self.plain.model_copy(update={"alignment": None if settings is None else settings()})

    def train(self, name: str, seconds: float) -> Standing:
        """Go on with a contender until it has trained for ``seconds`` in all, one epoch at least, or has ended."""
        path = self.folder / name
        run(
            self._config(name),
            path,
            resume=True,
            dataset=self.dataset,
            on_epoch=lambda progress: self.on_epoch(name, progress),
            pause=lambda progress: (
                progress.epoch > 0 and sum(row["train_seconds"] for row in progress.history) >= seconds
            ),
        )
        history = pl.read_csv(path / "history.csv", glob=False)
        return Standing(
            name,
            history.height,
            float(history["train_seconds"].sum()),
            float(history[f"valid_{self.plain.training.selection}"].to_numpy().max()),
            (path / MANIFEST).exists(),
        )

    def decided(self) -> list[Standing]:
        """The standings of a race that was stopped after its rounds, else none."""
        path = self.folder / RACE_FILE
        return [Standing(**standing) for standing in read_sealed(path, WAY_OUT)["standings"]] if path.exists() else []

    def finish(self, standings: Sequence[Standing]) -> Path:
        """End the run of the first, as if it had been asked for the epochs that it has trained. Return its folder.

        Can be repeated after a kill.
        """
        write_sealed(self.folder / RACE_FILE, {"standings": [asdict(standing) for standing in standings]})
        best = standings[0]
        folder, config = self.folder / best.alignment, self._config(best.alignment)
        if not best.finished:
            config = config.model_copy(update={"training": config.training.model_copy(update={"epochs": best.epochs})})
            identity = config.identity(self.dataset)
            if not (folder / MANIFEST).exists():
                tensors, record = load_checkpoint(folder / "checkpoint")
                progress = record["progress"] | {"finished": True}
                save_checkpoint(folder / "checkpoint", tensors, {"identity": identity, "progress": progress})
                claim(folder, config, identity, self.dataset)
        run(config, folder, resume=True, dataset=self.dataset)
        return folder
