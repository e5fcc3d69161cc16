"""``clickpick precompute`` on a click project, with a small random SAM."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from backend import embeddings
from backend.cli import app
from backend.embeddings import Decoder
from backend.errors import ConfigProblem
from backend.images import ImageFetcher
from backend.precomputed import EmbeddingFiles
from backend.services import open_images, open_studio
from backend.settings import Settings
from label_config import render
from model_zoo.registry import create_segmenter
from model_zoo.segmenters.base import Segmenter
from model_zoo.segmenters.sam_segmenter import SamSegmenter
from model_zoo.weights import WeightSource
from tests.backend.conftest import CLASSES, jpeg
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = pytest.mark.unit
NAME = "sam-vit-b"


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Heights of the images that were encoded."""
    seen: list[int] = []
    encode = SamSegmenter.encode

    def counted(self: SamSegmenter, image: object) -> object:
        seen.append(len(image))  # type: ignore[arg-type]
        return encode(self, image)  # type: ignore[arg-type]

    def create(name: str, device: str, _: object) -> Segmenter:
        return create_segmenter(name, device, WeightSource(tiny=name == NAME))

    monkeypatch.setattr(SamSegmenter, "encode", counted)
    monkeypatch.setattr(embeddings, "create_segmenter", create)
    monkeypatch.setattr(embeddings, "find_model", lambda *_: None)  # no weights are looked for
    return seen


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("LABEL_STUDIO_URL", settings.label_studio_url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", settings.token)
    monkeypatch.setenv("CLICKPICK_DATA", str(settings.data))
    monkeypatch.setenv("CLICKPICK_DEVICE", "cpu")
    return settings


def project_of(fake: FakeLabelStudio, *, images: int = 3) -> int:
    project = fake.add_project(render("click", CLASSES, segmenter=NAME))
    for number in range(images):
        fake.upload(project, f"{number}.jpg", jpeg(number))
    return project


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["precompute", *arguments])


def test_a_project_is_encoded_once_and_the_server_finds_it(
    fake: FakeLabelStudio, environment: Settings, encoded: list[int]
) -> None:
    project = project_of(fake)
    assert "3 images encoded, 0 were there already, 0 left out" in run("--project", str(project)).output
    assert len(encoded) == 3
    fake.upload(project, "new.jpg", jpeg(9))
    assert "1 images encoded, 3 were there already, 0 left out" in run("--project", str(project)).output
    assert len(encoded) == 4
    (spoilt, *_) = environment.embeddings_folder.iterdir()
    spoilt.write_bytes(spoilt.read_bytes()[:100])
    assert "1 images encoded, 3 were there already, 0 left out" in run("--project", str(project)).output
    assert len(encoded) == 5
    studio = open_studio(environment)
    images: ImageFetcher = open_images(environment, studio)
    files = EmbeddingFiles(environment.embeddings_folder, 1 << 30)
    decoder = Decoder(lambda: "cpu", 1 << 20, precomputed=files)
    for task in studio.tasks(project):
        decoder.embed(NAME, images.get(task.data["image"], task.id))
    assert len(encoded) == 5, "the server encodes none of them"
    images.close()
    studio.close()


def test_images_that_cannot_be_had_are_named_and_left_out(
    fake: FakeLabelStudio, environment: Settings, encoded: list[int]
) -> None:
    project = project_of(fake, images=1)
    broken = fake.upload(project, "broken.jpg", b"no image")
    done = run("--project", str(project))
    assert done.exit_code == 0
    assert "1 images encoded, 0 were there already, 1 left out" in done.output
    assert f"task {broken} is left out" in done.output


def test_a_full_quota_ends_it_with_what_to_do(
    fake: FakeLabelStudio, environment: Settings, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.commands.precompute.MEGABYTE", 0)
    done = run("--project", str(project_of(fake)))
    assert isinstance(done.exception, ConfigProblem)
    assert "raise CLICKPICK_PRECOMPUTED_MB" in str(done.exception)


@pytest.mark.parametrize("option", [(), ("--segmenter", "grabcut")])
def test_segmenters_that_encode_quickly_are_refused(
    fake: FakeLabelStudio, environment: Settings, encoded: list[int], option: tuple[str, ...]
) -> None:
    project = fake.add_project(render("click", CLASSES, segmenter=None if option else "grabcut"))
    done = run("--project", str(project), *option)
    assert isinstance(done.exception, ConfigProblem)
    assert "'grabcut' keeps no embeddings on the disk" in str(done.exception)
    assert not list(Path(environment.data).glob("embeddings/*"))


def test_a_project_that_nobody_clicks_in_is_refused(fake: FakeLabelStudio, environment: Settings) -> None:
    done = run("--project", str(fake.add_project(render("pixel", CLASSES))))
    assert isinstance(done.exception, ConfigProblem)
    assert "no smart control" in str(done.exception)
