"""The commands that the documentation shows, and how each is held to work."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "docs/*.md")
GENERATED_HELP = "docs/commands.md"  # usage lines, no commands; made from the commands themselves
PROGRAMS = (
    "clickpick",
    "docker",
    "hadolint",
    "hf",
    "make",
    "mkdir",
    "openssl",
    "pip",
    "pip-audit",
    "pytest",
    "python",
    "python3",
    "tar",
    "torchrun",
)
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", flags=re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
ASSIGNMENT = re.compile(r"[A-Z][A-Z_]*=\S*")


@dataclass(frozen=True)
class Shown:
    """One command. ``words``: without assignments before it; ``inline``: in running text, where it may be a name."""

    text: str
    page: str
    inline: bool

    @property
    def words(self) -> tuple[str, ...]:
        words = shlex.split(self.text)
        while words and (words[0] == "export" or ASSIGNMENT.fullmatch(words[0])):
            words.pop(0)
        return tuple(words)


def shown_commands() -> list[Shown]:
    """All of them, in the order of the pages."""
    paths = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    names = [str(path.relative_to(ROOT)) for path in paths]
    return [
        found
        for name in names
        if name != GENERATED_HELP
        for found in _of_page(name, (ROOT / name).read_text(encoding="utf-8"))
    ]


def _of_page(page: str, text: str) -> Iterator[Shown]:
    for language, block in FENCE.findall(text):
        if language in ("", "sh", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                for part in _without_comment(line).split("&&"):
                    if part.strip():
                        yield Shown(" ".join(part.split()), page, inline=False)
    for code in INLINE.findall(FENCE.sub("", text)):
        words = [word for word in code.split() if not ASSIGNMENT.fullmatch(word)]
        if len(words) > 1 and words[0] in PROGRAMS:
            yield Shown(code, page, inline=True)


def _without_comment(line: str) -> str:
    """Also without what `make` targets are described by: two blanks and more before it."""
    return re.split(r"\s+#\s|\s{3,}(?=[a-z])", line.strip())[0]
