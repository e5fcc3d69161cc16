"""Weights of ``clicknet``: half-precision safetensors inside the package, with the sizes they belong to."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from model_zoo.encoders import ENCODERS, check_timm_name, match_in_order
from model_zoo.errors import WeightsMissing
from model_zoo.segmenters.clicknet_network import ClickNetShape, ClickNetwork
from model_zoo.weights import WeightSpec, load_state, locate, verify

LICENCE = (
    "Apache-2.0; learnt in part from photographs and masks given for research (see docs/clicknet.md) "
    "on an Apache-2.0 encoder"
)
CLICKNET = WeightSpec(
    name="clicknet",
    file="clicknet.safetensors",
    sha256="598769c6c1cec6329eef72b75a8e44ee531c226b451a48b6ccb034a008bba3d6",
    size=9812580,
    licence=LICENCE,
    paper="ClickPick's own; docs/clicknet.md",
    package_path="pretrained/clicknet.safetensors",
)
CLICKNET_MIS = WeightSpec(
    name="clicknet-mis",
    file="clicknet-mis.safetensors",
    sha256="54c6ea6180abb82d4d3a1a4b59dcd2179988cc70681392baf5d35e63a95f88ca",
    size=9812580,
    licence=LICENCE,
    paper="Li et al., Multi-granularity Interaction Simulation, ICCV 2023 (regions)",
    package_path="pretrained/clicknet-mis.safetensors",
)


def encoder_state(encoder: str = "efficientnet-lite0") -> dict[str, torch.Tensor]:
    """Published ImageNet weights under timm's names, for the whole classifier; raises WeightsMissing."""
    timm_name, spec = ENCODERS[encoder]
    with torch.device("meta"):  # names and shapes are all that is needed of it
        model = timm.create_model(timm_name, pretrained=False)
    return match_in_order(load_state(spec), model.state_dict(), spec)


def new_clicknet(trained_stages: int = 0, seed: int = 0) -> ClickNetwork:
    """An untrained network on the published encoder; the same for the same seed. Raises WeightsMissing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ClickNetwork(trained_stages=trained_stages)
    published = encoder_state()
    network.encoder.load_state_dict({name: published[name] for name in network.encoder.state_dict()})
    return network


def save_clicknet(network: ClickNetwork, path: Path) -> None:
    """Write the network's tensors in half precision; its shape goes into the metadata."""
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"shape": json.dumps(asdict(network.shape))})


def load_clicknet(spec: WeightSpec, directory: Path | None = None) -> ClickNetwork:
    """The verified network of a published weight file; raises WeightsMissing."""
    path = locate(spec, directory)
    verify(path, spec)
    return read_clicknet(path)


def read_clicknet(path: Path) -> ClickNetwork:
    """The network of any file that ``save_clicknet`` wrote, in float32; raises WeightsMissing for others."""
    try:
        with safe_open(path, framework="pt") as file:
            shape = json.loads((file.metadata() or {})["shape"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise WeightsMissing(f"{path} is no clicknet weight file: {error!r}; train or fetch one") from error
    try:
        sizes = ClickNetShape(**shape)
        check_timm_name(sizes.encoder, path)
        with torch.device("meta"):  # computing first weights would take longer than reading the file
            network = ClickNetwork(sizes)
    except WeightsMissing:
        raise
    except (
        Exception
    ) as error:  # sizes that do not go together, or any network of timm's that is no such encoder
        raise WeightsMissing(f"{path} belongs to another release: {error}; fetch this release's") from error
    state: dict[str, Any] = {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()
    }
    state |= {
        name: torch.zeros((), dtype=torch.long)
        for name in network.state_dict()
        if name.endswith("num_batches_tracked")
    }
    absent, unknown = set(network.state_dict()) - set(state), set(state) - set(network.state_dict())
    if absent or unknown:
        raise WeightsMissing(
            f"{path} lacks {len(absent)} tensors and has {len(unknown)} unknown ones "
            f"({', '.join(sorted(absent | unknown)[:3])}); it belongs to another release; fetch this release's"
        )
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:  # names agree and shapes do not
        raise WeightsMissing(f"{path} belongs to another release: {error}; fetch this release's") from error
    return network
