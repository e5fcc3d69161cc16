"""The repository itself: its versions agree, its constraints are complete, and it names no addresses of registries."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import distribution, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.unit

REPOSITORY = Path(__file__).parents[1]
PYTHONS = ("3.10.13", "3.11.7", "3.12.1", "3.13.0")
CONSTRAINTS = ("constraints.txt", "constraints-labelstudio.txt")
BAD_ADDRESS = re.compile(
    r"\bpypi\.|pythonhosted|\bdownload\.pytorch|conda\.anaconda|\b(docker|ghcr|quay|gcr)\.io\b|registry\.npmjs"
    r"|(--|_)(index|find.links)[-_ ]?(url)?[ =:]+\S+://",
    re.IGNORECASE,
)


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def only_match(pattern: str, name: str) -> str:
    found = re.findall(pattern, read(name), flags=re.MULTILINE)
    assert len(found) == 1, f"{name}: {len(found)} matches of {pattern!r}; expected one"
    return str(found[0])


def constraints(name: str) -> list[Requirement]:
    return [Requirement(line) for line in read(name).splitlines() if not line.startswith("#")]


def holds(requirement: Requirement, python: str, extra: str = "") -> bool:
    environment = {
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "sys_platform": "linux",
        "platform_system": "Linux",
        "extra": extra,
    }
    return requirement.marker is None or requirement.marker.evaluate(environment)


def tracked_texts() -> dict[str, str]:
    """Every text file that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True, text=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    texts = {}
    for name in filter(None, listed.split("\0")):
        content = (REPOSITORY / name).read_bytes() if (REPOSITORY / name).is_file() else b"\0"
        if b"\0" not in content:
            texts[name] = content.decode("utf-8")
    return texts


@pytest.mark.parametrize("name", CONSTRAINTS)
@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_name_one_exact_version_for_each_python(name: str, python: str) -> None:
    seen: dict[str, str] = {}
    for requirement in filter(lambda one: holds(one, python), constraints(name)):
        key = canonicalize_name(requirement.name)
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), f"{name}: {requirement} is not exact"
        assert requirement.url is None
        assert key not in seen, f"{name}: {key} twice for Python {python}"
        seen[key] = str(requirement.specifier)
    assert seen


@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_cover_and_satisfy_every_dependency_of_the_project(python: str) -> None:
    exact = {canonicalize_name(one.name): one for one in constraints("constraints.txt") if holds(one, python)}
    wanted = [Requirement(text) for text in distribution("clickpick").requires or ()]
    wanted = [one for one in wanted if any(holds(one, python, extra) for extra in ("", "offline", "dev"))]
    assert len(wanted) > 20
    for requirement in wanted:
        chosen = exact.get(canonicalize_name(requirement.name))
        assert chosen is not None, (
            f"{requirement.name} is in no line of constraints.txt; run `make constraints`"
        )
        number = next(iter(chosen.specifier)).version
        assert requirement.specifier.contains(number), f"{chosen} does not satisfy {requirement}"


def test_pip_which_cannot_lift_the_pins_of_label_studio_ml_finds_versions_too() -> None:
    ours = {
        canonicalize_name(one.name): one for one in map(Requirement, distribution("clickpick").requires or ())
    }
    pins = [Requirement(text) for text in distribution("label-studio-ml").requires or ()]
    both = [pin for pin in pins if canonicalize_name(pin.name) in ours]
    assert len(both) > 2
    for pin in both:
        for asked in pin.specifier:
            if asked.operator == "==":
                mine = ours[canonicalize_name(pin.name)]
                assert mine.specifier.contains(asked.version), f"{mine}, and label-studio-ml asks for {pin}"


def test_no_tracked_file_names_a_registry_or_an_index() -> None:
    own = str(Path(__file__).relative_to(REPOSITORY))
    found = [
        f"{name}: {match[0]}"
        for name, text in tracked_texts().items()
        if name != own
        for match in BAD_ADDRESS.finditer(text)
    ]
    assert not found, "addresses belong into the user's own configuration: " + "; ".join(found)


def test_one_version_of_the_project_everywhere() -> None:
    declared = only_match(r'^version = "(.+)"$', "pyproject.toml")
    assert version("clickpick") == declared, "installed from an older pyproject.toml; run `make setup`"
    newest = re.search(r"^## (\d\S*)", read("CHANGELOG.md"), flags=re.MULTILINE)
    assert newest is not None
    assert newest[1] == declared


def test_one_version_of_label_studio_and_of_uv_everywhere() -> None:
    studio = only_match(r"^STUDIO_VERSION := (.+)$", "Makefile")
    assert only_match(r"image: heartexlabs/label-studio:(.+)$", "compose.yaml") == studio
    assert only_match(r"^label-studio==(.+)$", "constraints-labelstudio.txt") == studio
    assert only_match(r"uv==([\d.]+)", "Dockerfile") == only_match(r"^UV_VERSION := (.+)$", "Makefile")


def test_ci_runs_the_test_command_of_the_readme_and_nothing_weaker() -> None:
    commands = [line for line in read(".ci/run").splitlines() if line and not line.startswith("#")]
    assert commands[0] == "set -euo pipefail"
    assert commands[-1] == "make test"
    assert "```\nmake test\n```" in read("README.md")
    assert not [line for line in commands if "||" in line or "-k" in line or "-m" in line]
    assert (REPOSITORY / ".ci/run").stat().st_mode & 0o111


def test_licence_is_the_full_apache_2() -> None:
    text = read("LICENSE")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert only_match(r'^license = "(.+)"$', "pyproject.toml") == "Apache-2.0"
