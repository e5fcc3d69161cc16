from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model_zoo.errors import UnknownModel
from model_zoo.modifiers import apply_modifiers
from model_zoo.prompt import Click, Prompt
from model_zoo.registry import create_segmenter
from model_zoo.segmenters.backprop_objective import Objective, Refinement
from model_zoo.segmenters.backprop_refinement import BackpropRefinement, fbrs_b
from model_zoo.segmenters.predictor import PUBLISHED, ClickPredictor
from model_zoo.weights import WeightSource

pytestmark = pytest.mark.unit
MODES = ("rgb-brs", "distmap-brs", "fbrs-a", "fbrs-b", "fbrs-c")
CLICKS = (Click(30.5, 40.5), Click(5.5, 5.5, False), Click(50.5, 70.5), Click(0.5, 40.5, False))


@cache
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (61, 83, 3), dtype=np.uint8)


@cache
def built(mode: str, model: str = "ritm-hrnet18s") -> BackpropRefinement:
    segmenter = create_segmenter(f"{model}+flip+{mode}", source=WeightSource(tiny=True))
    assert isinstance(segmenter, BackpropRefinement)
    return segmenter


def obeyed(logits: np.ndarray, clicks: tuple[Click, ...]) -> int:
    return sum((logits[click.pixel(*logits.shape)] > 0) == click.positive for click in clicks)


@pytest.mark.parametrize("model", ["ritm-hrnet18s", "ritm-resnet34"])
@pytest.mark.parametrize("mode", MODES)
def test_more_clicks_are_obeyed_than_without(mode: str, model: str) -> None:
    refined = built(mode, model)
    plain = create_segmenter(f"{model}+flip", source=WeightSource(tiny=True))
    embedding = plain.encode(image())
    counts = []
    for segmenter in (plain, refined):
        state, count = None, 0
        for number in range(1, len(CLICKS) + 1):
            mask = segmenter.decode(embedding, Prompt(CLICKS[:number]), state)
            state, count = mask.state, count + obeyed(mask.logits, CLICKS[:number])
            assert np.isfinite(mask.logits).all()
        counts.append(count)
    # Random networks hardly heed their click maps.
    assert counts[0] < counts[1] or (mode == "distmap-brs" and counts[0] == counts[1])


@pytest.mark.parametrize("mode", MODES)
def test_the_first_click_is_answered_without(mode: str) -> None:
    plain = create_segmenter("ritm-hrnet18s+flip", source=WeightSource(tiny=True))
    embedding, prompt = plain.encode(image()), Prompt(CLICKS[:1])
    found = built(mode).decode(embedding, prompt)
    assert np.allclose(found.logits, plain.decode(embedding, prompt).logits, atol=1e-5)
    assert found.state.nbytes > plain.decode(embedding, prompt).state.nbytes


@pytest.mark.parametrize("mode", ["distmap-brs", "fbrs-b"])
def test_threads_and_inference_mode_change_nothing(mode: str) -> None:
    segmenter = built(mode)
    embedding = segmenter.encode(image())
    state = segmenter.decode(embedding, Prompt(CLICKS[:1])).state
    expected = segmenter.decode(embedding, Prompt(CLICKS[:2]), state).logits
    with torch.inference_mode():
        assert np.allclose(segmenter.decode(embedding, Prompt(CLICKS[:2]), state).logits, expected, atol=1e-4)
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(
            lambda _: segmenter.decode(embedding, Prompt(CLICKS[:2]), state).logits, range(4)
        ):
            assert np.allclose(found, expected, atol=1e-4)
    assert not any(value.requires_grad or value.grad is not None for value in segmenter._network.parameters())


def test_clicks_at_the_border_and_beyond_have_squares_that_are_cut_off() -> None:
    positive, negative = built("fbrs-b")._clicked(
        [(0.0, 3.2, True), (-1.0, 0.0, True), (-2.0, 5.0, False), (9.0, 12.0, False)], 10, 12
    )
    assert positive.shape == negative.shape == (2, 1, 10, 12)
    rows, cols = np.nonzero(positive[0, 0].numpy())
    assert set(zip(rows, cols, strict=True)) == {(r, c) for r in (0, 1) for c in (2, 3, 4)} | {(0, 0), (0, 1)}
    assert set(zip(*np.nonzero(negative[0, 0].numpy()), strict=True)) == {(8, 11), (9, 11)}
    assert negative[1, 0].sum() == 2


def test_later_clicks_are_seen_by_the_loss_alone() -> None:
    plain = built("fbrs-b")
    segmenter = plain.changed("", replace(plain.parameters, zoom=None))
    segmenter.refinement = replace(plain.refinement, shown=2)
    seen: list[Tensor] = []

    class Recorded(nn.Module):
        begin, finish = plain._network.begin, plain._network.finish  # type: ignore[assignment]

    recorded = Recorded()

    def begin(pixels: Tensor, maps: Tensor, place: str) -> tuple[Tensor, ...]:
        seen.append(torch.cat([pixels, maps], dim=1))
        return plain._network.begin(pixels, maps, place)  # type: ignore[operator, no-any-return]

    recorded.begin = begin  # type: ignore[assignment]
    segmenter._network = recorded
    embedding, state = segmenter.encode(image()), None
    for number in range(1, 5):
        state = segmenter.decode(embedding, Prompt(CLICKS[:number]), state).state
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[2])
    assert torch.equal(seen[1], seen[3])


def test_features_of_a_network_that_is_not_cut_cannot_be_refined() -> None:
    class Whole(nn.Module):
        def forward(self, pixels: Tensor, maps: Tensor) -> Tensor:
            return pixels[:, :1] - 0.5 + maps[:, :1]

    segmenter = ClickPredictor("whole", Whole(), "x", parameters=PUBLISHED)
    with pytest.raises(
        UnknownModel, match=r"the features of 'whole' cannot be refined; rgb-brs and distmap-brs"
    ):
        fbrs_b(segmenter)
    refined = apply_modifiers(segmenter, ["rgb-brs"])
    embedding = segmenter.encode(image())
    before, after = (one.decode(embedding, Prompt(CLICKS)).logits for one in (segmenter, refined))
    assert not np.allclose(before, after)


def test_the_search_ends_when_all_clicks_are_obeyed() -> None:
    calls = []

    def answer(values: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(values.detach().clone())
        return values.view(1, 1, 1, 2) * 100.0, 1e-3 * values.square().sum()

    positive, negative = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 1.0]]]])
    objective = Objective(answer, positive, negative, 0.49, Refinement("A", shown=8))
    objective.minimise(np.array([-0.001, 0.001]))
    assert objective.best is not None
    assert objective.best[0, 0, 0, 0] > 0 > objective.best[0, 0, 0, 1]
    assert 1 < len(calls) <= 20
