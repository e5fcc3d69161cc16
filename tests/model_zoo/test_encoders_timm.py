"""Encoders of timm other than the packaged ones: names, weights on this disk, pyramids. Small, with random weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from model_zoo import encoders
from model_zoo.encoders import Encoder, create_encoder, create_network, encoder_weights
from model_zoo.errors import UnknownModel, WeightsMissing
from model_zoo.learners.hypercolumn import at_pixels, build_pyramid, probabilities, projected, vector_length
from model_zoo.learners.probe import Probe
from model_zoo.pyramid import PyramidLevels
from tests.model_zoo.learners.learner_pictures import CLASSES, labelled, stripes

pytestmark = pytest.mark.unit

SMALL: list[tuple[str, dict[str, Any]]] = [
    ("test_resnet", {}),
    ("test_convnext", {}),
    ("test_vit", {"dynamic_img_size": True}),
    ("vit_small_patch14_dinov2", {"dynamic_img_size": True, "depth": 4, "embed_dim": 32, "num_heads": 2}),
]


def random_model(name: str, options: dict[str, Any]) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model(name, pretrained=False, num_classes=0, **options)


@pytest.fixture(params=SMALL, ids=[name for name, _ in SMALL])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    name, options = request.param
    return Encoder(name, random_model(name, options), "0" * 64)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder in place of the hub's cache: FOLDER/OWNER/NAME/model.safetensors."""

    def look(repo: str, file: str) -> str | None:
        path = tmp_path / repo / file
        return str(path) if path.is_file() else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", look)
    encoders._build.cache_clear()
    yield tmp_path
    encoders._build.cache_clear()


def leave_in(hub: Path, name: str, **options: Any) -> dict[str, torch.Tensor]:
    """An earlier download of a model, random weights, whole with its classifier."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        state = timm.create_model(name, pretrained=False, **options).state_dict()
    path = hub / encoder_weights(name).hub / "model.safetensors"
    path.parent.mkdir(parents=True)
    save_file(state, path)
    return dict(state)


@pytest.mark.parametrize("size", [(1, 1), (37, 61), (64, 96)])
def test_levels_cover_the_image_and_no_padding(encoder: Encoder, size: tuple[int, int]) -> None:
    levels = encoder.features(stripes(*size)[0])
    assert [tuple(level.shape) for level in levels] == [
        (channels, -(-size[0] // stride), -(-size[1] // stride))
        for channels, stride in zip(encoder.channels, encoder.strides, strict=True)
    ]
    assert all(level.dtype == torch.float32 and bool(level.isfinite().all()) for level in levels)


def test_the_tokens_of_a_vit_are_a_pyramid_of_one_stride() -> None:
    name, options = SMALL[3]
    encoder = Encoder(name, random_model(name, options), "0" * 64)
    assert encoder.strides == (14, 14)
    assert encoder.channels == (32, 32)
    assert "stages1,3" in encoder.fingerprint


def test_fingerprints_tell_weights_and_preprocessing_apart() -> None:
    model = random_model(*SMALL[0])
    one, other = Encoder("a", model, "0" * 64), Encoder("a", model, "1" * 64)
    model.pretrained_cfg = {**model.pretrained_cfg, "mean": (0.4, 0.4, 0.4)}
    third = Encoder("a", model, "0" * 64)
    assert len({one.fingerprint, other.fingerprint, third.fingerprint}) == 3
    assert not torch.equal(one.features(stripes(9, 9)[0])[0], third.features(stripes(9, 9)[0])[0])


def test_hypercolumns_of_any_pyramid(encoder: Encoder) -> None:
    pyramid = build_pyramid(encoder, stripes(40, 64)[0])
    pixels = np.stack(np.divmod(np.arange(40 * 64), 64), axis=1)
    vectors = torch.from_numpy(at_pixels(pyramid, pixels)).float()
    assert vectors.shape == (len(pixels), vector_length(encoder))
    weight = torch.randn((vector_length(encoder), 5), generator=torch.Generator().manual_seed(0))
    dense = projected(pyramid, weight, torch.zeros(5))
    cells = pyramid.levels[pyramid.grid].shape[1:]
    assert dense.shape == (5, *cells)
    rows, cols = pyramid.steps[pyramid.grid]
    places = np.stack(np.divmod(np.arange(cells[0] * cells[1]), cells[1]), axis=1)
    centres: Any = (places + 0.5) * (rows, cols) - 0.5
    direct = torch.from_numpy(at_pixels(pyramid, centres)).float() @ weight
    torch.testing.assert_close(dense.reshape(5, -1).T, direct, atol=0.05, rtol=0.02)


def test_a_probe_learns_on_any_encoder(encoder: Encoder) -> None:
    probe = Probe("probe-any", encoder)
    probe.fit([labelled(*stripes(48, 72, seed=seed), 20, seed) for seed in range(2)], CLASSES)
    found = probe.predict_proba(stripes(45, 70, seed=9)[0])
    assert found.shape == (3, 45, 70)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-4)


def test_a_single_level_is_enough() -> None:
    """Not every encoder has two levels to average context of."""
    level = torch.randn((3, 6, 8), generator=torch.Generator().manual_seed(0))
    single: Any = SimpleNamespace(strides=(8,), channels=(3,), features=lambda _image, _scale: (level,))
    pyramid = build_pyramid(single, stripes(24, 32)[0])
    from model_zoo.learners.head import Head

    shapes = (vector_length(single), 8), (8,), (8, 4), (4,)
    head = Head(*(torch.randn(shape, generator=torch.Generator().manual_seed(1)) for shape in shapes))
    assert probabilities(pyramid, head, 1).shape == (1, 4, 24, 32)


def test_weights_of_an_earlier_download_are_used(hub: Path) -> None:
    state = leave_in(hub, "resnet18")
    model, digest = create_network("resnet18")
    assert torch.equal(model.state_dict()["layer1.0.conv1.weight"], state["layer1.0.conv1.weight"])
    assert len(digest) == 64
    encoder = create_encoder("resnet18")
    assert encoder.strides == (2, 4, 8, 16, 32)
    assert digest[:16] in encoder.fingerprint
    dilated, _ = create_network("resnet18", output_stride=8)
    assert [stage["reduction"] for stage in dilated.feature_info] == [2, 4, 8, 8, 8]


def test_weights_in_a_folder_are_used_first(tmp_path: Path) -> None:
    name = encoder_weights("test_resnet").file
    save_file(random_model(*SMALL[0]).state_dict(), tmp_path / name)
    assert create_encoder("test_resnet", weights_dir=tmp_path).channels


def test_a_vit_takes_images_of_any_size(hub: Path) -> None:
    leave_in(hub, "test_vit")
    levels = create_encoder("test_vit").features(stripes(37, 61)[0])
    assert all(level.shape[1:] == (3, 4) for level in levels)


def test_missing_weights_say_what_to_do(hub: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"hf download timm/resnet18\.\S+ model\.safetensors"):
        create_encoder("resnet18")


def test_weights_of_something_else_are_refused(hub: Path) -> None:
    leave_in(hub, "resnet18")
    path = hub / encoder_weights("resnet18").hub / "model.safetensors"
    save_file({"conv1.weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsMissing, match="weights of another network"):
        create_network("resnet18")
    save_file({"unknown": torch.zeros(3)}, path)
    with pytest.raises(WeightsMissing, match="lacks"):
        create_network("resnet18")
    path.write_bytes(b"cut off")
    with pytest.raises(WeightsMissing, match="cannot be read"):
        create_network("resnet18")


def test_networks_without_a_pyramid_are_refused(hub: Path) -> None:
    leave_in(hub, "xcit_nano_12_p16_224")
    with pytest.raises(UnknownModel, match=r"one size of image; .* choose a convolutional network or a ViT"):
        create_network("xcit_nano_12_p16_224")
    model = random_model(*SMALL[0])
    model.feature_info[-1]["reduction"] = 64
    with pytest.raises(
        UnknownModel, match=r"gives \[.*expected a feature pyramid \[.*choose a convolutional"
    ):
        PyramidLevels.of(model, 2).check(model, "odd")


@pytest.mark.parametrize(
    "name", ["resnet-999", "resnet18.nonsense", "hf-hub:timm/resnet18", "local-dir:/etc", "../lite0", ""]
)
def test_unknown_names(name: str) -> None:
    with pytest.raises(UnknownModel, match="is not known; choose one of lite0"):
        encoder_weights(name)
