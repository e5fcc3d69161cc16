from __future__ import annotations

import logging

import numpy as np
import pytest

from backend.learning import frozen_features
from backend.learning.frozen_features import ENCODER, FrozenFeatures
from backend.learning.image_context import ImageContext
from model_zoo.encoders import create_encoder
from model_zoo.errors import WeightsMissing
from model_zoo.learners.pyramid_cache import PyramidCache
from tests.model_zoo.learners.learner_pictures import stripes

pytestmark = pytest.mark.unit


def test_nothing_is_loaded_before_an_image_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_features, "create_encoder", lambda *_: pytest.fail("loaded too early"))
    ImageContext(lambda: pytest.fail("read too early"), frozen=FrozenFeatures())


def test_a_cell_is_eight_pixels_of_a_small_image_whether_passes_are_shared_or_not() -> None:
    image, _ = stripes(48, 64)
    shared = PyramidCache(1 << 28)
    shared.pyramid(create_encoder(ENCODER), image)
    alone, together = FrozenFeatures().grid(image), FrozenFeatures(pyramids=shared).grid(image)
    assert alone is not None
    assert together is not None
    assert alone.shape == (6, 8, 112)
    np.testing.assert_array_equal(alone, together)


def test_missing_weights_are_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(*_: object) -> None:
        raise WeightsMissing("weights of this test not found; run: pip install them")

    monkeypatch.setattr(frozen_features, "create_encoder", missing)
    frozen_features._log_missing.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert FrozenFeatures().grid(stripes(8, 8)[0]) is None
    (record,) = caplog.records
    assert record.message.startswith("the first pixels are random ones: weights of this test not found")
