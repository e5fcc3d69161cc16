"""Tests of whole Ray clusters, minutes of them on two cores: they belong to `make soak`."""

from __future__ import annotations

import os

import pytest

SOAK_ONLY = pytest.mark.skipif(
    os.environ.get("CLICKPICK_SOAK") != "1",
    reason="takes minutes of Ray clusters: set CLICKPICK_SOAK=1 (make soak)",
)
