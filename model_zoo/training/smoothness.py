"""Neighbouring pixels of like colour should have like probabilities: the smoothness loss of MIS.

Li et al., "Multi-granularity interaction simulation for unsupervised interactive segmentation", ICCV 2023 (MIS);
written from the paper. Its published code differs; here, as in the paper, the loss acts on probabilities and not on
logits, the scales are squared, colours are true YUV and all 24 neighbours of a 5x5 window count. Probabilities differ
by less than logits, so that the paper's weight of 10 pulls less here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as nnf

from model_zoo.errors import BadInput

YUV = ((0.299, 0.587, 0.114), (-0.147, -0.289, 0.436), (0.615, -0.515, -0.100))
"""Rows Y, U, V of red, green, blue (BT.601, analogue)."""


@dataclass(frozen=True)
class SmoothnessScales:
    """Distances at which the affinity of two pixels has fallen to exp(-1/2).

    position: pixels of the probabilities; luma, chroma: levels of 0 to 255.
    """

    position: float = 16.0
    luma: float = 16.0
    chroma: float = 8.0


def smoothness_loss(
    probabilities: torch.Tensor,
    image: torch.Tensor,
    *,
    radius: int = 2,
    scales: SmoothnessScales | None = None,
) -> torch.Tensor:
    """Mean over pixels and neighbours of affinity times absolute difference: a float32 scalar with gradient.

    probabilities: (B, 1, h, w) in [0, 1]; image: (B, 3, H, W) RGB in [0, 1], resized to (h, w) without gradient.
    affinity = exp(-d_xy^2 / 2 s_xy^2 - d_y^2 / 2 s_y^2 - d_uv^2 / 2 s_uv^2), over the square window of ``radius``
    pixels (2: 5x5) without its centre. Beyond the border both maps repeat their edge. Raises BadInput.
    """
    _check(probabilities, image, radius)
    chosen = scales or SmoothnessScales()
    height, width = probabilities.shape[2:]
    with torch.no_grad():
        colours = _scaled_yuv(image, (height, width), chosen)
    values = probabilities.float()
    padded = nnf.pad(values, (radius,) * 4, mode="replicate")
    around = nnf.pad(colours, (radius,) * 4, mode="replicate")
    span, total = 2 * radius + 1, values.new_zeros(())
    for row in range(span):
        for col in range(span):
            squared = (row - radius) ** 2 + (col - radius) ** 2
            if not squared:
                continue
            there = (..., slice(row, row + height), slice(col, col + width))
            distance = (around[there] - colours).square().sum(dim=1, keepdim=True)
            affinity = torch.exp(-0.5 * (distance + squared / chosen.position**2))
            total = total + (affinity * (padded[there] - values).abs()).mean()
    return total / (span**2 - 1)


def _scaled_yuv(image: torch.Tensor, size: tuple[int, int], scales: SmoothnessScales) -> torch.Tensor:
    """Luma and chroma of the resized image, each divided by its scale: (B, 3, h, w) float32."""
    pixels = image.float() * 255.0
    if pixels.shape[2:] != size:
        pixels = nnf.interpolate(pixels, size=size, mode="bilinear", antialias=True, align_corners=False)
    units = torch.tensor((scales.luma, scales.chroma, scales.chroma), device=image.device)
    matrix = torch.tensor(YUV, device=image.device) / units[:, None]
    # An explicit sum, as a matrix product would run in half precision under autocast.
    return (pixels[:, None] * matrix[:, :, None, None]).sum(dim=2)


def _check(probabilities: torch.Tensor, image: torch.Tensor, radius: int) -> None:
    maps, colours = tuple(probabilities.shape), tuple(image.shape)
    if len(maps) != 4 or len(colours) != 4 or maps[1] != 1 or colours[1] != 3 or maps[0] != colours[0]:
        raise BadInput(
            f"probabilities are {maps} and images {colours}; expected (B, 1, h, w) and (B, 3, H, W)"
        )
    if radius < 1:
        raise BadInput(f"radius is {radius}; expected 1 or more; 2 is the paper's 5x5 window")
