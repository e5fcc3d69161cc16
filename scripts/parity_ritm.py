"""Make tests/model_zoo/segmenters/data/ritm.npz: the published RITM on random weights, and compare.

Usage: python scripts/parity_ritm.py CHECKOUT [NPZ], or, to compare whole evaluations instead,
python scripts/parity_ritm.py CHECKOUT --samples CSV [--skip N] [--count N] [--modes NoBRS,f-BRS-B] [--network NAME].
CHECKOUT is a clone of github.com/SamsungLabs/ritm_interactive_segmentation (commit b9b4460). It saves checkpoints as
the published code does, reads them as ClickPick does, and prints the largest differences: of the networks, of answers
to sequences of clicks, refined ones too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import types
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from model_zoo.checkpoints import read_checkpoint  # noqa: E402
from model_zoo.evaluation.noc import evaluate_sample, noc  # noqa: E402
from model_zoo.evaluation.samples import IGNORE, read_samples  # noqa: E402
from model_zoo.modifiers import apply_modifiers  # noqa: E402
from model_zoo.prompt import Prompt  # noqa: E402
from model_zoo.segmenters.predictor import PUBLISHED, ClickPredictor  # noqa: E402
from model_zoo.segmenters.predictor_maps import LIMIT, disk_maps  # noqa: E402
from model_zoo.segmenters.ritm_network import RitmNetwork  # noqa: E402
from model_zoo.segmenters.ritm_weights import NETWORKS, convert_ritm  # noqa: E402
from tests.model_zoo.segmenters import ritm_random as given  # noqa: E402

NPZ = ROOT / "tests/model_zoo/segmenters/data/ritm.npz"
THRESHOLD = 0.49
COMMON = {"use_leaky_relu": True, "use_rgb_conv": False, "use_disks": True, "norm_radius": 5}
HRNETS: dict[str, dict[str, Any]] = {
    "ritm-hrnet18s": {"width": 18, "ocr_width": 48, "small": True, "with_prev_mask": True},
    "ritm-hrnet18": {"width": 18, "ocr_width": 64, "with_prev_mask": True},
    "ritm-hrnet32": {"width": 32, "ocr_width": 128, "with_prev_mask": True},
    "ritm-hrnet18-baseline": {"width": 18, "ocr_width": 64},
}


def prepare(checkout: Path) -> None:
    """Make the clone importable without TensorBoard and without the packages by which it reads data sets."""
    for name in ("torch.utils.tensorboard", "isegm.data.datasets"):
        stand_in: Any = types.ModuleType(name)
        stand_in.__getattr__ = lambda _: object
        sys.modules[name] = stand_in
    for name, kind in {"int": int, "float": float}.items():  # names that NumPy had
        if name not in np.__dict__:
            setattr(np, name, kind)
    sys.path.insert(0, str(checkout))


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def published(name: str) -> Any:
    """The published network as its training scripts build it, with reproducible weights."""
    from isegm.model.is_deeplab_model import DeeplabModel  # noqa: PLC0415
    from isegm.model.is_hrnet_model import HRNetModel  # noqa: PLC0415

    if name in HRNETS:
        model = HRNetModel(with_aux_output=True, **HRNETS[name], **COMMON)
    else:
        model = DeeplabModel(backbone="resnet34", deeplab_ch=128, aspp_dropout=0.2, **COMMON)
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    model.load_state_dict(given.published_state(name, shapes))
    return model.eval().requires_grad_(False)


def ours(model: Any, name: str) -> RitmNetwork:
    """Our network from the file that the published code writes of its own."""
    from isegm.utils.misc import save_checkpoint  # noqa: PLC0415

    network = NETWORKS[name]()
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(model, Path(folder), verbose=False)
        tensors, config = read_checkpoint(Path(folder) / "last_checkpoint.pth")
        network.load_state_dict(convert_ritm(NETWORKS[name], tensors, config))
    say(
        f"{name}: {sum(value.numel() for value in network.parameters()):,} parameters, {len(tensors)} tensors"
    )
    return network.eval().requires_grad_(False)


@torch.inference_mode()
def forward(model: Any, network: RitmNetwork, height: int, width: int, seed: int) -> np.ndarray:
    """The published logits (height, width) of one input; prints how far ours are, and that they mean something."""
    image = given.network_input(height, width, seed)
    signs = [[point for point in given.POINTS if point[2] is sign] for sign in (True, False)]
    points = torch.tensor([[(*point[:2], 0.0) for sign in signs for point in sign]])
    seen = image if network.remembers else image[:, :3]
    expected: np.ndarray = model(seen, points)["instances"][0, 0].numpy()
    maps = disk_maps(given.POINTS, height, width, 5)[None]
    grey, forgotten = image.clone(), image.clone()
    grey[:, :3], forgotten[:, 3:] = 0.5, 0.0
    got, no_clicks, no_mask, no_image = (
        network(pixels, disks)[0, 0].numpy()
        for pixels, disks in ((image, maps), (image, 0 * maps), (forgotten, maps), (grey, maps))
    )
    changes = [f"{np.abs(got - other).mean():.2f}" for other in (no_clicks, no_mask, no_image)]
    say(
        f"  {height}x{width}: largest difference {np.abs(got - expected).max():.1e}; quartiles of the logits "
        f"{np.percentile(expected, (0, 25, 50, 75, 100)).round(1)}; mean change without clicks, mask before, image: "
        f"{', '.join(changes)}"
    )
    return expected


def predictor(model: Any, mode: str = "NoBRS", zoom: Mapping[str, Any] | None = None, most: int = 20) -> Any:
    """most: evaluations of the network in refining one answer."""
    from isegm.inference.predictors import get_predictor  # noqa: PLC0415

    given_zoom = None if zoom is None else dict(zoom)
    return get_predictor(
        model, mode, "cpu", prob_thresh=THRESHOLD, zoom_in_params=given_zoom, lbfgs_params={"maxfun": most}
    )


def shifted(probability: np.ndarray) -> np.ndarray:
    """Logits as ours: 0 at the threshold, and cut off."""
    exact = probability.astype(np.float64)
    with np.errstate(divide="ignore"):
        logits = np.log(exact / (1 - exact)) - np.log(THRESHOLD / (1 - THRESHOLD))
    return np.clip(logits, -LIMIT, LIMIT).astype(np.float32)


@torch.no_grad()
def sequence(model: Any, network: RitmNetwork, name: str, scene: given.Scene) -> np.ndarray:
    """The published logits (clicks, H, W) of a sequence of clicks."""
    from isegm.inference import clicker as theirs  # noqa: PLC0415

    official = predictor(model, scene.mode, scene.zoom, scene.evaluations)
    clicker, found, state = theirs.Clicker(), [], None
    official.set_input_image(scene.image)
    segmenter = given.segmenter(network, scene)
    embedding = segmenter.encode(scene.image)
    say(f"  {name}: {scene.image.shape[0]}x{scene.image.shape[1]}")
    for number, click in enumerate(scene.clicks, 1):
        clicker.add_click(theirs.Click(click.positive, (int(click.row), int(click.col))))
        first = None
        if scene.mask is not None and number == 1:
            first = torch.from_numpy(scene.mask.astype(np.float32))[None, None]
            official.get_prediction(clicker, prev_mask=first)
        found.append(shifted(official.get_prediction(clicker, prev_mask=first)))
        mask = segmenter.decode(embedding, Prompt(scene.clicks[:number], mask=scene.mask), state)
        state = mask.state
        difference = np.abs(mask.logits - found[-1])
        say(
            f"    click {number}: largest difference {difference.max():.1e}, object {(found[-1] > 0).mean():.0%}, "
            f"of the window {state.window}"
        )
    return np.stack(found)


def evaluate(name: str, modes: Sequence[str], samples: Path, skip: int, count: int) -> None:
    """Click objects as each evaluation does, and count those where all clicks and all IoUs are the same."""
    network = ours(published(name), name)
    plain = ClickPredictor(name, network, "", parameters=PUBLISHED)
    for mode in modes:
        segmenter = apply_modifiers(plain, [] if mode == "NoBRS" else [mode.lower().replace("f-brs", "fbrs")])
        same, totals, seconds = 0, [], [0.0, 0.0]
        for sample in read_samples(samples)[skip : skip + count]:
            image, truth = sample.load()
            result, seconds[0] = timed(partial(evaluate_sample, segmenter, image, truth), seconds[0])
            official = predictor(published(name), mode, {})
            (clicks, ious), seconds[1] = timed(
                partial(official_evaluation, official, image, truth), seconds[1]
            )
            mine = [(int(click.row), int(click.col), click.positive) for click in result.clicks]
            equal = mine == clicks and np.allclose(ious, result.ious, atol=1e-6)
            same += equal
            totals.append((noc(result.ious, 0.9), noc(ious, 0.9), len(mine)))
            first = next((i for i, (a, b) in enumerate(zip(mine, clicks, strict=False), 1) if a != b), 0)
            note = "equal" if equal else f"first other click: {first}"
            say(f"    {sample.name}: {len(clicks)} clicks, last IoU {ious[-1]:.4f}, {note}")
        mean = np.mean(totals, axis=0)
        say(
            f"  {mode}: {same} of {len(totals)} objects with the same clicks and IoUs; NoC@90 {mean[0]:.2f}, theirs "
            f"{mean[1]:.2f}; {mean[2] * len(totals):.0f} clicks, {seconds[0]:.0f} s, theirs {seconds[1]:.0f} s"
        )


def timed(work: Callable[[], Any], before: float) -> tuple[Any, float]:
    started = time.perf_counter()
    result = work()
    return result, before + time.perf_counter() - started


@torch.no_grad()
def official_evaluation(
    official: Any, image: np.ndarray, truth: np.ndarray
) -> tuple[list[tuple[int, int, bool]], list[float]]:
    """The published loop, which stops at an IoU of 0.90."""
    from isegm.inference.evaluation import evaluate_sample as published_loop  # noqa: PLC0415

    if not hasattr(np, "bool"):
        np.bool = np.bool_
    target = np.where(truth == IGNORE, -1, truth.astype(np.int32))
    clicks, ious, _ = published_loop(image, target, official, 0.90)
    return [(int(c.coords[0]), int(c.coords[1]), bool(c.is_positive)) for c in clicks], list(map(float, ious))


def compare(name: str, scenes: Sequence[str]) -> dict[str, np.ndarray]:
    """All comparisons of one network; returns what is stored."""
    model, stored = published(name), {}
    network = ours(model, name)
    for height, width, seed in given.FORWARD:
        logits = forward(model, network, height, width, seed)
        stored[f"{name} {height}x{width}"] = logits[:: given.STRIDE, :: given.STRIDE]
    for scene in scenes:
        answers = sequence(model, network, scene, given.SCENES[scene])
        if not scene.endswith(given.NOT_STORED):
            stored[f"{name} {scene}"] = answers[:, :: given.STRIDE, :: given.STRIDE]
    return stored


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkout", type=Path)
    parser.add_argument("npz", type=Path, nargs="?", default=NPZ)
    parser.add_argument("--samples", type=Path)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--modes", default="NoBRS")
    parser.add_argument("--network", default="ritm-hrnet18s")
    options = parser.parse_args(arguments)
    prepare(options.checkout)
    torch.set_flush_denormal(True)
    if options.samples is not None:
        evaluate(options.network, options.modes.split(","), options.samples, options.skip, options.count)
        return
    stored: dict[str, np.ndarray] = {}
    for name, scenes in given.COMPARED.items():
        stored.update(compare(name, scenes))
    np.savez_compressed(options.npz, **stored)


if __name__ == "__main__":
    main(sys.argv[1:])
