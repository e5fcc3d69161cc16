"""The networks and predictors of the SAM family as their authors wrote them, built from a clone on ``sys.path``."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from model_zoo.prompt import Prompt
from model_zoo.segmenters.sam2_network import TINY_REPVIT, HieraSize
from model_zoo.segmenters.sam_network import CHANNELS, MIDDLE, VitSize


@dataclass(frozen=True)
class Published:
    """A published network and its predictor."""

    model: Any
    predictor: Any
    side: int
    squashed: bool
    three: bool = True


def vit(size: VitSize, hq: bool) -> Published:
    """SAM or SAM-HQ."""
    parts = import_module("segment_anything.modeling")
    encoder = parts.ImageEncoderViT(
        depth=size.depth, embed_dim=size.width, img_size=size.side, mlp_ratio=4, num_heads=size.heads, patch_size=16,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), qkv_bias=True, use_rel_pos=True, window_size=size.window,
        global_attn_indexes=size.whole, out_chans=CHANNELS,
    )  # fmt: skip
    decoder = partial(parts.MaskDecoderHQ, vit_dim=size.width) if hq else parts.MaskDecoder
    return published_sam("segment_anything", encoder, decoder, size.side, three=not hq)


def mobile() -> Published:
    """MobileSAM; its TinyViT is kept from taking the place of timm's."""
    import_module("timm.models.registry").register_model = lambda function: function
    parts = import_module("mobile_sam.modeling")
    encoder = parts.TinyViT(
        img_size=1024, in_chans=3, num_classes=1000, embed_dims=[64, 128, 160, 320], depths=[2, 2, 6, 2],
        num_heads=[2, 4, 5, 10], window_sizes=[7, 7, 14, 7], drop_path_rate=0.0, layer_lr_decay=0.8,
    )  # fmt: skip
    return published_sam("mobile_sam", encoder, parts.MaskDecoder, 1024)


def published_sam(
    package: str, encoder: Any, decoder: Callable[..., Any], side: int, three: bool = True
) -> Published:
    parts = import_module(f"{package}.modeling")
    model = parts.Sam(
        image_encoder=encoder,
        prompt_encoder=parts.PromptEncoder(
            embed_dim=CHANNELS, image_embedding_size=(side // 16,) * 2, input_image_size=(side,) * 2, mask_in_chans=16
        ),
        mask_decoder=decoder(
            num_multimask_outputs=3, transformer_dim=CHANNELS, iou_head_depth=3, iou_head_hidden_dim=256,
            transformer=parts.TwoWayTransformer(depth=2, embedding_dim=CHANNELS, mlp_dim=MIDDLE, num_heads=8),
        ),
    )  # fmt: skip
    predictor = import_module(f"{package}.predictor").SamPredictor
    return Published(model, predictor(model.eval()), side, squashed=False, three=three)


def second(config: str, side: int, **trunk: Any) -> Published:
    """SAM 2.1 or EdgeTAM, by its published configuration with another trunk."""
    package = import_module("sam2")
    written = yaml.safe_load((Path(package.__path__[0]) / "configs" / config).read_text())["model"]
    written["image_encoder"]["trunk"] |= trunk
    if trunk and "embed_dim" in trunk:
        channels = [trunk["embed_dim"] << stage for stage in (3, 2, 1, 0)]
        written["image_encoder"]["neck"]["backbone_channel_list"] = channels
    written |= {
        "image_size": side,
        # What the published loader adds to the configuration.
        "sam_mask_decoder_extra_args": {
            "dynamic_multimask_via_stability": True,
            "dynamic_multimask_stability_delta": 0.05,
            "dynamic_multimask_stability_thresh": 0.98,
        },
    }
    if trunk.get("features"):
        written["image_encoder"]["neck"]["backbone_channel_list"] = trunk["widths"][::-1]
        del written["image_encoder"]["trunk"]["widths"]
    model = built(written).eval()
    predictor = import_module("sam2.sam2_image_predictor").SAM2ImagePredictor(model)
    predictor._bb_feat_sizes = [(side // stride,) * 2 for stride in (4, 8, 16)]
    return Published(model, predictor, side, squashed=True)


def built(written: Any) -> Any:
    """What hydra makes of a configuration."""
    if isinstance(written, list):
        return [built(part) for part in written]
    if isinstance(written, str) and re.fullmatch(r"\d+e-\d+", written):
        return float(written)  # which PyYAML takes for a text
    if not isinstance(written, dict):
        return written
    parts = {name: built(part) for name, part in written.items() if name != "_target_"}
    if "_target_" not in written:
        return parts
    module, _, name = written["_target_"].rpartition(".")
    return getattr(import_module(module), name)(**parts)


def hiera(size: HieraSize | None) -> Published:
    config = "sam2.1/sam2.1_hiera_t.yaml"
    if size is None:
        return second(config, 1024)
    return second(
        config, size.side, embed_dim=size.width, num_heads=size.heads, stages=list(size.blocks),
        global_att_blocks=list(size.whole), window_spec=list(size.windows),
    )  # fmt: skip


def repvit(tiny: bool) -> Published:
    timm = import_module("timm")
    options = {"embed_dim": TINY_REPVIT.widths, "depth": TINY_REPVIT.depths} if tiny else {}

    def create(name: str, pretrained: bool, **others: Any) -> Any:  # noqa: ARG001 - nothing is downloaded
        return timm.create_model(name, pretrained=False, **others, **options)

    import_module("sam2.modeling.backbones.timm").create_model = create
    if not tiny:
        return second("edgetam.yaml", 1024)
    features = [f"layer{stage}" for stage in range(4)]
    return second("edgetam.yaml", TINY_REPVIT.side, features=features, widths=list(TINY_REPVIT.widths))


def stand_in() -> None:
    """Empty packages in place of those that the clones' loaders import."""
    for name, inside in {"hydra": "initialize_config_module", "iopath.common.file_io": "g_pathmgr"}.items():
        for end in range(name.count(".") + 1):
            sys.modules.setdefault(".".join(name.split(".")[: end + 1]), types.ModuleType(name))
        setattr(sys.modules[name], inside, lambda *_, **__: None)
    sys.modules["hydra"].core = None  # type: ignore[attr-defined]
    core = types.ModuleType("hydra.core.global_hydra")
    core.GlobalHydra = types.SimpleNamespace(  # type: ignore[attr-defined]
        instance=lambda: types.SimpleNamespace(is_initialized=lambda: True)
    )
    sys.modules |= {"hydra.core": types.ModuleType("hydra.core"), "hydra.core.global_hydra": core}


def predict(published: Published, prompt: Prompt, mask: np.ndarray | None, size: tuple[int, int]) -> Any:
    pixels = [click.pixel(*size) for click in prompt.clicks]
    box = prompt.box
    alone = mask is None and len(pixels) + (box is not None) == 1
    return published.predictor.predict(
        point_coords=np.array([pixel[::-1] for pixel in pixels], dtype=np.float64) if pixels else None,
        point_labels=np.array([click.positive for click in prompt.clicks], dtype=np.int64)
        if pixels
        else None,
        box=None if box is None else np.array([box.left, box.top, box.right, box.bottom]),
        mask_input=None if mask is None else mask[None],
        multimask_output=alone and published.three,
        return_logits=True,
    )
