"""Image encoder in an ONNX file: it needs neither a hub nor the library that the model was made with."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from crossrec.data.io.manifest import file_entry
from crossrec.devices import torch_device
from crossrec.errors import ConfigError
from crossrec.features.config import FeaturesConfig
from crossrec.features.model_folder import PREPARATION, ModelFolder, require_packages
from crossrec.features.picture_encoder import PictureEncoder
from crossrec.lazy import torch

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CROP = 0.875
"""Share of the shorter side of a picture that is kept, as in tests on ImageNet: 224 of 256 pixels."""
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
OUTPUTS = ("image_embeds", "pooler_output", "embedding", "embeddings", "features")
"""Names of outputs that are taken, if there is one of them, before the first."""
Layout = Literal["NCHW", "NHWC"]


class OnnxFile(ModelFolder):
    """A model in an ONNX file, with the files beside it that hold its weights, if it has any."""

    @cached_property
    def digest(self) -> str:
        """sha256 over the model, its weights and the settings beside it."""
        files = {
            self.path,
            *self.path.parent.glob(f"{self.path.name}*"),
            *self.path.parent.glob(f"{self.path.name}_data"),
        }
        files |= {self.path.with_name(name) for name in PREPARATION if self.path.with_name(name).is_file()}
        entries = [(file.name, file_entry(file)["sha256"]) for file in sorted(files)]
        return hashlib.sha256(json.dumps(entries).encode()).hexdigest()

    @classmethod
    def find(cls, flag: str, name: str) -> OnnxFile:
        """The file ``name``. Raises ConfigError where there is none."""
        path = Path(name).expanduser()
        if not path.is_file():
            raise ConfigError(f"{flag} {name}: no such file")
        return cls(flag, name, path)


def onnx_settings(config: FeaturesConfig, in_onnx: bool) -> dict[str, str]:
    """The settings of an ONNX model that are given. Raises ConfigError if there are some and the model is another."""
    names = ("image_size", "image_layout", "image_mean", "image_std", "image_output")
    given = {name: value for name in names if (value := getattr(config, name)) is not None}
    if given and not in_onnx:
        flag = "--" + next(iter(given)).replace("_", "-")
        raise ConfigError(
            f"{flag} is for models in an ONNX file; leave it out, --image-model says how pictures are prepared"
        )
    return {name.removeprefix("image_"): str(value) for name, value in given.items()}


class OnnxEncoder(PictureEncoder):
    """Encode pictures by a model in an ONNX file, with onnxruntime.

    The model has one input: pictures, (n, 3, height, width) or (n, height, width, 3), of float32, float16 or uint8. A
    preprocessor_config.json beside the file says how a picture is prepared (transformers does it), unless a size, mean
    or std is set. Otherwise the middle ``CROP`` of the shorter side is scaled to the size and, unless the input is
    uint8, brought to (x / 255 - mean) / std. Size and layout are those of the model's input; mean, std and a size that
    the input leaves open are the settings, else those in the model's metadata (``image_mean``, ``image_std``,
    ``image_size``), else those of ImageNet.

    The vector is one output: that of the settings, else the one that is called so (``OUTPUTS``), else the first. Of an
    output (n, positions, D) or over height and width the mean is taken.
    """

    def __init__(self, model: OnnxFile, config: FeaturesConfig, paths: list[Path]) -> None:
        super().__init__(paths)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 4
        gpu = ["CUDAExecutionProvider"] if torch_device(config.device).type == "cuda" else []
        with model.loading():
            self.session: Any = onnxruntime.InferenceSession(
                str(model.path), options, providers=[*gpu, "CPUExecutionProvider"]
            )
        inputs = self.session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(entry.name for entry in inputs)
            raise model.error(f"has the inputs {names}; give a model that reads pictures alone")
        self.input, shape = inputs[0].name, inputs[0].shape
        if inputs[0].type not in TYPES or len(shape) != 4:
            raise model.error(
                f"its input is {inputs[0].type} {shape}; give one that reads pictures, four axes of float"
            )
        self.dtype = TYPES[inputs[0].type]
        self.layout = _layout(model, config, shape)
        self.batch = shape[0] if isinstance(shape[0], int) else None
        metadata = self.session.get_modelmeta().custom_metadata_map
        with model.loading():
            self.height, self.width = _size(model, config, shape, self.layout, metadata)
            self.mean = _colours(config.image_mean, metadata.get("image_mean"), IMAGENET_MEAN)
            self.std = _colours(config.image_std, metadata.get("image_std"), IMAGENET_STD)
        self.processor = _processor(model, config)
        self.output = _output(model, config, [entry.name for entry in self.session.get_outputs()])
        self.rule = f"output {self.output}"
        self.try_out(model)

    def prepare(self, image: Image) -> np.ndarray:
        """The picture as the model reads it, without the axis of the batch."""
        from PIL.Image import Resampling

        if self.processor is not None:
            prepared = self.processor(image, return_tensors="np", input_data_format="channels_last")
            pixels = np.asarray(prepared["pixel_values"][0], dtype=self.dtype)
            return pixels if self.layout == "NCHW" else pixels.transpose(1, 2, 0)
        factor = max(self.height / image.height, self.width / image.width) / CROP
        scaled = image.resize((round(image.width * factor), round(image.height * factor)), Resampling.BICUBIC)
        left, top = (scaled.width - self.width) // 2, (scaled.height - self.height) // 2
        pixels = np.asarray(scaled.crop((left, top, left + self.width, top + self.height)))
        if self.dtype != np.uint8:
            pixels = ((pixels / 255 - self.mean) / self.std).astype(self.dtype)
        return pixels if self.layout == "NHWC" else pixels.transpose(2, 0, 1)

    def vectors(self, inputs: list[np.ndarray]) -> np.ndarray:
        size = self.batch or len(inputs)
        parts = []
        for start in range(0, len(inputs), size):
            part = np.stack(inputs[start : start + size])
            padded = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), part.dtype)])
            try:
                (output,) = self.session.run([self.output], {self.input: padded})
            except Exception as error:  # onnxruntime has no type for it
                if "alloc" in str(error).lower():
                    raise MemoryError(str(error)) from None
                raise
            parts.append(self._pooled(np.asarray(output, dtype=np.float32))[: len(part)])
        return np.concatenate(parts)

    def _pooled(self, output: np.ndarray) -> np.ndarray:
        """(n, D) of an output of two to four axes."""
        if output.ndim not in (2, 3, 4):
            raise ValueError(f"its output {self.output} has the shape {output.shape}; name another with --image-output")
        of_maps = (1, 2) if self.layout == "NHWC" else (2, 3)
        axes: tuple[int, ...] = {2: (), 3: (1,), 4: of_maps}[output.ndim]
        pooled: np.ndarray = output.mean(axis=axes)  # no axis: unchanged
        return pooled


def _layout(model: OnnxFile, config: FeaturesConfig, shape: list[Any]) -> Layout:
    """Where the three colours are: as the input's shape says, else as the settings, else before height and width."""
    if (shape[1] == 3) != (shape[3] == 3):
        return "NCHW" if shape[1] == 3 else "NHWC"
    layout = config.image_layout or "NCHW"
    if isinstance(channels := shape[1 if layout == "NCHW" else 3], int) and channels != 3:
        raise model.error(f"its input {shape} has no axis of three colours; give a model that reads RGB")
    return layout


def _size(
    model: OnnxFile, config: FeaturesConfig, shape: list[Any], layout: Layout, metadata: dict[str, str]
) -> tuple[int, int]:
    """Height and width that the model reads."""
    fixed = shape[2:] if layout == "NCHW" else shape[1:3]
    size = config.image_size or int(metadata.get("image_size", 224))
    height, width = (side if isinstance(side, int) else size for side in fixed)
    if config.image_size and (height, width) != (size, size):
        raise model.error(f"reads pictures of {height} x {width}; leave out --image-size {size}")
    return height, width


def _output(model: OnnxFile, config: FeaturesConfig, names: list[str]) -> str:
    """Name of the output that is the vector."""
    if config.image_output is not None and config.image_output not in names:
        raise model.error(f"has no output {config.image_output}; --image-output takes {', '.join(names)}")
    return config.image_output or next((name for name in OUTPUTS if name in names), names[0])


def _processor(model: OnnxFile, config: FeaturesConfig) -> Any:
    """What prepares pictures as the settings beside the model say; None without such settings, or with others given."""
    given = (config.image_size, config.image_mean, config.image_std)
    if any(given) or not any(model.path.with_name(name).is_file() for name in PREPARATION):
        return None
    require_packages("transformers")
    transformers: Any = import_module("transformers")
    with model.loading():
        return transformers.AutoImageProcessor.from_pretrained(
            model.path.parent, backend="pil", trust_remote_code=False, local_files_only=True
        )


def _colours(given: tuple[float, ...] | None, metadata: str | None, default: tuple[float, ...]) -> np.ndarray:
    """Three numbers: those given, those of the model's metadata (a JSON list), or the default."""
    values = np.asarray(given or (json.loads(metadata) if metadata else default), dtype=np.float64)
    return values.reshape(3)
