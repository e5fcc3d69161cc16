"""What is counted on held-out labels, from which the status page makes its intervals."""

from __future__ import annotations

import numpy as np
import pytest

from backend.learning.gate import _counts
from model_zoo.evaluation.metrics import class_iou, confusion_matrix

pytestmark = pytest.mark.unit


def test_counts_of_each_class_give_its_iou() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 1, 2])
    guessed = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    matrix = confusion_matrix(truth, guessed, 4)
    counts = _counts(matrix, ("sky", "grass", "wall", "sea"))
    assert counts == {"sky": [3, 4, 4], "grass": [2, 4, 3], "wall": [1, 2, 1]}, "[both, either, held out]"
    shares = [both / either for both, either, _ in counts.values()]
    assert shares == pytest.approx(class_iou(matrix)[:3])


def test_a_class_that_was_only_guessed_counts_too() -> None:
    matrix = confusion_matrix(np.array([0, 0]), np.array([0, 1]), 2)
    assert _counts(matrix, ("sky", "grass")) == {"sky": [1, 2, 2], "grass": [0, 1, 0]}
