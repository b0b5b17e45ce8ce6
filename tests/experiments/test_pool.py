"""Pools train cells once: one at a time writes to a folder, and finished cells are used again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from tests.cli import tuning

from crossrec.cli import main
from crossrec.data import DataConfig, load
from crossrec.data.io.atomic import write_json_atomic
from crossrec.data.io.lock import FILE, FolderLock
from crossrec.data.io.manifest import write_manifest
from crossrec.errors import DataError
from crossrec.experiments.experiment import SharedSettings
from crossrec.experiments.runner import jobs, pool as module
from crossrec.experiments.runner.jobs import Cell, Datasets
from crossrec.experiments.runner.pool import Pool
from crossrec.runs.execute import run
from crossrec.training import TrainingConfig

CELL = Cell(SharedSettings(DataConfig(data="synthetic-tiny")).run_config("bpr", "none", 0), ())
OTHER_SEED = Cell(SharedSettings(DataConfig(data="synthetic-tiny")).run_config("bpr", "none", 1), ())
DATASET = load(CELL.config.data)


def metrics(cell=CELL):
    return {"identity": cell.config.identity(Datasets()[cell.config.data]), "valid": {}}


def write_cell(out, cell=CELL, **changes):
    """Write the folder of a cell whose run is done, with these values in both files."""
    folder = out / cell.name
    folder.mkdir(exist_ok=True)
    for name in ("config.json", "metrics.json"):
        (folder / name).write_text(json.dumps(metrics(cell) | changes))
    write_manifest(folder, ["config.json", "metrics.json"])


def test_a_pool_waits_for_the_one_before_and_uses_its_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(module.TrainingProcess, "start", lambda *_: pytest.fail("it is done"))
    other, states = FolderLock(tmp_path), []
    assert other.acquire()

    def end():
        write_cell(tmp_path)
        other.release()

    ending = threading.Timer(0.3, end)
    ending.start()
    results, states = results_of(tmp_path)
    ending.join()
    assert [result.metrics for result in results] == [metrics()]
    assert states == ["done before"]
    assert not (tmp_path / FILE).exists()


def test_a_stopped_pool_frees_its_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "train_command", lambda folder, threads: tuning.train(folder, threads, 60))
    other = FolderLock(tmp_path)
    with Pool(tmp_path, Datasets()) as pool:
        pool.add(CELL)
        assert pool.step() == []
        assert not pool.has_room
        assert not other.acquire()
    assert not (tmp_path / FILE).exists()
    assert other.acquire()
    other.release()


def test_what_a_killed_pool_trains_keeps_the_folder_locked(tmp_path, monkeypatch):
    script = "import sys; sys.stdin.read()"
    monkeypatch.setattr(module, "train_command", lambda folder, threads: [sys.executable, "-S", "-c", script])
    monkeypatch.setattr(subprocess, "DEVNULL", subprocess.PIPE)  # it ends when its stdin does
    pool = Pool(tmp_path, Datasets()).__enter__()
    pool.add(CELL)
    pool.step()
    for descriptor in pool._lock.descriptors:  # as if this process had been killed
        os.close(descriptor)
    other = FolderLock(tmp_path)
    assert not other.acquire()
    pool._running[0].process.communicate()
    assert other.acquire()
    other.release()


PROGRESS = "print('bpr epoch 3: loss 0.5', flush=True); import os, sys"


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        (f"{PROGRESS}; os.kill(os.getpid(), 9)", "killed by SIGKILL, as the kernel does where memory runs out"),
        (f"{PROGRESS}; os.kill(os.getpid(), 11)", "killed by SIGSEGV"),
        (f"{PROGRESS}; os.kill(os.getpid(), 40)", "killed by signal 40"),
        (f"{PROGRESS}; sys.exit('crossrec: error: no space')", "no space"),
        (f"{PROGRESS}; sys.exit(3)", r"exit code 3; .*log.txt ends with: bpr epoch 3: loss 0.5"),
        ("import sys; sys.exit(2)", r"exit code 2; .*log.txt is empty, as where the disk is full"),
    ],
)
def test_a_failure_says_what_ended_the_process(tmp_path, monkeypatch, script, failure):
    monkeypatch.setattr(module, "train_command", lambda folder, threads: [sys.executable, "-S", "-E", "-c", script])
    with Pool(tmp_path, Datasets()) as pool:
        (result,) = pool.run([CELL])
    assert result.metrics is None
    assert re.fullmatch(f"failed: {failure}", result.failure), result.failure


def test_data_sets_beyond_the_last_few_are_read_again(monkeypatch):
    read = []
    monkeypatch.setattr(jobs, "load", lambda config: read.append(config.split_seed) or load(config))
    configs = [DataConfig(data="synthetic-tiny", split_seed=seed) for seed in range(jobs.DATASETS_IN_MEMORY + 1)]
    datasets = Datasets()
    first = [datasets[config].fingerprint() for config in configs for _ in range(2)][::2]
    assert read == [0, 1, 2, 3, 4], "once each, while it is in use"
    assert list(datasets) == configs
    assert [dataset.fingerprint() for dataset in datasets.values()] == first
    assert read[5:] == [0, 1, 2, 3, 4]
    with pytest.raises(DataError):
        datasets[DataConfig(data="nowhere")]
    assert len(datasets) == len(configs)


def results_of(out, cells=(CELL,)):
    states = []
    with Pool(out, Datasets(), on_change=lambda cell, state: states.append(state)) as pool:
        return pool.run(cells), states


def test_a_finished_cell_is_used_again_and_not_started(tmp_path, monkeypatch):
    monkeypatch.setattr(module.TrainingProcess, "start", lambda *_: pytest.fail("it is done"))
    write_cell(tmp_path)
    (result,), states = results_of(tmp_path)
    assert (result.metrics, result.failure, states) == (metrics(), "", ["done before"])


FOREIGN = {
    "of other data": {"identity": CELL.config.identity(replace(DATASET, test=DATASET.valid))},
    "of another configuration": {"identity": OTHER_SEED.config.identity(DATASET)},
    "without an identity": {"identity": None},
}


@pytest.mark.parametrize("changes", FOREIGN.values(), ids=FOREIGN)
def test_a_cell_of_another_identity_is_not_used(tmp_path, monkeypatch, changes):
    monkeypatch.setattr(module.TrainingProcess, "start", lambda *_: pytest.fail("its folder is another run's"))
    write_cell(tmp_path, **changes)
    (result,), _ = results_of(tmp_path)
    assert result.metrics is None
    assert result.failure.startswith(
        f"failed: {tmp_path / CELL.name}/config.json is of another configuration, data set"
    )


def test_a_damaged_cell_fails_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "train_command", tuning.train)
    write_cell(tmp_path)
    path = tmp_path / CELL.name / "metrics.json"
    path.write_text(path.read_text().replace("{}", '{"recall@20": 0.9}'))
    (damaged, trained), _ = results_of(tmp_path, [CELL, OTHER_SEED])
    assert (damaged.metrics, damaged.failure.split("; ")[0]) == (
        None,
        f"failed: {path}: altered, {path.stat().st_size} bytes instead of {path.stat().st_size - 16}",
    )
    assert trained.metrics is not None
    assert tuning.starts(tmp_path) == [OTHER_SEED.name]


def leave(*names):
    """A command that leaves these files of a finished run behind, and fails with the exit code in the last one."""

    def command(folder, threads):
        *files, code = names
        write_cell(folder.parent)
        for path in folder.iterdir():
            if path.suffix == ".json" and path.name not in files:
                path.unlink()
        return [sys.executable, "-S", "-c", f"import sys; print('crossrec: error: no memory'); sys.exit({code})"]

    return command


@pytest.mark.parametrize("files", [["config.json", "metrics.json", "manifest.json"], ["metrics.json"]])
@pytest.mark.parametrize("code", [1, 2])
def test_a_process_that_fails_is_a_failure_whatever_files_are_there(tmp_path, monkeypatch, files, code):
    """The metrics may be old, or of a run that was deleted in part."""
    monkeypatch.setattr(module, "train_command", leave(*files, code))
    (result,), states = results_of(tmp_path)
    assert (result.metrics, result.failure) == (None, "failed: no memory")
    assert states[-1] == "failed: no memory"
    assert (tmp_path / CELL.name / "log.txt").exists()


def test_a_process_that_ends_well_without_a_finished_run_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "train_command", leave(0))
    (result,), _ = results_of(tmp_path)
    assert result.metrics is None
    assert result.failure == "failed: no memory"


def test_the_log_of_a_pool_that_was_killed_is_deleted(tmp_path):
    """Its process has finished the run. A log without cell.json is none of a pool."""
    for cell, names in ((CELL, ("log.txt", "cell.json")), (OTHER_SEED, ("log.txt",))):
        write_cell(tmp_path, cell)
        for name in names:
            (tmp_path / cell.name / name).write_text("{}")
    results, states = results_of(tmp_path, [CELL, OTHER_SEED])
    assert [result.metrics for result in results] == [metrics(), metrics(OTHER_SEED)]
    assert states == ["done before", "done before"]
    left = {path.parent.name for path in tmp_path.glob("*/*") if path.name in ("log.txt", "cell.json")}
    assert left == {OTHER_SEED.name}


def test_a_stopped_cell_goes_on(tmp_path):
    """The command that trains a cell resumes from its checkpoint."""
    config = CELL.config.model_copy(update={"training": TrainingConfig(epochs=3, device="cpu", checkpoint_seconds=0)})
    cell = Cell(config, ())
    folder = tmp_path / cell.name

    def stop(progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config, folder, dataset=DATASET, on_epoch=stop)
    before = (folder / "history.csv").read_text().splitlines()
    write_json_atomic(folder / "cell.json", config.model_dump(mode="json"))
    python, flag, package, *arguments = module.train_command(folder, 1)
    assert (python, flag, package) == (sys.executable, "-m", "crossrec")
    assert main(arguments) == 0
    after = (folder / "history.csv").read_text().splitlines()
    assert after[:3] == before, "also its times: the epochs are not trained again"
    assert len(after) == 4
    (result,), states = results_of(tmp_path, [cell])
    assert (result.metrics["epochs"], states) == (3, ["done before"])
