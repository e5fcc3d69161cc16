"""Photographs of one bright disk each, with masks, and a click network that learns them in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.segmenters.clicknet_network import Logits
from model_zoo.training.batches import BatchMaker, BatchPolicy
from model_zoo.training.click_model import Clicks
from model_zoo.training.pictures import list_pictures
from model_zoo.training.views import ViewPolicy

SIDE = 64


def write_disks(folder: Path, count: int = 3, side: int = SIDE) -> Path:
    """images/disk0.png, ... and masks/ of the same names, 0 and 1."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rows, cols = np.mgrid[:side, :side]
    for number in range(count):
        rng = np.random.default_rng(number)
        row, col = rng.uniform(0.35 * side, 0.65 * side, 2)
        disk = np.hypot(rows - row, cols - col) < rng.uniform(0.2, 0.28) * side
        image = np.where(disk[..., None], rng.integers(160, 255, 3), rng.integers(0, 90, 3))
        image = image + rng.integers(-10, 11, image.shape)
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"disk{number}.png")
        Image.fromarray(disk.astype(np.uint8)).save(folder / "masks" / f"disk{number}.png")
    return folder


def disk_maker(folder: Path, seed: int = 0, views: int = 2, objects: int = 2) -> BatchMaker:
    """Batches of the photographs that ``write_disks`` left in a folder."""
    return BatchMaker(
        [(picture, 1.0) for picture in list_pictures(folder)],
        {},
        views=ViewPolicy(side=SIDE),
        policy=BatchPolicy(views=views, objects=objects, unlabelled=0.0),
        seed=seed,
    )


class ToyNetwork(nn.Module):
    """``embed`` and ``decode`` as ClickNetwork has them; its encoder is frozen."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = nn.Conv2d(3, 8, 3, 2, 1)
            self.neck = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU())
            self.decoder = nn.Conv2d(8 + 4, 1, 3, 1, 1)
        self.encoder.requires_grad_(False)

    def embed(self, images: Tensor) -> Tensor:
        features: Tensor = self.neck(self.encoder(images))
        return features

    def decode(self, features: Tensor, maps: Tensor, index: Tensor, *, clicks: Clicks) -> Logits:
        self.clicks = clicks
        seen = torch.cat((features[index], functional.avg_pool2d(maps, 2)), dim=1)
        fine = self.decoder(seen)
        return Logits(fine, functional.avg_pool2d(fine, 2))

    def forward(self, images: Tensor, maps: Tensor, index: Tensor, *, clicks: Clicks) -> Logits:
        return self.decode(self.embed(images), maps, index, clicks=clicks)
