"""Names of parts: any spelling, nearest names, and keys of settings files."""

from __future__ import annotations

import pytest

from crossrec.alignment import ALIGNMENTS, CrossConfig
from crossrec.backbones import BACKBONES
from crossrec.backbones.lightgcn import LightGCNConfig
from crossrec.cli import main
from crossrec.errors import ConfigError
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.questions.compare import CompareConfig
from crossrec.runs.config import RunConfig


@pytest.mark.parametrize("spelling", ["lightgcn", "LightGCN", "Light-GCN", "light_gcn", "LIGHT GCN"])
def test_any_spelling_is_the_part(spelling):
    assert BACKBONES[spelling].config_type is LightGCNConfig
    assert spelling in BACKBONES
    assert BACKBONES.canonical(spelling) == BACKBONES.check(spelling) == "lightgcn"
    assert RunConfig.parse({"backbone": {"name": spelling}}).model_dump()["backbone"]["name"] == "lightgcn"


def test_options_and_settings_hold_own_names():
    options = CompareConfig(backbones=("VBPR", "vbpr"), alignments=("NONE", "DA-MRS"), baselines=("Item-KNN", "EASE"))
    assert (options.backbones, options.alignments) == (("vbpr",), ("none", "damrs"))
    assert options.baselines == ("itemknn", "ease")
    shared = SharedSettings(model_settings={"LightGCN": {"backbone": {"layers": 1}, "CROSS": {"alpha": 0.5}}})
    config = shared.run_config("lightGCN", "Cross", 0)
    assert config == RunConfig(
        backbone=LightGCNConfig(layers=1), alignment=CrossConfig(alpha=0.5), training=config.training
    )


def test_two_keys_of_one_part_are_refused():
    twice = {"lightgcn": {"cross": {"alpha": 0.5}}, "LightGCN": {}}
    with pytest.raises(ConfigError, match="two of lightgcn, LightGCN are the same backbone; keep one"):
        SharedSettings(model_settings=twice).run_config("lightgcn", "cross", 0)
    with pytest.raises(ConfigError, match="two of cross, Cross are the same alignment"):
        SharedSettings(model_settings={"bpr": {"cross": {}, "Cross": {}}}).run_config("bpr", "cross", 0)


MISPLACED = {
    "of backbones": (
        ["compare", "--layers", "2"],
        "--layers is a setting of lightgcn, sgl",
        "lightgcn backbone layers",
    ),
    "of one backbone": (["ablate", "--encoder=mf"], "is a setting of directau; crossrec", "directau backbone encoder"),
    "of alignments": (
        ["tune", "--alpha", "1"],
        "--alpha is a setting of fettle, cross, prime",
        "lightgcn fettle alpha",
    ),
    "a switch": (["coldstart", "--no-learn-lambda-f"], "is a setting of fettle", "lightgcn fettle learn_lambda_f"),
    "train": (["train", "--backbone", "bpr", "--layers", "2"], "which this run does not use; leave it out", ""),
    "of none": (["compare", "--duplicate", "drop"], "--duplicates", ""),
}


@pytest.mark.parametrize(("tokens", "words", "path"), MISPLACED.values(), ids=MISPLACED)
def test_a_setting_of_a_model_is_sent_to_where_it_goes(tokens, words, path, capsys):
    assert main(tokens) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error
    if path:
        backbone, part, setting = path.split()
        assert f'--settings FILE with {{"{backbone}": {{"{part}": {{"{setting}": …}}}}}}' in error


def test_commands_in_capitals(capsys):
    assert main(["Compare", "--layers", "2"]) == 2
    assert "--layers is a setting of" in capsys.readouterr().err


def test_unknown_names_are_not_in_it():
    for registry, name in ((BACKBONES, "lightgcm"), (ALIGNMENTS, "cros"), (BACKBONES, "a:b:c"), (BACKBONES, "")):
        assert name not in registry
        with pytest.raises(KeyError):
            registry[name]
        with pytest.raises(ConfigError, match=f"^--x: unknown '{name}'; (did you mean|known)"):
            registry.check(name, "--x")
