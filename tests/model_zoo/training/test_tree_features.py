from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from model_zoo.encoders import Encoder
from model_zoo.errors import BadInput, UnknownModel, WeightsMissing
from model_zoo.segmenters.grid import sample_level
from model_zoo.training.region_tree import build_tree
from model_zoo.training.tree_features import PyramidMix, VitTokens, create_vit, token_features

pytestmark = pytest.mark.unit

TINY = "vit_tiny_patch16_224"


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def tiny(name: str = TINY, **options: Any) -> Any:
    torch.manual_seed(0)
    small = {"depth": 1, "embed_dim": 48, "num_heads": 3, "num_classes": 0, "dynamic_img_size": True}
    return timm.create_model(name, pretrained=False, **(small | options))


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """Random weights: geometry and mixing need no published ones."""
    torch.manual_seed(0)
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=False)
    return Encoder("random", model, "0" * 64)


@pytest.mark.parametrize(
    ("height", "width", "grid"), [(64, 48, (8, 6)), (61, 50, (8, 7)), (1, 1, (1, 1)), (9, 8, (2, 1))]
)
@pytest.mark.parametrize("patch", [8, 16])
def test_a_transformer_gives_a_cell_per_8_pixels(
    height: int, width: int, grid: tuple[int, int], patch: int
) -> None:
    features = token_features(picture(height, width), VitTokens(tiny(patch_size=patch)))
    assert features.shape == (*grid, 48)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_tokens_are_those_after_the_final_norm_without_prefix() -> None:
    model, image = tiny(), picture(64, 48)
    source = VitTokens(model)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255.0
    large = torch.nn.functional.interpolate(pixels, size=(128, 96), mode="bicubic", align_corners=False)
    with torch.inference_mode():
        expected = model.forward_features((large - 0.5) / 0.5)[:, model.num_prefix_tokens :].reshape(8, 6, 48)
    got = token_features(image, source)
    # Pillow rounds the enlarged image to whole levels and PyTorch does not.
    assert np.corrcoef(got.ravel(), expected.numpy().ravel())[0, 1] > 0.98
    assert np.abs(got.mean(axis=2)).max() < 1e-4  # the norm's weights are still 1 and 0
    assert got.std(axis=2) == pytest.approx(np.ones((8, 6)), abs=1e-3)


def test_a_large_image_is_shrunk_first() -> None:
    assert token_features(picture(100, 200), VitTokens(tiny()), long_side=64).shape == (4, 8, 48)


def test_a_transformer_of_one_size_and_a_network_without_patches_are_refused() -> None:
    for model in (tiny(dynamic_img_size=False), timm.create_model("resnet18", pretrained=False)):
        with pytest.raises(BadInput, match="dynamic_img_size=True"):
            VitTokens(model)


def test_weights_come_from_the_folder_and_from_nowhere_else(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        with pytest.raises(WeightsMissing, match=r"Hugging Face repository timm/vit_small_patch8_224\.dino"):
            create_vit("vit_small_patch8_224.dino", folder)
    with pytest.raises(UnknownModel, match=r"a good one is vit_small_patch8_224\.dino"):
        create_vit("resnet18", tmp_path)
    torch.manual_seed(1)
    model = timm.create_model(TINY, pretrained=False, dynamic_img_size=True)
    save_file(model.state_dict(), tmp_path / f"{TINY}.safetensors")
    image = picture(32, 24)
    got = token_features(image, create_vit(TINY, tmp_path))
    assert np.allclose(got, token_features(image, VitTokens(model)), atol=1e-5)


@pytest.mark.parametrize("tensors", [{"head.weight": torch.zeros(3)}, None])
def test_a_wrong_file_is_refused(tmp_path: Path, tensors: dict[str, torch.Tensor] | None) -> None:
    path = tmp_path / f"{TINY}.safetensors"
    path.write_bytes(b"not tensors") if tensors is None else save_file(tensors, path)
    with pytest.raises(WeightsMissing, match="does not hold the weights"):
        create_vit(TINY, tmp_path)


@pytest.mark.parametrize(("height", "width", "grid"), [(64, 48, (8, 6)), (61, 50, (8, 7)), (1, 1, (1, 1))])
def test_a_pyramid_gives_a_cell_per_8_pixels(
    encoder: Encoder, height: int, width: int, grid: tuple[int, int]
) -> None:
    features = token_features(picture(height, width), encoder)
    channels = [
        count
        for count, stride in zip(encoder.channels, encoder.strides, strict=True)
        if stride in dict(PyramidMix().levels)
    ]
    assert features.shape == (*grid, sum(channels) + 5)
    assert features.flags.c_contiguous
    assert features.dtype == np.float32


def test_each_cue_has_its_factor(encoder: Encoder) -> None:
    image = picture(48, 64)
    mix = PyramidMix(levels=((16, 0.5), (32, 2.0)), colour=0.1, position=3.0)
    features = token_features(image, encoder, mix)
    assert np.linalg.norm(features[..., :112], axis=2) == pytest.approx(np.full((6, 8), 0.5), rel=1e-3)
    assert np.linalg.norm(features[..., 112:432], axis=2) == pytest.approx(np.full((6, 8), 2.0), rel=1e-3)
    doubled = token_features(image, encoder, PyramidMix(levels=mix.levels, colour=0.2, position=3.0))
    assert doubled[..., 432:435] == pytest.approx(2 * features[..., 432:435])
    assert features[3, 4, 435:].tolist() == pytest.approx([3.0 * 3 / 8, 3.0 * 4 / 8])


def test_the_encoder_sees_the_image_enlarged(encoder: Encoder) -> None:
    image = picture(48, 64)
    got = token_features(image, encoder, PyramidMix(levels=((16, 1.0),), zoom=2.0))[..., :112]
    level = encoder.features(image, 2.0)[encoder.strides.index(16)]
    expected = sample_level(level, 16, (96, 128), (6, 8))
    assert got == pytest.approx(expected.transpose(1, 2, 0), abs=1e-5)


def test_colour_is_lab_of_the_cell(encoder: Encoder) -> None:
    image = np.zeros((16, 16, 3), dtype=np.uint8)
    image[:, 8:] = 255
    lab = token_features(image, encoder, PyramidMix(levels=(), colour=1.0, position=0.0))
    assert lab[:, 0, :3] == pytest.approx(np.zeros((2, 3)), abs=0.1)
    assert lab[:, 1, 0] == pytest.approx([100.0, 100.0], abs=0.1)


def test_a_square_is_a_region_of_the_tree(encoder: Encoder) -> None:
    image = np.full((96, 128, 3), 60, dtype=np.uint8)
    image[24:64, 40:88] = (200, 60, 30)
    tree = build_tree(token_features(image, encoder, PyramidMix(levels=(), colour=0.02, position=0.1)))
    square = np.zeros((12, 16), dtype=np.bool_)
    square[3:8, 5:11] = True
    assert tree.overlaps(square).max() == 1.0


def test_a_level_that_is_not_there_is_refused(encoder: Encoder) -> None:
    with pytest.raises(BadInput, match="stride"):
        token_features(picture(8, 8), encoder, PyramidMix(levels=((64, 1.0),)))


def test_what_is_no_image_is_refused(encoder: Encoder) -> None:
    with pytest.raises(BadInput, match="expected uint8"):
        token_features(picture(8, 8).astype(np.float32), encoder)
