"""What backprop refinement minimises: how far an answer is from obeying all clicks, by L-BFGS-B in a few steps.

Sofiiuk et al., f-BRS: Rethinking Backpropagating Refinement, CVPR 2020 (2001.10331), section 3.1; origin, licence and
differences are those of ``backprop_refinement``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import fmin_l_bfgs_b
from torch import Tensor

Vector = NDArray[np.float64]
Target = Literal["image", "maps", "A", "B", "C"]
Answer = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Variables (n,) to logits (B, 1, h, w) and a regulariser."""


@dataclass(frozen=True)
class Refinement:
    """target: what is optimised: a map added to the normalised colours ("image") or to the click maps ("maps"), or
    scales and biases of the features where the network is cut (A, B, C of f-BRS).

    shown: the network is shown so many first clicks; later ones act through the loss. after: clicks that are answered
    without. evaluations: of the network, at most. history: of L-BFGS. weight, bias_weight: of the regularisers of
    all variables, and of biases besides. settled: IoU by which the mask must change from step to step. around: pixels
    on each side of a click that belong to it.
    """

    target: Target
    shown: int
    after: int = 1
    evaluations: int = 20
    history: int = 20
    weight: float = 1e-3
    bias_weight: float = 10.0
    settled: float = 0.01
    around: int = 1


class Objective:
    """How far an answer is from obeying the clicks; keeps the best answer (B, 1, h, w)."""

    def __init__(
        self,
        answer: Answer,
        positive: Tensor,
        negative: Tensor,
        threshold: float,
        settings: Refinement,
    ) -> None:
        self.best: Tensor | None = None
        self._answer, self._threshold, self._settings = answer, threshold, settings
        self._positive, self._negative = positive, negative
        self._least = np.inf
        self._mask: Tensor | None = None

    def minimise(self, values: Vector) -> Vector:
        """The variables after some steps of L-BFGS-B."""
        settings = self._settings
        found, _, _ = fmin_l_bfgs_b(
            self._evaluate,
            values,
            m=settings.history,
            factr=0,
            pgtol=1e-8,
            maxfun=settings.evaluations,
            maxiter=2 * settings.evaluations,
        )
        return np.asarray(found, dtype=np.float64)

    def _evaluate(self, values: Vector) -> tuple[float, Vector]:
        """Loss and gradient; a gradient of 0 ends the search."""
        variables = torch.from_numpy(values).float().to(self._positive.device).requires_grad_()
        with torch.enable_grad():
            logits, cost = self._answer(variables)
            probability = torch.sigmoid(logits)
            missed, wrong = (1 - probability) * self._positive, probability * self._negative
            loss = _mean_square(missed, self._positive) + _mean_square(wrong, self._negative) + cost
        value = float(loss.detach())
        if value < self._least or self.best is None:
            self.best, self._least = logits.detach(), value
        if self._is_done(probability.detach(), float(missed.detach().max()), float(wrong.detach().max())):
            return value, np.zeros_like(values)
        (gradient,) = torch.autograd.grad(loss, variables)
        return value, gradient.cpu().numpy().astype(np.float64)

    def _is_done(self, probability: Tensor, missed: float, wrong: float) -> bool:
        """Whether every click is obeyed, or the mask has hardly changed since the evaluation before."""
        if missed < 1 - self._threshold and wrong < self._threshold:
            return True
        mask, earlier = probability > self._threshold, self._mask
        if earlier is not None:
            union = (mask | earlier).flatten(1).sum(1)
            both = (mask & earlier).flatten(1).sum(1)[union > 0] / union[union > 0]
            if both.numel() and float(both.mean()) > 1 - self._settings.settled:
                return True
        self._mask = mask
        return False


def _mean_square(difference: Tensor, where: Tensor) -> Tensor:
    return difference.square().sum() / (where.sum() + 1e-5)
