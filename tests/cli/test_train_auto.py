"""crossrec train --alignment auto."""

from __future__ import annotations

import json


def test_the_command(crossrec, tmp_path):
    flags = ["train", "--data", "synthetic-tiny", "--backbone", "bpr", "--dim", 8, "--epochs", 3, "--alignment", "auto"]
    answer = crossrec(*flags, "--out", tmp_path / "race")
    assert answer.code == 0, answer.err
    assert "Race of the alignments on bpr, by validation" in answer.out
    winner = json.loads((tmp_path / "race" / "race.json").read_text())["standings"][0]["alignment"]
    assert f"bpr+{winner}, best epoch" in answer.out
    again = crossrec(*flags, "--out", tmp_path / "race", "--resume")
    assert again.code == 0, again.err
    assert crossrec(*flags, "--out", tmp_path / "race").code == 2
