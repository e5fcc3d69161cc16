"""For all tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tensors of tests are small: threads of torch would spend their time waiting for each other."""
    import torch

    torch.set_num_threads(1)
