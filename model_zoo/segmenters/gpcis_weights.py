"""Weights of GPCIS: first ones, and files that training leaves."""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from model_zoo.encoders import check_timm_name
from model_zoo.errors import WeightsMissing
from model_zoo.segmenters.gpcis_network import TRUNK, GpcisNetwork
from model_zoo.weights import WeightSpec

ADVICE = "train them with: clickpick train-clicks --segmenter gpcis-resnet50"
GPCIS = WeightSpec(
    name="gpcis-resnet50",
    file="gpcis-resnet50.safetensors",
    sha256="",
    size=0,
    licence="that of the images they are trained on (ClickPick ships none; train your own)",
    paper="Zhou et al., Interactive Segmentation as Gaussian Process Classification, CVPR 2023",
    package_path="pretrained/gpcis-resnet50.safetensors",
    training=f"{ADVICE}; then name the segmenter gpcis-resnet50:FILE",
)


def new_gpcis(seed: int = 0, trunk: str = TRUNK) -> GpcisNetwork:
    """An untrained network, the same for the same seed; its trunk knows ImageNet where ``published_trunk`` does."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = GpcisNetwork(trunk)
    published = published_trunk(trunk)
    if published is not None:
        _load_trunk(network.encoder.trunk, published)
    return network


def published_trunk(trunk: str = TRUNK) -> Path | None:
    """timm's ImageNet weights of a trunk if an earlier download left them on this disk; asks no network."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - timm's, and slow to import

    config = timm.get_pretrained_cfg(trunk)
    if config is None or config.hf_hub_id is None:
        return None
    found = try_to_load_from_cache(config.hf_hub_id, "model.safetensors")
    return Path(found) if isinstance(found, str) else None


def _load_trunk(trunk: nn.Module, path: Path) -> None:
    try:
        missing, _ = trunk.load_state_dict(load_file(path), strict=False)  # the classifier stays behind
    except (OSError, SafetensorError, RuntimeError) as error:
        raise WeightsMissing(f"{path} is no weight file of this trunk: {error}; delete it") from error
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing:
        raise WeightsMissing(f"{path} lacks {len(missing)} tensors of this trunk ({missing[0]}); delete it")


def save_gpcis(network: GpcisNetwork, path: Path) -> None:
    """Write the network's tensors in single precision, which the GP layer needs; the trunk's name goes with them."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"trunk": network.trunk})


def read_gpcis(path: Path) -> GpcisNetwork:
    """The network of any file that ``save_gpcis`` wrote; raises WeightsMissing for others."""
    if not path.is_file():
        raise WeightsMissing(f"weights of gpcis-resnet50 not found ({path}); ClickPick ships none; {ADVICE}")
    try:
        with safe_open(path, framework="pt") as file:
            trunk = (file.metadata() or {}).get("trunk", TRUNK)
        check_timm_name(trunk, path)
        network = GpcisNetwork(trunk)
        network.load_state_dict(load_file(path))
    except WeightsMissing:
        raise
    except Exception as error:  # a damaged file, or any network of timm's that is no such trunk
        raise WeightsMissing(
            f"{path} does not hold the weights of gpcis-resnet50: {error}; {ADVICE}"
        ) from error
    return network
