"""The image part of SAM 2.1 and of EdgeTAM: a pyramid of three maps and a decoder that also reads the finer two.

Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024 (github.com/facebookresearch/sam2, commit 2b90b9f,
Apache-2.0); Zhou et al., EdgeTAM: On-Device Track Anything Model, CVPR 2025 (github.com/facebookresearch/EdgeTAM,
commit 9cc44bf, Apache-2.0). The memory of video frames is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

from torch import Tensor

from model_zoo.segmenters.sam_network import CHANNELS, MIDDLE, PATCH, Maps, SamNetwork
from model_zoo.segmenters.sam_prompt import SamPrompt

STRIDES = (4, 8, 16)  # of the three maps


@dataclass(frozen=True)
class HieraSize:
    """Of SAM 2's image encoder: channels and heads double from stage to stage. windows: sides, a stage each."""

    width: int
    heads: int
    blocks: tuple[int, int, int, int]
    whole: tuple[int, ...]  # blocks, from 0, that look at the whole image
    positions: int = 7  # side of the table of positions
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)
    side: int = 1024


@dataclass(frozen=True)
class RepVitSize:
    """Of EdgeTAM's image encoder, a RepViT of timm. widths: channels of the stages, where they are not timm's."""

    architecture: str
    widths: tuple[int, int, int, int] = (48, 96, 192, 384)
    depths: tuple[int, int, int, int] | None = None
    side: int = 1024


TINY_HIERA = HieraSize(width=8, heads=1, blocks=(1, 1, 2, 1), whole=(3,), windows=(4, 2, 4, 2), side=64)
TINY_REPVIT = RepVitSize("repvit_m1", widths=(8, 16, 24, 32), depths=(1, 1, 2, 1), side=64)


class Sam2(SamNetwork):
    """SAM 2.1, or EdgeTAM, by the kind of size. Where the single mask is unstable, the best of three replaces it."""

    squashed: ClassVar[bool] = True

    def __init__(self, size: HieraSize | RepVitSize) -> None:
        super().__init__(size.side)
        self.model = _hiera(size) if isinstance(size, HieraSize) else _repvit(size)

    def embed(self, pixels: Tensor) -> Maps:
        """(1, C / 8, low, low), (1, C / 4, low / 2, low / 2), (1, C, low / 4, low / 4)."""
        return tuple(self.model.get_image_embeddings(pixels))

    def decode(self, maps: Maps, prompt: SamPrompt, several: bool) -> tuple[Tensor, Tensor]:
        sparse, dense = self.embed_prompt(prompt, maps[-1].device)
        masks, quality, _, _ = self.model.mask_decoder(
            image_embeddings=maps[-1],
            image_positional_embeddings=self.model.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=several,
            high_resolution_features=list(maps[:-1]),
        )
        return masks[0, 0], quality[0, 0]


def _hiera(size: HieraSize) -> Any:
    sam = import_module("transformers.models.sam2")
    widths = [size.width << stage for stage in range(4)]
    backbone = sam.Sam2HieraDetConfig(
        hidden_size=size.width,
        num_attention_heads=size.heads,
        image_size=[size.side, size.side],
        blocks_per_stage=list(size.blocks),
        embed_dim_per_stage=widths,
        num_attention_heads_per_stage=[size.heads << stage for stage in range(4)],
        window_size_per_stage=list(size.windows),
        window_positional_embedding_background_size=[size.positions, size.positions],
        global_attention_blocks=list(size.whole),
    )
    vision = sam.Sam2VisionConfig(backbone_config=backbone, **_pyramid(widths, size.side))
    return sam.Sam2Model(sam.Sam2Config(vision_config=vision, **_decoder(size.side)))


def _repvit(size: RepVitSize) -> Any:
    sam = import_module("transformers.models.edgetam")
    # timm's wrapper is told everything: transformers' default would be another network, asked of the hub.
    options: dict[str, Any] = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]}
    if size.depths is not None:
        options |= {"embed_dim": size.widths, "depth": size.depths}
    backbone = import_module("transformers.models.timm_wrapper").TimmWrapperConfig(
        architecture=size.architecture, model_args=options
    )
    vision = sam.EdgeTamVisionConfig(backbone_config=backbone, **_pyramid(size.widths, size.side))
    return sam.EdgeTamModel(sam.EdgeTamConfig(vision_config=vision, **_decoder(size.side)))


def _pyramid(widths: list[int] | tuple[int, ...], side: int) -> dict[str, Any]:
    return {
        "backbone_channel_list": list(widths)[::-1],
        "backbone_feature_sizes": [[side // stride] * 2 for stride in STRIDES],
        "fpn_hidden_size": CHANNELS,
    }


def _decoder(side: int) -> dict[str, Any]:
    return {
        "prompt_encoder_config": {"hidden_size": CHANNELS, "image_size": side, "patch_size": PATCH},
        "mask_decoder_config": {"hidden_size": CHANNELS, "mlp_dim": MIDDLE},
    }
