"""Weights of RITM: what was published, and its tensors under our names.

A published file holds ``state_dict`` and ``config``, the class and the parameters of the network that was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from model_zoo.errors import WeightsMissing
from model_zoo.segmenters.hrnet import W18, W18_SMALL, W32, HRNetSize
from model_zoo.segmenters.ritm_deeplab import DeepLab
from model_zoo.segmenters.ritm_network import HRNetBody, RitmNetwork
from model_zoo.weights import Published, WeightSpec

PAPER = (
    "Sofiiuk et al., Reviving Iterative Training with Mask Guidance for Interactive Segmentation, ICIP 2022"
)
PAGE = "https://github.com/SamsungLabs/ritm_interactive_segmentation"
RELEASES = tuple(
    f"https://github.com/{owner}/ritm_interactive_segmentation/releases/download/v1.0/"
    for owner in ("saic-vul", "SamsungLabs")
)
LICENCE = "MIT (the repository's; nothing is said of the weights); learnt on "
MEBIBYTE = 1 << 20
RADIUS = 5  # of click disks, in pixels of the network's input


def hrnet(size: HRNetSize, *, remembers: bool = True) -> RitmNetwork:
    """remembers: whether it sees its previous answer."""
    return RitmNetwork(HRNetBody(size), remembers=remembers)


def deeplab(trunk: str = "resnet34", channels: int = 128) -> RitmNetwork:
    """The baseline without its previous answer."""
    return RitmNetwork(DeepLab(trunk, channels), remembers=False)


def _spec(name: str, file: str, mebibytes: float, parameters: int, expected: str) -> WeightSpec:
    published = Published(
        file=file, size=round(mebibytes * MEBIBYTE), urls=tuple(base + file for base in RELEASES), page=PAGE
    )
    return WeightSpec(
        name=name, file=f"{name}.safetensors", sha256="", size=0, paper=PAPER, expected=expected,
        licence=LICENCE + ("SBD" if file.startswith("sbd") else "COCO and LVIS"),
        published=published, parameters=parameters,
    )  # fmt: skip


HRNET18S = _spec(
    "ritm-hrnet18s", "coco_lvis_h18s_itermask.pth", 16.5, 4_220_047,
    "NoC@85/90 GrabCut 1.54/1.68, Berkeley -/2.60, SBD 4.04/6.48, DAVIS 4.70/5.98",
)  # fmt: skip
HRNET18 = _spec(
    "ritm-hrnet18", "coco_lvis_h18_itermask.pth", 38.8, 10_032_019,
    "NoC@85/90 GrabCut 1.42/1.54, Berkeley -/2.26, SBD 3.80/6.06, DAVIS 4.36/5.74",
)  # fmt: skip
HRNET32 = _spec(
    "ritm-hrnet32", "coco_lvis_h32_itermask.pth", 119, 30_951_363,
    "NoC@85/90 GrabCut 1.46/1.56, Berkeley -/2.10, SBD 3.59/5.71, DAVIS 4.11/5.34",
)  # fmt: skip
HRNET18_SBD = _spec(
    "ritm-hrnet18-sbd", "sbd_h18_itermask.pth", 38.8, 10_032_019,
    "NoC@85/90 GrabCut 1.76/2.04, Berkeley -/3.22, SBD 3.39/5.43, DAVIS 4.94/6.71",
)  # fmt: skip
HRNET18_BASELINE = _spec(
    "ritm-hrnet18-baseline", "coco_lvis_h18_baseline.pth", 38.8, 10_032_003,
    "NoC@85/90 GrabCut 1.54/1.70, Berkeley -/2.48, SBD 4.26/6.86, DAVIS 4.79/6.00",
)  # fmt: skip
RESNET34 = WeightSpec(
    name="ritm-resnet34", file="ritm-resnet34.safetensors", sha256="", size=0, paper=PAPER,
    licence="yours: nobody publishes these weights",
    published=Published(file="last_checkpoint.pth", page=PAGE), parameters=23_350_930,
    training=f"nobody publishes them: train models/noniterative_baselines/r34_dh128_cocolvis.py of {PAGE}, then run: "
    "clickpick weights import ritm-resnet34 FILE",
)  # fmt: skip

HEAD = ("aux_head", "conv3x3_ocr", "ocr_distri_head", "cls_head")
"""What is not the trunk's in an HRNet with OCR."""

HRNET_CLASS = "isegm.model.is_hrnet_model.HRNetModel"
DEEPLAB_CLASS = "isegm.model.is_deeplab_model.DeeplabModel"
DEEPLAB_NAMES = (
    ("feature_extractor.backbone.", "body.trunk.layers."),
    ("feature_extractor.head.block.", "body.decoder."),
    ("feature_extractor.skip_project.skip_project.", "body.skip_project."),
    ("feature_extractor.aspp.concurent.4.gap.", "body.aspp.branches.4."),
    ("feature_extractor.aspp.concurent.", "body.aspp.branches."),
    ("feature_extractor.aspp.project.", "body.aspp.project."),
    ("head.layers.", "body.head."),
)
"""Beginnings of names, theirs to ours."""


def convert_ritm(
    build: Callable[[], RitmNetwork], tensors: Mapping[str, Tensor], config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Tensors and configuration of a published file to the state of the network that is built.

    Raises WeightsMissing, saying what does not fit.
    """
    with torch.device("meta"):
        network = build()
    problem = next(_differences(network, config), None)
    if problem is not None:
        raise WeightsMissing(f"this is no file of this RITM network: {problem}; give the file of this model")
    found = {our_name(name): tensor for name, tensor in tensors.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    got = {name: tuple(tensor.shape) for name, tensor in found.items()}
    wrong = sorted(name for name in wanted.keys() | got.keys() if wanted.get(name) != got.get(name))
    if wrong:
        name = wrong[0]
        raise WeightsMissing(
            f"this is no file of this RITM network: {len(wrong)} tensors do not fit, {name} is "
            f"{got.get(name, 'missing')}, expected {wanted.get(name, 'none')}; give the file of this model"
        )
    return found


def our_name(name: str) -> str:
    """Of a published tensor; one that we know nothing of keeps its name."""
    for theirs, ours in DEEPLAB_NAMES:
        if name.startswith(theirs):
            return ours + name[len(theirs) :].replace(".body.", ".")
    inner = name.removeprefix("feature_extractor.")
    if inner == name:
        return name
    return f"body.head.{inner}" if inner.startswith(HEAD) else f"body.trunk.layers.{inner}"


def _differences(network: RitmNetwork, config: Mapping[str, Any]) -> Iterator[str]:
    """What the configuration says that shapes do not show; where it says nothing, the shapes decide."""
    given: dict[str, Any] = {"class": config.get("class")}
    for name, entry in dict(config.get("params") or {}).items():
        given[name] = entry.get("value") if isinstance(entry, Mapping) else None
    expected = {
        "class": HRNET_CLASS if isinstance(network.body, HRNetBody) else DEEPLAB_CLASS,
        "with_prev_mask": network.remembers,
        "use_disks": True,
        "norm_radius": RADIUS,
        "use_leaky_relu": True,
        "use_rgb_conv": False,
        "conv_extend": False,
        "binary_prev_mask": False,
        "clicks_groups": None,
    }
    for name, value in expected.items():
        if given.get(name, value) not in (value, None):
            yield f"its {name} is {given[name]!r}, expected {value!r}"


NETWORKS: Mapping[str, Callable[[], RitmNetwork]] = {
    HRNET18S.name: lambda: hrnet(W18_SMALL),
    HRNET18.name: lambda: hrnet(W18),
    HRNET32.name: lambda: hrnet(W32),
    HRNET18_SBD.name: lambda: hrnet(W18),
    HRNET18_BASELINE.name: lambda: hrnet(W18, remembers=False),
    RESNET34.name: deeplab,
}
"""How the network of each published file is built."""
