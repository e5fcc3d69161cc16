"""One Ray cluster of two nodes for all tests of the engines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.backend.ray_cluster import RayNodes


@pytest.fixture(scope="session")
def cluster() -> Iterator[RayNodes]:
    """Whoever kills a node adds another one."""
    pytest.importorskip("ray", reason="Ray is not installed (pip install clickpick[ray])")
    from tests.backend.ray_cluster import ray_nodes

    with ray_nodes(2) as nodes:
        yield nodes
