"""For all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # read when Ray is imported; as the engine ray has them
os.environ["RAY_DISABLE_FAILURE_SIGNAL_HANDLER"] = "1"
os.environ["RAY_AUTH_MODE"] = "disabled"  # whether or not this user's clusters have a token
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from tests.fakes.postgres import PostgresServer, binaries


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tensors of tests are small: threads of torch would spend their time waiting for each other."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests; those that stop it must start it again."""
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian, Ubuntu: apt-get install postgresql)")
    with PostgresServer(programs) as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    url = postgres.new_database()
    yield url
    postgres.drop_database(url)
