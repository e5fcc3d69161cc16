"""Click segmenters that can be trained: how their networks start, are kept in files and are used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from model_zoo.errors import UnknownModel
from model_zoo.fused import quicken
from model_zoo.segmenters import gpcis
from model_zoo.segmenters.base import Segmenter
from model_zoo.segmenters.clicknet import MIS_PARAMETERS, ClickNetSegmenter
from model_zoo.segmenters.clicknet_weights import (
    CLICKNET,
    CLICKNET_MIS,
    load_clicknet,
    new_clicknet,
    read_clicknet,
    save_clicknet,
)
from model_zoo.segmenters.gpcis_network import GpcisNetwork
from model_zoo.segmenters.gpcis_weights import new_gpcis, read_gpcis, save_gpcis
from model_zoo.weights import file_digest


@dataclass(frozen=True)
class Trainable:
    """start: a new network of (trained stages of the encoder, seed). packaged: the one of this package. read, save:
    files of networks. wrap: a segmenter of (name, network, digest of its weights, device). staged: whether the
    encoder can be trained in part.

    ``start``, ``packaged`` and ``read`` raise WeightsMissing.
    """

    start: Callable[[int, int], Any]
    packaged: Callable[[], Any]
    read: Callable[[Path], Any]
    save: Callable[[Any, Path], None]
    wrap: Callable[[str, Any, str, str], Segmenter]
    staged: bool

    def open(self, name: str, path: Path, device: str = "cpu") -> Segmenter:
        """The segmenter NAME:FILE; raises WeightsMissing for a file that is not there or holds something else."""
        network = self.read(path).eval()
        quicken(network)
        return self.wrap(f"{name}:{path.name}", network, file_digest(path), device)


def _new_gpcis(_: int, seed: int) -> GpcisNetwork:
    return new_gpcis(seed)


def _packaged_gpcis() -> GpcisNetwork:
    return read_gpcis(gpcis.WEIGHTS)


TRAINABLE = {
    spec.name: Trainable(
        new_clicknet,
        partial(load_clicknet, spec),
        read_clicknet,
        save_clicknet,
        partial(ClickNetSegmenter, parameters=parameters),
        True,
    )
    for spec, parameters in ((CLICKNET, None), (CLICKNET_MIS, MIS_PARAMETERS))
} | {
    "gpcis-resnet50": Trainable(_new_gpcis, _packaged_gpcis, read_gpcis, save_gpcis, gpcis.Gpcis, False),
}


def find_trainable(name: str) -> Trainable:
    """Of a segmenter; UnknownModel, naming those there are, for others."""
    if name not in TRAINABLE:
        raise UnknownModel(
            f"segmenter {name!r} cannot be trained here; those that can are {', '.join(TRAINABLE)}"
        )
    return TRAINABLE[name]
