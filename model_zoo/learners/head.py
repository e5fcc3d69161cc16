"""The trained part of a probe: a few two-layer perceptrons on standardised feature vectors, their logits averaged.

Side by side they are one perceptron with more hidden units, so that a prediction knows nothing of them. Trained in
seconds whatever the number of labels: passes over few labels, a bounded number of steps over many.
Plain cross-entropy: label smoothing of 0.1 cost a point of mIoU on CamVid's validation images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo.errors import BadInput
from model_zoo.precision import quick_dtype

HEADS = 3
HIDDEN = 64
"""Hidden units of each."""
BATCH = 512
EPOCHS = 25
MAX_STEPS = 600
"""Of 512 labels: as good as 1,200 of 256 at a rate of 4e-3, in two thirds of the time. Fewer samples are too few: 600
of 128 cost 3 points of mIoU on CamVid at 20 labels an image (one seed)."""
MIN_STEPS = 100
LEARNING_RATE = 5.6e-3
WEIGHT_DECAY = 1e-2
INPUT_DROPOUT = 0.2
HIDDEN_DROPOUT = 0.3
CLASS_WEIGHT_POWER = 0.75
"""Loss weight of a class is its number of labels to the power of minus this: mild, 0 would be none, 1 equal."""

NEVER = -1e4
"""Logit of a class without labels: its probability is exactly 0. Interpolating -inf would give NaN."""
REPORTS_EVERY = 20


@dataclass(frozen=True, eq=False)
class Head:
    """relu(x @ weight1 + bias1) @ weight2 + bias2, with x a raw vector: standardisation is folded in.

    weight1 (D, K), bias1 (K,), weight2 (K, C), bias2 (C,); a class that had no labels has bias2 = NEVER.
    """

    weight1: torch.Tensor
    bias1: torch.Tensor
    weight2: torch.Tensor
    bias2: torch.Tensor

    def to(self, device: torch.device) -> Head:
        """The same head on a device."""
        return Head(**{name: part.to(device) for name, part in self.tensors().items()})

    def tempered(self, temperature: float) -> Head:
        """The head whose logits are divided by the temperature."""
        return replace(self, weight2=self.weight2 / temperature, bias2=self.bias2 / temperature)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The layers by name, as ``from_tensors`` takes them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor], *, inputs: int, classes: int) -> Head:
        """Raises BadInput unless the layers are those of a head from ``inputs`` features to ``classes``."""
        found = {name: tuple(part.shape) for name, part in tensors.items()}
        hidden = found.get("bias1", (0,))[0]
        expected = {
            "weight1": (inputs, hidden),
            "bias1": (hidden,),
            "weight2": (hidden, classes),
            "bias2": (classes,),
        }
        if found != expected:
            raise BadInput(f"head has layers {found}; expected {expected}; train a new version")
        return cls(**tensors)

    @torch.inference_mode()
    def probabilities(self, vectors: NDArray[np.float16]) -> NDArray[np.float32]:
        """Class probabilities (n, C) of raw vectors (n, D)."""
        inputs = torch.from_numpy(vectors).to(self.weight1)
        hidden = torch.relu(torch.addmm(self.bias1, inputs, self.weight1))
        answer: NDArray[np.float32] = (
            torch.addmm(self.bias2, hidden, self.weight2).softmax(dim=1).cpu().numpy()
        )
        return answer

    def outputs(self, samples: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The second layer, (K, C) and (C,), or T = samples copies of it side by side, (K, T * C) and (T * C,).

        Each copy has other hidden units dropped, always the same ones: dropout as in training, scaled.
        """
        if samples == 1:
            return self.weight2, self.bias2
        generator = torch.Generator().manual_seed(0)
        hidden = self.weight2.shape[0]
        kept = torch.rand((samples, hidden, 1), generator=generator) >= HIDDEN_DROPOUT
        scale = kept.to(self.weight2) / (1 - HIDDEN_DROPOUT)
        return torch.cat(list(scale * self.weight2), dim=1), self.bias2.repeat(samples)


@torch.no_grad()
def fit_head(
    vectors: torch.Tensor, labels: torch.Tensor, classes: int, *, seed: int, report: Callable[[float], None]
) -> tuple[Head, float]:
    """Train on vectors (N, D) with class indices int64 (N,), on the CPU; returns the head and its last loss.

    Labels of at least two classes are needed. ``report`` is told the share done, in [0, 1].
    """
    generator, dropout = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    mean, scale = vectors.mean(dim=0), _scale(vectors)
    vectors = ((vectors - mean) / scale).to(quick_dtype(vectors.device))
    present, targets, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    shapes = _shapes(vectors.shape[1], len(present))
    parameters = _initial(shapes, generator)
    weights = _class_weights(counts)[targets]
    steps = min(max(EPOCHS * len(labels) // BATCH, MIN_STEPS), MAX_STEPS)
    optimizer = torch.optim.AdamW([parameters], lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    loss = torch.zeros(())
    for step, batch in enumerate(_batches(len(labels), steps, generator)):
        weight = weights.index_select(0, batch)
        truth = targets.index_select(0, batch)
        seen = vectors.index_select(0, batch)
        seen *= _mask(seen.shape[1:], INPUT_DROPOUT, dropout, seen.dtype)
        kept = _mask((len(batch), HEADS * HIDDEN), HIDDEN_DROPOUT, dropout, seen.dtype)
        layers = _split(parameters.to(seen.dtype), shapes)
        loss, gradients = loss_and_gradients(layers, seen, kept, truth, weight / weight.sum())
        parameters.grad = torch.cat([gradient.flatten() for gradient in gradients])
        optimizer.step()
        schedule.step()
        if step % REPORTS_EVERY == 0:
            report(step / steps)
    weight1, bias1, weight2, bias2 = _split(parameters, shapes)
    folded = weight1 / scale[:, None]
    second = _for_all_classes(*_averaged(weight2, bias2), present, classes)
    head = Head(folded, bias1 - mean @ folded, *second)
    return head, float(loss)


def _scale(vectors: torch.Tensor) -> torch.Tensor:
    """Standard deviation; what hardly varies over few labels is not blown up."""
    deviation = vectors.std(dim=0, correction=0)
    return deviation.clamp(min=0.1 * float(deviation.median()) + 1e-6)


def _shapes(inputs: int, classes: int) -> list[torch.Size]:
    """weight1 (D, HEADS * HIDDEN), one head beside the other; bias1; weight2 (HEADS, HIDDEN, C); bias2."""
    hidden = HEADS * HIDDEN
    return [
        torch.Size(shape)
        for shape in ((inputs, hidden), (hidden,), (HEADS, HIDDEN, classes), (HEADS, 1, classes))
    ]


def _initial(shapes: Sequence[torch.Size], generator: torch.Generator) -> torch.Tensor:
    """All layers one behind the other, which the optimiser steps through at once."""
    first, _, second, _ = shapes
    weight1 = torch.randn(first, generator=generator) * (2 / first[0]) ** 0.5
    weight2 = torch.randn(second, generator=generator) * (1 / HIDDEN) ** 0.5
    layers = (weight1, torch.zeros(shapes[1]), weight2, torch.zeros(shapes[3]))
    return torch.cat([layer.flatten() for layer in layers])


def _split(parameters: torch.Tensor, shapes: Sequence[torch.Size]) -> list[torch.Tensor]:
    """Views of the layers."""
    parts = torch.split(parameters, [shape.numel() for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


def loss_and_gradients(
    layers: Sequence[torch.Tensor],
    seen: torch.Tensor,
    kept: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The heads' mean cross-entropy, and its derivatives by the layers.

    seen: (n, D), the batch without the features that are dropped, the same ones of all of it: a mask of its own for
    each vector is no better (58.8 against 58.7 mIoU on CamVid) and took 1.6 times as long. kept: (n, HEADS * HIDDEN),
    what hidden units are multiplied by, 0 where one is dropped. targets: (n,) int64; weights: (n,), their sum is 1.
    Products are taken in the number format that ``layers``, ``seen`` and ``kept`` share. By hand, since a step is too
    small for autograd, which takes half as long again.
    """
    count = len(targets)
    weight1, bias1, weight2, bias2 = layers
    active = torch.addmm(bias1, seen, weight1).relu_()
    hidden = (active * kept).view(count, HEADS, HIDDEN).transpose(0, 1)
    likely = torch.baddbmm(bias2, hidden, weight2).float().log_softmax(dim=2)
    truth = targets.expand(HEADS, count).unsqueeze(2)
    share = (weights / HEADS).unsqueeze(1)
    loss = -(likely.gather(2, truth) * share).sum()
    minus = likely.new_tensor(-1.0).expand(HEADS, count, 1)
    by_logits = likely.exp_().scatter_add_(2, truth, minus).mul_(share)
    narrow = by_logits.to(seen.dtype)
    by_hidden = torch.bmm(narrow, weight2.transpose(1, 2)).transpose(0, 1).reshape(count, -1).mul_(kept)
    by_hidden = torch.ops.aten.threshold_backward(by_hidden, active, 0)
    return loss, [
        torch.mm(seen.T, by_hidden),
        by_hidden.sum(dim=0, dtype=torch.float32),
        torch.bmm(hidden.transpose(1, 2), narrow),
        by_logits.sum(dim=1, keepdim=True),
    ]


def _mask(
    shape: tuple[int, ...], share: float, dropout: np.random.Generator, kind: torch.dtype = torch.float32
) -> torch.Tensor:
    """0 for the share that is dropped, to 1/256, and for the rest what keeps the mean at 1.

    Bytes of NumPy's are drawn several times as fast as numbers, its or torch's.
    """
    dropped = round(256 * share)
    drawn = np.frombuffer(dropout.bytes(math.prod(shape)), dtype=np.uint8).reshape(shape)
    return torch.from_numpy(drawn >= dropped).to(kind).mul_(256 / (256 - dropped))


def _averaged(weight2: torch.Tensor, bias2: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The second layer of the one perceptron whose logits are the mean of those of all heads: (K, C) and (C,)."""
    return weight2.flatten(0, 1) / HEADS, bias2.mean(dim=0).flatten()


def _class_weights(counts: torch.Tensor) -> torch.Tensor:
    """Mean over the labels is 1, so that the learning rate means the same for any imbalance."""
    weights = counts.float() ** -CLASS_WEIGHT_POWER
    return weights * counts.sum() / (weights * counts).sum()


def _batches(count: int, steps: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Index batches; every label is seen once before any is seen again."""
    size = min(BATCH, count)
    queue = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if len(queue) < size:
            queue = torch.cat([queue, torch.randperm(count, generator=generator)])
        yield queue[:size]
        queue = queue[size:]


def _for_all_classes(
    weight: torch.Tensor, bias: torch.Tensor, present: torch.Tensor, classes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    all_weight = torch.zeros((weight.shape[0], classes))
    all_bias = torch.full((classes,), NEVER)
    all_weight[:, present], all_bias[present] = weight, bias
    return all_weight, all_bias
