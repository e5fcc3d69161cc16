"""The weights folder, with a fake network that others publish."""

from __future__ import annotations

import json
import re
import shutil
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from model_zoo import weight_store
from model_zoo.errors import UnknownModel, WeightsMissing
from model_zoo.registry import create_segmenter, find_converter
from model_zoo.weight_store import (
    check_weights,
    find_published,
    import_file,
    list_weights,
    read_record,
    restricted,
)
from model_zoo.weights import Published, WeightSource, WeightSpec
from tests.fakes.fake_network import PUBLISHED, SPEC, official, registered, save_official

pytestmark = pytest.mark.unit


@pytest.fixture
def spec() -> Iterator[WeightSpec]:
    with registered() as made:
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fake_official.pth"
    save_official(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "weights"


def test_an_imported_file_is_used(spec: WeightSpec, file: Path, folder: Path) -> None:
    source = WeightSource(folder)
    with pytest.raises(WeightsMissing, match=r"clickpick weights import fake-net FILE") as caught:
        create_segmenter("fake-net", source=source)
    assert "clickpick weights import fake-net FILE" in caught.value.advice
    steps: list[str] = []
    record = import_file("fake-net", file, folder, report=steps.append)
    assert steps == ["reading", "converting", "writing", "checking"]
    assert sorted(path.name for path in folder.iterdir()) == ["fake-net.json", "fake-net.safetensors"]
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1, "whoever reads one reads the other"
    expected = official()["state_dict"]["feature_extractor.weight"]
    assert torch.equal(load_file(folder / "fake-net.safetensors")["weight"], expected)
    segmenter: Any = create_segmenter("fake-net", source=source)
    assert torch.equal(segmenter.network.weight, expected)
    assert segmenter.fingerprint == f"fake-net:{record.converted_sha256[:16]}"


def test_the_record_says_where_the_weights_come_from(spec: WeightSpec, file: Path, folder: Path) -> None:
    record = import_file("fake-net", file, folder)
    assert read_record(spec, folder) == record
    written = json.loads((folder / "fake-net.json").read_text())
    assert (written["model"], written["file"], written["size"]) == (
        "fake-net", "fake_official.pth", file.stat().st_size,
    )  # fmt: skip
    assert (written["licence"], written["terms"]) == ("MIT", "non-commercial data")
    assert written["converted_size"] == (folder / "fake-net.safetensors").stat().st_size
    assert len(written["date"]) == 10


def test_the_same_file_gives_the_same_bytes(spec: WeightSpec, file: Path, folder: Path) -> None:
    digests = {import_file("fake-net", file, folder).converted_sha256 for _ in range(4)}
    assert len(digests) == 1


def test_the_published_digest_is_held_to(file: Path, folder: Path) -> None:
    with registered(replace(PUBLISHED, sha256="0" * 64)):
        with pytest.raises(
            WeightsMissing, match=r"has sha256 .*, the published fake_official\.pth has 000.*--own"
        ):
            import_file("fake-net", file, folder)
        assert not (folder / "fake-net.safetensors").exists()
        assert import_file("fake-net", file, folder, own=True).own
        assert "somebody's own training" in check_weights(find_published("fake-net")[0], folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"state_dict": {"x": torch.ones(1)}, "config": {"class": "isegm.Other"}}, "the file is of 'isegm.Other'"),
        (
            {"state_dict": {"feature_extractor.weight": torch.ones(1, 7, 1, 1)}, "config": {"class": "isegm.Fake"}},
            r"is no file of fake-net: the converted file does not fit fake-net \(Missing key",
        ),
        (
            {
                "state_dict": {**official()["state_dict"], "feature_extractor.bias": torch.tensor([float("nan")])},
                "config": {"class": "isegm.Fake"},
            },
            "holds values that are no numbers",
        ),
    ],
    ids=["convert refuses", "keys differ", "nan"],
)  # fmt: skip
def test_a_file_that_does_not_fit_leaves_the_folder_as_it_was(
    spec: WeightSpec, file: Path, folder: Path, content: Any, words: str
) -> None:
    import_file("fake-net", file, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    wrong = file.with_name("wrong.pth")
    torch.save(content, wrong)
    with pytest.raises(WeightsMissing, match=words):
        import_file("fake-net", wrong, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_tied_and_strided_tensors_are_written_apart(
    spec: WeightSpec, file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = torch.arange(14.0).reshape(2, 7)

    def convert(*_: Any) -> dict[str, torch.Tensor]:
        return {"weight": base[1].reshape(1, 7, 1, 1), "bias": base[0, :1]}

    monkeypatch.setattr(weight_store, "find_converter", lambda _: convert)
    import_file("fake-net", file, folder)
    found = load_file(folder / "fake-net.safetensors")
    assert found["weight"].flatten().tolist() == base[1].tolist()
    assert found["bias"].tolist() == [0.0]


def test_only_plain_tensors_are_written(
    spec: WeightSpec, file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_store, "find_converter", lambda _: lambda *_: {"a": torch.eye(3).to_sparse()})
    with pytest.raises(WeightsMissing, match="a is no plain tensor"):
        import_file("fake-net", file, folder)


def test_a_full_disk_is_said_before_writing(
    spec: WeightSpec, file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(10))
    with pytest.raises(WeightsMissing, match=r"has 0 MB left .* make room"):
        import_file("fake-net", file, folder)
    assert list(folder.iterdir()) == []


def test_verifying_notices_what_was_changed(spec: WeightSpec, file: Path, folder: Path) -> None:
    with pytest.raises(WeightsMissing, match="not found"):
        check_weights(spec, folder)
    import_file("fake-net", file, folder)
    assert "whose digest nobody states" in check_weights(spec, folder)
    path = folder / "fake-net.safetensors"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(WeightsMissing, match=r"its record says .* changed or damaged"):
        check_weights(spec, folder)
    path.write_bytes(good)
    (folder / "fake-net.json").write_text("{}")
    with pytest.raises(WeightsMissing, match=r"fake-net\.json, which says where .* cannot be read"):
        check_weights(spec, folder)


def test_verifying_compares_with_the_published_digest(file: Path, folder: Path, tmp_path: Path) -> None:
    with registered() as spec:
        import_file("fake-net", file, folder)
    digest = save_official(tmp_path / "again.pth")
    with registered(replace(PUBLISHED, sha256=digest)) as spec:
        if digest == read_record(spec, folder).sha256:  # torch.save names the file inside
            assert "from the published file" in check_weights(spec, folder)
    with (
        registered(replace(PUBLISHED, sha256="0" * 64)) as spec,
        pytest.raises(WeightsMissing, match="was converted from a file with sha256"),
    ):
        check_weights(spec, folder)


def test_packaged_weights_are_verified_too(folder: Path) -> None:
    (clicknet,) = list_weights("clicknet")
    assert check_weights(clicknet, folder) == "as published"


def test_names_and_patterns(spec: WeightSpec) -> None:
    assert [found.name for found in list_weights("fake-*")] == ["fake-net"]
    assert "clicknet" in [found.name for found in list_weights()]
    assert find_published("fake-net") == (spec, PUBLISHED)
    with pytest.raises(UnknownModel, match=r"no weights 'fake-ent'; did you mean fake-net"):
        find_published("fake-ent")
    with pytest.raises(
        UnknownModel, match=r"'clicknet' has no published weights; those that have are .*fake-net"
    ):
        find_published("clicknet")


@pytest.mark.parametrize(
    ("licence", "terms", "expected"),
    [
        ("MIT", "", False),
        ("Apache-2.0", "trained on COCO and LVIS", False),
        ("CC-BY-NC-4.0 (MAE)", "", True),
        ("MIT", "NVIDIA Source Code License: non-commercial use", True),
        ("noncommercial", "", True),
        ("Apache-2.0", "research-only data", True),
    ],
)
def test_which_licences_have_to_be_accepted(licence: str, terms: str, expected: bool) -> None:
    assert restricted(replace(SPEC, licence=licence, published=Published("x.pth", terms=terms))) is expected


PUBLISHED_HERE = [found for found in list_weights() if found.published is not None]


@pytest.mark.parametrize("found", PUBLISHED_HERE, ids=lambda found: found.name)
def test_what_others_publish_can_be_found(found: WeightSpec) -> None:
    published = found.published
    assert published is not None
    assert found.file == f"{found.name}.safetensors"
    assert find_published(found.name) == (found, published)
    assert find_converter(found.name)
    assert (found.sha256, found.size) == ("", 0), "of the converted file, whose digest stands beside it"
    assert found.parameters > 0
    assert found.licence
    assert published.page.startswith("https://")
    assert all(url.startswith("https://") and url.endswith(published.file) for url in published.urls)
    assert re.fullmatch(r"([0-9a-f]{64})?", published.sha256)
    assert published.size > 1_000_000 or found.training


def test_licences_without_commercial_use_are_recognised() -> None:
    names = {found.name for found in PUBLISHED_HERE if restricted(found)}
    assert {"simpleclick-vit-b", "simpleclick-vit-l", "simpleclick-vit-h"} <= names
    assert {name for name in names if name.startswith("focalclick")} == {
        found.name for found in list_weights("focalclick-segformer-*")
    }
    assert not [name for name in names if name.startswith(("ritm", "sam", "slimsam", "mobile", "edge"))]
