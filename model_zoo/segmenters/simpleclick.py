"""SimpleClick as segmenters: RITM's predictor with a window of fixed size, around a plain vision transformer.

Liu et al., SimpleClick: Interactive Image Segmentation with Simple Vision Transformers, ICCV 2023. Compared with
github.com/uncbiag/SimpleClick (commit f33112e, MIT licence), written from a description. Already for the first click
the whole image is squashed to a square of 448 pixels; later, the surroundings of the object are. Deliberate
differences: those of ``predictor`` and ``simpleclick_network``; only ``NAME+published`` asks the mirror image, too, for
nearly twice the time; it alone leaves a small object of a first answer as it is, others look at it closer at once.
"""

from __future__ import annotations

from functools import partial

from model_zoo.registry import register_network
from model_zoo.segmenters.predictor import MODIFIERS, ClickPredictor, PredictorParameters
from model_zoo.segmenters.predictor_window import Zoom
from model_zoo.segmenters.simpleclick_weights import (
    BASE,
    HUGE,
    LARGE,
    PAPER,
    RADIUS,
    SIZES,
    XTINY,
    convert_simpleclick,
    load_simpleclick,
)
from model_zoo.weights import WeightSource, WeightSpec

SOURCE = "written for ClickPick; compared with uncbiag/SimpleClick@f33112e (MIT); blocks of timm (Apache-2.0)"
SIDE, TINY_SIDE = 448, 64


def published_parameters(side: int = SIDE) -> PredictorParameters:
    """Of the evaluation in the paper; side: of the square that the network sees, 672 for DAVIS."""
    zoom = Zoom(target=(side, side), skip_clicks=-1)
    return PredictorParameters(zoom, flip=True, longest=None, radius=RADIUS, quick=False)


def interactive_parameters(side: int = SIDE, *, quick: bool = True) -> PredictorParameters:
    """The same without the mirror image, in the quickest number format; small objects are looked at closer at once."""
    zoom = Zoom(target=(side, side), skip_clicks=-1, closer=True)
    return PredictorParameters(zoom, longest=None, radius=RADIUS, quick=quick)


def _build(size: str, spec: WeightSpec, device: str, source: WeightSource) -> ClickPredictor:
    network, digest = load_simpleclick(size, spec, source)
    side = TINY_SIDE if source.tiny else SIDE
    return ClickPredictor(
        spec.name,
        network,
        digest,
        device,
        parameters=interactive_parameters(side, quick=not source.tiny),
        published=published_parameters(side),
    )


@register_network(
    paper=PAPER,
    licence=XTINY.licence,
    source=SOURCE,
    weights=(XTINY,),
    modifiers=MODIFIERS,
    convert=partial(convert_simpleclick, SIZES["xtiny"]),
)
def simpleclick_vit_xtiny(device: str, source: WeightSource) -> ClickPredictor:
    """SimpleClick on an extremely small vision transformer, quick on processors; clicks, boxes, strokes."""
    return _build("xtiny", XTINY, device, source)


@register_network(
    paper=PAPER,
    licence=BASE.licence,
    source=SOURCE,
    weights=(BASE,),
    modifiers=MODIFIERS,
    convert=partial(convert_simpleclick, SIZES["b"]),
)
def simpleclick_vit_b(device: str, source: WeightSource) -> ClickPredictor:
    """SimpleClick on ViT-B; clicks, boxes, strokes; wants a GPU or patience."""
    return _build("b", BASE, device, source)


@register_network(
    paper=PAPER,
    licence=LARGE.licence,
    source=SOURCE,
    weights=(LARGE,),
    modifiers=MODIFIERS,
    convert=partial(convert_simpleclick, SIZES["l"]),
)
def simpleclick_vit_l(device: str, source: WeightSource) -> ClickPredictor:
    """SimpleClick on ViT-L; clicks, boxes, strokes; for GPUs."""
    return _build("l", LARGE, device, source)


@register_network(
    paper=PAPER,
    licence=HUGE.licence,
    source=SOURCE,
    weights=(HUGE,),
    modifiers=MODIFIERS,
    convert=partial(convert_simpleclick, SIZES["h"]),
)
def simpleclick_vit_h(device: str, source: WeightSource) -> ClickPredictor:
    """SimpleClick on ViT-H; clicks, boxes, strokes; for GPUs."""
    return _build("h", HUGE, device, source)
