"""The wheel holds every module, the page, the templates and the metadata; the source distribution what builds it."""

from __future__ import annotations

import email
import tarfile
import tomllib
import zipfile

import pytest

import crossrec

from .build import ROOT, build

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
pytest.importorskip("setuptools", minversion="77")


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
    metadata = email.message_from_string(wheel.read(name).decode())
    assert metadata["Name"] == "crossrec"
    assert metadata["Version"] == crossrec.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Author"] == "The crossrec authors"
    assert set(metadata["Keywords"].split(",")) == set(PROJECT["keywords"])
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    assert len(metadata.get_all("Project-URL")) == len(PROJECT["urls"]) >= 2
    assert metadata.get_payload().startswith("# crossrec")
    folder = name.rpartition("/")[0]
    assert "crossrec = crossrec.cli:main" in wheel.read(f"{folder}/entry_points.txt").decode()
    assert f"{folder}/licenses/LICENSE" in wheel.namelist()


def test_the_source_distribution_builds_and_tests_without_git(tmp_path):
    with tarfile.open(build("sdist", tmp_path)) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", "constraints.txt"} <= names
    assert {"src/crossrec/cli.py", "tests/packaging/build.py", "docs/paper-map.md", "examples/own_loop.py"} <= names
    assert not {name for name in names if name.endswith(".pyc") or "_build" in name}
