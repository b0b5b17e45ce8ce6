"""Users' mistakes: one line that names the flag or file and the fix, exit code 2, no file written."""

from __future__ import annotations

import json

import numpy as np
import pytest

TRAIN = {
    "unknown flag": (["--epcohs", "3"], ["--epcohs", "--epochs"]),
    "unknown backbone": (["--backbone", "lightgnc"], ["--backbone", "lightgnc", "lightgcn"]),
    "unknown alignment": (["--alignment", "cros"], ["--alignment", "cros", "'cross'"]),
    "flag of another backbone": (["--backbone", "bpr", "--layers", "2"], ["--layers"]),
    "flag of an alignment without one": (["--alignment", "none", "--alpha", "1"], ["--alpha"]),
    "wrong type": (["--epochs", "abc"], ["--epochs", "abc", "integer"]),
    "a fraction": (["--epochs", "2.5"], ["--epochs", "2.5", "integer"]),
    "out of range": (["--epochs", "0"], ["--epochs", "greater than or equal to 1"]),
    "negative weight": (["--alpha", "-1"], ["--alpha", "-1"]),
    "negative seed": (["--seed", "-1"], ["--seed", "-1"]),
    "learning rate of zero": (["--learning-rate", "0"], ["--learning-rate", "greater than 0"]),
    "not a number": (["--alpha", "nan"], ["--alpha", "finite"]),
    "no such choice": (["--direction", "sideways"], ["--direction", "sideways", "one_way"]),
    "no such term": (["--terms", "item", "tunning"], ["--terms 'tunning'", "tuning"]),
    "missing value": (["--out"], ["--out", "requires an argument"]),
    "given twice": (["--epochs", "1", "--epochs", "2"], ["--epochs", "multiple times"]),
    "stray word": (["lightgcn"], ["lightgcn"]),
    "no such device": (["--device", "gpu9"], ["--device", "gpu9", "cuda"]),
    "device that is not here": (["--device", "cuda:99"], ["--device cuda:99", "cpu or auto"]),
    "threads": (["--threads", "-1"], ["--threads -1"]),
    "a million threads": (["--threads", "1000000"], ["--threads 1000000", "cores"]),
    "a dimension of a billion": (["--dim", "1000000000"], ["--dim", "1000000000", "less than or equal to 65536"]),
    "a batch of a trillion": (["--batch-size", str(10**12)], ["--batch-size", "less than or equal to 1000000000"]),
    "a billion prototypes": (["--prototypes-ui", str(10**9)], ["--prototypes-ui", "less than or equal to 1048576"]),
    "no data": (["--data", "nowhere"], ["nowhere", "no such file or folder"]),
    "nearly a built-in set": (["--data", "synthetic-tini"], ["synthetic-tini", "'synthetic-tiny'"]),
    "empty data": (["--data", ""], ["--data ''"]),
    "unknown modality": (["--modalities", "image", "txet"], ["txet", "'text'"]),
    "no content": (["--backbone", "vbpr", "--modalities"], ["--backbone vbpr", "_feat.npy"]),
    "weight of a modality missing": (
        ["--backbone", "freedom", "--modality-weights.image", "1"],
        ["--modality-weights", "'text'"],
    ),
    "column of a built-in set": (["--user-column", "u"], ["leave --user-column out"]),
    "out is a file": (["--out", "a file"], ["a file", "--out"]),
    "out below a file": (["--out", "a file/out"], ["a file/out", "--out"]),
    "out holds other files": (["--out", "."], ["'a file'", "--out", "new or empty"]),
    "empty out": (["--out", ""], ["'a file'", "--out"]),
    "config is not there": (
        ["--config", "none.json", "--out", "out"],
        ["--config none.json", "no such file", "config.json"],
    ),
    "config without out": (["--config", "good.json"], ["--out"]),
    "config and a setting": (["--config", "good.json", "--out", "out", "--epochs", "2"], ["--epochs"]),
}


@pytest.fixture
def folder(tmp_path, crossrec):
    """The working directory of the command. The mistake must not change it."""
    here = tmp_path / "here"
    (here / "a file").write_text("text")
    (here / "good.json").write_text("{}")
    before = sorted(here.rglob("*"))
    yield here
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(("arguments", "parts"), TRAIN.values(), ids=TRAIN)
def test_mistakes_in_train(arguments, parts, crossrec, folder):
    flags = {token.split("=")[0] for token in arguments}
    common = [] if "--config" in flags else [*([] if "--data" in flags else ["--data", "synthetic-tiny"])]
    common += [] if flags & {"--out", "--config"} else ["--out", "out"]
    line = crossrec("train", *common, *arguments).mistake
    for part in parts:
        assert part in line
    assert "pydantic" not in line


JSONS = {
    "no JSON": ("{", ["config.json", "JSON"]),
    "no object": ("[1]", ["config.json"]),
    "unknown part": ('{"trainnig": {}}', ["trainnig", "'training'"]),
    "unknown setting": ('{"training": {"epoch": 3}}', ["'epoch'", "'epochs'"]),
    "unknown setting of the data": ('{"data": {"splitt": "auto"}}', ["'splitt'", "'split'"]),
    "unknown setting of the backbone": ('{"backbone": {"name": "lightgcn", "layer": 3}}', ["'layer'", "'layers'"]),
    "unknown setting of the alignment": ('{"alignment": {"name": "cross", "alpa": 3}}', ["'alpa'", "'alpha'"]),
    "unknown backbone": ('{"backbone": {"name": "lightgnc"}}', ["lightgnc", "'lightgcn'"]),
    "backbone without a name": ('{"backbone": {"layers": 2}}', ["backbone"]),
    "wrong type": ('{"training": {"epochs": "many"}}', ["epochs", "many"]),
    "out of range": ('{"training": {"epochs": 0}}', ["epochs", "0"]),
    "a number for a part": ('{"backbone": 3}', ["backbone", "3"]),
    "NaN": ('{"alignment": {"name": "cross", "alpha": NaN}}', ["alpha"]),
}


@pytest.mark.parametrize(("text", "parts"), JSONS.values(), ids=JSONS)
def test_mistakes_in_a_configuration_file(text, parts, crossrec, tmp_path):
    (tmp_path / "config.json").write_text(text)
    line = crossrec("train", "--config", tmp_path / "config.json", "--out", "out").mistake
    for part in [str(tmp_path / "config.json"), *parts]:
        assert part in line
    assert list((tmp_path / "here").iterdir()) == []


def test_out_holds_a_run(crossrec, tiny, tmp_path, content):
    out = tmp_path / "out"
    assert crossrec("train", *tiny, "--alignment", "none", "--out", out).code == 0
    before = content(out)
    assert "--resume" in crossrec("train", *tiny, "--alignment", "none", "--out", out).mistake
    for change in (["--seed", "5"], ["--backbone", "bpr"], ["--weight-decay", "0.1"], ["--split-seed", "1"]):
        line = crossrec("train", *tiny, "--alignment", "none", *change, "--out", out, "--resume").mistake
        assert str(out / "config.json") in line
        assert "--out" in line
    (out / "config.json").write_text("no json")
    line = crossrec("train", *tiny, "--alignment", "none", "--out", out, "--resume").mistake
    assert str(out / "config.json") in line
    after = content(out)
    assert {name: after[name] for name in before if name != "config.json"} == {
        name: before[name] for name in before if name != "config.json"
    }


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train --epochs 1", "holds 'log.csv'"),
        ("compare --backbones bpr --epochs 1", "is the folder of the data set"),
        ("tune --backbone bpr --trials 1 --search random", "is the folder of the data set"),
    ],
)
def test_nothing_is_written_into_the_data(command, message, crossrec, tmp_path):
    shop = tmp_path / "shop"
    shop.mkdir()
    rows = [f"u{user},i{(user + step) % 9}" for user in range(8) for step in range(5)]
    (shop / "log.csv").write_text("\n".join(["user,item", *rows]) + "\n")
    line = crossrec(*command.split(), "--data", shop, "--out", shop / "." / "../shop").mistake
    assert str(shop) in line
    assert message in line
    assert "--out" in line
    assert [path.name for path in shop.iterdir()] == ["log.csv"]


COMPARE = {
    "unknown flag": (["--backbone", "bpr"], ["--backbone", "--backbones"]),
    "seed for seeds": (["--seed", "1"], ["--seed", "--seeds"]),
    "unknown backbone": (["--backbones", "bpr", "lightgnc"], ["--backbones", "lightgnc", "'lightgcn'"]),
    "unknown alignment": (["--alignments", "corss"], ["--alignments", "corss", "'cross'"]),
    "no backbones": (["--backbones"], ["--backbones"]),
    "no alignments": (["--alignments"], ["--alignments"]),
    "no seeds": (["--seeds"], ["--seeds"]),
    "seed is text": (["--seeds", "one"], ["--seeds", "one"]),
    "negative seed": (["--seeds", "-1"], ["--seeds", "-1"]),
    "no jobs": (["--jobs", "0"], ["--jobs 0"]),
    "a hundred thousand jobs": (["--jobs", "100000"], ["--jobs 100000", "1 to 1024"]),
    "a million threads a cell": (["--threads", "1000000"], ["--threads 1000000", "cores"]),
    "no data": (["--data", "nowhere"], ["nowhere"]),
    "out is a file": (["--out", "a file"], ["a file", "--out"]),
    "no settings": (["--settings", "none.json"], ["--settings none.json"]),
}


@pytest.mark.parametrize(("arguments", "parts"), COMPARE.values(), ids=COMPARE)
def test_mistakes_in_compare(arguments, parts, crossrec, folder):
    common = [] if "--data" in arguments else ["--data", "synthetic-tiny"]
    common += [] if "--out" in arguments else ["--out", "out"]
    line = crossrec("compare", *common, *arguments).mistake
    for part in parts:
        assert part in line


SETTINGS = {
    "no JSON": ("{'lightgcn'}", ["JSON"]),
    "no object": (["lightgcn"], ["object"]),
    "unknown backbone": ({"lightgnc": {}}, ["lightgnc", "'lightgcn'"]),
    "unknown alignment": ({"bpr": {"corss": {}}}, ["corss", "'cross'"]),
    "no parts": ({"bpr": 3}, ["'bpr'"]),
    "no settings": ({"bpr": {"backbone": 3}}, ["'backbone'", "'bpr'"]),
    "unknown setting": ({"lightgcn": {"backbone": {"layer": 3}}}, ["'layer'", "'layers'"]),
    "unknown setting of the alignment": ({"lightgcn": {"cross": {"alpa": 3}}}, ["'alpa'", "'alpha'"]),
    "out of range": ({"lightgcn": {"cross": {"alpha": -3}}}, ["'alpha'", "-3"]),
    "settings of no alignment": ({"lightgcn": {"none": {"alpha": 3}}}, ["'none'"]),
}


@pytest.mark.parametrize(("values", "parts"), SETTINGS.values(), ids=SETTINGS)
def test_mistakes_in_a_settings_file(values, parts, crossrec, tmp_path):
    text = values if isinstance(values, str) else json.dumps(values)
    (tmp_path / "settings.json").write_text(text)
    line = crossrec(
        "compare", "--data", "synthetic-tiny", "--out", "out", "--settings", tmp_path / "settings.json"
    ).mistake
    for part in ["--settings", *parts]:
        assert part in line
    assert list((tmp_path / "here").iterdir()) == []


def test_unknown_commands(crossrec):
    for arguments, nearest in ((["trian"], "train"), (["data", "descibe"], "describe")):
        assert nearest in crossrec(*arguments).mistake


def test_a_broken_table(crossrec, mmrec):
    table = mmrec / "shop.inter"
    table.write_text(table.read_text() + "3\tmilk\t5.0\t0\n")
    line = crossrec("train", "--data", mmrec, "--out", "out").mistake
    assert f"{table}, line 98: itemID 'milk'" in line
    assert f"{table}, line 98: itemID 'milk'" in crossrec("data", "describe", "--data", mmrec).mistake


def test_a_modality_name_that_torch_does_not_allow(crossrec, mmrec):
    (mmrec / "sound_feat.npy").rename(mmrec / "resnet.50_feat.npy")
    for backbone in ("lightgcn", "freedom"):
        line = crossrec("train", "--data", mmrec, "--backbone", backbone, "--out", "out").mistake
        assert "resnet.50_feat.npy" in line


def test_features_that_are_too_large_to_train_with(crossrec, mmrec, features):
    for name, spoilt in features.items():
        matrix = spoilt.astype(np.float32)
        matrix[3, 1] = -1e30
        np.save(mmrec / f"{name}_feat.npy", matrix)
    flags = ("--data", mmrec, "--feature-scaling", "none")
    line = crossrec("train", *flags, "--backbone", "vbpr", "--out", "out").mistake
    for part in ("data 'shop': modality 'scent'", "up to 1e+30", "scale them with --feature-scaling standardize_l2"):
        assert part in line
    assert "learning" not in line
    warnings = crossrec("data", "validate", *flags)
    assert warnings.code == 2
    assert f"{mmrec}/sound_feat.npy: modality 'sound' has values up to 1e+30, too large to train with" in warnings.err
    assert crossrec("data", "describe", "--data", mmrec).code == 0
    assert crossrec("data", "validate", "--data", mmrec).code == 0


HYPHENS = {
    "alone": (["recommend", "run", "--users", "-u7"], "if -u7 is a value, write --users=-u7"),
    "after others": (["recommend", "run", "--users", "a", "-u7", "b"], "if -u7 is a value, write --users=-u7"),
    "after another flag": (["recommend", "run", "--k=3", "--history", "-x"], "if -x is a value, write --history=-x"),
    "two hyphens": (["similar", "run", "--of", "--x7"], "if --x7 is a value, write --of=--x7"),
}


@pytest.mark.parametrize(("arguments", "hint"), HYPHENS.values(), ids=HYPHENS)
def test_ids_that_begin_with_a_hyphen(arguments, hint, crossrec):
    assert hint in crossrec(*arguments).mistake
    for flag in ("--users", "--history", "--of"):  # what the hint says is accepted: the next mistake is another
        command = "similar" if flag == "--of" else "recommend"
        assert "run: no such folder" in crossrec(command, "run", f"{flag}=-u7", f"{flag}=--u8").mistake
    for typo in (["train", "--data", "x", "--epcohs", "3"], ["serve", "run", "-q"]):
        assert "is a value" not in crossrec(*typo).mistake
