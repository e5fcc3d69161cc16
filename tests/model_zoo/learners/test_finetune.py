from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model_zoo.errors import BadInput, WeightsMissing
from model_zoo.learners import finetune
from model_zoo.learners.base import UNLABELLED, LabelledImage
from model_zoo.learners.finetune import Finetune
from model_zoo.learners.finetune_policy import DEFAULT, PIXELPICK, FinetunePolicy
from model_zoo.learners.trainer import rate_factor
from model_zoo.registry import create_learner
from tests.model_zoo.learners.learner_pictures import (
    CLASSES,
    TINY,
    labelled,
    stripes,
    tiny_finetune,
    tiny_network,
)

pytestmark = pytest.mark.unit
NONE = np.empty(0, dtype=np.int64)
QUICK = replace(TINY, epochs=1, epoch_steps=3)


def pool(count: int = 20) -> list[LabelledImage]:
    return [
        labelled(*stripes(*size, seed=seed), count, seed) for seed, size in enumerate([(48, 72), (37, 61)])
    ]


def accuracy(learner: Finetune) -> float:
    image, truth = stripes(50, 70, seed=99)
    return float((learner.predict_proba(image).argmax(axis=0) == truth).mean())


def masked(count: int) -> list[LabelledImage]:
    """Pictures that are labelled by masks, all 255 but for ``count`` random pixels."""
    found = []
    for image in pool(count):
        mask = np.full(image.load().shape[:2], UNLABELLED, np.uint8)
        mask[image.rows, image.cols] = image.labels
        found.append(replace(image, rows=NONE, cols=NONE, labels=NONE, dense=mask))
    return found


def test_a_dense_mask_teaches_like_labels() -> None:
    image, truth = stripes(48, 72)
    learner = tiny_finetune()
    report = learner.fit([LabelledImage("a", lambda: image, NONE, NONE, NONE, truth)], CLASSES)
    assert (report.images, report.labels) == (1, truth.size)
    assert accuracy(learner) > 0.9


def test_masks_are_extra_labels_and_pixel_labels_win() -> None:
    image, truth = stripes(48, 72)
    rows, cols = np.array([0, 1]), np.array([0, 1])
    mask = np.full_like(truth, UNLABELLED)
    mask[10:20] = truth[10:20]
    both = LabelledImage("a", lambda: image, rows, cols, np.array([2, UNLABELLED]), mask)
    assert tiny_finetune(policy=QUICK).fit([both], CLASSES).labels == 10 * 72 + 1


def test_only_labelled_pixels_of_a_mask_are_trained_on() -> None:
    report = tiny_finetune(policy=QUICK).fit(masked(15), CLASSES)
    assert report.labels == sum(int((image.dense != UNLABELLED).sum()) for image in masked(15))  # type: ignore[union-attr]


def test_a_fit_leaves_the_global_generators_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    tiny_finetune(policy=QUICK).fit(pool(), CLASSES)
    assert torch.equal(torch.rand(3), expected)


def test_a_warm_start_goes_on_where_the_other_stood() -> None:
    first = tiny_finetune()
    first.fit(pool(), CLASSES)
    image = stripes(50, 70, seed=99)[0]
    before = first.predict_proba(image)
    still = replace(
        TINY, rate=0.0, encoder_rate=0.0, average=0.0, warm_epochs=1, epoch_steps=1, weight_decay=0
    )
    warm, cold = tiny_finetune(policy=still), tiny_finetune(policy=replace(still, epochs=1))
    told: list[str] = []
    warm.fit(pool(), CLASSES, warm_start=first, progress=lambda _, what: told.append(what))
    cold.fit(pool(), CLASSES)
    assert told[-1] == "epoch 1 of 1"
    close = np.abs(warm.predict_proba(image) - before).mean()
    assert close < 0.5 * np.abs(cold.predict_proba(image) - before).mean()
    np.testing.assert_array_equal(first.predict_proba(image), before)


@pytest.mark.parametrize("reason", ["classes", "network", "policy", "kind"])
def test_a_warm_start_that_does_not_fit_is_a_fresh_start(reason: str) -> None:
    start: Finetune | None = tiny_finetune(
        "finetune-fpn-tiny" if reason == "network" else "finetune-deeplabv3plus-tiny", policy=QUICK
    )
    assert start is not None
    classes = (*CLASSES, "more") if reason == "classes" else CLASSES
    start.fit(pool(), classes)
    policy = replace(QUICK, warm_epochs=0) if reason == "policy" else QUICK
    learners = [tiny_finetune(policy=policy) for _ in range(2)]
    learners[0].fit(pool(), CLASSES, warm_start=None if reason == "kind" else start)
    learners[1].fit(pool(), CLASSES)
    image = stripes(20, 30)[0]
    np.testing.assert_array_equal(*(learner.predict_proba(image) for learner in learners))


def test_it_stops_early_and_keeps_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([0.5, 0.4, 0.6, 0.7, 0.8])
    seen: list[np.ndarray] = []
    image = stripes(20, 30)[0]
    monkeypatch.setattr(Finetune, "_held_loss", lambda *_: next(losses))
    learner = tiny_finetune(policy=replace(TINY, epochs=50, epoch_steps=2, patience=2))
    learner.on_epoch = lambda _, now: seen.append(now.predict_proba(image))
    learner.fit(pool(), CLASSES)
    assert len(seen) == 4
    np.testing.assert_array_equal(learner.predict_proba(image), seen[1])
    assert not np.array_equal(seen[1], seen[3])


def test_labels_are_held_out_once_there_are_many() -> None:
    policy = replace(QUICK, held_out=0.2, held_out_from=100)
    few, many = pool(20), pool(100)
    assert tiny_finetune(policy=policy).fit(few, CLASSES).labels == 40
    all_labels = sum(len(set(zip(image.rows, image.cols, strict=True))) for image in many)
    assert 0.7 * all_labels < tiny_finetune(policy=policy).fit(many, CLASSES).labels < 0.9 * all_labels
    unheld = tiny_finetune(policy=replace(policy, held_out=0.0))
    assert unheld.fit(many, CLASSES).labels == all_labels


def test_held_out_labels_are_measured() -> None:
    told: list[str] = []
    policy = replace(
        TINY, epochs=40, epoch_steps=1, held_out=0.2, held_out_from=10, rate=0.0, encoder_rate=0.0, patience=1
    )
    learner = tiny_finetune(policy=replace(policy, average=0.0, weight_decay=0.0))
    learner.fit(pool(60), CLASSES, progress=lambda _, what: told.append(what))
    assert told[-1] != "epoch 40 of 40"


def test_the_hook_sees_every_epoch_with_and_without_the_average() -> None:
    image = stripes(20, 30)[0]
    numbers: list[int] = []

    def on_epoch(number: int, learner: Finetune) -> None:
        numbers.append(number)
        assert learner.classes == CLASSES
        found, latest = learner.predict_proba(image), learner.latest().predict_proba(image)
        assert found.shape == latest.shape
        assert not np.array_equal(found, latest)

    learner = tiny_finetune()
    learner.on_epoch = on_epoch
    learner.fit(pool(), CLASSES)
    assert numbers == [0, 1]
    with pytest.raises(BadInput, match="not being trained"):
        learner.latest()


def test_a_hook_does_not_change_what_is_learnt() -> None:
    image = stripes(20, 30)[0]
    plain, watched = (tiny_finetune(policy=replace(QUICK, average=0.0, epochs=2)) for _ in range(2))
    seen: list[np.ndarray] = []
    watched.on_epoch = lambda _, now: seen.append(now.predict_proba(image, samples=2))
    plain.fit(pool(), CLASSES)
    watched.fit(pool(), CLASSES)
    np.testing.assert_array_equal(plain.predict_proba(image), watched.predict_proba(image))


def test_stochastic_passes_are_the_same_at_every_call() -> None:
    for name in ("finetune-deeplabv3plus-tiny", "finetune-fpn-tiny"):
        learner = tiny_finetune(name, policy=QUICK)
        learner.fit(pool(), CLASSES)
        image = stripes(20, 30)[0]
        first, again = (learner.predict_proba(image, samples=3) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first[0], first[1])
        with pytest.raises(BadInput, match="0 samples asked for"):
            learner.predict_proba(image, samples=0)


def test_the_papers_policy_is_the_papers() -> None:
    assert (PIXELPICK.optimiser, PIXELPICK.rate, PIXELPICK.encoder_rate) == ("adam", 5e-4, 5e-5)
    assert (PIXELPICK.weight_decay, PIXELPICK.batch, PIXELPICK.epochs) == (2e-4, 4, 50)
    factors = [rate_factor(PIXELPICK, epoch, epoch / 50) for epoch in (0, 19, 20, 39, 40, 49)]
    np.testing.assert_allclose(factors, [1, 1, 0.1, 0.1, 0.01, 0.01])
    assert not PIXELPICK.average
    assert not PIXELPICK.held_out
    assert not PIXELPICK.warm_epochs
    assert create_learner("pixelpick-deeplabv3plus-lite0").policy is PIXELPICK
    assert create_learner("finetune-deeplabv3plus-lite0").policy is DEFAULT


def test_the_papers_policy_trains() -> None:
    learner = tiny_finetune(policy=replace(PIXELPICK, epochs=2))
    assert np.isfinite(learner.fit(pool(), CLASSES).loss)


def test_our_rates_follow_a_cosine() -> None:
    factors = [rate_factor(DEFAULT, 0, done) for done in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(factors, [1, 0.5, 0], atol=1e-9)


@pytest.mark.parametrize("wrong", [{"batch": 1}, {"epochs": 0}, {"epoch_steps": 0}])
def test_policies_that_cannot_be_meant(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        FinetunePolicy(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("images", "classes", "message"),
    [
        ([], CLASSES, "labels of no class"),
        (pool(), ("red",), "distinct names"),
        ([replace(pool()[0], rows=np.full(20, 48))], CLASSES, "row 48, column .* 48 rows x 72 columns"),
        ([replace(pool()[0], dense=np.zeros((3, 3), np.uint8))], CLASSES, "dense mask of shape"),
        ([replace(pool()[0], dense=np.full((48, 72), 3, np.uint8))], CLASSES, "class 3; expected 0 to 2"),
        ([replace(pool()[0], load=lambda: np.zeros((48, 72), np.uint8))], CLASSES, "expected uint8"),
    ],
)
def test_labels_that_cannot_be_learned_from(
    images: list[LabelledImage], classes: Sequence[str], message: str
) -> None:
    learner = tiny_finetune(policy=QUICK)
    with pytest.raises(BadInput, match=message):
        learner.fit(images, classes)
    assert learner.classes == ()
    with pytest.raises(BadInput, match="has not been trained; call fit or load first"):
        learner.predict_proba(stripes(8, 8)[0])


def test_a_loss_that_is_no_number_is_said() -> None:
    learner = tiny_finetune(policy=replace(QUICK, rate=float("inf")))
    with pytest.raises(BadInput, match="the loss became"):
        learner.fit(pool(), CLASSES)


def test_states_of_other_networks_are_refused(tmp_path: Path) -> None:
    learner = tiny_finetune(policy=QUICK)
    learner.fit(pool(), CLASSES)
    learner.save(tmp_path)
    name = learner.name
    other = Finetune(name, "another recipe", lambda classes: tiny_network(name, classes))
    with pytest.raises(BadInput, match=r"features 'tiny .*'; expected 'another recipe'"):
        other.load(tmp_path)
    wide = Finetune(name, f"tiny {name}", lambda classes: tiny_network(name, classes + 1))
    with pytest.raises(BadInput, match="holds another network"):
        wide.load(tmp_path)
    (tmp_path / finetune.NETWORK).unlink()
    with pytest.raises(BadInput, match="cannot be read"):
        learner.load(tmp_path)


@pytest.mark.weights
@pytest.mark.parametrize("kind", ["deeplabv3plus", "fpn"])
def test_the_registered_learners_have_the_papers_sizes_on_lite0(kind: str) -> None:
    try:
        learner = create_learner(f"finetune-{kind}-lite0")
    except WeightsMissing as missing:
        pytest.skip(str(missing))
    assert isinstance(learner, Finetune)
    network = learner._build(5)
    assert network.trunk.strides == ((2, 4, 8, 16, 16) if kind == "deeplabv3plus" else (2, 4, 8, 8, 8))
    with torch.inference_mode():
        parts = network.eval().encode(torch.zeros(1, 3, 64, 96))
        logits = network.decode(parts, None)
    shapes = [tuple(part.shape[1:]) for part in parts]
    if kind == "deeplabv3plus":
        assert shapes == [(48, 16, 24), (256, 4, 6)]
        assert logits.shape == (1, 5, 16, 24)
    else:
        assert shapes == [(128, 32, 48)]
        assert logits.shape == (1, 5, 32, 48)
