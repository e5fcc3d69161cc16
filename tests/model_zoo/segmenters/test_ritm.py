from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from model_zoo.errors import WeightsMissing
from model_zoo.prompt import Prompt
from model_zoo.registry import create_segmenter, find_converter, list_models
from model_zoo.segmenters.predictor_maps import disk_maps
from model_zoo.segmenters.ritm_network import RitmNetwork
from model_zoo.segmenters.ritm_weights import NETWORKS
from model_zoo.weights import WeightSource
from tests.model_zoo.segmenters import ritm_random as given

pytestmark = pytest.mark.unit
GOLDEN = Path(__file__).parent / "data/ritm.npz"
NAMES = sorted(NETWORKS)
SCENES = [(name, scene) for name, scenes in given.COMPARED.items() for scene in scenes]
STORED = [(name, scene) for name, scene in SCENES if not scene.endswith(given.NOT_STORED)]


@cache
def network(name: str) -> RitmNetwork:
    return given.network(name)


@cache
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as stored:
        return dict(stored)


@pytest.mark.parametrize("name", given.COMPARED)
def test_networks_answer_as_the_published_ones(name: str) -> None:
    ours = network(name)
    for height, width, seed in given.FORWARD:
        image = given.network_input(height, width, seed)
        with torch.inference_mode():
            logits = ours(image, disk_maps(given.POINTS, height, width, 5)[None])
        assert logits.shape == (1, 1, height, width)
        found = logits[0, 0, :: given.STRIDE, :: given.STRIDE].numpy()
        assert np.abs(found - golden()[f"{name} {height}x{width}"]).max() < 1e-4


@pytest.mark.parametrize(("name", "key"), STORED)
def test_answers_to_clicks_are_the_published_ones(name: str, key: str) -> None:
    scene, expected = given.SCENES[key], golden()[f"{name} {key}"]
    segmenter, state = given.segmenter(network(name), scene), None
    embedding = segmenter.encode(scene.image)
    if scene.mode in ("RGB-BRS", "DistMap-BRS"):  # which take seconds a click
        expected = expected[:3]
    for number, logits in enumerate(expected, 1):
        mask = segmenter.decode(embedding, Prompt(scene.clicks[:number], mask=scene.mask), state)
        state = mask.state
        difference = np.abs(mask.logits[:: given.STRIDE, :: given.STRIDE] - logits)
        # A search of several steps drives rounding apart.
        assert difference.max() < (1e-4 if scene.mode == "NoBRS" else 2e-2), number


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_parameters_is_the_published_one(name: str) -> None:
    with torch.device("meta"):
        made = NETWORKS[name]()
    (info,) = list_models(name)
    assert sum(value.numel() for value in made.parameters()) == info.weights[0].parameters
    tensors = {"ritm-hrnet18s": 929, "ritm-resnet34": 295}.get(name, 1895)
    assert len(made.state_dict()) == tensors


@pytest.mark.parametrize("name", NAMES)
def test_every_published_name_has_one_of_ours(name: str) -> None:
    with torch.device("meta"):
        state = NETWORKS[name]().state_dict()
    named = given.their_deeplab_name if name == "ritm-resnet34" else given.their_hrnet_name
    theirs = {named(key): value for key, value in state.items()}
    assert len(theirs) == len(state)
    assert find_converter(name)(theirs, {}).keys() == state.keys()


def entry(value: object) -> dict[str, object]:
    return {"type": "builtin", "value": value, "specified": True}


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"class": "isegm.model.is_deeplab_model.DeeplabModel"}, "its class is 'isegm.model.is_deeplab"),
        ({"params": {"with_prev_mask": entry(False)}}, "its with_prev_mask is False, expected True"),
        ({"params": {"norm_radius": entry(260)}}, "its norm_radius is 260, expected 5"),
        ({"params": {"use_rgb_conv": entry(True)}}, "its use_rgb_conv is True"),
    ],
)
def test_files_of_other_networks_are_refused(config: dict[str, object], problem: str) -> None:
    with pytest.raises(WeightsMissing, match=problem):
        find_converter("ritm-hrnet18s")({}, config)


def test_files_of_other_sizes_are_refused() -> None:
    with torch.device("meta"):
        state = NETWORKS["ritm-hrnet18"]().state_dict()
    theirs = {given.their_hrnet_name(key): value for key, value in state.items()}
    with pytest.raises(WeightsMissing, match=r"tensors do not fit, .* is .*, expected"):
        find_converter("ritm-hrnet18s")(theirs, {})
    del theirs["maps_transform.0.weight"]
    with pytest.raises(WeightsMissing, match=r"maps_transform\.0\.weight is missing, expected"):
        find_converter("ritm-hrnet18")(theirs, {})


def test_without_weights_one_is_told_what_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"run: clickpick weights fetch ritm-hrnet18s \(17 MB\)"):
        create_segmenter("ritm-hrnet18s", source=WeightSource(tmp_path))
    with pytest.raises(WeightsMissing, match="nobody publishes them: train models/noniterative"):
        create_segmenter("ritm-resnet34", source=WeightSource(tmp_path))


def test_random_weights_are_the_same_each_time_and_leave_those_of_others_alone() -> None:
    before = torch.get_rng_state()
    one, two = (
        create_segmenter("ritm-hrnet18s", source=WeightSource(tiny=True))._network.state_dict()  # type: ignore[attr-defined]
        for _ in range(2)
    )
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(one[name], two[name]) for name in one)
