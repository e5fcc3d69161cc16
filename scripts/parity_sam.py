"""Make tests/model_zoo/segmenters/data/sam_NETWORK.npz: a published SAM on random weights, and compare.

Usage: python scripts/parity_sam.py NETWORK CHECKOUT [NPZ], where CHECKOUT is a clone of
    sam         github.com/facebookresearch/segment-anything  (commit dca509f)
    sam-hq      github.com/SysCV/sam-hq                       (commit fb181f8)
    mobile-sam  github.com/ChaoningZhang/MobileSAM            (commit 34bbbfd)
    sam2.1      github.com/facebookresearch/sam2              (commit 2b90b9f)
    edge-tam    github.com/facebookresearch/EdgeTAM           (commit 9cc44bf)
Networks are built by the clone, small and in full, saved, read as ClickPick reads published files, and both predictors
are led through the same sessions. Packages that only the clones' loaders need (hydra, iopath) need not be installed.
"""

from __future__ import annotations

import re
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from model_zoo.checkpoints import read_checkpoint  # noqa: E402
from model_zoo.prompt import Prompt  # noqa: E402
from model_zoo.segmenters import sam, sam2  # noqa: E402
from model_zoo.segmenters.sam2_network import TINY_HIERA, TINY_REPVIT, HieraSize  # noqa: E402
from model_zoo.segmenters.sam_frame import frame_of  # noqa: E402
from model_zoo.segmenters.sam_network import CHANNELS, MIDDLE, TINY_VIT, VitSize  # noqa: E402
from model_zoo.segmenters.sam_segmenter import LIMIT, SamSegmenter  # noqa: E402
from model_zoo.segmenters.sam_weights import Variant, convert_sam  # noqa: E402
from tests.model_zoo.segmenters import sam_random as given  # noqa: E402

DATA = ROOT / "tests/model_zoo/segmenters/data"
STRIDE = 7  # of the enlarged logits that are stored


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


def answers(published: Published, sizes: Any) -> Iterator[tuple[str, np.ndarray, np.ndarray, float]]:
    """Low and full logits and the expected IoU of the published predictor, as the sessions go."""
    for height, width in sizes:
        published.predictor.set_image(given.picture(height, width))
        frame = frame_of(height, width, published.side, published.squashed)
        for name, prompts in given.sessions(height, width).items():
            before = None
            for number, prompt in enumerate(prompts):
                mask = before
                if before is None and prompt.mask is not None:
                    mask = frame.start(prompt.mask, published.side // 4)
                full, quality, low = predict(published, prompt, mask, (height, width))
                best = int(np.argmax(quality))
                before = np.clip(low[best], -LIMIT, LIMIT)
                yield f"{height}x{width} {name} {number}", before, full[best], float(quality[best])


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


def ours(published: Published, variant: Variant, tiny: bool) -> SamSegmenter:
    """From the file that the published code writes of its own."""
    model = {name: tuple(value.shape) for name, value in published.model.state_dict().items()}
    tensors = given.state(model)
    published.model.load_state_dict(tensors, strict=True)
    published.model.eval()  # anew: the published TinyViT spreads its attention biases out then
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "published.pt"
        written = published.model.state_dict()
        torch.save({"model": written} if published.squashed else written, file)
        found, _ = read_checkpoint(file)
        converted = convert_sam(variant, found, tiny=tiny)
        network = (variant.make_tiny if tiny else variant.make)()
        network.model.load_state_dict(converted, strict=True)
    return SamSegmenter(variant.spec.name, network, "random", exact=True)


def compare(published: Published, variant: Variant, tiny: bool) -> dict[str, np.ndarray]:
    """Print the largest differences; what is stored of the published answers."""
    segmenter = ours(published, variant, tiny)
    sizes = given.SIZES if tiny else given.LARGE_SIZES
    stored, low_most, full_most, quality_most = {}, 0.0, 0.0, 0.0
    spread = []
    for (name, low, full, quality), (same, mask) in zip(
        answers(published, sizes), given.answers(segmenter, sizes), strict=True
    ):
        assert name == same  # noqa: S101
        low_most = max(low_most, float(np.abs(low - mask.state.logits).max()))
        full_most = max(full_most, float(np.abs(full - mask.logits).max()))
        quality_most = max(quality_most, abs(min(max(quality, 0.0), 1.0) - mask.score))
        stored[name] = full[::STRIDE, ::STRIDE] if tiny else full[:: 9 * STRIDE, :: 9 * STRIDE]
        stored[f"{name} score"] = np.float32(min(max(quality, 0.0), 1.0))
        spread.append(full.std())
    print(  # noqa: T201
        f"{variant.spec.name} {'small' if tiny else 'in full'}: {len(spread)} answers, deviation of the logits "
        f"{min(spread):.2f} to {max(spread):.2f}; largest difference: logits of the network {low_most:.1e}, of the "
        f"image {full_most:.1e}, expected IoU {quality_most:.1e}"
    )
    if tiny:
        effects(segmenter, sizes[0])
    shapes = {name: tuple(value.shape) for name, value in published.model.state_dict().items()}
    return stored | {"shapes": given.packed(shapes)}


def effects(segmenter: SamSegmenter, size: tuple[int, int]) -> None:
    """Print how much the answer changes with the image, the clicks and the mask before."""
    image = given.picture(*size)
    embedding, other = segmenter.encode(image), segmenter.encode(255 - image)
    prompts = given.sessions(*size)["clicks"]
    first = segmenter.decode(embedding, prompts[0])
    last = segmenter.decode(embedding, prompts[-1], first.state).logits
    moved = replace(prompts[-1], clicks=prompts[-1].clicks[:-1])
    for what, changed in {
        "another image": segmenter.decode(other, prompts[-1], first.state),
        "a click less": segmenter.decode(embedding, moved, first.state),
        "no mask before": segmenter.decode(embedding, prompts[-1]),
    }.items():
        print(  # noqa: T201
            f"  mean change with {what}: {np.abs(changed.logits - last).mean():.3f}"
        )


NETWORKS: dict[str, tuple[Variant, Callable[[], Published] | None, Callable[[], Published]]] = {
    "sam": (sam.VARIANTS[0], lambda: vit(TINY_VIT, hq=False), lambda: vit(sam.BASE, hq=False)),
    "sam-hq": (sam.VARIANTS[5], lambda: vit(TINY_VIT, hq=True), lambda: vit(sam.BASE, hq=True)),
    # The published TinyViT runs at 1024 pixels alone.
    "mobile-sam": (sam.VARIANTS[8], None, mobile),
    "sam2.1": (sam2.VARIANTS[0], lambda: hiera(TINY_HIERA), lambda: hiera(None)),
    "edge-tam": (sam2.VARIANTS[4], lambda: repvit(tiny=True), lambda: repvit(tiny=False)),
}


def main(network: str, checkout: Path, npz: Path) -> None:
    sys.path.insert(0, str(checkout))
    stand_in()
    warnings.simplefilter("ignore")
    torch.set_flush_denormal(True)
    variant, small, full = NETWORKS[network]
    if small is not None:
        np.savez_compressed(npz, **compare(small(), variant, tiny=True))
    more = compare(full(), variant, tiny=False)
    if small is None:
        np.savez_compressed(npz, **more)


if __name__ == "__main__":
    name = sys.argv[1]
    main(name, Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else DATA / f"sam_{name}.npz")
