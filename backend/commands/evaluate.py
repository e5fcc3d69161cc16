"""``clickpick evaluate``: how good a model is, measured on one's own images with masks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.commands.evaluate_output import ERR, check_outputs, measured_on, progress_bar, write_json
from backend.commands.evaluate_pixels import pixels
from backend.commands.failures import expected_failures, torch_device
from backend.settings import Settings
from model_zoo.errors import BadInput

if TYPE_CHECKING:
    from model_zoo.evaluation.noc import SampleResult
    from model_zoo.evaluation.samples import Sample
    from model_zoo.segmenters.base import Segmenter
    from model_zoo.weights import WeightSource

app = typer.Typer(no_args_is_help=True, help="Measure models on your own images with masks.")
app.command()(pixels)


class Repair(Enum):
    """What follows the segmenter: nothing, or the GP posterior head that honours every click."""

    NONE = "none"
    GP = "gp"


class Place(Enum):
    """Where the simulated annotator clicks."""

    CENTER = "center"
    HUMAN = "human"


@dataclass(frozen=True)
class Plan:
    """What is measured: up to ``max_clicks`` clicks until ``target``; a run a seed, or one at the centre.

    ``random_weights``: of networks; what comes out then compares code with code and says nothing of a model.
    """

    max_clicks: int
    target: float
    repair: Repair
    place: Place
    seeds: int
    random_weights: bool = False

    @property
    def runs(self) -> int:
        return self.seeds if self.place is Place.HUMAN else 1

    def check(self) -> None:
        """BadInput for numbers that make no sense."""
        for name, value in (("--max-clicks", self.max_clicks), ("--seeds", self.seeds)):
            if value < 1:
                raise BadInput(f"{name} is {value}; expected at least 1")
        if not 0 < self.target <= 1:
            raise BadInput(f"--target is {self.target}; expected an IoU above 0, at most 1")


@app.command()
def clicks(
    *,
    samples: Annotated[
        Path, typer.Option(help="csv file with columns name, image, mask (files relative to it)")
    ],
    segmenter: Annotated[
        list[str],
        typer.Option(help="name of a segmenter, or NAME:FILE of trained weights; may be given several times"),
    ],
    max_clicks: Annotated[int, typer.Option(help="clicks an object at most")] = 20,
    target: Annotated[float, typer.Option(help="IoU at which an object is finished")] = 0.90,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="write all figures of all samples here")
    ] = None,
    repair: Annotated[Repair, typer.Option(help="last step behind the segmenter")] = Repair.NONE,
    plot: Annotated[Path | None, typer.Option(help="draw mean IoU after k clicks (.png, .svg, .pdf)")] = None,
    clicker: Annotated[Place, typer.Option(help="the protocol's clicks, or scattered ones")] = Place.CENTER,
    seeds: Annotated[int, typer.Option(help="runs of the scattered clicks")] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N")] = "auto",
    random_weights: Annotated[
        bool,
        typer.Option("--random-weights", help="of networks, to compare code with code; figures mean nothing"),
    ] = False,
) -> None:
    """Count the clicks that segmenters need (NoC); the last line of the output is JSON, one line a segmenter."""
    plan = Plan(max_clicks, target, repair, clicker, seeds, random_weights)
    with expected_failures(lambda: ERR, "no file was written"):
        plan.check()
        check_outputs(json_file, plot)
        _evaluate(plan, *_inputs(samples, segmenter, device, plan.random_weights), json_file, plot)


def _evaluate(
    plan: Plan,
    samples: list[Sample],
    segmenters: Iterable[Segmenter],
    json_file: Path | None,
    plot: Path | None,
) -> None:
    """A line of standard output a segmenter, as soon as it is measured; the files at the end."""
    records: list[dict[str, Any]] = []
    curves: dict[str, tuple[float, ...]] = {}
    for segmenter in segmenters:
        record, curve = _measure(segmenter, samples, plan)
        _beside_the_published(record)
        records.append(record)
        curves[_label(segmenter, plan)] = curve
        line = {name: value for name, value in record.items() if name not in ("curve", "results")}
        typer.echo(json.dumps(line))
        del segmenter  # before the next one is built
    if json_file is not None:
        write_json(json_file, {"runs": records})
    if plot is not None:
        from model_zoo.evaluation.plot import draw_curves  # noqa: PLC0415 - matplotlib is optional

        draw_curves(curves, plot, target=plan.target)


def _inputs(
    samples: Path, names: list[str], device: str, random_weights: bool
) -> tuple[list[Sample], Iterator[Segmenter]]:
    """The samples, and the segmenters one after another: together they might not fit into memory.

    Nothing is wrong with any of them when the first is measured.
    """
    from model_zoo.evaluation.samples import check_samples, read_samples  # noqa: PLC0415 - each imports its own
    from model_zoo.registry import open_segmenter  # noqa: PLC0415
    from model_zoo.weights import WeightSource  # noqa: PLC0415

    listed = read_samples(samples)
    chosen = torch_device(device)
    source = WeightSource(random=True) if random_weights else WeightSource(Settings().weights_folder)
    for name in names:
        if not _can_be_built(name, source):
            open_segmenter(name, chosen, source)
    with progress_bar() as progress:
        bar = progress.add_task("checking the samples", total=len(listed))
        check_samples(listed, lambda: progress.advance(bar))
    return listed, (open_segmenter(name, chosen, source) for name in names)


def _can_be_built(name: str, source: WeightSource) -> bool:
    """Whether a model of that name has its weights at hand; False for what only building shows."""
    from model_zoo.registry import find_model  # noqa: PLC0415
    from model_zoo.weights import locate  # noqa: PLC0415

    info = find_model(name, "segmenter")
    if info is None:
        return False
    for spec in info.weights:
        if not (source.random and spec.published):
            locate(spec, source.folder)
    return True


def _beside_the_published(record: dict[str, Any]) -> None:
    """Published figures next to those measured, at a terminal and elsewhere; where there are any."""
    from model_zoo.modifiers import split_name  # noqa: PLC0415

    if record["published"]:
        ours = f"NoC@85/90 {record['noc85']}/{record['noc90']}"
        name = record["segmenter"]
        base, _ = split_name(name)
        text = (
            f"{name}: {ours} on these {record['samples']} samples; published of {base}: {record['published']}"
        )
        ERR.print(text, highlight=False, markup=False, soft_wrap=True)


def _published(segmenter: Segmenter, random_weights: bool) -> str:
    """Figures that the authors state for these weights."""
    from model_zoo.registry import find_model  # noqa: PLC0415

    info = None if random_weights else find_model(segmenter.name, "segmenter")
    return "" if info is None else "; ".join(spec.expected for spec in info.weights if spec.expected)


def _measure(
    segmenter: Segmenter, samples: list[Sample], plan: Plan
) -> tuple[dict[str, Any], tuple[float, ...]]:
    """All that is known of one segmenter, as JSON values, and its curve."""
    from model_zoo.evaluation.summary import summarise  # noqa: PLC0415

    runs = _runs(segmenter, samples, plan)
    summary = summarise(runs, plan.target, plan.max_clicks)
    record = {
        "segmenter": segmenter.name,
        "random_weights": plan.random_weights,
        "published": _published(segmenter, plan.random_weights),
        "repair": plan.repair.value,
        "clicker": plan.place.value,
        "seeds": plan.runs if plan.place is Place.HUMAN else None,
        "target": plan.target,
        "max_clicks": plan.max_clicks,
        **summary.as_json(),
        **measured_on(),
        "curve": [round(value, 4) for value in summary.curve],
        "results": [{"seed": seed, **asdict(result)} for seed, run in enumerate(runs) for result in run],
    }
    return record, summary.curve


def _runs(segmenter: Segmenter, samples: list[Sample], plan: Plan) -> list[list[SampleResult]]:
    """Results of each run, sample by sample; an image is read and encoded once for all runs."""
    from model_zoo.evaluation.clicker import Clicker, HumanClicker, center_click  # noqa: PLC0415
    from model_zoo.evaluation.noc import click_through, encode, noc, repaired  # noqa: PLC0415

    label = _label(segmenter, plan)
    segmenter = repaired(segmenter, plan.repair.value)
    runs: list[list[SampleResult]] = [[] for _ in range(plan.runs)]
    total = 0
    with progress_bar() as progress:
        bar = progress.add_task(label, total=len(samples) * plan.runs)
        for number, sample in enumerate(samples):
            image, truth = sample.load()
            embedding, seconds = encode(segmenter, image)
            for seed, run in enumerate(runs):
                human = plan.place is Place.HUMAN
                clicker: Clicker = HumanClicker(seed, sample.name) if human else center_click
                result = click_through(
                    segmenter,
                    embedding,
                    truth,
                    name=sample.name,
                    max_clicks=plan.max_clicks,
                    target=plan.target,
                    clicker=clicker,
                    encode_seconds=seconds,
                )
                run.append(result)
                total += noc(result.ious, plan.target, plan.max_clicks)
                mean = total / (number * plan.runs + seed + 1)
                progress.update(bar, advance=1, description=f"{label}: {mean:.2f} clicks")
    return runs


def _label(segmenter: Segmenter, plan: Plan) -> str:
    added = plan.repair is Repair.GP and not segmenter.name.endswith("+gp")
    return f"{segmenter.name}+gp" if added else segmenter.name
