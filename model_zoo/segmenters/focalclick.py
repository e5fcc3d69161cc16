"""FocalClick by name: on the trunks and at the input sizes that were published.

The networks with SegFormer trunks need weights that are not for commercial use, see ``focalclick_weights``.
``NAME+published`` follows the paper's evaluation to the letter.
"""

from __future__ import annotations

from functools import partial

from model_zoo.registry import register_network
from model_zoo.segmenters.focalclick_segmenter import FocalClick
from model_zoo.segmenters.focalclick_weights import (
    HRNET18S_S1,
    HRNET18S_S2,
    HRNET32_S2,
    PAPER,
    SEGFORMER_B0_S1,
    SEGFORMER_B0_S2,
    SEGFORMER_B3_S2,
    VARIANTS,
    convert_focalclick,
    load_focalclick,
)
from model_zoo.weights import WeightSource, WeightSpec

COMPARED = (
    "written for ClickPick; compared with XavierCHEN34/ClickSEG@0c801cf "
    "(MIT by its README, Apache-2.0 by its licence file)"
)
MODIFIERS = ("published",)
HRNET_SOURCE = f"{COMPARED}; layers of timm (Apache-2.0)"
SEGFORMER_SOURCE = f"{COMPARED}; SegFormer of transformers (Apache-2.0)"


def _build(spec: WeightSpec, device: str, source: WeightSource) -> FocalClick:
    network, digest = load_focalclick(VARIANTS[spec.name], spec, source)
    return FocalClick(spec.name, network, digest, device)


@register_network(
    paper=PAPER,
    licence=HRNET18S_S1.licence,
    source=HRNET_SOURCE,
    modifiers=MODIFIERS,
    weights=(HRNET18S_S1,),
    convert=partial(convert_focalclick, VARIANTS[HRNET18S_S1.name]),
)
def focalclick_hrnet18s_s1(device: str, source: WeightSource) -> FocalClick:
    """FocalClick on a small HRNet that sees 128 pixels; clicks, boxes, strokes; quick on processors."""
    return _build(HRNET18S_S1, device, source)


@register_network(
    paper=PAPER,
    licence=HRNET18S_S2.licence,
    source=HRNET_SOURCE,
    modifiers=MODIFIERS,
    weights=(HRNET18S_S2,),
    convert=partial(convert_focalclick, VARIANTS[HRNET18S_S2.name]),
)
def focalclick_hrnet18s_s2(device: str, source: WeightSource) -> FocalClick:
    """FocalClick on a small HRNet that sees 256 pixels; clicks, boxes, strokes."""
    return _build(HRNET18S_S2, device, source)


@register_network(
    paper=PAPER,
    licence=HRNET32_S2.licence,
    source=HRNET_SOURCE,
    modifiers=MODIFIERS,
    weights=(HRNET32_S2,),
    convert=partial(convert_focalclick, VARIANTS[HRNET32_S2.name]),
)
def focalclick_hrnet32_s2(device: str, source: WeightSource) -> FocalClick:
    """FocalClick on HRNet32 that sees 256 pixels; clicks, boxes, strokes."""
    return _build(HRNET32_S2, device, source)


@register_network(
    paper=PAPER,
    licence=SEGFORMER_B0_S1.licence,
    source=SEGFORMER_SOURCE,
    modifiers=MODIFIERS,
    weights=(SEGFORMER_B0_S1,),
    convert=partial(convert_focalclick, VARIANTS[SEGFORMER_B0_S1.name]),
)
def focalclick_segformer_b0_s1(device: str, source: WeightSource) -> FocalClick:
    """FocalClick on SegFormer B0 that sees 128 pixels; clicks, boxes, strokes; the quickest, not for commercial use."""
    return _build(SEGFORMER_B0_S1, device, source)


@register_network(
    paper=PAPER,
    licence=SEGFORMER_B0_S2.licence,
    source=SEGFORMER_SOURCE,
    modifiers=MODIFIERS,
    weights=(SEGFORMER_B0_S2,),
    convert=partial(convert_focalclick, VARIANTS[SEGFORMER_B0_S2.name]),
)
def focalclick_segformer_b0_s2(device: str, source: WeightSource) -> FocalClick:
    """FocalClick on SegFormer B0 that sees 256 pixels; clicks, boxes, strokes; not for commercial use."""
    return _build(SEGFORMER_B0_S2, device, source)


@register_network(
    paper=PAPER,
    licence=SEGFORMER_B3_S2.licence,
    source=SEGFORMER_SOURCE,
    modifiers=MODIFIERS,
    weights=(SEGFORMER_B3_S2,),
    convert=partial(convert_focalclick, VARIANTS[SEGFORMER_B3_S2.name]),
)
def focalclick_segformer_b3_s2(device: str, source: WeightSource) -> FocalClick:
    """FocalClick on SegFormer B3 that sees 256 pixels; clicks, boxes, strokes; the best, not for commercial use."""
    return _build(SEGFORMER_B3_S2, device, source)
