"""SAM-HQ: SAM with one more token, whose mask is drawn from finer features of the encoder.

Ke et al., Segment Anything in High Quality, NeurIPS 2023, and its published code (github.com/SysCV/sam-hq, commit
fb181f8, Apache-2.0); the modules are transformers', their order of use is ours: transformers' own (seen in 5.24)
draws masks from the embedding as it was before the decoder's transformer, rows and columns exchanged.
"""

from __future__ import annotations

from importlib import import_module
from typing import ClassVar

import torch
from torch import Tensor

from model_zoo.segmenters.sam_network import Maps, SamNetwork, VitSize, vit_config
from model_zoo.segmenters.sam_prompt import SamPrompt


class HqSam(SamNetwork):
    """The mask is the sum of SAM's single one and of the finer one, as in the published evaluations and demos.

    There is no choice of three: the finer mask has learnt to correct the single one.
    """

    three: ClassVar[bool] = False

    def __init__(self, size: VitSize) -> None:
        super().__init__(size.side)
        sam = import_module("transformers.models.sam_hq")
        self.model = sam.SamHQModel(vit_config(sam.SamHQConfig, size, vit_dim=size.width))

    def embed(self, pixels: Tensor) -> Maps:
        """The embedding (1, C, h, w), and the finer features (1, C / 8, low, low) that no prompt changes."""
        found = self.model.vision_encoder(pixels)
        # Of the first block that looks at the whole image.
        early = found.intermediate_embeddings[0].permute(0, 3, 1, 2)
        return found.last_hidden_state, self._finer(found.last_hidden_state, early)

    def _finer(self, image: Tensor, early: Tensor) -> Tensor:
        decoder = self.model.mask_decoder
        late = decoder.activation(decoder.encoder_norm(decoder.encoder_conv1(image)))
        soon = decoder.activation(decoder.compress_vit_norm(decoder.compress_vit_conv1(early)))
        summed: Tensor = decoder.encoder_conv2(late) + decoder.compress_vit_conv2(soon)
        return summed

    def decode(self, maps: Maps, prompt: SamPrompt, several: bool) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        decoder = self.model.mask_decoder
        image, finer = maps
        sparse, dense = self.embed_prompt(prompt, image.device)
        own = (decoder.iou_token.weight, decoder.mask_tokens.weight, decoder.hq_token.weight)
        tokens, updated = decoder.transformer(
            point_embeddings=torch.cat((*own, sparse[0, 0]))[None, None],
            image_embeddings=image + dense,
            image_positional_embeddings=self.model.get_image_wide_positional_embeddings(),
            attention_similarity=None,
        )
        plane = updated[0].transpose(1, 2).reshape(image.shape)
        coarse = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(plane)))
        coarse = decoder.activation(decoder.upscale_conv2(coarse))
        fine = decoder.activation(decoder.mask_norm(decoder.mask_conv1(coarse)))
        fine = decoder.mask_conv2(fine) + finer
        answers = tokens[0, 0]
        # Behind the token of the expected IoU come those of the four masks, and that of the finer mask.
        single = decoder.output_hypernetworks_mlps[0](answers[1])
        corrected = decoder.hq_mask_mlp(answers[len(decoder.mask_tokens.weight) + 1])
        logits = torch.einsum("c,chw->hw", single, coarse[0]) + torch.einsum("c,chw->hw", corrected, fine[0])
        return logits[None], decoder.iou_prediction_head(answers[0])[:1]
