"""Lists in blocks: the same as in one process, and made once. A stand-in for Ray; tests/cluster has the real one."""

from __future__ import annotations

import pickle
import sys
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from crossrec.cli import main
from crossrec.cluster import ClusterConfig
from crossrec.errors import ConfigError, DataError, RunError
from crossrec.recommend import Recommender, blocks
from crossrec.recommend.blocks import write_blocks

CLUSTER = ClusterConfig(cluster="auto")


class LostError(Exception):
    """As ``RayError``."""


@pytest.fixture
def calls(monkeypatch):
    """Ray whose tasks run at once in this process; what is put is pickled, as there. The rows of each task."""
    rows = []

    def remote(**resources):
        assert resources == {"num_cpus": 1, "num_gpus": 0.0}

        def call(shared, k, block, threads, options):
            rows.append(block.tolist())
            monkeypatch.setattr(blocks.torch, "set_num_threads", lambda threads: None)
            return (len(rows), blocks.list_block(shared, k, block, threads, options))

        return lambda function: SimpleNamespace(remote=call)

    ray = SimpleNamespace(
        is_initialized=lambda: True,
        nodes=lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}],
        put=lambda value: pickle.dumps(value),
        get=lambda item: pickle.loads(item) if isinstance(item, bytes) else item.value,  # noqa: S301
        remote=lambda **resources: (
            lambda function: SimpleNamespace(
                remote=lambda *given: Task(remote(**resources)(function).remote(*given)[1])
            )
        ),
        wait=lambda tasks, timeout: (tasks[-1:], tasks[:-1]),  # the last one first
        cancel=lambda task: None,
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", SimpleNamespace(RayError=LostError))
    monkeypatch.setattr(blocks, "CHUNKS", 1)
    monkeypatch.setattr(blocks, "users_per_chunk", lambda items, k: 4)
    blocks._opened.cache_clear()
    return rows


class Task:
    """A task that has ended."""

    def __init__(self, value):
        self.value = value


@pytest.fixture(scope="module")
def recommender():
    rng = np.random.default_rng(0)
    pairs = {(f"u{user}", f"i{item}") for user, item in rng.integers(0, (10, 30), (90, 2)).tolist()}
    frame = pl.DataFrame(sorted(pairs), schema=["user", "item"], orient="row")
    return Recommender.fit(frame, backbone="bpr", alignment="none", epochs=1, device="cpu")


def read(paths):
    return pl.concat([pl.read_parquet(path) for path in paths])


def test_the_blocks_are_the_lists_of_one_process(calls, recommender, tmp_path):
    counts = []
    paths = write_blocks(recommender, 5, tmp_path / "out", CLUSTER, on_block=counts.append)
    assert [path.name for path in paths] == ["lists-00000.parquet", "lists-00001.parquet", "lists-00002.parquet"]
    assert sorted(counts) == [2, 4, 4]
    assert read(paths).equals(recommender.recommend(k=5))
    options = {"exclude_seen": False, "deny": ["i1", "i2"], "diversity": 0.3}
    paths = write_blocks(recommender, 3, tmp_path / "other", CLUSTER, users=["u7", "u1"], **options)
    assert read(paths).equals(recommender.recommend(["u7", "u1"], k=3, **options))


def test_blocks_that_are_there_are_not_made_again(calls, recommender, tmp_path):
    paths = write_blocks(recommender, 5, tmp_path, CLUSTER)
    paths[1].unlink()
    calls.clear()
    counts = []
    assert write_blocks(recommender, 5, tmp_path, CLUSTER, on_block=counts.append) == paths
    assert calls == [[4, 5, 6, 7]]
    assert counts == [4, 2, 4]
    assert read(paths).equals(recommender.recommend(k=5))


def test_blocks_of_other_lists_are_refused(calls, recommender, tmp_path):
    write_blocks(recommender, 5, tmp_path / "out", CLUSTER)
    before = sorted(tmp_path.rglob("*"))
    for k, options in ((6, {}), (5, {"users": ["u1"]}), (5, {"exclude_seen": False}), (5, {"deny": ["i1"]})):
        with pytest.raises(ConfigError, match="other users or other options; give another --out"):
            write_blocks(recommender, k, tmp_path / "out", CLUSTER, **options)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds 'a.txt', which is no block of lists"):
        write_blocks(recommender, 5, tmp_path / "notes", CLUSTER)
    with pytest.raises(DataError, match="i999"):
        write_blocks(recommender, 5, tmp_path / "new", CLUSTER, allow=["i999"], unknown="error")
    assert not (tmp_path / "new").exists()
    assert [path for path in sorted(tmp_path.rglob("*")) if "notes" not in str(path)] == before


def test_a_task_that_fails_is_named_and_the_others_stay(calls, recommender, tmp_path, monkeypatch):
    def get(item):
        if isinstance(item, bytes):
            return pickle.loads(item)  # noqa: S301
        if item.value["user"][0] == "u4":
            raise LostError("The node died.\nA long story.")
        return item.value

    monkeypatch.setattr(sys.modules["ray"], "get", get)
    with pytest.raises(RunError, match=r"lists-00001.parquet: its task failed \(The node died.\); the same command"):
        write_blocks(recommender, 5, tmp_path, CLUSTER)
    monkeypatch.undo()
    assert {path.name for path in tmp_path.iterdir()} == {"lists.json", "lists-00002.parquet"}


def test_the_command(calls, recommender, tmp_path, capsys):
    recommender.save(tmp_path / "run")
    command = ["recommend", str(tmp_path / "run"), "--k", "3", "--seen", "--cluster", "auto"]
    assert main([*command, "--out", str(tmp_path / "lists")]) == 0
    assert capsys.readouterr().out.split() == [f"{tmp_path / 'lists'}:", "3", "files"]
    paths = sorted((tmp_path / "lists").glob("*.parquet"))
    assert read(paths).equals(recommender.recommend(k=3, exclude_seen=False))
    for flags, message in (
        ((), "give --out FOLDER"),
        (("--out", "lists", "--history", "i1"), "no --history"),
        (("--out", "lists", "--fallback", "popular"), "--fallback"),
        (("--out", "lists.parquet"), "lists.parquet: with --cluster it is a folder"),
    ):
        assert main([*command, *flags]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
