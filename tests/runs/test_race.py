"""The race of the alignments: order, budget, the winner's run, stops, and what is refused."""

from __future__ import annotations

import json

import polars as pl
import pytest
from tests.training.runs import history, outcome, tiny

from crossrec.alignment import ALIGNMENTS
from crossrec.data import DataConfig
from crossrec.errors import ConfigError, RunError
from crossrec.runs.config import load_config
from crossrec.runs.execute import run
from crossrec.runs.race import race

CONFIG = tiny("bpr", epochs=20, patience=100)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Every epoch of training takes one second, whatever it does."""
    ticks = iter(range(10**6))
    monkeypatch.setattr("crossrec.training.time.perf_counter", lambda: float(next(ticks)))


def valid(standings):
    return [standing.valid for standing in standings]


def test_order_budget_and_winner(tmp_path):
    metrics, standings = race(CONFIG, tmp_path / "race")
    by_name = {standing.alignment: standing for standing in standings}
    # of 50 seconds: 20 for the backbone alone, 20 for PRIME, 10 for CROSS, none for FETTLE
    assert {name: standing.epochs for name, standing in by_name.items()} == {"none": 20, "prime": 20, "cross": 10}
    assert {name: standing.finished for name, standing in by_name.items()} == {
        "none": True,
        "prime": True,
        "cross": False,
    }
    assert sum(standing.seconds for standing in standings) == 50
    assert valid(standings) == sorted(valid(standings), reverse=True)
    assert standings[0].valid == metrics["valid"]["recall@20"] >= by_name["none"].valid
    assert json.loads((tmp_path / "race" / "race.json").read_text())["standings"][0] == vars(standings[0])
    assert not (tmp_path / "race" / ".race").exists()


def test_a_run_is_as_good_as_its_best_epoch_so_far(tmp_path):
    _, standings = race(CONFIG, tmp_path / "race", contenders=("prime",))
    run(tiny("bpr", ALIGNMENTS["prime"](), epochs=standings[0].epochs, patience=100), tmp_path / "run")
    prime = next(standing for standing in standings if standing.alignment == "prime")
    column = pl.read_csv(tmp_path / "run" / "history.csv")["valid_recall@20"]
    assert prime.valid == column.head(prime.epochs).max()


def test_the_result_is_an_ordinary_run_that_repeats(tmp_path):
    race(CONFIG, tmp_path / "race", contenders=("cross",), budget=1.3)  # six epochs of twenty
    config = load_config(tmp_path / "race" / "config.json")
    assert config.training.epochs in (6, 20)
    run(config, tmp_path / "again")
    raced, again = outcome(tmp_path / "race"), outcome(tmp_path / "again")
    raced["files"].remove("race.json")
    assert raced == again


def test_a_contender_that_is_stopped_by_the_clock_can_win(tmp_path, monkeypatch):
    monkeypatch.setitem(ALIGNMENTS, "cross", lambda: ALIGNMENTS["prime"](alpha=0, beta=0, gamma=0))
    _, standings = race(tiny("bpr", epochs=8, patience=100), tmp_path / "race", contenders=("cross",), budget=1.8)
    by_name = {standing.alignment: standing for standing in standings}
    assert (by_name["cross"].epochs, by_name["cross"].finished) == (7, False)
    if standings[0].alignment == "cross":
        assert load_config(tmp_path / "race" / "config.json").training.epochs == 7
        assert len(history(tmp_path / "race")) == 7


class StopError(Exception):
    pass


@pytest.mark.parametrize("moment", [1, 21, 26, 33])
def test_a_stopped_race_goes_on(tmp_path, moment):
    whole, _ = race(CONFIG, tmp_path / "whole", contenders=("prime", "cross"))
    count = 0

    def stop(name, progress):
        nonlocal count
        count += 1
        if count == moment:
            raise StopError

    with pytest.raises(StopError):
        race(CONFIG, tmp_path / "race", contenders=("prime", "cross"), on_epoch=stop)
    with pytest.raises(RunError, match="holds a race already: pass --resume"):
        race(CONFIG, tmp_path / "race", contenders=("prime", "cross"))
    metrics, _ = race(CONFIG, tmp_path / "race", contenders=("prime", "cross"), resume=True)
    assert metrics["valid"] == whole["valid"]
    assert outcome(tmp_path / "race") == outcome(tmp_path / "whole")


def test_a_stop_after_the_decision_changes_nothing(tmp_path, monkeypatch):
    race(CONFIG, tmp_path / "whole", contenders=("cross",), budget=1.3)

    def kill(*_):
        raise StopError

    for name in ("claim", "seal", "save_checkpoint"):
        out = tmp_path / name
        with monkeypatch.context() as patch:
            patch.setattr(f"crossrec.runs.race.{name}", kill)
            try:
                race(CONFIG, out, contenders=("cross",), budget=1.3)
            except StopError:
                race_again = True
            else:
                race_again = False  # the backbone alone has won: nothing was cut short
        if race_again:
            patch.undo()
            race(CONFIG, out, contenders=("cross",), budget=1.3, resume=True)
        assert outcome(out) == outcome(tmp_path / "whole")


def test_what_is_refused(tmp_path):
    race(CONFIG, tmp_path / "race", contenders=())
    with pytest.raises(RunError, match="holds a run already: pass --resume"):
        race(CONFIG, tmp_path / "race", contenders=())
    metrics, standings = race(CONFIG, tmp_path / "race", resume=True)
    assert [standing.alignment for standing in standings] == ["none"]
    assert metrics["epochs"] == 20
    with pytest.raises(RunError, match="other settings or data"):
        race(tiny("bpr", epochs=20, patience=100, seed=1), tmp_path / "race", resume=True)
    run(tiny("bpr", epochs=1), tmp_path / "run")
    with pytest.raises(RunError, match="holds a run already"):
        race(CONFIG, tmp_path / "run")
    with pytest.raises(RunError, match="or no race"):
        race(CONFIG, tmp_path / "run", resume=True)


def test_without_validation_there_is_no_race(put, tmp_path):
    rows = {"user": [f"u{n % 9}" for n in range(60)], "item": [f"i{n % 7}" for n in range(60)], "split": ["train"] * 60}
    folder = put({"interactions.parquet": pl.DataFrame(rows).unique()})
    config = CONFIG.model_copy(update={"data": DataConfig(data=str(folder))})
    with pytest.raises(ConfigError, match="no validation items"):
        race(config, tmp_path / "race")
