"""RITM as segmenters: its networks behind the predictor that its evaluation and its demo share.

Sofiiuk et al., Reviving Iterative Training with Mask Guidance for Interactive Segmentation, ICIP 2022
(github.com/SamsungLabs/ritm_interactive_segmentation, commit b9b4460, MIT licence); written from a description and
compared with it number by number. Deliberate differences are named where they are: predictor, predictor_window, hrnet.
``NAME+published`` follows the paper's evaluation.
"""

from __future__ import annotations

from functools import partial

from model_zoo.registry import register_network
from model_zoo.segmenters.hrnet import TINY
from model_zoo.segmenters.predictor import INTERACTIVE, MODIFIERS, ClickPredictor, PredictorParameters
from model_zoo.segmenters.predictor_window import Zoom
from model_zoo.segmenters.ritm_network import RitmNetwork, seeded, settled
from model_zoo.segmenters.ritm_weights import (
    HRNET18,
    HRNET18_BASELINE,
    HRNET18_SBD,
    HRNET18S,
    HRNET32,
    NETWORKS,
    PAPER,
    RESNET34,
    convert_ritm,
    deeplab,
    hrnet,
)
from model_zoo.weights import WeightSource, WeightSpec, load_network

SOURCE = "written for ClickPick; compared with SamsungLabs/ritm_interactive_segmentation@b9b4460 (MIT); layers of timm"
TAKEN = (*MODIFIERS, "fbrs-a", "fbrs-b", "fbrs-c")
SMALL = PredictorParameters(Zoom(target=64, skip_clicks=0, smallest=32), longest=96, quick=False)


def _build(spec: WeightSpec, device: str, source: WeightSource) -> ClickPredictor:
    network = seeded(partial(_tiny, spec) if source.tiny else NETWORKS[spec.name])
    digest = load_network(network, spec, source)
    return ClickPredictor(
        spec.name, network, digest, device, parameters=SMALL if source.tiny else INTERACTIVE
    )


def _tiny(spec: WeightSpec) -> RitmNetwork:
    if spec is RESNET34:
        return settled(deeplab("resnet18", channels=8))
    return settled(hrnet(TINY, remembers=spec is not HRNET18_BASELINE))


@register_network(
    paper=PAPER, licence=HRNET18S.licence, source=SOURCE, weights=(HRNET18S,), modifiers=TAKEN,
    convert=partial(convert_ritm, NETWORKS["ritm-hrnet18s"]),
)  # fmt: skip
def ritm_hrnet18s(device: str, source: WeightSource) -> ClickPredictor:
    """RITM on the small HRNet18, learnt on COCO and LVIS; clicks, boxes, strokes; for processors."""
    return _build(HRNET18S, device, source)


@register_network(
    paper=PAPER, licence=HRNET18.licence, source=SOURCE, weights=(HRNET18,), modifiers=TAKEN,
    convert=partial(convert_ritm, NETWORKS["ritm-hrnet18"]),
)  # fmt: skip
def ritm_hrnet18(device: str, source: WeightSource) -> ClickPredictor:
    """RITM on HRNet18, learnt on COCO and LVIS; clicks, boxes, strokes."""
    return _build(HRNET18, device, source)


@register_network(
    paper=PAPER, licence=HRNET32.licence, source=SOURCE, weights=(HRNET32,), modifiers=TAKEN,
    convert=partial(convert_ritm, NETWORKS["ritm-hrnet32"]),
)  # fmt: skip
def ritm_hrnet32(device: str, source: WeightSource) -> ClickPredictor:
    """RITM on HRNet32, learnt on COCO and LVIS; clicks, boxes, strokes."""
    return _build(HRNET32, device, source)


@register_network(
    paper=PAPER, licence=HRNET18_SBD.licence, source=SOURCE, weights=(HRNET18_SBD,), modifiers=TAKEN,
    convert=partial(convert_ritm, NETWORKS["ritm-hrnet18-sbd"]),
)  # fmt: skip
def ritm_hrnet18_sbd(device: str, source: WeightSource) -> ClickPredictor:
    """RITM on HRNet18, learnt on SBD, as papers compare methods; clicks, boxes, strokes."""
    return _build(HRNET18_SBD, device, source)


@register_network(
    paper=PAPER, licence=HRNET18_BASELINE.licence, source=SOURCE, weights=(HRNET18_BASELINE,), modifiers=TAKEN,
    convert=partial(convert_ritm, NETWORKS["ritm-hrnet18-baseline"]),
)  # fmt: skip
def ritm_hrnet18_baseline(device: str, source: WeightSource) -> ClickPredictor:
    """RITM's baseline on HRNet18, which does not see its previous answer; clicks, boxes, strokes."""
    return _build(HRNET18_BASELINE, device, source)


@register_network(
    paper=PAPER, licence=RESNET34.licence, source=SOURCE, weights=(RESNET34,), modifiers=TAKEN,
    convert=partial(convert_ritm, NETWORKS["ritm-resnet34"]),
)  # fmt: skip
def ritm_resnet34(device: str, source: WeightSource) -> ClickPredictor:
    """RITM's baseline on ResNet-34 DeepLabV3+, for weights of your own; clicks, boxes, strokes."""
    return _build(RESNET34, device, source)
