"""The HRNet trunk of FocalClick: RITM's network, of which the features before the last convolution are wanted, too.

Chen et al., FocalClick, CVPR 2022; see ``hrnet`` and ``ritm_network``.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from model_zoo.segmenters.hrnet import HRNetSize
from model_zoo.segmenters.ritm_network import HRNetBody, RitmNetwork

HEAD = ("aux_head.", "conv3x3_ocr.", "ocr_distri_head.", "cls_head.")


class HRNetClickTrunk(nn.Module):
    """(B, 3, h, w) normalised image and (B, 3, h, w) maps to logits (B, 1, h / 4, w / 4) and features there."""

    def __init__(self, size: HRNetSize) -> None:
        super().__init__()
        self.channels = 2 * size.ocr
        self.body = HRNetBody(size)
        self.maps_transform = RitmNetwork(self.body).maps_transform

    def forward(self, image: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body.begin(image, self.maps_transform(maps), "C")
        return self.body.finish(features, "C"), features[0]


def convert_hrnet(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state to that of HRNetClickTrunk; what is not known keeps its name."""
    converted = {}
    for name, tensor in tensors.items():
        layer = name.removeprefix("feature_extractor.")
        if layer != name:
            converted[f"body.head.{layer}" if layer.startswith(HEAD) else f"body.trunk.layers.{layer}"] = (
                tensor
            )
        else:
            converted[name] = tensor
    return converted
