"""Ids, columns, titles and paths reach the screen as they are: no markup, no emoji, no escape sequence takes effect."""

from __future__ import annotations

import ast
import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crossrec.cli import NoticeHandler, main
from crossrec.commands.progress import STATE, ProgressBar
from crossrec.console import PlainConsole
from crossrec.errors import DataError, visible
from crossrec.experiments.reporting.tables import Column, ResultTable, to_text
from crossrec.serving import server

MARKUP = ["shirt [xl] 5", "kids:shoe:4", "[/b]", "[bold]b[/bold]", "[link=x]y", "99 :+1:", r"back\[slash]"]
HOSTILE = {
    "\x1b[2J": r"\x1b[2J",
    "\x1b]0;title\x07end": r"\x1b]0;title\x07end",
    "\x9b31mred": r"\x9b31mred",
    "a\u202egnp.exe": r"a\u202egnp.exe",
    "one\ntwo": r"one\ntwo",
    "tab\there": r"tab\there",
    "cut\rover": r"cut\rover",
    "zero\u200bwidth": r"zero\u200bwidth",
}
"""Id → what the screen shows."""
IDS = [*MARKUP, *HOSTILE]
SHOWN = [*MARKUP, *HOSTILE.values()]
USER, ITEM, SOUND = "user [/b] \x1b[1m", "item :shoe: \x9b1m", "so[xl]:shoe:"
SCREEN = [visible(USER), visible(ITEM)]
FLAGS = ("--user-column", USER, "--item-column", ITEM)
TRAIN = ("--epochs", 1, "--batch-size", 64, "--dim", 4, "--device", "cpu")


def write_log(folder: Path) -> None:
    rows = [(user, item) for number, user in enumerate(IDS) for item in [*IDS[number:], *IDS[:number]][:9]]
    pl.DataFrame(rows, schema=[USER, ITEM], orient="row").write_csv(folder / "interactions.csv")
    pl.DataFrame({ITEM: IDS, "title": IDS}).write_csv(folder / "items.csv")
    np.save(folder / f"{SOUND}_feat.npy", np.random.default_rng(0).normal(size=(len(IDS), 3)))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a hostile name and hostile ids; a run of it, trained once, beside it."""
    folder = tmp_path_factory.mktemp("here") / "[" / "b] :shoe: [red]\x1b[2J"
    folder.mkdir(parents=True)
    write_log(folder)
    assert (
        main(list(map(str, ["train", "--data", folder, *FLAGS, *TRAIN, "--out", folder.parent / "[run]:shoe:"]))) == 0
    )
    return folder


def check(text: str, *parts: str) -> None:
    """The screen shows ``parts`` and no character that steers a terminal."""
    assert all(char == "\n" or char.isprintable() for char in text), text
    for part in parts:
        assert part in text, part


def arrivals(folder: Path) -> Path:
    pl.DataFrame({"item": [f"new {id}" for id in IDS]}).write_csv(folder / "items.csv")
    np.save(folder / f"{SOUND}_feat.npy", np.vstack([np.eye(len(IDS) - 1, 3), np.zeros(3)]))
    return folder


COMMANDS = {
    "describe": (["data", "describe", "--data", "SHOP", *FLAGS], ["b] :shoe: [red]\\x1b[2J", f"{SOUND}: columns"]),
    "validate": (["data", "validate", "--data", "SHOP", *FLAGS], ["[/b] :shoe: [red]\\x1b[2J"]),
    "import": (
        ["data", "import", "SHOP", *FLAGS, "--out", "[out]:shoe:"],
        [*SCREEN, "[out]:shoe:: complete", f"features {SOUND}: 3 columns"],
    ),
    "train": (["train", "--data", "SHOP", *FLAGS, *TRAIN, "--out", "[/r]:shoe:"], ["run in [/r]:shoe:"]),
    "recommend": (["recommend", "RUN", "--k", 9, "--seen"], SHOWN),
    "recommend to one": (["recommend", "RUN", "--k", 15, "--users", "[/b]", "--seen"], ["[/b]", *SHOWN]),
    "a history": (["recommend", "RUN", "--k", 15, "--history", "\x1b[2J", "--seen"], SHOWN),
    "into a file": (["recommend", "RUN", "--out", "[/b] \x1b.csv"], [r"[/b] \x1b.csv"]),
    "similar": (["similar", "RUN", "--k", 14, "--of", "kids:shoe:4", "\x1b[2J"], SHOWN),
    "export": (["export", "RUN", "--out", "[/b]:shoe:"], [f"[/b]:shoe:/item_{SOUND}.npy"]),
    "extend": (
        ["extend", "RUN", "--data", "NEW", "--out", "[/b]"],
        ["\n[/b]\n", f"({', '.join(f'new {id}' for id in SHOWN[3:8])}, …)"],
    ),
    "compare": (
        [
            "compare",
            "--data",
            "SHOP",
            *FLAGS,
            "--epochs",
            1,
            "--device",
            "cpu",
            "--backbones",
            "bpr",
            "--alignments",
            "none",
            "--seeds",
            0,
        ],
        ["b] :shoe: [red]\\x1b[2J"],
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_printed_as_it_is(command, shop, crossrec, here, tmp_path, monkeypatch):
    arguments, parts = COMMANDS[command]
    run = shop.parent / "[run]:shoe:"
    paths = {"SHOP": shop, "RUN": run}
    if "NEW" in arguments:
        paths["NEW"] = arrivals(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")
    answer = crossrec(*(paths.get(argument, argument) for argument in arguments))
    assert answer.code == 0, answer.err
    check(answer.err)
    check(answer.out, *parts)


def test_a_figure_shows_a_modality_as_it_is_called(shop, crossrec, here, tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    write_log(folder)
    (folder / f"{SOUND}_feat.npy").rename(folder / "s$o^{und$_feat.npy")
    answer = crossrec("strengths", "--data", folder, *FLAGS, "--epochs", 1, "--seeds", 0, "--backbones", "bpr")
    assert answer.code == 0, answer.err
    assert "s$o^{und$" in answer.out


MISTAKES = {
    "path": (["train", "--data", "no \x1b[2J [/b] :shoe:"], r"data 'no \x1b[2J [/b] :shoe:': no such file"),
    "column": (["data", "describe", "--data", "SHOP", "--user-column", "\x1b[/b]"], r"no column '\x1b[/b]'"),
    "user": (["recommend", "RUN", "--users", "[/b]\x1b:shoe:"], r"--users [/b]\x1b:shoe:: none of the"),
    "flag": (["recommend", "RUN", "--no[/b]\x1b"], r"--no[/b]\x1b"),
    "choice": (["recommend", "RUN", "--fold-in", "[/b]\x1b:shoe:"], r"[/b]\x1b:shoe:"),
    "run": (["serve", "[/b]\x1b:shoe:"], r"[/b]\x1b:shoe:: no such folder"),
    "report": (["report", "[/b]\x1b:shoe:"], r"[/b]\x1b:shoe:"),
    "features": (["data", "features", "--data", "SHOP", "--text", "[/b]\x1b", "--text-model", "x"], r"'[/b]\x1b'"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_an_error_shows_what_was_given(case, shop, crossrec):
    arguments, part = MISTAKES[case]
    paths = {"SHOP": shop, "RUN": shop.parent / "[run]:shoe:"}
    line = crossrec(*(paths.get(argument, argument) for argument in arguments)).mistake
    check(line, part)


def test_a_file_keeps_the_ids(shop, crossrec, tmp_path):
    assert crossrec("recommend", shop.parent / "[run]:shoe:", "--k", 3, "--out", tmp_path / "lists.jsonl").code == 0
    assert set(pl.read_ndjson(tmp_path / "lists.jsonl")["user"]) == set(IDS)


def test_the_service_names_its_runs(shop, crossrec, monkeypatch):
    monkeypatch.setattr(server, "serve", lambda runs, settings, on_start: on_start("http://[/b]:1\x1b/"))
    answer = crossrec("serve", shop.parent / "[run]:shoe:")
    assert (answer.code, answer.out) == (0, "")
    assert answer.err == "crossrec serves lightgcn+cross on http://[/b]:1\\x1b/ until Ctrl-C\n"


def test_what_is_logged(crossrec, capsys):
    crossrec("--version")  # main() shows what is logged from now on
    logging.getLogger("crossrec.test").warning("%s", "[/b] \x1b[2J :shoe:\ntwo")
    logging.getLogger("crossrec.test").error("%s", "[red]")
    assert capsys.readouterr().err == ("crossrec: warning: [/b] \\x1b[2J :shoe:\\ntwo\ncrossrec: error: [red]\n")
    assert sum(isinstance(handler, NoticeHandler) for handler in logging.getLogger().handlers) == 1


def test_a_bar_shows_its_labels(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr("crossrec.commands.progress.stderr", PlainConsole(file=file, force_terminal=True, width=200))
    with ProgressBar(STATE) as bar:
        bar.add_task("[/b] :shoe: \x1b[2J", total=1, state="[xl] \x9b1m")
    assert r"[/b] :shoe: \x1b[2J" in file.getvalue()
    assert r"[xl] \x9b1m" in file.getvalue()
    assert "\x1b[2J" not in file.getvalue()


def test_tables_of_results_keep_what_a_data_set_is_called():
    table = ResultTable("[/b] :shoe:", [Column("[red]", "left")], [["kids:shoe:4 [xl] \x1b[2J"]], ["[/note]"])
    text = to_text(table)
    check(text, "[/b] :shoe:", "[red]", r"kids:shoe:4 [xl] \x1b[2J", "[/note]")


def test_a_screen_without_a_character_gets_its_escape(shop):
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "crossrec", "data", "validate", "--data", "no tëa"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, cwd=shop)
    assert done.returncode == 2
    assert done.stderr.startswith(rb"crossrec: error: --data 'no t\xeba': no such file")


@pytest.mark.parametrize(("id", "shown"), [*HOSTILE.items(), *zip(MARKUP, MARKUP, strict=True), ("\udcff", r"\udcff")])
def test_errors_are_one_line_wherever_they_are_shown(id, shown):
    assert str(DataError(f"item '{id}'")) == f"item '{shown}'"


def test_text_of_the_world_stays():
    for text in ("tëa 茶 شاي चाय", "👩‍💻 ❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿"[:5], "商品　名"):
        assert visible(text) == text


def test_nothing_is_printed_another_way():
    source = Path(__file__).resolve().parents[2] / "src" / "crossrec"
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            assert name not in ("print", "Console"), f"{path.name}, line {node.lineno}: print by crossrec.console"
