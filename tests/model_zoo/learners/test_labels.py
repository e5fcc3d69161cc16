from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model_zoo.errors import BadInput
from model_zoo.learners.base import UNLABELLED, LabelledImage
from model_zoo.learners.labels import (
    DENSE_PIXELS,
    DENSE_PIXELS_IN_ALL,
    check_inside,
    dense_budget,
    training_pixels,
)

pytestmark = pytest.mark.unit


def image(
    *labels: tuple[int, int, int], dense: np.ndarray | None = None, key: str = "an image"
) -> LabelledImage:
    """An image with (row, col, class) labels; it is never loaded here."""
    table = np.array(labels, dtype=np.int64).reshape(-1, 3)
    return LabelledImage(key, lambda: pytest.fail("loaded"), table[:, 0], table[:, 1], table[:, 2], dense)


def as_dict(found: object) -> dict[tuple[int, int], int]:
    return {
        (int(row), int(col)): int(label)
        for (row, col), label in zip(found.pixels, found.labels, strict=True)  # type: ignore[attr-defined]
    }


def test_sparse_labels_come_as_they_are() -> None:
    assert as_dict(training_pixels(image((1, 2, 0), (3, 4, 1)), 2, 10)) == {(1, 2): 0, (3, 4): 1}


def test_unlabelled_pixels_are_no_training_pixels() -> None:
    dense = np.full((20, 30), UNLABELLED, dtype=np.uint8)
    dense[3:6, 4:9] = 1
    found = as_dict(training_pixels(image((0, 0, UNLABELLED), (10, 10, 0), dense=dense), 2, 1000))
    drawn = {(row, col): 1 for row in range(3, 6) for col in range(4, 9)}
    assert found == {(10, 10): 0, **drawn}


def test_the_later_of_two_labels_of_a_pixel_counts() -> None:
    assert as_dict(training_pixels(image((1, 2, 0), (5, 5, 0), (1, 2, 1)), 2, 10)) == {(1, 2): 1, (5, 5): 0}


def test_a_pixel_label_beats_the_mask() -> None:
    dense = np.zeros((4, 4), dtype=np.uint8)
    found = training_pixels(image((1, 2, 1), dense=dense), 2, 100)
    assert len(found.labels) == 16
    assert as_dict(found)[(1, 2)] == 1


def test_a_mask_gives_its_budget_by_the_root_of_the_areas_of_its_classes() -> None:
    dense = np.zeros((50, 60), dtype=np.uint8)
    dense[0, :4] = 1
    dense[10:25] = 2
    found = training_pixels(image(dense=dense), 3, 101)
    assert len({tuple(pixel) for pixel in found.pixels.tolist()}) == 101
    areas = np.array([50 * 60 - 4 - 900, 4, 900])
    expected = 101 * np.sqrt(areas) / np.sqrt(areas).sum()
    np.testing.assert_allclose(np.bincount(found.labels), expected, atol=1)
    assert training_pixels(image(dense=dense), 3, 3).labels.tolist().count(1) == 1, (
        "a small class is not lost"
    )
    np.testing.assert_array_equal(dense[tuple(found.pixels.T)], found.labels)


def test_the_draw_is_stable() -> None:
    dense = np.zeros((50, 60), dtype=np.uint8)
    dense[:, 30:] = 1
    first = as_dict(training_pixels(image(dense=dense), 2, 100))
    assert as_dict(training_pixels(image(dense=dense), 2, 100)) == first
    assert as_dict(training_pixels(image(dense=dense, key="another"), 2, 100)) != first
    fewer = as_dict(training_pixels(image(dense=dense), 2, 40))
    assert set(fewer) < set(first)
    edited = dense.copy()
    edited[:5, :5] = 1
    assert len(set(as_dict(training_pixels(image(dense=edited), 2, 100))) & set(first)) >= 90


def test_a_mask_without_labels_gives_none() -> None:
    assert len(training_pixels(image(dense=np.full((5, 5), UNLABELLED, np.uint8)), 2, 10).labels) == 0
    assert training_pixels(image(), 2, 10).pixels.shape == (0, 2)


def test_many_masks_share_one_budget() -> None:
    mask = image(dense=np.zeros((2, 2), np.uint8))
    assert dense_budget([]) == dense_budget([mask] * 10 + [image()]) == DENSE_PIXELS
    assert dense_budget([mask] * 1000) * 1000 <= DENSE_PIXELS_IN_ALL


@pytest.mark.parametrize("label", [-1, 3, 254])
def test_a_label_that_is_no_class(label: int) -> None:
    with pytest.raises(BadInput, match=f"an image has a label of class {label}; expected 0 to 2"):
        training_pixels(image((0, 0, 1), (1, 1, label)), 3, 10)


def test_a_mask_with_a_value_that_is_no_class() -> None:
    with pytest.raises(BadInput, match="a label of class 7"):
        training_pixels(image(dense=np.full((3, 3), 7, np.uint8)), 3, 10)


def test_columns_of_unequal_length() -> None:
    broken = replace(image((0, 0, 1)), rows=np.array([0, 1]))
    with pytest.raises(BadInput, match="2 rows, 1 columns and 1 labels"):
        training_pixels(broken, 3, 10)


@pytest.mark.parametrize("pixel", [(-1, 0), (0, -1), (10, 0), (0, 20)])
def test_a_label_outside_its_image(pixel: tuple[int, int]) -> None:
    subject = image((*pixel, 0))
    message = (
        f"row {pixel[0]}, column {pixel[1]}; expected a pixel of the upright image, 10 rows x 20 columns"
    )
    with pytest.raises(BadInput, match=message):
        check_inside(subject, training_pixels(subject, 1, 10).pixels, 10, 20)
    check_inside(subject, np.array([[0, 0], [9, 19]]), 10, 20)


def test_a_mask_of_another_size() -> None:
    subject = image(dense=np.zeros((20, 10), np.uint8))
    with pytest.raises(BadInput, match=r"\(20, 10\); expected that of the image, \(10, 20\)"):
        check_inside(subject, np.empty((0, 2), np.int64), 10, 20)
