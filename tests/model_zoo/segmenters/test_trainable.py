from __future__ import annotations

import pytest

from model_zoo.errors import UnknownModel
from model_zoo.registry import list_models
from model_zoo.segmenters.trainable import TRAINABLE, find_trainable

pytestmark = pytest.mark.unit


def test_what_can_be_trained_is_a_segmenter() -> None:
    assert set(TRAINABLE) <= {info.name for info in list_models(kind="segmenter")}
    assert find_trainable("clicknet").staged
    assert not find_trainable("gpcis-resnet50").staged


def test_others_cannot_be_trained() -> None:
    with pytest.raises(UnknownModel, match="those that can are clicknet, clicknet-mis, gpcis-resnet50"):
        find_trainable("gp-lite0")
