"""The published encoder on real streets."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from model_zoo.errors import WeightsMissing
from model_zoo.evaluation.metrics import confusion_matrix, mean_iou
from model_zoo.learners.base import LabelledImage, Learner
from model_zoo.registry import create_learner, list_models

CAMVID = Path(__file__).parents[4] / "shared/data/camvid"
VOID = 11


@pytest.fixture(scope="module")
def learner() -> Learner:
    try:
        return create_learner("probe-lite0")
    except WeightsMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.unit
def test_it_is_registered_with_its_provenance() -> None:
    (info,) = list_models("probe-lite0", kind="learner")
    assert info.licence == "Apache-2.0"
    assert info.weights[0].name == "efficientnet-lite0"


@pytest.mark.weights
@pytest.mark.parametrize("size", [(1, 1), (75, 130)])
def test_any_size_of_image(learner: Learner, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    where = np.arange(10)
    learner.fit([LabelledImage("noise", lambda: noise, where, where, where % 2)], ("even", "odd"))
    probabilities = learner.predict_proba(np.zeros((*size, 3), dtype=np.uint8))
    assert probabilities.shape == (2, *size)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.skipif(not CAMVID.is_dir(), reason=f"CamVid is not at {CAMVID}")
def test_streets_from_twenty_pixels_an_image(learner: Learner) -> None:
    """A twentieth of the benchmark's images reach 43 % here; a broken feature or head falls far below 35 %."""
    classes = [line.split()[1] for line in (CAMVID / "classes.txt").read_text().splitlines()][:VOID]
    learner.fit([_labelled(path) for path in sorted((CAMVID / "train").glob("*.jpg"))[::20]], classes)
    confusion = np.zeros((VOID, VOID), dtype=np.int64)
    for path in sorted((CAMVID / "val").glob("*.jpg"))[::20]:
        predicted = learner.predict_proba(_read(path)).argmax(axis=0)
        confusion += confusion_matrix(_truth(path), predicted, VOID, ignore=VOID)
    assert mean_iou(confusion) > 0.35


def _labelled(path: Path) -> LabelledImage:
    truth = _truth(path)
    known = np.argwhere(truth != VOID)
    rows, cols = np.random.default_rng(0).permutation(known)[:20].T
    return LabelledImage(path.stem, lambda: _read(path), rows, cols, truth[rows, cols].astype(np.int64))


def _read(path: Path) -> np.ndarray:
    return np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])


def _truth(path: Path) -> np.ndarray:
    return cv2.imread(str(path.parent.with_name(f"{path.parent.name}_labels") / f"{path.stem}.png"), 0)
