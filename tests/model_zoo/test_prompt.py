from __future__ import annotations

import numpy as np
import pytest

from model_zoo.errors import BadInput
from model_zoo.prompt import Box, Click, Prompt, Stroke

pytestmark = pytest.mark.unit
SOME = np.eye(4, 6, dtype=bool)
NONE = np.zeros((4, 6), dtype=bool)


@pytest.mark.parametrize(
    ("prompt", "empty"),
    [
        (Prompt(), True),
        (Prompt(mask=NONE), True),
        (Prompt(mask=SOME), False),
        (Prompt((Click(1, 1, False),)), False),
        (Prompt(box=Box(0, 0, 1, 1)), False),
        (Prompt(strokes=(Stroke(((0.0, 0.0),), True, 1.0),)), False),
    ],
)
def test_a_prompt_is_empty_when_nothing_is_known(prompt: Prompt, empty: bool) -> None:
    assert prompt.is_empty is empty


def test_a_mask_must_be_the_images() -> None:
    Prompt().check_mask(4, 6)
    Prompt(mask=SOME).check_mask(4, 6)
    for mask, got in (
        (SOME.T, r"bool of shape \(6, 4\) and the image \(4, 6\); expected bool of the image's shape"),
        (SOME[None], r"bool of shape \(1, 4, 6\)"),
        (SOME.astype(np.uint8) * 255, r"uint8 of shape \(4, 6\)"),
    ):
        with pytest.raises(BadInput, match=got):
            Prompt(mask=mask).check_mask(4, 6)
