"""What every segmenter promises about the size of its embeddings, and storable ones about files of them."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from model_zoo.errors import BadInput
from model_zoo.segmenters.base import Embedding, Segmenter
from tests.model_zoo.segmenters.contract_cases import DISTINCT, HEIGHT, PROMPTS, WIDTH, build, embedded

pytestmark = pytest.mark.unit
SLACK = 4096  # what is no array: sizes, names
STORABLE = ("sam-vit-b", "sam-hq-vit-b", "mobile-sam", "sam2.1-hiera-tiny", "edge-tam")


@pytest.fixture(params=DISTINCT)
def segmenter(request: pytest.FixtureRequest) -> Segmenter:
    return build(request.param)


def held(value: Any, seen: set[int]) -> int:
    """Bytes of the arrays and tensors in a value, each piece of memory once."""
    if isinstance(value, torch.Tensor):
        memory = value.untyped_storage()
        return 0 if memory.data_ptr() in seen else seen.add(memory.data_ptr()) or memory.nbytes()
    if isinstance(value, np.ndarray):
        while isinstance(value.base, np.ndarray):
            value = value.base
        at = value.__array_interface__["data"][0]
        return 0 if at in seen else seen.add(at) or value.nbytes
    if is_dataclass(value):
        value = [getattr(value, field.name) for field in fields(value)]
    elif isinstance(value, dict):
        value = list(value.values())
    return sum(held(part, seen) for part in value) if isinstance(value, (list, tuple)) else 0


def test_an_embedding_says_how_much_memory_it_holds(segmenter: Segmenter) -> None:
    embedding = embedded(segmenter.name)
    assert held(embedding.data, set()) <= embedding.nbytes + SLACK


def stored(segmenter: Segmenter, embedding: Embedding) -> Embedding:
    """Through the bytes of a file."""
    tensors = segmenter.to_tensors(embedding)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    return segmenter.from_tensors(load(save(tensors)), embedding.height, embedding.width)


@pytest.mark.parametrize("name", STORABLE)
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
def test_masks_of_stored_embeddings_are_those_of_fresh_ones(name: str, prompt: Any) -> None:
    segmenter, fresh = build(name), embedded(name)
    again = stored(segmenter, fresh)
    assert (again.height, again.width, again.nbytes) == (HEIGHT, WIDTH, fresh.nbytes)
    one, two = segmenter.decode(fresh, prompt), segmenter.decode(again, prompt)
    assert np.allclose(one.logits, two.logits, rtol=1e-3, atol=1e-3)
    assert one.score == pytest.approx(two.score, abs=1e-3)


def test_slow_encoders_are_storable_and_quick_ones_are_not(segmenter: Segmenter) -> None:
    assert segmenter.storable == (segmenter.name in STORABLE)


def test_tensors_of_something_else_are_refused() -> None:
    segmenter = build("sam-vit-b")
    for tensors in ({}, {"0": torch.zeros(1), "2": torch.zeros(1)}):
        with pytest.raises(BadInput, match="expected '0', '1' and so on; encode the image again"):
            segmenter.from_tensors(tensors, 8, 8)
