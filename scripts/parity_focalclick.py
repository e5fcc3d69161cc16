"""Make tests/model_zoo/segmenters/data/focalclick.npz: the published FocalClick on random weights, and compare.

Usage: python scripts/parity_focalclick.py CHECKOUT [NPZ] [--samples CSV --first N --count N --double]; CHECKOUT is
a clone of github.com/XavierCHEN34/ClickSEG (commit 0c801cf). It saves checkpoints as the published code does, reads
them as ClickPick does, and prints the largest differences: of the networks and their refiners, of answers to sequences
of clicks, with a mask to start from and without, and, with samples, of whole evaluations.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import published_focalclick as theirs  # noqa: E402

from model_zoo.checkpoints import read_checkpoint  # noqa: E402
from model_zoo.evaluation.noc import evaluate_sample  # noqa: E402
from model_zoo.evaluation.samples import Sample, read_samples  # noqa: E402
from model_zoo.prompt import Prompt  # noqa: E402
from model_zoo.segmenters.focalclick_network import SIDE, FocalClickNetwork  # noqa: E402
from model_zoo.segmenters.focalclick_segmenter import FocalClick  # noqa: E402
from model_zoo.segmenters.focalclick_weights import VARIANTS, build_network, convert_focalclick  # noqa: E402
from model_zoo.segmenters.predictor_maps import LIMIT  # noqa: E402
from tests.model_zoo.segmenters import focalclick_random as given  # noqa: E402

ANSWERED = 6  # clicks from a mask to start from
NPZ = ROOT / "tests/model_zoo/segmenters/data/focalclick.npz"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def published(variant: str) -> tuple[Any, np.ndarray]:
    """The published network with reproducible weights, and the last layer that was fitted to them."""
    model = theirs.network(variant)
    state = {name: given.tensor(name, value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(state)
    model.eval().requires_grad_(False)
    head = fit_last_layer(model)
    model.load_state_dict(given.last_layer(variant, head), strict=False)
    return model, head


def fit_last_layer(model: Any) -> np.ndarray:
    """Weights and bias by which a random network answers clicks somehow: least squares on its features.

    Wanted is the disk of the picture, with what lies around positive clicks, without what lies around negative ones.
    """
    features, wanted, rng = [], [], np.random.default_rng(1)
    rows, cols = np.mgrid[:SIDE, :SIDE]
    for number in range(20):
        points = [(*rng.uniform(0, SIDE, 2), bool(sign)) for sign in (1, 0, 1, 0, 1, 0)[: 1 + number % 6]]
        before = given.previous(SIDE) if number % 2 else torch.zeros(1, SIDE, SIDE)
        inputs = torch.cat((given.pixels(100 + number, SIDE), before))[None]
        found = model(inputs, theirs.points_tensor(points).float())["feature"][0]
        truth = given.disk(SIDE, SIDE)
        for row, col, positive in points:
            truth[np.hypot(rows - row, cols - col) < 30] = positive
        step = SIDE // found.shape[-1]
        features.append(found.flatten(1).T)
        wanted.append(torch.from_numpy(truth[step // 2 :: step, step // 2 :: step] * 6.0 - 3.0).flatten())
    inputs = torch.cat(features).double()
    inputs = torch.cat((inputs, torch.ones(len(inputs), 1)), dim=1)
    matrix = inputs.T @ inputs
    matrix += 1e-3 * matrix.diagonal().mean() * torch.eye(len(matrix))
    return np.asarray(torch.linalg.solve(matrix, inputs.T @ torch.cat(wanted)), dtype=np.float32)


def ours(model: Any, variant: str) -> FocalClickNetwork:
    """Our network from the file that the published code writes of its own."""
    from isegm.utils.misc import save_checkpoint  # noqa: PLC0415

    chosen = VARIANTS[f"focalclick-{variant}"]
    network = build_network(chosen)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(model, Path(folder), verbose=False)
        tensors, config = read_checkpoint(Path(folder) / "last_checkpoint.pth")
        network.load_state_dict(convert_focalclick(chosen, tensors, config))
    return network.eval().requires_grad_(False)


def forward(model: Any, network: FocalClickNetwork) -> dict[str, np.ndarray]:
    """Published coarse and refined logits of one input; says how far ours are, and that the numbers mean something."""
    image, before, closer = given.pixels(11, SIDE), given.previous(SIDE), given.pixels(12, SIDE)
    points = theirs.points_tensor(given.POINTS)
    output = model(torch.cat((image, before))[None], points)
    top, left, bottom, right = given.BOX
    box = torch.tensor([[0.0, left, top, right, bottom]])
    refined = model.refine(closer[None], points, output["feature"], output["instances"], box)[
        "instances_refined"
    ]
    coarse, features = network.coarse(image, before, given.POINTS)
    fine = network.refine(closer, given.POINTS, output["instances"], output["feature"], given.BOX)
    say(
        f"  largest differences: coarse {_most(coarse - output['instances']):.1e}, features "
        f"{_most(features - output['feature']):.1e}, refined {_most(fine - refined):.1e}"
    )
    for what, logits in (("coarse", coarse), ("refined", fine)):
        say(f"  quartiles of the {what} logits {np.percentile(logits, (0, 25, 50, 75, 100)).round(1)}")
    changes = {
        "clicks": network.coarse(image, before, ())[0] - coarse,
        "a mask before": network.coarse(image, 0 * before, given.POINTS)[0] - coarse,
        "the image": network.coarse(0 * image, before, given.POINTS)[0] - coarse,
        "clicks (refined)": network.refine(closer, (), coarse, features, given.BOX) - fine,
        "features (refined)": network.refine(closer, given.POINTS, coarse, 0 * features, given.BOX) - fine,
    }
    said = ", ".join(f"{name} {_most(change):.2f}" for name, change in changes.items())
    say(f"  largest changes without {said}")
    return {"coarse": output["instances"][0, 0].numpy(), "refined": refined[0, 0].numpy()}


def _most(change: torch.Tensor) -> float:
    return float(change.abs().max())


def sequence(model: Any, checkout: Path, segmenter: FocalClick, scene: given.Scene) -> np.ndarray:
    """The published logits (clicks, H, W) of a sequence of clicks, cut off and signed by the mask as ours are."""
    official = theirs.Predictor(model, checkout, scene.image, scene.mask)
    embedding, state, found = segmenter.encode(scene.image), None, []
    for number, click in enumerate(scene.clicks, 1):
        probability, mask = official.click(int(click.row), int(click.col), click.positive)
        with np.errstate(divide="ignore"):
            logits = np.log(probability / (1.0 - probability.astype(np.float64)))
        logits = np.clip(logits, -LIMIT, LIMIT).astype(np.float32)
        found.append(np.where(mask, np.abs(logits), -np.abs(logits)))
        answer = segmenter.decode(embedding, Prompt(scene.clicks[:number], mask=scene.mask), state)
        state = answer.state
        say(
            f"    click {number}: largest difference {given.difference(answer.logits, found[-1]):.1e}, of "
            f"probabilities {np.abs(answer.state.probability - probability).max():.1e}, object {mask.mean():.0%}, "
            f"target {official.published.global_roi}, focus {official.published.focus_roi}"
        )
    return np.stack(found)


def answered_clicks(segmenter: FocalClick) -> np.ndarray:
    """Clicks (n, 3) on the started scene, all obeyed by the network; the published merge of others goes wrong."""
    found = [_answered_clicks(segmenter, seed=0)]
    while len(found[-1]) < ANSWERED and len(found) < 10:
        found.append(_answered_clicks(segmenter, seed=len(found)))
    return np.array(max(found, key=len))


def _answered_clicks(segmenter: FocalClick, seed: int) -> theirs.Pixels:
    """Sought where the network's last answer was another than the mask that was shown."""
    rng, scene, state = np.random.default_rng(seed), given.started_scene(), None
    embedding, shown, clicks = segmenter.encode(scene.image), scene.mask, []
    anywhere = np.argwhere(np.ones_like(shown))
    for _ in range(5 * ANSWERED):
        doubtful = np.argwhere((state.probability > theirs.THRESHOLD) != shown) if state else anywhere
        row, col = (int(place) for place in rng.choice(doubtful if len(doubtful) else anywhere))
        tried = [*clicks, (row, col, not shown[row, col])]
        prompt = Prompt(given.started_scene(tried).clicks, mask=scene.mask)
        answer = segmenter.decode(embedding, prompt, state)
        if (answer.logits[row, col] > 0) != shown[row, col]:
            clicks, state, shown = tried, answer.state, answer.logits > 0
        if len(clicks) == ANSWERED:
            break
    return clicks


def in_double(network: torch.nn.Module) -> None:
    """Let it compute in double precision: then no order of sums decides about pixels at the threshold."""

    def widen(_: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(value.double() if torch.is_tensor(value) else value for value in inputs)

    for part in network.double().modules():
        if next(part.parameters(recurse=False), None) is not None:
            part.register_forward_pre_hook(widen)


def evaluate(model: Any, checkout: Path, segmenter: FocalClick, samples: Sequence[Sample]) -> None:
    """Click objects as each evaluation does, and count those on which both agree click by click."""
    same = total = 0
    for sample in samples:
        image, truth = sample.load()
        result = evaluate_sample(segmenter, image, truth)
        clicks, ious = theirs.Predictor(model, checkout, image, None).evaluate(truth)
        mine = [(int(click.row), int(click.col), click.positive) for click in result.clicks]
        equal = mine == clicks and np.allclose(ious, result.ious, atol=1e-6)
        same, total = same + equal, total + 1
        say(f"    {sample.name}: {len(clicks)} clicks, last IoU {ious[-1]:.4f}, {'equal' if equal else mine}")
    say(f"  {same} of {total} objects: the same clicks and the same IoUs")


def compare(variant: str, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """All comparisons of one network; returns what is stored."""
    model, head = published(variant)
    network, state = ours(model, variant), model.state_dict()
    size = sum(value.numel() for value in network.parameters())
    say(f"{variant}: {size:,} parameters that run, {len(state)} published tensors")
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    stored = {f"{variant}_head": head, f"{variant}_shapes": np.array(json.dumps(shapes))}
    step = given.STRIDE
    for what, logits in forward(model, network).items():
        stored[f"{variant}_{what}"] = logits[::step, ::step]
    segmenter = FocalClick(variant, network, "", parameters=FocalClick.published)
    clicks = answered_clicks(segmenter)
    answers = {}
    for name, scene in (given.SCENES | {"started": given.started_scene(clicks)}).items():
        say(f"  {name}, {scene.image.shape[0]}x{scene.image.shape[1]}")
        answers[f"{variant}_{name}"] = sequence(model, options.checkout, segmenter, scene)[:, ::step, ::step]
    if variant in given.LOOPS:
        stored |= {f"{variant}_clicks": clicks} | answers
    if options.samples is not None:
        chosen = read_samples(options.samples)[options.first : options.first + options.count]
        if options.double:
            theirs.align_in_double()
            in_double(model)
            in_double(network)
        evaluate(model, options.checkout, segmenter, chosen)
    return stored


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkout", type=Path)
    parser.add_argument("npz", type=Path, nargs="?", default=NPZ)
    parser.add_argument("--samples", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--double", action="store_true", help="evaluate in double precision, which is slow")
    parser.add_argument("--variants", default=",".join(given.VARIANT_NAMES))
    options = parser.parse_args(arguments)
    torch.set_flush_denormal(True)
    theirs.prepare(options.checkout)
    stored: dict[str, np.ndarray] = dict(np.load(options.npz)) if options.npz.exists() else {}
    with torch.inference_mode():
        for variant in options.variants.split(","):
            stored.update(compare(variant, options))
    np.savez_compressed(options.npz, **stored)


if __name__ == "__main__":
    main(sys.argv[1:])
