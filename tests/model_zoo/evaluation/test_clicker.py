from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label

from model_zoo.evaluation.clicker import INNER_SHARE, HumanClicker, center_click, error_depths
from model_zoo.prompt import Click

pytestmark = pytest.mark.unit

EMPTY = np.zeros((9, 12), dtype=bool)


def truth_with(*boxes: tuple[int, int, int, int], shape: tuple[int, int] = (9, 12)) -> NDArray[np.uint8]:
    """Object in boxes of (top, left, bottom, right), the last two exclusive."""
    truth = np.zeros(shape, dtype=np.uint8)
    for top, left, bottom, right in boxes:
        truth[top:bottom, left:right] = 1
    return truth


def mask_with(*boxes: tuple[int, int, int, int], shape: tuple[int, int] = (9, 12)) -> NDArray[np.bool_]:
    return truth_with(*boxes, shape=shape).astype(bool)


@pytest.mark.parametrize(
    ("truth", "mask", "expected"),
    [
        pytest.param(truth_with((2, 3, 7, 8)), EMPTY, Click(4.5, 5.5, True), id="centre of the object"),
        pytest.param(
            truth_with((2, 2, 6, 9)), EMPTY, Click(3.5, 3.5, True), id="first of the deepest, by row"
        ),
        pytest.param(
            truth_with((0, 0, 9, 3)), EMPTY, Click(1.5, 1.5, True), id="beyond the image is no error"
        ),
        pytest.param(truth_with((0, 0, 9, 12)), EMPTY, Click(4.5, 4.5, True), id="object fills the image"),
        pytest.param(
            truth_with((1, 1, 4, 4)),
            mask_with((5, 6, 8, 9)),
            Click(6.5, 7.5, False),
            id="equal depth: negative",
        ),
        pytest.param(
            truth_with((1, 1, 6, 6)), mask_with((6, 6, 9, 9)), Click(3.5, 3.5, True), id="missed lies deeper"
        ),
        pytest.param(
            truth_with((1, 1, 4, 4)),
            mask_with((1, 1, 4, 4), (3, 6, 8, 11)),
            Click(5.5, 8.5, False),
            id="wrong",
        ),
        pytest.param(
            truth_with((0, 0, 2, 12), (4, 1, 7, 4)), EMPTY, Click(5.5, 2.5, True), id="deeper beats larger"
        ),
        pytest.param(truth_with((1, 1, 4, 4)), mask_with((1, 1, 4, 4)), None, id="nothing is wrong"),
        pytest.param(np.zeros((9, 12), np.uint8), EMPTY, None, id="no object, empty mask"),
    ],
)
def test_where_the_protocol_clicks(
    truth: NDArray[np.uint8], mask: NDArray[np.bool_], expected: Click | None
) -> None:
    assert center_click(mask, truth, ()) == expected


def test_ignored_pixels_are_no_error_and_bound_the_others() -> None:
    truth = truth_with((1, 1, 8, 8))
    truth[:, 4] = 255
    assert center_click(EMPTY, truth, ()) == Click(2.5, 2.5, True)
    only_ignored = np.full(EMPTY.shape, 255, dtype=np.uint8)
    assert center_click(~EMPTY, only_ignored, ()) is None


def test_earlier_clicks_are_left_out_without_changing_depths() -> None:
    truth = truth_with((2, 3, 7, 8))
    first = center_click(EMPTY, truth, ())
    assert first == Click(4.5, 5.5, True)
    assert center_click(EMPTY, truth, (first,)) == Click(3.5, 4.5, True)
    missed, _ = error_depths(EMPTY, truth, (first,))
    assert missed[4, 5] == 0
    assert missed[3, 5] == 2


def test_nothing_is_left_when_every_wrong_pixel_was_clicked() -> None:
    truth = truth_with((4, 4, 5, 6))
    clicks = (Click(4.5, 4.5), Click(4.9, 5.1))
    assert center_click(EMPTY, truth, clicks[:1]) == Click(4.5, 5.5)
    assert center_click(EMPTY, truth, clicks) is None
    assert HumanClicker(0, "a")(EMPTY, truth, clicks) is None


def naive(mask: NDArray[np.bool_], truth: NDArray[np.uint8], clicks: list[Click]) -> Click | None:
    """The protocol again, with another library's distances."""
    depths = []
    for error in ((truth == 1) & ~mask, (truth == 0) & mask):
        depth = distance_transform_edt(np.pad(error, 1))[1:-1, 1:-1].copy()
        for click in clicks:
            depth[int(click.row), int(click.col)] = 0
        depths.append(depth)
    positive = depths[0].max() > depths[1].max()
    chosen = depths[0] if positive else depths[1]
    row, col = np.argwhere(chosen == chosen.max())[0]
    return Click(row + 0.5, col + 0.5, bool(positive)) if chosen.max() else None


@pytest.mark.parametrize("seed", range(40))
def test_same_clicks_as_another_implementation(seed: int) -> None:
    generator = np.random.default_rng(seed)
    shape = tuple(generator.integers(5, 60, size=2))
    coarse = generator.random((4, 4))
    rows, cols = (np.arange(side) * 4 // side for side in shape)
    truth = (coarse[np.ix_(rows, cols)] > 0.4).astype(np.uint8)
    truth[generator.random(shape) < 0.02] = 255
    mask = (generator.random((5, 5)) > 0.5)[np.ix_(*(np.arange(side) * 5 // side for side in shape))]
    clicks: list[Click] = []
    for _ in range(6):
        click = center_click(mask, truth, clicks)
        assert click == naive(mask, truth, clicks)
        if click is None:
            break
        clicks.append(click)


def human_scene() -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """Two missed parts, the right one deeper, and a shallow wrong one."""
    truth = truth_with((2, 2, 12, 10), (2, 20, 32, 46), shape=(40, 60))
    return mask_with((36, 2, 39, 20), shape=(40, 60)), truth


def test_human_clicks_lie_in_the_inner_part_of_the_deepest_error() -> None:
    mask, truth = human_scene()
    missed, _ = error_depths(mask, truth, ())
    parts, _ = label(missed > 0)
    centre = center_click(mask, truth, ())
    assert centre is not None
    wanted = parts[int(centre.row), int(centre.col)]
    drawn = [HumanClicker(seed, "scene")(mask, truth, ()) for seed in range(200)]
    for click in drawn:
        assert click is not None
        assert click.positive
        pixel = int(click.row), int(click.col)
        assert parts[pixel] == wanted
        assert missed[pixel] >= INNER_SHARE * missed.max()
    assert len(set(drawn)) > 100
    inner = np.argwhere((parts == wanted) & (missed >= INNER_SHARE * missed.max()))
    mean = np.mean([(click.row, click.col) for click in drawn if click], axis=0)
    np.testing.assert_allclose(mean, inner.mean(axis=0) + 0.5, atol=1.5)


def test_human_clicks_take_the_sign_of_the_protocol() -> None:
    mask, truth = human_scene()
    mask[2:32, 20:46] = True
    mask[34:40, :] = True
    mask[14:40, 0:18] = True
    protocol, human = center_click(mask, truth, ()), HumanClicker(3, "scene")(mask, truth, ())
    assert protocol is not None
    assert human is not None
    assert (protocol.positive, human.positive) == (False, False)


def test_human_clicks_depend_on_seed_sample_and_number_and_on_nothing_else() -> None:
    mask, truth = human_scene()
    click = HumanClicker(1, "a")(mask, truth, ())
    again = HumanClicker(1, "a")
    again(EMPTY, truth_with((1, 1, 5, 5)), ())
    assert again(mask, truth, ()) == click
    outside = (Click(0.5, 0.5, False),)
    assert HumanClicker(2, "a")(mask, truth, ()) != click
    assert HumanClicker(1, "b")(mask, truth, ()) != click
    assert HumanClicker(1, "a")(mask, truth, outside) != click
