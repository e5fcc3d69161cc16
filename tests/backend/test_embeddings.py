"""States of earlier clicks are found by the prompt's prefix, and replayed where the cache has lost them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from backend import embeddings
from backend.embeddings import Decoder
from backend.images import UprightImage
from model_zoo.errors import WeightsMissing
from model_zoo.prompt import Click, Prompt
from model_zoo.segmenters.base import Embedding, Mask, Segmenter
from model_zoo.segmenters.clicknet import ClickNetParameters, ClickNetSegmenter
from model_zoo.segmenters.clicknet_network import ClickNetShape, ClickNetwork, Pyramid
from model_zoo.weight_store import import_file
from model_zoo.weights import WeightSource
from tests.fakes.fake_network import registered, save_official

pytestmark = pytest.mark.unit

CLICKS = (Click(1, 1), Click(2, 2), Click(3, 3, False))


class Counting(Segmenter):
    """Its state is the history that it was shown, so that a wrong one shows."""

    name = "counting"
    fingerprint = "counting-1"
    stateful: ClassVar[bool] = True

    def __init__(self) -> None:
        self.encoded = 0
        self.decoded: list[int] = []

    def encode(self, image: NDArray[np.uint8]) -> Embedding:
        self.encoded += 1
        return Embedding(*image.shape[:2], nbytes=image.nbytes, data=image)

    def decode(self, embedding: Embedding, prompt: Prompt, state: Any = None) -> Mask:
        self.decoded.append(len(prompt.clicks))
        history = (*(state or ()), len(prompt.clicks))
        logits = np.full((embedding.height, embedding.width), sum(history), np.float32)
        return Mask(logits, score=0.5, state=history)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    made = Counting()
    monkeypatch.setattr(embeddings, "create_segmenter", lambda *_, **__: made)
    return made


def image(value: int = 0) -> UprightImage:
    return UprightImage(np.full((8, 8, 3), value, np.uint8), digest=str(value))


def decoder(cache_bytes: int = 1 << 20) -> Decoder:
    return Decoder(lambda: "cpu", cache_bytes)


def test_click_n_plus_one_finds_the_state_of_click_n(counting: Counting) -> None:
    made = decoder()
    for count in range(1, 4):
        mask = made.decode("counting", image(), Prompt(clicks=CLICKS[:count]))
    assert counting.decoded == [1, 2, 3], "one step a click"
    assert counting.encoded == 1
    assert mask.state == (1, 2, 3)


def test_a_lost_cache_costs_at_most_twenty_steps_whatever_the_number_of_clicks(counting: Counting) -> None:
    clicks = tuple(Click(row, 1) for row in range(1, 48))
    warm = decoder()
    for count in range(1, 48):
        counting.decoded.clear()
        expected = warm.decode("counting", image(), Prompt(clicks=clicks[:count])).state
        assert counting.decoded == [count]
        counting.decoded.clear()
        assert decoder().decode("counting", image(), Prompt(clicks=clicks[:count])).state == expected
        assert len(counting.decoded) <= 20
    assert expected == (41, 42, 43, 44, 45, 46, 47)


def test_threads_that_want_the_same_image_encode_it_once(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, encoding, release = counting.encode, threading.Event(), threading.Event()

    def slow(pixels: NDArray[np.uint8]) -> Embedding:
        encoding.set()
        release.wait(10)
        return encode(pixels)

    monkeypatch.setattr(counting, "encode", slow)
    made = decoder()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(made.embed, "counting", image())
        assert encoding.wait(10)
        second = threads.submit(made.decode, "counting", image(), Prompt(clicks=CLICKS[:1]))
        time.sleep(0.05)
        release.set()
        assert first.result(10) is not None
        assert second.result(10).score == 0.5
    assert counting.encoded == 1


def test_the_answer_does_not_depend_on_the_cache(counting: Counting) -> None:
    warm = decoder()
    for count in range(1, 4):
        expected = warm.decode("counting", image(), Prompt(clicks=CLICKS[:count]))
    counting.decoded.clear()
    got = decoder().decode("counting", image(), Prompt(clicks=CLICKS))
    assert counting.decoded == [1, 2, 3], "the clicks are replayed in order"
    np.testing.assert_array_equal(got.logits, expected.logits)


def test_undo_finds_the_earlier_state_and_images_do_not_mix(counting: Counting) -> None:
    made = decoder()
    made.decode("counting", image(0), Prompt(clicks=CLICKS))
    counting.decoded.clear()
    assert made.decode("counting", image(0), Prompt(clicks=CLICKS[:2])).state == (1, 2)
    assert counting.decoded == [2]
    made.decode("counting", image(1), Prompt(clicks=CLICKS[:2]))
    assert counting.decoded == [2, 1, 2]


def test_bytes_are_capped(counting: Counting) -> None:
    made = decoder(cache_bytes=400)
    for value in range(5):
        made.embed("counting", image(value))
    assert made._cache.nbytes <= 400
    made.embed("counting", image(4))
    assert counting.encoded == 5, "the last one is kept"
    made.embed("counting", image(0))
    assert counting.encoded == 6, "the first one went"


def test_warming_up_zooms_in_as_a_second_click_does(monkeypatch: pytest.MonkeyPatch) -> None:
    network = ClickNetwork(ClickNetShape(wide=16, middle=8, fine=8, finest=8, attention_blocks=1, heads=2))
    sizes = ClickNetParameters(whole_side=160, zoomed_side=96)
    embed, seen = network.embed, []

    def noting(images: Tensor) -> Pyramid:
        seen.append(tuple(images.shape[2:]))
        return embed(images)

    monkeypatch.setattr(network, "embed", noting)
    made = ClickNetSegmenter("clicknet", network, "digest", parameters=sizes)
    monkeypatch.setattr(embeddings, "create_segmenter", lambda *_, **__: made)
    decoder().warm_up("clicknet")
    assert seen == [(160, 160), (96, 96)], "the whole image, then the object's surroundings"


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names in the order in which their segmenters were built; "broken..." have no weights until "weights" is there."""
    order: list[str] = []

    def create(name: str, *_: Any) -> Counting:
        if name.startswith("broken") and "weights" not in order:
            raise WeightsMissing("none")
        order.append(name)
        return Counting()

    monkeypatch.setattr(embeddings, "create_segmenter", create)
    return order


def test_segmenters_used_last_stay(built: list[str]) -> None:
    made = Decoder(lambda: "cpu", 1 << 20, loaded=2)
    for name in ("a", "b", "a", "c", "a", "b"):
        made.segmenter(name)
    assert built == ["a", "b", "c", "b"], "b was used longest ago when c came, c when b came back"


def test_one_segmenter_at_a_time(built: list[str]) -> None:
    made = Decoder(lambda: "cpu", 1 << 20, loaded=1)
    for name in ("a", "a", "b", "a"):
        made.segmenter(name)
    assert built == ["a", "b", "a"]


def test_missing_weights_are_looked_for_again_and_cost_nobody_a_place(built: list[str]) -> None:
    made = Decoder(lambda: "cpu", 1 << 20, loaded=2)
    made.segmenter("a")
    made.segmenter("b")
    for _ in range(3):
        with pytest.raises(WeightsMissing):
            made.segmenter("broken")
    made.segmenter("a")
    made.segmenter("b")
    assert built == ["a", "b"]
    built.append("weights")
    made.segmenter("broken")
    assert built[-1] == "broken"


def test_weights_come_from_the_folder_without_a_restart(tmp_path: Path) -> None:
    with registered():
        made = Decoder(lambda: "cpu", 1 << 20, source=WeightSource(tmp_path / "weights"))
        with pytest.raises(WeightsMissing):
            made.decode("fake-net", image(), Prompt(CLICKS))
        save_official(tmp_path / "fake_official.pth")
        import_file("fake-net", tmp_path / "fake_official.pth", tmp_path / "weights")
        assert made.decode("fake-net", image(), Prompt(CLICKS)).logits.shape == (8, 8)


def test_weights_that_were_imported_anew_are_used_from_the_next_click_on(tmp_path: Path) -> None:
    with registered():
        made = Decoder(lambda: "cpu", 1 << 20, source=WeightSource(tmp_path / "weights"))
        answers = []
        for seed in (0, 1, 1):
            save_official(tmp_path / "fake_official.pth", seed)
            if len(answers) < 2:
                import_file("fake-net", tmp_path / "fake_official.pth", tmp_path / "weights")
            answers.append(made.decode("fake-net", image(), Prompt(CLICKS)).logits)
        assert not np.array_equal(answers[0], answers[1])
        assert np.array_equal(answers[1], answers[2])
        (tmp_path / "weights" / "fake-net.safetensors").unlink()
        assert np.array_equal(made.decode("fake-net", image(), Prompt(CLICKS)).logits, answers[2])
