"""The models ``sam-*``, ``slimsam-*``, ``sam-hq-*`` and ``mobile-sam``: one segmenter, four kinds of networks."""

from __future__ import annotations

from model_zoo.segmenters import sam_weights as weights
from model_zoo.segmenters.mobile_sam_network import TINY, MobileSam, TinyVitSize
from model_zoo.segmenters.sam_hq_network import HqSam
from model_zoo.segmenters.sam_network import TINY_VIT, VitSam, VitSize
from model_zoo.segmenters.sam_weights import Variant, register, spec_of
from model_zoo.weights import Published

SAM = "Kirillov et al., Segment Anything, ICCV 2023 (arXiv 2304.02643)"
SLIM = "Chen et al., SlimSAM: 0.1% Data Makes Segment Anything Slim, NeurIPS 2024 (arXiv 2312.05284)"
HQ = "Ke et al., Segment Anything in High Quality, NeurIPS 2023 (arXiv 2306.01567)"
MOBILE = "Zhang et al., Faster Segment Anything: Towards Lightweight SAM for Mobile Applications (arXiv 2306.14289)"

BASE = VitSize(width=768, depth=12, heads=12, whole=(2, 5, 8, 11))
LARGE = VitSize(width=1024, depth=24, heads=16, whole=(5, 11, 17, 23))
HUGE = VitSize(width=1280, depth=32, heads=16, whole=(7, 15, 23, 31))
SLIM_50 = VitSize(width=384, depth=12, heads=12, whole=(2, 5, 8, 11))
SLIM_77 = VitSize(width=168, depth=12, heads=12, whole=(2, 5, 8, 11), middle=696)

META = "https://dl.fbaipublicfiles.com/segment_anything/"
COPIES = "https://huggingface.co/ybelkada/segment-anything/resolve/main/checkpoints/"
PAGE = "https://github.com/facebookresearch/segment-anything#model-checkpoints"
OURS = (
    "through transformers; policy after github.com/facebookresearch/segment-anything@dca509f; both Apache-2.0"
)


def _sam(letter: str, size: VitSize, parameters: int, published: Published) -> Variant:
    return Variant(
        spec=spec_of(f"sam-vit-{letter}", SAM, parameters, published),
        summary=f"Segment Anything, ViT-{letter.upper()} encoder; clicks, boxes, strokes.",
        source=OURS,
        make=lambda: VitSam(size),
        make_tiny=lambda: VitSam(TINY_VIT),
        rules=weights.SHARED + weights.VIT,
    )


def _meta(file: str, size: int, sha256: str) -> Published:
    return Published(file=file, size=size, sha256=sha256, urls=(META + file, COPIES + file), page=PAGE)


def _slim(kept: str, size: VitSize, parameters: int, length: int) -> Variant:
    hub = f"https://huggingface.co/nielsr/slimsam-{kept}-uniform"
    published = Published(
        "model.safetensors", length, urls=(f"{hub}/resolve/main/model.safetensors",), page=hub
    )
    return Variant(
        spec=spec_of(f"slimsam-{kept}", SLIM, parameters, published),
        summary=f"SAM's ViT-B, {kept} % of its channels pruned; clicks, boxes, strokes.",
        source=f"{OURS}; weights of github.com/czg1225/SlimSAM@b612c1b",
        make=lambda: VitSam(size),
        make_tiny=lambda: VitSam(TINY_VIT),
        rules=weights.SHARED + weights.VIT,
    )


def _hq(letter: str, size: VitSize, parameters: int, length: int) -> Variant:
    file, hub = f"sam_hq_vit_{letter}.pth", "https://huggingface.co/lkeab/hq-sam"
    published = Published(file, length, urls=(f"{hub}/resolve/main/{file}",), page=hub)
    return Variant(
        spec=spec_of(f"sam-hq-vit-{letter}", HQ, parameters, published),
        summary=f"SAM-HQ, ViT-{letter.upper()} encoder: SAM with finer borders; clicks, boxes, strokes.",
        source="modules of transformers, used as in github.com/SysCV/sam-hq@fb181f8; both Apache-2.0",
        make=lambda: HqSam(size),
        make_tiny=lambda: HqSam(TINY_VIT),
        rules=weights.SHARED + weights.VIT + weights.HQ,
    )


def _mobile() -> Variant:
    page = "https://github.com/ChaoningZhang/MobileSAM"
    published = Published(
        "mobile_sam.pt",
        40_728_226,
        "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        (f"{page}/raw/master/weights/mobile_sam.pt",),
        page,
    )
    return Variant(
        spec=spec_of("mobile-sam", MOBILE, 9_808_708, published),
        summary="SAM's decoder behind a TinyViT encoder: the lightest of the family; clicks, boxes, strokes.",
        source=f"{OURS}; encoder of timm, used as in github.com/ChaoningZhang/MobileSAM@34bbbfd, Apache-2.0",
        make=lambda: MobileSam(TinyVitSize()),
        make_tiny=lambda: MobileSam(TINY),
        rules=weights.SHARED + weights.TINY_VIT,
    )


VIT_B = _meta(
    "sam_vit_b_01ec64.pth",
    375_042_383,
    "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
)
VIT_L = _meta(
    "sam_vit_l_0b3195.pth",
    1_249_524_607,
    "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
)
VIT_H = _meta(
    "sam_vit_h_4b8939.pth",
    2_564_550_879,
    "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
)
VARIANTS = (
    _sam("b", BASE, 93_735_728, VIT_B),
    _sam("l", LARGE, 312_343_088, VIT_L),
    _sam("h", HUGE, 641_090_864, VIT_H),
    _slim("50", SLIM_50, 27_962_032, 112_000_000),
    _slim("77", SLIM_77, 9_723_784, 39_000_000),
    _hq("b", BASE, 94_806_832, 379_000_000),
    _hq("l", LARGE, 313_676_336, 1_250_000_000),
    _hq("h", HUGE, 642_686_256, 2_570_000_000),
    _mobile(),
)

for _variant in VARIANTS:
    register(_variant)
