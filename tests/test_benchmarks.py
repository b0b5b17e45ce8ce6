"""The benchmarks run at small sizes and agree with their plain references. Times are ignored."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CASES = ("clusters", "contrast", "step", "epoch", "ranking", "neighbors", "catalogue", "start")


@pytest.mark.slow
def test_every_case_runs_and_agrees_with_its_reference(tmp_path):
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--quick",
        "--only",
        *CASES,
        "--threads",
        "1",
        "--out",
        str(tmp_path / "quick"),
    ]
    environment = os.environ | {"CROSSREC_DATA": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "quick.json").read_text())["results"]
    names = [result["name"] for result in results]
    for part in (
        "cluster terms",
        "a direction of the item level",
        "CROSS step",
        "bfloat16",
        "LightGCN epoch",
        "ranking Baby",
        "neighbours",
        "10,000 users over a million",
        "--help",
    ):
        assert any(part in name for name in names), part
    table = (tmp_path / "quick.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in table if line.startswith("| ")][2:] == [f"| {name}" for name in names]


@pytest.mark.parametrize(("limit", "code"), [("4", 0), ("0.01", 1)])
def test_imports_of_every_format_end_alike_within_the_limit(limit, code, tmp_path):
    command = [sys.executable, "-m", "benchmarks.imports", "--rows", "3000", "--format", "parquet", "csv", "jsonl"]
    command += ["--limit", limit, "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    _, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines())
    assert [row[1].split(",")[0] for row in rows] == ["parquet", "csv", "jsonl"]
    assert len({row[2] for row in rows}) == 1
    assert 1000 < int(rows[0][2].replace(",", "")) < 3000
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("limit", "code"), [("4", 0), ("0.01", 1)])
def test_the_graphs_are_built_within_the_limit(limit, code):
    sizes = ["--items", "300", "--users", "400", "--user-items", "200", "--cases", "freedom", "lattice", "users"]
    command = [sys.executable, "-m", "benchmarks.graphs", *sizes, "--limit", limit]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    entries = {line.split()[0]: int(line.split()[1].replace(",", "")) for line in done.stdout.splitlines()}
    assert set(entries) == {"freedom", "lattice", "users"}
    assert entries["lattice"] == 300 * 2 * 2 * 10
    assert entries["freedom"] <= 300 * 2 * 10
    assert 0 < entries["users"] <= 400 * 40


def test_the_cost_of_alignment_is_a_table(capsys):
    from benchmarks.alignment_cost import main

    main(["--quick", "--data", "tiktok", "--backbones", "bpr", "lightgcn", "--rounds", "1", "--steps", "1"])
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[1] for row in rows] == ["bpr", "lightgcn"]
    assert {row.count("|") for row in rows} == {header.count("|")}
    assert all(float(ratio) > 1 for row in rows for ratio in re.findall(r"([\d.]+) ×", row))
