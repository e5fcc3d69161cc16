"""Batch normalisation folded into the convolutions before it: the same function with fewer passes over memory."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn


@torch.no_grad()
def fuse_batch_norms(network: nn.Module) -> None:
    """Fold each BatchNorm2d into the Conv2d right before it among its siblings, in place; for inference only.

    timm's BatchNormAct2d leaves its activation behind. Needs statistics, so call it after loading weights.
    """
    for module in list(network.modules()):
        for (_, convolution), (name, norm) in pairwise(list(module.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                _fold(convolution, norm)
                setattr(module, name, getattr(norm, "act", None) or nn.Identity())


def _fold(convolution: nn.Conv2d, norm: Any) -> None:
    """Scale the kernel and give the convolution the bias that the normalisation had."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    bias = norm.bias - norm.running_mean * scale
    if convolution.bias is not None:
        bias = bias + convolution.bias * scale
    convolution.weight = nn.Parameter(convolution.weight * scale[:, None, None, None], requires_grad=False)
    convolution.bias = nn.Parameter(bias, requires_grad=False)
