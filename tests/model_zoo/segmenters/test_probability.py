from __future__ import annotations

import numpy as np
import pytest

from model_zoo.segmenters.probability import confidence, probability, uncertainty

pytestmark = pytest.mark.unit
LOGITS = np.array([-1e4, -100.0, -2.0, 0.0, 2.0, 100.0, 1e4], dtype=np.float32)


def test_probabilities_of_any_logit_without_a_warning() -> None:
    got = probability(LOGITS)
    assert got.dtype == np.float32
    assert got == pytest.approx([0.0, 0.0, 0.1192029, 0.5, 0.8807971, 1.0, 1.0], abs=1e-6)


def test_uncertainty_is_1_where_both_sides_are_alike() -> None:
    got = uncertainty(LOGITS)
    assert got.dtype == np.float32
    assert got == pytest.approx([0.0, 0.0, 0.2384058, 1.0, 0.2384058, 0.0, 0.0], abs=1e-6)


def test_confidence_is_that_of_the_object() -> None:
    assert confidence(LOGITS[:4]) == 0.0
    assert confidence(LOGITS[:5]) == pytest.approx(0.8807971)
    assert confidence(LOGITS) == pytest.approx((0.8807971 + 2) / 3)
