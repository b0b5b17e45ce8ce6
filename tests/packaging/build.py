"""Build the wheel and the source distribution of a copy of the tree: ``python tests/packaging/build.py OUT``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("src", "docs", "examples", "benchmarks", "tests")
FILES = (
    *("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md"),
    *("SECURITY.md", "Makefile", "constraints.txt"),
)
BUILD = "import sys, setuptools.build_meta as build; print(getattr(build, 'build_' + sys.argv[1])(sys.argv[2]))"


def build(kind: str, out: Path) -> Path:
    """Build a ``wheel`` or an ``sdist`` into ``out`` with the installed setuptools; its path. Needs no git."""
    out.mkdir(parents=True, exist_ok=True)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "_build")
    with tempfile.TemporaryDirectory() as copy:
        for part in PARTS if kind == "sdist" else PARTS[:1]:
            shutil.copytree(ROOT / part, Path(copy) / part, ignore=ignored)
        for name in FILES:
            shutil.copyfile(ROOT / name, Path(copy) / name)
        command = [sys.executable, "-W", "ignore", "-c", BUILD, kind, str(out.absolute())]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False, env=dict(os.environ))
    if done.returncode:
        raise RuntimeError(done.stderr)
    return out / done.stdout.splitlines()[-1]


if __name__ == "__main__":
    for kind_of_package in ("wheel", "sdist"):
        print(build(kind_of_package, Path(sys.argv[1])))
