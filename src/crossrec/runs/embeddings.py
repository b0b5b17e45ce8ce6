"""What a trained run recommends with, in one file: no data set, no graph and no backbone are needed to read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from crossrec.alignment.item_level import Aligner
from crossrec.alignment.projection import Projection
from crossrec.backbones.content_encoder import ContentEncoder
from crossrec.data import Dataset
from crossrec.data.io.atomic import write_bytes_atomic
from crossrec.data.io.features import Scaler
from crossrec.errors import RunError
from crossrec.types import ID

if TYPE_CHECKING:
    from crossrec.objective import Objective

FILE = "vectors.safetensors"
"""Its name in a run directory."""
FORMAT = 1


@dataclass(frozen=True, eq=False)
class TrainedEmbeddings:
    """The vectors of a trained run, float32 on the CPU, and what is needed to make further ones.

    ``user_US``, ``item_IS``: their dot product ranks items. ``user_UL``, ``item_IL``: u and i^ID in the shared space,
    the same tensors for most backbones. ``modality_IL``: i^m per content modality, zeros where an item lacks it; empty
    where neither alignment nor backbone makes any. ``part_IS``: what ``item_IS`` is the sum of, where it is one.
    ``degree_I``: training interactions of each item. ``seen_indptr`` (U + 1,), ``seen_item``: training and validation
    items of each user, sorted; ``seen_trained``: which of them are training items. All int64 but the last, bool.
    ``made_I``: items whose vectors were made from content, bool; None for none. ``paths``, ``scalers``: from raw
    features to i^m. ``aligners``: the trained f^{m→n} of Equation 3 by (m, n).
    ``identity``: of the run, as in its config.json.
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
    made_I: Tensor | None = None
    modality_IL: dict[str, Tensor] = field(default_factory=dict)
    part_IS: dict[str, Tensor] = field(default_factory=dict)
    content_encoders: dict[str, ContentEncoder] = field(default_factory=dict)
    scalers: dict[str, Scaler] = field(default_factory=dict)
    aligners: dict[tuple[str, str], Aligner] = field(default_factory=dict)

    @property
    def num_users(self) -> int:
        return len(self.user_US)

    @property
    def num_items(self) -> int:
        return len(self.item_IS)

    @property
    def has_vector(self) -> Tensor:
        """Items whose vector says something, bool (I,): touched ones, and those with a vector made from content."""
        touched = self.degree_I > 0
        return touched if self.made_I is None else touched | self.made_I

    def knows(self, dataset: Dataset) -> bool:
        """Whether a data set has the users, items, training and validation pairs of the run."""
        own = self.seen_indptr, self.seen_item, self.seen_trained
        return self.num_items == dataset.num_items and all(map(torch.equal, own, _seen(dataset)))

    def features(self, raw: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """i^m, (N, L), of raw features (N, D_m) by modality, scaled as those of the run were."""
        return {
            m: self.content_encoders[m](
                torch.from_numpy(self.scalers[m](x) if m in self.scalers else x.astype(np.float32))
            )
            for m, x in raw.items()
        }

    def with_content(self, content: Mapping[str, Tensor]) -> TrainedEmbeddings:
        """The same run with other content vectors of the items, (I, D_m) by modality, instead of i^m."""
        return replace(self, modality_IL=dict(content))

    def save(self, path: Path) -> None:
        """Write the file, atomically. Raises RunError where it cannot be written."""
        tensors = {
            "user_US": self.user_US,
            "item_IS": self.item_IS,
            "degree_I": self.degree_I,
            "seen_indptr": self.seen_indptr,
            "seen_item": self.seen_item,
            "seen_trained": self.seen_trained,
        }
        if self.user_UL is not self.user_US or self.item_IL is not self.item_IS:
            tensors |= {"user_UL": self.user_UL, "item_IL": self.item_IL}
        if self.made_I is not None:
            tensors["made_I"] = self.made_I
        tensors |= {f"modality/{m}": t for m, t in self.modality_IL.items()}
        tensors |= {f"part/{name}": t for name, t in self.part_IS.items()}
        for m, path_m in self.content_encoders.items():
            for kind in ("weights", "biases"):
                tensors |= {f"path/{m}/{kind}/{n}": t for n, t in enumerate(getattr(path_m, kind))}
        for m, scaler in self.scalers.items():
            tensors |= {f"scaler/{m}/{s}": torch.from_numpy(getattr(scaler, s)) for s in ("centre_D", "factor_D")}
        for (m, n), aligner in self.aligners.items():
            tensors |= {f"aligner/{m}/{n}/{name}": t for name, t in aligner.state_dict().items()}
        told = {
            "format": FORMAT,
            "backbone": self.backbone,
            "alignment": self.alignment,
            "identity": self.identity,
            "modalities": list(self.modality_IL),
            "parts": list(self.part_IS),
            "paths": {m: _flags(p) for m, p in self.content_encoders.items()},
            "scalers": {m: s.unit for m, s in self.scalers.items()},
            "aligners": [list(pair) for pair in self.aligners],
        }
        write_bytes_atomic(path, save({k: t.contiguous() for k, t in tensors.items()}, {"crossrec": json.dumps(told)}))


def take(
    objective: Objective, dataset: Dataset, *, identity: str, alignment: str | None, backbone: str
) -> TrainedEmbeddings:
    """The snapshot of a trained objective on the data set that it was trained on. Leaves it in ``eval()`` mode."""
    objective.eval()
    model, cross = objective.backbone, objective.cross
    with torch.no_grad():
        reps = model.propagate()
        paths, modality_IL = model.content_encoders(), {m: reps.modality_IL[m] for m in model.modalities}
        if cross is not None:
            every = torch.arange(dataset.num_items, device=reps.item_IL.device)
            for name, projection in cross.projections.items():
                m = name.removesuffix("_feat")
                modality_IL[m] = projection(every)
                paths[m] = ContentEncoder((cast(Projection, projection).weight,))
        features = {m: torch.from_numpy(dataset.features[m]) for m in paths}
        for m in paths.keys() - modality_IL.keys():
            modality_IL[m] = paths[m].detached()(features[m])
        parts = model.parts(reps)
        user_US, item_IS = _plain(reps.user_US), _plain(reps.item_IS)
        wide = reps.scoring is not None
        has = {m: (x != 0).any(1, keepdim=True) for m, x in features.items()}
        train = dataset.train
        indptr, item, trained = _seen(dataset)
        return TrainedEmbeddings(
            backbone=backbone,
            alignment=alignment,
            identity=identity,
            user_US=user_US,
            item_IS=item_IS,
            user_UL=_plain(reps.user_UL) if wide else user_US,
            item_IL=_plain(reps.item_IL) if wide else item_IS,
            degree_I=torch.from_numpy(np.bincount(train.item_N, minlength=dataset.num_items)),
            seen_indptr=indptr,
            seen_item=item,
            seen_trained=trained,
            modality_IL={m: _plain(modality_IL[m]) * has[m] for m in sorted(modality_IL)},
            part_IS={name: _plain(t) for name, t in parts.items()},
            content_encoders={m: paths[m].detached() for m in sorted(paths)},
            scalers={m: s for m, s in dataset.scalers.items() if m in paths},
            aligners={} if cross is None else {pair: _copy(cross.aligners["->".join(pair)]) for pair in _pairs(cross)},
        )


def load(path: Path) -> TrainedEmbeddings:
    """Read the file. Raises RunError naming it where it is missing, damaged or of a version that is not known."""
    try:
        with safe_open(path, "pt") as file:
            told = json.loads((file.metadata() or {}).get("crossrec", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise RunError(f"{path}: missing; is this the folder of a run that is done?") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise RunError(f"{path}: damaged ({error}); delete it, and it is made again from the run's data set") from None
    if told.get("format") != FORMAT:
        raise RunError(f"{path}: of another version of crossrec; delete it, and it is made again from the data set")
    try:
        made = _assemble(told, tensors)
        _check(made)
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(f"{path}: damaged ({error}); delete it, and it is made again from the data set") from None
    return made


def _assemble(told: dict[str, Any], tensors: dict[str, Tensor]) -> TrainedEmbeddings:
    def listed(m: str, kind: str) -> tuple[Tensor, ...]:
        prefix = f"path/{m}/{kind}/"
        return tuple(tensors[f"{prefix}{n}"] for n in range(sum(name.startswith(prefix) for name in tensors)))

    def aligner(m: str, n: str) -> Aligner:
        prefix = f"aligner/{m}/{n}/"
        state = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        made = Aligner(len(state["weight"]), "ffn" if "second" in state else "linear")
        made.load_state_dict(state)
        return made.requires_grad_(False)

    user_US, item_IS = tensors["user_US"], tensors["item_IS"]
    return TrainedEmbeddings(
        backbone=told["backbone"],
        alignment=told["alignment"],
        identity=told["identity"],
        user_US=user_US,
        item_IS=item_IS,
        user_UL=tensors.get("user_UL", user_US),
        item_IL=tensors.get("item_IL", item_IS),
        degree_I=tensors["degree_I"],
        seen_indptr=tensors["seen_indptr"],
        seen_item=tensors["seen_item"],
        seen_trained=tensors["seen_trained"],
        made_I=tensors.get("made_I"),
        modality_IL={m: tensors[f"modality/{m}"] for m in told["modalities"]},
        part_IS={name: tensors[f"part/{name}"] for name in told["parts"]},
        content_encoders={
            m: ContentEncoder(listed(m, "weights"), listed(m, "biases"), **f) for m, f in told["paths"].items()
        },
        scalers={
            m: Scaler(tensors[f"scaler/{m}/centre_D"].numpy(), tensors[f"scaler/{m}/factor_D"].numpy(), by_row)
            for m, by_row in told["scalers"].items()
        },
        aligners={(m, n): aligner(m, n) for m, n in told["aligners"]},
    )


def _check(made: TrainedEmbeddings) -> None:
    """Raise ValueError where shapes do not fit together or a vector is not finite."""
    users, items = made.num_users, made.num_items
    tables = {"user_US": (made.user_US, users), "item_IS": (made.item_IS, items), "item_IL": (made.item_IL, items)}
    tables |= {f"modality/{m}": (t, items) for m, t in made.modality_IL.items()}
    for name, (table, count) in tables.items():
        if table.ndim != 2 or len(table) != count or not bool(torch.isfinite(table).all()):
            raise ValueError(f"{name} is no finite table of {count} rows")
    pointers = made.seen_indptr
    if made.user_US.shape[1] != made.item_IS.shape[1] or len(made.has_vector) != items:
        raise ValueError("users, items and degrees do not fit together")
    if len(pointers) != users + 1 or int(pointers[-1]) != len(made.seen_item) or bool((pointers.diff() < 0).any()):
        raise ValueError("the lists of seen items do not fit the users")
    if len(made.seen_item) and not 0 <= int(made.seen_item.min()) <= int(made.seen_item.max()) < items:
        raise ValueError("a seen item is none of the items")


def _seen(dataset: Dataset) -> tuple[Tensor, Tensor, Tensor]:
    """Row pointers, items and whether trained on, of every user's training and validation items."""
    parts = [part.user_N * dataset.num_items + part.item_N for part in (dataset.train, dataset.valid)]
    key_N = np.unique(np.concatenate(parts))
    user_N, item_N = np.divmod(key_N, max(dataset.num_items, 1))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(user_N, minlength=dataset.num_users))])
    trained = np.isin(key_N, parts[0])
    return torch.from_numpy(indptr), torch.from_numpy(item_N), torch.from_numpy(trained)


def _pairs(cross: Any) -> list[tuple[str, str]]:
    """The directions m → id that were trained: from content to behaviour."""
    return [(m, n) for m, n in cross.pairs if n == ID and f"{m}->{n}" in cross.aligners]


def _copy(aligner: Any) -> Aligner:
    state = {name: _plain(t) for name, t in aligner.state_dict().items()}
    made = Aligner(len(state["weight"]), "ffn" if "second" in state else "linear")
    made.load_state_dict(state)
    return made.requires_grad_(False)


def _flags(path: ContentEncoder) -> dict[str, Any]:
    return {k: getattr(path, k) for k in ("unit_input", "activate", "unit_output", "factor")}


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
