"""One optimisation of a segmentation network: steps on batches, rates, mixed precision, moving average."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from model_zoo.learners.finetune_policy import FinetunePolicy
from model_zoo.learners.samples import Batch
from model_zoo.learners.sparse_loss import sparse_cross_entropy
from model_zoo.learners.trunk import SegmentationNetwork
from model_zoo.precision import quick_dtype


class Trainer:
    """``network`` holds the latest weights, ``averaged`` their moving average, or the same object without one."""

    def __init__(
        self, network: SegmentationNetwork, policy: FinetunePolicy, device: torch.device, seed: int
    ) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last).requires_grad_(True)
        self.averaged = network
        if policy.average > 0:
            self.averaged = copy.deepcopy(self.network).eval().requires_grad_(False)
        self._policy = policy
        self._device = device
        self._steps = 0
        self._rng = torch.Generator(device).manual_seed(seed)
        groups = _groups(network, policy)
        self._optimiser: torch.optim.Optimizer = (
            torch.optim.Adam(groups) if policy.optimiser == "adam" else torch.optim.AdamW(groups)
        )

    def step(self, batch: Batch, epoch: int, done: float) -> float:
        """Learn from one batch; returns its loss. done: share of the training that is behind, for the cosine."""
        self.network.train()
        for group in self._optimiser.param_groups:
            group["lr"] = group["base"] * rate_factor(self._policy, epoch, done)
        pixels = torch.from_numpy(batch.images).to(self._device).permute(0, 3, 1, 2).float()
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        mixed = self._policy.mixed_precision and quick_dtype(self._device) == torch.bfloat16
        with torch.autocast(self._device.type, torch.bfloat16, enabled=mixed):
            logits = self.network(pixels, self._rng)
        height, width = pixels.shape[2:]
        loss = sparse_cross_entropy(logits, batch.points, (height, width))
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        self._steps += 1
        self._average()
        return float(loss.detach())

    @torch.no_grad()
    def _average(self) -> None:
        """Move the average; early on its window is as short as the training so far. Batch statistics are copied."""
        if self.averaged is self.network:
            return
        decay = min(self._policy.average, (1 + self._steps) / (10 + self._steps))
        for kept, new in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
            kept.lerp_(new, 1 - decay)
        for statistic, latest in zip(self.averaged.buffers(), self.network.buffers(), strict=True):
            statistic.copy_(latest)


def rate_factor(policy: FinetunePolicy, epoch: int, done: float) -> float:
    """Factor of both rates: 0.1 to the number of milestones passed, or a cosine from 1 to 0."""
    if policy.milestones:
        return float(0.1 ** sum(epoch >= milestone for milestone in policy.milestones))
    return 0.5 * (1 + math.cos(math.pi * done))


def _groups(network: SegmentationNetwork, policy: FinetunePolicy) -> list[dict[str, object]]:
    """Encoder and the rest have rates of their own; with AdamW, vectors (biases, norms) do not decay."""
    groups: list[dict[str, object]] = []
    named: list[tuple[str, nn.Parameter]] = list(network.named_parameters())
    for in_trunk, rate in ((True, policy.encoder_rate), (False, policy.rate)):
        chosen = [parameter for name, parameter in named if name.startswith("trunk.") == in_trunk]
        spared = [p for p in chosen if p.ndim <= 1 and policy.optimiser == "adamw"]
        decayed = [p for p in chosen if p.ndim > 1 or policy.optimiser != "adamw"]
        for parameters, decay in ((decayed, policy.weight_decay), (spared, 0.0)):
            if parameters:
                groups.append({"params": parameters, "base": rate, "lr": rate, "weight_decay": decay})
    return groups
