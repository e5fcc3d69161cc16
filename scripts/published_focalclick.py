"""The published FocalClick from a clone of github.com/XavierCHEN34/ClickSEG, for comparisons.

mmcv 1.x and IPython, which the clone imports, need not be installed: of them only a convolution runs. The clone's
files of SegFormer are for non-commercial use.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import mmcv_stand_ins
import numpy as np
import torch
from torch import nn
from torchvision.ops import roi_align

from model_zoo.evaluation.samples import IGNORE
from model_zoo.segmenters.focalclick_network import SIDE

THRESHOLD = 0.5
Pixels = list[tuple[int, int, bool]]


class ConvModule(nn.Module):
    """mmcv's, as far as SegFormer's head uses it: a convolution without bias, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, norm_cfg: object) -> None:
        super().__init__()
        if norm_cfg is None:
            message = "norm_cfg is None; expected batch normalisation, as in the published configurations"
            raise ValueError(message)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normalised: torch.Tensor = self.bn(self.conv(x))
        return normalised.relu()


def prepare(checkout: Path) -> None:
    """Make the clone importable."""
    for name, kind in {"int": int, "float": float}.items():  # names that NumPy had
        if name not in np.__dict__:
            setattr(np, name, kind)
    mmcv_stand_ins.KNOWN["ConvModule"] = ConvModule
    mmcv_stand_ins.install()
    sys.modules["IPython"] = mmcv_stand_ins.StandIn("IPython")
    sys.path.insert(0, str(checkout))


def network(variant: str) -> Any:
    """As the training scripts build it, untrained."""
    from isegm.model.is_hrnet_model import HRNetModel  # noqa: PLC0415
    from isegm.model.is_segformer_model import SegFormerModel  # noqa: PLC0415

    trunk, version = variant.rsplit("-", 1)
    common: dict[str, Any] = {
        "pipeline_version": version, "with_aux_output": True, "use_leaky_relu": True, "use_rgb_conv": False,
        "use_disks": True, "norm_radius": 5, "with_prev_mask": True,
    }  # fmt: skip
    if trunk.startswith("segformer"):
        return SegFormerModel(model_version=trunk[-2:], binary_prev_mask=False, **common)
    if trunk == "hrnet18s":
        return HRNetModel(width=18, ocr_width=48, small=True, **common)
    return HRNetModel(width=32, ocr_width=128, small=False, **common)


def points_tensor(points: Iterable[tuple[float, float, bool]]) -> torch.Tensor:
    """(1, 2 n, 3), positive ones first, as the networks take clicks."""
    given = list(points)
    signs = [[(*point[:2], 0.0) for point in given if point[2] is sign] for sign in (True, False)]
    most = max(1, *(len(sign) for sign in signs))
    return torch.tensor([[p for sign in signs for p in sign + [(-1.0, -1.0, -1.0)] * (most - len(sign))]])


class Predictor:
    """The published predictor with what its evaluation does around it: threshold and progressive merge.

    mask: (H, W) bool that was last shown, where one was started from, else None.
    """

    def __init__(self, model: Any, checkout: Path, image: np.ndarray, mask: np.ndarray | None) -> None:
        from isegm.inference.clicker import Clicker  # noqa: PLC0415
        from isegm.inference.predictors import get_predictor  # noqa: PLC0415

        zoom = {"target_size": 400, "expansion_ratio": 1.4}
        self.published = get_predictor(
            model, "FocalClick", "cpu", prob_thresh=THRESHOLD, infer_size=SIDE, zoom_in_params=zoom
        )
        self.clicker = Clicker()
        self.published.set_input_image(image)
        self.mask = mask
        self._merge = _function(checkout / "isegm/inference/evaluation.py", "Progressive_Merge")
        if mask is not None:
            self.published.set_prev_mask(mask)

    def click(self, row: int, col: int, positive: bool) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and mask."""
        from isegm.inference.clicker import Click  # noqa: PLC0415

        self.clicker.add_click(Click(positive, (np.int64(row), np.int64(col))))
        return self.answer()

    def answer(self) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and mask after the clicks that there are."""
        probability = self.published.get_prediction(self.clicker)
        mask = probability > THRESHOLD
        if self.mask is not None:
            mask = self.mask = self._merge(mask, self.mask, *self.clicker.get_clicks()[-1].coords)
            self.published.transforms[0]._prev_probs = mask[None, None]
        return probability, mask

    def evaluate(self, truth: np.ndarray) -> tuple[Pixels, list[float]]:
        """The published evaluation of one object, without the parts that read data sets: clicks and their IoUs."""
        from isegm.inference.clicker import Clicker  # noqa: PLC0415

        target = np.where(truth == IGNORE, -1, truth.astype(np.int32))
        self.clicker, mask, ious = Clicker(gt_mask=target), np.zeros(truth.shape, dtype=bool), []
        while len(ious) < 20 and not (ious and ious[-1] >= 0.90):
            self.clicker.make_next_click(mask)
            mask = self.answer()[1]
            union = ((mask | (target == 1)) & (target != -1)).sum()
            ious.append(float((mask & (target == 1)).sum() / union))
        clicks = self.clicker.clicks_list
        return [(int(c.coords[0]), int(c.coords[1]), bool(c.is_positive)) for c in clicks], ious


def align_in_double() -> None:
    """Let networks in double precision cut from their features: the boxes then have to be of the same."""
    from isegm.model import is_hrnet_model, is_segformer_model  # noqa: PLC0415

    def align(features: torch.Tensor, boxes: torch.Tensor, *settings: Any, **named: Any) -> Any:
        return roi_align(features, boxes.to(features.dtype), *settings, **named)

    is_hrnet_model.roi_align = is_segformer_model.roi_align = align


def _function(path: Path, name: str) -> Any:
    """A function of a file, without what else the file imports and does."""
    tree = ast.parse(path.read_text())
    tree.body = [part for part in tree.body if isinstance(part, ast.FunctionDef) and part.name == name]
    scope: dict[str, Any] = {"np": np, "cv2": cv2}
    exec(compile(tree, str(path), "exec"), scope)  # noqa: S102 - of the clone, which runs anyway
    return scope[name]
