"""The published SimpleClick on ViT-B says the same as ours; 400 MB of random weights are made for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_zoo.prompt import Prompt
from model_zoo.segmenters.predictor import ClickPredictor
from model_zoo.segmenters.simpleclick import SIDE, published_parameters
from model_zoo.segmenters.simpleclick_network import SimpleClickNetwork
from tests.model_zoo.segmenters import simpleclick_random as given

pytestmark = pytest.mark.slow
GOLDEN = Path(__file__).parent / "data" / "simpleclick.npz"  # made by scripts/parity_simpleclick.py


@pytest.fixture(scope="module")
def base() -> SimpleClickNetwork:
    return given.network("b")


@pytest.mark.parametrize("side", given.FORWARD)
def test_the_published_network_says_the_same(base: SimpleClickNetwork, side: int) -> None:
    with np.load(GOLDEN) as golden:
        assert np.abs(given.answer(base, side) - golden[f"b_{side}"]).max() < 1e-4


def test_the_published_predictor_says_the_same(base: SimpleClickNetwork) -> None:
    segmenter = ClickPredictor("b", base, "", parameters=published_parameters())
    scene, state = given.SCENES[SIDE], None
    embedding = segmenter.encode(scene.image)
    with np.load(GOLDEN) as golden:
        answers = golden[f"b_clicks_{SIDE}"][:2]
    for number, answer in enumerate(answers, 1):
        mask = segmenter.decode(embedding, Prompt(scene.clicks[:number]), state)
        state = mask.state
        assert np.abs(mask.logits[:: given.STRIDE, :: given.STRIDE] - answer).max() < 1e-4
