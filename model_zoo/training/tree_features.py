"""What the cells of a region tree are compared by: tokens of a vision transformer, or a pyramid with colour.

The paper's tokens are DINO's (``vit_small_patch8_224.dino`` in timm), learnt without labels. Where their file is not
at hand a frozen convolutional pyramid takes their place; ImageNet's labels taught it, so that a model trained on its
regions knows those labels indirectly. Both give one cell per 8x8 pixels, as the paper's ViT-S/8 does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file

from model_zoo.encoders import Encoder, check_image, resize
from model_zoo.errors import BadInput, UnknownModel, WeightsMissing
from model_zoo.segmenters.grid import Size, sample_level

CELL = 8
"""Side of a cell in pixels of the image brought to its size for the encoder."""
LONG_SIDE = 512
"""Larger images are shrunk to this longer side: attention is quadratic in the cells. The paper's have 500."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class PyramidMix:
    """How much each cue of a pyramid weighs, chosen with benchmarks/regions.py on held-out training photographs.

    levels: (stride, factor of the unit feature vectors). colour: factor of Lab. position: factor of the place, in
    units of the longer side. Colour and position break ties and keep like texture from merging across the image.
    zoom: how much larger the encoder sees the image, which narrows what one vector looks at.
    """

    levels: tuple[tuple[int, float], ...] = ((8, 0.3), (16, 0.5), (32, 0.3))
    colour: float = 0.015
    position: float = 0.1
    zoom: float = 2.0


class VitTokens:
    """A frozen timm vision transformer; ``create_vit`` builds one with its weights."""

    def __init__(self, model: Any, device: str = "cpu") -> None:
        """model: any timm ViT with square patches made with dynamic_img_size=True; raises BadInput otherwise."""
        patch = getattr(getattr(model, "patch_embed", None), "patch_size", (0, 1))
        if patch[0] != patch[1] or not getattr(model, "dynamic_img_size", False):
            raise BadInput(
                f"{type(model).__name__} takes one size of image; expected a timm vision transformer with square "
                f"patches, created with dynamic_img_size=True"
            )
        self.patch = int(patch[0])
        self.device = torch.device(device)
        config = (
            model.pretrained_cfg
        )  # mean and deviation that the weights were trained with; DINO: ImageNet's
        self._mean, self._deviation = (
            torch.tensor(config[name], device=self.device).view(3, 1, 1) for name in ("mean", "std")
        )
        self._model = model.eval().requires_grad_(False).to(self.device)

    def tokens(self, image: NDArray[np.uint8]) -> Floats:
        """Output of the last block after the final norm, prefix tokens dropped: (ceil(H / 8), ceil(W / 8), C).

        The image (H, W, 3) uint8 is resized bicubically by patch / 8, each side rounded up to whole patches.
        """
        height, width = (-(-side // CELL) * self.patch for side in image.shape[:2])
        resized = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(resized)).to(self.device).permute(2, 0, 1).float() / 255.0
        with torch.inference_mode():
            (grid,) = self._model.forward_intermediates(
                ((pixels - self._mean) / self._deviation)[None], indices=1, norm=True, intermediates_only=True
            )
            return np.ascontiguousarray(grid[0].permute(1, 2, 0).float().cpu().numpy())


def create_vit(name: str, weights_dir: Path | None = None, device: str = "cpu") -> VitTokens:
    """The timm ViT of that name with the weights NAME.safetensors of the folder; nothing is downloaded.

    Raises UnknownModel when timm has no such ViT, WeightsMissing, with the step that helps, without its file.
    """
    if not timm.is_model(name.partition(".")[0]) or not name.startswith("vit_"):
        raise UnknownModel(
            f"{name!r} is no vision transformer of timm; a good one is vit_small_patch8_224.dino"
        )
    advice = (
        f"put model.safetensors of the Hugging Face repository timm/{name} there, or use efficientnet-lite0"
    )
    path = None if weights_dir is None else weights_dir / f"{name}.safetensors"
    if path is None or not path.is_file():
        raise WeightsMissing(f"weights of {name!r} not found ({path or 'no folder given'}); {advice}")
    model = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True)
    try:
        state = {key: part for key, part in load_file(path).items() if not key.startswith("head.")}
        model.load_state_dict(state)
    except (SafetensorError, RuntimeError) as error:
        raise WeightsMissing(f"{path} does not hold the weights of {name!r}: {error}; {advice}") from error
    return VitTokens(model, device)


def token_features(
    image: NDArray[np.uint8],
    source: VitTokens | Encoder,
    mix: PyramidMix | None = None,
    long_side: int = LONG_SIDE,
) -> Floats:
    """Features (h, w, C) of the cells, to be merged by ``build_tree``.

    image: (H, W, 3) uint8 RGB, shrunk first where it is longer than ``long_side`` pixels; then h = ceil(H / 8) and
    w = ceil(W / 8). mix: for encoders. Raises BadInput.
    """
    check_image(image)
    small = resize(image, min(1.0, long_side / max(image.shape[:2])))
    if isinstance(source, VitTokens):
        return source.tokens(small)
    return _mixed(small, source, mix or PyramidMix())


def _mixed(image: NDArray[np.uint8], encoder: Encoder, mix: PyramidMix) -> Floats:
    """Unit vectors of the levels, Lab and position, each times its factor: (h, w, C)."""
    grid = -(-image.shape[0] // CELL), -(-image.shape[1] // CELL)
    seen = resize(image, mix.zoom)
    size = seen.shape[0], seen.shape[1]
    factors = dict(mix.levels)
    if unknown := set(factors) - set(encoder.strides):
        raise BadInput(
            f"encoder {encoder.name!r} has no level of stride {unknown}; choose from {encoder.strides}"
        )
    parts = [
        sample_level(level, stride, size, grid) * np.float32(factors[stride])
        for level, stride in zip(encoder.features(seen), encoder.strides, strict=True)
        if factors.get(stride)
    ]
    place = (np.mgrid[: grid[0], : grid[1]] / max(grid)).astype(np.float32)
    parts += [_lab(image, grid) * np.float32(mix.colour), place * np.float32(mix.position)]
    return np.ascontiguousarray(np.concatenate(parts).transpose(1, 2, 0))


def _lab(image: NDArray[np.uint8], grid: Size) -> Floats:
    """Mean CIE-Lab colour of each cell, (3, h, w)."""
    cells = cv2.resize(image, grid[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    lab = cv2.cvtColor(cells.reshape(*grid, 3), cv2.COLOR_RGB2Lab)
    return np.asarray(lab.transpose(2, 0, 1), dtype=np.float32)
