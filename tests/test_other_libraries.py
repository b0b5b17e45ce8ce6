"""Frames for the metrics of RecTools and LensKit, and RecBole's models, where these libraries are installed."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from crossrec.data import DataConfig, load
from crossrec.experiments.analysis.run_evaluation import metric_frames
from crossrec.runs.config import RunConfig
from crossrec.runs.execute import run
from crossrec.training import TrainingConfig

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(
    r"```python excerpt\n(.*?)```", (ROOT / "docs" / "other-libraries.md").read_text("utf-8"), re.DOTALL
)


@pytest.fixture(scope="module", params=[False, True], ids=["as usual", "validation left out"])
def tested(request, tmp_path_factory):
    """(test metrics of a run, its frames)."""
    folder, data = tmp_path_factory.mktemp("run"), DataConfig(data="synthetic-tiny", mask_validation=request.param)
    config = RunConfig(data=data, alignment=None, training=TrainingConfig(epochs=1, batch_size=512, device="cpu"))
    metrics = run(config, folder / "run")
    return metrics["test"], metric_frames(folder / "run", load(data), k=10)


def pandas_frames(frames):
    pandas = pytest.importorskip("pandas", exc_type=ImportError)
    return {
        name: pandas.DataFrame(frame.to_dict(as_series=False))
        for name, frame in zip(("recommended", "held_out"), frames, strict=True)
    }


def run_excerpt(word, frames):
    """The value of the last line of the page's excerpt with ``word``."""
    [excerpt] = [block for block in BLOCKS if word in block]
    names, (*lines, last) = pandas_frames(frames), excerpt.strip().splitlines()
    exec("\n".join([*lines, f"answer = {last}"]), names)
    return names["answer"]


def test_metrics_of_the_frames_are_those_of_the_run(tested):
    metrics, (lists, held_out) = tested
    wanted = {user: set(items) for user, items in held_out.group_by("user_id").agg("item_id").iter_rows()}
    recalls, gains = dict.fromkeys(wanted, 0.0), dict.fromkeys(wanted, 0.0)
    for user, item, rank, _ in lists.select("user_id", "item_id", "rank", "score").iter_rows():
        recalls[user] += (item in wanted[user]) / len(wanted[user])
        ideal = sum(1 / np.log2(place + 2) for place in range(min(10, len(wanted[user]))))
        gains[user] += (item in wanted[user]) / np.log2(rank + 1) / ideal
    assert np.mean(list(recalls.values())) == pytest.approx(metrics["recall@10"])
    assert np.mean(list(gains.values())) == pytest.approx(metrics["ndcg@10"])
    assert lists["user_id"].value_counts()["count"].unique().to_list() == [10]
    for _, of_user in lists.group_by("user_id"):
        assert of_user.sort("rank")["score"].is_sorted(descending=True)


@pytest.mark.filterwarnings("ignore")
def test_rectools(tested):
    pytest.importorskip("rectools.metrics", reason="RecTools is not installed", exc_type=ImportError)
    metrics, frames = tested
    assert run_excerpt("rectools", frames)["recall@10"] == pytest.approx(metrics["recall@10"])


@pytest.mark.filterwarnings("ignore")
def test_lenskit(tested):
    pytest.importorskip("lenskit.metrics", reason="LensKit is not installed", exc_type=ImportError)
    metrics, frames = tested
    assert run_excerpt("lenskit", frames).loc["Recall@10", "mean"] == pytest.approx(metrics["recall@10"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["LightGCN", "BPR"])
def test_recbole(name, tmp_path, monkeypatch):
    pytest.importorskip("recbole.data", reason="RecBole is not installed", exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    example = runpy.run_path(str(ROOT / "examples" / "recbole_model.py"), run_name="example")
    losses = example["train"](name, tmp_path, epochs=3)
    assert losses[-1] < losses[0]
