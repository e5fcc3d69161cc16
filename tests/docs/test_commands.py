"""Every command of the documentation works: it is run here, or parsed where it cannot be (`treatment.py` says why)."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from PIL import Image

from backend.cli import app
from backend.demo.process import free_port
from backend.settings import Settings
from label_config import render
from scripts.docs_users import missing_tests
from tests.backend.conftest import CLASSES, answers, jpeg
from tests.backend.learning.loop import Loop
from tests.docs.commands import ROOT, Shown, shown_commands
from tests.docs.shell import Shell, served
from tests.docs.treatment import NOT_RUN, RUN
from tests.fakes.label_studio import FakeLabelStudio

ELSEWHERE = ("python -m scripts.docs_pages", "clickpick models 'colour*'", RUN[-1])
"""Run by `test_site.py` and `test_extend.py`."""
SHOWN = shown_commands()
COMMAND: Any = typer.main.get_command(app)
"""Typer brings its own copy of Click, so it has no type of ours."""


def _clickpick(words: tuple[str, ...]) -> list[str]:
    """The arguments after ``clickpick``, or after torchrun's module; what follows ">" is the shell's."""
    arguments = list(words[1:]) if words[0] == "clickpick" else list(words[words.index("backend.cli") + 1 :])
    return arguments[: arguments.index(">")] if ">" in arguments else arguments


def _leaf(arguments: list[str]) -> tuple[Any, list[str]]:
    """The command that the first arguments name, and the arguments that are its own."""
    command, rest = COMMAND, list(arguments)
    while rest and hasattr(command, "commands"):
        found = command.commands.get(rest[0])
        assert found is not None, f"there is no command {' '.join(arguments)!r}"
        command, rest = found, rest[1:]
    return command, rest


def _is_clickpick(shown: Shown) -> bool:
    return bool(shown.words) and (shown.words[0] == "clickpick" or "backend.cli" in shown.words)


def _is_name(shown: Shown) -> bool:
    """Whether it names a command in running text, without any argument."""
    return shown.inline and shown.words[0] == "clickpick" and not _leaf(_clickpick(shown.words))[1]


@pytest.mark.unit
def test_each_command_is_run_or_says_why_not() -> None:
    shown = {one.text for one in SHOWN if not _is_name(one)}
    known = {*RUN, *NOT_RUN}
    new = sorted(shown - known)
    assert not new, (
        f"run these in tests/docs/test_commands.py, or say in tests/docs/treatment.py why not: {new}"
    )
    assert not set(RUN) & set(NOT_RUN)
    gone = sorted(known - {one.text for one in SHOWN})
    assert not gone, f"no page shows these any more; take them out of tests/docs/treatment.py: {gone}"


@pytest.mark.unit
@pytest.mark.parametrize("shown", [one for one in SHOWN if _is_clickpick(one)], ids=lambda one: one.text)
def test_each_clickpick_command_can_be_parsed(shown: Shown) -> None:
    command, rest = _leaf(_clickpick(shown.words))
    if _is_name(shown):
        return
    partial = "..." in rest or shown.text == "clickpick evaluate clicks --random-weights"
    arguments = [word for word in rest if word != "..."]
    with command.make_context("clickpick", arguments, resilient_parsing=partial) as context:
        assert not context.args, f"left over: {context.args}"


@pytest.mark.unit
def test_options_that_do_not_exist_are_noticed() -> None:
    command, rest = _leaf(["connect", "--project", "7", "--no-such-option"])
    with pytest.raises(Exception, match="No such option"):
        command.make_context("clickpick", rest)


@pytest.mark.unit
@pytest.mark.parametrize("text", sorted(NOT_RUN))
def test_what_is_not_run_names_what_there_is(text: str) -> None:
    """Targets of make, modules and files of Python, and the tests that run the same thing on something small."""
    treatment = NOT_RUN[text]
    assert treatment.why
    assert not treatment.test or not missing_tests(ROOT, [treatment.test]), treatment.test
    words = text.split()
    if words[0] == "make":
        done = subprocess.run(
            ["make", "--dry-run", "--always-make", *words[1:]],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    elif words[:2] in (["python", "-m"], ["python3", "-m"]):
        assert importlib.util.find_spec(words[2]), text
    elif words[0] in ("python", "pytest"):
        assert (ROOT / words[1]).is_file(), text


@pytest.fixture
def project(fake: FakeLabelStudio) -> list[int]:
    """Tasks of project 7, as the documentation calls it."""
    while (number := fake.add_project(render("pixel", CLASSES))) < 7:
        pass
    assert number == 7
    return [fake.upload(number, f"photo-{n}.jpg", jpeg(n)) for n in range(6)]


@pytest.fixture
def shell(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    programs = tmp_path / "bin"
    programs.mkdir()
    script = programs / "clickpick"
    script.write_text(
        f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m backend.cli "$@"\n', encoding="utf-8"
    )
    script.chmod(0o755)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    environment = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "LABEL_STUDIO_URL": settings.label_studio_url,
        "LABEL_STUDIO_API_KEY": settings.token,
        "CLICKPICK_DATA": str(settings.data),
        "CLICKPICK_INITIAL": "random",
        "CLICKPICK_PORT": str(free_port(9190)),
        "COLUMNS": "200",
    }
    return Shell(folder, {**os.environ, **environment})


@pytest.mark.integration
@pytest.mark.slow
def test_a_project_is_worked_on_by_the_commands_of_the_pages(
    shell: Shell, fake: FakeLabelStudio, project: list[int], settings: Settings
) -> None:
    """In the order of RUN: what the pages say to do one after another."""
    ran = ["export LABEL_STUDIO_URL=http://localhost:8080 LABEL_STUDIO_API_KEY=<token>"]

    def run(line: str) -> str:
        ran.extend(part.strip() for part in line.split("&&"))
        return shell.run(line)

    port = int(shell.environment["CLICKPICK_PORT"])
    with served(shell, "clickpick serve", port):
        ran.append("clickpick serve")
        assert "backend" in run("clickpick connect --project 7")
        assert "models-ok" in run("clickpick doctor")
        assert "connection-ok" in run("clickpick doctor --project 7")
    with closing(Loop(settings)) as loop:
        for task in project[:3]:
            fake.annotate(task, answers(task))
            loop.run(7)
    fake.annotate(project[3], answers(project[3]))
    assert "published clickpick-7-v4" in run("clickpick round --project 7")
    assert "clickpick-7-v4" in run("clickpick versions list --project 7")
    assert "clickpick-7-v3" in run("clickpick versions show 3 --project 7")
    assert "rolled back to clickpick-7-v3" in run("clickpick versions rollback 3 --project 7")
    run("clickpick versions prune --keep 5 --project 7")
    run("clickpick review --project 7")
    run("clickpick backup clickpick-2026-11-28.tar")
    run("mkdir restored && tar -xf clickpick-2026-11-28.tar -C restored")
    with served(shell, "CLICKPICK_DATA=$PWD/restored clickpick serve", free_port(port + 1)):
        ran.append("CLICKPICK_DATA=$PWD/restored clickpick serve")
    assert "5 were known" in run("clickpick doctor --rebuild")
    assert "5 were known" in run("clickpick doctor --rebuild --project 7")
    run("clickpick connect --project 7 --remove")
    assert fake.backends == {}
    assert {*ran} <= {*RUN}
    assert not set(RUN[: RUN.index("clickpick models")]) - {*ran}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("clickpick models", "clicknet"),
        ("clickpick weights list", "ritm-hrnet18s"),
        ("clickpick weights verify", ""),
        (
            "clickpick evaluate clicks --samples samples.csv --segmenter clicknet --plot curves.png",
            '"clicknet"',
        ),
        ("openssl rand -hex 24", ""),
    ],
)
def test_commands_that_need_no_project(shell: Shell, line: str, words: str) -> None:
    assert line in RUN
    if shutil.which(line.split(maxsplit=1)[0]) is None and not line.startswith("clickpick"):
        pytest.skip(f"{line.split(maxsplit=1)[0]} is not installed")
    work = shell.folder
    (work / "photo.jpg").write_bytes(jpeg())
    mask = np.zeros((48, 64), np.uint8)
    mask[:24] = 1
    Image.fromarray(mask).save(work / "mask.png")
    (work / "samples.csv").write_text("name,image,mask\nsky,photo.jpg,mask.png\n", encoding="utf-8")
    assert words in shell.run(line)
    assert ("curves.png" in line) == (work / "curves.png").exists()


@pytest.mark.unit
def test_nothing_is_said_to_be_run_that_is_not() -> None:
    """Each line of RUN stands in one of the tests above, or in those of the other files."""
    source = Path(__file__).read_text(encoding="utf-8")
    parts = [line for line in RUN if line not in ELSEWHERE and line not in source]
    assert not [line for line in parts if not line.startswith(("mkdir", "tar"))]
