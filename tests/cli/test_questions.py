"""``crossrec ablate``, ``directions``, ``robustness`` and ``sensitivity``: from flags to results; and mistakes."""

from __future__ import annotations

import csv
import json
import sys

import pytest

from crossrec.experiments.runner.jobs import Cell
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run
from crossrec.training import TrainingConfig

FLAGS = ("--data", "synthetic-tiny", "--epochs", 2, "--batch-size", 256, "--device", "cpu", "--seeds", 0, 1)
EXPECTED = {
    "ablate": (
        ["--backbones", "bpr", "--subsets", "item", "cla+dt"],
        ["bpr", "+ ILDA", "+ DT&CLA"],
        {"ablate-figure": 3},
    ),
    "directions": (
        ["--backbones", "bpr", "lightgcn", "--directions", "dynamic"],
        ["bpr", "+ dynamic", "lightgcn", "+ dynamic", "average + dynamic"],
        {"directions-figure": 5},
    ),
    "robustness": (
        ["--backbones", "bpr", "--missing", 0, 0.5, "--missing-methods", "none", "ilda", "--empty-clicks"],
        ["bpr", "+ ILDA", "bpr", "+ ILDA"],
        {"robustness-missing-figure": 4},
    ),
    "sensitivity": (
        ["--backbones", "bpr", "--parameters", "alpha", "neighbors", "--alpha-values", 0.5, "--neighbors-values", 2],
        ["bpr", "+ cross", "α", "K"],
        {"sensitivity-figure": 4},
    ),
}


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.parametrize("command", EXPECTED)
def test_from_flags_to_a_result(command, crossrec, here, tmp_path, read):
    flags, models, figure_rows = EXPECTED[command]
    answer = crossrec(command, *FLAGS, *flags, "--out", tmp_path)
    assert answer.code == 0, answer.err
    saved = read(tmp_path / f"{command}.json")
    name, tests = (entry["name"] for entry in saved["tables"])
    assert [row["model"].strip() for row in table(tmp_path / f"{name}.csv")] == models
    for figure in saved["figures"]:
        assert (tmp_path / f"{figure['name']}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"{figure['name']}.pdf").read_bytes().startswith(b"%PDF")
        assert len(table(tmp_path / f"{figure['name']}.csv")) == figure_rows[figure["name"]]
        assert f"{figure['name']}.png" in answer.out
    assert len(saved["findings"]) >= 2
    assert all(finding in " ".join(answer.out.split()) for finding in saved["findings"])

    # the first row is what its two runs came to
    plain = [
        cell for cell in saved["cells"] if cell["label"] == "bpr" and not cell["config"]["data"].get("missing_content")
    ]
    assert {cell["seed"] for cell in plain} == {0, 1}
    recalls = [read(tmp_path / cell["folder"] / "metrics.json")["test"]["recall@10"] for cell in plain]
    rows = table(tmp_path / f"{name}.csv")
    assert float(rows[0]["R@10 mean"]) == pytest.approx(sum(recalls) / 2, abs=1e-12)

    # the first test is of its second row against its first
    first = table(tmp_path / f"{tests}.csv")[0]
    assert float(first["base"]) == pytest.approx(float(rows[0]["R@10 mean"]), abs=1e-12)
    assert float(first["new"]) == pytest.approx(float(rows[1]["R@10 mean"]), abs=1e-12)
    assert first["verdict"] in ("higher", "lower", "no difference shown")
    judged = [finding for finding in saved["findings"] if "claim" in finding]
    assert all("chance" in finding for finding in judged if "alone" not in finding or "strongest" not in finding)


@pytest.mark.slow
def test_a_cell_with_noise_in_a_process_of_its_own_beside_one_that_is_done(crossrec, tmp_path, content):
    training = TrainingConfig(epochs=2, batch_size=256, device="cpu")
    config = RunConfig(data={"data": "synthetic-tiny"}, backbone={"name": "bpr"}, alignment=None, training=training)
    clean = Cell(config, ())
    run(clean.config, tmp_path / clean.name)  # as compare, ablate … would have left it
    before = content(tmp_path)
    flags = [*FLAGS[:-3], "--seeds", 0, "--threads", 1, "--backbones", "bpr", "--clicks-methods", "none"]
    answer = crossrec("robustness", *flags, "--empty-missing", "--clicks", 0, 0.2, "--out", tmp_path)
    assert answer.code == 0, answer.err
    assert answer.err.splitlines() == [
        *(f"clicks bpr {at}" for at in ("0 % none seed 0: done before", "20 % none seed 0: started")),
        "clicks bpr 20 % none seed 0: done",
    ]
    after = content(tmp_path)
    assert {name: after[name] for name in before} == before
    (noisy,) = {name.split("/")[0] for name in after if name.endswith("metrics.json")} - {clean.name}
    config = json.loads(after[f"{noisy}/config.json"][1])
    assert (config["data"]["false_clicks"], config["data"]["corruption_seed"]) == (0.2, None)


@pytest.mark.slow
def test_content_knocked_out(crossrec, here, tmp_path, read):
    flags = [*FLAGS[:-3], "--seeds", 0, "--backbones", "vbpr", "--knockouts", "shuffled", "--sides", "alignment"]
    answer = crossrec("knockout", *flags, "--out", tmp_path)
    assert answer.code == 0, answer.err
    saved = read(tmp_path / "knockout.json")
    assert [entry["name"] for entry in saved["tables"]] == ["knockout", "knockout-tests"]
    rows = table(tmp_path / "knockout.csv")
    assert [(row["model"].strip(), row["backbone sees"], row["alignment sees"]) for row in rows] == [
        ("vbpr", "as it is", "–"),
        ("vbpr", "shuffled", "–"),
        ("+ cross", "as it is", "as it is"),
        ("+ cross", "as it is", "as it is, apart"),
        ("+ cross", "as it is", "shuffled"),
    ]
    # VBPR hands over no vectors of its own, so that being apart changes nothing
    assert rows[2]["R@20"] == rows[3]["R@20"]
    tests = table(tmp_path / "knockout-tests.csv")
    assert [(row["new model"], row["base model"]) for row in tests][-1] == (
        "cross, alignment shuffled",
        "alone, as it is",
    )
    assert float(tests[-1]["new"]) == pytest.approx(float(rows[4]["R@20"]), abs=1e-12)
    assert float(tests[-1]["base"]) == pytest.approx(float(rows[0]["R@20"]), abs=1e-12)
    assert saved["findings"][-1].startswith("vbpr + cross: the gain ")


@pytest.mark.slow
def test_items_without_interactions(crossrec, tmp_path, read):
    flags = [*FLAGS[:-3], "--seeds", 1, "--threads", 1, "--backbones", "bpr", "--empty-references", "--share", 0.25]
    answer = crossrec("coldstart", *flags, "--quantiles", 0.9, "--out", tmp_path)
    assert answer.code == 0, answer.err
    saved = read(tmp_path / "coldstart.json")
    assert [entry["name"] for entry in saved["tables"]] == [
        f"coldstart{part}" for part in ("", "-differences", "-among-all")
    ]
    assert (tmp_path / "coldstart-figure.png").read_bytes().startswith(b"\x89PNG")
    assert saved["data"][0]["items"] == 30
    assert saved["findings"][0].startswith("synthetic-tiny: 10 items taken out, with ")
    assert {row["against"] for row in table(tmp_path / "coldstart-differences.csv")} == {
        *("bpr", "content like the history", "popularity")
    }
    among = table(tmp_path / "coldstart-among-all.csv")
    assert [row["length"] for row in among] == ["no new items", "quantile 0.9"] * 2
    (plain,) = [cell for cell in saved["cells"] if cell["label"] == "bpr"]
    metrics = read(tmp_path / plain["folder"] / "metrics.json")
    assert float(among[0]["other items"]) == pytest.approx(metrics["test"]["recall@20"], abs=1e-12)


MISTAKES = {
    "unknown component": ("ablate", ["--subsets", "ilda+cnn"], ["--subsets", "cnn", "'cna'"]),
    "no subsets": ("ablate", ["--subsets"], ["--subsets"]),
    "unknown backbone": ("ablate", ["--backbones", "fredom"], ["--backbones", "fredom", "'freedom'"]),
    "unknown direction": ("directions", ["--directions", "sideways"], ["--directions", "sideways", "one_way"]),
    "no direction left": ("directions", ["--directions", "off", "--item-level-only"], ["--directions off"]),
    "unknown alignment": ("directions", ["--alignment", "none"], ["--alignment", "none", "cross"]),
    "share above 1": ("robustness", ["--missing", "0", "1.2"], ["--missing", "1.2", "less than or equal to 1"]),
    "share below 0": ("robustness", ["--clicks", "-0.2"], ["--clicks", "-0.2", "greater than or equal to 0"]),
    "share in percent": ("robustness", ["--missing", "20%"], ["--missing", "20%"]),
    "unknown method": ("robustness", ["--missing-methods", "ilad"], ["--missing-methods", "ilad", "ilda"]),
    "nothing asked": ("robustness", ["--empty-missing", "--empty-clicks"], ["--empty-missing"]),
    "nothing to replace": ("robustness", ["--empty-modalities"], ["--missing-content 0.2", "no features"]),
    "unknown parameter": ("sensitivity", ["--parameters", "alpah"], ["--parameters", "alpah", "alpha"]),
    "a value of none": ("sensitivity", ["--alpha-values", "-1"], ["--alpha-values", "-1"]),
    "K of 0": ("sensitivity", ["--neighbors-values", "0"], ["--neighbors-values", "0"]),
    "values of what is not varied": (
        "sensitivity",
        ["--parameters", "alpha", "--beta-values", "1"],
        ["--beta-values", "--parameters"],
    ),
    "seed for seeds": ("sensitivity", ["--seed", "1"], ["--seed", "--seeds"]),
    "unknown part of an alignment": ("popularity", ["--alignments", "cna+cls"], ["--alignments", "cls", "'cla'"]),
    "nothing to compare": ("popularity", ["--alignments"], ["--alignments"]),
    "neither of the two": ("visualize", ["--alignment", "none"], ["--alignment", "none", "fettle"]),
    "a picture of one": ("visualize", ["--items", "1"], ["--items", "1", "greater than or equal to 2"]),
    "no such backbone": ("strengths", ["--backbones", "fredom"], ["--backbones", "fredom", "'freedom'"]),
    "no such alignment": ("strengths", ["--alignments", "cna"], ["--alignments", "cna"]),
    "no item is cold": ("coldstart", ["--share", "0.001"], ["0.001", "no item would be cold"]),
    "all items are cold": ("coldstart", ["--share", "1"], ["--share", "less than 1"]),
    "items without content": ("coldstart", ["--empty-modalities"], ["no features"]),
    "items taken out twice": ("coldstart", ["--cold-items", "0.1"], ["--cold-items", "--share"]),
    "no such reference": ("coldstart", ["--references", "vbrp"], ["--references", "vbrp", "'vbpr'"]),
    "nothing to knock out": ("knockout", ["--empty-modalities"], ["no content", "_feat.npy"]),
    "no such knock-out": ("knockout", ["--knockouts", "shuffeld"], ["--knockouts", "shuffeld", "shuffled"]),
    "knocked out twice": ("knockout", ["--content", "noise"], ["--content", "leave"]),
    "a share of the data": ("ablate", ["--missing-content", "2"], ["--missing-content", "2"]),
}


@pytest.mark.parametrize(("command", "arguments", "parts"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(command, arguments, parts, crossrec, tmp_path):
    line = crossrec(command, "--data", "synthetic-tiny", *arguments, "--out", "out").mistake
    for part in parts:
        assert part in line
    assert "pydantic" not in line
    assert list((tmp_path / "here").iterdir()) == [], "nothing is written"


@pytest.mark.parametrize("command", EXPECTED)
def test_help_names_the_options(command, crossrec, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["crossrec"])
    answer = crossrec(command, "--help")
    assert answer.code == 0
    for flag in {token for token in EXPECTED[command][0] if str(token).startswith("--")}:
        assert flag in answer.out
