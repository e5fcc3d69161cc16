"""A click network of eight numbers, registered as others' are, with a file that its authors publish."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model_zoo import registry
from model_zoo.errors import WeightsMissing
from model_zoo.prompt import Prompt
from model_zoo.segmenters.base import Embedding, Mask, Segmenter
from model_zoo.segmenters.click_maps import render
from model_zoo.weights import Published, WeightSource, WeightSpec, load_network

PUBLISHED = Published("fake_official.pth", 2000, page="https://example.org/fake", terms="non-commercial data")
SPEC = WeightSpec(
    name="fake-net",
    file="fake-net.safetensors",
    sha256="",
    size=0,
    licence="MIT",
    paper="none",
    expected="GrabCut NoC@85/90 9.99/9.99 (published)",
    published=PUBLISHED,
    parameters=8,
)


def official(seed: int = 0) -> dict[str, Any]:
    """What the authors' code would save."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = {
            f"feature_extractor.{name}": value for name, value in nn.Conv2d(7, 1, 1).state_dict().items()
        }
    return {"state_dict": state, "config": {"class": "isegm.Fake"}}


def save_official(path: Path, seed: int = 0) -> str:
    """Write the published file; its SHA-256."""
    torch.save(official(seed), path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def convert(tensors: dict[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    if config.get("class") != "isegm.Fake":
        raise WeightsMissing(
            f"the file is of {config.get('class')!r}, expected 'isegm.Fake'; take the right file"
        )
    return {name.removeprefix("feature_extractor."): value for name, value in tensors.items()}


class FakeNet(Segmenter):
    prompts: ClassVar[frozenset[str]] = frozenset({"click"})
    stateful: ClassVar[bool] = True
    order_free: ClassVar[bool] = False

    def __init__(self, network: nn.Module, digest: str) -> None:
        self.name = "fake-net"
        self.fingerprint = f"fake-net:{digest}"
        self.network = network.eval().requires_grad_(False)

    def encode(self, image: NDArray[np.uint8]) -> Embedding:
        return Embedding(image.shape[0], image.shape[1], image.nbytes, image.copy())

    def decode(self, embedding: Embedding, prompt: Prompt, state: Any = None) -> Mask:
        height, width = embedding.height, embedding.width
        maps = render(height, width, clicks=prompt.clicks, previous=state)
        pixels = torch.from_numpy(embedding.data).permute(2, 0, 1).float() / 255.0
        inputs = torch.cat((pixels, torch.from_numpy(maps)))[None]
        logits = np.asarray(self.network(inputs)[0, 0].numpy(), dtype=np.float32)
        return Mask(logits, 0.5, None, np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float32))


def build(device: str, source: WeightSource) -> FakeNet:
    """A fake network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        network = nn.Conv2d(7, 1, 1)
    return FakeNet(network, load_network(network, SPEC, source))


@contextmanager
def registered(published: Published = PUBLISHED, **changes: Any) -> Iterator[WeightSpec]:
    """While it is open, ``fake-net`` is a model; its file is published as told."""
    registry.list_models()  # what there is registers itself once
    spec = replace(SPEC, published=published, **changes)
    build.__name__ = "fake_net"
    registry.register_network(
        paper="none", licence=spec.licence, source="tests", weights=(spec,), convert=convert
    )(build)
    try:
        yield spec
    finally:
        del registry._models["fake-net"], registry._converters["fake-net"]
