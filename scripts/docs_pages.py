"""Write the pages of the documentation that are made from something else.

Usage: python -m scripts.docs_pages [--check]
commands.md is the help of the commands, settings.md the README's table, troubleshooting.md what the doctor can say,
users.md what users.json tells. With --check nothing is written, and pages that are out of date are named.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from scripts.docs_troubleshooting import troubleshooting_page
from scripts.docs_users import users_page

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Made by `python -m scripts.docs_pages` from {}; change that, and run it again. -->\n\n"


def commands_page() -> str:
    """Each command's help, as Typer writes it down."""
    command = [sys.executable, "-m", "typer", "backend.cli", "utils", "docs"]
    command += ["--name", "clickpick", "--title", "Commands"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - ourselves
    lines = [line.rstrip() for line in done.stdout.strip().splitlines()]
    return NOTE.format("the commands' help") + "\n".join(lines) + "\n"


def settings_page() -> str:
    """The README's section, with its links as seen from docs/."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^### Settings\n(.*?)(?=^##)", readme, flags=re.MULTILINE | re.DOTALL)
    if section is None:
        raise ValueError('README.md has no section "### Settings"; expected one, with the table of settings')
    text = section[1].strip().replace("](docs/", "](")
    return NOTE.format("the README") + f"# Settings\n\n{text}\n"


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "settings.md": settings_page,
    "troubleshooting.md": lambda: (
        NOTE.format("the doctor's code and users.json") + troubleshooting_page(ROOT)
    ),
    "users.md": lambda: NOTE.format("users.json") + users_page(ROOT),
}


def outdated(folder: Path) -> list[str]:
    """Names of pages in ``folder`` that are not what would be written."""
    found = []
    for name, make in PAGES.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != make():
            found.append(name)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 when a page is out of date"
    )
    if parser.parse_args().check:
        names = outdated(ROOT / "docs")
        if names:
            sys.stderr.write(f"out of date: {', '.join(names)}; run `python -m scripts.docs_pages`\n")
        return int(bool(names))
    for name, make in PAGES.items():
        (ROOT / "docs" / name).write_text(make(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
