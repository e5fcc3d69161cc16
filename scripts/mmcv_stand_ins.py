"""Stand-ins for the parts of mmcv 1.x and of TensorBoard that SimpleClick's published code imports.

Only what its networks run behaves as there: a convolution with a ReLU. ``install`` makes the rest importable.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class ConvModule(nn.Module):
    """mmcv's, as far as the published head uses it: a convolution and a ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, **options: Any) -> None:
        super().__init__()
        if options.get("norm_cfg") is not None:
            message = "norm_cfg is given; expected None, as in the published configurations"
            raise ValueError(message)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, options.get("stride", 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).relu()


class BaseModule(nn.Module):
    def __init__(self, init_cfg: object = None) -> None:  # noqa: ARG002
        super().__init__()


class Registry:
    def __init__(self, *_: object, **__: object) -> None:
        pass

    def register_module(self, *_: object, **__: object) -> Callable[[Any], Any]:
        return lambda thing: thing


def unchanged(*_: object, **__: object) -> Callable[[Any], Any]:
    return lambda function: function


KNOWN = {
    "ConvModule": ConvModule,
    "BaseModule": BaseModule,
    "Registry": Registry,
    "auto_fp16": unchanged,
    "force_fp32": unchanged,
}


class StandIn(types.ModuleType):
    """A module in which every name is found."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return KNOWN.get(name, type(name, (), {}))


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, path: object, target: object = None) -> Any:  # noqa: ARG002
        if name.partition(".")[0] == "mmcv" or name == "torch.utils.tensorboard":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def install() -> None:
    """From now on, imports of mmcv and of TensorBoard's writer find stand-ins."""
    sys.meta_path.insert(0, StandIns())
