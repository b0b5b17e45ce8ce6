"""The wheel holds every module, the page, the templates and the metadata; the source distribution what builds it."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from importlib import metadata

import pytest

import crossrec
from crossrec.cli import main

from .build import BUILD, ROOT, build

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, RELEASE = SETTINGS["project"], SETTINGS["tool"]["setuptools_scm"]["fallback_version"]
pytest.importorskip("setuptools", minversion="77")
pytest.importorskip("setuptools_scm", minversion="8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    with zipfile.ZipFile(build("wheel", tmp_path_factory.mktemp("wheel"))) as file:
        yield file


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(wheel):
    source = ROOT / "src"
    expected = {
        str(path.relative_to(source))
        for path in (source / "crossrec").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == expected
    assert {"crossrec/py.typed", "crossrec/serving/static/index.html"} <= packed


def test_the_metadata(wheel):
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    fields = email.message_from_string(wheel.read(name).decode())
    assert fields["Name"] == "crossrec"
    assert fields["Version"] == RELEASE
    assert fields["License-Expression"] == "Apache-2.0"
    assert fields["Author"] == "The crossrec authors"
    assert set(fields["Keywords"].split(",")) == set(PROJECT["keywords"])
    assert set(fields.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    assert len(fields.get_all("Project-URL")) == len(PROJECT["urls"]) >= 2
    assert fields.get_payload().startswith("# crossrec")
    folder = name.rpartition("/")[0]
    assert "crossrec = crossrec.cli:main" in wheel.read(f"{folder}/entry_points.txt").decode()
    assert f"{folder}/licenses/LICENSE" in wheel.namelist()


def test_the_version_is_that_of_the_tag(tmp_path):
    """At the tag its own; a commit later a development version of the next; in a clone without tags no release."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    (tmp_path / "src" / "crossrec").mkdir(parents=True)
    (tmp_path / "src" / "crossrec" / "__init__.py").touch()
    environment = os.environ | dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "n")
    environment |= dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "n@example.org")

    environment.pop("SETUPTOOLS_SCM_PRETEND_VERSION", None)

    def call(*command, folder=tmp_path):
        return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout

    def version(folder=tmp_path):
        with tempfile.TemporaryDirectory() as out:
            wheel = call(sys.executable, "-W", "ignore", "-c", BUILD, "wheel", out, folder=folder).splitlines()[-1]
        return wheel.split("-")[1]

    call("git", "init", "-q")
    call("git", "add", "pyproject.toml", "src")
    call("git", "commit", "-qm", "one")
    call("git", "tag", "v1.2.3")
    assert version() == "1.2.3"
    call("git", "commit", "-qm", "two", "--allow-empty")
    assert version().startswith("1.2.4.dev1+g")
    call("git", "clone", "-q", "--depth=1", "--no-tags", f"file://{tmp_path}", str(tmp_path / "shallow"))
    assert ".dev" in version(tmp_path / "shallow")


def test_the_package_says_its_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == crossrec.__version__ == metadata.version("crossrec")


def test_the_source_distribution_builds_and_tests_without_git(tmp_path):
    with tarfile.open(build("sdist", tmp_path)) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", "constraints.txt"} <= names
    assert {"src/crossrec/cli.py", "tests/packaging/build.py", "docs/paper-map.md", "examples/own_loop.py"} <= names
    assert not {name for name in names if name.endswith(".pyc") or "_build" in name}
