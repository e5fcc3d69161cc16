"""FocalClick's network: a coarse mask from a small picture, then a crop of it refined at full resolution.

Chen et al., FocalClick: Towards Practical Interactive Image Segmentation, CVPR 2022, sections 3.2 and 3.3; written
from a description.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from model_zoo.segmenters.focalclick_refiner import Refiner
from model_zoo.segmenters.predictor_maps import Point, disk_maps, resize

SIDE = 256  # of the squares that both parts see, in pixels
Box = tuple[float, float, float, float]  # top, left, bottom and right; ends exclusive
REFINER_RADIUS = 5  # of its click disks, in pixels of the crop
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


class FocalClickNetwork(nn.Module):
    """A trunk and its refiner. ``side``: of their square inputs, in pixels.

    The trunk takes a normalised image (1, 3, h, w) and maps (1, 3, h, w), the previous probability before positive
    and negative disks, and gives logits (1, 1, h / 4, w / 4) and features with ``channels`` channels.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, trunk: nn.Module, channels: int, *, radius: int, halved: bool, side: int = SIDE
    ) -> None:
        """radius: of the trunk's click disks, in pixels of its input. halved: the trunk sees half the side."""
        super().__init__()
        self.trunk = trunk
        self.refiner = Refiner(channels)
        self.side = side
        self._radius, self._halved = radius, halved
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)

    def coarse(self, image: Tensor, previous: Tensor, points: Sequence[Point]) -> tuple[Tensor, Tensor]:
        """Logits (1, 1, side, side) and the trunk's features (1, channels, h, w).

        image: (3, side, side) in [0, 1]. previous: (1, side, side) probabilities. points: in pixels of the square.
        """
        disks = disk_maps(points, self.side, self.side, self._radius).to(image.device)
        maps = torch.cat((previous, disks))[None]
        pixels = ((image - self.mean) / self.std)[None]
        if self._halved:
            pixels, maps = (resize(values, self.side // 2, self.side // 2) for values in (pixels, maps))
        logits, features = self.trunk(pixels, maps)
        return resize(logits.float(), self.side, self.side), features

    def refine(
        self, image: Tensor, points: Sequence[Point], coarse: Tensor, features: Tensor, box: Box
    ) -> Tensor:
        """Better logits (1, 1, side, side) of a box; coarse and features as ``coarse`` gives them.

        image: (3, side, side) in [0, 1], the box alone. points: all clicks in pixels of that crop. box: in pixels of
        the square that the trunk saw.
        """
        disks = disk_maps(points, self.side, self.side, REFINER_RADIUS).to(image.device)
        refined: Tensor = self.refiner(
            image[None], disks[None], self._cut(features, box), self._cut(coarse, box)
        )
        return refined.float()

    def _cut(self, values: Tensor, box: Box) -> Tensor:
        """A box of a map (1, C, h, w) that covers the square, in the map's own size; He et al., Mask R-CNN, 2017."""
        height, width = values.shape[-2:]
        top, left, bottom, right = box
        region = torch.tensor([[0.0, left, top, right, bottom]], device=values.device)
        cut: Tensor = roi_align(
            values.float(), region, (height, width), spatial_scale=width / self.side, aligned=True
        )
        return cut
