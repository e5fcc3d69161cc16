from __future__ import annotations

import pytest
import torch

from model_zoo import precision
from model_zoo.precision import multiplies_tiles, quick_precision

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("tiles", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_processors_with_tiles_multiply_in_bfloat16(
    monkeypatch: pytest.MonkeyPatch, tiles: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(precision, "multiplies_tiles", lambda: tiles)
    with quick_precision(torch.device("cpu")):
        assert torch.nn.functional.linear(torch.ones(1, 2), torch.ones(3, 2)).dtype == dtype


def test_an_older_torch_that_cannot_tell_stays_with_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    multiplies_tiles.cache_clear()
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert multiplies_tiles() is False
    multiplies_tiles.cache_clear()


@pytest.mark.parametrize("tiles", [True, False])
def test_weights_are_cast_once_where_every_call_would(monkeypatch: pytest.MonkeyPatch, tiles: bool) -> None:
    monkeypatch.setattr(precision, "multiplies_tiles", lambda: tiles)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()
    images, cpu = torch.rand(1, 3, 8, 8), torch.device("cpu")
    with torch.inference_mode(), precision.quick_precision(cpu):
        expected = network(images)
        precision.cast_weights(network, cpu)
        assert torch.equal(network(images), expected)
    assert network[0].weight.dtype == (torch.bfloat16 if tiles else torch.float32)
    assert network[1].weight.dtype == torch.float32
