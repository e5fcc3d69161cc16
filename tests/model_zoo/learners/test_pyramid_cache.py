from __future__ import annotations

import numpy as np
import pytest
import torch

from model_zoo.learners.hypercolumn import build_pyramid
from model_zoo.learners.probe import Probe
from model_zoo.learners.pyramid_cache import PyramidCache, UsesPyramids
from tests.model_zoo.learners.learner_pictures import CLASSES, MeanEncoder, labelled, stripes

pytestmark = pytest.mark.unit


def test_an_image_is_encoded_once(encoder: MeanEncoder) -> None:
    image, _ = stripes(20, 30)
    cache = PyramidCache(1 << 20)
    first = cache.pyramid(encoder, image)
    again = cache.pyramid(encoder, image.copy())
    assert encoder.calls == 1
    for one, other in zip((*first.levels, *first.wide), (*again.levels, *again.wide), strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)
    exact = build_pyramid(encoder, image)
    assert (again.height, again.width, again.steps) == (exact.height, exact.width, exact.steps)
    for one, other in zip(exact.levels, again.levels, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_other_pixels_shapes_and_encoders_are_told_apart(encoder: MeanEncoder) -> None:
    cache = PyramidCache(1 << 20)
    image = np.zeros((4, 6, 3), dtype=np.uint8)
    changed = image.copy()
    changed[3, 5, 2] = 1
    for other in (image, changed, image.reshape(6, 4, 3)):
        cache.pyramid(encoder, other)
    assert encoder.calls == 3
    stranger = MeanEncoder()
    stranger.fingerprint = "mean-v2"
    cache.pyramid(stranger, image)
    assert stranger.calls == 1


def test_what_is_in_stays_when_it_is_full(encoder: MeanEncoder) -> None:
    images = [stripes(20, 30, seed=seed)[0] for seed in range(3)]
    pyramid = build_pyramid(encoder, images[0])
    size = sum(part.nbytes // 2 for part in (*pyramid.levels, *pyramid.wide))
    cache = PyramidCache(2 * size)
    encoder.calls = 0
    for image in images * 3:
        cache.pyramid(encoder, image)
    assert encoder.calls == 3 + 2


def test_a_probe_predicts_the_same_whatever_fits(encoder: MeanEncoder) -> None:
    pictures = [stripes(20, 30, seed=seed) for seed in range(2)]
    answers = []
    for max_bytes in (0, 1 << 20):
        probe = Probe("probe-mean", encoder)
        assert isinstance(probe, UsesPyramids)
        probe.use_pyramids(PyramidCache(max_bytes))
        probe.fit([labelled(*picture, 20, seed) for seed, picture in enumerate(pictures)], CLASSES)
        encoder.calls = 0
        answers.append(probe.predict_proba(pictures[0][0]))
        assert encoder.calls == (1 if max_bytes == 0 else 0)
    np.testing.assert_array_equal(answers[0], answers[1])
