"""Dense labels: named by the config's classes, void below the confidence that is asked for."""

from __future__ import annotations

from unittest.mock import Mock

import numpy as np
import pytest

from backend.learning import proposals
from backend.learning.pseudo_labels import label_pixels

pytestmark = pytest.mark.unit

IMAGE = np.zeros((4, 6, 3), np.uint8)


def learner(probabilities: np.ndarray, classes: tuple[str, ...] = ("sky", "grass")) -> Mock:
    return Mock(classes=classes, predict_proba=lambda image: probabilities[:, : len(image), : len(image[0])])


def halves(sure: float) -> np.ndarray:
    """Sky above with that confidence, grass below with 0.6."""
    found = np.full((2, 4, 6), 0.4, np.float32)
    found[0, :2], found[1, :2] = sure, 1 - sure
    found[1, 2:] = 0.6
    return found


def test_unsure_pixels_are_void() -> None:
    found = label_pixels(learner(halves(0.9)), IMAGE, ("sky", "grass"), min_confidence=0.7)
    assert (found.classes[:2] == 0).all()
    assert (found.classes[2:] == 255).all()
    assert np.allclose(found.confidence, [[0.9]] * 2 + [[0.6]] * 2)
    kept = label_pixels(learner(halves(0.9)), IMAGE, ("sky", "grass"), min_confidence=0.6)
    assert (kept.classes[2:] == 1).all()


def test_classes_go_by_name_and_not_by_place() -> None:
    found = label_pixels(learner(halves(0.9)), IMAGE, ("grass", "wall"), min_confidence=0)
    assert (found.classes[:2] == 255).all(), "the config has no sky any more"
    assert (found.classes[2:] == 0).all()


def test_a_large_image_is_labelled_at_its_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals.shrink, "__defaults__", (6,))
    found = label_pixels(learner(halves(0.9)), IMAGE, ("sky", "grass"), min_confidence=0)
    assert found.classes.shape == found.confidence.shape == (4, 6)
