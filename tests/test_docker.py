"""The Dockerfile copies files that exist, and its commands and those of the compose file are commands of crossrec."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from crossrec.cli import app

ROOT = Path(__file__).resolve().parents[1]
LINES = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()


def test_every_instruction_is_one_of_docker():
    names = {"FROM", "ARG", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    lines = [line for line in LINES if line and not line.startswith(("#", " "))]
    assert {line.split()[0] for line in lines} <= names
    assert lines[0].startswith("FROM ")


def test_what_is_copied_exists_and_is_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text().split()
    for line in LINES:
        if line.startswith("COPY "):
            for name in line.split()[1:-1]:
                assert (ROOT / name).exists(), name
                assert f"!{name}" in ignored, name


def test_the_extras_exist():
    text = (ROOT / "pyproject.toml").read_text()
    for extras in re.findall(r"\[([a-z,]+)\]\"", "\n".join(LINES)):
        assert all(f"\n{extra} = [" in text for extra in extras.split(","))


def commands():
    entry = next(json.loads(line.removeprefix("CMD ")) for line in LINES if line.startswith("CMD "))
    return [entry, *map(json.loads, re.findall(r"command: (.*)", (ROOT / "compose.yaml").read_text()))]


@pytest.mark.parametrize("command", commands(), ids=lambda command: command[0])
def test_the_commands_exist(command, capsys):
    flags = [word for word in command if word.startswith("--")]
    app([command[0], "--help"], result_action="return_value")
    text = capsys.readouterr().out
    for flag in flags:
        assert flag in text, flag
