from __future__ import annotations

import math

import pytest
import torch

from model_zoo.training.losses import (
    answer_loss,
    dice_loss,
    mean_iou,
    normalised_focal_loss,
    shrink,
)

pytestmark = pytest.mark.unit


def maps(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows)[None, None]


def logit(p: float) -> float:
    return math.log(p / (1 - p))


PROBABILITIES = ((0.9, 0.4), (0.2, 0.5))
TRUTH = maps((1.0, 1.0), (0.0, 0.0))
ALL = torch.ones(1, 1, 2, 2)


def logits() -> torch.Tensor:
    return maps(*(tuple(logit(p) for p in row) for row in PROBABILITIES)).requires_grad_()


def test_focal_loss_by_hand() -> None:
    right = (0.9, 0.4, 0.8, 0.5)
    weights = [(1 - p) ** 2 for p in right]
    expected = -0.5 * sum(w * math.log(p) for w, p in zip(weights, right, strict=True)) / sum(weights)
    assert normalised_focal_loss(logits(), TRUTH, ALL).item() == pytest.approx(expected, rel=1e-4)


def test_the_normaliser_carries_no_gradient() -> None:
    given = logits()
    normalised_focal_loss(given, TRUTH, ALL).backward()
    right = torch.tensor([[0.9, 0.4], [0.8, 0.5]])
    scale = 1.0 / ((1 - right) ** 2).sum()  # a constant, as the paper has it
    sign = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    slope = 2 * (1 - right) * right.log() - (1 - right) ** 2 / right
    assert given.grad is not None
    assert torch.allclose(given.grad[0, 0], 0.5 * scale * slope * sign * right * (1 - right), atol=1e-5)


def test_ignored_pixels_have_no_gradient_and_no_weight() -> None:
    valid = maps((1.0, 0.0), (1.0, 1.0))
    one, two = logits(), logits().detach()
    two[0, 0, 0, 1] = -50.0
    two.requires_grad_()
    for loss in (normalised_focal_loss, dice_loss):
        values = []
        for given in (one, two):
            given.grad = None
            value = loss(given, TRUTH, valid)
            value.backward()
            assert given.grad is not None
            assert given.grad[0, 0, 0, 1] == 0
            assert (given.grad[0, 0, 1] != 0).all()
            values.append(value.item())
        assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_a_sample_without_valid_pixels_gives_no_nan() -> None:
    assert normalised_focal_loss(logits(), TRUTH, torch.zeros_like(ALL)).item() == 0


def test_dice_by_hand() -> None:
    expected = 1 - (2 * (0.9 + 0.4) + 1) / (2.0 + 2 + 1)
    assert dice_loss(logits(), TRUTH, ALL).item() == pytest.approx(expected, rel=1e-5)


def test_masks_shrink_by_their_area() -> None:
    masks = torch.zeros(1, 1, 4, 4)
    masks[0, 0, 0, :3] = 1
    assert torch.equal(shrink(masks, torch.zeros(1, 1, 2, 2)), maps((0.5, 0.25), (0.0, 0.0)))


def test_the_answers_loss_counts_pixels_that_are_wholly_valid() -> None:
    truth, valid = TRUTH.repeat_interleave(2, 2).repeat_interleave(2, 3), torch.ones(1, 1, 4, 4)
    valid[0, 0, 0, 3] = 0
    given = logits()
    answer_loss(given, truth, valid, dice=0.2).backward()
    assert given.grad is not None
    assert given.grad[0, 0, 0, 1] == 0
    assert given.grad[0, 0, 0, 0] != 0
    parts = normalised_focal_loss(given, TRUTH, ALL) + 0.2 * dice_loss(given, TRUTH, ALL)
    whole = answer_loss(given, truth, torch.ones(1, 1, 4, 4), dice=0.2)
    assert whole.item() == pytest.approx(parts.item())


def test_iou_by_hand() -> None:
    assert mean_iou(logits(), TRUTH, ALL) == pytest.approx(1 / 2)
    assert mean_iou(logits(), TRUTH, maps((1.0, 0.0), (1.0, 1.0))) == pytest.approx(1.0)
