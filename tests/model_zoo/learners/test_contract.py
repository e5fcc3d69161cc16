"""What every registered learner promises."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from model_zoo.errors import BadInput, WeightsMissing
from model_zoo.learners.base import LabelledImage, Learner
from model_zoo.registry import create_learner, list_models
from tests.model_zoo.learners.learner_pictures import CLASSES, labelled, stripes, tiny_finetune

pytestmark = pytest.mark.unit
NAMES = [info.name for info in list_models(kind="learner")]
SIZES = ((48, 72), (37, 61), (64, 40))
NEVER = "never labelled"


def build(name: str, device: str = "cpu") -> Learner:
    """An untrained learner; encoders are shared, so it is quick. Whole networks are trained a few channels wide."""
    if name.startswith("finetune-"):
        return tiny_finetune(name, device)
    try:
        return create_learner(name, device)
    except WeightsMissing as missing:
        pytest.skip(str(missing))


def pool() -> list[LabelledImage]:
    """Three pictures of different sizes with 20 labelled pixels each."""
    return [labelled(*stripes(*size, seed=seed), 20, seed) for seed, size in enumerate(SIZES)]


def trained(name: str, seed: int = 0, *, device: str = "cpu", backwards: bool = False) -> Learner:
    learner = build(name, device)
    images = pool()
    learner.fit(images[::-1] if backwards else images, (*CLASSES, NEVER), seed=seed)
    return learner


def unseen(height: int = 45, width: int = 70) -> tuple[np.ndarray, np.ndarray]:
    """A picture that was not trained on, and its class map."""
    return stripes(height, width, seed=99)


@cache
def shared(name: str) -> Learner:
    """A trained learner for tests that only ask it."""
    return trained(name)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def learner(name: str) -> Learner:
    return shared(name)


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (37, 5), (45, 70)])
def test_probabilities_have_their_shape_and_type_and_sum_to_one(
    learner: Learner, size: tuple[int, int]
) -> None:
    image = unseen(*size)[0]
    image.setflags(write=False)
    found = learner.predict_proba(image)
    assert found.shape == (len(CLASSES) + 1, *size)
    assert found.dtype == np.float32
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-4)


def test_stochastic_passes_differ_and_are_probabilities(learner: Learner) -> None:
    found = learner.predict_proba(unseen(20, 30)[0], samples=3)
    assert found.shape == (3, len(CLASSES) + 1, 20, 30)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-4)
    assert not np.array_equal(found[0], found[1])


def test_the_obvious_is_learnt(learner: Learner) -> None:
    image, truth = unseen()
    assert learner.classes == (*CLASSES, NEVER)
    assert (learner.predict_proba(image).argmax(axis=0) == truth).mean() > 0.9


def test_the_seed_decides(name: str) -> None:
    image = unseen()[0]
    first, again, other = (trained(name, seed).predict_proba(image) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_used_learner_fits_as_a_fresh_one(name: str, learner: Learner) -> None:
    used = build(name)
    used.fit(pool()[:1], CLASSES, seed=7)
    used.fit(pool(), (*CLASSES, NEVER))
    image = unseen()[0]
    np.testing.assert_array_equal(used.predict_proba(image), learner.predict_proba(image))


def test_what_is_saved_is_loaded(name: str, learner: Learner, tmp_path: Path) -> None:
    learner.save(tmp_path)
    loaded = build(name)
    loaded.load(tmp_path)
    assert loaded.classes == learner.classes
    image = unseen()[0]
    np.testing.assert_array_equal(loaded.predict_proba(image), learner.predict_proba(image))
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_the_order_of_images_hardly_matters(name: str, learner: Learner) -> None:
    """It decides the batches, so the answers are not the same to the bit."""
    image = unseen()[0]
    found, backwards = learner.predict_proba(image), trained(name, backwards=True).predict_proba(image)
    assert (found.argmax(axis=0) == backwards.argmax(axis=0)).mean() > 0.98
    assert np.abs(found - backwards).mean() < 0.02


def test_concurrent_is_serial(learner: Learner) -> None:
    images = [unseen(*size)[0] for size in SIZES] * 3
    for image in images[::2]:
        image.setflags(write=False)  # learners may keep the features of such arrays
    serial = [learner.predict_proba(image) for image in images]
    with ThreadPoolExecutor(4) as threads:
        concurrent = list(threads.map(learner.predict_proba, images))
    for expected, found in zip(serial, concurrent, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_pixels_are_those_of_the_whole_image(learner: Learner) -> None:
    rng = np.random.default_rng(5)
    image = unseen()[0]
    rows, cols = rng.integers(0, 45, 60), rng.integers(0, 70, 60)
    rows[:2], cols[:2] = (0, 44), (0, 69)
    rows[-1], cols[-1] = rows[3], cols[3]  # a pixel may be asked for twice
    asked = LabelledImage("unseen", lambda: image, rows, cols, np.full(60, 255))
    found = learner.predict_pixels(asked)
    assert found.shape == (60, len(CLASSES) + 1)
    assert found.dtype == np.float32
    dense = learner.predict_proba(image)[:, rows, cols].T
    # A probe's dense answer interpolates logits between the cells of a grid, the other one features.
    assert np.abs(found - dense).mean() < 0.005
    np.testing.assert_allclose(found, dense, atol=0.2)


def test_preparing_changes_nothing(name: str, learner: Learner) -> None:
    prepared = build(name)
    images = pool()
    for image in images:
        prepared.prepare(image)
    prepared.fit(images, (*CLASSES, NEVER))
    image = unseen()[0]
    np.testing.assert_array_equal(prepared.predict_proba(image), learner.predict_proba(image))


def test_progress_rises(name: str) -> None:
    told: list[float] = []
    report = build(name).fit(pool(), CLASSES, progress=lambda share, _: told.append(share))
    assert told == sorted(told)
    assert 0 <= told[0] <= told[-1] <= 1
    assert (report.images, report.labels) == (3, 60)
    assert np.isfinite(report.loss)


def test_what_cannot_be_done_is_refused(name: str, tmp_path: Path) -> None:
    fresh = build(name)
    for attempt in (
        lambda: fresh.predict_proba(unseen()[0]),
        lambda: fresh.save(tmp_path),
        lambda: fresh.load(tmp_path),
        lambda: fresh.fit([], CLASSES),
        lambda: fresh.fit(pool(), CLASSES[:2]),
        lambda: shared(name).predict_proba(np.zeros((0, 10, 3), np.uint8)),
    ):
        with pytest.raises(BadInput):
            attempt()
    assert fresh.classes == ()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_says_what_the_cpu_says(name: str, learner: Learner, tmp_path: Path) -> None:
    image = unseen()[0]
    expected = learner.predict_proba(image)
    on_gpu = trained(name, device="cuda")
    assert np.abs(on_gpu.predict_proba(image) - expected).mean() < 0.05
    learner.save(tmp_path)
    on_gpu.load(tmp_path)
    np.testing.assert_allclose(on_gpu.predict_proba(image), expected, atol=0.03)
    on_gpu.save(tmp_path)
    back = build(name)
    back.load(tmp_path)
    np.testing.assert_array_equal(back.predict_proba(image), expected)
