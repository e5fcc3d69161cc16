"""A device without memory: the caches are emptied, the call is made once more, and then the annotator is told."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from backend import embeddings
from backend.embeddings import Decoder
from backend.errors import ModelUnavailable
from backend.images import UprightImage
from model_zoo.prompt import Click, Prompt
from model_zoo.segmenters.base import Embedding, Mask, Segmenter

pytestmark = pytest.mark.unit

PROMPT = Prompt((Click(1, 1), Click(2, 2)))


class Hungry(Segmenter):
    """Runs out of memory at the next ``encode_failures`` or ``decode_failures`` calls."""

    name = "hungry"
    stateful: ClassVar[bool] = True

    def __init__(self, name: str = "hungry") -> None:
        self.fingerprint = name
        self.encode_failures = self.decode_failures = 0
        self.encoded = self.decoded = 0

    def encode(self, image: NDArray[np.uint8]) -> Embedding:
        self.encoded += 1
        if self.encode_failures:
            self.encode_failures -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB at /secret/path")
        return Embedding(*image.shape[:2], nbytes=image.nbytes, data=image)

    def decode(self, embedding: Embedding, prompt: Prompt, state: Any = None) -> Mask:  # noqa: ARG002
        self.decoded += 1
        if self.decode_failures:
            self.decode_failures -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return Mask(np.ones((embedding.height, embedding.width), np.float32), 0.5, state=prompt.key())


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Hungry]:
    """Segmenters by name, built anew after they were forgotten."""
    built: dict[str, Hungry] = {}

    def create(name: str, *_: Any) -> Hungry:
        built[name] = Hungry(name)
        return built[name]

    monkeypatch.setattr(embeddings, "create_segmenter", create)
    return built


def image(value: int = 0) -> UprightImage:
    return UprightImage(np.full((8, 8, 3), value, np.uint8), digest=str(value))


@pytest.mark.parametrize("at", ["encode_failures", "decode_failures"])
def test_one_failure_is_made_up_for_with_empty_caches(made: dict[str, Hungry], at: str) -> None:
    decoder = Decoder(lambda: "cpu", 1 << 20)
    decoder.embed("other", image(1))
    decoder.embed("hungry", image(2))
    hungry, other = made["hungry"], made["other"]
    setattr(hungry, at, 1)
    assert decoder.decode("hungry", image(3), PROMPT).score == 0.5
    assert decoder.segmenter("hungry") is hungry, "what answers stays"
    assert decoder.segmenter("other") is not other, "what does not answer made room"
    before = hungry.encoded
    decoder.embed("hungry", image(2))
    assert hungry.encoded == before + 1, "embeddings of other images were forgotten"


def test_a_second_failure_is_an_error_that_says_what_to_do(made: dict[str, Hungry]) -> None:
    decoder = Decoder(lambda: "cpu", 1 << 20)
    decoder.embed("hungry", image())
    made["hungry"].decode_failures = 9
    with pytest.raises(
        ModelUnavailable, match=r"^segmenter 'hungry' needs more memory.*CLICKPICK_DEVICE=cpu$"
    ):
        decoder.decode("hungry", image(), PROMPT)
    assert made["hungry"].decoded == 2, "tried twice, not more"
    made["hungry"].decode_failures = 0
    assert decoder.decode("hungry", image(), PROMPT).score == 0.5, "later clicks find memory again"


def test_other_errors_are_not_tried_again(made: dict[str, Hungry], monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder(lambda: "cpu", 1 << 20)
    decoder.embed("hungry", image())
    monkeypatch.setattr(made["hungry"], "decode", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        decoder.decode("hungry", image(), PROMPT)
    assert made["hungry"].encoded == 1
