"""Make tests/model_zoo/segmenters/data/simpleclick.npz: the published SimpleClick on random weights, and compare.

Usage: python scripts/parity_simpleclick.py CHECKOUT [NPZ] [--samples CSV], where CHECKOUT is a clone of
github.com/uncbiag/SimpleClick (commit f33112e). It saves checkpoints as the published code does, reads them as
ClickPick does, and prints the largest differences: of the networks, of answers to sequences of clicks, and, with
samples, of whole evaluations. mmcv 1.x, which the clone imports, need not be installed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv_stand_ins
import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from model_zoo.checkpoints import read_checkpoint  # noqa: E402
from model_zoo.evaluation.noc import evaluate_sample  # noqa: E402
from model_zoo.evaluation.samples import IGNORE, Sample, read_samples  # noqa: E402
from model_zoo.prompt import Prompt  # noqa: E402
from model_zoo.segmenters.predictor import ClickPredictor  # noqa: E402
from model_zoo.segmenters.predictor_maps import LIMIT, disk_maps  # noqa: E402
from model_zoo.segmenters.simpleclick import published_parameters  # noqa: E402
from model_zoo.segmenters.simpleclick_network import SimpleClickNetwork, Sizes  # noqa: E402
from model_zoo.segmenters.simpleclick_weights import SIZES, convert_simpleclick  # noqa: E402
from tests.model_zoo.segmenters import simpleclick_random as given  # noqa: E402

NPZ = ROOT / "tests/model_zoo/segmenters/data/simpleclick.npz"
THRESHOLD = 0.49


def prepare(checkout: Path) -> None:
    """Make the clone importable."""
    for name, kind in {"int": int, "float": float}.items():  # names that NumPy had
        if name not in np.__dict__:
            setattr(np, name, kind)
    mmcv_stand_ins.install()
    sys.path.insert(0, str(checkout))


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def published(size: str) -> Any:
    """The published network as its training scripts build it, with reproducible weights."""
    sizes = SIZES[size]
    from isegm.model.is_plainvit_model import PlainVitModel  # noqa: PLC0415
    from isegm.model.modeling.transformer_helper.cross_entropy_loss import CrossEntropyLoss  # noqa: PLC0415

    channels = list(sizes.pyramid)
    model = PlainVitModel(
        use_disks=True,
        norm_radius=5,
        with_prev_mask=True,
        backbone_params={
            "img_size": (448, 448), "patch_size": (sizes.patch,) * 2, "in_chans": 3, "embed_dim": sizes.width,
            "depth": sizes.depth, "num_heads": sizes.heads, "mlp_ratio": 4, "qkv_bias": True,
        },
        neck_params={"in_dim": sizes.width, "out_dims": channels},
        head_params={
            "in_channels": channels, "in_index": [0, 1, 2, 3], "dropout_ratio": 0.1, "num_classes": 1,
            "loss_decode": CrossEntropyLoss(), "align_corners": False, "upsample": "x1", "channels": sizes.head,
        },
        random_split=False,
    )  # fmt: skip
    seed, state = given.SEEDS[size], model.state_dict()
    model.load_state_dict({name: given.tensor(name, value.shape, seed) for name, value in state.items()})
    return model.eval().requires_grad_(False)


def ours(model: Any, sizes: Sizes) -> SimpleClickNetwork:
    """Our network from the file that the published code writes of its own."""
    from isegm.utils.misc import save_checkpoint  # noqa: PLC0415

    network = SimpleClickNetwork(sizes)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(model, Path(folder), verbose=False)
        tensors, config = read_checkpoint(Path(folder) / "last_checkpoint.pth")
        network.load_state_dict(convert_simpleclick(sizes, tensors, config))
    return network.eval().requires_grad_(False)


def forward(model: Any, network: SimpleClickNetwork, side: int) -> np.ndarray:
    """The published logits (side, side) of one input; prints how far ours are, and that the numbers mean something."""
    image, before = given.network_input(side)
    signs = [[point for point in given.POINTS if point[2] is sign] for sign in (True, False)]
    points = torch.tensor([[(*point[:2], 0.0) for sign in signs for point in sign]])
    resize_positions(model, side)
    expected = model(torch.cat((image, before), dim=1), points)["instances"][0, 0].numpy()
    maps = disk_maps(given.POINTS, side, side, 5)[None]
    got, no_clicks, no_mask = (
        network(torch.cat((image, mask), dim=1), disks)[0, 0].numpy()
        for mask, disks in ((before, maps), (before, 0 * maps), (0 * before, maps))
    )
    say(
        f"  {side}: largest difference {np.abs(got - expected).max():.1e}; quartiles of the logits "
        f"{np.percentile(expected, (0, 25, 50, 75, 100)).round(1)}; mean change without clicks "
        f"{np.abs(got - no_clicks).mean():.2f}, without a mask before {np.abs(got - no_mask).mean():.2f}"
    )
    return expected


def resize_positions(model: Any, side: int) -> None:
    from isegm.model.modeling.pos_embed import interpolate_pos_embed_inference  # noqa: PLC0415

    interpolate_pos_embed_inference(model.backbone, (side, side), "cpu")


def predictor(model: Any, side: int) -> Any:
    from isegm.inference.predictors import get_predictor  # noqa: PLC0415

    zoom = {"skip_clicks": -1, "target_size": (side, side)}
    resize_positions(model, side)
    return get_predictor(model, "NoBRS", "cpu", prob_thresh=THRESHOLD, zoom_in_params=zoom)


def sequence(model: Any, segmenter: ClickPredictor, side: int, scene: given.Scene) -> np.ndarray:
    """The published logits (clicks, H, W) of a sequence of clicks, shifted and cut off as ours are."""
    from isegm.inference import clicker as theirs  # noqa: PLC0415

    official, clicker, found, state = predictor(model, side), theirs.Clicker(), [], None
    official.set_input_image(scene.image)
    embedding = segmenter.encode(scene.image)
    for number, click in enumerate(scene.clicks, 1):
        clicker.add_click(theirs.Click(click.positive, (np.int64(click.row), np.int64(click.col))))
        probability = official.get_prediction(clicker).astype(np.float64)
        with np.errstate(divide="ignore"):
            logits = np.log(probability / (1 - probability)) - np.log(THRESHOLD / (1 - THRESHOLD))
        found.append(np.clip(logits, -LIMIT, LIMIT).astype(np.float32))
        mask = segmenter.decode(embedding, Prompt(scene.clicks[:number]), state)
        state = mask.state
        say(
            f"    click {number}: largest difference {np.abs(mask.logits - found[-1]).max():.1e}, "
            f"object {(found[-1] > 0).mean():.0%}, window {state.window}"
        )
    return np.stack(found)


class InDouble(torch.nn.Module):
    """The network of either side in double precision: then no order of sums decides about pixels at the threshold."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network.double()
        self.with_prev_mask = True

    def forward(self, image: torch.Tensor, clicks: torch.Tensor) -> Any:
        answer = self.network(image.double(), clicks)
        return {"instances": answer["instances"].float()} if isinstance(answer, dict) else answer.float()


def evaluate(model: Any, network: SimpleClickNetwork, samples: Sequence[Sample]) -> None:
    """Click objects as each evaluation does, both in double precision, and count where all clicks are the same."""
    segmenter = ClickPredictor("double", InDouble(network), "", parameters=published_parameters())
    official = predictor(model, 448)
    official.net = InDouble(official.net)
    same = 0
    for sample in samples:
        image, truth = sample.load()
        result = evaluate_sample(segmenter, image, truth)
        clicks, ious = official_evaluation(official, image, truth)
        found = [(int(click.row), int(click.col), click.positive) for click in result.clicks]
        equal = found == clicks and np.allclose(ious, result.ious, rtol=0, atol=1e-9)
        same += equal
        say(
            f"    {sample.name}: {len(clicks)} clicks, last IoU {ious[-1]:.4f}, {'equal' if equal else 'not equal'}"
        )
    say(f"  {same} of {len(samples)} objects: the same clicks and IoUs")


def official_evaluation(
    official: Any, image: np.ndarray, truth: np.ndarray
) -> tuple[list[tuple[int, int, bool]], list[float]]:
    """The published loop, without the parts that read data sets."""
    from isegm.inference.clicker import Clicker  # noqa: PLC0415

    target = np.where(truth == IGNORE, -1, truth.astype(np.int32))
    clicker, mask, ious = Clicker(gt_mask=target), np.zeros(truth.shape, dtype=bool), []
    official.set_input_image(image)
    while len(ious) < 20 and not (ious and ious[-1] >= 0.90):
        clicker.make_next_click(mask)
        mask = official.get_prediction(clicker) > THRESHOLD
        counts = target != -1
        union = ((mask | (target == 1)) & counts).sum()
        ious.append(float((mask & (target == 1)).sum() / union))
    return [(int(c.coords[0]), int(c.coords[1]), bool(c.is_positive)) for c in clicker.clicks_list], ious


def compare(size: str, samples: Sequence[Sample]) -> dict[str, np.ndarray]:
    """All comparisons of one size; returns what is stored."""
    stored = {}
    network = ours(published(size), SIZES[size])
    say(f"{size}: {sum(value.numel() for value in network.parameters()):,} parameters that run")
    for side in given.FORWARD:
        logits = forward(published(size), network, side)
        stored[f"{size}_{side}"] = logits[:: given.STRIDE, :: given.STRIDE]
    for side, scene in given.SCENES.items():
        segmenter = ClickPredictor(size, network, "", parameters=published_parameters(side))
        say(f"  {scene.image.shape[0]}x{scene.image.shape[1]}, seen at {side}")
        answers = sequence(published(size), segmenter, side, scene)
        stored[f"{size}_clicks_{side}"] = answers[:, :: given.STRIDE, :: given.STRIDE]
    if samples:
        evaluate(published(size), network, samples)
    return stored


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkout", type=Path)
    parser.add_argument("npz", type=Path, nargs="?", default=NPZ)
    parser.add_argument("--samples", type=Path)
    parser.add_argument("--objects", default="0:10", metavar="FIRST:END", help="of the samples")
    parser.add_argument("--sizes", default="xtiny,b")
    options = parser.parse_args(arguments)
    prepare(options.checkout)
    chosen = slice(*map(int, options.objects.split(":")))
    samples = read_samples(options.samples)[chosen] if options.samples else ()
    stored: dict[str, np.ndarray] = {}
    with torch.inference_mode():
        for name in options.sizes.split(","):
            stored.update(compare(name, samples))
    np.savez_compressed(options.npz, **stored)


if __name__ == "__main__":
    main(sys.argv[1:])
