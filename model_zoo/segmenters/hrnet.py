"""HRNetV2 with an OCR head as RITM and FocalClick use it: timm's trunk, resampled as there.

Wang et al., Deep High-Resolution Representation Learning for Visual Recognition, TPAMI 2020; Yuan et al.,
Object-Contextual Representations, ECCV 2020. Compared with github.com/SamsungLabs/ritm_interactive_segmentation
(commit b9b4460, MIT licence), written from a description; the trunk's layers are timm's (Apache-2.0). Deliberate
differences: timm's exchange of resolutions is replaced (it repeats pixels; here lines run from corner to corner, to
the exact size, so that every image size will do); the attention over the one object class there is, is 1 at every
pixel and is not computed, so that the layers before it (``f_pixel``, ``f_object``) only hold their published weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from timm.models.hrnet import HighResolutionNet
from torch import Tensor, nn

from model_zoo.segmenters.predictor_maps import resize

STEM = 64  # channels


@dataclass(frozen=True)
class HRNetSize:
    """width: channels at stride 4, doubled with each stride. blocks: of each branch. modules: of stages 2, 3 and 4.
    bottleneck: inner channels of the first stage. ocr: key channels of the OCR head, whose features have twice as
    many."""

    width: int
    blocks: int
    modules: tuple[int, int, int]
    ocr: int
    bottleneck: int = 64

    @property
    def channels(self) -> int:
        """Of the four resolutions together."""
        return 15 * self.width


W18_SMALL = HRNetSize(18, 2, (1, 3, 2), ocr=48)
W18 = HRNetSize(18, 4, (1, 4, 3), ocr=64)
W32 = HRNetSize(32, 4, (1, 4, 3), ocr=128)
TINY = HRNetSize(4, 1, (1, 1, 1), ocr=8, bottleneck=8)


class HRNetTrunk(nn.Module):
    """Normalised images (B, 3, H, W) to features (B, 15 width, ceil(H / 4), ceil(W / 4)).

    beside: (B, STEM, ceil(H / 2), ceil(W / 2)), added to the output of the first convolution, or None. ``layers``
    are those of timm without its classifier, under its names, which are HRNet's own.
    """

    def __init__(self, size: HRNetSize) -> None:
        super().__init__()
        self.layers: Any = HighResolutionNet(_configuration(size), num_classes=0, head="")

    def stem(self, image: Tensor, beside: Tensor | None) -> Tensor:
        """(B, 64, h, w) at stride 4."""
        layers = self.layers
        first = layers.act1(layers.bn1(layers.conv1(image)))
        if beside is not None:
            first = first + beside
        stem: Tensor = layers.act2(layers.bn2(layers.conv2(first)))
        return stem

    def forward(self, image: Tensor, beside: Tensor | None = None) -> Tensor:
        layers = self.layers
        first = layers.layer1(self.stem(image, beside))
        scales = _stage(layers.stage2, [transition(first) for transition in layers.transition1])
        scales = _stage(layers.stage3, _widen(layers.transition2, scales))
        scales = _stage(layers.stage4, _widen(layers.transition3, scales))
        height, width = scales[0].shape[-2:]
        return torch.cat([resize(scale, height, width) for scale in scales], dim=1)


def _widen(transitions: Any, scales: list[Tensor]) -> list[Tensor]:
    """One resolution more, made from the coarsest."""
    return [*scales, transitions[len(scales)](scales[-1])]


def _stage(modules: Any, scales: list[Tensor]) -> list[Tensor]:
    for module in modules:
        scales = [branch(scale) for branch, scale in zip(module.branches, scales, strict=True)]
        scales = [
            _exchange(module, layers, scales, number) for number, layers in enumerate(module.fuse_layers)
        ]
    return scales


def _exchange(module: Any, layers: Any, scales: list[Tensor], number: int) -> Tensor:
    """Resolution ``number`` with what the others know: finer ones through strided layers, coarser ones enlarged."""
    height, width = scales[number].shape[-2:]
    total: Any = None
    for other, (layer, scale) in enumerate(zip(layers, scales, strict=True)):
        # The last of a coarser resolution's three layers is the enlargement that repeats pixels.
        part = resize(layer[:2](scale), height, width) if other > number else layer(scale)
        total = part if total is None else total + part
    fused: Tensor = module.fuse_act(total)
    return fused


def _configuration(size: HRNetSize) -> dict[str, Any]:
    """As timm describes a network of this size."""
    stages: dict[str, Any] = {
        "stage1": {
            "num_modules": 1,
            "num_branches": 1,
            "block_type": "BOTTLENECK",
            "num_blocks": (size.blocks,),
            "num_channels": (size.bottleneck,),
            "fuse_method": "SUM",
        }
    }
    for number, modules in enumerate(size.modules, start=2):
        stages[f"stage{number}"] = {
            "num_modules": modules,
            "num_branches": number,
            "block_type": "BASIC",
            "num_blocks": (size.blocks,) * number,
            "num_channels": tuple(size.width * 2**branch for branch in range(number)),
            "fuse_method": "SUM",
        }
    return {"stem_width": STEM, **stages}


class OcrHead(nn.Module):
    """Features (B, channels, h, w) to logits (B, 1, h, w); layers bear the published names.

    A first guess (``aux_head``) says what is object; the mean feature of the object then helps to decide each pixel.
    """

    def __init__(self, channels: int, ocr: int) -> None:
        super().__init__()
        self.aux_head = nn.Sequential(*_layers(channels, channels, bias=True), nn.Conv2d(channels, 1, 1))
        self.conv3x3_ocr = nn.Sequential(*_layers(channels, 2 * ocr, 3, bias=True))
        self.ocr_distri_head = _Distribution(2 * ocr, ocr)
        self.cls_head = nn.Conv2d(2 * ocr, 1, 1)

    def guess(self, features: Tensor) -> Tensor:
        """The first guess alone, logits (B, 1, h, w); a loss of its own holds it in training."""
        logits: Tensor = self.aux_head(features)
        return logits

    def context(self, features: Tensor) -> Tensor:
        """Features (B, 2 ocr, h, w) from which one convolution makes the logits."""
        weights = self.guess(features).flatten(2).softmax(dim=2)
        narrow = self.conv3x3_ocr(features)
        mean = torch.matmul(weights, narrow.flatten(2).transpose(1, 2)).transpose(1, 2).unsqueeze(3)
        mixed: Tensor = self.ocr_distri_head(narrow, mean)
        return mixed

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.cls_head(self.context(features))
        return logits


class _Distribution(nn.Module):
    """Features (B, C, h, w) and the object's mean feature (B, C, 1, 1) to features (B, C, h, w)."""

    def __init__(self, channels: int, keys: int) -> None:
        super().__init__()
        self.object_context_block = nn.ModuleDict(
            {
                "f_pixel": nn.Sequential(*_paired(channels, keys), *_paired(keys, keys)),
                "f_object": nn.Sequential(*_paired(channels, keys), *_paired(keys, keys)),
                "f_down": nn.Sequential(*_paired(channels, keys)),
                "f_up": nn.Sequential(*_paired(keys, channels)),
            }
        )
        self.conv_bn_dropout = nn.Sequential(*_paired(2 * channels, channels), nn.Dropout2d(0.05))

    def forward(self, features: Tensor, mean: Tensor) -> Tensor:
        block, (height, width) = self.object_context_block, features.shape[-2:]
        value = block["f_down"](mean).flatten(2).transpose(1, 2)
        # The same at all pixels, and yet computed at each, by the attention that is 1: values and gradients are then
        # equal to the last bit to the published ones, which the search of a refinement would drive apart.
        everywhere = torch.matmul(value.new_ones(len(value), height * width, 1), value).transpose(1, 2)
        context = block["f_up"](everywhere.reshape(len(value), -1, height, width))
        mixed: Tensor = self.conv_bn_dropout(torch.cat([context, features], dim=1))
        return mixed


def _layers(before: int, after: int, kernel: int = 1, *, bias: bool = False) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=bias)
    return [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


def _paired(before: int, after: int) -> list[nn.Module]:
    """The same without bias, normalisation and activation in one, as the published names have it."""
    convolution, *rest = _layers(before, after)
    return [convolution, nn.Sequential(*rest)]
