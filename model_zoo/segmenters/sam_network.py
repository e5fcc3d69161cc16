"""Networks of the SAM family, as far as the segmenter knows them; the first is SAM itself, built with transformers.

transformers takes seconds to import, so that it is imported when a network is built. Configurations are made here;
nothing is asked of the hub. Deliberate difference from transformers' defaults: the decoder's layer norms have the
epsilon of the published code, 1e-5.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from model_zoo.segmenters.sam_prompt import SamPrompt

Maps = tuple[Tensor, ...]
CELLS = 4  # logits of a mask along one side of a cell of the embedding
CHANNELS, MIDDLE = 256, 2048  # of the decoder, in all of the family
PATCH = 16  # pixels along one side of a cell of the embedding
SPREAD = 0.02  # deviation of random weights; transformers' 1e-10 makes all images look alike

Made = TypeVar("Made")


class SamNetwork(nn.Module, ABC):
    """An encoder of images and a decoder of prompts. ``model`` holds the weights, under transformers' names.

    ``side``: of the square input, pixels; ``low``: of the mask logits. ``squashed``: how images fill the square.
    ``three``: whether the decoder offers three masks where one click or a lone box may mean several things.
    """

    squashed: ClassVar[bool] = False
    three: ClassVar[bool] = True
    model: Any

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.low = CELLS * side // PATCH

    @abstractmethod
    def embed(self, pixels: Tensor) -> Maps:
        """What the decoder needs of an image. pixels: (1, 3, side, side) float32, normalised."""

    @abstractmethod
    def decode(self, maps: Maps, prompt: SamPrompt, several: bool) -> tuple[Tensor, Tensor]:
        """Logits (masks, low, low) and expected IoU (masks,): of three masks, or of the one for a clear prompt."""

    def embed_prompt(self, prompt: SamPrompt, device: torch.device) -> tuple[Tensor, Tensor]:
        """Embeddings of points and box (1, 1, N, C), and of the mask (1, C, side / PATCH, side / PATCH)."""
        points = len(prompt.points) > 0
        found: tuple[Tensor, Tensor] = self.model.prompt_encoder(
            input_points=torch.tensor(prompt.points, device=device)[None, None] if points else None,
            input_labels=torch.tensor(prompt.labels, device=device)[None, None] if points else None,
            input_boxes=None if prompt.box is None else torch.tensor(prompt.box, device=device)[None, None],
            input_masks=None if prompt.mask is None else torch.tensor(prompt.mask, device=device)[None, None],
        )
        return found


@dataclass(frozen=True)
class VitSize:
    """Of SAM's image encoder. middle: channels within its MLPs, 0 for four times the width."""

    width: int
    depth: int
    heads: int
    whole: tuple[int, ...]  # blocks, from 0, that look at the whole image
    middle: int = 0
    window: int = 14
    side: int = 1024


TINY_VIT = VitSize(width=16, depth=2, heads=2, whole=(1,), window=3, side=64)


class VitSam(SamNetwork):
    """SAM with a plain vision transformer; SlimSAM is one of fewer channels."""

    def __init__(self, size: VitSize) -> None:
        super().__init__(size.side)
        sam = import_module("transformers.models.sam")
        self.model = sam.SamModel(vit_config(sam.SamConfig, size))

    def embed(self, pixels: Tensor) -> Maps:
        return (self.model.vision_encoder(pixels)[0],)

    def decode(self, maps: Maps, prompt: SamPrompt, several: bool) -> tuple[Tensor, Tensor]:
        sparse, dense = self.embed_prompt(prompt, maps[0].device)
        masks, quality = self.model.mask_decoder(
            image_embeddings=maps[0],
            image_positional_embeddings=self.model.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=several,
        )
        return masks[0, 0], quality[0, 0]


def vit_config(kind: Callable[..., Any], size: VitSize, **decoder: int) -> Any:
    """transformers' configuration of a SAM. kind: SamConfig or SamHQConfig; decoder: what its decoder has besides."""
    return kind(
        vision_config={
            "hidden_size": size.width,
            "num_hidden_layers": size.depth,
            "num_attention_heads": size.heads,
            "global_attn_indexes": list(size.whole),
            "mlp_dim": size.middle or 4 * size.width,
            "window_size": size.window,
            "image_size": size.side,
            "patch_size": PATCH,
            "output_channels": CHANNELS,
            "num_pos_feats": CHANNELS // 2,
            "initializer_range": SPREAD,
        },
        prompt_encoder_config={"hidden_size": CHANNELS, "image_size": size.side, "patch_size": PATCH},
        mask_decoder_config={
            "hidden_size": CHANNELS, "mlp_dim": MIDDLE, "layer_norm_eps": 1e-5, "initializer_range": SPREAD, **decoder,
        },
        initializer_range=SPREAD,
    )  # fmt: skip


def repeatably(make: Callable[[], Made]) -> Made:
    """What is made with the random numbers of seed 0, without disturbing others'."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()
