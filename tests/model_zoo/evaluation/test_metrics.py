from __future__ import annotations

import numpy as np
import pytest

from model_zoo.errors import BadInput
from model_zoo.evaluation.metrics import class_iou, confusion_matrix, mean_iou

pytestmark = pytest.mark.unit

TRUTH = np.array([[0, 0, 1], [1, 2, 255]], dtype=np.uint8)
PREDICTED = np.array([[0, 1, 1], [1, 1, 0]], dtype=np.uint8)


def test_rows_are_the_truth_and_ignored_pixels_do_not_count() -> None:
    confusion = confusion_matrix(TRUTH, PREDICTED, 3)
    assert confusion.tolist() == [[1, 1, 0], [0, 2, 0], [0, 1, 0]]
    assert confusion.sum() == 5


def test_iou_of_known_confusion() -> None:
    confusion = confusion_matrix(TRUTH, PREDICTED, 3)
    np.testing.assert_allclose(class_iou(confusion), [1 / 2, 2 / 4, 0])
    assert mean_iou(confusion) == pytest.approx(1 / 3)


def test_a_class_that_never_occurs_does_not_count() -> None:
    confusion = confusion_matrix(TRUTH, PREDICTED, 5)
    assert np.isnan(class_iou(confusion)).tolist() == [False, False, False, True, True]
    assert mean_iou(confusion) == pytest.approx(1 / 3)


def test_a_class_that_is_only_predicted_counts_as_zero() -> None:
    confusion = confusion_matrix(np.array([0, 0]), np.array([0, 1]), 2)
    np.testing.assert_allclose(class_iou(confusion), [0.5, 0.0])


def test_confusions_of_images_add_up() -> None:
    halves = confusion_matrix(TRUTH[:1], PREDICTED[:1], 3) + confusion_matrix(TRUTH[1:], PREDICTED[1:], 3)
    np.testing.assert_array_equal(halves, confusion_matrix(TRUTH, PREDICTED, 3))


def test_another_ignored_value() -> None:
    assert confusion_matrix(np.array([0, 11]), np.array([0, 0]), 2, ignore=11).tolist() == [[1, 0], [0, 0]]


def test_nothing_counted_is_nan() -> None:
    assert np.isnan(mean_iou(confusion_matrix(np.array([255]), np.array([0]), 2)))


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), "expected equal shapes"),
        (np.array([3]), np.array([0]), "truth has classes 3 to 3; expected 0 to 2"),
        (np.array([0]), np.array([-1]), "prediction has classes -1 to -1"),
    ],
)
def test_malformed_calls(truth: np.ndarray, predicted: np.ndarray, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        confusion_matrix(truth, predicted, 3)
