"""``docs/serve.md`` names what there is: every path, every flag, the limits as they are."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from crossrec.commands.serve import serve
from crossrec.serving import ServeConfig, connection

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")


def test_every_path_is_there(client):
    known = set(client.get("/v1/openapi.json").json()["paths"]) | {"/v1/openapi.json"}
    assert set(re.findall(r"/v1/[a-z/.-]*[a-z]", PAGE)) == known


def test_every_flag_is_there_and_none_is_left_out():
    flags = {name.replace("_", "-") for name in ServeConfig.model_fields}
    flags |= {name for name, one in inspect.signature(serve).parameters.items() if one.kind is one.KEYWORD_ONLY}
    named = set(re.findall(r"--([a-z][a-z-]*)", PAGE.split("## Load")[0]))
    assert named - {"data", "out", "backbone", "alignment", "epochs"} == flags - {"settings", "port"}


def test_the_limits_are_those_of_the_code():
    rows = re.findall(r"^\| `--([a-z-]+)`(?:, `--([a-z-]+)`)? \| ([\d.]+) \|", PAGE, re.MULTILINE)
    assert len(rows) == 6
    for first, second, value in rows:
        for flag in filter(None, (first, second)):
            assert getattr(ServeConfig(), flag.replace("-", "_")) == float(value)
    assert f"At most {connection.MOST} connections" in PAGE
