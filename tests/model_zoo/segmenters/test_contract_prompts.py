"""Every segmenter uses what it says it uses, keeps its weights, and bears smaller number formats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from model_zoo import precision, weights
from model_zoo.prompt import Box, Click, Prompt, Stroke
from model_zoo.registry import create_segmenter, find_model
from model_zoo.segmenters.base import Segmenter
from model_zoo.weights import WeightSource
from tests.model_zoo.segmenters.contract_cases import (
    CLICKS,
    DISTINCT,
    HEIGHT,
    NAMES,
    PROMPTS,
    WIDTH,
    build,
    check,
    disk,
    embedded,
    is_network,
    replay,
)

pytestmark = pytest.mark.unit
NETWORKS = [name for name in NAMES if is_network(name)]
FORGETFUL = ("ritm-hrnet18-baseline", "ritm-resnet34")
"""Networks that do not see their earlier answer: only the window that they look at depends on it."""

DIFFERENT = 1e-5  # logits; those of random networks lie close together


@pytest.fixture(params=NAMES)
def segmenter(request: pytest.FixtureRequest) -> Segmenter:
    return build(request.param)


@pytest.fixture(params=DISTINCT)
def distinct(request: pytest.FixtureRequest) -> Segmenter:
    """For what takes long: of equal small networks, one."""
    return build(request.param)


def difference(one: NDArray[np.float32], two: NDArray[np.float32]) -> float:
    return float(np.abs(one - two).max())


def test_the_order_of_clicks_matters_where_the_model_says_so(segmenter: Segmenter) -> None:
    if segmenter.order_free or segmenter.name in (*FORGETFUL, "regions"):
        pytest.skip("it does not depend on the order of these clicks")
    first, negative, second, _ = CLICKS
    answers = [
        replay(segmenter, Prompt(clicks)).logits
        for clicks in ((first, second, negative), (second, first, negative), (first, negative, second))
    ]
    # Answers are repeatable to the bit, so the least difference comes from the order; how large it is with random
    # weights depends on the processor.
    assert max(difference(answers[0], other) for other in answers[1:]) > 0.0


def test_boxes_change_the_answer_where_they_are_understood(segmenter: Segmenter) -> None:
    if "box" not in segmenter.prompts:
        pytest.skip("it takes no boxes")
    embedding, plain = embedded(segmenter.name), Prompt(CLICKS[:1])
    boxes = [
        segmenter.decode(embedding, replace(plain, box=box)).logits
        for box in (None, Box(20, 30, 70, 90), Box(40, 50, 55, 75))
    ]
    assert max(difference(boxes[0], boxes[1]), difference(boxes[1], boxes[2])) > DIFFERENT


@pytest.mark.parametrize("positive", [True, False])
def test_strokes_change_the_answer_where_they_are_understood(segmenter: Segmenter, positive: bool) -> None:
    if "stroke" not in segmenter.prompts:
        pytest.skip("it takes no strokes")
    embedding, plain = embedded(segmenter.name), Prompt(CLICKS[:1])
    points = ((40.0, 50.0), (50.0, 70.0)) if positive else ((10.0, 100.0), (80.0, 105.0))
    drawn = replace(plain, strokes=(Stroke(points, positive, 4.0),))
    assert difference(*(segmenter.decode(embedding, one).logits for one in (plain, drawn))) > DIFFERENT


def test_a_stroke_alone_names_an_object(distinct: Segmenter) -> None:
    if "stroke" not in distinct.prompts:
        pytest.skip("it takes no strokes")
    for strokes in (
        (Stroke(((40.0, 50.0), (50.0, 70.0)), True, 4.0),),
        (Stroke(((45.0, 60.0),), True, 1.0), Stroke(((5.0, 5.0), (5.0, 90.0)), False, 3.0)),
        (Stroke((), True, 4.0),),
        (Stroke(((-9.0, -9.0), (200.0, 300.0)), True, 0.0),),
    ):
        check(distinct.decode(embedded(distinct.name), Prompt(strokes=strokes)), HEIGHT, WIDTH)


def masks() -> list[NDArray[np.bool_]]:
    """Left part, right part, a dot, nothing, everything."""
    left = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    left[20:70, 20:60] = True
    dot = np.zeros_like(left)
    dot[45, 60] = True
    return [left, left[:, ::-1].copy(), dot, np.zeros_like(left), np.ones_like(left)]


def test_a_mask_to_start_from_changes_the_answer_where_the_model_takes_one(segmenter: Segmenter) -> None:
    if not segmenter.stateful or segmenter.name in FORGETFUL:
        pytest.skip("it takes no mask to start from")
    embedding = embedded(segmenter.name)
    answers = [segmenter.decode(embedding, Prompt(CLICKS[:1], mask=mask)).logits for mask in masks()[:2]]
    answers.append(segmenter.decode(embedding, Prompt(CLICKS[:1])).logits)
    for one, two in ((0, 1), (0, 2), (1, 2)):
        assert difference(answers[one], answers[two]) > DIFFERENT


def test_any_mask_may_be_started_from(distinct: Segmenter) -> None:
    embedding = embedded(distinct.name)
    for mask in masks():
        check(distinct.decode(embedding, Prompt(mask=mask)), HEIGHT, WIDTH)
        check(replay(distinct, Prompt(CLICKS[:2], mask=mask)), HEIGHT, WIDTH)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", [None, torch.bfloat16, torch.float16], ids=["own", "bf16", "fp16"])
def test_smaller_number_formats_give_about_the_same(
    name: str, kind: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """own: the one that the segmenter chooses on processors with AMX."""
    segmenter, prompt = build(name), Prompt(CLICKS[:2])
    monkeypatch.setattr(precision, "multiplies_tiles", lambda: False)
    expected = segmenter.decode(segmenter.encode(disk()), prompt).logits
    monkeypatch.setattr(precision, "multiplies_tiles", lambda: kind is None)
    with torch.autocast("cpu", kind or torch.bfloat16, enabled=kind is not None):
        found = segmenter.decode(segmenter.encode(disk()), prompt)
    check(found, HEIGHT, WIDTH)
    if kind is None or "brs" not in name:  # optimisation makes much of little
        assert np.abs(found.logits - expected).mean() <= 0.1 * (expected.std() + 0.1)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_that_are_written_and_read_give_equal_logits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = find_model(name, "segmenter")
    assert info is not None
    path, source = tmp_path / info.weights[0].file, WeightSource(tmp_path, tiny=True)
    expected = replay(other_weights(name, path, source, monkeypatch), PROMPTS["four clicks"], name).logits
    found = replay(create_segmenter(name, "cpu", source), PROMPTS["four clicks"], name)
    assert np.array_equal(found.logits, expected)
    assert difference(expected, replay(build(name), PROMPTS["four clicks"]).logits) > DIFFERENT


def other_weights(name: str, path: Path, source: WeightSource, monkeypatch: pytest.MonkeyPatch) -> Segmenter:
    """The segmenter with weights changed a little, which stand in the file, too."""
    wanted: dict[str, Tensor] = {}
    load = nn.Module.load_state_dict

    def change(network: nn.Module, state: Any, *arguments: Any, **options: Any) -> Any:
        if state is not wanted:
            return load(network, state, *arguments, **options)
        generator = torch.Generator().manual_seed(1)
        changed = {
            key: value * (1.0 + 0.3 * torch.rand(value.shape, generator=generator))
            if value.is_floating_point()
            else value
            for key, value in network.state_dict().items()
        }
        save_file({key: value.clone() for key, value in changed.items()}, path)
        return load(network, changed, *arguments, **options)

    path.write_bytes(b"")
    with monkeypatch.context() as patch:
        patch.setattr(weights, "_read_safetensors", lambda *_: wanted)
        patch.setattr(nn.Module, "load_state_dict", change)
        return create_segmenter(name, "cpu", source)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_keep_little_of_a_photograph(name: str) -> None:
    image = np.tile(disk(), (12, 12, 1))[:1000, :1400]
    embedding = build(name).encode(image)
    assert embedding.nbytes <= image.nbytes + (8 << 20)
    check(build(name).decode(embedding, Prompt((Click(500, 700), Click(3, 3, False)))), 1000, 1400)
