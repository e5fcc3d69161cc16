"""Weights of SimpleClick: what was published, and its tensors under our names.

A published file holds ``state_dict`` and ``config`` of the network that was trained, and in the latter a loss object
that is of no use here; reading it safely is ``model_zoo.checkpoints``' business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from model_zoo.errors import WeightsMissing
from model_zoo.segmenters.simpleclick_network import SimpleClickNetwork, Sizes
from model_zoo.weights import Published, WeightSource, WeightSpec, load_network

PAPER = "Liu et al., SimpleClick: Interactive Image Segmentation with Simple Vision Transformers, ICCV 2023"
PAGE = "https://drive.google.com/drive/folders/1qpK0gtAPkVMF7VC42UA9XF4xMWr5KJmL"
FROM_MAE = "non-commercial: learnt from MAE's weights (CC BY-NC 4.0), else none stated (the code is MIT)"
TERMS = "they are learnt from the weights of MAE, which are CC BY-NC 4.0: no commercial use"
CLASS = "isegm.model.is_plainvit_model.PlainVitModel"
RADIUS = 5  # of click disks, in pixels of the network's input

SIZES: Mapping[str, Sizes] = {
    "xtiny": Sizes(160, 8, 4, 16, (96, 192, 288, 384), head=128),
    "b": Sizes(768, 12, 12, 16, (128, 256, 512, 1024)),
    "l": Sizes(1024, 24, 16, 16, (192, 384, 768, 1536)),
    "h": Sizes(1280, 32, 16, 14, (240, 480, 960, 1920), grid=32),
}
TINY = Sizes(16, 4, 2, 8, (8, 8, 12, 16), head=8, grid=8, window=32)
"""Of the same kind as "xtiny" for images of 64 pixels, for tests."""


def _spec(
    size: str, file: str, millions: int, parameters: int, *, expected: str = "", licence: str = FROM_MAE
) -> WeightSpec:
    """millions: of bytes of the published file."""
    name = f"simpleclick-vit-{size}"
    terms = TERMS if licence == FROM_MAE else ""
    return WeightSpec(
        name=name, file=f"{name}.safetensors", sha256="", size=0, licence=licence, paper=PAPER, expected=expected,
        published=Published(file=file, size=millions * 1_000_000, page=PAGE, terms=terms), parameters=parameters,
    )  # fmt: skip


XTINY = _spec(
    "xtiny", "sbd_vit_xtiny.pth", 16, 3_845_281, licence="none stated (the code is MIT); learnt on SBD"
)
BASE = _spec(
    "b", "cocolvis_vit_base.pth", 392, 97_067_969,
    expected="NoC@85/90 GrabCut 1.38/1.48, Berkeley 1.36/1.97, SBD 3.43/5.62, DAVIS 3.66/5.06",
)  # fmt: skip
LARGE = _spec(
    "l", "cocolvis_vit_large.pth", 1297, 322_991_809,
    expected="NoC@85/90 GrabCut 1.32/1.40, Berkeley 1.34/1.89, SBD 2.95/4.89, DAVIS 3.26/4.81",
)  # fmt: skip
HUGE = _spec(
    "h", "cocolvis_vit_huge.pth", 2649, 660_713_201,
    expected="NoC@85/90 GrabCut 1.38/1.50, Berkeley 1.36/1.75, SBD 2.85/4.70, DAVIS 3.41/4.78",
)  # fmt: skip

RENAMED = {
    "patch_embed_coords.proj": "clicks",
    "backbone.patch_embed.proj": "patches",
    "backbone.pos_embed": "positions",
    "backbone.blocks": "blocks",
    "neck.down_4": "pyramid.levels.0",
    "neck.down_8": "pyramid.levels.1",
    "neck.down_16": "pyramid.levels.2",
    "neck.down_32": "pyramid.levels.3",
    "head.fusion_conv.conv": "head.fuse",
    "head.conv_seg": "head.logits",
    **{f"head.convs.{level}.conv": f"head.levels.{level}" for level in range(4)},
}
"""Beginnings of names, theirs to ours."""
UNUSED = ("backbone.cls_token", "backbone.fc_norm", "backbone.head", "head.up_conv1", "head.up_conv2")
"""What the published network holds and never runs."""


def convert_simpleclick(
    sizes: Sizes, tensors: Mapping[str, Tensor], config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Tensors and configuration of a published file to the state of our network; raises WeightsMissing."""
    problem = next(_differences(sizes, config), None)
    if problem is not None:
        raise WeightsMissing(
            f"this is no file of this SimpleClick network: {problem}; give the file of this model"
        )
    found = {}
    for name, tensor in tensors.items():
        if _begins(name, UNUSED) is None:
            # The first position is that of the class token.
            found[our_name(name)] = tensor[:, 1:] if name == "backbone.pos_embed" else tensor
    with torch.device("meta"):
        wanted = {
            name: tuple(tensor.shape) for name, tensor in SimpleClickNetwork(sizes).state_dict().items()
        }
    got = {name: tuple(tensor.shape) for name, tensor in found.items()}
    wrong = sorted(name for name in wanted.keys() | got.keys() if wanted.get(name) != got.get(name))
    if wrong:
        name = wrong[0]
        raise WeightsMissing(
            f"this is no file of this SimpleClick network: {len(wrong)} tensors do not fit, {name} is "
            f"{got.get(name, 'missing')}, expected {wanted.get(name, 'none')}; give the file of this model"
        )
    return found


def our_name(name: str) -> str:
    """Of a published tensor; one that we know nothing of keeps its name."""
    start = _begins(name, RENAMED)
    return name if start is None else RENAMED[start] + name[len(start) :]


def _begins(name: str, starts: Iterable[str]) -> str | None:
    return next((start for start in starts if name == start or name.startswith(start + ".")), None)


def _differences(sizes: Sizes, config: Mapping[str, Any]) -> Iterator[str]:
    """What the configuration says that shapes do not show; where it says nothing, the shapes decide."""
    given: dict[str, Any] = {"class": config.get("class")}
    for name, entry in dict(config.get("params") or {}).items():
        value = entry.get("value") if isinstance(entry, Mapping) else None
        for inner, part in value.items() if isinstance(value, Mapping) else [("", value)]:
            given[f"{name}.{inner}" if inner else name] = part
    expected = {
        "class": CLASS,
        "use_disks": True,
        "norm_radius": RADIUS,
        "with_prev_mask": True,
        "random_split": False,
        "backbone_params.num_heads": sizes.heads,
        "backbone_params.patch_size": (sizes.patch, sizes.patch),
        "head_params.upsample": "x1",
        "head_params.align_corners": False,
    }
    for name, value in expected.items():
        got = given.get(name)
        got = tuple(got) if isinstance(got, list) else got
        if got is not None and got != value:
            yield f"{name} is {got!r}, expected {value!r}"


def load_simpleclick(size: str, spec: WeightSpec, source: WeightSource) -> tuple[SimpleClickNetwork, str]:
    """The network, and what names its weights in fingerprints; raises WeightsMissing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SimpleClickNetwork(TINY if source.tiny else SIZES[size])
    return network, load_network(network, spec, source)
