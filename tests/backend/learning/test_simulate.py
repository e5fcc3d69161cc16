"""The simulated loop: budgets, what may be asked, sameness of runs, noise, void, figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from backend.learning.acquisition import get_acquisition
from backend.learning.image_context import ImageContext
from backend.learning.selection import get_selection
from backend.learning.simulate import BudgetResult, Plan, simulate
from backend.learning.simulated_annotator import VOID, Annotator
from backend.learning.simulated_queries import SimulatedImage, Strategy
from model_zoo.errors import BadInput
from model_zoo.learners.base import LabelledImage, Progress
from tests.backend.learning.simulated_toys import CLASSES, ColourGrid, Reporting, Seeing, picture

pytestmark = pytest.mark.unit

MARGIN = Strategy(get_acquisition("margin"), get_selection("top5"), get_selection("top"))
PLAN = Plan((2, 5, 9), seed=3)
Pixel = tuple[int, int]


def pictures(count: int = 3, void: int = 0) -> list[SimulatedImage]:
    return [picture(f"train-{place}", void=void, seed=place) for place in range(count)]


def run(
    train: list[SimulatedImage],
    strategy: Strategy = MARGIN,
    plan: Plan = PLAN,
    *,
    kind: Callable[[], Seeing] = Seeing,
    progress: Progress | None = None,
) -> tuple[list[BudgetResult], list[Seeing]]:
    """Results, and the learner of each step."""
    learners: list[Seeing] = []

    def create() -> Seeing:
        learners.append(kind())
        return learners[-1]

    test = [picture("test", seed=9)]
    results = simulate(train, test, CLASSES, create, strategy=strategy, plan=plan, progress=progress)
    return list(results), learners


def asked(learner: Seeing) -> dict[str, list[Pixel]]:
    """The pixels that a learner was trained on, by image, in the order in which they were asked."""
    return {
        image.key: list(zip(image.rows.tolist(), image.cols.tolist(), strict=True)) for image in learner.seen
    }


def test_every_image_gets_exactly_the_budget_and_no_pixel_twice() -> None:
    results, learners = run(pictures(void=6))
    assert [result.budget for result in results] == [2, 5, 9]
    assert [result.labels for result in results] == [6, 15, 27]
    before: dict[str, list[Pixel]] = {}
    for learner, budget in zip(learners, PLAN.budgets, strict=True):
        now = asked(learner)
        assert len(now) == 3
        for key, pixels in now.items():
            assert len(pixels) == len(set(pixels)) == budget
            assert pixels[: len(before.get(key, []))] == before.get(key, [])
            assert min(col for _, col in pixels) >= 6, "a void pixel was asked for"
        before = now


def test_labels_are_the_truth_without_noise() -> None:
    train = pictures(void=6)
    _, learners = run(train)
    for image, labelled in zip(train, learners[-1].seen, strict=True):
        np.testing.assert_array_equal(labelled.labels, image.truth()[labelled.rows, labelled.cols])


def test_even_the_last_pixel_can_be_asked_for() -> None:
    small = picture("small", size=(3, 6), void=2)
    (result,), (learner,) = run([small], plan=Plan((12,)))
    assert result.labels == 12
    assert sorted(asked(learner)["key-small"]) == [(row, col) for row in range(3) for col in range(2, 6)]


def test_queries_follow_acquisition_and_selection() -> None:
    _, learners = run(pictures(1), replace(MARGIN, selection=get_selection("top")))
    later = asked(learners[-1])["key-train-0"][2:]
    assert max(col for _, col in later) == 0, "the toy is least sure at the left edge"


def test_a_perfect_learner_has_a_miou_of_1_and_no_best_epoch() -> None:
    results, learners = run(pictures())
    for result in results:
        assert (result.miou, result.miou_best) == (1.0, None)
        assert result.per_class == dict.fromkeys(CLASSES, 1.0)
        assert min(result.fit_seconds, result.acquire_seconds, result.test_seconds) >= 0
    assert [learner.seeds for learner in learners] == [[3], [3], [3]]


def test_a_class_that_nobody_has_counts_for_nothing() -> None:
    test = [replace(picture("test"), truth=lambda: np.full((24, 36), VOID, dtype=np.uint8))]
    (result,) = simulate(pictures(), test, CLASSES, Seeing, strategy=MARGIN, plan=Plan((2,)))
    assert np.isnan(result.miou)
    assert result.per_class == dict.fromkeys(CLASSES)


def test_same_seed_same_pixels_other_seed_others() -> None:
    first, again = (asked(run(pictures())[1][-1]) for _ in range(2))
    other = asked(run(pictures(), plan=replace(PLAN, seed=4))[1][-1])
    assert first == again
    assert all(first[key] != other[key] for key in first)


def test_the_order_of_images_and_their_number_change_no_pixel() -> None:
    whole = asked(run(pictures())[1][-1])
    turned = asked(run(pictures()[::-1])[1][-1])
    part = asked(run(pictures(2))[1][-1])
    assert turned == whole
    assert part == {key: whole[key] for key in part}


@pytest.mark.parametrize("acquisition", ["random", "entropy", "least_confidence"])
def test_all_methods_start_with_the_same_pixels(acquisition: str) -> None:
    other = Strategy(get_acquisition(acquisition), get_selection("top"), get_selection("top"))
    ours, theirs = run(pictures())[1], run(pictures(), other, kind=Reporting)[1]
    assert asked(ours[0]) == asked(theirs[0])
    assert asked(ours[-1]) != asked(theirs[-1])


def test_another_initial_selection_picks_the_first_pixels() -> None:
    def corner(
        scores: np.ndarray,
        count: int,
        rng: np.random.Generator,
        exclude: object = None,
        context: object = None,
    ) -> np.ndarray:
        return np.stack([np.zeros(count, dtype=np.int64), np.arange(count)], axis=1)

    _, learners = run(pictures(1), replace(MARGIN, initial=corner))
    assert asked(learners[0]) == {"key-train-0": [(0, 0), (0, 1)]}


def test_selections_know_the_image_and_what_was_asked_in_it() -> None:
    seen: list[ImageContext] = []

    def watching(
        scores: np.ndarray, count: int, rng: np.random.Generator, exclude: object, context: ImageContext
    ) -> np.ndarray:
        seen.append(context)
        return get_selection("top")(scores, count, rng, exclude, context)  # type: ignore[arg-type]

    train = pictures(1, void=6)
    _, learners = run(train, replace(MARGIN, initial=watching, selection=watching))
    assert [list(map(tuple, context.asked.tolist())) for context in seen] == [
        [], *(asked(learner)["key-train-0"] for learner in learners[:-1]),
    ]  # fmt: skip
    assert all(context.load() is train[0].load() for context in seen)


def test_coverage_starts_with_different_pixels_that_no_learner_changes() -> None:
    strategy = replace(MARGIN, initial=get_selection("coverage"), frozen=ColourGrid())
    plan = Plan((3, 5))
    _, learners = run(pictures(), strategy, plan)
    for image in learners[0].seen:
        assert set(image.labels.tolist()) == {0, 1, 2}, "one of each colour"
    assert asked(learners[0]) == asked(run(pictures(), strategy, plan, kind=Reporting)[1][0])


def test_over_the_queue_the_whole_gets_the_budget_and_the_unsure_image_most_of_it() -> None:
    train = [*pictures(2), picture("doubtful", seed=7)]
    doubtful = train[2].load()

    class Doubting(Seeing):
        def predict_proba(self, image: np.ndarray, samples: int = 1) -> np.ndarray:
            probs = super().predict_proba(image, samples)
            return np.full_like(probs, 1 / 3) if image is doubtful else probs

    strategy = replace(MARGIN, over="queue")
    results, learners = run(train, strategy, kind=Doubting)
    assert [result.labels for result in results] == [6, 15, 27]
    assert [len(pixels) for pixels in asked(learners[0]).values()] == [2, 2, 2]
    for before, after, usual in zip(learners, learners[1:], (3, 4), strict=False):
        new = {key: len(pixels) - len(asked(before)[key]) for key, pixels in asked(after).items()}
        assert sum(new.values()) == 3 * usual
        assert usual < new["key-doubtful"] <= 2 * usual
        assert max(new["key-train-0"], new["key-train-1"]) < usual
        for key, pixels in asked(after).items():
            assert pixels[: len(asked(before)[key])] == asked(before)[key]
            assert len(set(pixels)) == len(pixels)
    assert asked(learners[-1]) == asked(run(train, strategy, kind=Doubting)[1][-1])


def test_over_the_queue_an_image_is_predicted_once_and_all_its_candidates_are_prepared() -> None:
    _, learners = run(pictures(2), replace(MARGIN, over="queue"), Plan((2, 5)))
    assert learners[0].samples == [1, 1, 1], "one image to test on, two to ask in"
    assert [len(image.rows) for image in learners[0].prepared] == [6, 6]
    kept = asked(learners[1])
    for image in learners[0].prepared:
        pixels = list(zip(image.rows.tolist(), image.cols.tolist(), strict=True))
        assert kept[image.key][2:] == pixels[: len(kept[image.key]) - 2], "the selection's order decides"


def test_over_the_queue_twice_the_budget_must_be_there() -> None:
    train = [*pictures(), picture("thin", size=(3, 8), void=3)]
    run(train, plan=Plan((4, 8)))
    with pytest.raises(BadInput, match=r"'thin' has 15 pixels to ask for; expected at least twice the .* 16"):
        run(train, replace(MARGIN, over="queue"), Plan((4, 8)))


def test_queries_are_prepared_by_the_learner_that_chose_them() -> None:
    _, learners = run(pictures(1))
    (prepared,) = learners[0].prepared
    pixels = list(zip(prepared.rows.tolist(), prepared.cols.tolist(), strict=True))
    assert pixels == asked(learners[1])["key-train-0"][2:]
    assert not learners[-1].prepared, "queries after the last budget are not needed"


def test_stochastic_passes_are_for_queries_only() -> None:
    _, learners = run(pictures(1), replace(MARGIN, samples=4))
    assert learners[0].samples == [1, 4]
    assert asked(learners[-1]) == asked(run(pictures(1))[1][-1]), "equal passes ask as one does"


def test_void_queries_cost_budget_and_give_no_label() -> None:
    train = pictures(void=18)
    strategy = replace(MARGIN, ask_void=True)
    results, learners = run(train, strategy, replace(PLAN, budgets=(20, 40)))
    for result, learner in zip(results, learners, strict=True):
        assert result.labels == sum(len(image.labels) for image in learner.seen)
        assert all(VOID not in image.labels for image in learner.seen)
        assert result.void_hit_rate == pytest.approx(1 - result.labels / (3 * result.budget))
    assert 0.2 < results[0].void_hit_rate < 0.8
    assert results[1].void_hit_rate > results[0].void_hit_rate, "the toy is unsure where void is"
    hidden, _ = run(train)
    assert {result.void_hit_rate for result in hidden} == {0.0}


def test_an_image_whose_answers_are_all_void_is_no_training_image() -> None:
    def edge(
        scores: np.ndarray,
        count: int,
        rng: np.random.Generator,
        exclude: object = None,
        context: object = None,
    ) -> np.ndarray:
        return np.stack([np.arange(count), np.zeros(count, dtype=np.int64)], axis=1)

    strategy = replace(MARGIN, ask_void=True, initial=edge)
    (result,), (learner,) = run([picture("void", void=1), picture("known")], strategy, Plan((4,)))
    assert list(asked(learner)) == ["key-known"]
    assert (result.labels, result.void_hit_rate) == (4, 0.5)


def test_noise_flips_its_share_of_answers_the_same_ones_again() -> None:
    pixels = np.argwhere(np.ones((60, 80), dtype=bool)).astype(np.int64)
    truth = (np.arange(4800).reshape(60, 80) % 5).astype(np.uint8)
    right = truth.ravel()
    answers = Annotator(1, 0.1, 5).answer("image", pixels, truth)
    wrong = answers != right
    assert wrong.mean() == pytest.approx(0.1, abs=0.015)
    assert set(answers[wrong & (right == 2)].tolist()) == {0, 1, 3, 4}
    turned = Annotator(1, 0.1, 5).answer("image", pixels[::-1], truth)
    np.testing.assert_array_equal(turned[::-1], answers)
    for other in (Annotator(2, 0.1, 5).answer("image", pixels, truth),
                  Annotator(1, 0.1, 5).answer("another", pixels, truth)):  # fmt: skip
        assert (other != answers).any()


def test_with_a_model_wrong_answers_are_among_its_two_likeliest_classes() -> None:
    pixels = np.argwhere(np.ones((20, 30), dtype=bool)).astype(np.int64)
    beliefs = np.tile(np.array([0.1, 0.5, 0.05, 0.35], dtype=np.float32), (len(pixels), 1))
    annotator = Annotator(0, 1.0, 4)
    for label, expected in ((1, {3}), (3, {1}), (0, {1, 3}), (VOID, {VOID})):
        answers = annotator.answer("image", pixels, np.full((20, 30), label, dtype=np.uint8), beliefs)
        assert set(answers.tolist()) == expected


def test_noise_in_a_run_changes_labels_and_no_initial_pixel() -> None:
    train = [picture(f"large-{place}", size=(60, 60), seed=place) for place in range(2)]
    clean = run(train, plan=Plan((400, 500)))[1]
    noisy = run(train, plan=Plan((400, 500), noise=0.2))[1]
    assert asked(noisy[0]) == asked(clean[0])
    for image, labelled in zip(train, noisy[1].seen, strict=True):
        wrong = labelled.labels != image.truth()[labelled.rows, labelled.cols]
        assert wrong.mean() == pytest.approx(0.2, abs=0.06)


def test_the_best_epoch_is_reported_beside_the_last() -> None:
    results, learners = run(pictures(), kind=Reporting)
    for result in results:
        assert result.miou_best == 1.0
        assert result.miou < 0.5
    assert all(learner.on_epoch is None for learner in learners if isinstance(learner, Reporting))
    skipped, _ = run(pictures(), plan=replace(PLAN, best_epoch=False), kind=Reporting)
    assert {result.miou_best for result in skipped} == {None}


def test_progress_rises_to_the_end() -> None:
    shares: list[float] = []
    run(pictures(), progress=lambda share, _what: shares.append(share))
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, pytest.approx(1.0))


def test_too_few_pixels_are_found_before_the_first_fit() -> None:
    train = [*pictures(), picture("thin", size=(2, 8), void=4)]
    created: list[Seeing] = []

    def create() -> Seeing:
        created.append(Seeing())
        return created[-1]

    with pytest.raises(BadInput, match=r"'thin' has 8 pixels to ask for; expected at least .* 9"):
        list(simulate(train, train, CLASSES, create, strategy=MARGIN, plan=PLAN))
    assert not created
    run(train, replace(MARGIN, ask_void=True))


@pytest.mark.parametrize("picked", [[(0, 7)], [(0, 7), (0, 7)], [(0, 7), (0, 0)], [(0, 7), (0, 8), (0, 9)]])
def test_a_selection_that_breaks_its_contract_is_refused(picked: list[Pixel]) -> None:
    broken = replace(MARGIN, initial=lambda *_: np.array(picked, dtype=np.int64))
    with pytest.raises(BadInput, match=r"expected 2 new ones; choose another selection"):
        run(pictures(void=6), broken)


def test_images_are_read_one_at_a_time() -> None:
    """Neither images nor truths are kept: what is read is what is worked on."""
    reads: list[str] = []

    def watched(image: SimulatedImage) -> SimulatedImage:
        def load() -> np.ndarray:
            reads.append(image.name)
            return image.load()

        return replace(image, load=load)

    run([watched(image) for image in pictures(2)])
    assert reads == ["train-0", "train-1"] * 2, "the toy's fit reads none"


def test_labelled_images_load_lazily() -> None:
    _, learners = run(pictures(1))
    (labelled,) = learners[-1].seen
    assert isinstance(labelled, LabelledImage)
    assert labelled.load().shape == (24, 36, 3)
