"""Losses of click models."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

ALPHA, GAMMA = 0.5, 2.0


def normalised_focal_loss(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Focal loss whose weights sum to the number of valid pixels of each sample, averaged over samples.

    logits, truth in [0, 1], valid in {0, 1}: (N, 1, h, w) float32. Source: RITM (2102.06583), equation 2, with
    alpha 0.5 and gamma 2; soft truth enters through 1 - |truth - p|, the normaliser carries no gradient.
    """
    likelihood = 1.0 - (truth - torch.sigmoid(logits)).abs()
    with torch.no_grad():
        beta = (1.0 - likelihood) ** GAMMA * valid
        pixels = valid.sum(dim=(1, 2, 3), keepdim=True)
        scale = pixels / (beta.sum(dim=(1, 2, 3), keepdim=True) + 1e-6)
    beta = (1.0 - likelihood) ** GAMMA * valid
    loss = -ALPHA * beta * scale * torch.log(likelihood.clamp_min(1e-6))
    return (loss.sum(dim=(1, 2, 3), keepdim=True) / pixels.clamp_min(1.0)).mean()


def dice_loss(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """1 - soft Dice of each sample, averaged; arguments as in ``normalised_focal_loss``."""
    p = torch.sigmoid(logits) * valid
    y = truth * valid
    overlap = (p * y).sum(dim=(1, 2, 3))
    total = p.sum(dim=(1, 2, 3)) + y.sum(dim=(1, 2, 3))
    return (1.0 - (2.0 * overlap + 1.0) / (total + 1.0)).mean()


def shrink(masks: Tensor, like: Tensor) -> Tensor:
    """Area average of (N, 1, H, W) masks at the size of other logits."""
    return functional.adaptive_avg_pool2d(masks, (like.shape[-2], like.shape[-1]))


def answer_loss(logits: Tensor, truth: Tensor, valid: Tensor, dice: float) -> Tensor:
    """Normalised focal loss plus ``dice`` times the Dice loss of logits (N, 1, h, w), of any size.

    truth, valid: (N, 1, H, W) float32. A pixel of the logits counts where all that it covers is valid.
    """
    y, v = shrink(truth, logits), (shrink(valid, logits) > 0.99).float()
    return normalised_focal_loss(logits, y, v) + dice * dice_loss(logits, y, v)


@torch.no_grad()
def mean_iou(logits: Tensor, truth: Tensor, valid: Tensor) -> float:
    """Intersection over union of logits above 0 with the object, averaged over samples; as ``answer_loss``."""
    counted = shrink(valid, logits) > 0.99
    predicted, wanted = (logits > 0) & counted, (shrink(truth, logits) > 0.5) & counted
    both = (predicted & wanted).sum(dim=(1, 2, 3)).float()
    either = (predicted | wanted).sum(dim=(1, 2, 3)).clamp_min(1).float()
    return float((both / either).mean())
