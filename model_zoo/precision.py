"""The number format that convolutions are quickest in, where it changes masks by less than an annotator can see."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import nn


def quick_precision(device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 for convolutions and matrices on processors that multiply tiles of them (AMX), else nothing.

    Halves the time of ``clicknet`` there; without AMX bfloat16 would be slower than float32.
    """
    if device.type == "cpu" and multiplies_tiles():
        return torch.autocast("cpu", torch.bfloat16)
    return nullcontext()


def quick_dtype(device: torch.device) -> torch.dtype:
    """What convolutions and matrices are trained in: bfloat16 with CUDA and on processors with AMX."""
    quick = device.type == "cuda" or (device.type == "cpu" and multiplies_tiles())
    return torch.bfloat16 if quick else torch.float32


def cast_weights(network: nn.Module, device: torch.device) -> None:
    """Convert once, in place, what ``quick_precision`` would convert at every call; for inference only."""
    if device.type == "cpu" and multiplies_tiles():
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.to(torch.bfloat16)


@cache
def multiplies_tiles() -> bool:
    """Whether this processor has AMX for bfloat16."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16", False))
