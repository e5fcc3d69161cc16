from __future__ import annotations

import numpy as np
import pytest

from model_zoo.evaluation.metrics import expected_calibration_error
from model_zoo.learners.temperature import FEWEST_LABELS, fit_temperature

pytestmark = pytest.mark.unit


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)


def honest(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, 4), and labels drawn from their own softmax."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2.0, size=(count, 4))
    draws = rng.random((count, 1))
    labels = (softmax(logits).cumsum(axis=1) < draws).sum(axis=1).clip(0, 3)
    return logits, labels.astype(np.int64)


@pytest.mark.parametrize("overconfidence", [0.6, 1.0, 2.0, 3.0])
def test_the_temperature_undoes_over_and_underconfidence(overconfidence: float) -> None:
    logits, labels = honest(4000)
    found = fit_temperature(softmax(logits * overconfidence), labels)
    assert found == pytest.approx(overconfidence, rel=0.08)


def test_it_makes_the_calibration_error_smaller() -> None:
    logits, labels = honest(4000)
    probabilities = softmax(logits * 3)
    temperature = fit_temperature(probabilities, labels)
    before = expected_calibration_error(probabilities, labels)
    after = expected_calibration_error(softmax(logits * 3 / temperature), labels)
    assert before > 0.1
    assert after < 0.03


def test_few_labels_and_unknown_classes_change_nothing() -> None:
    logits, labels = honest(FEWEST_LABELS - 1)
    assert fit_temperature(softmax(logits * 3), labels) == 1.0
    sure = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (200, 1))
    assert fit_temperature(sure, np.ones(200, dtype=np.int64)) == 1.0


def test_calibration_error_of_known_cases() -> None:
    sure = np.tile(np.array([[0.75, 0.25]], dtype=np.float32), (4, 1))
    assert expected_calibration_error(sure, np.array([0, 0, 0, 1])) == pytest.approx(0.0, abs=1e-6)
    assert expected_calibration_error(sure, np.array([1, 1, 1, 1])) == pytest.approx(0.75)
    assert np.isnan(expected_calibration_error(sure[:0], np.array([], dtype=np.int64)))
