"""Settings: bounds of numbers."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any, get_args

import annotated_types
import pytest
from pydantic.fields import FieldInfo

import crossrec
from crossrec.backbones.bpr import BPRConfig
from crossrec.config import Config, did_you_mean
from crossrec.data.importers import ImportCard, ImportConfig
from crossrec.data.io.atomic import read_json
from crossrec.errors import ConfigError, RunError
from crossrec.experiments.experiment import read_object
from crossrec.features import FeatureCard, FeaturesConfig
from crossrec.runs.config import RunConfig
from crossrec.serving.config import ServeConfig
from crossrec.training import TrainingConfig

CARDS = {ImportCard.__module__, FeatureCard.__module__}
"""Modules of what the program itself writes."""


def config_types(base: type[Config] = Config) -> Iterator[type[Config]]:
    for config_type in base.__subclasses__():
        if config_type.__module__.startswith("crossrec.") and config_type.__module__ not in CARDS:
            yield config_type
        yield from config_types(config_type)


def integers(annotation: Any, bounds: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """The constraints of every integer in an annotation."""
    if annotation is int:
        yield bounds
    for part in get_args(annotation):
        inner = getattr(annotation, "__metadata__", ())
        yield from integers(
            part, (*bounds, *inner, *(m for f in inner if isinstance(f, FieldInfo) for m in f.metadata))
        )


for module in pkgutil.walk_packages(crossrec.__path__, "crossrec."):
    if "__main__" not in module.name:
        importlib.import_module(module.name)


@pytest.mark.parametrize("config_type", sorted(set(config_types()), key=str), ids=lambda t: t.__name__)
def test_every_whole_number_has_an_upper_bound(config_type):
    for name, field in config_type.model_fields.items():
        for bounds in integers(field.annotation, tuple(field.metadata)):
            assert any(isinstance(bound, annotated_types.Le) for bound in bounds), name


@pytest.mark.parametrize(
    ("config_type", "values", "setting"),
    [
        (RunConfig, {"backbone": {"name": "bpr", "dim": 10**9}}, "'dim' = 1000000000"),
        (RunConfig, {"backbone": {"name": "ncl", "clusters": 10**9}}, "'clusters' = 1000000000"),
        (RunConfig, {"backbone": {"name": "freedom", "knn": 10**9}}, "'knn' = 1000000000"),
        (RunConfig, {"backbone": {"name": "lightgcn", "layers": 10**9}}, "'layers' = 1000000000"),
        (RunConfig, {"alignment": {"name": "cross", "prototypes_itv": 10**8}}, "'prototypes_itv' = 100000000"),
        (RunConfig, {"training": {"batch_size": 10**12}}, "'batch_size' = 1000000000000"),
        (RunConfig, {"training": {"seed": 2**32}}, "'seed' = 4294967296"),
        (ImportConfig, {"min_user_interactions": 10**12}, "'min_user_interactions' = 1000000000000"),
        (FeaturesConfig, {"data": "x", "batch_size": 10**7}, "'batch_size' = 10000000"),
        (ServeConfig, {"threads": 10**6}, "'threads' = 1000000"),
    ],
)
def test_an_absurd_number_is_refused(config_type, values, setting):
    with pytest.raises(crossrec.CrossrecError, match=f"setting {setting}: Input should be less than or equal to"):
        config_type.parse(values)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("LightGNC", "; did you mean 'lightgcn'?"),
        ("freedm", "; did you mean 'FREEDOM'?"),
        ("qqqq", "; known: FREEDOM, lightgcn, vbpr"),
    ],
)
def test_a_misspelt_name_suggests_the_nearest_in_any_case(name, answer):
    assert did_you_mean(name, ["vbpr", "lightgcn", "FREEDOM"]) == answer


@pytest.mark.parametrize("value", [True, False])
def test_true_and_false_are_no_numbers(value):
    for config_type, name in ((TrainingConfig, "epochs"), (BPRConfig, "reg"), (TrainingConfig, "k")):
        given = [value] if name == "k" else value
        with pytest.raises(ConfigError, match=name):
            config_type.parse({name: given})
    assert bool(TrainingConfig.parse({"record_strengths": value}).record_strengths) is value


def test_a_key_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"training": {"epochs": 2, "epochs": 1}}')
    with pytest.raises(RunError, match=r"config\.json: .*'epochs' is there twice"):
        read_json(path)
    with pytest.raises(ConfigError, match="'epochs' is there twice"):
        read_object("--settings", path, "backbones")
