from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label

from backend.learning.candidates import cells_of_pixels
from backend.learning.image_context import ImageContext
from backend.learning.regions import CELLS, POOL, REGIONS, region_labels, regions
from tests.model_zoo.learners.learner_pictures import COLOURS

pytestmark = pytest.mark.unit


def quarters(height: int = 120, width: int = 160) -> np.ndarray:
    """Two colours in four rectangles, like ones in opposite corners."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[:] = COLOURS[0]
    image[: height // 2, : width // 2] = image[height // 2 :, width // 2 :] = COLOURS[2]
    return image


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def owners(image: np.ndarray, picked: np.ndarray) -> np.ndarray:
    """The region of each pixel (n, 2)."""
    labels = region_labels(image)
    cells = cells_of_pixels((labels.shape[0], labels.shape[1]), image.shape[:2]).reshape(image.shape[:2])
    return labels.ravel()[cells[picked[:, 0], picked[:, 1]]]


def test_regions_follow_the_colours() -> None:
    labels = region_labels(quarters(40, 60), 4)
    height, width = labels.shape
    found = {labels[row, col] for row in (0, height - 1) for col in (0, width - 1)}
    assert found == {0, 1, 2, 3}
    for rows in (slice(0, height // 2), slice(height // 2, None)):
        for cols in (slice(0, width // 2), slice(width // 2, None)):
            assert len(np.unique(labels[rows, cols])) == 1


@pytest.mark.parametrize(
    ("size", "count"), [((90, 120), 300), ((7, 5), 300), ((7, 5), 1), ((7, 5), 2), ((1, 1), 3)]
)
def test_regions_are_connected_and_as_many_as_wanted(size: tuple[int, int], count: int) -> None:
    labels = region_labels(noise(*size), count)
    wanted = min(count, labels.size)
    assert sorted(np.unique(labels)) == list(range(wanted))
    assert all(label(labels == number)[1] == 1 for number in range(wanted))


def test_the_cost_is_bounded_whatever_the_image() -> None:
    for height, width in ((360, 480), (1200, 1600), (40, 4000)):
        labels = region_labels(np.zeros((height, width, 3), dtype=np.uint8))
        assert labels.size <= 1.05 * CELLS
    assert region_labels(np.zeros((20, 30, 3), dtype=np.uint8)).shape == (20, 30)


def test_a_region_gives_its_best_pixel_and_only_that() -> None:
    image = quarters()
    scores = np.random.default_rng(1).random(image.shape[:2]).astype(np.float32)
    context = ImageContext(lambda: image)
    picked = regions(scores, 40, np.random.default_rng(0), None, context)
    where = owners(image, picked)
    assert len(np.unique(where)) == 40
    every = owners(image, np.argwhere(np.ones(image.shape[:2], dtype=bool))).reshape(image.shape[:2])
    for (row, col), number in zip(picked.tolist(), where.tolist(), strict=True):
        assert scores[row, col] == scores[every == number].max()


def test_the_draw_is_from_the_best_regions_and_from_all_of_these() -> None:
    image = noise(60, 80)
    scores = np.random.default_rng(1).random(image.shape[:2]).astype(np.float32)
    every = owners(image, np.argwhere(np.ones(image.shape[:2], dtype=bool))).reshape(image.shape[:2])
    peaks = np.sort([scores[every == number].max() for number in range(REGIONS)])
    seen: set[float] = set()
    for seed in range(30):
        picked = regions(scores, 5, np.random.default_rng(seed), None, ImageContext(lambda: image))
        seen |= set(scores[picked[:, 0], picked[:, 1]].tolist())
    assert seen == set(peaks[-5 * POOL :].tolist())


def test_an_excluded_best_pixel_makes_way_for_the_next() -> None:
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    scores = np.array([[0.9, 0.8], [0.1, 0.2]], dtype=np.float32)
    exclude = np.array([[True, False], [False, False]])
    picked = regions(scores, 1, np.random.default_rng(0), exclude, ImageContext(lambda: image))
    assert picked.tolist() in ([[0, 1]], [[1, 0]], [[1, 1]])
    assert len(regions(scores, 4, np.random.default_rng(0), exclude, ImageContext(lambda: image))) == 3


def test_where_regions_run_out_second_pixels_follow() -> None:
    image = noise(60, 80)
    scores = np.random.default_rng(1).random(image.shape[:2]).astype(np.float32)
    picked = regions(scores, REGIONS + 50, np.random.default_rng(0), None, ImageContext(lambda: image))
    counts = np.bincount(owners(image, picked), minlength=REGIONS)
    assert counts.sum() == REGIONS + 50
    assert (counts.min(), counts.max()) == (1, 2)


def test_scores_may_be_coarser_than_the_image() -> None:
    image = quarters()
    picked = regions(
        np.ones((30, 40), dtype=np.float32), 6, np.random.default_rng(0), None, ImageContext(lambda: image)
    )
    assert len(picked) == 6
    assert (picked < (30, 40)).all()
