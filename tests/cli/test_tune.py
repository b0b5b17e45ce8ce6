"""``crossrec tune``: every point is trained once, also by two commands; validation alone selects the best."""

from __future__ import annotations

import ast
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossrec.data.io.manifest import write_manifest
from crossrec.experiments.reporting import result_files
from crossrec.experiments.runner import pool
from crossrec.experiments.search import proposers

from . import tuning

SPACE = {
    "backbone": {"reg": [0.1, 0.3, 0.5]},
    "alignment": {"alpha": [0.01, 0.1], "beta": {"of": "alpha", "times": [1, 10]}},
}
COMMON = ("tune", "--data", "synthetic-tiny", "--backbone", "bpr", "--device", "cpu", "--threads", "1")


@pytest.fixture
def drawn(monkeypatch):
    """Replace training by a stand-in that takes no time."""
    monkeypatch.setattr(pool, "train_command", tuning.train)


@pytest.fixture
def quick(drawn, monkeypatch):
    """As ``drawn``, and without figures, which take time."""
    monkeypatch.setattr(result_files, "save_figure", lambda draw, stem, inches: None)


@pytest.fixture
def space(tmp_path):
    def write(content):
        path = tmp_path / "space.json"
        path.write_text(json.dumps(content))
        return path

    return write


def opened(path):
    """Number of this process's file descriptors for a path; 0 on systems without /proc."""
    return sum(os.path.realpath(link) == str(path) for link in Path("/proc/self/fd").glob("*"))


def trials(out):
    with (out / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_grid_in_two_stages(crossrec, drawn, space, tmp_path, read, monkeypatch):
    out = tmp_path / "out"
    flags = [*COMMON, "--space", space(SPACE), "--jobs", "2", "--out", out]
    answer = crossrec(*flags)
    assert answer.code == 0, answer.err
    rows = trials(out)
    plain, cross = ([row for row in rows if row["alignment"] == name] for name in ("none", "cross"))
    assert [row["reg"] for row in plain] == ["0.1", "0.3", "0.5"]
    assert [(row["alpha"], row["beta"]) for row in cross] == [
        *(("0.01", "0.01"), ("0.01", "0.1"), ("0.1", "0.1"), ("0.1", "1.0")),
    ]
    assert len(set(tuning.starts(out))) == len(tuning.starts(out)) == 7

    # the best is the largest value, and the alignment was searched on the best of the backbone's own settings
    assert {read(out / row["folders"] / "metrics.json")["valid"]["recall@20"] for row in rows} == {
        float(row["valid recall@20"]) for row in rows
    }
    assert max(plain, key=lambda row: float(row["valid recall@20"]))["reg"] == "0.3"
    assert read(out / "settings.json") == {"bpr": {"backbone": {"reg": 0.3}, "cross": {"alpha": 0.1, "beta": 1.0}}}
    best = read(out / "best.json")
    assert best == read(out / "best-bpr+cross.json")
    assert (best["backbone"]["reg"], best["alignment"]["alpha"], best["alignment"]["beta"]) == (0.3, 0.1, 1.0)
    assert read(out / "best-bpr.json")["backbone"]["reg"] == 0.3
    assert [row["reg"] for row in trials(out) if row["alignment"] == "cross"] == [""] * 4

    # the answer: sorted, the best marked, and all of it is listed for a report
    with (out / "tune.csv").open(newline="") as file:
        recalls = [float(row["valid R@20"]) for row in csv.DictReader(file)]
    assert recalls == [*sorted(recalls[:3], reverse=True), *sorted(recalls[3:], reverse=True)]
    assert "| **0.3000** |" in (out / "tune.md").read_text()
    result = read(out / "tune.json")
    assert [table["name"] for table in result["tables"]] == ["tune"]
    assert [figure["name"] for figure in result["figures"]] == ["tune-bpr", "tune-bpr-cross"]
    assert len(result["cells"]) == 7
    assert "+133.3 % on the 0.3000 of bpr alone" in " ".join(result["findings"])
    assert "reg (0.3" not in " ".join(result["findings"])
    for figure in ("tune-bpr", "tune-bpr-cross"):
        assert (out / f"{figure}.png").stat().st_size > 1000
        assert (out / f"{figure}.pdf").stat().st_size > 1000
    with (out / "tune-bpr-cross.csv").open(newline="") as file:
        assert next(csv.reader(file)) == ["alpha", "beta/alpha", "valid recall@20"]

    # done cells are used again, and so they are when the grid grows
    with monkeypatch.context() as patch:
        patch.setattr(pool.TrainingProcess, "start", lambda *_: pytest.fail("nothing is left to train"))
        again = crossrec(*flags)
    assert (again.code, again.out) == (0, answer.out)
    space(SPACE | {"backbone": {"reg": [0.1, 0.2, 0.3, 0.5]}})
    assert crossrec(*flags).code == 0
    assert len(set(tuning.starts(out))) == len(tuning.starts(out)) == 8
    assert read(out / "settings.json")["bpr"]["backbone"] == {"reg": 0.3}


def test_test_metrics_have_no_influence(crossrec, quick, space, tmp_path, read):
    out = tmp_path / "out"
    flags = [*COMMON, "--space", space(SPACE), "--out", out]
    before = crossrec(*flags)
    files = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file() and path.name != "tune.json"}
    result = read(out / "tune.json")
    for number, path in enumerate(sorted(out.glob("*/metrics.json"))):
        metrics = read(path)
        assert metrics["test"]["recall@20"] < 0
        if number % 2:
            del metrics["test"]
        else:
            metrics["test"] = {"recall@20": 123.456}
        path.write_text(json.dumps(metrics))
        write_manifest(path.parent, ["config.json", "metrics.json"])
    after = crossrec(*flags)
    assert (after.out, after.err) == (before.out, before.err)
    for name, content in files.items():
        assert (out / name).read_bytes() == content, name
    timed = {"seconds": 0, "seal": ""}  # the seal is a digest of the seconds too
    assert {**read(out / "tune.json"), **timed} == {**result, **timed}
    assert not [cell for cell in result["cells"] if "test" in cell]
    assert "-0.3" not in json.dumps(result["cells"])


def test_seeds_are_averaged_and_the_first_trial_wins_a_tie(crossrec, quick, space, tmp_path, read):
    out = tmp_path / "out"
    flags = [*COMMON, "--alignment=none", "--space", space({"backbone": {"reg": [0.4, 0.2]}})]
    assert crossrec(*flags, "--seeds", "3", "1", "--out", out).code == 0
    rows = trials(out)
    for row in rows:
        assert [float(row["valid recall@20 mean"]), int(row["valid recall@20 n"])] == [pytest.approx(0.31), 2]
        assert len(row["folders"].split()) == 2
    values = [float(row["valid recall@20 mean"]) for row in rows]
    assert read(out / "best.json")["backbone"]["reg"] == (0.4, 0.2)[values.index(max(values))]
    assert read(out / "best.json")["training"]["seed"] == 3


def test_failed_trials_are_listed_and_never_the_best(crossrec, quick, space, tmp_path, read):
    out = tmp_path / "out"
    bad = space({"backbone": {"reg": [9, 0.2]}, "cross": {"alpha": [0.01]}})
    answer = crossrec(*COMMON, "--space", bad, "--out", out)
    assert answer.code == 0
    assert "failed: term 'reg' is nan" in answer.out
    failed, good, cross = trials(out)
    assert (failed["reg"], failed["state"], failed["valid recall@20"]) == ("9", "failed: term 'reg' is nan", "")
    assert (good["state"], cross["state"]) == ("done", "done")
    assert read(out / "settings.json")["bpr"]["backbone"] == {"reg": 0.2}

    # where everything failed, nothing is stacked on it, and no best is made up
    bad = space({"backbone": {"reg": [9]}})
    answer = crossrec(*COMMON, "--space", bad, "--out", tmp_path / "all")
    assert answer.code == 1
    assert len(trials(tmp_path / "all")) == 1
    assert not (tmp_path / "all" / "best.json").exists()
    assert "bpr: every setting failed" in answer.out
    assert "bpr + cross: no setting was tried" in answer.out


def test_random_and_tpe_are_reproducible_and_can_be_extended(crossrec, quick, space, tmp_path, read):
    ranges = space({"alignment": {"alpha": {"low": 1e-5, "high": 1, "log": True}, "beta": [0.1, 1]}})
    trials_of = {}
    for search, name, extra in (
        *(("random", "one", []), ("random", "two", []), ("random", "other", ["--search-seed", "1"])),
        *(("tpe", "three", []), ("tpe", "four", ["--storage", f"sqlite:///{tmp_path}/study.db"])),
    ):
        out = tmp_path / name
        flags = [*COMMON, "--alignments", "cross", "--space", ranges, "--search", search, *extra, "--out", out]
        assert crossrec(*flags, "--trials", "4").code == 0
        trials_of[name] = [(row["alpha"], row["beta"], row["valid recall@20"]) for row in trials(out)]
        assert len(set(trials_of[name])) == 4
        if name in ("one", "four"):  # a longer search goes on with the shorter one
            assert crossrec(*flags, "--trials", "6").code == 0
            more = [(row["alpha"], row["beta"], row["valid recall@20"]) for row in trials(out)]
            assert (more[:4], len(set(more))) == (trials_of[name], 6)
            assert len(tuning.starts(out)) == 6
    assert trials_of["one"] == trials_of["two"] != trials_of["other"]
    assert trials_of["three"] == trials_of["four"]
    assert not opened(tmp_path / "study.db")


def test_the_default_search_depends_on_the_number_of_points(crossrec, quick, space, tmp_path):
    """A grid of at most --trials points is searched in full, a larger one by optuna."""
    lists = space({"backbone": {"reg": [0.1, 0.2, 0.3]}})
    flags = [*COMMON, "--alignments", "none", "--space", lists]
    assert "grid of 3 settings" in crossrec(*flags, "--out", tmp_path / "a", "--trials", "3").err
    assert "tpe of 2 settings" in crossrec(*flags, "--out", tmp_path / "b", "--trials", "2").err


def test_after_the_timeout_no_trial_is_started(crossrec, quick, space, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr(pool, "train_command", lambda folder, threads: tuning.train(folder, threads, 0.3))
    flags = [*COMMON, "--space", space(SPACE), "--out", out]
    answer = crossrec(*flags, "--timeout", "0.1")
    assert answer.code == 1, "no alignment was tried"
    assert len(trials(out)) == len(tuning.starts(out)) == 1
    assert "bpr + cross: no setting was tried" in answer.out


def test_settings_that_lag_behind_are_stopped(crossrec, quick, space, tmp_path, monkeypatch):
    """The same settings as without, and the same best one; what was stopped is told, has no value, and stays so."""
    rows = "".join(f"{epoch},{{value}}\\n" for epoch in range(1, 12))
    table = f'f"epoch,valid_recall@20\\n{rows}".encode()'
    code = tuning.SCRIPT.replace("encode(metrics)}", f"encode(metrics), 'history.csv': {table}}}")
    monkeypatch.setattr(tuning, "SCRIPT", code)
    values = {"backbone": {"reg": {"low": 0.1, "high": 0.6}}}
    flags = [*COMMON, "--alignments", "none", "--space", space(values), "--search", "tpe", "--trials", "6"]
    out = tmp_path / "out"
    answer = crossrec(*flags, "--prune", "--out", out)
    assert answer.code == 0, answer.err
    rows = trials(out)
    best, expected = -1.0, []
    for row in rows:  # of fewer than six settings the best one goes on
        value = 0.3 - abs(float(row["reg"]) - 0.3) / 10
        expected.append("done" if value >= best or len(expected) == 5 else "stopped early after epoch 10")
        best = max(best, value)
    assert [row["state"] for row in rows[:5]] == expected[:5]
    stopped = sum(row["state"] != "done" for row in rows)
    assert stopped
    assert f"bpr: {stopped} settings were stopped early, as they lagged behind." in answer.out
    assert "have no value" not in answer.out
    assert [row["valid recall@20"] == "" for row in rows] == [row["state"] != "done" for row in rows]
    started = tuning.starts(out)
    again = crossrec(*flags, "--prune", "--out", out)
    assert (again.code, again.out, tuning.starts(out)) == (0, answer.out, started)


def run(out, flags, seconds, **how):
    command = [sys.executable, tuning.__file__, str(seconds), *map(str, flags), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)


@pytest.mark.slow
def test_a_second_command_waits_and_uses_what_the_first_has_trained(space, tmp_path, read):
    # a grid of the backbone's own settings, then optuna on the alignment's, each in two processes at the same time
    out = tmp_path / "out"
    values = SPACE | {"alignment": {"alpha": {"low": 0.001, "high": 1, "log": True}, "beta": [0.1, 1, 10]}}
    flags = [*COMMON, "--space", space(values), "--trials", "8"]
    workers = [run(out, flags, 0.15) for _ in range(2)]
    outputs = [worker.communicate(timeout=120) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    started = tuning.starts(out)
    assert len(set(started)) == len(started), "no trial was made twice"
    assert [name.startswith("bpr-") for name in started].count(True) == 3
    rows = trials(out)
    assert [int(row["trial"]) for row in rows] == [*range(3), *range(8)]
    assert {row["folders"] for row in rows} == set(started)
    assert outputs[0][0] == outputs[1][0], "both print the whole result"
    assert not list(out.glob("**/.lock"))
    values = [float(row["valid recall@20"]) for row in rows]
    assert read(out / "best.json")["alignment"]["alpha"] == float(rows[values.index(max(values))]["alpha"])


@pytest.mark.slow
def test_a_killed_search_goes_on(crossrec, quick, space, tmp_path):
    out = tmp_path / "out"
    values = {"backbone": {"reg": [0.1, 0.2, 0.3, 0.4]}}
    flags = [*COMMON, "--alignments", "none", "--space", space(values), "--search", "tpe"]
    killed = run(out, flags, 60, start_new_session=True)
    until = time.monotonic() + 60
    while not (out / "starts.txt").exists() or not tuning.starts(out):
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    (begun,) = tuning.starts(out)
    assert (out / ".lock").exists()
    assert crossrec(*flags, "--out", out).code == 0
    assert tuning.starts(out).count(begun) == 2
    rows = trials(out)
    assert {row["state"] for row in rows} == {"done"}
    assert rows[0]["folders"] == begun
    assert len(rows) == 4
    assert not list(out.glob("**/.lock"))


@pytest.mark.slow
def test_train_and_compare_take_the_files_of_a_search(crossrec, space, tmp_path, read, content):
    out = tmp_path / "out"
    flags = ["--epochs", "1", "--batch-size", "256", "--device", "cpu", "--threads", "1"]
    (tmp_path / "settings.json").write_text(json.dumps({"bpr": {"backbone": {"dim": 8, "reg": 0.2}}}))
    values = space({"backbone": {"reg": [0.1]}, "cross": {"alpha": [0.3]}})
    answer = crossrec(*COMMON, *flags[:4], "--space", values, "--settings", tmp_path / "settings.json", "--out", out)
    assert answer.code == 0, answer.err
    assert read(out / "settings.json") == {"bpr": {"backbone": {"dim": 8, "reg": 0.1}, "cross": {"alpha": 0.3}}}
    (cell,) = out.glob("bpr+cross*")
    before = content(cell)
    compared = ["compare", "--data", "synthetic-tiny", "--backbones", "bpr", "--alignments", "none", "cross", *flags]
    answer = crossrec(*compared, "--seeds", "0", "--settings", out / "settings.json", "--out", out)
    assert answer.code == 0, answer.err
    assert answer.err.count("done before") == 2, "compare finds the cells of the search"
    with (out / "compare.csv").open(newline="") as file:
        assert [row["trials"] for row in csv.DictReader(file)] == ["1", "1 + 1"]
    assert content(cell) == before
    assert crossrec("train", "--config", out / "best-bpr+cross.json", "--out", tmp_path / "run").code == 0
    ours, theirs = (read(folder / "metrics.json") for folder in (tmp_path / "run", cell))
    assert (ours["valid"], ours["test"]) == (theirs["valid"], theirs["test"])


MISTAKES = {
    "unknown backbone": (["--backbones", "lightgnc"], ["--backbones", "'lightgcn'"]),
    "unknown alignment": (["--alignments", "corss"], ["--alignments", "'cross'"]),
    "unknown search": (["--search", "gird"], ["--search", "gird", "grid"]),
    "unknown space": (["--space", "papr"], ["--space papr", "'paper'"]),
    "no trials": (["--trials", "0"], ["--trials", "0"]),
    "a grid stopped early": (["--prune"], ["--prune, none on lightgcn", "--search tpe"]),
    "no time": (["--timeout", "0"], ["--timeout", "0"]),
    "negative search seed": (["--search-seed", "-1"], ["--search-seed", "-1"]),
    "seed for seeds": (["--seed", "1"], ["--seed", "--seeds"]),
    "no jobs": (["--jobs", "0"], ["--jobs 0"]),
    "no data": (["--data", "nowhere"], ["nowhere"]),
    "a grid of ranges": (["--search", "grid", "--space", "wide"], ["--search grid", "ranges", "tpe"]),
    "a part of a grid": (["--search", "grid", "--trials", "3"], ["--search grid", "points", "--trials"]),
    "no settings": (["--settings", "none.json"], ["--settings none.json"]),
    "no content": (["--backbones", "vbpr", "--modalities"], ["vbpr needs content"]),
    "no content and no modality": (["--backbones", "bpr", "freedom", "--modalities"], ["freedom needs content"]),
    "no such database": (["--search", "tpe", "--storage", "nosql://host/study"], ["--storage nosql://host/study"]),
    "a folder for a storage": (["--search", "tpe", "--storage", "."], ["--storage ."]),
    "out is a file": (["--search", "random", "--out", "a file"], ["a file", "--out"]),
}


@pytest.mark.parametrize(("arguments", "parts"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_error_line_and_writes_nothing(arguments, parts, crossrec, tmp_path):
    here = tmp_path / "here"
    (here / "a file").write_text("text")
    before = sorted(here.rglob("*"))
    common = [*([] if "--data" in arguments else ["--data", "synthetic-tiny"])]
    common += [] if "--out" in arguments else ["--out", "out"]
    answer = crossrec("tune", *common, *arguments)
    assert answer.code == 2, answer
    line = answer.err.splitlines()[-1]
    assert line.startswith("crossrec: error: ")
    for part in parts:
        assert part in line
    assert sorted(here.rglob("*")) == before


def test_data_without_validation_pairs_are_refused(crossrec, mmrec):
    table = mmrec / "shop.inter"
    table.write_text(table.read_text().replace("\t5.0\t1\n", "\t5.0\t0\n"))
    assert "no validation pairs" in crossrec("tune", "--data", mmrec, "--out", "out").mistake


def test_without_content_its_settings_are_not_searched(crossrec, mmrec, tmp_path):
    for file in mmrec.glob("*.npy"):
        file.unlink()
    flags = ["--data", mmrec, "--backbone", "bpr", "--alignments", "cross", "fettle", "--out", "out"]
    answer = crossrec("tune", *flags, "--search", "grid", "--trials", "1")
    assert "cross on bpr: the grid has 243 points" in answer.mistake  # λ_f is out; α is not, because γ is α
    answer = crossrec("tune", *flags[:4], "--alignments", "fettle", "--out", "out", "--search", "grid", "--trials", "1")
    assert "fettle on bpr: the grid has 9 points" in answer.mistake  # neither α nor λ_f


def test_without_optuna_only_tpe_is_refused(crossrec, quick, space, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    flags = [*COMMON, "--alignments", "none", "--space", space(SPACE)]
    answer = crossrec(*flags, "--search", "tpe", "--out", tmp_path / "out")
    assert answer.code == 2
    assert "pip install 'crossrec[tune]'" in answer.err.splitlines()[-1]
    assert not (tmp_path / "out").exists()
    assert crossrec(*flags, "--search", "random", "--trials", "2", "--out", tmp_path / "out").code == 0


def test_optuna_is_imported_lazily():
    for path in Path(proposers.__file__).parents[1].rglob("*.py"):
        tree = ast.parse(path.read_text())
        names = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
        assert not [name for name in names if name.split(".")[0] == "optuna"], path


def test_a_damaged_journal_is_named(crossrec, quick, space, tmp_path):
    journal = tmp_path / "out" / "study" / "journal.log"
    journal.parent.mkdir(parents=True)
    journal.write_text('{"op_code": 0, "wor{"op_code": 4}\n{}\n')
    flags = [*COMMON, "--search", "tpe", "--space", space(SPACE), "--trials", "2", "--out", tmp_path / "out"]
    line = crossrec(*flags).err.splitlines()[-1]
    assert f"{journal}: damaged" in line
    assert "delete it" in line
    journal.unlink()
    assert crossrec(*flags).code == 0
