"""Checkpoints: bit-equal round trips, a crash at any step, damage, leftovers."""

from __future__ import annotations

import math
import os

import pytest
import torch

from crossrec.checkpoint import load_checkpoint, save_checkpoint
from crossrec.data.io.atomic import read_json, write_json_atomic
from crossrec.data.io.manifest import write_sealed
from crossrec.errors import RunError

DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
]


class Killed(BaseException):
    """A process that ends at this call."""


def tensor_file(folder):
    (file,) = folder.glob("*.safetensors")
    return file


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_come_back_bit_equal(tmp_path, dtype):
    values = torch.randint(0, 2, (3, 5), generator=torch.Generator().manual_seed(0)).to(dtype)
    save_checkpoint(tmp_path, {"a.weight": values, "scalar": values[0, 0], "none": values[:0]}, {})
    tensors, _ = load_checkpoint(tmp_path)
    assert {name: (t.dtype, t.shape) for name, t in tensors.items()} == {
        "a.weight": (dtype, (3, 5)),
        "scalar": (dtype, ()),
        "none": (dtype, (0, 5)),
    }
    assert torch.equal(tensors["a.weight"], values)
    assert torch.equal(tensors["scalar"], values[0, 0])


def test_special_values_come_back_bit_equal(tmp_path):
    values = torch.tensor([math.nan, -0.0, math.inf, 1e-45])
    save_checkpoint(tmp_path, {"x": values}, {})
    assert torch.equal(load_checkpoint(tmp_path)[0]["x"].view(torch.int32), values.view(torch.int32))


def test_a_generator_continues_its_sequence(tmp_path):
    generator = torch.Generator().manual_seed(3)
    torch.rand(5, generator=generator)
    save_checkpoint(tmp_path, {"rng": generator.get_state()}, {})
    expected = torch.rand(4, generator=generator)
    other = torch.Generator()
    other.set_state(load_checkpoint(tmp_path)[0]["rng"])
    assert torch.equal(torch.rand(4, generator=other), expected)


def test_strides_sharing_and_gradients_do_not_matter(tmp_path):
    weight = torch.arange(6.0).reshape(2, 3).requires_grad_()
    save_checkpoint(tmp_path, {"weight": weight, "same": weight, "turned": weight.T, "part": weight[:, 1:]}, {})
    tensors, _ = load_checkpoint(tmp_path)
    assert torch.equal(tensors["same"], weight)
    assert torch.equal(tensors["turned"], weight.T)
    assert torch.equal(tensors["part"], weight[:, 1:])
    tensors["weight"].zero_()  # loaded tensors are writable and independent
    assert torch.equal(tensors["same"], weight)


def test_the_manifest_comes_back_equal(tmp_path):
    manifest = {"epoch": 7, "best": 0.1 + 0.2, "name": "größer", "list": [1, None, True], "nested": {"a": {}}}
    save_checkpoint(tmp_path / "made" / "here", {}, manifest)
    assert load_checkpoint(tmp_path / "made" / "here") == ({}, manifest)


def test_saving_again_replaces_and_leaves_no_leftovers(tmp_path):
    (tmp_path / ".tensors-0123.safetensors.ab.tmp").write_bytes(b"left by a kill")
    (tmp_path / ".checkpoint.json.ab.tmp").write_bytes(b"left by a kill")
    (tmp_path / "history.csv").write_text("not ours")
    for epoch in range(3):
        save_checkpoint(tmp_path, {"x": torch.tensor(epoch)}, {"epoch": epoch})
    tensors, manifest = load_checkpoint(tmp_path)
    assert (int(tensors["x"]), manifest["epoch"]) == (2, 2)
    assert names(tmp_path) == ["checkpoint.json", "history.csv", tensor_file(tmp_path).name]


def crash_at(monkeypatch, step, error):
    """Raise at call number ``step`` of the functions that touch the disk. Returns the list of calls."""
    calls = []

    def guard(owner, name):
        original = getattr(owner, name)

        def guarded(*args, **kwargs):
            calls.append(name)
            if len(calls) == step:
                raise error
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, guarded)

    for name in ("replace", "fsync", "open", "unlink"):
        guard(os, name)
    return calls


def test_a_crash_at_any_step_leaves_a_complete_checkpoint(tmp_path, monkeypatch):
    old, new = ({"x": torch.zeros(4)}, {"epoch": 1}), ({"x": torch.ones(4)}, {"epoch": 2})
    with monkeypatch.context() as patch:
        save_checkpoint(tmp_path / "count", *old)
        steps = crash_at(patch, 0, Killed())
        save_checkpoint(tmp_path / "count", *new)
    assert steps.count("replace") == 2
    outcomes = []
    for step in range(1, len(steps) + 1):
        folder = tmp_path / str(step)
        save_checkpoint(folder, *old)
        with monkeypatch.context() as patch:
            crash_at(patch, step, Killed())
            with pytest.raises(Killed):
                save_checkpoint(folder, *new)
        tensors, manifest = load_checkpoint(folder)
        outcomes.append(manifest["epoch"])
        assert torch.equal(tensors["x"], (old if manifest["epoch"] == 1 else new)[0]["x"])
        save_checkpoint(folder, *new)
        assert load_checkpoint(folder)[1] == {"epoch": 2}
        assert names(folder) == ["checkpoint.json", tensor_file(folder).name]
    second_replace = len(steps) - steps[::-1].index("replace")
    assert outcomes == [1] * second_replace + [2] * (len(steps) - second_replace)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other"])
def test_a_damaged_tensor_file_is_named(tmp_path, damage):
    save_checkpoint(tmp_path, {"x": torch.arange(100.0)}, {})
    file = tensor_file(tmp_path)
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes({"flip": content, "cut": content[:-1], "empty": b"", "other": b"text"}[damage])
    with pytest.raises(RunError, match=rf"{file.name}: damaged.*train again"):
        load_checkpoint(tmp_path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(RunError, match=r"checkpoint\.json: missing"):
        load_checkpoint(tmp_path)
    save_checkpoint(tmp_path, {"x": torch.zeros(1)}, {})
    file = tensor_file(tmp_path)
    file.unlink()
    with pytest.raises(RunError, match=rf"{file.name}: missing"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"tensors": "x"', "not valid JSON"),
        ("", "not valid JSON"),
        ("[]", "it has no digest of itself"),
        ('{"tensors": "x", "sha256": "", "manifest": {}}', "it has no digest of itself"),
        ({"tensors": "x", "sha256": ""}, "not a checkpoint manifest"),
        ({"tensors": "x", "sha256": "", "manifest": 3}, "not a checkpoint manifest"),
        ({"tensors": "../x", "sha256": "", "manifest": {}}, r"run/x: missing"),
    ],
)
def test_a_damaged_manifest_is_named(tmp_path, text, message):
    folder = tmp_path / "run"
    folder.mkdir()
    (tmp_path / "x").write_bytes(b"outside")
    if isinstance(text, dict):
        write_sealed(folder / "checkpoint.json", text)
    else:
        (folder / "checkpoint.json").write_text(text)
    with pytest.raises(RunError, match=message):
        load_checkpoint(folder)


@pytest.mark.parametrize(("field", "value"), [("best_value", 9.0), ("best_epoch", 1), ("epoch", 1), ("finished", True)])
def test_an_altered_field_of_the_manifest_is_refused(tmp_path, field, value):
    progress = {"epoch": 7, "best_epoch": 5, "best_value": 0.25, "finished": False}
    save_checkpoint(tmp_path, {"x": torch.zeros(1)}, {"progress": progress})
    record = read_json(tmp_path / "checkpoint.json")
    record["manifest"]["progress"][field] = value
    write_json_atomic(tmp_path / "checkpoint.json", record)
    with pytest.raises(RunError, match=r"checkpoint\.json: damaged.*delete .* and train again"):
        load_checkpoint(tmp_path)


def test_every_altered_byte_of_a_checkpoint_is_refused(tmp_path):
    save_checkpoint(tmp_path, {"x": torch.arange(4.0)}, {"epoch": 1})
    for path in list(tmp_path.iterdir()):
        content = path.read_bytes()
        for byte in range(len(content)):
            path.write_bytes(content[:byte] + bytes([content[byte] ^ 1]) + content[byte + 1 :])
            with pytest.raises(RunError, match=r"delete .* and train again|not valid JSON"):
                load_checkpoint(tmp_path)
        path.write_bytes(content)
    assert load_checkpoint(tmp_path)[1] == {"epoch": 1}


@pytest.mark.parametrize("value", [math.nan, math.inf, object()])
def test_a_manifest_that_json_cannot_express_is_refused_before_writing(tmp_path, value):
    with pytest.raises(RunError, match=r"checkpoint\.json: cannot be written as JSON"):
        save_checkpoint(tmp_path, {"x": torch.zeros(1)}, {"a": value})
    assert names(tmp_path) == []


def test_a_file_in_place_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        save_checkpoint(tmp_path / "run", {}, {})
    with pytest.raises(RunError, match=r"checkpoint\.json: cannot be read"):
        load_checkpoint(tmp_path / "run")
