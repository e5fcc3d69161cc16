from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf

from model_zoo.learners.sparse_loss import Points, read_at, sparse_cross_entropy

pytestmark = pytest.mark.unit


def points(owners: list[int], pixels: list[tuple[int, int]], labels: list[int]) -> Points:
    places = np.array(pixels, dtype=np.float64).reshape(-1, 2) + 0.5
    return Points(np.array(owners, dtype=np.int64), places, np.array(labels, dtype=np.int64))


def logits(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()


def test_unlabelled_pixels_have_a_gradient_of_exactly_zero() -> None:
    values = logits(2, 3, 37, 61)
    labelled = points([0, 0, 1, 1], [(0, 0), (36, 60), (17, 33), (5, 60)], [0, 1, 2, 0])
    sparse_cross_entropy(values, labelled, (37, 61)).backward()
    assert values.grad is not None
    touched = (values.grad != 0).any(dim=1)
    expected = torch.zeros_like(touched)
    for owner, row, col in ((0, 0, 0), (0, 36, 60), (1, 17, 33), (1, 5, 60)):
        expected[owner, row, col] = True
    assert torch.equal(touched, expected)


def test_it_is_the_cross_entropy_with_unlabelled_pixels_ignored() -> None:
    values = logits(2, 4, 20, 30)
    mask = torch.full((2, 20, 30), 255)
    rng = np.random.default_rng(0)
    owners, rows, cols = rng.integers(0, 2, 40), rng.integers(0, 20, 40), rng.integers(0, 30, 40)
    owners, rows, cols = np.unique(np.stack([owners, rows, cols]), axis=1)
    labels = rng.integers(0, 4, len(owners))
    mask[owners, rows, cols] = torch.from_numpy(labels)
    found = sparse_cross_entropy(
        values, Points(owners, np.stack([rows, cols], axis=1) + 0.5, labels), (20, 30)
    )
    torch.testing.assert_close(found, nnf.cross_entropy(values, mask, ignore_index=255))


@pytest.mark.parametrize("grid", [(5, 8), (10, 15), (1, 1), (40, 60)])
def test_reading_is_enlarging_first(grid: tuple[int, int]) -> None:
    values = logits(2, 3, *grid)
    large = nnf.interpolate(values, size=(20, 30), mode="bilinear", align_corners=False)
    rows, cols = np.divmod(np.arange(600), 30)
    for owner in range(2):
        everywhere = Points(
            np.full(600, owner), np.stack([rows, cols], axis=1) + 0.5, np.zeros(600, np.int64)
        )
        found = read_at(values, everywhere, (20, 30))
        torch.testing.assert_close(found, large[owner].flatten(1).T, atol=1e-5, rtol=1e-5)


def test_without_labels_nothing_is_learnt() -> None:
    values = logits(1, 3, 4, 4)
    loss = sparse_cross_entropy(values, points([], [], []), (16, 16))
    loss.backward()
    assert loss.item() == 0
    assert values.grad is not None
    assert not values.grad.any()


def test_the_gradient_of_many_points_is_the_same_at_every_run() -> None:
    rng = np.random.default_rng(0)
    many = Points(np.zeros(20_000, np.int64), rng.uniform(0, 64, (20_000, 2)), rng.integers(0, 5, 20_000))
    gradients = []
    for _ in range(3):
        values = logits(1, 5, 16, 16)
        sparse_cross_entropy(values, many, (64, 64)).backward()
        gradients.append(values.grad)
    assert all(torch.equal(gradients[0], other) for other in gradients[1:])  # type: ignore[arg-type]
