"""``clickpick train-clicks`` and ``clickpick pretrain``: click models from one's own images."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.commands.failures import INTERRUPTED, expected_failures
from model_zoo.errors import BadInput

if TYPE_CHECKING:
    from backend.commands.training_run import Outputs
    from model_zoo.training.held_out import HeldOutRegion
    from model_zoo.training.trainer import ClickTrainer

SMOOTHNESS = 1.0
"""Weight of the smoothness loss where regions alone teach. Not tuned: the paper's 10 belongs to its published code,
which takes differences of logits; of probabilities, with truer colours, they mean something else."""
SELF_SMOOTHNESS = 0.5
"""The same where the model's own answers teach too, whose borders follow the photograph. Not tuned either."""
ADAPTING = 0.2
"""Share of the learning rates where training starts from trained weights, so that minutes refine them."""

Steps = Annotated[int | None, typer.Option(min=1, help="train for so many steps")]
Seed = Annotated[int, typer.Option(min=0, help="same seed, data and steps: same weights")]
Device = Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N")]
Views = Annotated[int, typer.Option(min=1, help="images of a batch")]
Objects = Annotated[int, typer.Option(min=1, help="objects in each of them")]
Side = Annotated[
    int | None,
    typer.Option(min=32, help="pixels of an image's side, a multiple of 32; 320, for gpcis-resnet50 256"),
]


def train_clicks(
    *,
    data: Annotated[
        list[str],
        typer.Option(
            help="folder with images/ and masks/, regions/ or ids/; FOLDER=0.5 for its share of the draws"
        ),
    ],
    out: Annotated[Path, typer.Option(help="folder for checkpoint, log and weights")],
    exclude: Annotated[Path | None, typer.Option(help="file with images to leave out, one a line")] = None,
    segmenter: Annotated[
        str,
        typer.Option(
            help="which to train: clicknet, clicknet-mis or gpcis-resnet50, whose trunk starts from timm's ImageNet "
            "weights where an earlier download left them on this disk, else from random ones"
        ),
    ] = "clicknet",
    steps: Steps = None,
    minutes: Annotated[float | None, typer.Option(help="train for so many minutes")] = None,
    trees: Annotated[bool, typer.Option(help="also learn from regions found without labels (MIS)")] = True,
    masks: Annotated[bool, typer.Option(help="learn from the folders' masks and regions")] = True,
    init: Annotated[str, typer.Option(help="weights to start from: a .safetensors file or a name")] = "",
    trained_stages: Annotated[
        int, typer.Option(min=0, max=7, help="last stages of clicknet's encoder to train")
    ] = 0,
    seed: Seed = 0,
    device: Device = "auto",
    views: Views = 6,
    objects: Objects = 2,
    side: Side = None,
) -> None:
    """Train a click model on folders of images with masks; resumes by itself; the last line is JSON."""
    from backend.commands import training_data  # noqa: PLC0415 - seconds to import
    from backend.commands.training_plan import Plan, make_trainer  # noqa: PLC0415
    from backend.commands.training_run import AGAIN, Outputs, console, grown_trees, joined  # noqa: PLC0415
    from model_zoo.training.recipes import find_recipe, slower  # noqa: PLC0415

    recipe = find_recipe(segmenter)
    policy = slower(recipe.policy, ADAPTING) if init else recipe.policy
    if not masks:
        policy = replace(policy, smoothness=SMOOTHNESS)
    plan = Plan(segmenter, steps, minutes, seed, views, objects, side or recipe.side)
    with expected_failures(console, AGAIN), joined(device) as chosen:
        plan.check()
        if not (trees or masks):
            raise BadInput("--no-trees and --no-masks leave nothing to learn from; leave one of them out")
        outputs = Outputs(out, segmenter)
        outputs.make()
        pictures = training_data.sources(data, exclude, masks and not trees)
        grown = (
            training_data.readable(grown_trees([picture for picture, _ in pictures], outputs, chosen))
            if trees
            else {}
        )
        trainer = make_trainer(
            plan,
            replace(policy, steps=steps, minutes=minutes, seed=seed),
            training_data.start_network(segmenter, init, trained_stages, seed),
            pictures,
            grown,
            supervised=masks,
            device=chosen,
            settings={"init": training_data.init_digest(init), "trained_stages": trained_stages},
        )
        _finish(trainer, outputs, {"images": len(pictures), "trees": len(grown)})


def pretrain(
    *,
    images: Annotated[Path | None, typer.Option(help="folder of images; no labels needed")] = None,
    project: Annotated[int | None, typer.Option(min=1, help="or a project of Label Studio")] = None,
    segmenter: Annotated[str, typer.Option(help="which to train, from its packaged weights")] = "clicknet",
    minutes: Annotated[float | None, typer.Option(help="train for so many minutes")] = None,
    steps: Steps = None,
    out: Annotated[Path, typer.Option(help="folder for region trees, checkpoint, log, weights")] = Path(
        "pretrained"
    ),
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="start from the ImageNet encoder alone")
    ] = False,
    self_train: Annotated[
        bool, typer.Option("--self-train", help="also learn from the model's own answers to clicks")
    ] = False,
    regions: Annotated[int, typer.Option(min=1, help="regions kept aside to measure on, at most")] = 50,
    seed: Seed = 0,
    device: Device = "auto",
    views: Views = 6,
    objects: Objects = 2,
    side: Side = None,
) -> None:
    """Adapt a click model to images without labels (MIS) and measure it before and after; the last line is JSON."""
    from backend.commands import training_data  # noqa: PLC0415 - seconds to import
    from backend.commands.training_plan import Plan, make_trainer  # noqa: PLC0415
    from backend.commands.training_run import (  # noqa: PLC0415
        AGAIN,
        Outputs,
        console,
        copied,
        grown_trees,
        joined,
        own_answers,
    )
    from model_zoo.training.held_out import draw_regions, keep_aside  # noqa: PLC0415
    from model_zoo.training.recipes import find_recipe, slower  # noqa: PLC0415

    recipe = find_recipe(segmenter)
    plan = Plan(segmenter, steps, minutes, seed, views, objects, side or recipe.side)
    with expected_failures(console, AGAIN), joined(device) as chosen:
        plan.check()
        if from_scratch and self_train:
            raise BadInput(
                "--from-scratch and --self-train are both given; an encoder alone cannot answer clicks; "
                "leave one of them out"
            )
        outputs = Outputs(out, segmenter)
        outputs.make()
        network = training_data.start_network(segmenter, "" if from_scratch else segmenter, 0, seed)
        pictures, lost = training_data.unlabelled(images, project, outputs)
        readable = [one for one in grown_trees(pictures, outputs, chosen) if one.tree is not None]
        skipped = lost + len(pictures) - len(readable)
        _warn_skipped(skipped)
        learnt, kept = keep_aside(readable)
        asked = draw_regions(kept, regions)
        before = _score("before", segmenter, network, asked, chosen)
        answers = None
        if self_train:
            answers = own_answers(learnt, copied(segmenter, network, chosen), outputs, seed)
        policy = recipe.policy if from_scratch else slower(recipe.policy, ADAPTING)
        policy = replace(policy, smoothness=SELF_SMOOTHNESS if self_train else SMOOTHNESS)
        trainer = make_trainer(
            plan,
            replace(policy, steps=steps, minutes=minutes, seed=seed),
            network,
            [(one.picture, 1.0) for one in learnt],
            {str(one.picture.image): one.tree for one in learnt if one.tree is not None},
            supervised=False,
            device=chosen,
            settings={
                "init": training_data.init_digest("" if from_scratch else segmenter),
                "self_train": self_train,
            },
            answers=answers,
        )
        facts = {
            "images": len(learnt),
            "kept_aside": len(kept),
            "skipped": skipped,
            "self_labelled": sum(len(regions) for regions in (answers or {}).values()),
        }
        _finish(
            trainer,
            outputs,
            facts,
            lambda trained: {"before": before, "after": _score("after", segmenter, trained, asked, chosen)},
        )


def _finish(
    trainer: ClickTrainer,
    outputs: Outputs,
    facts: dict[str, Any],
    measure: Callable[[Any], dict[str, Any]] = lambda _: {},
) -> None:
    """Train; then the first process writes the weights and one line of JSON. Exit code 130 when it was stopped."""
    from backend.commands.training_run import console, report, resume, train  # noqa: PLC0415 - as above
    from model_zoo.training.processes import processes  # noqa: PLC0415

    resumed_at = resume(trainer, outputs)
    if not train(trainer, outputs):
        raise typer.Exit(INTERRUPTED)
    if processes()[1] == 0:
        record = {**report(trainer, outputs, resumed_at), **facts, **measure(trainer.averaged)}
        use = f"use it: CLICKPICK_SEGMENTER={outputs.name}:{outputs.weights.absolute()}"
        console().print(use, highlight=False, markup=False, soft_wrap=True)
        typer.echo(json.dumps(record))


def _score(
    title: str, name: str, network: Any, regions: Sequence[HeldOutRegion], device: str
) -> dict[str, Any]:
    """Clicks that a copy of the network needs for the regions; only in the first process."""
    from backend.commands.training_run import bars, copied  # noqa: PLC0415 - as above
    from model_zoo.training.held_out import score_regions  # noqa: PLC0415
    from model_zoo.training.processes import processes  # noqa: PLC0415

    if processes()[1] != 0:
        return {}
    segmenter = copied(name, network, device)
    with bars(f"clicks {title}") as (progress, bar):
        scores = score_regions(
            segmenter, regions, lambda done: progress.update(bar, completed=done, total=len(regions))
        )
    return asdict(scores)


def _warn_skipped(count: int) -> None:
    from backend.commands.training_run import console  # noqa: PLC0415 - as above

    if count:
        console().print(f"warning: {count} images could not be read and are left out", style="yellow")
