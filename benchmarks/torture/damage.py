"""The attacks on files: what was altered is refused by name, never taken for what was written."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.torture.arena import Arena
from benchmarks.torture.process import Command, run
from benchmarks.torture.world import Task, tree


def mutations(arena: Arena) -> None:
    """Alter one file of a run, a checkpoint, features, an experiment's answer or a log; each kind in turn."""
    kinds: list[tuple[str, Callable[[Arena, Task, Path], None]]] = [
        ("recommend --out", finished_run),
        ("export", finished_run),
        ("train", finished_run),
        ("train", unfinished_run),
        ("features", features),
        ("report", answer),
        ("import", log),
    ]
    tasks = {task.name: task for task in arena.tasks}
    kinds = [(name, kind) for name, kind in kinds if name in tasks]  # features need a vocabulary, which may be missing
    for number, (_, folder) in enumerate(arena.trials(arena.tasks[:1])):
        name, kind = kinds[number % len(kinds)]
        folder.mkdir()
        kind(arena, tasks[name], folder)


def finished_run(arena: Arena, task: Task, folder: Path) -> None:
    """Whatever opens a run refuses it and names the file."""
    copy = folder / "run"
    shutil.copytree(arena.world / "run", copy)
    arguments = [copy if argument == arena.world / "run" else argument for argument in task.arguments]
    _expect_refusal(arena, task, arguments, folder, arena.draw.choice(sorted(copy.iterdir())))


def unfinished_run(arena: Arena, task: Task, folder: Path) -> None:
    """A training that was killed either refuses to go on, and names the file, or ends as if nothing had been."""
    expected, seconds = arena.whole(task)
    command = Command(task.arguments, folder)
    command.wait(arena.draw.uniform(0.3, 0.9) * seconds)
    command.kill()
    files = [path for path in sorted((folder / "run").rglob("*")) if path.is_file() and path.stat().st_size]
    if not files:
        arena.saw("not altered")
        return
    path = arena.draw.choice(files)
    how = alter(path, arena.draw)
    ended = run(task.arguments, folder)
    arena.check_spoken(task, ended)
    if ended.error_line and path.name in ended.error_line:
        arena.saw("refused")
    elif ended.code == 0 and tree(folder / "run") == expected:
        arena.saw("not needed")
    else:
        arena.fail(task, f"{path.name} {how}: neither refused by name nor without effect", ended)


def features(arena: Arena, task: Task, folder: Path) -> None:
    """A feature file that has a card, or its card, is refused."""
    shutil.copytree(arena.world / "with-features", folder / "shop")
    path = folder / "shop" / arena.draw.choice(["text_feat.npy", "text_feat.json"])
    _expect_refusal(arena, task, ("data", "validate", "--data", "shop"), folder, path, may_be_gone=True)


def answer(arena: Arena, task: Task, folder: Path) -> None:
    """The JSON file of an experiment's answer is refused by the report."""
    shutil.copytree(arena.world / "compared", folder / "compared")
    _expect_refusal(arena, task, task.arguments, folder, folder / "compared" / "compare.json", may_be_gone=True)


def log(arena: Arena, task: Task, folder: Path) -> None:
    """A log of text is read as Python's csv module reads it, or refused by name."""
    shutil.copytree(arena.world / "shop", folder / "shop")
    path = folder / "shop" / "interactions.csv"
    how = alter(path, arena.draw)
    ended = run(["data", "import", folder / "shop", "--out", "data"], folder)
    arena.check_spoken(task, ended)
    if ended.error_line and (path.name in ended.error_line or not path.exists()):
        arena.saw("refused")
    elif ended.code != 0 or not path.exists():
        arena.fail(task, f"{path.name} {how}: no line that names it", ended)
    elif (pairs := _imported(folder)) != (expected := _read_by_python(path)):
        odd = sorted(pairs ^ expected)[:3]
        arena.fail(task, f"{path.name} {how}: other pairs than in the file, such as {odd}", ended)
    else:
        arena.saw("read right")


def _expect_refusal(
    arena: Arena, task: Task, arguments: Sequence[object], folder: Path, path: Path, *, may_be_gone: bool = False
) -> None:
    before = path.read_bytes()
    how = alter(path, arena.draw)
    ended = run(arguments, folder)
    arena.check_spoken(task, ended)
    if path.exists() and path.read_bytes() == before:
        arena.saw("not altered")
    elif may_be_gone and not path.exists():
        arena.saw("gone")
    elif ended.error_line and path.name in ended.error_line:
        arena.saw("refused")
    else:
        arena.fail(task, f"{path.name} {how}: not refused by name", ended)


def alter(path: Path, draw: random.Random) -> str:
    """Damage a file in one of the ways of disks and of people; returns how."""
    content = bytearray(path.read_bytes())
    position = draw.randrange(len(content))
    how = draw.choice(["a bit", "bytes", "cut", "longer", "empty", "zeros", "moved", "gone"])
    if how == "a bit":
        content[position] ^= 1 << draw.randrange(8)
    elif how == "bytes":
        content[position : position + 8] = draw.randbytes(8)
    elif how == "cut":
        del content[position:]
    elif how == "longer":
        content += content[:position] or b"x"
    elif how == "empty":
        content.clear()
    elif how == "zeros":
        content[position : position + 512] = bytes(len(content[position : position + 512]))
    elif how == "moved":
        content = content[position:] + content[:position]
    path.unlink()
    if how != "gone":
        path.write_bytes(content)
    return f"{how} at {position}"


def _read_by_python(path: Path) -> set[tuple[str, str]]:
    """The pairs of the columns ``user`` and ``item``; empty where the file is not such a table."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        header, *rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
        user, item = header.index("user"), header.index("item")
        return {(row[user], row[item]) for row in rows}
    except (ValueError, IndexError, csv.Error):
        return set()


def _imported(folder: Path) -> set[tuple[str, str]]:
    ended = run([], folder, _print_pairs)
    return {(user, item) for user, item in json.loads(ended.out)}


def _print_pairs() -> None:
    import polars as pl

    frame = pl.read_parquet("data/interactions.parquet").select("user", "item").cast(pl.String)
    os.write(1, json.dumps(frame.rows()).encode())
    os._exit(0)
