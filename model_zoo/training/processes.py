"""Several processes that train one network together, as torchrun starts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


def processes() -> tuple[int, int]:
    """How many processes train together, and which of them this is; (1, 0) without a process group."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size(), distributed.get_rank()
    return 1, 0


def data_parallel(network: nn.Module, device: torch.device) -> Callable[..., Any]:
    """The network, its gradients averaged over the processes where there are several."""
    if processes()[0] == 1:
        return network
    return DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)


def agree(seconds: float, stopped: bool) -> tuple[float, bool]:
    """The same answer in every process: the longest time, and whether any of them was told to stop.

    Called by all of them after each step: rates follow the time, and a step needs every process.
    """
    if processes()[0] == 1:
        return seconds, stopped
    on_gpu = distributed.get_backend() == "nccl"
    device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
    values = torch.tensor([seconds, float(stopped)], dtype=torch.float64, device=device)
    distributed.all_reduce(values, distributed.ReduceOp.MAX)
    longest, told = values.tolist()
    return longest, told > 0


@contextmanager
def first_alone() -> Iterator[None]:
    """The first process does something before the others do it, who then find its files."""
    world, rank = processes()
    if world > 1 and rank > 0:
        distributed.barrier()
    yield
    if world > 1 and rank == 0:
        distributed.barrier()
