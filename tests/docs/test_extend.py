"""The segmenter of docs/extend.md: one file, as it stands there, is a model that keeps the contract."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.commands import ROOT
from tests.docs.treatment import RUN

pytestmark = pytest.mark.integration

PLUGIN = "import model_zoo.segmenters\nmodel_zoo.segmenters.__path__.append({folder!r})\n"
"""Makes a folder part of the package, so that nothing is written into the clone."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """In which the example's file is part of ``model_zoo.segmenters``."""
    page = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    (name,) = re.findall(r"^`model_zoo/segmenters/(\w+\.py)`, whole:", page, flags=re.MULTILINE)
    folder = tmp_path / "segmenters"
    folder.mkdir()
    (folder / name).write_text(example, encoding="utf-8")
    (tmp_path / "one_file_more.py").write_text(PLUGIN.format(folder=str(folder)), encoding="utf-8")
    return {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "COLUMNS": "200"}


def test_it_is_listed(environment: dict[str, str]) -> None:
    assert "clickpick models 'colour*'" in RUN
    script = "import one_file_more; from backend.cli import main; main()"
    command = [sys.executable, "-c", script, "models", "colour*"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "colour-distance" in done.stdout
    assert "What is closer in colour" in done.stdout


@pytest.mark.slow
def test_it_keeps_the_contract(environment: dict[str, str]) -> None:
    line = "pytest tests/model_zoo/segmenters/test_contract.py -k colour-distance"
    assert line in RUN
    command = [sys.executable, "-m", *line.split(), "-p", "one_file_more", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) >= 35, "the contract was not held to it"


def test_it_is_clean_code(environment: dict[str, str]) -> None:
    """As everything in the folder has to be."""
    (path,) = Path(environment["PYTHONPATH"].split(os.pathsep)[0]).glob("segmenters/*.py")
    for tool in (["check"], ["format", "--diff"]):
        command = [
            sys.executable,
            "-m",
            "ruff",
            *tool,
            f"--stdin-filename=model_zoo/segmenters/{path.name}",
            "-",
        ]
        text = path.read_text(encoding="utf-8")
        done = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
