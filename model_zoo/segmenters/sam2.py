"""The models ``sam2.1-hiera-*`` and ``edge-tam``: SAM 2.1 and its kin for single images."""

from __future__ import annotations

from model_zoo.segmenters import sam_weights as weights
from model_zoo.segmenters.sam2_network import TINY_HIERA, TINY_REPVIT, HieraSize, RepVitSize, Sam2
from model_zoo.segmenters.sam_weights import Rules, Variant, register, spec_of
from model_zoo.weights import Published

SAM2 = "Ravi et al., SAM 2: Segment Anything in Images and Videos, ICLR 2025 (arXiv 2408.00714)"
EDGE = "Zhou et al., EdgeTAM: On-Device Track Anything Model, CVPR 2025 (arXiv 2501.07256)"
META = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/"

RULES: Rules = (
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"^sam_mask_decoder\.", "mask_decoder."),
    (r"^no_mem_embed$", "no_memory_embedding"),
    *weights.SHARED,
    (r"^(mask_decoder\.transformer\..*)\.out_proj\.", r"\1.o_proj."),
    (r"^(mask_decoder\.transformer\.layers\.\d+\.mlp)\.layers\.0\.", r"\1.proj_in."),
    (r"^(mask_decoder\.transformer\.layers\.\d+\.mlp)\.layers\.1\.", r"\1.proj_out."),
    (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
)
HIERA: Rules = (
    *RULES,
    (r"^(vision_encoder\.backbone\.patch_embed)\.proj\.", r"\1.projection."),
    (r"^(vision_encoder\.backbone\.blocks\.\d+)\.norm(\d)\.", r"\1.layer_norm\2."),
    (r"^(vision_encoder\.backbone\.blocks\.\d+\.mlp)\.layers\.0\.", r"\1.proj_in."),
    (r"^(vision_encoder\.backbone\.blocks\.\d+\.mlp)\.layers\.1\.", r"\1.proj_out."),
)
REPVIT: Rules = (*RULES, (r"^vision_encoder\.backbone\.body\.", "vision_encoder.backbone.timm_model."))
VIDEO = (
    r"(memory_|maskmem_|mask_downsample|obj_ptr_|object_pointer_|no_obj|no_mem_pos|no_memory_pos|spatial_perceiver|"
    r"temporal_positional_|occlusion_)"
)
"""Beginnings of the names of what remembers the frames of a video, in either layout."""


def _hiera(kind: str, size: HieraSize, parameters: int, length: int, sha256: str) -> Variant:
    file = f"sam2.1_hiera_{kind.replace('-', '_')}.pt"
    hub = f"https://huggingface.co/facebook/sam2.1-hiera-{kind}"
    published = Published(file, length, sha256, (META + file, f"{hub}/resolve/main/{file}"), hub)
    return Variant(
        spec=spec_of(f"sam2.1-hiera-{kind}", SAM2, parameters, published),
        summary=f"SAM 2.1 on single images, Hiera {kind} encoder; clicks, boxes, strokes.",
        source="through transformers; policy after github.com/facebookresearch/sam2@2b90b9f; both Apache-2.0",
        make=lambda: Sam2(size),
        make_tiny=lambda: Sam2(TINY_HIERA),
        rules=HIERA,
        unused=VIDEO,
    )


def _edge() -> Variant:
    hub, page = "https://huggingface.co/facebook/EdgeTAM", "https://github.com/facebookresearch/EdgeTAM"
    published = Published(
        "edgetam.pt",
        56_116_523,
        "ed2d4850b8792c239689b043c47046ec239b6e808a3d9b6ae676c803fd8780df",
        (f"{hub}/resolve/main/edgetam.pt", f"{page}/raw/main/checkpoints/edgetam.pt"),
        page,
    )
    return Variant(
        spec=spec_of("edge-tam", EDGE, 9_120_641, published),
        summary="EdgeTAM on single images: SAM 2's decoder behind a RepViT encoder; clicks, boxes, strokes.",
        source="through transformers and timm; policy after github.com/facebookresearch/sam2@2b90b9f; all Apache-2.0",
        make=lambda: Sam2(REPVIT_M1),
        make_tiny=lambda: Sam2(TINY_REPVIT),
        rules=REPVIT,
        unused=VIDEO,
    )


TINY = HieraSize(width=96, heads=1, blocks=(1, 2, 7, 2), whole=(5, 7, 9))
SMALL = HieraSize(width=96, heads=1, blocks=(1, 2, 11, 2), whole=(7, 10, 13))
BASE_PLUS = HieraSize(width=112, heads=2, blocks=(2, 3, 16, 3), whole=(12, 16, 20), positions=14)
LARGE = HieraSize(width=144, heads=2, blocks=(2, 6, 36, 4), whole=(23, 33, 43), windows=(8, 4, 16, 8))
REPVIT_M1 = RepVitSize("repvit_m1")

VARIANTS = (
    _hiera(
        "tiny", TINY, 31_440_721, 156_008_466,
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
    ),
    _hiera(
        "small", SMALL, 38_538_577, 184_416_285,
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
    ),
    _hiera(
        "base-plus", BASE_PLUS, 73_328_401, 323_606_802,
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
    ),
    _hiera(
        "large", LARGE, 216_924_865, 898_083_611,
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
    ),
    _edge(),
)  # fmt: skip

for _variant in VARIANTS:
    register(_variant)
