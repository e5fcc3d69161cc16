"""Make tests/model_zoo/segmenters/data/sam_NETWORK.npz: a published SAM on random weights, and compare.

Usage: python scripts/parity_sam.py NETWORK CHECKOUT [NPZ], or, to compare whole evaluations instead,
python scripts/parity_sam.py NETWORK CHECKOUT --samples CSV [--weights FILE] [--first N] [--count N].
CHECKOUT is a clone of
    sam         github.com/facebookresearch/segment-anything  (commit dca509f)
    sam-hq      github.com/SysCV/sam-hq                       (commit fb181f8)
    mobile-sam  github.com/ChaoningZhang/MobileSAM            (commit 34bbbfd)
    sam2.1      github.com/facebookresearch/sam2              (commit 2b90b9f)
    edge-tam    github.com/facebookresearch/EdgeTAM           (commit 9cc44bf)
Networks are built by the clone, small and in full, saved, read as ClickPick reads published files, and both predictors
are led through the same sessions. Packages that only the clones' loaders need (hydra, iopath) need not be installed.
The authors publish no evaluation by clicks: that of the literature is run with the published predictor.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from published_sam import Published, hiera, mobile, predict, repvit, stand_in, vit  # noqa: E402

from model_zoo.checkpoints import read_checkpoint  # noqa: E402
from model_zoo.evaluation.clicker import center_click  # noqa: E402
from model_zoo.evaluation.metrics import iou  # noqa: E402
from model_zoo.evaluation.noc import evaluate_sample, noc  # noqa: E402
from model_zoo.evaluation.samples import Sample, read_samples  # noqa: E402
from model_zoo.prompt import Click, Prompt  # noqa: E402
from model_zoo.segmenters import sam, sam2  # noqa: E402
from model_zoo.segmenters.sam2_network import TINY_HIERA  # noqa: E402
from model_zoo.segmenters.sam_frame import frame_of  # noqa: E402
from model_zoo.segmenters.sam_network import TINY_VIT  # noqa: E402
from model_zoo.segmenters.sam_segmenter import LIMIT, SamSegmenter  # noqa: E402
from model_zoo.segmenters.sam_weights import Variant, convert_sam  # noqa: E402
from tests.model_zoo.segmenters import sam_random as given  # noqa: E402

DATA = ROOT / "tests/model_zoo/segmenters/data"
STRIDE = 7  # of the enlarged logits that are stored
CLICKS, TARGET = 20, 0.90


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


def ours(
    published: Published, variant: Variant, tiny: bool, weights: Mapping[str, torch.Tensor] | None = None
) -> SamSegmenter:
    """From the file that the published code writes of its own; on random weights, unless some are given."""
    model = {name: tuple(value.shape) for name, value in published.model.state_dict().items()}
    published.model.load_state_dict(given.state(model) if weights is None else weights, strict=True)
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


def evaluate(published: Published, segmenter: SamSegmenter, samples: Sequence[Sample]) -> None:
    """Click objects with either predictor, and count where all clicks and IoUs are the same."""
    same, counts = 0, []
    for sample in samples:
        image, truth = sample.load()
        result = evaluate_sample(segmenter, image, truth)
        clicks, ious = clicked(published, image, truth)
        equal = clicks == result.clicks and np.allclose(ious, result.ious, rtol=0, atol=1e-9)
        same += equal
        counts.append((noc(ious, 0.9), noc(result.ious, 0.9)))
        print(  # noqa: T201
            f"  {sample.name}: {len(clicks)} and {len(result.clicks)} clicks, last IoU {ious[-1]:.4f} and "
            f"{result.ious[-1]:.4f}, {'equal' if equal else 'not equal'}",
            flush=True,
        )
    mean = np.mean(counts, axis=0)
    print(  # noqa: T201
        f"{same} of {len(samples)} objects: the same clicks and IoUs; NoC@90 published {mean[0]:.2f}, "
        f"ours {mean[1]:.2f}"
    )


def clicked(
    published: Published, image: np.ndarray, truth: np.ndarray
) -> tuple[tuple[Click, ...], list[float]]:
    """The published predictor under the literature's loop: of one click the best mask, then the logits before."""
    published.predictor.set_image(image)
    clicks: tuple[Click, ...] = ()
    region, before, ious = np.zeros(truth.shape, dtype=bool), None, [0.0]
    while len(clicks) < CLICKS and ious[-1] < TARGET:
        click = center_click(region, truth, clicks)
        if click is None:
            break
        clicks = (*clicks, click)
        full, quality, low = predict(published, Prompt(clicks), before, truth.shape)
        best = int(np.argmax(quality))
        before, region = np.clip(low[best], -LIMIT, LIMIT), full[best] > 0
        ious.append(iou(truth, region))
    return clicks, ious[1:]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("npz", type=Path, nargs="?")
    parser.add_argument("--samples", type=Path)
    parser.add_argument("--weights", type=Path, help="a published file, instead of random weights")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=10)
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(options.checkout))
    stand_in()
    warnings.simplefilter("ignore")
    torch.set_flush_denormal(True)
    variant, small, full = NETWORKS[options.network]
    if options.samples is not None:
        published = full()
        weights = read_checkpoint(options.weights)[0] if options.weights else None
        samples = read_samples(options.samples)[options.first :][: options.count]
        evaluate(published, ours(published, variant, tiny=False, weights=weights), samples)
        return
    npz = options.npz or DATA / f"sam_{options.network}.npz"
    if small is not None:
        np.savez_compressed(npz, **compare(small(), variant, tiny=True))
    more = compare(full(), variant, tiny=False)
    if small is None:
        np.savez_compressed(npz, **more)


if __name__ == "__main__":
    main()
