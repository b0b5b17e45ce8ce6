"""Start-up: which modules help and imports load, exit codes, warnings."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "polars", "scipy", "matplotlib", "pandas", "sklearn", "sparse_dot_topn")
LISTING = "import json, sys; print(); print(json.dumps(sorted(m for m in sys.modules if '.' not in m)))"


def loaded(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", f"{code}\n{LISTING}"], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], [], ["data", "--help"]], ids=lambda a: " ".join(a))
def test_help_loads_nothing_heavy(arguments):
    modules = loaded(f"from crossrec.cli import main; main({arguments})")
    assert "cyclopts" in modules
    assert modules & set(HEAVY) == set()


def test_importing_the_package_loads_no_torch():
    assert "torch" not in loaded("import crossrec; crossrec.__version__")
    modules = loaded("import crossrec; crossrec.Batch; crossrec.Representations")
    assert "torch" in modules
    assert "polars" not in modules


def test_running_as_a_module_returns_the_exit_code(tmp_path):
    command = [sys.executable, "-m", "crossrec", "train", "--data", "nowhere", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("crossrec: error: --data 'nowhere'")
    assert list(tmp_path.iterdir()) == []


def test_warnings_are_one_line_each(tmp_path):
    # user b knows both items that are seen in training
    (tmp_path / "log.csv").write_text("user,item,split\na,x,train\nb,x,train\nb,y,train\na,y,test\nc,y,train\n")
    command = [sys.executable, "-m", "crossrec", "train", "--data", "log.csv", "--epochs", "1", "--out", "out"]
    done = subprocess.run([*command, "--alignment", "none"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "warning" in line]
    assert warnings == ["crossrec: warning: 2 training pairs of users who know every item are not trained on"]
