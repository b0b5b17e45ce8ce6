"""Command ``crossrec train``: train one recommender and print its metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.progress import MofNCompleteColumn, TaskID, TimeElapsedColumn
from rich.table import Table

from crossrec import parallel
from crossrec.commands import flags
from crossrec.commands.progress import STATE, ProgressBar
from crossrec.commands.whole_number import WholeNumber
from crossrec.console import say, stdout
from crossrec.data import DataConfig
from crossrec.errors import ConfigError
from crossrec.memory import keep_freed_memory
from crossrec.runs.config import RunConfig, load_config
from crossrec.runs.execute import run
from crossrec.runs.race import race
from crossrec.training import TrainingConfig, tie_note
from crossrec.training_state import Progress


def train(*tokens: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Train a recommender, alone or with FETTLE or CROSS on top, and test it."""
    if any(token.split("=")[0] == "--config" for token in tokens):
        return flags.parse(from_file, tokens, name="crossrec train", types={"config": Path, "out": Path})
    backbone_type, alignment_type = flags.config_types(tokens)
    types = {
        **flags.part_names(),
        "out": Path | None,
        "data": flags.flat(DataConfig),
        "training": flags.flat(TrainingConfig),
        "backbone_settings": flags.flat(backbone_type),
        "alignment_settings": flags.flat(alignment_type) if alignment_type else Annotated[None, Parameter(parse=False)],
    }

    def from_flags(
        *,
        backbone: str = "lightgcn",
        alignment: str = "cross",
        out: Path | None = None,
        resume: bool = False,
        refit: bool = False,
        init_from: Path | None = None,
        threads: WholeNumber = 0,
        data: Any = DataConfig(),  # noqa: B008
        training: Any = TrainingConfig(),  # noqa: B008
        backbone_settings: Any = backbone_type(),  # noqa: B008
        alignment_settings: Any = alignment_type and alignment_type(),  # noqa: B008
    ) -> int:
        """Train a recommender, alone or with FETTLE or CROSS on top, and test it.

        The flags below depend on --backbone and --alignment. With --config FILE, all settings come from the config.json
        of a run instead.

        Parameters
        ----------
        out
            Run directory; by default a name made from the settings, under runs/.
        resume
            Continue a stopped run; do nothing if it is done.
        refit
            Measure on the split, then train anew on all interactions for the best number of epochs, and keep that.
        init_from
            Begin with the parameters of this run, users and items matched by id; it has the same backbone and dim.
        threads
            Number of processor threads; 0 for all.
        """
        config = RunConfig(data=data, backbone=backbone_settings, alignment=alignment_settings, training=training)
        config = _from_here(config, refit, init_from)
        if alignment == flags.AUTO:
            return _race(config, out, resume, threads)
        return _train(config, out, resume, threads)

    return flags.parse(from_flags, tokens, name="crossrec train", types=types)


def from_file(
    *,
    config: Path,
    out: Path,
    resume: bool = False,
    refit: bool = False,
    init_from: Path | None = None,
    threads: WholeNumber = 0,
) -> int:
    """Run the configuration in a config.json.

    Parameters
    ----------
    config
        The config.json of a run.
    out
        Run directory.
    resume
        Continue a stopped run; do nothing if it is done.
    refit
        Measure on the split, then train anew on all interactions for the best number of epochs, and keep that.
    init_from
        Begin with the parameters of this run, users and items matched by id; it has the same backbone and dim.
    threads
        Number of processor threads; 0 for all.
    """
    if not config.is_file():
        raise ConfigError(f"--config {config}: no such file; give the config.json of a run, or a best.json of 'tune'")
    return _train(_from_here(load_config(config), refit, init_from), out, resume, threads)


def _from_here(config: RunConfig, refit: bool, init_from: Path | None) -> RunConfig:
    """The configuration with what the flags add to it."""
    values = {"refit": refit or None, "init_from": None if init_from is None else str(init_from)}
    return config.model_copy(update={name: value for name, value in values.items() if value is not None})


def _train(config: RunConfig, out: Path | None, resume: bool, threads: int) -> int:
    with parallel.joined(config.training.device):
        return _train_here(config, out, resume or parallel.restarted(), threads)


def _train_here(config: RunConfig, out: Path | None, resume: bool, threads: int) -> int:
    flags.use_threads(threads)
    keep_freed_memory(but_large=parallel.launched())
    out = out or Path("runs") / f"{config.label}-seed{config.training.seed}-{config.digest()[:8]}"
    if not parallel.is_main():
        run(config, out, resume=resume)
        return 0
    label, note = config.label, ""
    with ProgressBar(MofNCompleteColumn(), STATE, TimeElapsedColumn()) as bar:
        task = bar.add_task(label, total=config.training.epochs, state="")

        def on_epoch(progress: Progress) -> None:
            nonlocal note
            note = tie_note(progress, config.training.selection)
            state = epoch_state(progress.history[-1], progress.best_epoch, config.training.selection)
            bar.update(task, completed=progress.epoch, state=state)
            bar.print_line(f"{label} epoch {progress.epoch}: {state}")

        def on_refit_epoch(progress: Progress) -> None:
            state = f"again, on all interactions: loss {progress.history[-1]['loss']:.4f}"
            bar.update(task, completed=progress.epoch, state=state)
            bar.print_line(f"{label} epoch {progress.epoch}, {state}")

        metrics = run(config, out, resume=resume, on_epoch=on_epoch, on_refit_epoch=on_refit_epoch)
    print_metrics(label, metrics, out, config.training)
    if note:
        say(note)
    return 0


def _race(config: RunConfig, out: Path | None, resume: bool, threads: int) -> int:
    parallel.require_one_process(f"'crossrec train --alignment {flags.AUTO}', which trains several,")
    flags.use_threads(threads)
    keep_freed_memory()
    label, selection = config.backbone.name, config.training.selection
    out = out or Path("runs") / f"{label}+{flags.AUTO}-seed{config.training.seed}-{config.digest()[:8]}"
    with ProgressBar(MofNCompleteColumn(), STATE, TimeElapsedColumn()) as bar:
        tasks: dict[str, TaskID] = {}

        def on_epoch(alignment: str, progress: Progress) -> None:
            if alignment not in tasks:
                tasks[alignment] = bar.add_task(alignment, total=config.training.epochs, state="")
            state = epoch_state(progress.history[-1], progress.best_epoch, selection)
            bar.update(tasks[alignment], completed=progress.epoch, state=state)
            bar.print_line(f"{label}+{alignment} epoch {progress.epoch}: {state}")

        metrics, standings = race(config, out, resume=resume, on_epoch=on_epoch)
    table = Table(title=f"Race of the alignments on {label}, by validation", title_justify="left")
    for column in ("alignment", selection, "epochs", "training, s"):
        table.add_column(column, justify="left" if column == "alignment" else "right")
    for standing in standings:
        epochs = f"{standing.epochs}" if standing.finished else f"{standing.epochs}, stopped"
        table.add_row(standing.alignment, f"{standing.valid:.4f}", epochs, f"{standing.seconds:.1f}")
    stdout.print(table)
    print_metrics(f"{label}+{standings[0].alignment}", metrics, out, config.training)
    return 0


def epoch_state(row: dict[str, float], best_epoch: int, selection: str) -> str:
    """Loss, validation metric and best epoch so far, in one line."""
    metric = row.get(f"valid_{selection}")
    valid = "" if metric is None else f"  valid {selection} {metric:.4f}"
    return f"loss {row['loss']:.4f}{valid}  best epoch {best_epoch}"


def print_metrics(label: str, metrics: dict[str, Any], out: Path, training: TrainingConfig) -> None:
    """Print validation and test metrics of a run, those of --metrics and --k only, its speed, memory and folder."""
    table = Table(title=f"{label}, best epoch {metrics['best_epoch']} of {metrics['epochs']}", title_justify="left")
    table.add_column("")
    names = list(metrics["test"] or metrics["valid"])
    if training.metrics or training.k:
        names = list(training.shown)
    for name in names:
        table.add_column(name, justify="right")
    for split in ("valid", "test"):
        table.add_row(split, *(f"{metrics[split][name]:.4f}" if name in metrics[split] else "–" for name in names))
    stdout.print(table)
    unmeasured = [name for split, name in (("valid", "validation"), ("test", "test")) if not metrics[split]]
    if unmeasured:
        splits = " and ".join(unmeasured)
        say(f"No {splits} metrics: no user has such rows and training rows; label rows, or give users three or more")
    if (start := metrics.get("init_from")) is not None:
        say(f"Began with the vectors of another run: {start['users']:,} users and {start['items']:,} items are in both")
        if start["held_out"]:
            say(
                f"That run had learnt {start['held_out']:,} of the interactions that are held out now, so the metrics "
                "are too high; with a split by time there are few"
            )
    if (refit := metrics.get("refit")) is not None:
        say(
            f"Trained again on all {refit['interactions']:,} interactions, for {refit['epochs']} epochs; the metrics "
            "are of the training before, which held some back"
        )
    say(f"{metrics['train_seconds_per_epoch']:.2f} s per epoch, {metrics['peak_memory_mb']:.0f} MB; run in {out}")
