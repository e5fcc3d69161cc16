"""``clickpick export``: what people and a version said comes back from the files as it was said."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from typer.testing import CliRunner, Result

from backend.cli import app
from backend.errors import ConfigProblem, StudioUnavailable
from backend.learning.versions import Versions
from backend.settings import Settings
from backend.store import Store, Version
from label_config import collect_labels, mask_regions, read_schema, render
from model_zoo.registry import create_learner
from tests.backend.conftest import CLASSES, HEIGHT, WIDTH, answer, jpeg
from tests.backend.learning import fake_learners
from tests.fakes.label_studio import FakeLabelStudio

pytestmark = [
    pytest.mark.unit,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),  # in pycocotools
]

CONFIG = render("both", CLASSES)
(SHOWN,) = read_schema(CONFIG).images
Run = Callable[..., Result]


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("LABEL_STUDIO_URL", settings.label_studio_url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", settings.token)
    monkeypatch.setenv("CLICKPICK_DATA", str(settings.data))
    monkeypatch.setenv("CLICKPICK_DEVICE", "cpu")
    monkeypatch.chdir(tmp_path)

    def execute(project: int, *arguments: str) -> Result:
        done = CliRunner().invoke(app, ["export", "--project", str(project), "--out", "out", *arguments])
        if done.exit_code == 0:
            assert not (tmp_path / "out.part").exists()
        return done

    return execute


@pytest.fixture
def publish(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Version]:
    """A version that says sky above and grass below."""
    fake_learners.register(monkeypatch)

    def make(project: int, classes: tuple[str, ...] = CLASSES) -> Version:
        learner = create_learner(fake_learners.INSTANT)
        learner.fit([], classes)
        with closing(Store(settings.store_url)) as store:
            store.remember_project(project, "config")
            versions = Versions(store, settings.versions_folder)
            return versions.publish(project, learner, digest="abcdef0", labels=7, metrics={})

    return make


def blob(row: int, col: int, size: int = 8, hole: bool = False) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[row : row + size, col : col + size] = True
    if hole:
        mask[row + 2 : row + size - 2, col + 2 : col + size - 2] = False
    return mask


def drawn(mask: np.ndarray, label: str, number: int = 0, **changes: Any) -> list[dict[str, Any]]:
    schema = changes.pop("schema", SHOWN)
    regions = mask_regions(mask, schema, label, region_id=f"m{number}", item_index=changes.pop("page", None))
    return [{**region, "origin": "manual", **changes} for region in regions]


def record(name: str) -> dict[str, Any]:
    return dict(json.loads(Path(f"out/records/{name}.json").read_text()))


def manifest() -> dict[str, Any]:
    return dict(json.loads(Path("out/manifest.json").read_text()))


def values(file: str) -> np.ndarray:
    return np.asarray(Image.open(f"out/{file}"))


def test_png_values_are_classes_and_colours_are_those_of_the_project(
    run: Run, fake: FakeLabelStudio, publish: Callable[[int], Version]
) -> None:
    project = fake.add_project(CONFIG)
    task, other = (fake.upload(project, f"{n}.jpg", jpeg(n)) for n in range(2))
    sky, grass = blob(3, 5, hole=True), blob(30, 40)
    void = answer(0, 0, "void", 1)
    annotation = fake.annotate(
        task, [*drawn(sky, "sky", 0), *drawn(grass, "grass", 1), answer(10, 50, "grass"), void], user=3
    )
    version = publish(project)
    done = run(project)
    assert done.exit_code == 0, done.output
    assert "2 images (1 with labels of people, 2 of the model) are in" in done.output

    truth = np.full((HEIGHT, WIDTH), 255)
    truth[sky], truth[grass], truth[10, 50] = 0, 1, 1
    assert np.array_equal(values(f"human/task-{task}.png"), truth)
    assert not Path(f"out/human/task-{other}.png").exists()
    halves = np.repeat([0, 1], HEIGHT // 2)[:, None].repeat(WIDTH, axis=1)
    for each in (task, other):
        assert np.array_equal(values(f"model/task-{each}.png"), halves)
        assert (values(f"confidence/task-{each}.png") == 255).all()

    colours = [entry["colour"] for entry in manifest()["classes"]]
    seen = np.asarray(Image.open(f"out/human/task-{task}.png").convert("RGB"))
    assert [f"#{seen[at].tobytes().hex()}" for at in ((3, 5), (30, 40))] == colours
    assert all(f'background="{colour}"' in CONFIG for colour in colours)
    assert manifest()["void"] == 255
    assert manifest()["version"]["name"] == version.name
    (source,) = record(f"task-{task}")["human"]["sources"]
    assert (source["annotation"], source["annotator"], source["seconds"]) == (annotation, 3, 1.0)
    assert record(f"task-{task}")["human"]["pixels"] == [[0, 0, "void"], [10, 50, "grass"]]
    assert record(f"task-{other}")["model"] == {"version": version.name, "confidence": 1.0, "labelled": 1.0}


@pytest.mark.parametrize("output", ["brush", "bitmask", "polygon"])
@pytest.mark.parametrize("merge", [True, False])
def test_coco_loads_in_pycocotools_and_decodes_to_the_same_masks(
    run: Run, fake: FakeLabelStudio, output: Any, merge: bool
) -> None:
    config = render("click", CLASSES, output)
    (schema,) = read_schema(config).images
    project = fake.add_project(config)
    fake.upload(project, "nobody.jpg", jpeg(9))
    task = fake.upload(project, "photo.jpg", jpeg(0))
    first, second, grass = blob(2, 2, 12, hole=True) | blob(2, 30), blob(25, 2), blob(25, 40)
    fake.annotate(
        task,
        [
            *drawn(first, "sky", 0, schema=schema),
            *drawn(second, "sky", 1, schema=schema),
            *drawn(grass, "grass", 2, schema=schema),
        ],
    )
    done = run(project, "--format", "coco", "--merge" if merge else "--no-merge")
    assert done.exit_code == 0, done.output

    coco = COCO("out/human.json")
    assert {cat["name"]: cat["id"] for cat in coco.loadCats(coco.getCatIds())} == {"sky": 1, "grass": 2}
    (image,) = coco.loadImgs(coco.getImgIds())
    assert (image["file_name"], image["height"], image["width"]) == ("photo.jpg", HEIGHT, WIDTH)
    objects = coco.loadAnns(coco.getAnnIds())
    expected = [first | second, grass] if merge else [first, second, grass]
    assert [one["category_id"] for one in objects] == ([1, 2] if merge else [1, 1, 2])
    for found, mask in zip(objects, expected, strict=True):
        assert np.array_equal(coco.annToMask(found), mask)
        assert found["area"] == mask.sum()
        x, y, width, height = found["bbox"]
        rows, cols = np.nonzero(mask)
        assert (x, y, x + width, y + height) == (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1)
        assert found["annotators"] == [1]
    assert not Path("out/model.json").exists()


def test_coco_of_a_version_says_how_sure_it_is(
    run: Run, fake: FakeLabelStudio, publish: Callable[[int], Version]
) -> None:
    project = fake.add_project(CONFIG)
    fake.upload(project, "photo.jpg", jpeg(0))
    version = publish(project)
    assert run(project, "--format", "coco", "--images").exit_code == 0
    coco = COCO("out/model.json")
    sky, grass = coco.loadAnns(coco.getAnnIds())
    assert (sky["score"], sky["version"], grass["bbox"]) == (1.0, version.name, [0, 24, 64, 24])
    (image,) = coco.loadImgs(coco.getImgIds())
    assert values(image["file_name"]).shape == (HEIGHT, WIDTH, 3)
    assert len(coco.loadRes([sky, grass]).getAnnIds()) == 2, "also as results to evaluate"


def test_npz_has_masks_confidence_and_labels(
    run: Run, fake: FakeLabelStudio, publish: Callable[[int], Version]
) -> None:
    project = fake.add_project(CONFIG)
    task = fake.upload(project, "photo.jpg", jpeg(0))
    fake.annotate(task, [*drawn(blob(3, 5), "grass"), answer(0, 1, "sky"), answer(0, 2, "void")])
    publish(project)
    assert run(project, "--format", "npz").exit_code == 0
    with np.load(f"out/arrays/task-{task}.npz") as found:
        assert found["classes"].tolist() == list(CLASSES)
        assert np.array_equal(found["human"] == 1, blob(3, 5))
        assert found["pixels"].tolist() == [[0, 1, 0], [0, 2, 255]]
        assert found["model"].dtype == np.uint8
        assert found["confidence"].shape == (HEIGHT, WIDTH)


def test_annotators_are_counted_by_the_rules_of_the_rounds(run: Run, fake: FakeLabelStudio) -> None:
    """Latest of each, cancelled never, untouched pre-annotations never, ties are void; as ``collect_labels`` says."""
    project = fake.add_project(CONFIG)
    task, skipped = (fake.upload(project, f"{n}.jpg", jpeg(n)) for n in range(2))
    shared, mine, yours = blob(2, 2), blob(2, 20), blob(20, 2)
    fake.annotate(task, drawn(blob(40, 40), "sky"), user=1)  # replaced by the next one
    fake.annotate(
        task, [*drawn(shared | mine, "sky"), *drawn(blob(30, 30), "sky", 1, origin="prediction")], user=1
    )
    fake.annotate(task, [*drawn(shared, "sky"), *drawn(mine, "grass", 1), *drawn(yours, "grass", 2)], user=2)
    fake.annotate(task, drawn(blob(35, 2), "sky"), user=3, cancelled=True)
    fake.annotate(skipped, [], user=1, cancelled=True)
    assert run(project, "--format", "coco", "--no-merge").exit_code == 0
    coco = COCO("out/human.json")
    sky, grass = coco.loadAnns(coco.getAnnIds())
    assert np.array_equal(coco.annToMask(sky), shared)
    assert np.array_equal(coco.annToMask(grass), yours)
    assert sky["annotators"] == [1, 2]
    (labels,) = collect_labels(SHOWN, fake.task_json(task))
    assert labels.dense is not None
    assert np.array_equal(labels.dense == 0, coco.annToMask(sky))
    assert manifest()["images"] == [f"task-{task}"], "skipped tasks have no labels"


def test_pages_are_images_of_their_own(
    run: Run, fake: FakeLabelStudio, publish: Callable[[int], Version]
) -> None:
    config = CONFIG.replace('value="$image" zoom', 'valueList="$image" zoom')
    (schema,) = read_schema(config).images
    project = fake.add_project(config)
    pages = [f"/data/upload/{project}/{n}.jpg" for n in range(3)]
    fake.uploads |= {page: jpeg(n) for n, page in enumerate(pages)}
    task = fake.add_task(project, {"image": pages})
    fake.annotate(
        task,
        [
            *drawn(blob(2, 2), "sky", 0, schema=schema, page=0),
            *drawn(blob(20, 20), "grass", 1, schema=schema, page=2),
        ],
    )
    assert run(project, "--source", "people").exit_code == 0
    assert manifest()["images"] == [f"task-{task}-page-1", f"task-{task}-page-3"]
    assert np.array_equal(values(f"human/task-{task}-page-3.png") == 1, blob(20, 20))
    assert run(project, "--source", "people", "--format", "coco", "--no-merge").exit_code == 0
    coco = COCO("out/human.json")
    assert [np.flatnonzero(coco.annToMask(one)).min() for one in coco.loadAnns(coco.getAnnIds())] == [
        130,
        1300,
    ]
    publish(project)
    assert run(project).exit_code == 0
    assert len(manifest()["images"]) == 3


def test_rotated_photographs_are_exported_upright(
    run: Run, fake: FakeLabelStudio, publish: Callable[[int], Version]
) -> None:
    project = fake.add_project(CONFIG)
    lying = Image.open(io.BytesIO(jpeg(0))).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    lying.save(stream, "JPEG", quality=95, exif=exif)
    task = fake.upload(project, "lying.jpg", stream.getvalue())
    fake.annotate(task, drawn(blob(2, 2), "sky"))
    publish(project)
    assert run(project, "--images").exit_code == 0
    for file in ("human", "model", "confidence"):
        assert values(f"{file}/task-{task}.png").shape == (HEIGHT, WIDTH)
    upright = values(f"images/task-{task}.png").astype(int)
    assert (upright[:20, :, 2] > upright[:20, :, 1]).mean() > 0.9, "the sky is above"


def test_only_what_changed_is_made_again_and_what_is_gone_goes(
    run: Run, fake: FakeLabelStudio, publish: Callable[[int], Version]
) -> None:
    project = fake.add_project(CONFIG)
    tasks = [fake.upload(project, f"{n}.jpg", jpeg(n)) for n in range(3)]
    annotation = fake.annotate(tasks[0], drawn(blob(2, 2), "sky"))
    publish(project)
    assert "; 0 were there already" in run(project).output
    assert "; 3 were there already" in run(project).output
    fake.annotations[annotation]["result"] = drawn(blob(9, 9), "sky")
    del fake.tasks[tasks[2]]
    assert "2 images (1 with labels of people, 2 of the model)" in (done := run(project).output)
    assert "; 1 were there already" in done
    assert np.array_equal(values(f"human/task-{tasks[0]}.png") == 0, blob(9, 9))
    assert not Path(f"out/model/task-{tasks[2]}.png").exists()
    publish(project)
    assert "; 0 were there already" in run(project).output, "a new version says it anew"


def test_cut_short_it_goes_on_where_it_was_and_the_old_export_stays(
    run: Run, fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch, publish: Callable[[int], Version]
) -> None:
    project = fake.add_project(CONFIG)
    for number in range(4):
        fake.upload(project, f"{number}.jpg", jpeg(number))
    publish(project)
    assert run(project).exit_code == 0
    before = Path("out/manifest.json").read_text()
    publish(project)
    predict, count = fake_learners.FakeLearner.predict_proba, iter(range(9))

    def broken(self: Any, image: Any, samples: int = 1) -> Any:
        if next(count) == 2:
            raise KeyboardInterrupt
        return predict(self, image, samples)

    with monkeypatch.context() as patch:
        patch.setattr(fake_learners.FakeLearner, "predict_proba", broken)
        done = run(project)
    assert done.exit_code == 130
    assert "goes on there" in done.output.replace("\n", " ")
    assert Path("out/manifest.json").read_text() == before
    assert "; 2 were there already" in run(project).output


def test_images_that_cannot_be_had_are_named_and_tried_again(
    run: Run, fake: FakeLabelStudio, publish: Callable[[int], Version]
) -> None:
    project = fake.add_project(CONFIG)
    broken = fake.upload(project, "broken.jpg", b"no image")
    other = fake.upload(project, "other.jpg", jpeg(1, height=30))
    for task in (broken, other):
        fake.annotate(task, drawn(blob(2, 2), "sky"))
    publish(project)
    done = run(project)
    assert done.exit_code == 0
    assert [one["name"] for one in manifest()["left_out"]] == [f"task-{broken}", f"task-{other}"]
    assert "its labels belong to an image of 64x48 and the image is now 64x30" in done.output
    assert np.array_equal(values(f"human/task-{broken}.png") == 0, blob(2, 2)), (
        "people's labels need no image"
    )
    fake.uploads[f"/data/upload/{project}/broken.jpg"] = jpeg(0)
    assert "1 have a problem" in run(project).output
    assert Path(f"out/model/task-{broken}.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--source", "model"], "has no version yet"),
        (["--version", "5"], "has no version 5; there are: none"),
        (["--image-tag", "front"], "has no image 'front' with classes (there are: image)"),
    ],
)
def test_what_is_not_there_is_said(run: Run, fake: FakeLabelStudio, arguments: list[str], words: str) -> None:
    done = run(fake.add_project(CONFIG), *arguments)
    assert isinstance(done.exception, ConfigProblem)
    assert words in str(done.exception)
    assert not Path("out").exists()
    assert not Path("out.part").exists()


def test_a_config_without_classes_and_an_absent_label_studio_are_said(
    run: Run, fake: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(fake.add_project('<View><Image name="image" value="$image"/></View>'))
    assert isinstance(done.exception, ConfigProblem)
    assert "no image with a query or an output control" in str(done.exception)
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:9")
    assert isinstance(run(1).exception, StudioUnavailable)


def test_other_peoples_folders_are_refused(run: Run, fake: FakeLabelStudio) -> None:
    Path("out").mkdir()
    Path("out/thesis.tex").write_text("mine")
    done = run(fake.add_project(CONFIG))
    assert done.exit_code == 2
    assert "is no export of ClickPick" in done.output.replace("\n", " ")
    assert Path("out/thesis.tex").read_text() == "mine"


def test_a_mask_of_another_program_round_trips(run: Run, fake: FakeLabelStudio) -> None:
    """A soft brush edge counts from half on, in the export as in training."""
    project = fake.add_project(CONFIG)
    task = fake.upload(project, "photo.jpg", jpeg(0))
    disk = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(disk, (30, 20), 11, 1, -1)
    fake.annotate(task, drawn(disk > 0, "grass"))
    assert run(project).exit_code == 0
    assert np.array_equal(values(f"human/task-{task}.png") == 1, disk > 0)


def test_the_code_of_the_documentation_reads_an_export(
    run: Run, fake: FakeLabelStudio, publish: Callable[[int], Version]
) -> None:
    project = fake.add_project(CONFIG)
    task = fake.upload(project, "photo.jpg", jpeg(0))
    fake.annotate(task, drawn(blob(2, 2), "grass"))
    publish(project)
    assert run(project).exit_code == 0
    Path("out").rename("export-7-png")
    text = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
    found: dict[str, Any] = {}
    exec(text.partition("```python\n")[2].partition("```")[0], found)
    assert found["classes"] == list(CLASSES)
    assert (found["mask"][blob(2, 2)] == 1).all(), "people's labels come before the model's"
    assert (found["mask"][0] == 0).all()
