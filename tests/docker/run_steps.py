"""Runs a Dockerfile's steps in clean Debian roots, for machines that reach no image registry.

``sudo python tests/docker/run_steps.py WORK`` (with debootstrap) builds every stage in a folder of its own in WORK,
then starts the last stage's command as its user and waits until its health check passes. Not covered: the real base
image, the layers, and the isolation of the network.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DEBOOTSTRAP = (
    "debootstrap",
    "--variant=minbase",
    "--include=python3,python3-venv,ca-certificates",
    "bookworm",
)
FROM_HOST = ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt")
"""The network as this machine reaches it, with the certificates that it trusts."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HEALTHY_SECONDS = 120.0
ENTER = """root=$1 user=$2 folder=$3; shift 3
mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" &&
exec chroot --userspec="$user" "$root" /usr/bin/env -i --chdir="$folder" "$@"
"""
"""Runs a command inside; the mounts are of its own mount namespace and vanish with it."""


@dataclass
class Stage:
    """One stage: its root folder, and what the instructions so far have set."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    user: str = "0"
    folder: str = "/"
    health: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    def enter(self, command: Sequence[str], extra: Mapping[str, str]) -> list[str]:
        """The command line, of the host, that runs ``command`` inside as the stage's user."""
        variables = {"HOME": self.home(), **self.environment, **extra}
        arguments = [f"{name}={value}" for name, value in variables.items()]
        inside = [str(self.root), self.user, self.folder, *arguments, *command]
        return ["unshare", "--mount", "sh", "-c", ENTER, "enter", *inside]

    def home(self) -> str:
        for line in (self.root / "etc/passwd").read_text().splitlines():
            name, _, uid, _, _, home, _ = line.split(":")
            if self.user in (name, uid):
                return home
        return "/"

    def inside(self, path: str) -> Path:
        """Where a path of the stage lies on the host."""
        return self.root / (Path(self.folder) / path).relative_to("/")


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """(name, arguments) of every instruction, continuation lines joined, comments dropped."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, arguments = line.strip().partition(" ")
        yield name.upper(), arguments.strip()


def pairs(text: str) -> Iterator[tuple[str, str]]:
    """NAME=value pairs of an ENV or ARG instruction; no value is the empty one."""
    for word in text.split():
        name, _, value = word.partition("=")
        yield name, value.strip('"')


class Build:
    """All stages of one Dockerfile; ``arguments`` are the --build-arg values."""

    def __init__(
        self, work: Path, context: Path, arguments: Mapping[str, str], extra: Mapping[str, str]
    ) -> None:
        self.work = work
        self.context = context
        self.arguments = dict(arguments)
        self.extra = dict(extra)
        self.stages: dict[str, Stage] = {}
        self.variables: dict[str, str] = {}

    def run(self, dockerfile: str) -> Stage:
        stage = Stage(self.work)
        for name, text in instructions(dockerfile):
            print(f"{name} {text}"[:110], flush=True)
            if name == "FROM":
                stage = self.start(text)
            else:
                self.step(stage, name, text)
        return stage

    def start(self, text: str) -> Stage:
        """A fresh root. The image's name is not looked at: every stage starts from Debian with Python."""
        base, name = self.work / "base", text.rsplit(maxsplit=1)[-1]
        if not base.exists():
            subprocess.run([*DEBOOTSTRAP, str(base)], check=True, stdout=subprocess.DEVNULL)
            for file in FROM_HOST:
                shutil.copyfile(Path("/") / file, base / file)
        self.variables = {}
        stage = self.stages[name] = Stage(self.work / name)
        shutil.rmtree(stage.root, ignore_errors=True)
        subprocess.run(["cp", "--archive", str(base), str(stage.root)], check=True)
        return stage

    def step(self, stage: Stage, name: str, text: str) -> None:
        if name == "ARG":
            for key, value in pairs(text):
                self.variables[key] = self.arguments.get(key, value)
        elif name == "ENV":
            stage.environment.update({key: self.expand(stage, value) for key, value in pairs(text)})
        elif name == "RUN":
            command = stage.enter(["/bin/sh", "-c", text], {**self.variables, **self.extra})
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        elif name == "COPY":
            self.copy(stage, text.split())
        elif name == "WORKDIR":
            stage.folder = text
            stage.inside(".").mkdir(parents=True, exist_ok=True)
        elif name == "USER":
            stage.user = text
        elif name == "HEALTHCHECK":
            stage.health = tuple(json.loads(text.partition("CMD ")[2]))
        elif name == "CMD":
            stage.command = tuple(json.loads(text))
        elif name not in ("VOLUME", "EXPOSE"):
            raise SystemExit(f"the instruction {name} is not known here; teach it to {Path(__file__).name}")

    def expand(self, stage: Stage, text: str) -> str:
        known = {**self.variables, **stage.environment}
        return re.sub(r"\$\{(\w+)\}", lambda match: known.get(match[1], ""), text)

    def copy(self, stage: Stage, words: list[str]) -> None:
        source = self.context
        if words[0].startswith("--from="):
            source = self.stages[words.pop(0).partition("=")[2]].root
        *names, target = words
        for name in names:
            path = source / name.lstrip("/")
            if path.is_dir():
                ignore = shutil.ignore_patterns("__pycache__") if source == self.context else None
                shutil.copytree(path, stage.inside(target), symlinks=True, ignore=ignore, dirs_exist_ok=True)
            else:
                shutil.copy2(path, stage.inside(target))


def check_health(stage: Stage, extra: Mapping[str, str]) -> None:
    """Start the stage's command and wait until its health check passes."""
    server = subprocess.Popen(stage.enter(stage.command, extra), stdin=subprocess.DEVNULL)
    try:
        end = time.monotonic() + HEALTHY_SECONDS
        while subprocess.run(
            stage.enter(stage.health, extra), check=False, stderr=subprocess.DEVNULL
        ).returncode:
            if server.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"not healthy; {' '.join(stage.command)} exited with {server.poll()}")
            time.sleep(1)
        print("healthy")
    finally:
        server.terminate()
        server.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the Dockerfile's steps in clean Debian roots.")
    parser.add_argument("work", type=Path, help="an empty folder with 15 GB of room")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="set in every command"
    )
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    extra = dict(pairs(" ".join(options.env)))
    build = Build(options.work.absolute(), REPOSITORY, dict(pairs(" ".join(options.build_arg))), extra)
    check_health(build.run((REPOSITORY / "Dockerfile").read_text()), extra)


if __name__ == "__main__":
    sys.exit(main())
