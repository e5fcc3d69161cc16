"""The folder of an export: whole or as it was before, and made on from where an export was cut short.

Files are written into FOLDER.part; when all are there it takes the place of FOLDER. What has not changed since is taken
over from either.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_zoo.errors import BadInput

MANIFEST = "manifest.json"
OURS = "clickpick_export"
"""Key in the manifest by which a folder of ours is known: nothing else is ever replaced or removed."""


class ExportFolder:
    """``begin``, then ``reuse`` or ``write`` and ``record`` for each image, then ``finish``."""

    def __init__(self, target: Path) -> None:
        self.target = target.absolute()
        self.draft = self.target.with_name(self.target.name + ".part")
        self._old = self.target.with_name(self.target.name + ".old")
        self._files: set[str] = set()

    def begin(self) -> None:
        """Take up an export that was cut short, or begin one. Raises BadInput for a folder with anything else in it."""
        if not self.target.name or not self.target.parent.is_dir():
            raise BadInput(
                f"{self.target} cannot be made: {self.target.parent} is no folder; make that one first"
            )
        for folder in (self.target, self.draft, self._old):
            _check_ours(folder)
        if self._old.exists() and not self.target.exists():  # died between the two renames
            self._old.rename(self.target)
        shutil.rmtree(self._old, ignore_errors=True)
        self.draft.mkdir(exist_ok=True)
        self._put(MANIFEST, _json({OURS: None}))

    def reuse(self, name: str, digest: str) -> dict[str, Any] | None:
        """What was recorded of an image, if its files are there and of that digest."""
        for folder in (self.draft, self.target):
            found = _record(folder, name)
            if found is None or found.get("digest") != digest:
                continue
            files = [_record_name(name), *found["files"]]
            if all((folder / file).is_file() for file in files):
                for file in files if folder == self.target else ():
                    self._take(file)
                self._files.update(files)
                return found
        return None

    def write(self, file: str, content: bytes) -> None:
        """``file``: path inside the folder."""
        self._put(file, content)
        self._files.add(file)

    def write_json(self, file: str, content: Mapping[str, Any]) -> None:
        """``file``: path inside the folder."""
        self.write(file, _json(content))

    def record(self, name: str, facts: Mapping[str, Any]) -> None:
        """The facts of an image, last of its files; ``files`` in them names the others, ``digest`` what made them."""
        self.write_json(_record_name(name), facts)

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Remove what belongs to no image any more, and put the new folder in the place of the old one."""
        self.write_json(MANIFEST, {OURS: 1, **manifest})
        for path in sorted(self.draft.rglob("*"), reverse=True):
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.relative_to(self.draft).as_posix() not in self._files:
                path.unlink()
        if self.target.exists():
            self.target.rename(self._old)
        self.draft.rename(self.target)
        shutil.rmtree(self._old, ignore_errors=True)

    def _put(self, file: str, content: bytes) -> None:
        path = self.draft / file
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        unfinished.write_bytes(content)
        unfinished.replace(path)

    def _take(self, file: str) -> None:
        path = self.draft / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        try:
            os.link(self.target / file, path)
        except OSError:  # a file system without links
            shutil.copy2(self.target / file, path)


def _check_ours(folder: Path) -> None:
    if not folder.exists():
        return
    if folder.is_dir() and (not any(folder.iterdir()) or OURS in (_read(folder / MANIFEST) or {})):
        return
    raise BadInput(
        f"{folder} is there and is no export of ClickPick; expected a new name, an empty folder or an earlier export; "
        "name another folder"
    )


def _record(folder: Path, name: str) -> dict[str, Any] | None:
    return _read(folder / _record_name(name))


def _record_name(name: str) -> str:
    return f"records/{name}.json"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, ensure_ascii=False) + "\n").encode()
