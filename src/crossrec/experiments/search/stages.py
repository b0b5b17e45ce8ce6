"""Options of ``tune``, and the stages of a search: a backbone's own settings first, then those of each alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from crossrec.alignment import ALIGNMENTS
from crossrec.backbones import BACKBONES
from crossrec.config import Number, Seed
from crossrec.data import Dataset
from crossrec.errors import ConfigError, setting
from crossrec.experiments.experiment import ExperimentConfig, SharedSettings, check_name
from crossrec.experiments.search.built_in_spaces import BUILT_IN
from crossrec.experiments.search.space_files import space_for
from crossrec.experiments.search.spaces import Space

TRIALS = 50
"""Default number of settings that tpe and random try."""
NEEDS_CONTENT = ("alpha", "lambda_f", "relation_knn")
"""Settings without effect where there is no content to align with."""

Search = Literal["grid", "tpe", "random"]


class TuneConfig(ExperimentConfig):
    """Options of ``tune``."""

    alignments: tuple[str, ...] = Field(default=("none", "cross"), min_length=1)
    """What to search: none for the backbones' own settings with the alignment off; an alignment for its settings. It
    uses the best settings of its backbone if none is searched too, else the defaults or those of --settings."""
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1)
    """Seeds; settings are compared by their mean over the seeds."""
    search: Search | None = None
    """All points of a grid, optuna's tree-structured Parzen estimator, or random draws. Default: grid for lists, tpe
    for ranges and for lists of more points than --trials."""
    trials: Number | None = None
    """Settings to try per backbone and alignment; default 50. A grid is always tried in full."""
    space: str = "paper"
    """Values to search: paper (its grids), wide (ranges, weights from 1e-5 to 100), or a JSON file."""
    search_seed: Seed = 0
    """Seed of tpe and random."""
    timeout: Annotated[float, Field(gt=0)] | None = None
    """Seconds after which no further setting is started; running ones finish."""
    prune: bool = False
    """Stop settings of tpe that lag behind after 10, 30, 90, 270 or 810 epochs (optuna's successive halving)."""
    storage: str | None = None
    """Where tpe keeps its studies: a file or a database's URL. Default: a file below --out."""


@dataclass(frozen=True)
class Stage:
    """A search over one backbone's own settings (alignment "none"), or over the settings of an alignment on it."""

    backbone: str
    alignment: str
    space: Space
    search: Search
    size: int
    """Number of points to try."""

    @property
    def key(self) -> tuple[str, str]:
        """Backbone and alignment."""
        return self.backbone, self.alignment

    @property
    def label(self) -> str:
        """Name for tables and progress lines."""
        return self.backbone if self.alignment == "none" else f"{self.backbone} + {self.alignment}"


def plan_stages(options: TuneConfig, shared: SharedSettings, dataset: Dataset) -> list[Stage]:
    """The stages that the options ask for; those of the backbones' own settings come first.

    Raises ConfigError for anything that cannot be searched, before anything is trained.
    """
    if not len(dataset.valid):
        raise ConfigError(
            f"{setting('data')} '{dataset.name}' has no validation pairs, which tune goes by: give another --split"
        )
    stages = []
    for alignment in sorted(options.alignments, key=lambda name: name != "none"):
        check_name(alignment, ALIGNMENTS, "--alignments")
        for backbone in options.backbones:
            check_name(backbone, BACKBONES, "--backbones")
            if BACKBONES[backbone].multimodal and not dataset.features:
                raise ConfigError(f"--backbones: {backbone} needs content, and data '{dataset.name}' has none")
            space = space_for(options.space, backbone, alignment)
            if options.space in BUILT_IN and alignment != "none" and not dataset.features:
                space = space.without(*NEEDS_CONTENT)
            stages.append(_stage(options, backbone, alignment, space))
            shared.run_config(backbone, alignment, options.seeds[0])
    return stages


def _stage(options: TuneConfig, backbone: str, alignment: str, space: Space) -> Stage:
    size, trials, search = space.size, options.trials or TRIALS, options.search
    if search is None:
        search = "grid" if size is not None and (options.trials is None or size <= options.trials) else "tpe"
    if search == "grid":
        where = f"--search grid, {alignment} on {backbone}: "
        if size is None:
            raise ConfigError(f"{where}--space {options.space} has ranges; give lists, or --search tpe or random")
        if options.trials is not None and options.trials < size:
            raise ConfigError(f"{where}the grid has {size} points; leave --trials out, or give --search tpe or random")
        trials = size
    if options.prune and search != "tpe":
        raise ConfigError(f"--prune, {alignment} on {backbone}: optuna stops settings of --search tpe, not of {search}")
    return Stage(backbone, alignment, space, search, trials if size is None else min(trials, size))
