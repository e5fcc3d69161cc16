"""``clickpick evaluate pixels``: the active-learning loop on images whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.commands.evaluate_output import ERR, check_outputs, measured_on, progress_bar, write_json
from backend.commands.evaluate_pixels_data import DataSet, Sources, read_data_set
from backend.commands.failures import expected_failures, torch_device
from backend.settings import Settings
from model_zoo.errors import BadInput

if TYPE_CHECKING:
    from backend.learning.simulate import BudgetResult, Plan
    from backend.learning.simulated_queries import Strategy
    from model_zoo.learners.base import Learner
    from model_zoo.learners.pyramid_cache import PyramidCache

    Run = tuple[Plan, Callable[[], Learner]]

RANDOM, COVERAGE = "random", "coverage"
SAME_ENCODER = ("probe-lite0", "probe-efficientnet-lite0")
"""Learners whose encoder passes serve a selection by coverage, too. Others would find the cache filled by it."""
FEATURE_BYTES = 2 << 30
"""Of the vectors at labelled pixels, which a probe keeps between the steps of a run."""

Ids = Annotated[list[int] | None, typer.Option(help="id that is no class; may be given several times")]
Served = Annotated[str | None, typer.Option(help="its name [default: the server's]")]


@dataclass(frozen=True)
class Method:
    """What is measured, by name; these are part of every line."""

    learner: str
    acquisition: str
    selection: str
    initial: str
    noise: float
    ask_void: bool
    budget_over: str

    @property
    def label(self) -> str:
        noise = f", {self.noise:.0%} wrong answers" if self.noise else ""
        initial = f", first {self.initial}" if self.initial != RANDOM else ""
        over = f", budget over the {self.budget_over}" if self.budget_over != "image" else ""
        return f"{self.learner}, {self.acquisition} + {self.selection}{initial}{over}{noise}"


def pixels(
    *,
    train_images: Annotated[Path, typer.Option(help="folder of the images in which pixels are asked for")],
    train_labels: Annotated[Path, typer.Option(help="folder of their label images, .png of the same stem")],
    test_images: Annotated[Path, typer.Option(help="folder of the images to measure on")],
    test_labels: Annotated[Path, typer.Option(help="folder of their label images")],
    classes: Annotated[Path, typer.Option(help="file of lines 'id name', such as '0 Sky'")],
    void: Ids = None,
    learner: Served = None,
    acquisition: Served = None,
    selection: Served = None,
    initial: Annotated[
        str | None,
        typer.Option(help="first pixels: random, or the name of a selection [default: the server's]"),
    ] = None,
    budgets: Annotated[str, typer.Option(help="pixels an image, cumulative")] = "1,5,10,20,40,60,80,100",
    budget_over: Annotated[
        str | None,
        typer.Option(help="the same budget for each image, or one for the queue [default: the server's]"),
    ] = None,
    seeds: Annotated[int, typer.Option(help="runs, each with other first pixels")] = 5,
    noise: Annotated[float, typer.Option(help="share of wrong answers, 0 to 1")] = 0.0,
    ask_void: Annotated[bool, typer.Option("--ask-void", help="ask in void pixels, too")] = False,
    best_epoch: Annotated[bool, typer.Option(help="also measure every epoch, if the learner has any")] = True,
    json_file: Annotated[Path | None, typer.Option("--json", help="write all lines here")] = None,
    plot: Annotated[Path | None, typer.Option(help="draw mIoU over budget (.png, .svg, .pdf)")] = None,
    cache_gb: Annotated[float, typer.Option(help="memory for encoder passes; 0 repeats each")] = 4.0,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N")] = "auto",
) -> None:
    """Simulate the rounds of a project: mIoU by labelled pixels an image; one JSON line a seed and budget."""
    with expected_failures(lambda: ERR, "the lines above stand; no file was written"):
        served = Settings()
        method = Method(
            learner=learner or served.learner,
            acquisition=acquisition or served.acquisition,
            selection=selection or served.selection,
            initial=initial or served.initial,
            noise=noise,
            ask_void=ask_void,
            budget_over=budget_over or served.budget,
        )
        pyramids = _pyramids(cache_gb)
        strategy = _strategy(method, torch_device(device), pyramids)
        plans = _plans(budgets, seeds, noise, best_epoch)
        check_outputs(json_file, plot)
        creators = _creators(method.learner, torch_device(device), pyramids, seeds)
        ids = tuple(void or ())
        sources = Sources(train_images, train_labels, test_images, test_labels, classes, ids)
        data = read_data_set(
            sources, plans[0].budgets[-1], served.max_image_pixels, ask_void=ask_void, over=strategy.over
        )
        runs = list(zip(plans, creators, strict=True))
        _evaluate(data, method, runs, strategy=strategy, json_file=json_file, plot=plot)


def _strategy(method: Method, device: str, pyramids: PyramidCache) -> Strategy:
    """What the names stand for; BadInput for those that there are not, WeightsMissing where a selection has none."""
    from backend.learning.acquisition import get_acquisition, passes_of  # noqa: PLC0415 - each imports what it needs
    from backend.learning.budgets import get_over  # noqa: PLC0415
    from backend.learning.frozen_features import ENCODER, FrozenFeatures  # noqa: PLC0415
    from backend.learning.selection import get_initial, get_selection  # noqa: PLC0415
    from backend.learning.simulated_queries import Strategy  # noqa: PLC0415
    from model_zoo.encoders import create_encoder  # noqa: PLC0415

    try:
        strategy = Strategy(
            acquisition=get_acquisition(method.acquisition),
            selection=get_selection(method.selection),
            initial=get_initial(method.initial),
            samples=passes_of(method.acquisition),
            ask_void=method.ask_void,
            over=get_over(method.budget_over),
            frozen=FrozenFeatures(device, pyramids if method.learner in SAME_ENCODER else None),
        )
    except ValueError as error:
        raise BadInput(str(error)) from error
    if COVERAGE in (method.initial, method.selection):
        create_encoder(
            ENCODER, device
        )  # random pixels in place of these would be measured under a wrong name
    return strategy


def _plans(budgets: str, seeds: int, noise: float, best_epoch: bool) -> list[Plan]:
    """One plan a seed; BadInput for numbers that make no sense."""
    from backend.learning.simulate import Plan  # noqa: PLC0415

    try:
        steps = tuple(int(text) for text in budgets.split(","))
    except ValueError as error:
        raise BadInput(f"--budgets is {budgets!r}; expected whole numbers such as 5,10,20") from error
    if steps[0] < 1 or any(after <= before for before, after in pairwise(steps)):
        raise BadInput(f"--budgets is {budgets!r}; expected numbers from 1 on, each above the one before")
    if seeds < 1:
        raise BadInput(f"--seeds is {seeds}; expected at least 1")
    if not 0 <= noise <= 1:
        raise BadInput(f"--noise is {noise}; expected a share from 0 to 1")
    return [Plan(steps, seed, noise, best_epoch) for seed in range(seeds)]


def _pyramids(cache_gb: float) -> PyramidCache:
    """Where encoder passes are kept; BadInput for a size that makes no sense."""
    from model_zoo.learners.pyramid_cache import PyramidCache  # noqa: PLC0415

    if not 0 <= cache_gb < float("inf"):
        raise BadInput(f"--cache-gb is {cache_gb}; expected 0 or more")
    return PyramidCache(int(cache_gb * 2**30))


def _creators(name: str, device: str, pyramids: PyramidCache, seeds: int) -> list[Callable[[], Learner]]:
    """For each seed what builds its learners; encoder passes are shared by all of them, single pixels by a seed's."""
    from model_zoo.learners.features import FeatureCache  # noqa: PLC0415
    from model_zoo.learners.pyramid_cache import UsesPyramids  # noqa: PLC0415
    from model_zoo.registry import create_learner  # noqa: PLC0415

    create_learner(name, device)  # a name or weights that are missing show now

    def creator() -> Callable[[], Learner]:
        features = FeatureCache(max_bytes=FEATURE_BYTES)

        def create() -> Learner:
            learner = create_learner(name, device)
            learner.use_cache(features)
            if isinstance(learner, UsesPyramids):
                learner.use_pyramids(pyramids)
            return learner

        return create

    return [creator() for _ in range(seeds)]


def _evaluate(
    data: DataSet,
    method: Method,
    runs: Sequence[Run],
    *,
    strategy: Strategy,
    json_file: Path | None,
    plot: Path | None,
) -> None:
    """A line of standard output a seed and budget, as soon as it is measured; the files at the end."""
    counts = {"train_images": len(data.train), "test_images": len(data.test)}
    facts = {**asdict(method), **counts, **measured_on()}
    results: list[BudgetResult] = []
    lines: list[dict[str, Any]] = []
    for result in _simulate(data, runs, strategy):
        results.append(result)
        lines.append({**_rounded(result), **facts})
        typer.echo(json.dumps(lines[-1]))
    if json_file is not None:
        write_json(json_file, {"runs": lines})
    if plot is not None:
        from backend.commands.evaluate_pixels_plot import draw_budgets  # noqa: PLC0415 - matplotlib is optional

        draw_budgets(results, method.label, plot)


def _simulate(data: DataSet, runs: Sequence[Run], strategy: Strategy) -> Iterator[BudgetResult]:
    """All results, seed by seed, under a bar that makes way for each."""
    from backend.learning.simulate import simulate  # noqa: PLC0415

    with progress_bar(counted=False) as progress:
        bar = progress.add_task("", total=len(runs))
        for number, (plan, create) in enumerate(runs):

            def tell(share: float, what: str, number: int = number) -> None:
                text = f"seed {number + 1}/{len(runs)}, {what}"
                progress.update(bar, completed=number + share, description=text)

            for result in simulate(
                data.train, data.test, data.classes, create, strategy=strategy, plan=plan, progress=tell
            ):
                progress.stop()
                yield result
                progress.start()


def _rounded(result: BudgetResult) -> dict[str, Any]:
    """The result as JSON values: shares with four digits, seconds with three."""
    line = asdict(result)
    for name, value in line.items():
        if isinstance(value, float):
            line[name] = round(value, 3 if name.endswith("_seconds") else 4)
    line["per_class"] = {
        name: value if value is None else round(value, 4) for name, value in result.per_class.items()
    }
    return line
