"""Wrong labels among right ones are found, right ones are left alone, and nothing is judged by what it taught."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from backend.errors import ImageProblem
from backend.learning.cross_fit import FOLDS, IMAGES_TO_DEAL, TIE, collect_points, deal
from backend.learning.labelled import TaskImage
from backend.learning.review import Review, review_labels
from label_config import PixelLabel, TaskLabels
from model_zoo.learners.base import FitReport, LabelledImage, Learner, Progress
from model_zoo.registry import create_learner

pytestmark = pytest.mark.unit

CLASSES = ("sky", "grass", "wall")
COLOURS = np.array([(90, 140, 225), (60, 150, 60), (170, 85, 60)], dtype=np.int16)
HEIGHT, WIDTH = 120, 180
MARGIN = 6

Pixels = Sequence[tuple[int, int, str]]


def truth_of(task: int) -> NDArray[np.uint8]:
    """Sky over grass, and a wall whose place depends on the task."""
    truth = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    truth[HEIGHT // 2 :] = 1
    left = 15 + 12 * (task % 8)
    truth[40:98, left : left + 54] = 2
    return truth


def picture(image: TaskImage) -> NDArray[np.uint8]:
    task = image.labels.task_id
    noise = np.random.default_rng(task).integers(-20, 21, (HEIGHT, WIDTH, 3))
    return (COLOURS[truth_of(task)] + noise).clip(0, 255).astype(np.uint8)


def right_labels(task: int, count: int = 16) -> list[tuple[int, int, str]]:
    """Answers inside their regions."""
    truth = truth_of(task)
    side = 2 * MARGIN + 1
    inside = cv2.erode(truth, np.ones((side, side))) == cv2.dilate(truth, np.ones((side, side)))
    picked = np.random.default_rng(1000 + task).choice(np.argwhere(inside), count, replace=False)
    return [(int(row), int(col), CLASSES[truth[row, col]]) for row, col in picked]


def image_of(task: int, pixels: Pixels, *, dense: Any = None, conflicts: Any = ()) -> TaskImage:
    labels = TaskLabels(
        task_id=task,
        item_index=None,
        height=HEIGHT,
        width=WIDTH,
        pixels=tuple(PixelLabel(*pixel) for pixel in pixels),
        dense=dense,
        conflicts=tuple(conflicts),
    )
    return TaskImage(f"/data/upload/1/{task}.png", labels)


@cache
def probe() -> Learner:
    """One for all tests: it encodes an image once."""
    return create_learner("probe-lite0", device="cpu")


def review(images: Sequence[TaskImage], learner: Learner | None = None, load: Any = picture) -> Review:
    return review_labels(
        images,
        CLASSES,
        load,
        learner or probe(),
        confidence=0.9,
        report=lambda _share, _what: None,
    )


class Memory(Learner):
    """Remembers which pixels it was taught, and refuses to be asked about these."""

    name = "memory"

    def __init__(self) -> None:
        self.classes = ()
        self.taught: set[tuple[str, int, int]] = set()
        self.taught_images: list[set[str]] = []
        self.asked: list[tuple[str, int, int]] = []

    def fit(
        self,
        labelled: Sequence[LabelledImage],
        classes: Sequence[str],
        *,
        warm_start: Learner | None = None,  # noqa: ARG002
        progress: Progress | None = None,  # noqa: ARG002
        seed: int = 0,  # noqa: ARG002
    ) -> FitReport:
        self.taught = {pixel for image in labelled for pixel in pixels_of(image)}
        self.taught_images.append({image.key for image in labelled})
        self.classes = tuple(classes)
        return FitReport(len(labelled), len(self.taught), 0.0, 0.0, 0.0)

    def predict_proba(self, image: NDArray[np.uint8], samples: int = 1) -> NDArray[np.float32]:
        raise NotImplementedError

    def predict_pixels(self, image: LabelledImage) -> NDArray[np.float32]:
        pixels = pixels_of(image)
        assert self.taught.isdisjoint(pixels)
        self.asked += pixels
        sure = np.zeros((len(pixels), len(self.classes)), dtype=np.float32)
        sure[:, 0] = 0.6
        return sure

    def save(self, directory: Path) -> None: ...
    def load(self, directory: Path) -> None: ...


def pixels_of(image: LabelledImage) -> list[tuple[str, int, int]]:
    return [(image.key, int(row), int(col)) for row, col in zip(image.rows, image.cols, strict=True)]


@pytest.mark.parametrize("count", [6, IMAGES_TO_DEAL + 2])
def test_one_wrong_label_among_right_ones_is_the_only_suspect(count: int) -> None:
    images = [image_of(task, right_labels(task)) for task in range(1, count + 1)]
    assert review(images).suspects == ()
    wrong = (9, 90, "grass")
    images[1] = image_of(2, [*right_labels(2), wrong])
    found = review(images)
    (suspect,) = found.suspects
    assert (suspect.task_id, suspect.row, suspect.col) == (2, 9, 90)
    assert (suspect.kind, suspect.label, suspect.predicted) == ("pixel", "grass", "sky")
    assert suspect.confidence >= 0.9
    assert found.judged == 16 * count + 1
    assert found == review(images), "the same labels give the same answer"


def test_a_model_that_learnt_the_wrong_label_would_defend_it() -> None:
    """What cross-fitting is for: an annotator who calls all of one image's sky grass."""
    images = [image_of(task, right_labels(task)) for task in range(1, IMAGES_TO_DEAL + 3)]
    swapped = [(row, col, "wall" if label == "sky" else label) for row, col, label in right_labels(5, 20)]
    images[4] = image_of(5, swapped)
    found = review(images)
    assert {suspect.task_id for suspect in found.suspects} == {5}
    skies = sum(label == "sky" for _, _, label in right_labels(5, 20))
    assert len(found.suspects) >= 0.8 * skies
    assert all(suspect.label == "wall" for suspect in found.suspects)
    assert [s.confidence for s in found.suspects] == sorted(
        (s.confidence for s in found.suspects), reverse=True
    )


@pytest.mark.parametrize("count", [4, IMAGES_TO_DEAL])
def test_nothing_is_judged_by_what_it_taught(count: int) -> None:
    learner = Memory()
    images = [image_of(task, right_labels(task)) for task in range(count)]
    found = review(images, learner)
    assert len(learner.asked) == len(set(learner.asked)) == 16 * count == found.judged
    assert len(learner.taught_images) == FOLDS
    whole_images = all(len(keys) < count for keys in learner.taught_images)
    assert whole_images == (count >= IMAGES_TO_DEAL)
    assert found.suspects == (), "it is never sure enough"


def test_a_mask_drawn_as_the_wrong_class_is_one_suspect() -> None:
    images = [image_of(task, right_labels(task)) for task in range(1, 6)]
    dense = np.full((HEIGHT, WIDTH), 255, dtype=np.uint8)
    dense[104:, :] = 2  # grass, drawn as wall
    dense[2:22, :] = 0
    images.append(image_of(6, [], dense=dense))
    found = review(images)
    (suspect,) = found.suspects
    assert (suspect.task_id, suspect.kind, suspect.label, suspect.predicted) == (6, "mask", "wall", "grass")
    assert suspect.row >= 104
    assert found.judged == 5 * 16 + 2


class TwoHalves(Memory):
    """Knows for sure: sky left of column 90, grass right of it."""

    def predict_pixels(self, image: LabelledImage) -> NDArray[np.float32]:
        right = (image.cols >= 90).astype(np.float32)
        return np.stack([1 - right, right, 0 * right], axis=1)


def test_a_label_beside_a_border_has_the_benefit_of_the_doubt() -> None:
    left = [(row, 10, "sky") for row in range(0, 100, 10)]
    right = [(row, 150, "grass") for row in range(0, 100, 10)]
    doubtful = [(50, 91, "sky"), (50, 100, "sky"), (70, 88, "grass"), (70, 0, "grass")]
    found = review([image_of(1, [*left, *right, *doubtful])], TwoHalves())
    assert [(s.row, s.col) for s in found.suspects] == [(50, 100), (70, 0)]


def test_ties_are_listed_whatever_the_model_says() -> None:
    images = [image_of(task, right_labels(task)) for task in range(1, 5)]
    images.append(image_of(9, right_labels(9), conflicts=[(9, 9), (112, 9)]))
    found = review(images)
    ties = {(s.row, s.col): s for s in found.suspects}
    assert set(ties) == {(9, 9), (112, 9)}
    assert {(s.kind, s.label, s.task_id) for s in found.suspects} == {("tie", "", 9)}
    assert (ties[9, 9].predicted, ties[112, 9].predicted) == ("sky", "grass")
    assert found.judged == 5 * 16


@pytest.mark.parametrize(
    "pixels",
    [[], [(1, 1, "void")], [(1, c, "sky") for c in range(30)], [(1, 1, "sky"), (60, 1, "grass")]],
)
def test_too_little_to_learn_is_said_and_ties_are_listed_all_the_same(pixels: Pixels) -> None:
    found = review([image_of(1, pixels, conflicts=[(2, 2)])], Memory())
    (suspect,) = found.suspects
    assert (suspect.kind, suspect.predicted, suspect.confidence) == ("tie", "", 0.0)
    assert found.judged == 0
    assert "too few labels" in found.problem
    assert review([], Memory()).suspects == ()


def test_void_and_foreign_labels_are_no_suspects() -> None:
    images = [image_of(task, right_labels(task)) for task in range(1, 4)]
    others = [(4, 4, "void"), (4, 6, "a class of yesterday")]
    images.append(image_of(4, [*right_labels(4), *others]))
    found = review(images)
    assert found.suspects == ()
    assert found.judged == 4 * 16
    assert found.unjudged == 0


def test_a_class_with_too_few_labels_elsewhere_is_not_judged() -> None:
    flat = [image_of(t, [p for p in right_labels(t) if p[2] != "wall"]) for t in range(1, 5)]
    (row, col) = map(int, np.argwhere(truth_of(1) == 2)[100])
    flat[0] = image_of(1, [(p.row, p.col, p.label) for p in flat[0].labels.pixels] + [(row, col, "wall")])
    found = review(flat)
    assert found.suspects == ()
    assert found.unjudged == 1


def test_an_image_that_cannot_be_had_is_left_out() -> None:
    def load(image: TaskImage) -> NDArray[np.uint8]:
        if image.labels.task_id == 32:
            raise ImageProblem("gone")
        return picture(image)

    images = [image_of(task, right_labels(task)) for task in range(31, 36)]
    found = review(images, load=load)
    assert found.unreadable == ((32, "gone"),)
    assert found.judged == 4 * 16
    assert found.suspects == ()


def test_folds_depend_on_the_labels_alone_and_spread_each_class() -> None:
    images = [image_of(task, right_labels(task), conflicts=[(0, 0)]) for task in range(4)]
    points = collect_points(images, CLASSES)
    assert (points.labels == TIE).sum() == 4
    folds = deal(points)
    for label in range(len(CLASSES)):
        counts = np.bincount(folds[points.labels == label], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1
    backwards = collect_points(images[::-1], CLASSES)
    where = {(p, r, c): f for p, r, c, f in zip(points.place, points.rows, points.cols, folds, strict=True)}
    for p, r, c, f in zip(backwards.place, backwards.rows, backwards.cols, deal(backwards), strict=True):
        assert where[3 - p, r, c] == f
