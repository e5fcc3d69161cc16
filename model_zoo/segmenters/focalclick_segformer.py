"""The SegFormer trunk of FocalClick: transformers' own SegFormer with clicks added after its first stage.

Xie et al., SegFormer, 2021, as transformers implements it (Apache-2.0), whose import takes seconds and is therefore
left to the constructors; how FocalClick feeds clicks to it is written from a description of Chen et al., FocalClick,
CVPR 2022. No code of SegFormer's own repository, which is for non-commercial use, is here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

BLOCK_EPSILON = 1e-6  # of the normalisations in and after the blocks; others have PyTorch's 1e-5
OUTSIDE_BLOCKS = r"\.(patch_embeddings|attention)\."  # these others


@dataclass(frozen=True)
class SegformerSize:
    """hidden: channels of the four stages. depths: their blocks. embedding: channels of the decoder."""

    hidden: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    embedding: int
    heads: tuple[int, int, int, int] = (1, 2, 5, 8)


B0 = SegformerSize((32, 64, 160, 256), (2, 2, 2, 2), 256)
B3 = SegformerSize((64, 128, 320, 512), (3, 4, 18, 3), 512)
TINY = SegformerSize((8, 8, 10, 16), (1, 1, 1, 1), 16)


class ClickEmbedding(nn.Module):
    """Previous mask and click maps (B, 3, h, w) to (B, channels, h / 4, w / 4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(3, channels, 7, stride=4, padding=3)
        self.norm = nn.LayerNorm(channels)

    def forward(self, maps: Tensor) -> Tensor:
        embedded: Tensor = self.norm(self.projection(maps).permute(0, 2, 3, 1))
        return embedded.permute(0, 3, 1, 2)


class SegformerTrunk(nn.Module):
    """(B, 3, h, w) normalised image and (B, 3, h, w) maps to logits (B, 1, h / 4, w / 4) and features there.

    The features have ``channels`` channels; the decoder sees the first stage as it was before the clicks came in.
    """

    def __init__(self, size: SegformerSize) -> None:
        super().__init__()
        from transformers import SegformerConfig, SegformerDecodeHead, SegformerModel  # noqa: PLC0415 - slow

        config = SegformerConfig(
            hidden_sizes=size.hidden,
            depths=size.depths,
            num_attention_heads=size.heads,
            decoder_hidden_size=size.embedding,
        )
        self.channels = size.embedding
        self.encoder = SegformerModel(config)
        for name, module in self.encoder.named_modules():
            if isinstance(module, nn.LayerNorm) and not re.search(OUTSIDE_BLOCKS, name):
                module.eps = BLOCK_EPSILON
        self.clicks = ClickEmbedding(size.hidden[0])
        decoder: Any = SegformerDecodeHead  # it has no annotations
        self.decoder = decoder(config)
        self.decoder.classifier = nn.Identity()  # its input is wanted, too
        self.classifier = nn.Conv2d(size.embedding, 1, 1)

    def forward(self, image: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
        stages: list[Tensor] = []
        flow = image
        for stage in self.encoder.stages:
            stages.append(stage(flow))
            flow = stages[-1] + self.clicks(maps) if len(stages) == 1 else stages[-1]
        features: Tensor = self.decoder(tuple(stages))
        return self.classifier(features), features


RENAMED: tuple[tuple[str, str], ...] = (
    (r"^backbone\.patch_embed_side1\.proj\.", "clicks.projection."),
    (r"^backbone\.patch_embed_side1\.norm\.", "clicks.norm."),
    (r"^backbone\.(\d)\.patch_embed\.norm\.", r"encoder.stages.\1.patch_embeddings.layer_norm."),
    (r"^backbone\.(\d)\.patch_embed\.", r"encoder.stages.\1.patch_embeddings."),
    (r"^backbone\.(\d)\.block\.", r"encoder.stages.\1.blocks."),
    (r"^backbone\.(\d)\.norm\.", r"encoder.stages.\1.layer_norm."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.([qkv])\.", r".attention.\1_proj."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    (r"\.attn\.sr\.", ".attention.sequence_reduction.sequence_reduction."),
    (r"\.attn\.norm\.", ".attention.sequence_reduction.layer_norm."),
    (r"^decode_head\.(\d)\.linear_c\.", r"decoder.linear_projections.\1."),
    (r"^decode_head\.linear_fuse\.conv\.", "decoder.linear_fuse."),
    (r"^decode_head\.linear_fuse\.bn\.", "decoder.batch_norm."),
    (r"^decode_head\.linear_pred\.", "classifier."),
)
"""Published names to ours, one after the other; ``patch_embed2.`` has been made ``1.patch_embed.`` before."""


def convert_segformer(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state to that of SegformerTrunk.

    Keys and values of attention lie in one matrix there, one above the other. What is not known keeps its name.
    """
    converted: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if ".attn.kv." not in name:
            converted[_our_name(name)] = tensor
            continue
        for letter, half in zip("kv", torch.chunk(tensor, 2), strict=False):
            converted[_our_name(name.replace(".attn.kv.", f".attn.{letter}."))] = half.clone()
    return converted


def _our_name(name: str) -> str:
    name = re.sub(
        r"^(backbone|decode_head)\.(patch_embed|block|norm|linear_c)([1-4])\.",
        lambda found: f"{found[1]}.{int(found[3]) - 1}.{found[2]}.",
        name.removeprefix("feature_extractor."),
    )
    for pattern, ours in RENAMED:
        name = re.sub(pattern, ours, name)
    return name
