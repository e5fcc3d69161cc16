from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_zoo.errors import BadInput
from model_zoo.learners.base import UNLABELLED, LabelledImage, Learner
from model_zoo.learners.features import FeatureCache
from model_zoo.learners.probe import Probe
from tests.model_zoo.learners.learner_pictures import CLASSES, MeanEncoder, labelled, stripes

pytestmark = pytest.mark.unit

SIZES = ((40, 60), (31, 47), (64, 33))


@pytest.fixture
def probe(encoder: MeanEncoder) -> Probe:
    return Probe("probe-mean", encoder)  # type: ignore[arg-type]


def pool(count: int = 10, classes: int = 3) -> list[LabelledImage]:
    """Three pictures of different sizes with ``count`` labelled pixels each."""
    return [
        labelled(*stripes(*size, classes, seed), count, seed, key=f"{seed} of {classes}")
        for seed, size in enumerate(SIZES)
    ]


def accuracy(probe: Probe, size: tuple[int, int] = (50, 70), classes: int = 3) -> float:
    image, truth = stripes(*size, classes, seed=99)
    return float((probe.predict_proba(image).argmax(axis=0) == truth).mean())


def test_it_learns_from_ten_pixels_each_of_three_images_of_different_sizes(probe: Probe) -> None:
    report = probe.fit(pool(), CLASSES)
    assert (report.images, report.labels) == (3, 30)
    assert report.seconds >= report.encode_seconds > 0
    assert np.isfinite(report.loss)
    assert probe.classes == CLASSES
    assert accuracy(probe) > 0.9


def test_two_classes(probe: Probe) -> None:
    probe.fit(pool(classes=2), CLASSES[:2])
    assert accuracy(probe, classes=2) > 0.9


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (37, 5), (64, 64)])
def test_probabilities_at_any_size(probe: Probe, size: tuple[int, int]) -> None:
    probe.fit(pool(), (*CLASSES, "never labelled"))
    probabilities = probe.predict_proba(stripes(*size)[0])
    assert probabilities.shape == (4, *size)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    assert (probabilities[3] == 0).all()


def test_stochastic_passes(probe: Probe) -> None:
    probe.fit(pool(), CLASSES)
    image = stripes(20, 30)[0]
    passes = probe.predict_proba(image, samples=4)
    assert passes.shape == (4, 3, 20, 30)
    np.testing.assert_allclose(passes.sum(axis=1), 1, atol=1e-5)
    assert not np.array_equal(passes[0], passes[1])
    np.testing.assert_array_equal(passes, probe.predict_proba(image, samples=4))
    with pytest.raises(BadInput, match="0 samples asked for"):
        probe.predict_proba(image, samples=0)


def test_the_same_labels_and_seed_give_the_same_learner(encoder: MeanEncoder) -> None:
    image = stripes(20, 30)[0]
    answers = []
    for seed in (3, 3, 4):
        probe = Probe("probe-mean", encoder)  # type: ignore[arg-type]
        probe.fit(pool(), CLASSES, seed=seed)
        answers.append(probe.predict_proba(image))
    np.testing.assert_array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[0], answers[2])


def test_a_fit_does_not_depend_on_the_fit_before(encoder: MeanEncoder) -> None:
    fresh, used = (Probe("probe-mean", encoder) for _ in range(2))  # type: ignore[arg-type]
    used.fit(pool(classes=2), CLASSES[:2])
    used.fit(pool(), CLASSES, warm_start=used)
    fresh.fit(pool(), CLASSES)
    image = stripes(20, 30)[0]
    np.testing.assert_array_equal(fresh.predict_proba(image), used.predict_proba(image))


def test_pixels_that_nobody_labelled_give_no_gradient(encoder: MeanEncoder) -> None:
    """A mask of 255 but for a few pixels teaches exactly what those pixels teach."""
    masked = []
    for image in pool():
        dense = np.full(image.load().shape[:2], UNLABELLED, dtype=np.uint8)
        dense[image.rows, image.cols] = image.labels
        masked.append(
            replace(image, rows=image.rows[:0], cols=image.cols[:0], labels=image.labels[:0], dense=dense)
        )
    from_pixels, from_masks = (Probe("probe-mean", encoder) for _ in range(2))  # type: ignore[arg-type]
    report = from_masks.fit(masked, CLASSES)
    # The mask's pixels come in another order, which decides the batches: give them in that order.
    ordered = [_in_mask_order(image, mask) for image, mask in zip(pool(), masked, strict=True)]
    assert from_pixels.fit(ordered, CLASSES).labels == report.labels
    image = stripes(20, 30)[0]
    np.testing.assert_array_equal(from_pixels.predict_proba(image), from_masks.predict_proba(image))


def _in_mask_order(image: LabelledImage, mask: LabelledImage) -> LabelledImage:
    from model_zoo.learners.labels import training_pixels

    chosen = training_pixels(mask, len(CLASSES), 256)
    return replace(image, rows=chosen.pixels[:, 0], cols=chosen.pixels[:, 1], labels=chosen.labels)


def test_a_dense_mask_teaches_too(probe: Probe) -> None:
    image, truth = stripes(40, 60)
    none = np.empty(0, dtype=np.int64)
    report = probe.fit([LabelledImage("a", lambda: image, none, none, none, truth)], CLASSES)
    assert report.labels == 256
    assert accuracy(probe) > 0.9


def test_a_new_round_encodes_only_images_with_new_labels(probe: Probe, encoder: MeanEncoder) -> None:
    images = pool()
    probe.fit(images, CLASSES)
    assert encoder.calls == 3
    assert probe.fit(images, CLASSES).encode_seconds == 0
    relabelled = [replace(images[0], labels=(images[0].labels + 1) % 3), *images[1:]]
    probe.fit(relabelled, CLASSES)
    assert encoder.calls == 3
    probe.fit([images[0], labelled(*stripes(*SIZES[1], 3, 1), 25, 1, key="1 of 3"), images[2]], CLASSES)
    assert encoder.calls == 4


def test_features_survive_the_process(encoder: MeanEncoder, tmp_path: Path) -> None:
    image = stripes(20, 30)[0]
    answers = []
    for _ in range(2):
        probe = Probe("probe-mean", encoder)  # type: ignore[arg-type]
        probe.use_cache(FeatureCache(tmp_path))
        probe.fit(pool(), CLASSES)
        answers.append(probe.predict_proba(image))
    assert encoder.calls == 3 + 2
    np.testing.assert_array_equal(answers[0], answers[1])


def test_prepared_pixels_need_no_encoder_when_their_answers_come(probe: Probe, encoder: MeanEncoder) -> None:
    for image in pool():
        probe.prepare(replace(image, labels=np.zeros_like(image.labels)))
    calls = encoder.calls
    assert probe.fit(pool(), CLASSES).encode_seconds == 0
    assert encoder.calls == calls


def test_preparing_after_a_prediction_encodes_once(probe: Probe, encoder: MeanEncoder) -> None:
    probe.fit(pool(), CLASSES)
    picture, truth = stripes(40, 60, seed=5)
    picture.flags.writeable = False
    calls = encoder.calls
    probe.predict_proba(picture)
    probe.prepare(labelled(picture, truth, 10, key="new"))
    assert encoder.calls == calls + 1


def test_a_picture_changed_in_place_is_encoded_again(probe: Probe) -> None:
    probe.fit(pool(), CLASSES)
    picture = stripes(40, 60)[0]
    before = probe.predict_proba(picture)
    picture[:] = picture[:, ::-1].copy()
    assert not np.array_equal(probe.predict_proba(picture), before)


def test_single_pixels_are_predicted_as_in_the_whole_image(probe: Probe, encoder: MeanEncoder) -> None:
    images = pool()
    probe.fit(images, CLASSES)
    repeated = replace(
        images[0],
        rows=np.append(images[0].rows, images[0].rows[0]),
        cols=np.append(images[0].cols, images[0].cols[0]),
        labels=np.append(images[0].labels, UNLABELLED),
    )
    calls = encoder.calls
    at_pixels = probe.predict_pixels(repeated)
    assert encoder.calls == calls
    assert at_pixels.shape == (11, 3)
    assert at_pixels.dtype == np.float32
    whole = probe.predict_proba(images[0].load())
    np.testing.assert_allclose(at_pixels, whole[:, repeated.rows, repeated.cols].T, atol=0.02)
    np.testing.assert_allclose(at_pixels, Learner.predict_pixels(probe, repeated), atol=0.02)


def test_pixels_outside_the_image_are_refused(probe: Probe) -> None:
    images = pool()
    probe.fit(images, CLASSES)
    with pytest.raises(BadInput, match="row 40"):
        probe.predict_pixels(replace(images[0], rows=images[0].rows * 0 + 40))


def test_save_and_load(probe: Probe, encoder: MeanEncoder, tmp_path: Path) -> None:
    probe.fit(pool(), (*CLASSES, "never labelled"))
    probe.save(tmp_path)
    other = Probe("probe-mean", encoder)  # type: ignore[arg-type]
    other.load(tmp_path)
    image = stripes(33, 44)[0]
    assert other.classes == probe.classes
    np.testing.assert_array_equal(other.predict_proba(image), probe.predict_proba(image))


def test_a_state_for_other_features_is_refused(probe: Probe, encoder: MeanEncoder, tmp_path: Path) -> None:
    probe.fit(pool(), CLASSES)
    probe.save(tmp_path)
    encoder.fingerprint = "mean-v2"
    with pytest.raises(BadInput, match=r"features 'mean-v1:.*expected 'mean-v2:"):
        Probe("probe-mean", encoder).load(tmp_path)  # type: ignore[arg-type]


def test_classes_that_do_not_fit_the_head_are_refused(probe: Probe, tmp_path: Path) -> None:
    probe.fit(pool(), CLASSES)
    probe.save(tmp_path)
    description = tmp_path / "learner.json"
    changed = {**json.loads(description.read_text(encoding="utf-8")), "classes": ["one", "two"]}
    description.write_text(json.dumps(changed), encoding="utf-8")
    with pytest.raises(BadInput, match="head has layers"):
        probe.load(tmp_path)
    assert probe.classes == CLASSES


def test_predictions_from_many_threads_are_those_of_one(probe: Probe) -> None:
    probe.fit(pool(), CLASSES)
    pictures = [stripes(20 + seed, 30, seed=seed)[0] for seed in range(8)]
    for picture in pictures:
        picture.flags.writeable = False
    alone = [probe.predict_proba(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as threads:
        for expected, found in zip(alone * 3, threads.map(probe.predict_proba, pictures * 3), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_progress_goes_from_nothing_to_nearly_all(probe: Probe) -> None:
    told: list[tuple[float, str]] = []
    probe.fit(pool(), CLASSES, progress=lambda share, what: told.append((share, what)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert 0.9 < shares[-1] <= 1
    assert told[0][1] == "encoding image 1 of 3"


def only(image: LabelledImage, label: int) -> LabelledImage:
    return replace(image, labels=np.full_like(image.labels, label))


@pytest.mark.parametrize(
    ("images", "classes", "message"),
    [
        ([], CLASSES, "labels of no class; expected at least two"),
        (pool(count=0), CLASSES, "labels of no class"),
        ([only(image, UNLABELLED) for image in pool()], CLASSES, "labels of no class"),
        ([only(image, 1) for image in pool()], CLASSES, "labels of the class 'green' alone"),
        ([only(image, 3) for image in pool()], CLASSES, "class 3; expected 0 to 2"),
        (pool(), ("red",), "expected 2 to 254 distinct names"),
        (pool(), ("red", "red", "blue"), "distinct names"),
        ([replace(pool()[0], rows=np.full(10, 40))], CLASSES, "row 40, column .* 40 rows x 60 columns"),
    ],
)
def test_labels_that_cannot_be_learned_from(
    probe: Probe, images: list[LabelledImage], classes: Sequence[str], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        probe.fit(images, classes)
    assert probe.classes == ()
    with pytest.raises(BadInput, match="has not been trained; call fit or load first"):
        probe.predict_proba(stripes(8, 8)[0])


def test_an_image_that_is_none(probe: Probe) -> None:
    probe.fit(pool(), CLASSES)
    with pytest.raises(BadInput, match="expected uint8"):
        probe.predict_proba(np.zeros((8, 8), dtype=np.uint8))


def test_images_without_labels_are_not_even_loaded(probe: Probe) -> None:
    none = np.empty(0, dtype=np.int64)
    idle = LabelledImage("idle", lambda: pytest.fail("loaded"), none, none, none)
    assert probe.fit([idle, *pool()], CLASSES).images == 3


def test_calibrating_changes_no_decision_and_survives_saving(encoder: MeanEncoder, tmp_path: Path) -> None:
    learner = Probe("probe-toy", encoder)
    learner.fit([labelled(*stripes(48, 72, seed=seed), 30, seed) for seed in range(3)], CLASSES)
    image, truth = stripes(48, 72, seed=9)
    before = learner.predict_proba(image)
    wrong = np.random.default_rng(0).integers(0, 3, truth.shape)
    noisy = np.where(np.random.default_rng(1).random(truth.shape) < 0.5, wrong, truth)
    temperature = learner.calibrate([labelled(image, noisy, 400, seed=3)])
    after = learner.predict_proba(image)
    assert temperature > 1.1, "half of the labels are wrong, so it was too sure"
    assert after.max(axis=0).mean() < before.max(axis=0).mean() - 0.02
    np.testing.assert_array_equal(before.argmax(axis=0), after.argmax(axis=0))
    learner.save(tmp_path)
    again = Probe("probe-toy", encoder)
    again.load(tmp_path)
    np.testing.assert_allclose(again.predict_proba(image), after, atol=1e-5)
    assert learner.calibrate([]) == 1.0
