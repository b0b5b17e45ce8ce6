"""Mutation score: plants small faults with mutmut, a random sample of each package, and says which no test sees.

``python tests/mutation/score.py --sample 60 --seed 0`` draws the faults, runs the tests that reach them, and lists the
survivors; ``--sample 0`` runs none and lists those of all earlier samples; ``--packages`` limits it to some. Results
stay in the folder ``mutants/``: a fault that was seen is not tried again. ``equivalent.toml`` names changes that are no
fault, with the reason; they are neither listed nor counted. The exit code is 1 if a package is below 95 %. Run by
``make mutate`` in the repository.
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
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from forks import STOPPED, SURVIVED, UNTESTED, run_tests
from mutmut.mutation.diff_apply import get_diff_for_mutant

REQUIRED = 0.95
NOTES = {SURVIVED: "", UNTESTED: " (no test calls this)", STOPPED: " (stopped by the clock, or for memory)"}
"""Exit codes of a fault that was not seen."""
PACKAGES = {"sampling": "training", "objective": "training", "data": "splits"}
"""Where a module's faults count, if not under the first part of its name below crossrec."""
EQUIVALENT = tomllib.loads((Path(__file__).parent / "equivalent.toml").read_text(encoding="utf-8"))["equivalent"]
ROOT = Path.cwd()
MUTMUT = (Path(sys.executable).with_name("mutmut"), "run", "--max-children", "1")
FIRST = "crossrec.alignment.registry.*"
"""Three faults: mutmut writes those of all packages, and finds out which tests reach them, on its first run."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=60, help="faults of each package")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--packages", nargs="*", help="alignment, data, ...; default: all")
    options = parser.parse_args()
    if options.sample:
        subprocess.run([*MUTMUT, FIRST], check=True)
    results = {name: codes for name, codes in _results().items() if name in (options.packages or _results())}
    drawn = {name: _drawn(name, codes, options.sample, options.seed) for name, codes in results.items()}
    if options.sample:
        names = [n for name, codes in results.items() for n in drawn[name] if codes[n] in (None, *NOTES)]
        run_tests([name for name in names if not _is_equivalent(name)], _record)
    return _report(drawn)


def _results() -> dict[str, dict[str, int | None]]:
    """By package, the exit code of each fault, None where it was not tried."""
    results: dict[str, dict[str, int | None]] = {}
    for path in sorted(Path("mutants/src").rglob("*.meta")):
        part = path.relative_to("mutants/src/crossrec").parts[0].removesuffix(".py.meta")
        codes = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        results.setdefault(PACKAGES.get(part, part), {}).update(codes)
    return results


def _source(name: str) -> Path:
    """The file of a fault, from the folder of the project."""
    module = Path("src", *name.split(".")[:-1])
    return next(p for p in (module.with_suffix(".py"), module / "__init__.py") if (ROOT / p).exists())


def _record(name: str, code: int) -> None:
    """Keep the exit code of a fault where mutmut keeps it."""
    path = ROOT / "mutants" / f"{_source(name)}.meta"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["exit_code_by_key"][name] = code
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(data, indent=4), encoding="utf-8")
    draft.replace(path)
    print(f"{code:4} {name}", file=sys.__stderr__, flush=True)


def _drawn(package: str, codes: Iterable[str], count: int, seed: int) -> list[str]:
    """Names of up to ``count`` faults of a package, all for 0; the first of a larger sample are a smaller one."""
    faults = sorted(codes)
    random.Random(f"{seed} {package}").shuffle(faults)
    return faults[: count or None]


def _report(drawn: Mapping[str, Sequence[str]]) -> int:
    """Print the survivors and the share of faults seen in each package; 1 if one is below what is required."""
    counts = Counter[tuple[str, str]]()
    results = _results()
    for package, names in drawn.items():
        for name in names:
            code = results[package][name]
            kind = "untried" if code is None else "seen"
            if code in (None, *NOTES) and _is_equivalent(name):
                kind = "equivalent"
            elif code in NOTES:
                kind = "missed"
                print(f"{name}{NOTES[code]}\n{_change(name)}\n")
            counts[package, kind] += 1
    shares = []
    for package in drawn:
        seen, missed, equivalent = (counts[package, kind] for kind in ("seen", "missed", "equivalent"))
        if seen + missed:
            shares.append(seen / (seen + missed))
            print(f"{package}: {seen} of {seen + missed} faults seen, {shares[-1]:.1%}; {equivalent} equivalent")
    return int(min(shares, default=1.0) < REQUIRED)


def _is_equivalent(name: str) -> bool:
    """Whether ``equivalent.toml`` names the change."""
    return any(fnmatch(name, e["where"]) and re.search(e["change"], _change(name)) for e in EQUIVALENT)


@cache
def _change(name: str) -> str:
    """Removed and added lines."""
    lines = get_diff_for_mutant(name, path=_source(name)).splitlines()
    return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))


if __name__ == "__main__":
    sys.exit(main())
