"""The card of a version's folder: all that the table of versions says of it, and the digest of each of its files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backend.store import Version

CARD = "version.json"


class DamagedVersion(Exception):
    """A folder is not what was published; the text says what is wrong, without paths."""


def write_card(folder: Path, version: Version) -> None:
    """Write the card, after all other files."""
    files = {path.name: digest_file(path) for path in sorted(folder.iterdir()) if path.name != CARD}
    content = {**asdict(version), "classes": list(version.classes), "files": files}
    (folder / CARD).write_text(json.dumps(content, indent=2) + "\n")


def read_card(folder: Path) -> Version:
    """The version that a folder holds, by its card alone; raises DamagedVersion."""
    content = _read(folder)
    content.pop("files", None)
    try:
        return Version(**{**content, "classes": tuple(content["classes"])})
    except (TypeError, KeyError) as problem:
        raise DamagedVersion(f"its card {CARD} is of an older ClickPick or lacks something") from problem


def check_files(folder: Path) -> None:
    """Raise DamagedVersion unless each file is as it was published; cards of before there were digests have none."""
    files = _read(folder).get("files", {})
    for name, digest in files.items():
        try:
            found = digest_file(folder / name)
        except OSError as problem:
            raise DamagedVersion(f"its file {name} is missing or cannot be read") from problem
        if found != digest:
            raise DamagedVersion(f"its file {name} is not as it was published")


def digest_file(path: Path) -> str:
    """SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise DamagedVersion("its folder is missing")
    try:
        content = json.loads((folder / CARD).read_text())
    except (OSError, ValueError) as problem:
        raise DamagedVersion(f"its card {CARD} is missing or cannot be read") from problem
    if not isinstance(content, dict) or not isinstance(content.get("files", {}), dict):
        raise DamagedVersion(f"its card {CARD} is not as it was published")
    return content
