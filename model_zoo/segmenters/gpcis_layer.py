"""The Gaussian-process layer of GPCIS: per-pixel features and clicks in, a logit map through the clicks out.

    f = g + k(., Z) (K + eps I)^-1 (u - g(Z)),   g(x) = sqrt(2/L) sin(Theta z(x) + tau)^T w
    k(x, x') = exp(-1/2 sum_j s_j (a_j - a'_j)^2) + beta exp(-1/2 |c - c'|^2)

z = [a; c] are deep features and normalised colours, u = y softplus(MLP(z)) what a click asks for.

Zhou et al., Interactive Segmentation as Gaussian Process Classification, CVPR 2023. Checked against
github.com/zmhhmz/GPCIS_CVPR2023 (commit 6460415, MIT licence) to 1e-4 on random weights; written from the paper.
Deliberate differences: a Cholesky factor instead of an explicit inverse; at test time the small system is solved in
float64, where the noise 1e-7 of the paper means something; images without a click keep the prior.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.prompt import Click

COLOURS = 3
TRAIN_NOISE, TEST_NOISE = 1e-2, 1e-7
TARGET_DEVIATION = 0.01  # of u around its mean, in training
VI_WEIGHT = 1e-3
ATTEMPTS = 6


@dataclass(frozen=True, eq=False)
class Points:
    """Clicks of a batch, flat: image (n,), row (n,), col (n,) int64 and sign (n,) float32 of +1 or -1."""

    image: Tensor
    row: Tensor
    col: Tensor
    sign: Tensor


@dataclass(frozen=True, eq=False)
class GpOutput:
    """logits: (B, 1, H, W). vi: the variational term of the loss, 0 outside training or without clicks."""

    logits: Tensor
    vi: Tensor

    @property
    def answer(self) -> Tensor:
        return self.logits

    @property
    def auxiliary(self) -> tuple[Tensor, ...]:
        return ()

    @property
    def penalty(self) -> Tensor:
        """What the objective adds to the segmentation loss of sigmoid(f)."""
        return VI_WEIGHT * self.vi


def points(clicks: Sequence[Sequence[Click]], height: int, width: int, device: torch.device) -> Points:
    """Clicks of each image, in pixels of the map; those outside it are left out (GPCIS drops them, too)."""
    inside = [
        (image, int(click.row), int(click.col), 1.0 if click.positive else -1.0)
        for image, given in enumerate(clicks)
        for click in given
        if 0 <= click.row < height and 0 <= click.col < width
    ]
    columns = list(zip(*inside, strict=True)) or [(), (), (), ()]
    image, row, col = (torch.tensor(column, dtype=torch.int64, device=device) for column in columns[:3])
    return Points(image, row, col, torch.tensor(columns[3], dtype=torch.float32, device=device))


class GpLayer(nn.Module):
    """deep: channels of a. basis: L. Noise is TRAIN_NOISE in training mode, else TEST_NOISE."""

    def __init__(self, deep: int = 48, basis: int = 256, hidden: int = 96) -> None:
        super().__init__()
        self.theta = nn.Linear(deep + COLOURS, basis)
        nn.init.xavier_normal_(self.theta.weight, gain=math.sqrt(2.0))
        nn.init.zeros_(self.theta.bias)
        self.weight_mean = nn.Parameter(0.25 * torch.randn(basis))
        self.weight_deviation = nn.Parameter(torch.tensor(0.025))
        self.log_scale = nn.Parameter(torch.ones(deep))  # rho, s = exp(rho)
        self.colour_share = nn.Parameter(torch.zeros(()))  # b, beta = softplus(b)
        self.target = nn.Sequential(nn.Linear(deep + COLOURS, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    @property
    def noise(self) -> float:
        return TRAIN_NOISE if self.training else TEST_NOISE

    def forward(self, features: Tensor, clicks: Points) -> GpOutput:
        """features: (B, deep + 3, H, W), deep part unit vectors, then normalised colours."""
        weights = self._weights()
        prior = self.prior(features.movedim(1, -1), weights)
        z = features[clicks.image, :, clicks.row, clicks.col]
        mean = self.target_mean(z, clicks.sign)
        wanted = mean + TARGET_DEVIATION * torch.randn_like(mean) if self.training else mean
        residual = wanted - self.prior(z, weights)
        maps, quadratic = [], mean.new_zeros(())
        for image, given in enumerate(features):
            chosen = clicks.image == image
            if not bool(chosen.any()):
                maps.append(prior[image])
                continue
            z_image = z[chosen]
            factor = factorise(self.kernel(z_image, z_image), self.noise, exact=not self.training)
            v = solve(factor, residual[chosen])
            maps.append(prior[image] + self.kernel(given.movedim(0, -1), z_image) @ v)
            # The matrix is detached: this term moves the means, not the features.
            quadratic = quadratic + mean[chosen] @ solve(factor.detach(), mean[chosen])
        vi = (
            self._variational(wanted, clicks.sign, quadratic) if self.training and len(z) else quadratic * 0.0
        )
        return GpOutput(torch.stack(maps)[:, None], vi)

    def prior(self, z: Tensor, weights: Tensor) -> Tensor:
        """g: (..., deep + 3) to (...)."""
        basis: Tensor = torch.sin(self.theta(z))
        return math.sqrt(2.0 / self.theta.out_features) * basis @ weights

    def target_mean(self, z: Tensor, sign: Tensor) -> Tensor:
        """m: (n, deep + 3) and (n,) signs to (n,); its sign is the click's."""
        return sign * functional.softplus(self.target(z)[:, 0])

    def kernel(self, one: Tensor, two: Tensor) -> Tensor:
        """k: (..., deep + 3) and (n, deep + 3) to (..., n); 1 + beta on the diagonal."""
        scale = torch.exp(0.5 * self.log_scale)
        deep = _gaussian(one[..., :-COLOURS] * scale, two[:, :-COLOURS] * scale)
        colour = _gaussian(one[..., -COLOURS:], two[:, -COLOURS:])
        return deep + functional.softplus(self.colour_share) * colour

    def _weights(self) -> Tensor:
        """w: a sample in training, else the mean."""
        if not self.training:
            return self.weight_mean
        deviation = self.weight_deviation.clamp(0.01, 0.05)
        return self.weight_mean + deviation * torch.randn_like(self.weight_mean)

    @staticmethod
    def _variational(wanted: Tensor, sign: Tensor, quadratic: Tensor) -> Tensor:
        """L_VI: cross entropy of the targets plus m^T A^-1 m, both per click."""
        agreement = functional.binary_cross_entropy_with_logits(wanted, 0.5 * (sign + 1.0))
        return agreement + quadratic / len(sign)


def factorise(gram: Tensor, noise: float, *, exact: bool) -> Tensor:
    """Lower Cholesky factor of gram + noise * I, (n, n); float64 when exact.

    The noise grows tenfold, at most ATTEMPTS times, until the matrix can be factored.
    """
    matrix = gram.double() if exact else gram.float()
    identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    for attempt in range(ATTEMPTS):
        factor, failed = torch.linalg.cholesky_ex(matrix + noise * 10.0**attempt * identity)
        if not bool(failed):
            return torch.as_tensor(factor)
    return torch.as_tensor(torch.linalg.cholesky(matrix + noise * 10.0**ATTEMPTS * identity))


def solve(factor: Tensor, residual: Tensor) -> Tensor:
    """v = (K + eps I)^-1 residual: (n,) of residual's type."""
    solution = torch.cholesky_solve(residual[:, None].to(factor.dtype), factor)
    return solution[:, 0].to(residual.dtype)


def _gaussian(one: Tensor, two: Tensor) -> Tensor:
    """exp(-|x - x'|^2 / 2) by the expansion of the square: (..., d) and (n, d) to (..., n)."""
    exponent = one @ two.T - 0.5 * (one * one).sum(-1, keepdim=True) - 0.5 * (two * two).sum(-1)
    return torch.exp(exponent.clamp(max=0.0))
