"""Command ``crossrec train``: train one recommender and print its metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.progress import MofNCompleteColumn, TimeElapsedColumn
from rich.table import Table

from crossrec.commands.console import stdout
from crossrec.commands.flags import (
    AlignmentName,
    BackboneName,
    config_types,
    flat,
    keep_freed_memory,
    parse,
    use_threads,
)
from crossrec.commands.progress import STATE, ProgressBar
from crossrec.data import DataConfig
from crossrec.errors import ConfigError
from crossrec.runs.config import RunConfig, load_config
from crossrec.runs.execute import run
from crossrec.training import SELECTION, Progress, TrainingConfig


def train(*tokens: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Train a recommender, alone or with FETTLE or CROSS on top, and test it."""
    if any(token.split("=")[0] == "--config" for token in tokens):
        result = parse(from_file, tokens, name="crossrec train", types={"config": Path, "out": Path})
        return 0 if result is None else int(result)
    backbone_type, alignment_type = config_types(tokens)
    types = {
        "backbone": BackboneName,
        "alignment": AlignmentName,
        "out": Path | None,
        "data": flat(DataConfig),
        "training": flat(TrainingConfig),
        "backbone_settings": flat(backbone_type),
        "alignment_settings": flat(alignment_type) if alignment_type else Annotated[None, Parameter(parse=False)],
    }
    defaults = {
        "data": DataConfig(),
        "training": TrainingConfig(),
        "backbone_settings": backbone_type(),
        "alignment_settings": alignment_type() if alignment_type else None,
    }

    def from_flags(
        *,
        backbone: str = "lightgcn",
        alignment: str = "cross",
        out: Path | None = None,
        resume: bool = False,
        threads: int = 0,
        data: Any = defaults["data"],
        training: Any = defaults["training"],
        backbone_settings: Any = defaults["backbone_settings"],
        alignment_settings: Any = defaults["alignment_settings"],
    ) -> int:
        """Train a recommender, alone or with FETTLE or CROSS on top, and test it.

        The flags below depend on --backbone and --alignment. With --config FILE, all settings come from the config.json
        of a run instead.

        Parameters
        ----------
        backbone
            Recommender to train.
        alignment
            Alignment on top of it.
        out
            Run directory; by default a name made from the settings, under runs/.
        resume
            Continue a stopped run; do nothing if it is done.
        threads
            Number of processor threads; 0 for all.
        """
        config = RunConfig(data=data, backbone=backbone_settings, alignment=alignment_settings, training=training)
        return _train(config, out, resume, threads)

    result = parse(from_flags, tokens, name="crossrec train", types=types)
    return 0 if result is None else int(result)


def from_file(*, config: Path, out: Path, resume: bool = False, threads: int = 0) -> int:
    """Run the configuration in a config.json.

    Parameters
    ----------
    config
        The config.json of a run.
    out
        Run directory.
    resume
        Continue a stopped run; do nothing if it is done.
    threads
        Number of processor threads; 0 for all.
    """
    if not config.is_file():
        raise ConfigError(f"--config {config}: no such file; give the config.json of a run, or a best.json of 'tune'")
    return _train(load_config(config), out, resume, threads)


def _train(config: RunConfig, out: Path | None, resume: bool, threads: int) -> int:
    use_threads(threads)
    keep_freed_memory()
    out = out or Path("runs") / f"{config.label}-seed{config.training.seed}-{config.digest()[:8]}"
    label = config.label
    with ProgressBar(MofNCompleteColumn(), STATE, TimeElapsedColumn()) as bar:
        bar.add(label, config.training.epochs)

        def on_epoch(progress: Progress) -> None:
            state = epoch_state(progress.history[-1], progress.best_epoch)
            bar.update(label, done=progress.epoch, state=state)
            bar.log(f"{label} epoch {progress.epoch}: {state}")

        metrics = run(config, out, resume=resume, on_epoch=on_epoch)
    print_metrics(label, metrics, out)
    return 0


def epoch_state(row: dict[str, float], best_epoch: int) -> str:
    """Loss, validation metric and best epoch so far, in one line."""
    metric = row.get(f"valid_{SELECTION}")
    valid = "" if metric is None else f"  valid {SELECTION} {metric:.4f}"
    return f"loss {row['loss']:.4f}{valid}  best epoch {best_epoch}"


def print_metrics(label: str, metrics: dict[str, Any], out: Path) -> None:
    """Print validation and test metrics of a run, its speed and memory, and its folder."""
    table = Table(title=f"{label}, best epoch {metrics['best_epoch']} of {metrics['epochs']}", title_justify="left")
    table.add_column("")
    names = list(metrics["test"] or metrics["valid"])
    for name in names:
        table.add_column(name, justify="right")
    for split in ("valid", "test"):
        table.add_row(split, *(f"{metrics[split][name]:.4f}" if name in metrics[split] else "–" for name in names))
    stdout.print(table)
    unmeasured = [name for split, name in (("valid", "validation"), ("test", "test")) if not metrics[split]]
    if unmeasured:
        splits = " and ".join(unmeasured)
        stdout.print(
            f"No {splits} metrics: no user has such rows and training rows; label rows, or give users three or more"
        )
    stdout.print(
        f"{metrics['train_seconds_per_epoch']:.2f} s per epoch, {metrics['peak_memory_mb']:.0f} MB; run in {out}"
    )
