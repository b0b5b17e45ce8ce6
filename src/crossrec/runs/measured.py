"""The vectors that a finished run was measured by."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from crossrec.data import Dataset
from crossrec.data.io.tensor_file import read_tensors
from crossrec.errors import RunError
from crossrec.objective import Objective
from crossrec.runs.config import load_config
from crossrec.runs.directory import MEASURED_FILE, open_embeddings
from crossrec.runs.embeddings import WAY_OUT, TrainedEmbeddings
from crossrec.runs.execute import training_set
from crossrec.runs.seen import seen_items


def measured_embeddings(folder: str | os.PathLike[str], dataset: Dataset) -> TrainedEmbeddings:
    """Vectors that a finished run made from the training pairs of ``dataset`` and them alone.

    Those of a run that was refit have learnt the held-out pairs too, so they are made anew from the weights of its
    first training. Raises RunError where the run is missing, not done, damaged or of other interactions or another
    split, and where it was refit and has no such weights.
    """
    folder = Path(folder)
    embeddings = open_embeddings(folder)
    if not embeddings.refit or not (folder / MEASURED_FILE).exists():
        embeddings.check_split(folder, dataset)
        return embeddings
    held_out, trained = embeddings.seen_held_out, seen_items(dataset)[2]
    if held_out is None or not embeddings.matches(dataset) or not torch.equal(held_out, ~trained):
        raise RunError(f"{folder} was trained on other interactions than these: give the data set of its config.json")
    config = load_config(folder / "config.json").model_copy(update={"refit": None})
    objective = Objective(config.backbone, config.alignment, training_set(dataset), config.training.seed)
    try:
        objective.load_state_dict(read_tensors(folder / MEASURED_FILE))
    except RuntimeError as error:  # other names or shapes
        raise RunError(f"{folder / MEASURED_FILE}: does not fit config.json ({error}); {WAY_OUT}") from None
    return TrainedEmbeddings.from_objective(objective, dataset, config, embeddings.identity)
