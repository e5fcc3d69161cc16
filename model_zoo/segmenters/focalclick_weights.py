"""Weights of FocalClick: what was published, and its tensors under our names.

A published file holds ``state_dict`` and ``config`` of the network that was trained. The networks of one trunk for
both sizes of its input have tensors of the same shapes, so the configuration is what tells their files apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from model_zoo.errors import WeightsMissing
from model_zoo.segmenters.focalclick_hrnet import HRNetClickTrunk, convert_hrnet
from model_zoo.segmenters.focalclick_network import SIDE, FocalClickNetwork
from model_zoo.segmenters.focalclick_segformer import (
    B0,
    B3,
    SegformerSize,
    SegformerTrunk,
    convert_segformer,
)
from model_zoo.segmenters.focalclick_segformer import TINY as TINY_SEGFORMER
from model_zoo.segmenters.hrnet import TINY as TINY_HRNET
from model_zoo.segmenters.hrnet import W18_SMALL, W32, HRNetSize
from model_zoo.weights import Published, WeightSource, WeightSpec, load_network

PAPER = "Chen et al., FocalClick: Towards Practical Interactive Image Segmentation, CVPR 2022"
PAGE = "https://drive.google.com/drive/folders/1XzUlpPqbzAyMt009HVpEeW31ln1FeXfX"
CODE_LICENCE = "the code's README says MIT, its licence file Apache-2.0"
NONE_STATED = f"none stated ({CODE_LICENCE})"
FROM_NVIDIA = f"non-commercial: learnt from NVIDIA's MiT weights, else none stated ({CODE_LICENCE})"
TERMS = "they are learnt from NVIDIA's MiT weights (NVIDIA Source Code License): no commercial use"
TINY_SIDE = 64
SEGFORMER_RADIUS, HRNET_RADIUS = 3, 2  # of click disks where the trunk sees half the side
RADIUS = 5  # else
UNUSED = "refiner.feature_gate."  # in files of SegFormer networks, which have an unused maps_transform, too


@dataclass(frozen=True)
class Variant:
    """trunk: its size. halved: "S1" of the paper, whose trunk sees 128 pixels; else "S2", 256."""

    trunk: SegformerSize | HRNetSize
    halved: bool

    @property
    def version(self) -> Literal["s1", "s2"]:
        return "s1" if self.halved else "s2"


def build_network(variant: Variant, *, tiny: bool = False) -> FocalClickNetwork:
    """With random weights; tiny: of the same kind, for images of 64 pixels."""
    halved, side = variant.halved, TINY_SIDE if tiny else SIDE
    trunk: SegformerTrunk | HRNetClickTrunk
    if isinstance(variant.trunk, SegformerSize):
        trunk, radius = SegformerTrunk(TINY_SEGFORMER if tiny else variant.trunk), SEGFORMER_RADIUS
    else:
        trunk, radius = HRNetClickTrunk(TINY_HRNET if tiny else variant.trunk), HRNET_RADIUS
    return FocalClickNetwork(
        trunk, trunk.channels, radius=radius if halved else RADIUS, halved=halved, side=side
    )


def load_focalclick(
    variant: Variant, spec: WeightSpec, source: WeightSource
) -> tuple[FocalClickNetwork, str]:
    """The network, and what names its weights in fingerprints; raises WeightsMissing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(variant, tiny=source.tiny)
    digest = load_network(network, spec, source)
    # The quicker layout on processors, except for SegFormer, which turns its maps into lists of pixels and back.
    convolutions = network.refiner if isinstance(variant.trunk, SegformerSize) else network
    convolutions.to(memory_format=torch.channels_last)
    return network, digest


def convert_focalclick(
    variant: Variant, tensors: Mapping[str, Tensor], config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Tensors and configuration of a published file to the state of our network; raises WeightsMissing."""
    _check(variant, config)
    segformer = isinstance(variant.trunk, SegformerSize)
    trunk, converted = {}, {}
    for name, tensor in tensors.items():
        if name.startswith(UNUSED) or (segformer and name.startswith("maps_transform.")):
            continue
        if name.startswith("refiner."):
            converted[name] = tensor
        else:
            trunk[name] = tensor
    renamed = convert_segformer(trunk) if segformer else convert_hrnet(trunk)
    converted |= {f"trunk.{name}": tensor for name, tensor in renamed.items()}
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in build_network(variant).state_dict().items()}
    got = {name: tuple(tensor.shape) for name, tensor in converted.items()}
    wrong = sorted(name for name in wanted.keys() | got.keys() if wanted.get(name) != got.get(name))
    if wrong:
        raise WeightsMissing(
            f"this is no file of this FocalClick network: {len(wrong)} tensors do not fit, {wrong[0]} is "
            f"{got.get(wrong[0], 'missing')}, expected {wanted.get(wrong[0], 'none')}; give the file of this model"
        )
    return converted


def _check(variant: Variant, config: Mapping[str, Any]) -> None:
    """What the configuration says that shapes do not show; where it says nothing, the shapes decide."""
    expected = {"pipeline_version": variant.version, "with_prev_mask": True, "binary_prev_mask": False}
    parameters = config.get("params")
    for name, value in expected.items():
        entry = parameters.get(name) if isinstance(parameters, Mapping) else None
        got = entry.get("value") if isinstance(entry, Mapping) else None
        if got is not None and got != value:
            raise WeightsMissing(
                f"this is no file of this FocalClick network: its {name} is {got!r}, expected {value!r}; "
                "give the file of this model"
            )


def _spec(name: str, file: str, megabytes: float, parameters: int, expected: str) -> WeightSpec:
    """megabytes: of the published file, as its page counts them (2**20 bytes)."""
    nvidia = "segformer" in name
    return WeightSpec(
        name=name,
        file=f"{name}.safetensors",
        sha256="",
        size=0,
        licence=FROM_NVIDIA if nvidia else NONE_STATED,
        paper=PAPER,
        expected=f"NoC@85/90 {expected}",
        published=Published(
            file=file, size=round(megabytes * 2**20), page=PAGE, terms=TERMS if nvidia else ""
        ),
        parameters=parameters,
    )


HRNET18S_S1 = _spec(
    "focalclick-hrnet18s-s1", "hrnet18s_S1_cclvs.pth", 16.58, 4_231_377,
    "GrabCut 1.64/1.88, Berkeley 1.84/2.89, SBD 4.74/7.29, DAVIS 4.77/6.56",
)  # fmt: skip
HRNET18S_S2 = _spec(
    "focalclick-hrnet18s-s2", "hrnet18s_S2_cclvs.pth", 16.58, 4_231_377,
    "GrabCut 1.48/1.62, Berkeley 1.60/2.23, SBD 4.43/6.79, DAVIS 3.90/5.23",
)  # fmt: skip
HRNET32_S2 = _spec(
    "focalclick-hrnet32-s2", "hrnet32_S2_cclvs.pth", 119.11, 30_967_813,
    "GrabCut 1.64/1.80, Berkeley 1.70/2.36, SBD 4.24/6.61, DAVIS 4.01/5.39 "
    "(learnt on eight data sets, whose file is as good here: 1.30/1.34, 1.49/1.85, 4.35/6.61, 3.19/4.81)",
)  # fmt: skip
SEGFORMER_B0_S1 = _spec(
    "focalclick-segformer-b0-s1", "segformerB0_S1_cclvs.pth", 14.38, 3_735_651,
    "GrabCut 1.60/1.86, Berkeley 2.05/3.29, SBD 4.98/7.60, DAVIS 5.13/7.42",
)  # fmt: skip
SEGFORMER_B0_S2 = _spec(
    "focalclick-segformer-b0-s2", "segformerB0_S2_cclvs.pth", 14.38, 3_735_651,
    "GrabCut 1.40/1.66, Berkeley 1.59/2.27, SBD 4.56/6.86, DAVIS 4.04/5.49",
)  # fmt: skip
SEGFORMER_B3_S2 = _spec(
    "focalclick-segformer-b3-s2", "segformerB3_S2_cclvs.pth", 174.56, 45_682_819,
    "GrabCut 1.44/1.50, Berkeley 1.55/1.92, SBD 3.53/5.59, DAVIS 3.61/4.90 "
    "(learnt on eight data sets, whose file is as good here: 1.22/1.26, 1.35/1.48, 3.70/5.84, 2.92/4.52)",
)  # fmt: skip

VARIANTS: Mapping[str, Variant] = {
    HRNET18S_S1.name: Variant(W18_SMALL, halved=True),
    HRNET18S_S2.name: Variant(W18_SMALL, halved=False),
    HRNET32_S2.name: Variant(W32, halved=False),
    SEGFORMER_B0_S1.name: Variant(B0, halved=True),
    SEGFORMER_B0_S2.name: Variant(B0, halved=False),
    SEGFORMER_B3_S2.name: Variant(B3, halved=False),
}
