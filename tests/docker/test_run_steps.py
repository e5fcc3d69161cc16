"""The Dockerfile: what its text promises, and its steps in clean roots."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docker.run_steps import REPOSITORY, instructions, pairs

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()


@pytest.mark.unit
def test_instructions_joins_continued_lines_and_drops_comments() -> None:
    text = "# a comment\nFROM a AS b\n\nRUN one \\\n    && two\n"
    assert list(instructions(text)) == [("FROM", "a AS b"), ("RUN", "one      && two")]


@pytest.mark.unit
def test_pairs_takes_quotes_off_and_allows_no_value() -> None:
    assert list(pairs('A=1 B="" C')) == [("A", "1"), ("B", ""), ("C", "")]


@pytest.mark.unit
def test_image_runs_as_a_number_that_is_not_root_and_checks_its_health() -> None:
    last = dict(instructions(DOCKERFILE.rpartition("\nFROM ")[2]))
    assert int(last["USER"]) > 0
    assert "/health" in last["HEALTHCHECK"]
    assert last["CMD"] == '["clickpick", "serve"]'


@pytest.mark.unit
def test_no_layer_can_hold_a_credential() -> None:
    copied = {word for name, text in instructions(DOCKERFILE) if name == "COPY" for word in text.split()[:-1]}
    assert not copied & {".", "./", ".env"}
    assert (REPOSITORY / ".dockerignore").read_text().splitlines()[1] == "*"
    names = {
        key for name, text in instructions(DOCKERFILE) if name in ("ARG", "ENV") for key, _ in pairs(text)
    }
    assert not [key for key in names if "KEY" in key or "TOKEN" in key or "PASSWORD" in key]


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_steps_run_in_clean_roots_and_the_server_becomes_healthy(tmp_path: Path) -> None:
    if os.environ.get("CLICKPICK_SOAK") != "1":
        pytest.skip("takes ten minutes and 15 GB: set CLICKPICK_SOAK=1 (make soak)")
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip("needs root and debootstrap (apt-get install debootstrap)")
    with socket.create_server(("127.0.0.1", 0)) as server:
        free_port = server.getsockname()[1]
    command = [
        sys.executable,
        "tests/docker/run_steps.py",
        str(tmp_path),
        "--env",
        f"CLICKPICK_PORT={free_port}",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "healthy" in done.stdout
