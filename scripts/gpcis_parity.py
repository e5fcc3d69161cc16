"""Make tests/model_zoo/segmenters/data/gpcis_parity.npz: random numbers through the published GPCIS head.

Usage: python scripts/gpcis_parity.py CHECKOUT [NPZ], where CHECKOUT is a clone of github.com/zmhhmz/GPCIS_CVPR2023
(commit 6460415) and the packages einops and opt_einsum are installed. The file holds inputs, weights and outputs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

DEEP, SIDE, BASIS = 48, 32, 256
NPZ = Path(__file__).resolve().parent.parent / "tests/model_zoo/segmenters/data/gpcis_parity.npz"
# (row, col) of the positive, then of the negative clicks of two images; -1 is no click.
POINTS = np.array(
    [
        [[4, 5, 0], [20, 9, 2], [11, 30, 4], [27, 3, 1], [-1, -1, -1], [2, 28, 3]],
        [[15, 15, 0], [-1, -1, -1], [-1, -1, -1], [30, 31, 1], [-1, -1, -1], [-1, -1, -1]],
    ],
    dtype=np.float32,
)


def head(checkout: Path) -> Any:
    """The published head alone, with random weights."""
    sys.path.insert(0, str(checkout))
    from isegm.model.is_gp_model import ISGPModel  # noqa: PLC0415

    model = ISGPModel(with_prev_mask=True)
    model.L, model.feature_dim = BASIS, DEEP
    model.theta = torch.nn.Linear(DEEP + 3, BASIS)
    model.omega = torch.nn.Parameter(0.25 * torch.randn(BASIS, 1))
    model.logsigma2 = torch.nn.Parameter(1.0 + 0.3 * torch.randn(DEEP))
    model.weights = torch.nn.Parameter(torch.tensor([0.2]))
    model.u_mlp = torch.nn.Sequential(torch.nn.Linear(DEEP + 3, 96), torch.nn.ReLU(), torch.nn.Linear(96, 1))
    return model


def run(model: Any, features: torch.Tensor, noise: float, training: bool) -> tuple[np.ndarray, float]:
    """Logits and the variational loss; what the head would sample is 0."""
    model.eps2, model.training = noise, training
    sample, torch.randn = torch.randn, torch.zeros
    try:
        points = torch.from_numpy(POINTS)
        chosen, labels = model.prepare_points_labels(points, features)
        prior = model.Pathwise_GP_prior(features, model.omega)
        logits, loss = model.Pathwise_GP_update(points, features, chosen, labels, prior, model.omega)
    finally:
        torch.randn = sample
    return logits.detach().numpy(), float(loss.detach())


def main(checkout: Path, npz: Path) -> None:
    torch.manual_seed(7)
    model = head(checkout)
    deep = torch.nn.functional.normalize(torch.randn(2, DEEP, 8, 8), dim=1)
    deep = torch.nn.functional.interpolate(deep, size=(SIDE, SIDE), mode="bilinear", align_corners=True)
    features = torch.cat([deep, torch.randn(2, 3, SIDE, SIDE)], dim=1).half().float()
    weights = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    test, _ = run(model, features.clone(), 1e-7, training=False)
    train, loss = run(model, features.clone(), 1e-2, training=True)
    np.savez_compressed(
        npz,
        features=features.half().numpy(),
        points=POINTS,
        test=test,
        train=train,
        vi=np.float32(loss),
        **weights,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else NPZ)
