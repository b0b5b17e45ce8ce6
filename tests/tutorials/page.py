"""Run the code blocks of a page in order, in one folder and one shell, and compare their output with the page."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TIMEOUT = 800
"""Seconds for a page."""


@dataclass(frozen=True)
class Block:
    """A code block. ``language``: "sh" and "python" run; "" is the output of the block before; others do not run."""

    language: str
    content: str


def blocks_of(text: str) -> list[Block]:
    return [Block(language, content) for language, content in BLOCK.findall(text)]


def run_page(page: Path, folder: Path, tools: Path, replacements: Mapping[str, str]) -> list[str]:
    """The output of every block that runs, in order. Raises AssertionError for one that fails.

    ``replacements``: text of the page (names of models on the hub, a port) and what to put in its place; each must
    occur. Asserts that the output blocks of the page agree with the commands' output, except for numbers.
    """
    text = page.read_text(encoding="utf-8")
    for old, new in replacements.items():
        assert old in text, f"{page.name}: no {old}"
        text = text.replace(old, new)
    blocks = blocks_of(text)
    folder.mkdir()
    output_folder = folder.with_name(f"{folder.name}-output")
    output_folder.mkdir()
    script = ["set -euo pipefail", "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT"]
    for number, block in enumerate(blocks):
        if block.language not in ("sh", "python"):
            continue
        script.append(f'exec > "{output_folder}/{number}" 2>&1')
        if block.language == "python":
            (output_folder / f"{number}.py").write_text(block.content, encoding="utf-8")
        script.append(block.content if block.language == "sh" else f'python "{output_folder}/{number}.py"')
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CROSSREC_")}
    environment |= {"PATH": f"{tools}:{environment['PATH']}", "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    process = subprocess.run(
        ["bash", "-c", "\n".join(script)], cwd=folder, env=environment, timeout=TIMEOUT, check=False
    )
    outputs = {int(file.name): file.read_text(encoding="utf-8") for file in output_folder.iterdir() if not file.suffix}
    last = max(outputs, default=-1)
    assert process.returncode == 0, f"{page.name}:\n{blocks[last].content}\n{outputs.get(last)}"
    latest = ""
    for number, block in enumerate(blocks):
        latest = outputs.get(number, latest)
        if not block.language:
            output_lines = {without_numbers(line) for line in latest.splitlines()}
            for line in filter(None, map(without_numbers, block.content.splitlines())):
                assert line in output_lines, f"{page.name} shows {line!r}, but the output is\n{latest}"
    return [outputs[number] for number in sorted(outputs)]


def without_numbers(line: str) -> str:
    """The line with # for words that have digits, without table frames. Empty for "…", which stands for other lines."""
    line = re.sub(r"[\u2500-\u257f]", " ", line)
    line = re.sub(r"[*+]?[\w-]*\d[\w.,:-]*", "#", line)
    return "" if line.strip() == "…" else " ".join(line.split())
