from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf

from model_zoo.errors import BadInput
from model_zoo.learners import head
from model_zoo.learners.head import (
    HEADS,
    HIDDEN,
    INPUT_DROPOUT,
    Head,
    _averaged,
    _initial,
    _mask,
    _shapes,
    _split,
    fit_head,
    loss_and_gradients,
)

pytestmark = pytest.mark.unit


def blobs(count: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors (count * classes, 12) around one random centre a class, at scales from 0.001 to 1000."""
    generator = torch.Generator().manual_seed(7)
    centres = 3 * torch.randn((classes, 12), generator=generator)
    scales = torch.logspace(-3, 3, 12)
    labels = torch.arange(classes).repeat(count)
    noise = torch.randn((len(labels), 12), generator=torch.Generator().manual_seed(seed))
    return (centres[labels] + noise) * scales, labels


def predict(head: Head, vectors: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(head.probabilities(vectors.numpy()))


def fit(vectors: torch.Tensor, labels: torch.Tensor, classes: int, seed: int = 0) -> Head:
    return fit_head(vectors, labels, classes, seed=seed, report=lambda _: None)[0]


def test_it_learns_what_can_be_told_apart() -> None:
    head = fit(*blobs(20, 4), 4)
    vectors, labels = blobs(50, 4, seed=1)
    assert (predict(head, vectors).argmax(dim=1) == labels).float().mean() > 0.95


def test_a_class_without_labels_has_probability_zero() -> None:
    vectors, labels = blobs(10, 3)
    head = fit(vectors, labels * 2, 6)
    probabilities = predict(head, vectors)
    assert (probabilities[:, [1, 3, 5]] == 0).all()
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(len(vectors)))


def test_the_seed_decides_everything_and_the_global_generator_nothing() -> None:
    vectors, labels = blobs(10, 3)
    torch.manual_seed(1)
    first = fit(vectors, labels, 3, seed=5)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = fit(vectors, labels, 3, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    for name, part in first.tensors().items():
        assert torch.equal(part, second.tensors()[name])
    assert not torch.equal(first.weight1, fit(vectors, labels, 3, seed=6).weight1)


def test_a_rare_class_counts_more_than_its_share() -> None:
    """One point in fifty lies among the others: without weights nobody would find it."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn((1000, 12), generator=generator)
    labels = torch.zeros(1000, dtype=torch.int64)
    labels[:20] = 1
    vectors[:20, 0] += 1.5
    assert predict(fit(vectors, labels, 2), vectors)[:, 1].mean() > 0.04


def test_features_that_never_vary_do_no_harm() -> None:
    vectors, labels = blobs(10, 2)
    vectors[:, :4] = 5.0
    head = fit(vectors, labels, 2)
    other = vectors.clone()
    other[:, :4] += 0.01
    torch.testing.assert_close(predict(head, other), predict(head, vectors), atol=0.05, rtol=0)


def test_two_labels_are_enough() -> None:
    vectors, labels = blobs(1, 2)
    assert (predict(fit(vectors, labels, 2), vectors).argmax(dim=1) == labels).all()


def test_heads_side_by_side_answer_with_the_mean_of_their_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = (12, HEADS * 5), (HEADS * 5,), (HEADS, 5, 3), (HEADS, 1, 3)
    layers = [torch.randn(shape, generator=generator) for shape in shapes]
    vectors = torch.randn((20, 12), generator=generator)
    hidden = torch.relu(vectors @ layers[0] + layers[1])
    each = hidden.reshape(20, HEADS, 5).transpose(0, 1) @ layers[2] + layers[3]
    wide = predict(Head(*layers[:2], *_averaged(*layers[2:])), vectors)
    torch.testing.assert_close(wide, each.mean(dim=0).softmax(dim=1))


def test_a_mask_drops_its_share_and_keeps_the_mean() -> None:
    mask = _mask((400, 500), 0.2, np.random.default_rng(0))
    assert sorted(mask.unique().tolist()) == pytest.approx([0.0, 1.25], rel=0.01)
    assert float((mask == 0).float().mean()) == pytest.approx(0.2, abs=0.005)
    assert float(mask.mean()) == pytest.approx(1.0, abs=0.01)


def test_dropout_is_drawn_anew_and_differs_from_vector_to_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[torch.Tensor, torch.Tensor]] = []

    def note(layers: Any, seen: torch.Tensor, kept: torch.Tensor, *others: torch.Tensor) -> Any:
        shown.append((seen == 0, kept))
        return loss_and_gradients(layers, seen, kept, *others)

    monkeypatch.setattr(head, "loss_and_gradients", note)
    fit(*blobs(10, 3), 3)
    (dropped, one), (dropped_later, other) = shown[:2]
    assert one.shape == (30, HEADS * HIDDEN)
    assert not torch.equal(one, other), "hidden units are drawn anew at each step"
    assert not torch.equal(one[0], one[1]), "hidden units are dropped of each vector by itself"
    assert (dropped == dropped[0]).all(), "a step drops the same features of all vectors"
    assert any(not torch.equal(dropped[0], later[0]) for later, _ in shown[1:]), "and others at another step"
    assert (dropped_later == dropped_later[0]).all()
    share = torch.stack([features[0] for features, _ in shown]).float().mean()
    assert float(share) == pytest.approx(INPUT_DROPOUT, abs=0.05)
    assert float(torch.stack([kept for _, kept in shown]).float().mean()) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_derivatives_are_those_of_the_loss(kind: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    features, classes, count = 20, 5, 64
    shapes = _shapes(features, classes)
    layers = [layer.clone().requires_grad_() for layer in _split(_initial(shapes, generator), shapes)]
    layers[3].data += torch.randn((HEADS, 1, classes), generator=generator)
    seen = torch.randn((count, features), generator=generator)
    kept = _mask((count, HEADS * HIDDEN), 0.3, np.random.default_rng(0))
    targets = torch.randint(0, classes, (count,), generator=generator)
    weights = torch.rand(count, generator=generator)
    weights /= weights.sum()

    weight1, bias1, weight2, bias2 = layers
    hidden = (torch.relu(seen @ weight1 + bias1) * kept).reshape(count, HEADS, HIDDEN).transpose(0, 1)
    logits = hidden @ weight2 + bias2
    losses = nnf.cross_entropy(logits.mT, targets.expand(HEADS, -1), reduction="none").mean(dim=0)
    expected = (losses * weights).sum()
    expected.backward()

    with torch.no_grad():
        narrow = [layer.to(kind) for layer in layers]
        loss, found = loss_and_gradients(narrow, seen.to(kind), kept.to(kind), targets, weights)
    tolerance = 1e-5 if kind is torch.float32 else 0.03
    assert float(loss) == pytest.approx(float(expected.detach()), rel=tolerance)
    for layer, gradient in zip(layers, found, strict=True):
        assert layer.grad is not None
        assert gradient.shape == layer.shape
        assert float((gradient - layer.grad).norm() / layer.grad.norm()) < tolerance


def test_stochastic_outputs_differ_and_centre_on_the_plain_one() -> None:
    head = fit(*blobs(10, 3), 3)
    weight, bias = head.outputs(400)
    passes = weight.reshape(weight.shape[0], 400, 3)
    assert bias.shape == (1200,)
    assert not torch.equal(passes[:, 0], passes[:, 1])
    torch.testing.assert_close(passes.mean(dim=1), head.weight2, atol=0.1, rtol=0.2)
    assert torch.equal(weight, head.outputs(400)[0])


def test_progress_is_told() -> None:
    shares: list[float] = []
    fit_head(*blobs(10, 2), 2, seed=0, report=shares.append)
    assert len(shares) >= 3
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1


@pytest.mark.parametrize("change", ["missing", "inputs", "classes"])
def test_layers_of_another_head_are_refused(change: str) -> None:
    tensors = fit(*blobs(5, 3), 3).tensors()
    if change == "missing":
        del tensors["bias2"]
    with pytest.raises(BadInput, match=r"head has layers .*expected"):
        Head.from_tensors(
            tensors, inputs=13 if change == "inputs" else 12, classes=4 if change == "classes" else 3
        )
    assert Head.from_tensors(fit(*blobs(5, 3), 3).tensors(), inputs=12, classes=3)
