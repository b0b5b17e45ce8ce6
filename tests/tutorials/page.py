"""Run a page from beginning to end: its blocks in their order, in one folder and one shell, and what they said."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LIMIT = 800


@dataclass(frozen=True)
class Block:
    """``kind``: sh or python, which run; nothing where it shows what was said; other kinds are only to be read."""

    kind: str
    content: str


def blocks_of(text: str) -> list[Block]:
    return [Block(kind, content) for kind, content in BLOCK.findall(text)]


def play(page: Path, folder: Path, tools: Path, replaced: Mapping[str, str]) -> list[str]:
    """What every block that runs has said, in order; of one that fails, an AssertionError.

    ``replaced``: parts of the page that are otherwise here (names of models on the hub, a port); each must occur.
    Checks that what the page shows is what its commands say, but for numbers.
    """
    text = page.read_text(encoding="utf-8")
    for old, new in replaced.items():
        assert old in text, f"{page.name}: no {old}"
        text = text.replace(old, new)
    blocks = blocks_of(text)
    folder.mkdir()
    record = folder.with_name(f"{folder.name}-said")
    record.mkdir()
    script = ["set -euo pipefail", "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT"]
    for number, block in enumerate(blocks):
        if block.kind not in ("sh", "python"):
            continue
        script.append(f'exec > "{record}/{number}" 2>&1')
        if block.kind == "python":
            (record / f"{number}.py").write_text(block.content, encoding="utf-8")
        script.append(block.content if block.kind == "sh" else f'python "{record}/{number}.py"')
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CROSSREC_")}
    environment |= {"PATH": f"{tools}:{environment['PATH']}", "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    done = subprocess.run(["bash", "-c", "\n".join(script)], cwd=folder, env=environment, timeout=LIMIT, check=False)
    said = {int(file.name): file.read_text(encoding="utf-8") for file in record.iterdir() if not file.suffix}
    last = max(said, default=-1)
    assert done.returncode == 0, f"{page.name}:\n{blocks[last].content}\n{said.get(last)}"
    latest = ""
    for number, block in enumerate(blocks):
        latest = said.get(number, latest)
        if not block.kind:
            known = {plain(line) for line in latest.splitlines()}
            for line in filter(None, map(plain, block.content.splitlines())):
                assert line in known, f"{page.name} shows {line!r}, but the command says\n{latest}"
    return [said[number] for number in sorted(said)]


def plain(line: str) -> str:
    """A line without words that have digits and without frames of tables; nothing where it stands for other lines."""
    line = re.sub(r"[\u2500-\u257f]", " ", line)
    line = re.sub(r"[*+]?[\w-]*\d[\w.,:-]*", "#", line)
    return "" if line.strip() == "…" else " ".join(line.split())
