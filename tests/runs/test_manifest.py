"""Manifest of a run: every altered, missing or foreign file is refused by everything that opens a run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tests.training.runs import CROSS, tiny

from crossrec.cli import main
from crossrec.data import DataConfig, load
from crossrec.data.io.atomic import read_json, write_json_atomic
from crossrec.data.io.manifest import MANIFEST, read_sealed, write_sealed
from crossrec.data.synthetic import RECIPES, generate
from crossrec.errors import RunError
from crossrec.experiments.analysis.run_evaluation import run_evaluation
from crossrec.experiments.runner.jobs import Cell, Datasets
from crossrec.experiments.runner.pool import Pool, TrainingProcess
from crossrec.recommend import Recommender, extend
from crossrec.runs import load_config, open_embeddings, run, seal
from crossrec.runs.directory import ITEM_TABLE_FILE, MEASURED_FILE, RUN_FILES, check_run, learnt_temperatures
from crossrec.serving import ServedRun

CONFIG = tiny("lightgcn", CROSS, record_strengths=True)
FILES = (*RUN_FILES, MANIFEST)


@pytest.fixture(scope="module")
def dataset():
    return load(DataConfig(data="synthetic-tiny"))


def with_further_files(out, dataset, title):
    """The run with a table of items, as ``Recommender.save`` writes it, and the weights that a refit run keeps."""
    (out / MEASURED_FILE).write_bytes((out / "model.safetensors").read_bytes()[::-1])
    table = pl.DataFrame({"item_id": dataset.item_ids, "title": [f"{title} {i}" for i in range(dataset.num_items)]})
    table.write_parquet(out / ITEM_TABLE_FILE)
    seal(out)
    return out


@pytest.fixture(scope="module")
def original(dataset, tmp_path_factory):
    """A finished run. Its folder is the one that ``compare`` would use for it."""
    out = tmp_path_factory.mktemp("runs") / Cell(CONFIG, ()).name
    run(CONFIG, out, dataset=dataset)
    return with_further_files(out, dataset, "tea")


@pytest.fixture(scope="module")
def other(dataset, tmp_path_factory):
    """A run of another seed."""
    out = tmp_path_factory.mktemp("other") / "run"
    run(CONFIG.model_copy(update={"training": CONFIG.training.model_copy(update={"seed": 1})}), out, dataset=dataset)
    return with_further_files(out, dataset, "pot")


@pytest.fixture
def folder(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path / original.name))


def flip(content, byte, bit=0):
    return content[:byte] + bytes([content[byte] ^ 1 << bit]) + content[byte + 1 :]


def refusal(open_run):
    """The message with which an altered run is refused."""
    with pytest.raises(RunError) as error:
        open_run()
    return str(error.value)


def mutations(content):
    """(name, other content) for a file: bits at both ends and at random bytes, and other lengths."""
    draw = np.random.default_rng(len(content))
    bits = [(0, 0), (len(content) - 1, 0), *draw.integers([len(content), 8], size=(6, 2)).tolist()]
    yield from ((f"bit {bit} of byte {byte}", flip(content, byte, bit)) for byte, bit in bits)
    yield from (
        ("cut", content[:-1]),
        ("half", content[: len(content) // 2]),
        ("empty", b""),
        ("longer", content + b"\n"),
    )


def test_every_file_of_a_run_is_in_the_manifest(original):
    assert {path.name for path in original.iterdir()} == set(FILES)
    files = read_sealed(original / MANIFEST, "")["files"]
    assert set(files) == set(RUN_FILES)
    assert {name: entry["size"] for name, entry in files.items()} == {
        name: (original / name).stat().st_size for name in RUN_FILES
    }


@pytest.mark.parametrize("name", FILES)
def test_every_mutation_of_a_file_is_refused(name, folder, other):
    check_run(folder)
    path = folder / name
    content = path.read_bytes()
    changes = dict(mutations(content))
    changes |= {f"swapped with {file}": (folder / file).read_bytes() for file in FILES if file != name}
    if name not in ("users.parquet", "items.parquet", MANIFEST):  # equal in both runs, or named by its first other file
        changes["of another run"] = (other / name).read_bytes()
    for change, altered in changes.items():
        path.write_bytes(altered)
        assert refusal(lambda: check_run(folder)).startswith(f"{path}: "), change
    path.unlink()
    assert refusal(lambda: check_run(folder)).startswith(f"{path}: missing")


def refusals(folder, dataset, tmp_path):
    """Everything that opens a run, by name."""

    def compare():
        with Pool(folder.parent, Datasets()) as pool:
            (result,) = pool.run([Cell(CONFIG, ())])
        raise RunError(result.failure.removeprefix("failed: "))

    def command(*arguments):
        return lambda: main([str(argument) for argument in arguments])

    new_items = tmp_path / "new"
    new_items.mkdir()
    (new_items / "items.csv").write_text("item\n100\n")
    for modality, matrix in generate(RECIPES["synthetic-tiny"]).features.items():
        np.save(new_items / f"{modality}_feat.npy", matrix[:1])
    return {
        "Recommender.open": lambda: Recommender.open(folder),
        "open_embeddings": lambda: open_embeddings(folder),
        "a question": lambda: run_evaluation(folder, dataset),
        "serve": lambda: ServedRun(folder),
        "extend": lambda: extend(folder, new_items, tmp_path / "extended"),
        "train --resume": lambda: run(CONFIG, folder, dataset=dataset, resume=True),
        "compare": compare,
        "recommend": command("recommend", folder, "--k", 3),
        "similar": command("similar", folder, "--of", 3),
        "export": command("export", folder, "--out", tmp_path / "vectors"),
    }


@pytest.mark.parametrize("name", FILES)
def test_everything_that_opens_a_run_refuses_an_altered_one(name, folder, dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(TrainingProcess, "start", lambda *_: pytest.fail("the cell is not trained again"))
    path = folder / name
    path.write_bytes(flip(path.read_bytes(), -5 % path.stat().st_size))
    before = {file: file.read_bytes() for file in folder.iterdir()}
    for opener, open_run in refusals(folder, dataset, tmp_path).items():
        try:
            assert open_run() == 2, opener
            message = capsys.readouterr().err.removeprefix("crossrec: error: ")
        except RunError as error:
            message = str(error)
        assert message.startswith(f"{path}: "), opener
        assert "\n" not in message.rstrip("\n")
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
    assert not (tmp_path / "extended").exists()
    assert not (tmp_path / "vectors").exists()


def test_single_files_of_a_finished_run_are_checked_too(folder):
    for name, read in (
        ("config.json", lambda: load_config(folder / "config.json")),
        ("model.safetensors", lambda: learnt_temperatures(folder)),
    ):
        read()
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content.replace(b"0.01", b"0.02") if name == "config.json" else flip(content, -1))
        assert refusal(read).startswith(f"{folder / name}: altered")


def test_a_file_that_the_run_did_not_write_is_refused(dataset, original, tmp_path):
    run(tiny("lightgcn", CROSS), tmp_path / "plain", dataset=dataset)
    shutil.copy(original / "strengths.csv", tmp_path / "plain")
    with pytest.raises(RunError, match=r"strengths\.csv: not a file of this run"):
        check_run(tmp_path / "plain")


def test_a_run_of_an_earlier_version_is_refused_until_it_is_sealed(folder, dataset):
    (folder / MANIFEST).unlink()
    for opened in (open_embeddings, lambda folder: run(CONFIG, folder, dataset=dataset, resume=True)):
        with pytest.raises(RunError, match=rf"{MANIFEST}: missing, so nothing shows .*crossrec\.runs\.seal"):
            opened(folder)
    seal(folder)
    assert torch.isfinite(open_embeddings(folder).item_IS).all()
    (folder / "users.parquet").unlink()
    with pytest.raises(RunError, match=r"users\.parquet: missing"):
        seal(folder)


def test_an_extended_run_has_a_manifest(folder, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "items.csv").write_text("item\n100\n")
    np.save(tmp_path / "new" / "text_feat.npy", np.ones((1, 8)))
    extend(folder, tmp_path / "new", tmp_path / "more")
    check_run(tmp_path / "more")
    path = tmp_path / "more" / "items.parquet"
    path.write_bytes(flip(path.read_bytes(), 50))
    assert refusal(lambda: Recommender.open(tmp_path / "more")).startswith(f"{path}: altered")


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_run_is_not_swapped_in(name, folder, other, tmp_path):
    (tmp_path / "current").symlink_to(other)
    served_run = ServedRun(tmp_path / "current")
    path = folder / name
    path.write_bytes(flip(path.read_bytes(), 40))
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to(folder)
    assert not served_run.check()
    assert served_run.refused
    path.write_bytes(flip(path.read_bytes(), 40))
    assert served_run.check(), "whole again"
    assert served_run.current.recommender.vectors.identity == read_json(folder / "config.json")["identity"]


def test_sealed_json_comes_back_and_every_change_is_refused(tmp_path):
    path, values = tmp_path / "card.json", {"best": 0.1 + 0.2, "name": "größer", "rows": [1, None, True]}
    write_sealed(path, values)
    assert read_sealed(path, "delete it") == values
    for change in ({"best": 9.0}, {"rows": [1, None]}, {"more": 1}, {"seal": "0" * 64}):
        write_json_atomic(path, read_json(path) | change)
        with pytest.raises(RunError, match=r"card\.json: damaged, .*; delete it$"):
            read_sealed(path, "delete it")
        write_sealed(path, values)
    with pytest.raises(RunError, match="cannot be written as JSON"):
        write_sealed(path, {"value": object()})
    assert read_sealed(path, "delete it") == values
