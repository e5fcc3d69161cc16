from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from model_zoo.errors import BadInput
from model_zoo.evaluation.metrics import boundary_iou, class_iou, confusion_matrix, dice, iou, mean_iou

pytestmark = pytest.mark.unit

Metric = Callable[..., float]

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


OBJECT = np.array([[1, 1, 0, 0], [1, 1, 0, 255]], dtype=np.uint8)


@pytest.mark.parametrize(
    ("mask", "overlap", "share"),
    [
        ([[1, 1, 0, 0], [1, 1, 0, 0]], 1, 1),
        ([[1, 1, 0, 0], [1, 1, 0, 1]], 1, 1),
        ([[1, 1, 1, 0], [0, 0, 0, 1]], 2 / 5, 4 / 7),
        ([[0, 0, 1, 1], [0, 0, 1, 1]], 0, 0),
        ([[0, 0, 0, 0], [0, 0, 0, 0]], 0, 0),
    ],
)
def test_overlap_of_one_object_without_ignored_pixels(
    mask: list[list[int]], overlap: float, share: float
) -> None:
    assert iou(OBJECT, np.array(mask, dtype=bool)) == pytest.approx(overlap)
    assert dice(OBJECT, np.array(mask, dtype=bool)) == pytest.approx(share)


@pytest.mark.parametrize("metric", [iou, dice, boundary_iou])
def test_no_object_and_none_found_is_right(metric: Metric) -> None:
    truth = np.array([[0, 0, 255]], dtype=np.uint8)
    assert metric(truth, np.array([[False, False, True]])) == 1
    assert metric(truth, np.array([[False, True, False]])) == 0


@pytest.mark.parametrize("metric", [iou, dice, boundary_iou])
def test_truth_and_mask_of_one_object_have_one_shape(metric: Metric) -> None:
    with pytest.raises(BadInput, match="expected equal shapes"):
        metric(OBJECT, np.zeros((2, 3), dtype=bool))


def test_boundary_iou_counts_rims_only() -> None:
    truth = np.zeros((40, 40), dtype=np.uint8)
    truth[5:35, 5:35] = 1
    mask = np.zeros((40, 40), dtype=bool)
    mask[6:34, 6:34] = True
    assert boundary_iou(truth, truth == 1) == 1
    # 2 % of the diagonal is a pixel: the rings of both squares do not touch.
    assert boundary_iou(truth, mask) == 0
    # Two pixels: squares 30, 28, 26, 24 wide; the ring between the second and third is in both.
    assert boundary_iou(truth, mask, share=2 / 56.57) == pytest.approx((28**2 - 26**2) / (30**2 - 24**2))
    holed = mask.copy()
    holed[18:22, 18:22] = False
    assert boundary_iou(truth, holed, share=2 / 56.57) < boundary_iou(truth, mask, share=2 / 56.57)


def test_the_edge_of_the_image_is_a_contour() -> None:
    truth = np.ones((10, 10), dtype=np.uint8)
    mask = np.ones((10, 10), dtype=bool)
    mask[5, 5] = False
    assert boundary_iou(truth, mask) == pytest.approx(36 / (36 + 8))


def test_a_contour_inside_the_ignored_band_is_no_error_wherever_it_runs() -> None:
    truth = np.zeros((30, 30), dtype=np.uint8)
    truth[:, :10] = 1
    truth[:, 10:15] = 255
    for column in range(10, 16):
        mask = np.zeros((30, 30), dtype=bool)
        mask[:, :column] = True
        assert boundary_iou(truth, mask, share=0.1) == 1
    mask[:, :17] = True
    assert boundary_iou(truth, mask, share=0.1) < 1
