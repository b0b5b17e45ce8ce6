"""The state of a training run, and its checkpoints: all that it needs to go on bit-equal on a CPU."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from crossrec.checkpoint import load_checkpoint, save_checkpoint
from crossrec.errors import RunError
from crossrec.objective import Objective
from crossrec.ops.divided import Divided
from crossrec.optimizer import SharedAdam


@dataclass
class Progress:
    """State of a training run after an epoch; all of a checkpoint but its tensors.

    ``history``: one row an epoch, with epoch, train_seconds, eval_seconds, every term, loss and valid_* metrics.
    ``observed``: one row an epoch, with epoch and what the ``observe`` of ``fit`` returned; empty without ``observe``.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_value: float = float("-inf")
    finished: bool = False
    history: list[dict[str, float]] = field(default_factory=list)
    observed: list[dict[str, float]] = field(default_factory=list)


@dataclass
class TrainingState:
    """All that a checkpoint holds. ``best``: the weights of the best epoch."""

    objective: Objective
    optimizer: SharedAdam
    generators: dict[str, torch.Generator]
    progress: Progress
    best: dict[str, Tensor]

    def save(self, folder: Path, identity: str) -> None:
        """Save a checkpoint into the folder."""
        slots = self.optimizer.state_dict()["state"]
        groups = {
            "weights": self.objective.whole_state(),
            "best": {name: self.objective.whole(name, value) for name, value in self.best.items()},
            "optimizer": {
                f"{index}/{slot}": self._whole_slot(index, value)
                for index in slots
                for slot, value in slots[index].items()
            },
            "generator": {purpose: generator.get_state() for purpose, generator in self.generators.items()},
        }
        tensors = {f"{kind}/{name}": value for kind, group in groups.items() for name, value in group.items()}
        save_checkpoint(folder, tensors, {"identity": identity, "progress": vars(self.progress)})

    def _names(self) -> dict[int, str]:
        """Names of the parameters by their position in the optimiser's state."""
        names = {id(parameter): name for name, parameter in self.objective.named_parameters()}
        parameters = (p for group in self.objective.parameter_groups() for p in group["params"])
        return {position: names[id(parameter)] for position, parameter in enumerate(parameters)}

    def _whole_slot(self, position: int, value: Tensor) -> Tensor:
        """A tensor of the optimiser's state to be written to a file."""
        if not value.dim():
            return value
        if position in self.optimizer.shared:
            return cast(Tensor, Divided(value, "numbers", self.optimizer.shared[position][0].shape))
        return self.objective.whole(self._names()[position], value)

    def _own_part(self, path: str, value: Tensor) -> Tensor:
        """What this process needs of a tensor of a checkpoint."""
        kind, name = path.split("/", 1)
        if kind in ("weights", "best"):
            return self.objective.own_part(name, value)
        if kind == "generator" or not value.dim():
            return value
        position = int(name.split("/")[0])
        if position in self.optimizer.shared:
            return value.view(-1)[self.optimizer.shared[position][2]].clone()
        return self.objective.own_part(self._names()[position], value)

    def resume(self, folder: Path, identity: str) -> None:
        """Load the checkpoint of the folder. Raises RunError if it is damaged or of another ``identity``."""
        tensors, manifest = load_checkpoint(folder, self._own_part)
        if manifest["identity"] != identity:
            raise RunError(f"{folder} holds a checkpoint of another configuration or data set: use another --out")
        groups: dict[str, dict[str, Tensor]] = {}
        for path, value in tensors.items():
            kind, name = path.split("/", 1)
            groups.setdefault(kind, {})[name] = value
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in groups.get("optimizer", {}).items():
            index, slot = name.split("/")
            slots.setdefault(int(index), {})[slot] = value
        self.objective.load_state_dict(groups["weights"])
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": slots})
        for purpose, generator in self.generators.items():
            generator.set_state(groups["generator"][purpose])
        self.progress, self.best = Progress(**manifest["progress"]), groups["best"]
