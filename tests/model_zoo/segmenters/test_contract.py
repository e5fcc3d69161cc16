"""What every registered segmenter promises."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import numpy as np
import pytest
import torch

from model_zoo.errors import BadInput
from model_zoo.prompt import Box, Click, Prompt
from model_zoo.registry import create_segmenter
from model_zoo.segmenters.base import Segmenter
from model_zoo.segmenters.repair import honour_clicks
from tests.model_zoo.segmenters.contract_cases import (
    CLICKS,
    DISTINCT,
    HEIGHT,
    NAMES,
    PROMPTS,
    TWINS,
    WIDTH,
    build,
    check,
    disk,
    embedded,
    is_network,
    needs_sense,
    source_of,
)

pytestmark = pytest.mark.unit


@pytest.fixture(params=NAMES)
def segmenter(request: pytest.FixtureRequest) -> Segmenter:
    return build(request.param)


@pytest.fixture(params=DISTINCT)
def distinct(request: pytest.FixtureRequest) -> Segmenter:
    """For what takes long: of equal small networks, one."""
    return build(request.param)


@pytest.mark.parametrize(("twin", "name"), TWINS.items())
def test_only_twins_are_left_out_of_what_takes_long(twin: str, name: str) -> None:
    one, other = build(twin), build(name)
    assert type(one) is type(other)
    answers = [segmenter.decode(embedded(name), PROMPTS["four clicks"]).logits for segmenter in (one, other)]
    assert np.array_equal(*answers)


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
def test_shape_type_range_and_determinism(segmenter: Segmenter, prompt: Prompt) -> None:
    embedding = embedded(segmenter.name)
    assert (embedding.height, embedding.width) == (HEIGHT, WIDTH)
    assert embedding.nbytes > 0
    one, two = segmenter.decode(embedding, prompt), segmenter.decode(embedding, prompt)
    check(one, HEIGHT, WIDTH)
    assert np.array_equal(one.logits, two.logits)
    assert one.score == two.score


def test_encoding_is_deterministic_and_leaves_the_image_alone(segmenter: Segmenter) -> None:
    image = disk()
    image.setflags(write=False)
    fresh = segmenter.decode(segmenter.encode(image), PROMPTS["four clicks"]).logits
    assert np.allclose(
        fresh, segmenter.decode(embedded(segmenter.name), PROMPTS["four clicks"]).logits, atol=1e-3
    )


@pytest.mark.parametrize("key", ["one click", "four clicks", "box", "box and clicks"])
def test_the_obvious_object_is_found(segmenter: Segmenter, key: str) -> None:
    needs_sense(segmenter)
    found = segmenter.decode(embedded(segmenter.name), PROMPTS[key]).logits > 0
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    truth = np.hypot(rows - 45, cols - 60) < 25
    assert (found & truth).sum() / (found | truth).sum() > 0.8


def test_without_a_positive_hint_there_is_no_object(segmenter: Segmenter) -> None:
    embedding = embedded(segmenter.name)
    for prompt in (Prompt(), PROMPTS["negative only"]):
        mask = segmenter.decode(embedding, prompt)
        assert not (mask.logits > 0).any()
        assert mask.score == 0.0


def test_undo_gives_the_former_answer(segmenter: Segmenter) -> None:
    embedding, prompt = embedded(segmenter.name), PROMPTS["four clicks"]
    state, history = None, []
    for prefix in prompt.prefixes():
        mask = segmenter.decode(embedding, prefix, state)
        state, history = mask.state, [*history, mask]
    earlier = prompt.before_last_click()
    assert earlier is not None
    before = history[-3].state if segmenter.stateful else state
    assert np.array_equal(segmenter.decode(embedding, earlier, before).logits, history[-2].logits)


def test_batch_is_single(segmenter: Segmenter) -> None:
    embedding = embedded(segmenter.name)
    batch = segmenter.decode_batch([(embedding, prompt, None) for prompt in PROMPTS.values()])
    assert segmenter.decode_batch([]) == []
    for prompt, mask in zip(PROMPTS.values(), batch, strict=True):
        assert np.allclose(mask.logits, segmenter.decode(embedding, prompt).logits, atol=1e-4)


def test_concurrent_is_serial(distinct: Segmenter) -> None:
    embedding = embedded(distinct.name)
    prompts = [*PROMPTS.values()] * (1 if is_network(distinct.name) else 3)
    serial = [distinct.decode(embedding, prompt).logits for prompt in prompts]
    with ThreadPoolExecutor(4) as pool:
        concurrent = list(pool.map(lambda prompt: distinct.decode(embedding, prompt).logits, prompts))
        again = pool.map(distinct.encode, [disk()] * 4)
    for expected, got in zip(serial, concurrent, strict=True):
        assert np.allclose(expected, got, atol=1e-4)
    for fresh in again:
        assert np.allclose(distinct.decode(fresh, prompts[1]).logits, serial[1], atol=1e-3)


def test_the_order_of_clicks_does_not_matter_where_the_model_says_so(segmenter: Segmenter) -> None:
    if not segmenter.order_free:
        pytest.skip("it depends on the order of clicks")
    embedding = embedded(segmenter.name)
    expected = segmenter.decode(embedding, Prompt(CLICKS)).logits
    for clicks in permutations(CLICKS):
        assert np.allclose(segmenter.decode(embedding, Prompt(clicks)).logits, expected, atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3), (2, 2), (33, 31), (1, 500)])
def test_extreme_sizes(distinct: Segmenter, shape: tuple[int, int]) -> None:
    height, width = shape
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    embedding = distinct.encode(image)
    corner = Click(height, width)
    for prompt in (
        Prompt((corner,)),
        Prompt((Click(0, 0), Click(height - 0.5, width - 0.5, False))),
        Prompt(box=Box(0, 0, height, width)),
        Prompt((corner,), box=Box(0, 0, height / 2, width / 2)),
    ):
        check(distinct.decode(embedding, prompt), height, width)


@pytest.mark.parametrize(
    ("row", "col"), [(0.0, 0.0), (0.0, 120.0), (89.99, 60.0), (90.0, 120.0), (45.0, 60.0)]
)
@pytest.mark.parametrize("positive", [True, False])
def test_after_the_repair_every_click_has_its_sign(
    distinct: Segmenter, row: float, col: float, positive: bool
) -> None:
    clicks = (*CLICKS[:2], Click(row, col, positive), Click(row, col - 1.0, not positive))
    mask = distinct.decode(embedded(distinct.name), Prompt(clicks))
    logits, _ = honour_clicks(mask.logits, clicks)
    signs = {click.pixel(HEIGHT, WIDTH): click.positive for click in clicks}
    assert all(bool(logits[pixel] > 0) == wanted for pixel, wanted in signs.items())


def test_a_hundred_clicks(distinct: Segmenter) -> None:
    rng = np.random.default_rng(1)
    clicks = tuple(
        Click(row, col, bool(np.hypot(row - 45, col - 60) < 25))
        for row, col in rng.uniform((0, 0), (HEIGHT, WIDTH), (100, 2))
    )
    mask = distinct.decode(embedded(distinct.name), Prompt(clicks))
    check(mask, HEIGHT, WIDTH)
    if not is_network(distinct.name):
        _, contradicted = honour_clicks(mask.logits, clicks)
        assert contradicted <= 15


@pytest.mark.parametrize(
    "box", [Box(70, 90, 20, 30), Box(40, 40, 40, 40), Box(-9, -9, -5, -5), Box(0, 0, 90, 120)]
)
def test_odd_boxes(distinct: Segmenter, box: Box) -> None:
    check(distinct.decode(embedded(distinct.name), Prompt(box=box)), HEIGHT, WIDTH)


def test_a_flat_image(distinct: Segmenter) -> None:
    embedding = distinct.encode(np.full((64, 64, 3), 127, dtype=np.uint8))
    check(distinct.decode(embedding, Prompt((Click(32, 32), Click(5, 5, False)))), 64, 64)


def test_the_contract_says_who_it_is(segmenter: Segmenter) -> None:
    assert segmenter.name in NAMES
    assert segmenter.name in segmenter.fingerprint
    assert "click" in segmenter.prompts <= {"click", "box", "stroke"}


def test_what_is_no_image_is_refused(segmenter: Segmenter) -> None:
    with pytest.raises(BadInput, match="expected uint8"):
        segmenter.encode(np.zeros((0, 10, 3), dtype=np.uint8))


@pytest.mark.slow
def test_twelve_megapixels(distinct: Segmenter) -> None:
    image = np.tile(disk(), (34, 34, 1))[:3000, :4000]
    embedding = distinct.encode(image)
    assert embedding.nbytes < 64 << 20
    check(distinct.decode(embedding, Prompt((Click(1500, 2000),))), 3000, 4000)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("key", ["one click", "four clicks", "box"])
def test_the_gpu_says_what_the_cpu_says(segmenter: Segmenter, key: str) -> None:
    on_gpu = create_segmenter(segmenter.name, "cuda", source_of(segmenter.name))
    found = on_gpu.decode(on_gpu.encode(disk()), PROMPTS[key])
    expected = segmenter.decode(embedded(segmenter.name), PROMPTS[key])
    check(found, HEIGHT, WIDTH)
    assert ((found.logits > 0) == (expected.logits > 0)).mean() > 0.99
    assert abs(found.score - expected.score) < 0.05
