"""Files of tensors: equal to the library's, written without a copy, read back bit-equal."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save

from crossrec.data.io.tensor_file import DTYPES, read_tensors, tensor_chunks, write_tensors

TENSORS = {
    **{name: torch.arange(-3, 8).to(dtype).reshape(1, 11) for name, dtype in DTYPES.items()},
    "b, a": torch.ones(2, 3),
    'quote " and é': torch.zeros(1),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 4),
}


@pytest.mark.parametrize("metadata", [None, {"identity": 'a "word" é'}])
def test_a_file_is_that_of_the_library(metadata, tmp_path):
    write_tensors(tmp_path / "x.safetensors", TENSORS, metadata)
    content = (tmp_path / "x.safetensors").read_bytes()
    assert content == save(TENSORS, metadata)
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]
    for tensors in (read_tensors(tmp_path / "x.safetensors"), load(content)):
        assert tensors.keys() == TENSORS.keys()
        assert all(torch.equal(tensors[name], x) and tensors[name].dtype == x.dtype for name, x in TENSORS.items())


def test_tensors_are_not_copied():
    table, column = torch.rand(5, 4, requires_grad=True), torch.rand(4, 3).T
    _, whole, turned = tensor_chunks({"a": table, "b": column})
    assert torch.frombuffer(whole, dtype=torch.float32).data_ptr() == table.data_ptr()
    assert bytes(turned) == column.contiguous().numpy().tobytes()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x02\0\0\0\0\0\0\0{}"[:5],
        b"\xff" * 20,
        b"\x02\0\0\0\0\0\0\0[]",
        save({"x": torch.ones(9)})[:-1],
        save({"x": torch.ones(9)}).replace(b"F32", b"F99"),
        save({"x": torch.ones(9)}).replace(b"[9]", b"[-]"),
    ],
)
def test_another_content_is_refused(content, tmp_path):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        read_tensors(tmp_path / "x")
