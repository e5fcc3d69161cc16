"""RITM's networks: image, previous answer and click disks to logits, in two halves for backprop refinement.

Sofiiuk et al., Reviving Iterative Training with Mask Guidance, 2021, section 3 (Conv1S: the clicks are added to the
output of the first convolution). Compared with github.com/SamsungLabs/ritm_interactive_segmentation (commit b9b4460,
MIT licence), written from a description.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from model_zoo.segmenters.hrnet import STEM, HRNetSize, HRNetTrunk, OcrHead
from model_zoo.segmenters.predictor_maps import resize
from model_zoo.segmenters.ritm_deeplab import DeepLab, Place

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet
Built = TypeVar("Built")


class HRNetBody(nn.Module):
    """Normalised images to logits; ``beside`` as of HRNetTrunk."""

    def __init__(self, size: HRNetSize) -> None:
        super().__init__()
        self.trunk = HRNetTrunk(size)
        self.head = OcrHead(size.channels, size.ocr)

    @property
    def last(self) -> nn.Conv2d:
        """What makes the logits."""
        return self.head.cls_head

    def begin(self, image: Tensor, beside: Tensor, place: Place) -> tuple[Tensor, ...]:
        """A and B: the features of all resolutions. C: those that know their context."""
        features = self.trunk(image, beside)
        return (self.head.context(features),) if place == "C" else (features,)

    def finish(self, features: tuple[Tensor, ...], place: Place) -> Tensor:
        """Logits (B, 1, h, w) at stride 4."""
        logits: Tensor = self.head.cls_head(features[0]) if place == "C" else self.head(features[0])
        return logits


class RitmNetwork(nn.Module):
    """A ClickNetwork on either body. remembers: whether it was trained to see its previous answer."""

    def __init__(self, body: HRNetBody | DeepLab, *, remembers: bool = True) -> None:
        super().__init__()
        self.body = body
        self.remembers = remembers
        self.maps_transform = nn.Sequential(
            nn.Conv2d(3 if remembers else 2, 16, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(16, STEM, 3, stride=2, padding=1),
            _Scale(),
        )
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)

    def begin(self, image: Tensor, maps: Tensor, place: Place) -> tuple[Tensor, ...]:
        """Features where the network is cut; the first of them are what a refinement scales and shifts."""
        colours = (image[:, :3] - cast("Tensor", self.mean)) / cast("Tensor", self.deviation)
        seen = torch.cat([image[:, 3:], maps], dim=1) if self.remembers else maps
        return self.body.begin(colours, self.maps_transform(seen), place)

    def finish(self, features: tuple[Tensor, ...], place: Place, height: int, width: int) -> Tensor:
        """Logits (B, 1, height, width) from features."""
        return resize(self.body.finish(features, place), height, width)

    def forward(self, image: Tensor, maps: Tensor) -> Tensor:
        return self.finish(self.begin(image, maps, "C"), "C", image.shape[-2], image.shape[-1])


class _Scale(nn.Module):
    """Multiplies by the size of a learnt number."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1,), 0.05))

    def forward(self, values: Tensor) -> Tensor:
        return values * self.scale.abs()


def seeded(build: Callable[[], Built]) -> Built:
    """What is built with random numbers that are the same each time; those of others are left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()


@torch.no_grad()
def settled(network: RitmNetwork, side: int = 64) -> RitmNetwork:
    """A random network made to answer with both signs, for tests.

    Its normalisations take the statistics of one noise image, its last layer is scaled and shifted so that logits
    are 0 on average there, and 2 off it.
    """
    image, maps = torch.rand(2, 4, side, side), torch.zeros(2, 2, side, side)
    maps[:, 0, side // 3 : side // 2, side // 3 : side // 2] = 1.0
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    network.train()(image, maps)
    for norm in norms:
        norm.momentum = 0.1
        if norm.running_var is not None:
            norm.running_var.clamp_(min=0.1)  # of means over two images it is next to nothing
    logits = network.eval()(image, maps)
    last = network.body.last
    gain = 2.0 / logits.std().clamp_min(1e-6)
    last.weight.mul_(gain)
    if last.bias is not None:
        last.bias.sub_(logits.mean()).mul_(gain)
    return network
