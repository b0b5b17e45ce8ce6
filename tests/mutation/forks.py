"""Runs the tests that reach a fault, for one fault after another, in forks of a pytest that collected once.

``mutmut run`` collects anew for each fault, runs tests in any order, and limits the time by the clock, so that a busy
machine makes a slow test look like an endless loop. Here fast tests come first, and the limit is processor time.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from mutmut.configuration import config
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.utils.file_utils import setup_source_paths
from mutmut.utils.format_utils import mangled_name_from_mutant_name

SURVIVED, UNTESTED, STOPPED = 0, 33, -signal.SIGKILL
"""Exit codes: tests ran and did not see the fault; no test calls the function; stopped by the clock, or for memory."""
SECONDS, FACTOR = 20, 10
"""A fault may take this processor time, and so many times what its tests took without it."""
WAIT = 20 * 60
"""Seconds by the clock after which a fault is stopped."""
MEMORY = 16 << 30
"""Bytes of addresses that a fault may take."""


def run_tests(names: Iterable[str], record: Callable[[str, int], None]) -> None:
    """Run the tests that reach each fault; ``record``: called with its name and exit code, 0 where no test saw it."""
    setup_source_paths()
    set_mutant_under_test("")
    root = Path.cwd()
    os.chdir("mutants")
    settings = config()
    options = ["--rootdir=.", "--tb=no", "--timeout=0", "-x", *settings.pytest_add_cli_args]
    try:
        code = pytest.main([*options, *settings.pytest_add_cli_args_test_selection], plugins=[_Forks(names, record)])
    finally:
        os.chdir(root)
    if code:
        sys.exit(f"pytest could not collect the tests: exit code {code}")


class _Forks:
    """Plugin of pytest."""

    def __init__(self, names: Iterable[str], record: Callable[[str, int], None]) -> None:
        self.names, self.record = names, record
        measured = json.loads(Path("mutmut-stats.json").read_text(encoding="utf-8"))
        self.tests: dict[str, list[str]] = measured["tests_by_mangled_function_name"]
        self.seconds: dict[str, float] = measured["duration_by_test"]

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if any(path.read_text().startswith("polars-0") for path in Path("/proc/self/task").glob("*/comm")):
            sys.exit("a test module uses polars while it is imported: after that, polars waits for ever in a fork")
        session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # one folder for all forks
        items = sorted(session.items, key=self._order(session.items))
        for name in self.names:
            reach = set(self.tests.get(mangled_name_from_mutant_name(name), ()))
            chosen = [item for item in items if item.nodeid in reach]
            self.record(name, self._fork(name, chosen) if chosen else UNTESTED)
        return True

    def _order(self, items: list[pytest.Item]) -> Callable[[pytest.Item], tuple[bool, float, str]]:
        """By time; tests that share what is set up once for a file stay together and come last."""
        of_file: dict[str, float] = {}
        for item in items:
            of_file[item.path.name] = of_file.get(item.path.name, 0.0) + self.seconds.get(item.nodeid, 0.0)

        def key(item: pytest.Item) -> tuple[bool, float, str]:
            definitions = item._fixtureinfo.name2fixturedefs.values()  # type: ignore[attr-defined]
            if any(fixture.scope == "module" for several in definitions for fixture in several):
                return True, of_file[item.path.name], item.path.name
            return False, self.seconds.get(item.nodeid, 0.0), ""

        return key

    def _fork(self, name: str, items: list[pytest.Item]) -> int:
        child = os.fork()
        if not child:
            code = 3
            try:
                used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
                limit = int(used + SECONDS + FACTOR * sum(self.seconds.get(item.nodeid, 0.0) for item in items))
                resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
                set_mutant_under_test(name)
                code = _code(items)
            finally:
                os._exit(code)
        return _wait(child)


def _code(items: list[pytest.Item]) -> int:
    session = items[0].session
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return 1
    return SURVIVED


def _wait(child: int) -> int:
    def kill(*_: object) -> None:
        os.kill(child, signal.SIGKILL)

    previous = signal.signal(signal.SIGALRM, kill)
    signal.alarm(WAIT)
    _, status = os.waitpid(child, 0)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)
    return os.waitstatus_to_exitcode(status)
