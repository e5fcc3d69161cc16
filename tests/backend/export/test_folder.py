"""The folder is the old one until the new one is whole; nothing but exports is replaced or removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backend.export.folder import ExportFolder
from model_zoo.errors import BadInput

pytestmark = pytest.mark.unit


def made(target: Path, *names: str, digest: str = "d") -> list[str]:
    """Export images of those names; those that were made and not reused."""
    folder = ExportFolder(target)
    folder.begin()
    fresh = [name for name in names if folder.reuse(name, digest) is None]
    for name in fresh:
        put(folder, name, digest)
    folder.finish({"images": list(names)})
    return fresh


def put(folder: ExportFolder, name: str, digest: str) -> None:
    folder.write(f"human/{name}.png", f"{name} {digest}".encode())
    folder.record(name, {"digest": digest, "files": [f"human/{name}.png"]})


def listed(target: Path) -> list[str]:
    return sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())


def test_what_has_not_changed_is_taken_over_and_what_is_gone_goes(tmp_path: Path) -> None:
    target = tmp_path / "out"
    assert made(target, "a", "b") == ["a", "b"]
    assert made(target, "b", "c") == ["c"]
    assert listed(target) == [
        "human/b.png", "human/c.png", "manifest.json", "records/b.json", "records/c.json",
    ]  # fmt: skip
    assert json.loads((target / "manifest.json").read_text())["images"] == ["b", "c"]
    assert made(target, "b", "c", digest="e") == ["b", "c"]
    assert (target / "human" / "b.png").read_text() == "b e"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_cut_short_it_leaves_the_old_one_and_goes_on(tmp_path: Path) -> None:
    target = tmp_path / "out"
    made(target, "a", "b")
    before = {file: (target / file).read_bytes() for file in listed(target)}
    broken = ExportFolder(target)
    broken.begin()
    put(broken, "a", "e")
    broken.write("human/b.png", b"half")  # and died before the record of b
    assert {file: (target / file).read_bytes() for file in listed(target)} == before
    assert made(target, "a", "b", digest="e") == ["b"]
    assert (target / "human" / "b.png").read_text() == "b e"


def test_killed_between_the_two_renames_nothing_is_lost(tmp_path: Path) -> None:
    target = tmp_path / "out"
    made(target, "a")
    target.rename(tmp_path / "out.old")
    assert made(target, "a") == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_no_empty_folder_is_left_of_another_format(tmp_path: Path) -> None:
    target = tmp_path / "out"
    made(target, "a")
    folder = ExportFolder(target)
    folder.begin()
    assert folder.reuse("a", "other options") is None
    folder.write("arrays/a.npz", b"arrays")
    folder.finish({})
    assert sorted(path.name for path in target.iterdir()) == ["arrays", "manifest.json"]


def test_a_record_without_its_file_is_made_again(tmp_path: Path) -> None:
    target = tmp_path / "out"
    made(target, "a", "b")
    (target / "human" / "a.png").unlink()
    assert made(target, "a", "b") == ["a"]


@pytest.mark.parametrize("place", ["out", "out.part", "out.old"])
@pytest.mark.parametrize("content", ["thesis.tex", "manifest.json"])
def test_folders_of_others_are_left_alone(tmp_path: Path, place: str, content: str) -> None:
    (tmp_path / place).mkdir()
    (tmp_path / place / content).write_text("{}")
    with pytest.raises(BadInput, match="is no export of ClickPick"):
        ExportFolder(tmp_path / "out").begin()
    assert (tmp_path / place / content).read_text() == "{}"
    assert len(list(tmp_path.rglob("*"))) == 2


def test_a_file_in_the_way_and_a_missing_parent_are_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(BadInput, match="is no export"):
        ExportFolder(tmp_path / "out").begin()
    with pytest.raises(BadInput, match="is no folder"):
        ExportFolder(tmp_path / "nowhere" / "out").begin()


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert made(tmp_path / "out", "a") == ["a"]
