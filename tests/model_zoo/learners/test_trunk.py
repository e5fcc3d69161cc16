from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf

from model_zoo.learners.finetune import Finetune
from model_zoo.learners.fpn import Ascent
from model_zoo.learners.trunk import dropout, initialise
from tests.model_zoo.learners.learner_pictures import (
    CLASSES,
    TINY,
    labelled,
    stripes,
    tiny_network,
    tiny_trunk,
)

pytestmark = pytest.mark.unit

VIT = {"name": "test_vit", "dynamic_img_size": True}


def test_a_cnn_gives_its_stages_and_no_classifier() -> None:
    trunk = tiny_trunk().eval()
    levels = trunk(torch.zeros(1, 3, 64, 96))
    assert trunk.strides == (2, 4, 8, 16, 32)
    assert [level.shape[1:] for level in levels] == [
        (channels, 64 // stride, 96 // stride)
        for channels, stride in zip(trunk.channels, trunk.strides, strict=True)
    ]


def test_a_vit_gives_blocks_at_the_stride_of_its_patches() -> None:
    trunk = tiny_trunk(**VIT).eval()
    assert set(trunk.strides) == {16}
    assert 1 < len(trunk.strides) <= 4
    assert all(level.shape[2:] == (4, 6) for level in trunk(torch.zeros(1, 3, 64, 96)))


@pytest.mark.parametrize("kind", ["deeplabv3plus", "fpn"])
def test_networks_of_a_vit_train_and_predict(kind: str) -> None:
    learner = Finetune("vit", "vit", lambda classes: tiny_network(kind, classes, **VIT), policy=TINY)
    learner.fit([labelled(*stripes(48, 72, seed=seed), 20, seed) for seed in range(2)], CLASSES)
    found = learner.predict_proba(stripes(37, 50)[0])
    assert found.shape == (3, 37, 50)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)


def test_pixels_are_normalised_as_the_weights_expect() -> None:
    trunk = tiny_trunk()
    mean = torch.tensor(trunk.mean).view(1, 3, 1, 1)
    shifted = mean.expand(1, 3, 4, 4) / trunk.scale - trunk.offset
    torch.testing.assert_close(shifted, torch.zeros(1, 3, 4, 4), atol=1e-5, rtol=0)


def test_dropout_keeps_the_mean_and_takes_channels_whole() -> None:
    ones = torch.ones(2, 64, 20, 20)
    rng = torch.Generator().manual_seed(0)
    assert dropout(ones, 0.5, None) is ones
    single = dropout(ones, 0.5, rng)
    assert set(single.unique().tolist()) == {0.0, 2.0}
    assert abs(float(single.mean()) - 1) < 0.02
    whole = dropout(ones, 0.25, rng, whole_channels=True)
    assert (whole.amin(dim=(2, 3)) == whole.amax(dim=(2, 3))).all()
    assert 0 < int((whole[:, :, 0, 0] == 0).sum()) < 64


def test_the_initialisation_follows_the_seed_and_spares_the_trunk() -> None:
    networks = [tiny_network("deeplabv3plus", 3) for _ in range(3)]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        initialise(network, seed)
    first, same, other = (network.state_dict() for network in networks)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["classify.weight"], other["classify.weight"])
    assert all(torch.equal(first[name], other[name]) for name in first if name.startswith("trunk."))


def test_enlarging_commutes_with_the_sum_and_the_last_layer() -> None:
    """Why the FPN's blocks may end at half resolution."""
    rng = torch.Generator().manual_seed(0)
    one, two = (torch.randn((1, 8, 6, 9), generator=rng) for _ in range(2))
    layer = torch.nn.Conv2d(8, 3, 1)

    def enlarge(values: torch.Tensor) -> torch.Tensor:
        return nnf.interpolate(values, scale_factor=2, mode="bilinear", align_corners=False)

    torch.testing.assert_close(enlarge(layer(one + two)), layer(enlarge(one) + enlarge(two)))


@pytest.mark.parametrize(("stride", "blocks"), [(4, 2), (8, 3), (16, 4), (14, 4), (1, 1)])
def test_an_ascent_has_a_block_for_every_halving(stride: int, blocks: int) -> None:
    ascent = Ascent(stride, 8, 4)
    assert len(ascent.blocks) == blocks
    assert ascent(torch.zeros(1, 8, 3, 5)).shape == (1, 4, 3 * 2 ** (blocks - 1), 5 * 2 ** (blocks - 1))
