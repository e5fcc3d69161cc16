"""What clicknet does around its network: views, states, starting masks. The network here has random weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from model_zoo.errors import BadInput
from model_zoo.fused import fuse_batch_norms
from model_zoo.prompt import Box, Click, Prompt, Stroke
from model_zoo.segmenters.clicknet import ClickNetParameters, ClickNetSegmenter, ClickNetState
from model_zoo.segmenters.clicknet_network import ClickNetShape, ClickNetwork, Logits, Pyramid
from model_zoo.segmenters.zoom_in import Region, ZoomPolicy

pytestmark = pytest.mark.unit
HEIGHT, WIDTH = 120, 160
SMALL = ClickNetShape(wide=16, middle=8, fine=8, finest=8, attention_blocks=1, heads=2)
PARAMETERS = ClickNetParameters(whole_side=160, zoomed_side=96, small=0.0, zoom=ZoomPolicy(keep=0.3))
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


class Square(ClickNetwork):
    """Answers with the pixels within 12 of a positive click or box, in pixels of the view; counts encodings."""

    def __init__(self) -> None:
        super().__init__(SMALL)
        self.encoded: list[tuple[int, int]] = []
        self.maps: list[torch.Tensor] = []

    def embed(self, images: torch.Tensor) -> Pyramid:
        self.encoded.append((images.shape[2], images.shape[3]))
        return super().embed(images)

    def decode(self, pyramid: Pyramid, maps: torch.Tensor, index: torch.Tensor | None = None) -> Logits:  # noqa: ARG002
        self.maps.append(maps)
        near = torch.nn.functional.max_pool2d(maps[:, :1] + maps[:, 3:], 25, 1, 12)
        fine = torch.nn.functional.avg_pool2d(near * 8 - 4, 2)
        return Logits(fine, fine)


@pytest.fixture
def square() -> Square:
    torch.manual_seed(0)
    return Square()


def segmenter(network: ClickNetwork) -> ClickNetSegmenter:
    return ClickNetSegmenter("clicknet", network, "digest", parameters=PARAMETERS)


def test_the_first_click_uses_the_whole_image_and_later_ones_its_surroundings(square: Square) -> None:
    model = segmenter(square)
    embedding = model.encode(IMAGE)
    assert square.encoded == [(128, 160)]
    first = model.decode(embedding, Prompt((Click(60.5, 40.5),)))
    assert len(square.encoded) == 1
    assert isinstance(first.state, ClickNetState)
    assert first.state.view.region == Region(0, 0, HEIGHT, WIDTH)
    clicks = (Click(60.5, 40.5), Click(62.5, 44.5))
    second = model.decode(embedding, Prompt(clicks), first.state)
    region = second.state.view.region
    assert len(square.encoded) == 2
    assert region.holds(clicks[0])
    assert region.width < WIDTH / 2
    third = model.decode(embedding, Prompt((*clicks, Click(61.5, 42.5))), second.state)
    assert third.state.view is second.state.view
    assert len(square.encoded) == 2, "the same surroundings are not encoded again"


def test_a_mirrored_photograph_gets_the_mirrored_answer() -> None:
    torch.manual_seed(1)
    network = ClickNetwork(SMALL)
    model = ClickNetSegmenter("clicknet", network, "digest", parameters=replace(PARAMETERS, mirror=True))
    clicks = (Click(60.5, 40.5), Click(30.5, 100.5, positive=False))
    plain = model.decode(model.encode(IMAGE), Prompt(clicks))
    mirrored = tuple(replace(click, col=WIDTH - click.col) for click in clicks)
    turned = model.decode(model.encode(np.ascontiguousarray(IMAGE[:, ::-1])), Prompt(mirrored))
    assert plain.logits.std() > 1e-3
    np.testing.assert_allclose(turned.logits[:, ::-1], plain.logits, atol=2e-2 * np.abs(plain.logits).max())


@pytest.mark.parametrize("mirror", [False, True])
def test_every_view_is_seen_once_or_in_the_mirror_too(square: Square, mirror: bool) -> None:
    parameters = replace(PARAMETERS, mirror=mirror)
    model = ClickNetSegmenter("clicknet", square, "digest", parameters=parameters)
    answer = model.decode(model.encode(IMAGE), Prompt((Click(60.5, 40.5),)))
    assert [len(maps) for maps in square.maps] == [1 + mirror]
    assert len(answer.state.view.pyramid.s4) == 1 + mirror


def test_a_small_object_is_looked_at_closely_at_the_first_click(square: Square) -> None:
    click = Click(60.5, 40.5)
    seen = {}
    for small in (0.3, 0.5):
        model = ClickNetSegmenter("clicknet", square, "digest", parameters=replace(PARAMETERS, small=small))
        seen[small] = model.decode(model.encode(IMAGE), Prompt((click,)))
    assert seen[0.3].state.view.region == Region(0, 0, HEIGHT, WIDTH)
    closer = seen[0.5].state.view.region
    assert closer.holds(click)
    assert closer.height < HEIGHT / 2
    assert square.maps[-1][0, 2].max() > 0.9, "it sees what was found from afar"
    assert seen[0.5].logits[60, 40] > 0


def test_a_click_outside_the_surroundings_moves_them(square: Square) -> None:
    model = segmenter(square)
    embedding = model.encode(IMAGE)
    clicks: tuple[Click, ...] = (Click(60.5, 40.5), Click(62.5, 44.5))
    state = model.decode(embedding, Prompt(clicks[:1])).state
    state = model.decode(embedding, Prompt(clicks), state).state
    clicks = (*clicks, Click(62.5, 90.5))
    moved = model.decode(embedding, Prompt(clicks), state)
    assert all(moved.state.view.region.holds(click) for click in clicks)
    assert moved.logits[62, 90] > 0


def test_the_earlier_mask_is_seen_where_it_was(square: Square) -> None:
    model = segmenter(square)
    embedding = model.encode(IMAGE)
    first = model.decode(embedding, Prompt((Click(60.5, 40.5),)))
    second = model.decode(embedding, Prompt((Click(60.5, 40.5), Click(62.5, 44.5))), first.state)
    view = second.state.view
    shown = square.maps[-1][0, 2].numpy()
    rows, cols = np.nonzero(shown > 0.5)
    scale = view.region.height / view.height, view.region.width / view.width
    centre = (
        (rows.mean() + 0.5) * scale[0] + view.region.top,
        (cols.mean() + 0.5) * scale[1] + view.region.left,
    )
    wanted_rows, wanted_cols = np.nonzero(first.logits > 0)
    assert centre == pytest.approx((wanted_rows.mean() + 0.5, wanted_cols.mean() + 0.5), abs=1.0)
    area = len(rows) * scale[0] * scale[1]
    assert area == pytest.approx((first.logits > 0).sum(), rel=0.1)


def test_the_answer_lies_where_the_click_was_in_a_zoomed_view(square: Square) -> None:
    model = segmenter(square)
    embedding = model.encode(IMAGE)
    state = model.decode(embedding, Prompt((Click(60.5, 40.5),))).state
    zoomed = model.decode(embedding, Prompt((Click(60.5, 40.5), Click(60.5, 41.5))), state)
    rows, cols = np.nonzero(zoomed.logits > 0)
    assert (rows.mean() + 0.5, cols.mean() + 0.5) == pytest.approx((60.5, 41.0), abs=1.0)


def test_a_mask_to_start_from_is_the_earlier_answer(square: Square) -> None:
    model = segmenter(square)
    embedding = model.encode(IMAGE)
    start = np.zeros((HEIGHT, WIDTH), dtype=bool)
    start[40:80, 60:100] = True
    mask = model.decode(embedding, Prompt((Click(60, 80),), mask=start))
    assert square.maps[-1][0, 2].max() > 0.9
    assert mask.state.view.region.width < WIDTH


def test_boxes_and_strokes_reach_the_network(square: Square) -> None:
    model = segmenter(square)
    embedding = model.encode(IMAGE)
    model.decode(embedding, Prompt(box=Box(30, 40, 60, 80)))
    inside = square.maps[-1][0, 3]
    assert inside.sum() == pytest.approx(round(30 * 128 / 120) * 40, rel=0.05)
    stroke = Stroke(((30.0, 40.0), (30.0, 90.0)), True, 3.0)
    model.decode(embedding, Prompt(strokes=(stroke,)))
    assert square.maps[-1][0, 0].sum() > 50 * 8


def test_folding_batch_norms_changes_nothing() -> None:
    torch.manual_seed(1)
    network = ClickNetwork(SMALL)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    network.eval()
    images, maps = torch.rand(1, 3, 64, 96), torch.rand(1, 4, 64, 96)
    with torch.no_grad():
        expected = network(images, maps).fine
        fuse_batch_norms(network)
        got = network(images, maps).fine
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    assert torch.allclose(got, expected, atol=1e-4)
    assert expected.std() > 1e-3


def test_an_object_of_several_prompts_is_decoded_as_if_alone() -> None:
    torch.manual_seed(2)
    network = ClickNetwork(SMALL).eval()
    images, maps = torch.rand(2, 3, 64, 64), torch.rand(3, 4, 64, 64)
    index = torch.tensor([0, 0, 1])
    with torch.no_grad():
        together = network(images, maps, index).fine
        alone = [network(images[i : i + 1], maps[n : n + 1]).fine for n, i in enumerate(index.tolist())]
    assert together.shape == (3, 1, 32, 32)
    assert torch.allclose(together, torch.cat(alone), atol=1e-4)


def test_the_zoomed_view_keeps_box_and_strokes(square: Square) -> None:
    model = segmenter(square)
    embedding = model.encode(IMAGE)
    box, stroke = Box(30, 20, 100, 60), Stroke(((60.0, 30.0), (60.0, 120.0)), True, 2.0)
    small = np.zeros((HEIGHT, WIDTH), dtype=bool)
    small[60:70, 30:40] = True
    for prompt in (Prompt((Click(65, 35),), box=box), Prompt((Click(65, 35),), strokes=(stroke,))):
        first = model.decode(embedding, Prompt((Click(65, 35),), mask=small))
        seen = model.decode(embedding, prompt, first.state).state.view.region
        points = [(box.top, box.left), (box.bottom, box.right)] if prompt.box else stroke.points
        assert all(seen.holds(Click(*point)) for point in points)


def test_an_empty_mask_names_nothing(square: Square) -> None:
    model = segmenter(square)
    nothing = np.zeros((HEIGHT, WIDTH), dtype=bool)
    answer = model.decode(model.encode(IMAGE), Prompt((Click(5, 5, False),), mask=nothing))
    assert not (answer.logits > 0).any()


class Sure(Square):
    """As Square, with logits that a 32-bit exponential cannot take."""

    def decode(self, pyramid: Pyramid, maps: torch.Tensor, index: torch.Tensor | None = None) -> Logits:
        return Logits(*(100 * logits for logits in super().decode(pyramid, maps, index)))


def test_the_surest_of_logits_overflow_nothing() -> None:
    torch.manual_seed(0)
    model = segmenter(Sure())
    answer = model.decode(model.encode(IMAGE), Prompt((Click(60.5, 40.5),)))
    assert answer.score == 1.0
    assert (answer.state.probability.min(), answer.state.probability.max()) == (0.0, 1.0)


def test_a_state_accounts_for_the_image_s_view_never_and_for_others_as_shared(square: Square) -> None:
    model = segmenter(square)
    embedding = model.encode(IMAGE)
    clicks = (Click(60.5, 40.5), Click(62.5, 44.5))
    first = model.decode(embedding, Prompt(clicks[:1])).state
    assert first.view is embedding.data.view
    assert (first.nbytes, first.parts) == (first.probability.nbytes, ())
    assert embedding.nbytes == IMAGE.nbytes + first.view.nbytes
    second = model.decode(embedding, Prompt(clicks), first).state
    assert second.view is not embedding.data.view
    assert second.nbytes == second.probability.nbytes
    assert second.parts == ((second.view, second.view.nbytes),)
    assert second.view.nbytes > 0
    third = model.decode(embedding, Prompt((*clicks, Click(61.5, 42.5))), second).state
    assert third.view is second.view, "so that it counts once"


@pytest.mark.parametrize(
    "wrong", [np.ones((WIDTH, HEIGHT), bool), np.ones((HEIGHT, WIDTH, 1), bool), np.ones((HEIGHT, WIDTH))]
)
def test_a_mask_that_is_not_the_images_is_refused(square: Square, wrong: np.ndarray) -> None:
    model = segmenter(square)
    with pytest.raises(BadInput, match="expected bool of the image's shape"):
        model.decode(model.encode(IMAGE), Prompt((Click(60, 80),), mask=wrong))
