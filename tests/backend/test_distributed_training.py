"""Trainings of several processes each, as the documentation starts them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch is built without torch.distributed")
def test_two_trainings_at_once_meet_on_ports_of_their_own() -> None:
    page = (ROOT / "docs" / "segmenters.md").read_text()
    command = page[page.index("`torchrun ") + 1 :].split("`")[0]
    documented = shlex.split(command)
    options = documented[1 : documented.index("-m")]
    options[options.index("--nproc-per-node") + 1] = "2"
    run = [sys.executable, "-m", "torch.distributed.run", *options, "-m", "tests.backend.meeting"]
    started = [
        subprocess.Popen([*run, number], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for number in ("10", "20")
    ]
    try:
        for process, agreed in zip(started, ("11", "21"), strict=True):
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
            assert out.split() == ["2", agreed] * 2
    finally:
        for process in started:
            process.kill()
