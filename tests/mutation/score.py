"""Lists the small faults that no test noticed after ``mutmut run``, and the share of faults that tests noticed.

``equivalent.toml`` names changes that are no fault, with the reason; they are neither listed nor counted. The exit code
is 1 below 95 %. Run by ``make mutate`` in the repository.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

from mutmut.mutation.diff_apply import get_diff_for_mutant

REQUIRED = 0.95
SURVIVED, UNTESTED = 0, 33
"""Exit codes of a fault that tests ran with and did not see, and of one in a function that no test calls."""


def main() -> int:
    known = tomllib.loads((Path(__file__).parent / "equivalent.toml").read_text(encoding="utf-8"))["equivalent"]
    seen, missed, equivalent = Counter[str](), Counter[str](), Counter[str]()
    for path in sorted(Path("mutants/src").rglob("*.meta")):
        module = str(path.relative_to("mutants/src")).removesuffix(".py.meta")
        for name, code in json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"].items():
            if code not in (SURVIVED, UNTESTED):
                seen[module] += code is not None
                continue
            change = _change(name)
            if any(fnmatch(name, entry["where"]) and re.search(entry["change"], change) for entry in known):
                equivalent[module] += 1
                continue
            missed[module] += 1
            print(f"{name}{' (no test calls this)' if code == UNTESTED else ''}\n{change}\n")
    for module in sorted(seen | missed):
        counts = seen[module], seen[module] + missed[module], equivalent[module]
        print("{}: {} of {} seen, {} equivalent".format(module, *counts))
    share = seen.total() / max(1, seen.total() + missed.total())
    print(
        f"{seen.total()} of {seen.total() + missed.total()} faults seen: {share:.1%}; {equivalent.total()} equivalent"
    )
    return int(share < REQUIRED)


def _change(name: str) -> str:
    """Removed and added lines."""
    lines = get_diff_for_mutant(name).splitlines()
    return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))


if __name__ == "__main__":
    sys.exit(main())
