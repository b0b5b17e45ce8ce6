"""``docs/serve.md`` names every path, every flag and the default limits."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from crossrec.commands.serve import serve
from crossrec.serving import ServeConfig, server

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")


def test_every_path_is_documented(client):
    paths = set(client.get("/v1/openapi.json").json()["paths"]) | {"/v1/openapi.json"}
    assert set(re.findall(r"/v1/[a-z/.-]*[a-z]", PAGE)) == paths


def test_every_flag_is_documented():
    flags = {name.replace("_", "-") for name in ServeConfig.model_fields}
    parameters = inspect.signature(serve).parameters.items()
    flags |= {name.replace("_", "-") for name, parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    named = set(re.findall(r"--([a-z][a-z-]*)", PAGE.split("## Load")[0]))
    assert named - {"data", "out", "backbone", "alignment", "epochs"} == flags - {"settings", "port"}


def test_documented_limits_are_the_defaults():
    rows = re.findall(r"^\| `--([a-z-]+)`(?:, `--([a-z-]+)`)? \| ([\d.]+) \|", PAGE, re.MULTILINE)
    assert len(rows) == 6
    for first, second, value in rows:
        for flag in filter(None, (first, second)):
            assert getattr(ServeConfig(), flag.replace("-", "_")) == float(value)
    assert f"At most {server.MAX_CONNECTIONS} connections" in PAGE
