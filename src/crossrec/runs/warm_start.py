"""Begin a training with the parameters of another run: users and items are matched by their ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from crossrec.data import Dataset
from crossrec.data.io.atomic import read_json
from crossrec.data.io.codes import positions
from crossrec.data.io.tensor_file import read_tensors
from crossrec.errors import ConfigError, RunError
from crossrec.objective import Objective
from crossrec.runs.config import RunConfig, load_config
from crossrec.runs.directory import MEASURED_FILE, check_run, run_identity
from crossrec.runs.embeddings import EMBEDDINGS_FILE, TrainedEmbeddings

WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True)
class WarmStart:
    """What a training takes from another run.

    ``weights``: its parameters by name; ``measured``: those of its first training, if it was refit, else None.
    ``user_ids``, ``item_ids``: ids of the rows of its tables. ``trained``: users and items, as rows of these ids, of
    the interactions that ``measured`` has learnt, (N,) each.
    """

    identity: str
    weights: dict[str, Tensor] = field(repr=False)
    user_ids: pl.Series = field(repr=False)
    item_ids: pl.Series = field(repr=False)
    measured: dict[str, Tensor] | None = field(default=None, repr=False)
    trained: tuple[np.ndarray, np.ndarray] | None = field(default=None, repr=False)

    @classmethod
    def open(cls, run: Path | str, config: RunConfig) -> WarmStart:
        """Read a finished run to begin the training ``config`` with.

        Raises RunError where the run is missing, not done, damaged or without weights, ConfigError where its backbone
        or its dimension is another than that of ``config``.
        """
        run = Path(run)
        check_run(run)
        source = load_config(run / "config.json")
        for what, there, here in (
            ("backbone", source.backbone.name, config.backbone.name),
            ("dim", source.backbone.dim, config.backbone.dim),
        ):
            if there != here:
                raise ConfigError(f"--init-from {run}: its {what} is {there}, here it is {here}; give --{what} {there}")
        if not (run / WEIGHTS_FILE).exists():
            raise RunError(f"--init-from {run}: has no {WEIGHTS_FILE}; give a run that 'crossrec train' made")
        extended = read_json(run / "metrics.json").get("extended", {})
        user_ids, item_ids = (pl.read_parquet(run / f"{what}.parquet")["id"] for what in ("users", "items"))
        item_ids = item_ids.head(extended.get("trained_items", len(item_ids)))
        weights = read_tensors(run / WEIGHTS_FILE)
        measured = read_tensors(run / MEASURED_FILE) if (run / MEASURED_FILE).exists() else None
        vectors = TrainedEmbeddings.load(run / EMBEDDINGS_FILE)
        trained = vectors.seen_trained if vectors.seen_held_out is None else ~vectors.seen_held_out
        user_N = np.repeat(np.arange(vectors.num_users), vectors.seen_indptr.diff().numpy())
        pairs = user_N[trained.numpy()], vectors.seen_item[trained].numpy()
        return cls(run_identity(run), weights, user_ids, item_ids, measured, pairs)

    @torch.no_grad()
    def fill(self, objective: Objective, dataset: Dataset, *, measured: bool = True) -> dict[str, int]:
        """Replace the initial parameters of ``objective`` by those of the run.

        Returns the numbers of users and items that are in both, and of validation and test interactions that the
        parameters have learnt. ``measured``: take those of the training that the run was measured by, so that a run
        that was refit does not give away what is held out.

        Tables of users and items are filled row by row, by id; rows of new users and items keep their initial values.
        Other parameters of backbone and alignment are taken where name and shape agree. Features that the backbone
        trains begin as they are in the data set now.
        """
        weights = self.weights if not measured or self.measured is None else self.measured
        user_N = positions(dataset.user_ids, self.user_ids).copy()
        item_N = positions(dataset.item_ids, self.item_ids).copy()
        users, items = len(self.user_ids), len(self.item_ids)
        both_N = np.concatenate([user_N, np.where(item_N < 0, -1, item_N + users)])
        tables = {"user": (users, user_N), "item": (items, item_N), "both": (users + items, both_N)}
        for name, parameter in objective.named_parameters():
            leaf = next(part for part in reversed(name.split(".")) if not part.isdigit())
            weight = weights.get(name)
            weight = None if weight is None else objective.own_part(name, weight)
            if weight is None or weight.shape[1:] != parameter.shape[1:] or leaf.startswith("feature"):
                continue
            row_N = _table_rows(leaf, len(weight), len(parameter), tables) if name.startswith("backbone.") else None
            if row_N is not None:
                is_old = torch.from_numpy(row_N >= 0)
                parameter[is_old] = weight[torch.from_numpy(row_N)[is_old]].to(parameter)
            elif weight.shape == parameter.shape:
                parameter.copy_(weight)
        matched = {"users": int((user_N >= 0).sum()), "items": int((item_N >= 0).sum())}
        return matched | {"held_out": self._held_out(dataset, user_N, item_N)}

    def _held_out(self, dataset: Dataset, user_N: np.ndarray, item_N: np.ndarray) -> int:
        """How many validation and test interactions are among those that the run was trained on.

        ``user_N``, ``item_N``: the run's row of each row of the data set, -1 for none.
        """
        if self.trained is None:
            return 0
        users, items = (
            np.concatenate([getattr(split, name) for split in (dataset.valid, dataset.test)])
            for name in ("user_N", "item_N")
        )
        key_N = user_N[users] * len(self.item_ids) + item_N[items]
        in_both_N = (user_N[users] >= 0) & (item_N[items] >= 0)
        return int(np.isin(key_N[in_both_N], self.trained[0] * len(self.item_ids) + self.trained[1]).sum())


def _table_rows(leaf: str, old: int, new: int, tables: dict[str, tuple[int, np.ndarray]]) -> np.ndarray | None:
    """The old row of each new row, -1 for none, of a table of users, of items or of both; None for another parameter.

    ``leaf``: the last name of the parameter; ``old``, ``new``: its numbers of rows. Where there are as many users as
    items, the name decides.
    """
    if leaf in ("weight", "bias"):
        return None
    rows = {what: row_N for what, (count, row_N) in tables.items() if (count, len(row_N)) == (old, new)}
    return rows.get(leaf, next(iter(rows.values()), None))
