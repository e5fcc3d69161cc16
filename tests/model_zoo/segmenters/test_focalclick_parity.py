"""FocalClick's networks and answers are the published ones; see scripts/parity_focalclick.py."""

from __future__ import annotations

import ast
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import model_zoo.segmenters
from model_zoo.errors import WeightsMissing
from model_zoo.prompt import Prompt
from model_zoo.segmenters.focalclick_network import SIDE, FocalClickNetwork
from model_zoo.segmenters.focalclick_segmenter import FocalClick
from model_zoo.segmenters.focalclick_weights import (
    HRNET18S_S1,
    SEGFORMER_B0_S1,
    VARIANTS,
    build_network,
    convert_focalclick,
)
from tests.model_zoo.segmenters import focalclick_random as given

pytestmark = pytest.mark.unit
STORED = np.load(Path(__file__).parent / "data/focalclick.npz")
CLOSE = 1e-4  # logits


@pytest.fixture(autouse=True)
def _flushed() -> object:
    """Random HRNets dwell on numbers next to 0, which processors are slow with."""
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


def shapes(variant: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = json.loads(str(STORED[f"{variant}_shapes"]))
    return found


def published(variant: str) -> dict[str, torch.Tensor]:
    return {name: given.tensor(name, shape) for name, shape in shapes(variant).items()}


@cache
def network(variant: str) -> FocalClickNetwork:
    return given.network(variant, shapes(variant), STORED[f"{variant}_head"])


def far(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return given.difference(found[..., :: given.STRIDE, :: given.STRIDE], expected)


@pytest.mark.parametrize("variant", given.VARIANT_NAMES)
def test_the_networks_say_what_the_published_ones_say(variant: str) -> None:
    with torch.inference_mode():
        coarse, features = network(variant).coarse(given.pixels(11, SIDE), given.previous(SIDE), given.POINTS)
        refined = network(variant).refine(given.pixels(12, SIDE), given.POINTS, coarse, features, given.BOX)
    assert far(coarse[0, 0].numpy(), STORED[f"{variant}_coarse"]) < CLOSE
    assert far(refined[0, 0].numpy(), STORED[f"{variant}_refined"]) < CLOSE


@pytest.mark.parametrize("scene", [*given.SCENES, "started"])
@pytest.mark.parametrize("variant", given.LOOPS)
def test_the_answers_to_clicks_are_the_published_ones(variant: str, scene: str) -> None:
    clicked = given.started_scene(STORED[f"{variant}_clicks"]) if scene == "started" else given.SCENES[scene]
    segmenter = FocalClick(variant, network(variant), "", parameters=FocalClick.published)
    embedding, state = segmenter.encode(clicked.image), None
    assert len(clicked.clicks) >= 5
    for number, expected in enumerate(STORED[f"{variant}_{scene}"], 1):
        answer = segmenter.decode(embedding, Prompt(clicked.clicks[:number], mask=clicked.mask), state)
        state = answer.state
        assert far(answer.logits, expected) < CLOSE, f"click {number}"


@pytest.mark.parametrize(
    ("name", "parameters", "refiner"),
    [
        ("hrnet18s-s1", 4_231_377, 11_330),
        ("hrnet32-s2", 30_967_813, 16_450),
        ("segformer-b0-s2", 3_735_651, 16_450),
        ("segformer-b3-s2", 45_682_819, 24_642),
    ],
)
def test_the_networks_are_as_large_as_the_published_ones(name: str, parameters: int, refiner: int) -> None:
    """Without the 5,122 parameters that the published SegFormer variants hold and never use."""
    with torch.device("meta"):
        made = build_network(VARIANTS[f"focalclick-{name}"])
    assert sum(value.numel() for value in made.parameters()) == parameters
    assert sum(value.numel() for value in made.refiner.parameters()) == refiner


def test_files_of_other_networks_are_refused() -> None:
    hrnet, segformer = published("hrnet18s-s1"), published("segformer-b0-s1")
    small, b0 = VARIANTS[HRNET18S_S1.name], VARIANTS[SEGFORMER_B0_S1.name]
    with pytest.raises(WeightsMissing, match="do not fit"):
        convert_focalclick(b0, hrnet, {})
    with pytest.raises(WeightsMissing, match="do not fit"):
        convert_focalclick(small, segformer, {})
    with pytest.raises(WeightsMissing, match="do not fit"):
        convert_focalclick(VARIANTS["focalclick-hrnet32-s2"], hrnet, {})
    some = dict(list(segformer.items())[:-1])
    with pytest.raises(WeightsMissing, match=r"1 tensors do not fit.* is missing"):
        convert_focalclick(b0, some, {})
    with pytest.raises(WeightsMissing, match=r"whatever.*expected none"):
        convert_focalclick(b0, segformer | {"whatever": torch.zeros(3)}, {})


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("pipeline_version", "s2"), ("with_prev_mask", False), ("binary_prev_mask", True)],
)
def test_files_of_networks_that_are_used_otherwise_are_refused(parameter: str, value: object) -> None:
    config = {"params": {parameter: {"type": "builtin", "value": value, "specified": True}}}
    with pytest.raises(WeightsMissing, match=parameter):
        convert_focalclick(VARIANTS[SEGFORMER_B0_S1.name], published("segformer-b0-s1"), config)


def test_transformers_is_imported_by_constructors_only() -> None:
    folder = Path(next(iter(model_zoo.segmenters.__path__)))
    for path in folder.glob("focalclick*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.startswith("transformers") for name in names), path.name
