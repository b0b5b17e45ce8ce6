"""The trained vectors of a run in one file. Reading it needs no data set, no graph, no backbone and no trainer."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from crossrec.alignment.item_level import Aligner
from crossrec.alignment.projection import Projection
from crossrec.backbones.content_encoder import ContentEncoder
from crossrec.data import Dataset
from crossrec.data.io.feature_card import FeatureCard
from crossrec.data.io.features import Scaler
from crossrec.data.io.tensor_file import write_tensors
from crossrec.errors import ConfigError, RunError
from crossrec.ops.divided import Divided
from crossrec.runs.seen import seen_items
from crossrec.types import ID

if TYPE_CHECKING:
    from crossrec.objective import Objective
    from crossrec.runs.config import RunConfig

EMBEDDINGS_FILE = "vectors.safetensors"
"""Name of the file in a run directory."""
FORMAT = 1
WAY_OUT = "put the file of this run back, or train again into another folder"
TENSORS = ("user_US", "item_IS", "degree_I", "seen_indptr", "seen_item", "seen_trained")
"""Fields that every file has, under their own names."""
ENCODER_FLAGS = ("unit_input", "activate", "unit_output", "factor")


@dataclass(frozen=True, eq=False)
class TrainedEmbeddings:
    """The vectors of a trained run, float32 on the CPU, and the maps that make vectors of new items.

    - ``user_US``, ``item_IS``: vectors whose dot product ranks items.
    - ``user_UL``, ``item_IL``: u and i^ID in the shared space; for most backbones the same tensors.
    - ``modality_IL``: i^m by content modality, zeros for items without m. Empty if neither alignment nor backbone
      has content vectors.
    - ``part_IS``: the summands of ``item_IS`` by name, if it is a sum.
    - ``degree_I``: training interactions of each item, int64.
    - ``seen_indptr`` (U + 1,), ``seen_item``: items of each user in all splits, sorted, int64. ``seen_trained``,
      ``seen_tested``: which of them are training items and which test items, bool. ``seen_tested`` is None in runs of
      earlier versions, which do not hold test items.
    - ``refit``: trained on the interactions of all splits; all of them are training items here. ``seen_held_out``:
      those that were held out of the training that was measured, bool; None unless refit.
    - ``from_content_I``: items whose vectors were made from content after training, bool; None for none.
    - ``absent_U``, ``absent_I``: users without interaction, and items without interaction and feature, bool; None for
      none. They are rows in gaps between row numbers, and are never recommended.
    - ``scalers``, ``content_encoders``: scaling and projection from raw features to i^m, by modality.
    - ``aligners``: the trained f^{m→n} of Equation 3 by (m, n).
    - ``identity``: the run's digest in ``config.json``.
    - ``feature_cards``: how the features were made and their digests, by modality, for those that had a card.
    """

    backbone: str
    alignment: str | None
    identity: str
    user_US: Tensor
    item_IS: Tensor
    user_UL: Tensor
    item_IL: Tensor
    degree_I: Tensor
    seen_indptr: Tensor
    seen_item: Tensor
    seen_trained: Tensor
    seen_tested: Tensor | None = None
    seen_held_out: Tensor | None = None
    refit: bool = False
    from_content_I: Tensor | None = None
    absent_U: Tensor | None = None
    absent_I: Tensor | None = None
    modality_IL: dict[str, Tensor] = field(default_factory=dict)
    part_IS: dict[str, Tensor] = field(default_factory=dict)
    content_encoders: dict[str, ContentEncoder] = field(default_factory=dict)
    scalers: dict[str, Scaler] = field(default_factory=dict)
    aligners: dict[tuple[str, str], Aligner] = field(default_factory=dict)
    feature_cards: dict[str, FeatureCard] = field(default_factory=dict)

    @classmethod
    @torch.no_grad()
    def from_objective(
        cls, objective: Objective, dataset: Dataset, config: RunConfig, identity: str
    ) -> TrainedEmbeddings:
        """Take the vectors of an objective that was trained on ``dataset``. Leaves the objective in ``eval()`` mode.

        Several processes that train together (``crossrec.parallel``) all call this and ``save``.
        """
        objective.eval()
        model, cross = objective.backbone, objective.cross
        reps = objective.propagate()
        encoders, modality_IL = model.content_encoders(), {m: reps.modality_IL[m] for m in model.modalities}
        aligners: dict[tuple[str, str], Aligner] = {}
        if cross is not None:
            for name, module in cross.projections.items():
                m, projection = name.removesuffix("_feat"), cast(Projection, module)
                modality_IL[m] = projection.all_items()
                encoders[m] = ContentEncoder((projection.weight,))
            for m in cross.modalities:
                if (key := f"{m}->{ID}") in cross.aligners:
                    aligners[m, ID] = _aligner({k: _to_cpu(x) for k, x in cross.aligners[key].state_dict().items()})
        features = {m: torch.from_numpy(dataset.all_features[m]) for m in encoders.keys() | modality_IL.keys()}
        for m in encoders.keys() - modality_IL.keys():
            modality_IL[m] = encoders[m].detached()(features[m])
        user_US, item_IS = (_whole(table, reps.columns) for table in (reps.user_US, reps.item_IS))
        has_content = {m: (x != 0).any(1, keepdim=True) for m, x in features.items()}
        indptr, item, trained, tested = seen_items(dataset)
        held_out = None
        if config.refit:
            dataset, held_out = dataset.all_in_training(), ~trained
            trained, tested = torch.ones_like(trained), torch.zeros_like(tested)
        return cls(
            backbone=config.backbone.name,
            alignment=None if config.alignment is None else config.alignment.name,
            identity=identity,
            user_US=user_US,
            item_IS=item_IS,
            user_UL=user_US if reps.scoring is None else _to_cpu(reps.user_UL),
            item_IL=item_IS if reps.scoring is None else _to_cpu(reps.item_IL),
            degree_I=torch.from_numpy(np.bincount(dataset.train.item_N, minlength=dataset.num_items)),
            seen_indptr=indptr,
            seen_item=item,
            seen_trained=trained,
            seen_tested=tested,
            seen_held_out=held_out,
            refit=bool(config.refit),
            absent_U=torch.from_numpy(dataset.absent_U) if dataset.absent_U.any() else None,
            absent_I=torch.from_numpy(dataset.absent_I) if dataset.absent_I.any() else None,
            modality_IL={m: _to_cpu(modality_IL.pop(m)).mul_(has_content[m]) for m in sorted(modality_IL)},
            part_IS={name: _to_cpu(x) for name, x in objective.parts(reps).items()},
            content_encoders={m: encoders[m].detached() for m in sorted(encoders)},
            scalers={m: s for m, s in dataset.scalers.items() if m in encoders},
            aligners=aligners,
            feature_cards=dataset.feature_cards,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TrainedEmbeddings:
        """Read a file that ``save`` wrote. Raises RunError if it is missing, damaged or of an unknown version."""
        try:
            with safe_open(path, "pt") as file:
                header = json.loads((file.metadata() or {}).get("crossrec", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except FileNotFoundError:
            raise RunError(f"{path}: missing; is this the folder of a run that is done?") from None
        except (SafetensorError, OSError, ValueError) as error:
            raise RunError(f"{path}: damaged ({error}); {WAY_OUT}") from None
        if header.get("format") != FORMAT:
            raise RunError(f"{path}: of another version of crossrec; {WAY_OUT}")
        try:
            for name, tensor in tensors.items():
                if not bool(torch.isfinite(tensor).all()):
                    raise ValueError(f"{name} holds NaN or inf")
            embeddings = _assemble(header, tensors)
            _check(embeddings)
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError, ConfigError) as error:
            raise RunError(f"{path}: damaged ({error}); {WAY_OUT}") from None
        return embeddings

    def save(self, path: Path | str) -> None:
        """Write the file atomically. Raises RunError if it cannot be written."""
        tensors: dict[str, Tensor] = {name: getattr(self, name) for name in TENSORS}
        if self.user_UL is not self.user_US or self.item_IL is not self.item_IS:
            tensors |= {"user_UL": self.user_UL, "item_IL": self.item_IL}
        optional = {"made_I": self.from_content_I, "absent_U": self.absent_U, "absent_I": self.absent_I}
        optional |= {"seen_tested": self.seen_tested, "seen_held_out": self.seen_held_out}
        tensors |= {name: x for name, x in optional.items() if x is not None}
        tensors |= {f"modality/{m}": x for m, x in self.modality_IL.items()}
        tensors |= {f"part/{name}": x for name, x in self.part_IS.items()}
        for m, encoder in self.content_encoders.items():
            for kind in ("weights", "biases"):
                tensors |= {f"path/{m}/{kind}/{n}": x for n, x in enumerate(getattr(encoder, kind))}
        for m, scaler in self.scalers.items():
            tensors |= {f"scaler/{m}/{s}": torch.from_numpy(getattr(scaler, s)) for s in ("centre_D", "factor_D")}
        for (m, n), aligner in self.aligners.items():
            tensors |= {f"aligner/{m}/{n}/{name}": x for name, x in aligner.state_dict().items()}
        header = {
            "format": FORMAT,
            "backbone": self.backbone,
            "alignment": self.alignment,
            "identity": self.identity,
            "modalities": list(self.modality_IL),
            "parts": list(self.part_IS),
            "paths": {m: {k: getattr(e, k) for k in ENCODER_FLAGS} for m, e in self.content_encoders.items()},
            "scalers": {m: s.unit for m, s in self.scalers.items()},
            "aligners": [list(pair) for pair in self.aligners],
            "features": {m: card.model_dump(mode="json") for m, card in self.feature_cards.items()},
        }
        if self.refit:
            header["refit"] = True
        write_tensors(path, tensors, {"crossrec": json.dumps(header)})

    @property
    def num_users(self) -> int:
        return len(self.user_US)

    @property
    def num_items(self) -> int:
        return len(self.item_IS)

    @property
    def has_vector(self) -> Tensor:
        """Items with a vector that means something, bool (I,): trained on, or made from content."""
        trained = self.degree_I > 0
        return trained if self.from_content_I is None else trained | self.from_content_I

    def check_split(self, run: str | os.PathLike[str], dataset: Dataset) -> None:
        """Raise RunError, naming the run, unless it was trained on the training pairs of ``dataset`` and them alone."""
        if self.refit:
            raise RunError(
                f"{run}: was refit on all interactions, so it cannot be measured on them: train it without --refit"
            )
        if not self.matches(dataset):
            raise RunError(f"{run} was trained on other interactions than these: give the data set of its config.json")

    def matches(self, dataset: Dataset) -> bool:
        """Whether a data set has the run's users, items, training pairs and validation pairs.

        Items that were added to the run after training do not count, nor do test pairs. A run that was refit knows no
        splits, so its data set must have all its pairs.
        """
        if self.refit:
            dataset = dataset.all_in_training()
        added = self.num_items - dataset.num_items
        if added < 0 or (added and self.from_content_I is None) or self.num_users != dataset.num_users:
            return False
        indptr, item, trained, tested = seen_items(dataset)
        own_tested = torch.zeros_like(self.seen_trained) if self.seen_tested is None else self.seen_tested
        own = _without(own_tested, self.seen_indptr, self.seen_item, self.seen_trained)
        return all(map(torch.equal, own, _without(tested, indptr, item, trained)))

    def splits(self, rows: slice) -> list[Literal["train", "valid", "test"]]:
        """The split of each of these entries of ``seen_item``."""
        trained = self.seen_trained[rows].tolist()
        tested = [False] * len(trained) if self.seen_tested is None else self.seen_tested[rows].tolist()
        return ["train" if a else "test" if b else "valid" for a, b in zip(trained, tested, strict=True)]

    @property
    def split_sizes(self) -> dict[str, int]:
        """The number of distinct interactions in each split that the run holds."""
        sizes = {"train": int(self.seen_trained.sum())}
        tested = None if self.seen_tested is None else int(self.seen_tested.sum())
        sizes["valid"] = len(self.seen_item) - sizes["train"] - (tested or 0)
        return sizes if tested is None else sizes | {"test": tested}

    def project(self, features: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """i^m, (N, L), of raw features (N, D_m) by modality. New features get the run's scaling and projection."""
        return {
            m: self.content_encoders[m](
                torch.from_numpy(self.scalers[m](x) if m in self.scalers else x.astype(np.float32))
            )
            for m, x in features.items()
        }


def _assemble(header: dict[str, Any], tensors: dict[str, Tensor]) -> TrainedEmbeddings:
    """Build the embeddings from the header and the tensors of the file."""

    def below(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}

    def layers(prefix: str) -> tuple[Tensor, ...]:
        numbered = below(prefix)
        return tuple(numbered[str(n)] for n in range(len(numbered)))

    return TrainedEmbeddings(
        backbone=header["backbone"],
        alignment=header["alignment"],
        identity=header["identity"],
        **{name: tensors[name] for name in TENSORS},
        user_UL=tensors.get("user_UL", tensors["user_US"]),
        item_IL=tensors.get("item_IL", tensors["item_IS"]),
        seen_tested=tensors.get("seen_tested"),
        seen_held_out=tensors.get("seen_held_out"),
        refit=header.get("refit", False),
        from_content_I=tensors.get("made_I"),
        absent_U=tensors.get("absent_U"),
        absent_I=tensors.get("absent_I"),
        modality_IL={m: tensors[f"modality/{m}"] for m in header["modalities"]},
        part_IS={name: tensors[f"part/{name}"] for name in header["parts"]},
        content_encoders={
            m: ContentEncoder(layers(f"path/{m}/weights/"), layers(f"path/{m}/biases/"), **flags)
            for m, flags in header["paths"].items()
        },
        scalers={
            m: Scaler(tensors[f"scaler/{m}/centre_D"].numpy(), tensors[f"scaler/{m}/factor_D"].numpy(), unit)
            for m, unit in header["scalers"].items()
        },
        aligners={(m, n): _aligner(below(f"aligner/{m}/{n}/")) for m, n in header["aligners"]},
        feature_cards={m: FeatureCard.parse(card) for m, card in header.get("features", {}).items()},
    )


def _check(embeddings: TrainedEmbeddings) -> None:
    """Raise ValueError if shapes do not fit together."""
    users, items, indptr = embeddings.num_users, embeddings.num_items, embeddings.seen_indptr
    tables = {"user_US": (embeddings.user_US, users), "item_IS": (embeddings.item_IS, items)}
    tables |= {"user_UL": (embeddings.user_UL, users), "item_IL": (embeddings.item_IL, items)}
    tables |= {f"modality/{m}": (x, items) for m, x in embeddings.modality_IL.items()}
    for name, (table, count) in tables.items():
        if table.ndim != 2 or len(table) != count:
            raise ValueError(f"{name} is no table of {count} rows")
    for name, absent, count in (("absent_U", embeddings.absent_U, users), ("absent_I", embeddings.absent_I, items)):
        if absent is not None and (absent.dtype != torch.bool or len(absent) != count):
            raise ValueError(f"{name} is no row of {count} truth values")
    if embeddings.user_US.shape[1] != embeddings.item_IS.shape[1] or len(embeddings.has_vector) != items:
        raise ValueError("users, items and degrees do not fit together")
    seen_item = embeddings.seen_item
    if len(indptr) != users + 1 or int(indptr[-1]) != len(seen_item) or bool((indptr.diff() < 0).any()):
        raise ValueError("the lists of seen items do not fit the users")
    if len(seen_item) and not 0 <= int(seen_item.min()) <= int(seen_item.max()) < items:
        raise ValueError("a seen item is none of the items")


def _without(left_out_N: Tensor, indptr: Tensor, *columns: Tensor) -> list[Tensor]:
    """User and columns of each entry of a table by user, but those that are left out."""
    user_N = torch.repeat_interleave(torch.arange(len(indptr) - 1), indptr.diff())
    return [column[~left_out_N] for column in (user_N, *columns)]


def _aligner(state: dict[str, Tensor]) -> Aligner:
    aligner = Aligner(len(state["weight"]), "ffn" if "second" in state else "linear")
    aligner.load_state_dict(state)
    return aligner.requires_grad_(False)


def _whole(table: Tensor, columns: int | None) -> Tensor:
    """A copy of a table, or where each process has some columns what is whole in the file that all write together."""
    if columns is None:
        return _to_cpu(table)
    return cast(Tensor, Divided(table, "columns", torch.Size([len(table), columns])))


def _to_cpu(tensor: Tensor) -> Tensor:
    """A contiguous float32 copy on the CPU."""
    return tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
