"""Mutation score: plants small faults with mutmut, a random sample of each package, and says which no test sees.

``python tests/mutation/score.py --sample 60 --seed 0`` draws the faults, runs the tests that reach them, and lists the
survivors; ``--sample 0`` runs none and lists what ``mutmut run`` has left. Results stay in the folder ``mutants/``.
``equivalent.toml`` names changes that are no fault, with the reason; they are neither listed nor counted. The exit code
is 1 if a package is below 95 %. Run by ``make mutate`` in the repository.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tomllib
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

from mutmut.mutation.diff_apply import get_diff_for_mutant

REQUIRED = 0.95
SURVIVED, UNTESTED = 0, 33
"""Exit codes of a fault that tests ran with and did not see, and of one in a function that no test calls."""
PACKAGES = {"sampling": "training", "objective": "training", "data": "splits"}
"""Where a module's faults count, if not under the first part of its name below crossrec."""
MUTMUT = (Path(sys.executable).with_name("mutmut"), "run", "--max-children", "1")
FIRST = "crossrec.alignment.registry.*"
"""Three faults: mutmut writes those of all packages, and finds out which tests reach them, on its first run."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=60, help="faults of each package")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.sample:
        subprocess.run([*MUTMUT, FIRST], check=True)
        subprocess.run([*MUTMUT, *_drawn(options.sample, options.seed)], check=True)
    return _report()


def _results() -> dict[str, dict[str, int | None]]:
    """By package, the exit code of each fault, None where it was not tried."""
    results: dict[str, dict[str, int | None]] = {}
    for path in sorted(Path("mutants/src").rglob("*.meta")):
        part = path.relative_to("mutants/src/crossrec").parts[0].removesuffix(".py.meta")
        codes = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        results.setdefault(PACKAGES.get(part, part), {}).update(codes)
    return results


def _drawn(count: int, seed: int) -> list[str]:
    """Names of up to ``count`` faults of each package; the first of a larger sample are those of a smaller one."""
    names = []
    for package, codes in _results().items():
        faults = sorted(codes)
        random.Random(f"{seed} {package}").shuffle(faults)
        names += faults[:count]
    return names


def _report() -> int:
    """Print the survivors and the share of faults seen in each package; 1 if one is below what is required."""
    known = tomllib.loads((Path(__file__).parent / "equivalent.toml").read_text(encoding="utf-8"))["equivalent"]
    counts = Counter[tuple[str, str]]()
    for package, codes in _results().items():
        for name, code in codes.items():
            kind = "untried" if code is None else "seen"
            if code in (SURVIVED, UNTESTED):
                change = _change(name)
                equivalent = any(fnmatch(name, e["where"]) and re.search(e["change"], change) for e in known)
                kind = "equivalent" if equivalent else "missed"
                if not equivalent:
                    print(f"{name}{' (no test calls this)' if code == UNTESTED else ''}\n{change}\n")
            counts[package, kind] += 1
    shares = []
    for package in _results():
        seen, missed, equivalent = (counts[package, kind] for kind in ("seen", "missed", "equivalent"))
        if seen + missed:
            shares.append(seen / (seen + missed))
            print(f"{package}: {seen} of {seen + missed} faults seen, {shares[-1]:.1%}; {equivalent} equivalent")
    return int(min(shares, default=1.0) < REQUIRED)


def _change(name: str) -> str:
    """Removed and added lines."""
    lines = get_diff_for_mutant(name).splitlines()
    return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))


if __name__ == "__main__":
    sys.exit(main())
