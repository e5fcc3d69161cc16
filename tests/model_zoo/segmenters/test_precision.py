from __future__ import annotations

import pytest
import torch

from model_zoo.segmenters import precision
from model_zoo.segmenters.precision import multiplies_tiles, quick_precision

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
