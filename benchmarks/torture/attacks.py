"""The attacks on commands: kills, full disks, races, and little memory."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.torture.arena import Arena
from benchmarks.torture.process import Command, Ended, Setup, run
from benchmarks.torture.world import Task, tree

_sizes: dict[str, list[int]] = {}
MOUNT = 64 * 2**20
"""Bytes of a small disk that is no longer full."""


def kills(arena: Arena) -> None:
    """Kill a command at a random moment. Then ``out`` is old or new, and a second run ends as if nothing had been."""
    for task, folder in arena.trials():
        _, seconds = arena.whole(task)
        task.set_up(arena.world, folder)
        before = tree(folder / task.out)
        command = Command(task.arguments, folder)
        command.wait(arena.draw.uniform(0, 1.05 * seconds))
        ended = command.kill(children=arena.draw.random() < 0.5)
        arena.saw("killed" if ended.code == -9 else "had ended")
        arena.check_spoken(task, ended)
        arena.check_repeated(task, folder, arena.check_untorn(task, folder, before))


def disks(arena: Arena) -> None:
    """Let the disk fill up, or refuse at one step. The command ends with one line that names the folder."""
    for task, folder in arena.trials():
        how = arena.draw.choice([small_disk, short_files, failing_calls])
        arena.whole(task)
        task.set_up(arena.world, folder)
        before = tree(folder / task.out)
        ended, mend = how(arena, task, folder)
        arena.check_spoken(task, ended)
        if ended.code == 0:
            arena.saw("enough space")
        elif ended.error_line and task.out in ended.error_line and "cannot be written: " in ended.error_line:
            arena.saw("one line")
        elif ended.code == 1 and "failed: " in ended.err:  # of a cell of an experiment, in a process of its own
            arena.saw("a cell failed")
        else:
            arena.fail(task, f"{how.__name__.replace('_', ' ')}: no line that names {task.out}", ended)
        after = arena.check_untorn(task, folder, before)
        mend()
        arena.check_repeated(task, folder, after)
        if os.path.ismount(folder):
            subprocess.run(["umount", "--lazy", folder], check=True)


def small_disk(arena: Arena, task: Task, folder: Path) -> tuple[Ended, Callable[[], object]]:
    """A file system in memory with too few bytes; without the right to mount, a limit on the size of files."""
    used = _pages(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    room = int(arena.draw.uniform(0, 1) * _pages(_sizes_written(arena, task)))
    moved = folder.with_name(folder.name + "-content")
    folder.rename(moved)
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={max(4096, used + room)}", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        folder.rmdir()
        moved.rename(folder)
        return short_files(arena, task, folder)
    shutil.copytree(moved, folder, dirs_exist_ok=True)
    shutil.rmtree(moved)
    remount = ["mount", "-o", f"remount,size={MOUNT}", folder]
    return run(task.arguments, folder), lambda: subprocess.run(remount, check=True)


def short_files(arena: Arena, task: Task, folder: Path) -> tuple[Ended, Callable[[], object]]:
    """A limit on the size of a file, in the middle of one that the command writes."""
    limit = int(arena.draw.uniform(0, 1) * max(_sizes_written(arena, task)))
    return run(task.arguments, folder, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))), lambda: None


def failing_calls(arena: Arena, task: Task, folder: Path) -> tuple[Ended, Callable[[], object]]:
    """An error of the disk at one of the calls that flush, rename or write."""
    name = arena.draw.choice(["fsync", "replace"])
    number, countdown = arena.draw.choice([errno.ENOSPC, errno.EDQUOT, errno.EIO]), [arena.draw.randrange(4)]
    original: Callable[..., Any] = getattr(os, name)

    def fail(*arguments: Any, **options: Any) -> Any:
        countdown[0] -= 1
        if countdown[0] < 0:
            raise OSError(number, os.strerror(number))
        return original(*arguments, **options)

    return run(task.arguments, folder, lambda: setattr(os, name, fail)), lambda: None


def races(arena: Arena) -> None:
    """Start a command twice at once. Each succeeds or is refused in one line, and what is left is whole."""
    for task, folder in arena.trials():
        expected, seconds = arena.whole(task)
        task.set_up(arena.world, folder)
        commands = [Command(task.arguments, folder)]
        commands[0].wait(arena.draw.uniform(0, 0.9 * seconds))
        commands.append(Command(task.arguments, folder))
        endings = [command.wait() or command.kill() for command in commands]
        for ended in endings:
            arena.check_spoken(task, ended)
            arena.saw("succeeded" if ended.code == 0 else "refused" if ended.error_line else "other")
            if ended.code != 0 and not ended.error_line:
                arena.fail(task, "neither success nor one line", ended)
        if all(ended.code != 0 for ended in endings):
            arena.fail(task, "neither of two succeeded", endings[0])
        if tree(folder / task.out) != expected:
            arena.fail(task, "two at once left something else than one", endings[1])


def memory(arena: Arena) -> None:
    """Allow little more memory than the libraries take. The command ends in one line and leaves old or new content."""
    for task, folder in arena.trials():
        arena.whole(task)
        task.set_up(arena.world, folder)
        before = tree(folder / task.out)
        ended = run(task.arguments, folder, _limit_memory(int(arena.draw.uniform(0, 250) * 2**20)))
        arena.check_spoken(task, ended)
        if ended.code == 0:
            arena.saw("enough memory")
        elif ended.error_line:
            arena.saw("one line")
        else:
            arena.fail(task, "no one line", ended)
        arena.check_repeated(task, folder, arena.check_untorn(task, folder, before))


def _limit_memory(extra: int) -> Setup:
    def limit() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + extra,) * 2)

    return limit


def _pages(sizes: Iterable[int]) -> int:
    """Bytes of the pages that files of these sizes take."""
    return sum(-(-size // 4096) * 4096 for size in sizes)


def _sizes_written(arena: Arena, task: Task) -> list[int]:
    """Sizes of the files that the task writes when nothing disturbs it."""
    if task.name not in _sizes:
        folder = arena.world / "sizes"
        task.set_up(arena.world, folder)
        before = tree(folder / task.out)
        run(task.arguments, folder)
        base = folder / task.out if (folder / task.out).is_dir() else folder
        names = [name for name, digest in tree(folder / task.out).items() if before.get(name) != digest or not digest]
        _sizes[task.name] = [(base / name).stat().st_size for name in names]
        shutil.rmtree(folder)
    return _sizes[task.name]
