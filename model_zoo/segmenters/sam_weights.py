"""Weights of the SAM family: who publishes them, and their tensors under the names of our networks.

Published files come in two layouts: the authors' own, and transformers', which is ours. Both are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model_zoo.errors import WeightsMissing
from model_zoo.registry import register_network
from model_zoo.segmenters.base import Segmenter
from model_zoo.segmenters.sam_network import SamNetwork, repeatably
from model_zoo.segmenters.sam_segmenter import SamSegmenter
from model_zoo.weights import Published, WeightSource, WeightSpec, load_network, locate

LICENCE = "Apache-2.0"
Rules = tuple[tuple[str, str], ...]
Tensors = dict[str, Tensor]

POSITIONS = (
    "prompt_encoder.shared_embedding.positional_embedding",
    "shared_image_embedding.positional_embedding",
)
MLP = r"(output_hypernetworks_mlps\.\d+|iou_prediction_head|pred_obj_score_head|hq_mask_mlp)\.layers\."
SHARED: Rules = (
    (r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$", POSITIONS[0]),
    (r"^prompt_encoder\.point_embeddings\.", "prompt_encoder.point_embed."),
    (r"^prompt_encoder\.mask_downscaling\.0\.", "prompt_encoder.mask_embed.conv1."),
    (r"^prompt_encoder\.mask_downscaling\.1\.", "prompt_encoder.mask_embed.layer_norm1."),
    (r"^prompt_encoder\.mask_downscaling\.3\.", "prompt_encoder.mask_embed.conv2."),
    (r"^prompt_encoder\.mask_downscaling\.4\.", "prompt_encoder.mask_embed.layer_norm2."),
    (r"^prompt_encoder\.mask_downscaling\.6\.", "prompt_encoder.mask_embed.conv3."),
    (r"^(mask_decoder\.transformer\..*)norm(\d|_final_attn)\.", r"\1layer_norm\2."),
    (r"^mask_decoder\.output_upscaling\.0\.", "mask_decoder.upscale_conv1."),
    (r"^mask_decoder\.output_upscaling\.1\.", "mask_decoder.upscale_layer_norm."),
    (r"^mask_decoder\.output_upscaling\.3\.", "mask_decoder.upscale_conv2."),
    (r"^mask_decoder\.hf_mlp\.", "mask_decoder.hq_mask_mlp."),
    (MLP + r"0\.", r"\1.proj_in."),
    (MLP + r"1\.", r"\1.layers.0."),
    (MLP + r"2\.", r"\1.proj_out."),
)  # fmt: skip
"""Of the prompt encoder and the decoder, which are alike in all of the family: pattern and replacement, in order."""

VIT: Rules = (
    (r"^image_encoder\.", "vision_encoder."),
    (r"^(vision_encoder\.patch_embed)\.proj\.", r"\1.projection."),
    (r"^(vision_encoder)\.blocks\.", r"\1.layers."),
    (r"^(vision_encoder\.layers\.\d+)\.norm(\d)\.", r"\1.layer_norm\2."),
    (r"^(vision_encoder\.neck)\.0\.", r"\1.conv1."),
    (r"^(vision_encoder\.neck)\.1\.", r"\1.layer_norm1."),
    (r"^(vision_encoder\.neck)\.2\.", r"\1.conv2."),
    (r"^(vision_encoder\.neck)\.3\.", r"\1.layer_norm2."),
)

HQ: Rules = (
    (r"^mask_decoder\.hf_token\.", "mask_decoder.hq_token."),
    (r"^mask_decoder\.compress_vit_feat\.0\.", "mask_decoder.compress_vit_conv1."),
    (r"^mask_decoder\.compress_vit_feat\.1\.", "mask_decoder.compress_vit_norm."),
    (r"^mask_decoder\.compress_vit_feat\.3\.", "mask_decoder.compress_vit_conv2."),
    (r"^mask_decoder\.embedding_encoder\.0\.", "mask_decoder.encoder_conv1."),
    (r"^mask_decoder\.embedding_encoder\.1\.", "mask_decoder.encoder_norm."),
    (r"^mask_decoder\.embedding_encoder\.3\.", "mask_decoder.encoder_conv2."),
    (r"^mask_decoder\.embedding_maskfeature\.0\.", "mask_decoder.mask_conv1."),
    (r"^mask_decoder\.embedding_maskfeature\.1\.", "mask_decoder.mask_norm."),
    (r"^mask_decoder\.embedding_maskfeature\.3\.", "mask_decoder.mask_conv2."),
)

TINY_VIT: Rules = (
    (r"^image_encoder\.(neck|patch_embed|layers)\.", r"vision_encoder.trunk.\1."),
    (r"^vision_encoder\.trunk\.neck\.", "vision_encoder.neck."),
    (r"^(vision_encoder\.trunk\.patch_embed)\.seq\.0\.", r"\1.conv1."),
    (r"^(vision_encoder\.trunk\.patch_embed)\.seq\.2\.", r"\1.conv2."),
    # What follows a stage there begins the next one here.
    (r"^vision_encoder\.trunk\.layers\.0\.downsample\.", "vision_encoder.trunk.stages.1.downsample."),
    (r"^vision_encoder\.trunk\.layers\.1\.downsample\.", "vision_encoder.trunk.stages.2.downsample."),
    (r"^vision_encoder\.trunk\.layers\.2\.downsample\.", "vision_encoder.trunk.stages.3.downsample."),
    (r"^vision_encoder\.trunk\.layers\.", "vision_encoder.trunk.stages."),
    (r"^(vision_encoder\.trunk\..*)\.c\.", r"\1.conv."),
)

THEIRS = "image_encoder."
"""Beginning of names of the authors' layout; transformers has another name for the encoder."""
UNUSED = r"image_encoder\.(norm_head|head)\."
"""MobileSAM's classifier, which nothing runs."""


@dataclass(frozen=True)
class Variant:
    """One network of the family. make, make_tiny: it, and one of its kind for tests. rules: from its authors' names to
    ours; unused: pattern of the names, in either layout, of what its files hold besides."""

    spec: WeightSpec
    summary: str
    source: str
    make: Callable[[], SamNetwork]
    make_tiny: Callable[[], SamNetwork]
    rules: Rules
    unused: str = UNUSED


def spec_of(name: str, paper: str, parameters: int, published: Published) -> WeightSpec:
    """parameters: as counted."""
    return WeightSpec(
        name=name, file=f"{name}.safetensors", sha256="", size=0, licence=LICENCE, paper=paper,
        published=published, parameters=parameters,
    )  # fmt: skip


def register(variant: Variant) -> None:
    """Under the name of its weights."""

    def build(device: str, source: WeightSource) -> Segmenter:
        if not (source.random or source.tiny):
            locate(variant.spec, source.folder)  # before a large network is made in vain
        network = repeatably(variant.make_tiny if source.tiny else variant.make)
        digest = load_network(network.model, variant.spec, source)
        return SamSegmenter(variant.spec.name, network, digest, device)

    def convert(tensors: Tensors, config: Mapping[str, Any]) -> Tensors:  # noqa: ARG001
        return convert_sam(variant, tensors)

    build.__doc__ = variant.summary
    register_network(
        paper=variant.spec.paper,
        licence=variant.spec.licence,
        source=variant.source,
        weights=(variant.spec,),
        convert=convert,
        name=variant.spec.name,
    )(build)


def convert_sam(variant: Variant, tensors: Mapping[str, Tensor], *, tiny: bool = False) -> Tensors:
    """Tensors of a published file, in either layout, to the state of our network; raises WeightsMissing."""
    used = {name: value for name, value in tensors.items() if re.match(variant.unused, name) is None}
    # Some names mean one layer there and another one here, so that only one layout is renamed.
    rules = variant.rules if any(name.startswith(THEIRS) for name in used) else ()
    found = {renamed(name, rules): value for name, value in used.items()}
    _join_points(found)
    # transformers keeps the same positions twice, files of it once or twice.
    for place, other in (POSITIONS, POSITIONS[::-1]):
        if place not in found and other in found:
            found[place] = found[other].clone()
    with torch.device("meta"):
        model = (variant.make_tiny if tiny else variant.make)().model
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    got = {name: tuple(value.shape) for name, value in found.items()}
    wrong = sorted(name for name in wanted.keys() | got.keys() if wanted.get(name) != got.get(name))
    if wrong:
        raise WeightsMissing(
            f"this is no file of {variant.spec.name}: {len(wrong)} tensors do not fit, {wrong[0]} is "
            f"{got.get(wrong[0], 'missing')}, expected {wanted.get(wrong[0], 'none')}; "
            "give the file of this model"
        )
    return found


def renamed(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _join_points(found: Tensors) -> None:
    """SAM 2's four kinds of points lie in one table in transformers."""
    parts = [f"prompt_encoder.point_embed.{kind}.weight" for kind in range(4)]
    if "no_memory_embedding" in found and all(part in found for part in parts):
        found["prompt_encoder.point_embed.weight"] = torch.cat([found.pop(part) for part in parts])
