"""The SAM family against its published code, whose answers on random weights scripts/parity_sam.py stored."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model_zoo.errors import WeightsMissing
from model_zoo.prompt import Box, Click, Prompt, Stroke
from model_zoo.registry import create_segmenter, find_converter, list_models
from model_zoo.segmenters import sam, sam2
from model_zoo.segmenters.sam_network import repeatably
from model_zoo.segmenters.sam_segmenter import SamSegmenter
from model_zoo.segmenters.sam_weights import POSITIONS, Variant, convert_sam
from model_zoo.weights import WeightSource
from tests.model_zoo.segmenters import sam_random as given

pytestmark = pytest.mark.unit
DATA = Path(__file__).parent / "data"
VARIANTS = {variant.spec.name: variant for variant in (*sam.VARIANTS, *sam2.VARIANTS)}
SMALL = {
    "sam-vit-b": "sam",
    "sam-hq-vit-b": "sam-hq",
    "sam2.1-hiera-tiny": "sam2.1",
    "edge-tam": "edge-tam",
}
TINY = WeightSource(tiny=True)
STRIDES = {True: 7, False: 63}  # of what is stored, by whether the network is small


@cache
def published(name: str) -> dict[str, NDArray[np.generic]]:
    with np.load(DATA / f"sam_{name}.npz") as file:
        return dict(file)


def tensors(name: str) -> dict[str, torch.Tensor]:
    """What the published code would have written."""
    return given.state(given.unpacked(published(name)["shapes"]))  # type: ignore[arg-type]


def exact(variant: Variant, file: str, tiny: bool) -> SamSegmenter:
    network = (variant.make_tiny if tiny else variant.make)()
    network.model.load_state_dict(convert_sam(variant, tensors(file), tiny=tiny), strict=True)
    return SamSegmenter(variant.spec.name, network, "random", exact=True)


def compare(segmenter: SamSegmenter, file: str, tiny: bool) -> None:
    expected, stride = published(file), STRIDES[tiny]
    answers = dict(given.answers(segmenter, given.SIZES if tiny else given.LARGE_SIZES))
    assert len(answers) == (len(expected) - 1) // 2
    for name, mask in answers.items():
        assert np.abs(mask.logits[::stride, ::stride] - expected[name]).max() < 1e-4, name
        assert abs(mask.score - float(expected[f"{name} score"])) < 1e-4, name


@pytest.mark.parametrize("name", SMALL)
def test_answers_are_those_of_the_published_code(name: str) -> None:
    compare(exact(VARIANTS[name], SMALL[name], tiny=True), SMALL[name], tiny=True)


def test_answers_are_those_of_mobile_sam() -> None:
    """Whose published encoder runs at 1024 pixels alone."""
    compare(exact(VARIANTS["mobile-sam"], "mobile-sam", tiny=False), "mobile-sam", tiny=False)


def test_half_precision_changes_little() -> None:
    variant = VARIANTS["sam-vit-b"]
    quick, full = (exact(variant, "sam", tiny=True) for _ in range(2))
    quick = SamSegmenter(quick.name, quick._network, "random")
    for (name, one), (_, other) in zip(
        given.answers(quick, given.SIZES), given.answers(full, given.SIZES), strict=True
    ):
        assert np.abs(one.logits - other.logits).max() < 0.1, name


@pytest.mark.parametrize("name", VARIANTS)
def test_every_network_has_the_parameters_that_its_weights_have(name: str) -> None:
    with torch.device("meta"):
        network = VARIANTS[name].make()
    assert sum(value.numel() for value in network.parameters()) == VARIANTS[name].spec.parameters


@pytest.mark.parametrize("name", VARIANTS)
def test_every_network_takes_whatever_an_annotator_does(name: str) -> None:
    segmenter = create_segmenter(name, source=TINY)
    assert segmenter.name == name
    assert segmenter.fingerprint == create_segmenter(name, source=TINY).fingerprint
    for shape in ((1, 1), (3, 200), (97, 61)):
        height, width = shape
        image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        embedding = segmenter.encode(image)
        mask = np.ones(shape, dtype=np.bool_)
        for prompt in (
            Prompt((Click(height, width), Click(0, 0, False))),
            Prompt(box=Box(-5, -5, height + 5, width + 5)),
            Prompt(strokes=(Stroke(((0, 0), (height, width)), True, 1.0),)),
            Prompt(mask=mask),
            Prompt((Click(0, 0, False),), mask=mask),
        ):
            state = None
            for _ in range(2):
                answer = segmenter.decode(embedding, prompt, state)
                state = answer.state
                assert answer.logits.shape == shape
                assert np.isfinite(answer.logits).all()
                assert 0.0 <= answer.score <= 1.0


@pytest.mark.parametrize("name", ["sam-vit-b", "sam2.1-hiera-tiny", "edge-tam", "mobile-sam"])
def test_transformers_own_layout_is_read_too(name: str) -> None:
    variant = VARIANTS[name]
    state = repeatably(variant.make_tiny).model.state_dict()
    state[POSITIONS[0]] = state[POSITIONS[1]]  # as in any trained network
    found = {key: value for key, value in state.items() if key != POSITIONS[0]}
    if name.startswith(("sam2", "edge")):
        found["memory_attention.layers.0.weight"] = torch.zeros(3)  # of the video part
    converted = convert_sam(variant, found, tiny=True)
    assert converted.keys() == state.keys()
    assert all(torch.equal(converted[key], state[key]) for key in state)


@pytest.mark.parametrize(
    ("name", "file"), [("sam-vit-b", "sam-hq"), ("sam-hq-vit-b", "sam"), ("edge-tam", "sam2.1")]
)
def test_a_file_of_another_network_is_refused(name: str, file: str) -> None:
    with pytest.raises(WeightsMissing, match=f"no file of {name}: .* tensors do not fit"):
        convert_sam(VARIANTS[name], tensors(file), tiny=True)


def test_all_are_registered_with_their_files() -> None:
    infos = {info.name: info for info in list_models("*", kind="segmenter")}
    for name, variant in VARIANTS.items():
        spec = infos[name].weights[0]
        assert infos[name].summary == variant.summary
        assert spec.published is not None
        assert spec.published.urls
        assert len(spec.published.sha256) in (0, 64)
        assert find_converter(name)
        with pytest.raises(WeightsMissing, match=f"clickpick weights fetch {name}"):
            create_segmenter(name)


def test_transformers_is_imported_when_a_network_is_built_and_not_before() -> None:
    code = (
        "import sys, model_zoo.segmenters.sam, model_zoo.segmenters.sam2; "
        "print('transformers' in sys.modules, 'timm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "False"
