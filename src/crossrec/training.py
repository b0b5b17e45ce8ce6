"""The training loop: sample, compute the terms, step; validate, stop early, checkpoint. It never sees test data."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated

import torch
from pydantic import Field, field_validator
from torch import Tensor

from crossrec import parallel
from crossrec.checkpoint import MANIFEST
from crossrec.config import Config, Number, NumberOrZero, Seed
from crossrec.devices import Device
from crossrec.errors import ConfigError, TrainingError
from crossrec.evaluation import HeldOut, evaluate_splits
from crossrec.evaluation.metrics import DEFAULT_METRICS, ListLength, Metric, MetricAtK
from crossrec.memory import return_freed_memory
from crossrec.objective import Objective
from crossrec.ops.divided import whole_columns
from crossrec.optimizer import SharedAdam
from crossrec.randomness import torch_generator
from crossrec.sampling import Sampler, Weighting
from crossrec.trackers import TrackerName
from crossrec.training_state import Progress, TrainingState
from crossrec.types import Batch, TrainingSet

SELECTION = "recall@20"
"""The validation metric for early stopping and the choice of the best epoch, unrounded, unless another is monitored."""
KS = (10, 20)
"""Lengths of lists that every run measures."""
SHOWN = ("recall", "ndcg")
"""Metrics of tables, unless others are named."""
LARGE = 1 << 26
"""Numbers of weights whose checkpoint may take longer to write than processes wait in a step."""
PURPOSES = ("sampling", "epoch")
"""One random generator for each."""


class TrainingConfig(Config):
    """Settings of training that apply to every model."""

    epochs: Number = 1000
    """Maximum number of epochs."""
    batch_size: Number = 2048
    """Pairs per step."""
    patience: Number = 20
    """Stop after this many epochs without a better --monitor on validation."""
    patience_steps: NumberOrZero = 400
    """Do not stop before this many steps without progress; an epoch of a small data set has few steps."""
    seed: Seed = 0
    """Seed of everything random: initial values, sampling, graph views."""
    device: Device = "auto"
    """cpu, cuda, or auto: cuda if there is one."""
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 30.0
    """Save a checkpoint at the end of an epoch if the last one is at least this many seconds old."""
    weighting: Weighting | None = None
    """How weights of --weighted data act: on the loss of each pair, or as odds of drawing it; default: loss."""
    tracker: TrackerName | None = None
    """Also send every epoch to tensorboard, mlflow, wandb or module:Class; default: to none."""
    record_strengths: bool | None = None
    """Write strengths.csv: strengths of modalities and directions of alignment after every epoch (Figure 2)."""

    metrics: tuple[Metric, ...] | None = None
    """Metrics of the tables: recall, ndcg, precision, map, hr, mrr or module:function; default: recall ndcg."""
    k: tuple[ListLength, ...] | None = None
    """Lengths of lists for the metrics of the tables; default: 10 20."""
    monitor: MetricAtK | None = None
    """Validation metric that chooses the best epoch and stops training, e.g. ndcg@10; default: recall@20."""

    @property
    def selection(self) -> str:
        """The metric that chooses the best epoch."""
        return self.monitor or SELECTION

    @property
    def shown(self) -> tuple[str, ...]:
        """The metrics of tables, e.g. "recall@10"."""
        return tuple(f"{metric}@{k}" for metric in self.metrics or SHOWN for k in self.k or KS)

    def headline(self, default: str) -> str:
        """The metric of findings and figures: ``default``, or the first that is named, at the same K if it is."""
        at_k = default[default.index("@") :]
        named = self.shown if self.metrics or self.k else (default,)
        return next((metric for metric in named if metric.endswith(at_k)), named[0])

    @property
    def measured(self) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Metrics and lengths of lists that a run measures: those of every run, of the tables, and the monitored."""
        metric, k = self.selection.split("@")
        metrics = dict.fromkeys([*DEFAULT_METRICS, *(self.metrics or ()), metric])
        return tuple(metrics), tuple(dict.fromkeys([*KS, *(self.k or ()), int(k)]))

    @field_validator("monitor")
    @classmethod
    def _none_for_the_default(cls, value: str | None) -> str | None:
        return None if value == SELECTION else value

    @field_validator("record_strengths")
    @classmethod
    def _none_for_no(cls, value: bool | None) -> bool | None:
        return value or None  # False and None are the same run, so they need the same digest


def fit(
    objective: Objective,
    data: TrainingSet,
    valid: HeldOut,
    config: TrainingConfig,
    *,
    checkpoints: str | os.PathLike[str] | None = None,
    identity: str = "",
    on_epoch: Callable[[Progress], None] = lambda _: None,
    observe: Callable[[], dict[str, float]] | None = None,
    pause: Callable[[Progress], bool] = lambda _: False,
    follow: Progress | None = None,
) -> Progress:
    """Train until the validation metric stops improving, then load the best epoch's weights into the objective.

    - ``checkpoints``: folder to save checkpoints to. Training resumes from a checkpoint of the same ``identity`` there;
      on a CPU it ends bit-equal to training that was never interrupted.
    - ``on_epoch``: called with the progress after every epoch.
    - ``observe``: called after every epoch. Its return values are stored in ``Progress.observed`` and survive resuming.
      It must change neither weights nor generators.
    - ``pause``: called with the progress before every epoch. Where it returns True, training saves a checkpoint and
      returns unfinished; the same call without it goes on from there.
    - ``follow``: an earlier training, whose validation decides in place of this one's where the alignment starts anew.

    On a small catalogue the monitored metric may be the same in many epochs, such as Recall@20 of 20 items. Of epochs
    that tie at 1, or with lists of more than half of the items, the one with the best NDCG at the same K is the best;
    of others the first. If no user has validation items, the last epoch is the best.

    Raises TrainingError naming epoch, batch and term if a loss is not finite, RunError for a damaged checkpoint or one
    of another identity.
    """
    folder = None if checkpoints is None else Path(checkpoints)
    _check_weights(objective, data, config)
    sampler = Sampler(data, config.batch_size, config.weighting or "loss")
    top_k = int(config.selection.split("@")[1])
    is_coarse = 2 * top_k > data.num_items
    optimizer = make_optimizer(objective)
    generators = {purpose: torch_generator(config.seed, purpose, data.user_T.device) for purpose in PURPOSES}
    patience = max(config.patience, math.ceil(config.patience_steps / len(sampler)))
    state = TrainingState(objective, optimizer, generators, Progress(), _weights(objective))
    if folder is not None and parallel.from_main((folder / MANIFEST).exists):
        state.resume(folder, identity)
    progress, saved = state.progress, time.monotonic()
    return_freed_memory()  # of reading data and building graphs

    for epoch in range(progress.epoch + 1, config.epochs + 1):
        if progress.finished:
            break
        if parallel.from_main(lambda: pause(progress)):
            if folder is not None:
                state.save(folder, identity)
            break
        started = time.perf_counter()
        objective.train()
        history = (progress if follow is None else follow).history[: epoch - 1]
        values = [row.get(f"valid_{config.selection}", row["epoch"]) for row in history]
        objective.before_epoch(epoch, generators["epoch"], len(sampler), values)
        if objective.restarts_optimizer:
            optimizer.state.clear()
        for group in optimizer.param_groups:
            group["lr"] = group["lr_factor"] * objective.learning_rate_at(epoch)
        means = _steps(objective, optimizer, sampler.epoch(generators["sampling"]), len(sampler), epoch)
        optimizer.zero_grad(set_to_none=True)  # validation needs their memory
        _return_memory()
        trained = time.perf_counter()
        metrics = validate(objective, valid, *config.measured)
        seconds = {"train_seconds": trained - started, "eval_seconds": time.perf_counter() - trained}
        progress.history.append({"epoch": epoch, **seconds, **means, **{f"valid_{k}": v for k, v in metrics.items()}})
        if observe is not None:
            progress.observed.append({"epoch": epoch, **observe()})
        progress.epoch = epoch
        value = metrics.get(config.selection, float(epoch))
        is_tie = value == progress.best_value and (value == 1 or is_coarse)
        best_row = progress.history[progress.best_epoch - 1]
        if value > progress.best_value or (is_tie and metrics[f"ndcg@{top_k}"] > best_row[f"valid_ndcg@{top_k}"]):
            progress.best_epoch, progress.best_value = epoch, value
            for name, weights in objective.state_dict().items():
                state.best[name].copy_(weights)
        progress.finished = epoch == config.epochs or epoch - progress.best_epoch >= patience
        is_due = progress.finished or time.monotonic() - saved >= config.checkpoint_seconds
        if folder is not None and parallel.from_main(lambda: is_due):  # noqa: B023
            state.save(folder, identity)
            is_large = sum(map(Tensor.numel, state.best.values())) > LARGE
            parallel.from_main(lambda: None, patient=is_large)  # until the file is on the disk
            saved = time.monotonic()
        on_epoch(progress)
    objective.load_state_dict(state.best)
    _return_memory()
    return progress


def _return_memory() -> None:
    """Return freed memory to the system where several processes train one model, so that another one can use it."""
    if parallel.size() > 1:
        return_freed_memory()


def make_optimizer(objective: Objective) -> SharedAdam:
    """Adam of the objective's parameters."""
    divided = set() if objective.backbone.columns is None else set(map(id, objective.backbone.parameters()))
    return SharedAdam(objective.parameter_groups(), lambda parameter: id(parameter) not in divided)


def _check_weights(objective: Objective, data: TrainingSet, config: TrainingConfig) -> None:
    """Raise ConfigError for a weighting that the data or the backbone do not have."""
    if data.weight_T is None and config.weighting is not None:
        raise ConfigError("--weighting: the interactions have no weights; read them with --weighted")
    if data.weight_T is not None and config.weighting != "sampling" and not objective.backbone.weighs_pairs:
        raise ConfigError(
            f"--weighted: the loss of {type(objective.backbone).__name__} does not weigh pairs; draw them by their "
            "weights with --weighting sampling"
        )


def tie_note(progress: Progress, selection: str) -> str:
    """Say that the metric which chooses the epoch is 1 in several; "" where it is not."""
    ties = sum(row.get(f"valid_{selection}") == 1 for row in progress.history)
    metric, k = selection.split("@")
    return (
        f"Validation {selection} is 1 in {ties} epochs, so NDCG@{k} has chosen among these. For a catalogue this small "
        f"take a smaller K, as in --monitor {metric}@{max(1, int(k) // 4)}"
        if ties > 1
        else ""
    )


def _steps(
    objective: Objective, optimizer: torch.optim.Optimizer, batches: Iterator[Batch], steps: int, epoch: int
) -> dict[str, float]:
    """Train one epoch and return the mean of every term, over the steps that have it, and of the loss.

    Reads the values once, at the end. Until then they share one tensor: a small one that outlives its step would lie
    where the step's large ones were, so that those of the next step do not fit there, and memory would grow.
    """
    values = torch.empty(0)
    origins: list[tuple[int, str]] = []  # batch and term of every value
    for number, batch in enumerate(batches, 1):
        terms, loss = objective(batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        terms = {**terms, "loss": loss}
        row = torch.stack(list(terms.values())).detach()
        end = len(origins) + len(row)
        if end > len(values):
            values = torch.cat([values.to(row), row.new_empty(steps * len(row))])
        values[len(origins) : end] = row
        origins += [(number, name) for name in terms]
    by_term: dict[str, list[float]] = {}
    for (number, name), value in zip(origins, values[: len(origins)].tolist(), strict=True):
        if not math.isfinite(value):
            raise TrainingError(
                f"epoch {epoch}, batch {number}: term '{name}' is {value}; "
                "try a smaller --learning-rate, --alpha, --beta or --gamma"
            )
        by_term.setdefault(name, []).append(value)
    return {name: fmean(column) for name, column in by_term.items()}


def validate(
    objective: Objective, held: HeldOut, metric_names: Sequence[str] = DEFAULT_METRICS, ks: Sequence[int] = KS
) -> dict[str, float]:
    """Evaluate the current weights on held-out pairs. Without a user to evaluate the result is empty."""
    return validate_splits(objective, {"held": held}, metric_names, ks)["held"]


@torch.no_grad()
def validate_splits(
    objective: Objective,
    splits: Mapping[str, HeldOut],
    metric_names: Sequence[str] = DEFAULT_METRICS,
    ks: Sequence[int] = KS,
) -> dict[str, dict[str, float]]:
    """``validate`` for several splits. Each user is scored once."""
    present = {name: held for name, held in splits.items() if len(held.user_E)}
    metrics: dict[str, dict[str, float]] = {name: {} for name in splits}
    if present:
        objective.eval()
        reps = objective.propagate()
        item_IS = reps.item_IS if reps.columns is None else whole_columns(reps.item_IS, reps.columns)
        _return_memory()
        metrics |= evaluate_splits(reps.user_US, item_IS, present, ks, metrics=metric_names, columns=reps.columns)
    return metrics


def _weights(objective: Objective) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in objective.state_dict().items()}
