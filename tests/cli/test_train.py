"""``crossrec train``: its flags, its output and the run directory."""

from __future__ import annotations

import csv
import math
import types
import typing

import polars as pl
import pytest
from safetensors import safe_open

from crossrec.alignment import ALIGNMENTS
from crossrec.backbones import BACKBONES
from crossrec.data import DataConfig
from crossrec.training import TrainingConfig

COMBINATIONS = [(backbone, alignment) for backbone in BACKBONES for alignment in ALIGNMENTS]
FILES = ["config.json", "history.csv", "items.parquet", "manifest.json", "metrics.json", "model.safetensors"]
FILES = [*FILES, "users.parquet", "vectors.safetensors"]
METRICS = {"recall@10", "recall@20", "ndcg@10", "ndcg@20"}


def configs(backbone, alignment):
    kinds = {"data": DataConfig, "training": TrainingConfig, "backbone": BACKBONES[backbone].config_type}
    if ALIGNMENTS[alignment] is not None:
        kinds["alignment"] = ALIGNMENTS[alignment]
    return kinds


def numbers(values):
    for value in values.values():
        if isinstance(value, dict):
            yield from numbers(value)
        elif isinstance(value, int | float):
            yield value


@pytest.mark.parametrize(("backbone", "alignment"), COMBINATIONS)
def test_a_run_directory(backbone, alignment, crossrec, tiny, tmp_path, read):
    out = tmp_path / "out"
    answer = crossrec("train", *tiny, "--backbone", backbone, "--alignment", alignment, "--out", out)
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in out.iterdir()) == FILES

    metrics = read(out / "metrics.json")
    assert set(metrics) >= {"valid", "test", "best_epoch", "epochs", "train_seconds_per_epoch", "peak_memory_mb"}
    for split in ("valid", "test"):
        assert set(metrics[split]) >= METRICS
        assert all(0 <= value <= 1 for value in metrics[split].values())
    assert all(math.isfinite(value) for value in numbers(metrics))
    assert metrics["epochs"] == 2
    assert metrics["best_epoch"] in (1, 2)
    assert metrics["train_seconds_per_epoch"] > 0
    assert 10 < metrics["peak_memory_mb"] < 100_000

    with (out / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    terms = () if ALIGNMENTS[alignment] is None else ALIGNMENTS[alignment]().active
    columns = {"epoch", "train_seconds", "eval_seconds", "loss", *terms, *(f"valid_{name}" for name in METRICS)}
    assert columns <= set(rows[0])
    assert all(math.isfinite(float(value)) for row in rows for value in row.values())
    assert float(rows[metrics["best_epoch"] - 1]["valid_recall@20"]) == metrics["valid"]["recall@20"]

    config = read(out / "config.json")
    assert config["backbone"]["name"] == backbone
    assert (config["alignment"] or {"name": "none"})["name"] == alignment
    for part, kind in configs(backbone, alignment).items():
        assert set(config[part]) - {"name"} == set(kind.model_fields)
    with safe_open(out / "model.safetensors", "pt") as file:
        assert any(name.startswith("backbone.") for name in file.keys())  # noqa: SIM118
        assert any(name.startswith("cross.") for name in file.keys()) == (alignment in ("fettle", "cross", "prime"))  # noqa: SIM118
    for stem, count in (("users", 60), ("items", 40)):
        assert pl.read_parquet(out / f"{stem}.parquet")["index"].to_list() == list(range(count))

    for text in (f"{metrics['test']['recall@20']:.4f}", f"{metrics['valid']['ndcg@10']:.4f}", str(out)):
        assert text in answer.out.replace("\n", "")
    assert "epoch 2" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(("backbone", "alignment"), COMBINATIONS)
def test_no_two_settings_share_a_flag(backbone, alignment):
    names = [name for kind in configs(backbone, alignment).values() for name in kind.model_fields]
    names += ["backbone", "alignment", "out", "resume", "refit", "init_from", "threads", "config"]
    assert sorted(set(names)) == sorted(names)


def other(kind, default):
    """Tokens for a value of type ``kind`` other than the default, and that value in config.json."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return other(arguments[0], default)
    if origin in (types.UnionType, typing.Union):
        return other(next(a for a in arguments if a is not type(None)), default)
    if kind is bool:
        return None, not default
    if kind is int:
        return [str((default or 0) + 3)], (default or 0) + 3
    if kind is float:
        return [str((default or 0) / 2 or 0.5)], (default or 0) / 2 or 0.5
    if kind is str:
        return ["some-name"], "some-name"
    if origin is typing.Literal:
        value = next(a for a in arguments if a != default)
        return [value], value
    if origin is tuple:
        if typing.get_origin(arguments[0]) is typing.Literal:
            return [default[0]], [default[0]]
        return ["image", "text"], ["image", "text"]
    raise AssertionError(f"say here how to give {kind}")


SPECIAL = {
    "terms": (["--terms", "item", "tuning"], ["item", "tuning"]),
    "metrics": (["--metrics", "HR", "mrr"], ["hr", "mrr"]),
    "k": (["--k", "5", "10"], [5, 10]),
    "tracker": (["--tracker", "TensorBoard"], "tensorboard"),
    "monitor": (["--monitor", "NDCG@5"], "ndcg@5"),
    "modality_weights": (
        ["--modality-weights.image", "1", "--modality-weights.text", "3"],
        {"image": 1.0, "text": 3.0},
    ),
    "content_shares": (["--content-shares.image", "1", "--content-shares.text", "3"], {"image": 1.0, "text": 3.0}),
    "time_format": (["--time-format", "%d/%m/%Y"], "%d/%m/%Y"),
    "valid_from": (["--valid-from", "2024-05-06"], "2024-05-06"),
    "test_from": (["--test-from", "90%"], "90%"),
    "device": (["--device", "cpu"], "cpu"),
    "strength_scale": (["--strength-scale", "rank"], "rank"),
    "restart_optimizer": (["--restart-optimizer"], True),
}


@pytest.mark.parametrize(("backbone", "alignment"), COMBINATIONS)
def test_every_setting_has_a_flag_that_sets_it(backbone, alignment, crossrec, monkeypatch):
    seen = []
    monkeypatch.setattr("crossrec.commands.train.run", lambda config, *_, **__: seen.append(config) or EMPTY)
    tokens, expected = [], {}
    for part, kind in configs(backbone, alignment).items():
        for name, field in kind.model_fields.items():
            flag = "--" + name.replace("_", "-")
            if name in SPECIAL:
                flag_tokens, value = SPECIAL[name]
            else:
                flag_tokens, value = other(field.annotation, field.default)
                if flag_tokens is None:
                    flag_tokens = [flag if value else flag.replace("--", "--no-", 1)]
                else:
                    flag_tokens = [flag, *flag_tokens]
            tokens += flag_tokens
            expected[part, name] = value
    answer = crossrec("train", "--backbone", backbone, "--alignment", alignment, *tokens)
    assert answer.code == 0, answer.err
    (config,) = seen
    values = config.model_dump(mode="json")
    assert {key: values[key[0]][key[1]] for key in expected} == expected


EMPTY = {
    "valid": {"recall@20": 0.5},
    "test": {"recall@20": 0.25},
    "best_epoch": 1,
    "epochs": 1,
    "train_seconds_per_epoch": 1.0,
    "peak_memory_mb": 1.0,
}


@pytest.mark.parametrize(("backbone", "alignment"), COMBINATIONS)
def test_help_names_and_explains_every_flag(backbone, alignment, crossrec):
    answer = crossrec("train", "--help", "--backbone", backbone, "--alignment", alignment)
    assert answer.code == 0
    text = " ".join(answer.out.replace("│", " ").split())
    for kind in configs(backbone, alignment).values():
        for name, field in kind.model_fields.items():
            assert "--" + name.replace("_", "-") in text
            assert field.description
    for flag in ("--backbone", "--alignment", "--out", "--resume", "--threads", *BACKBONES, *ALIGNMENTS):
        assert flag in text


def test_the_built_in_set_and_cross_on_lightgcn_are_the_defaults(crossrec, monkeypatch):
    seen = []
    monkeypatch.setattr("crossrec.commands.train.run", lambda config, out, **_: seen.append((config, out)) or EMPTY)
    assert crossrec("train").code == 0
    ((config, out),) = seen
    assert (config.data.data, config.backbone.name, config.alignment.name) == ("synthetic", "lightgcn", "cross")
    assert str(out).startswith("runs/lightgcn+cross-seed0-")


def test_the_built_in_set_is_trained_on_without_data(crossrec, tmp_path, read):
    answer = crossrec("train", "--epochs", "1", "--alignment", "none", "--backbone", "bpr", "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert len(pl.read_parquet(tmp_path / "out" / "users.parquet")) == 1500
    assert read(tmp_path / "out" / "config.json")["data"]["data"] == "synthetic"


def test_default_out_differs_between_settings(crossrec, monkeypatch):
    outs = []
    monkeypatch.setattr("crossrec.commands.train.run", lambda config, out, **_: outs.append(str(out)) or EMPTY)
    for extra in ([], ["--seed", "1"], ["--reg", "0.5"], ["--data", "synthetic-tiny"], ["--alignment", "none"], []):
        crossrec("train", *extra)
    assert outs[0] == outs[-1]
    assert len(set(outs)) == 5


def test_config_repeats_the_run(crossrec, tiny, tmp_path, read):
    one, two = tmp_path / "one", tmp_path / "two"
    flags = ("--backbone", "freedom", "--alignment", "fettle", "--alpha", "0.5", "--seed", "7", "--threads", "1")
    assert crossrec("train", *tiny, *flags, "--out", one).code == 0
    assert crossrec("train", "--config", one / "config.json", "--out", two, "--threads", "1").code == 0
    for name in ("config.json", "model.safetensors", "users.parquet", "items.parquet"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    assert read(one / "metrics.json")["test"] == read(two / "metrics.json")["test"]
    assert read(one / "config.json")["alignment"]["alpha"] == 0.5


def test_resuming_a_finished_run_changes_nothing(crossrec, tiny, tmp_path, content):
    out = tmp_path / "out"
    first = crossrec("train", *tiny, "--out", out)
    before = content(out)
    again = crossrec("train", *tiny, "--out", out, "--resume")
    assert (first.code, again.code) == (0, 0)
    assert content(out) == before
    assert again.out == first.out
    assert "epoch" not in again.err


def test_an_interrupted_run_says_so_and_resumes(crossrec, tiny, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("crossrec.commands.train.epoch_state", interrupt)
        answer = crossrec("train", *tiny, "--checkpoint-seconds", "0", "--out", out)
    assert answer.code == 130
    assert "--resume" in answer.err.splitlines()[-1]
    assert not (out / "metrics.json").exists()
    answer = crossrec("train", *tiny, "--checkpoint-seconds", "0", "--out", out, "--resume")
    assert answer.code == 0
    assert "epoch 1:" not in answer.err
    assert "epoch 2:" in answer.err


@pytest.mark.parametrize("backbone", ["bpr", "vbpr"])
def test_a_table_with_ids_of_text(backbone, crossrec, tabular, tmp_path):
    out = tmp_path / "out"
    flags = ("--user-column", "customer", "--item-column", "product", "--epochs", 2, "--backbone", backbone)
    answer = crossrec("train", "--data", tabular, *flags, "--out", out)
    assert answer.code == 0, answer.err
    assert pl.read_parquet(out / "items.parquet")["id"].to_list() == [f"tea, {item}" for item in range(10)]
    assert set(pl.read_parquet(out / "users.parquet")["id"]) == {f"Ann-{user}" for user in range(12)}


def test_a_folder_of_mmrec(crossrec, mmrec, tmp_path, read):
    out = tmp_path / "out"
    answer = crossrec("train", "--data", mmrec, "--backbone", "freedom", "--epochs", 2, "--knn", 3, "--out", out)
    assert answer.code == 0, answer.err
    with safe_open(out / "model.safetensors", "pt") as file:
        assert {m for m in ("sound", "scent", "image") if any(m in name for name in file.keys())} == {"sound", "scent"}  # noqa: SIM118
    metrics = read(out / "metrics.json")
    assert metrics["test"]["recall@10"] == 1.0, "four items are left to rank, all of them within the first ten"
    answer = crossrec(
        "train", "--data", mmrec, "--modalities", "scent", "--backbone", "freedom", "--epochs", 1, "--out", "b"
    )
    assert answer.code == 0, answer.err
    assert read(tmp_path / "here" / "b" / "config.json")["data"]["modalities"] == ["scent"]
    assert crossrec("train", "--data", mmrec, "--modalities", "--epochs", 1, "--out", "c").code == 0


def test_a_data_set_in_crossrec_data_by_name(crossrec, mmrec, monkeypatch):
    monkeypatch.setenv("CROSSREC_DATA", str(mmrec.parent))
    assert crossrec("train", "--data", "shop", "--epochs", 1, "--out", "out").code == 0


def test_missing_held_out_rows_are_reported(crossrec, tmp_path):
    (tmp_path / "log.csv").write_text("user,item\n" + "".join(f"u{user},i{user % 4}\n" for user in range(8)))
    data = ["--data", tmp_path / "log.csv", "--alignment", "none", "--backbone", "bpr", "--epochs", "1"]
    answer = crossrec("train", *data, "--out", "run")
    assert answer.code == 0
    assert "No validation and test metrics: no user has such rows" in answer.out
    (tmp_path / "log.csv").write_text("user,item\n" + "".join(f"u{n % 5},i{n}\n" for n in range(20)))
    assert "metrics:" not in crossrec("train", *data, "--out", "other").out


def test_a_log_may_lie_in_the_folder_of_a_run(crossrec, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "train.log").write_text("kept\n")
    assert crossrec("train", "--data", "synthetic-tiny", "--epochs", 1, "--out", "run").code == 0
    assert (tmp_path / "run" / "train.log").read_text() == "kept\n"


def test_refit_and_a_start_from_another_run(crossrec, tiny, tmp_path, read):
    """Both are flags with settings, and with the config.json of another run."""
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    assert crossrec("train", *tiny, "--backbone", "bpr", "--alignment", "none", "--out", first).code == 0
    settings = ("--backbone", "bpr", "--alignment", "none", "--refit", "--init-from", first)
    assert crossrec("train", *tiny, *settings, "--out", second).code == 0
    flags = ("--config", first / "config.json", "--refit", "--init-from", first)
    answer = crossrec("train", *flags, "--out", third)
    assert answer.code == 0
    config, metrics = read(third / "config.json"), read(third / "metrics.json")
    assert config == read(second / "config.json")
    assert (config["refit"], config["init_from"]) == (True, str(first))
    assert f"Trained again on all 447 interactions, for {metrics['best_epoch']} epochs" in answer.out
    assert "Began with the vectors of another run: 60 users and 40 items are in both" in answer.out
    assert f"epoch {metrics['best_epoch']}, again, on all interactions: loss " in answer.err
    again = crossrec("train", *flags, "--out", third, "--resume")
    assert again.out == answer.out
    assert "epoch" not in again.err
