"""``clickpick train-clicks`` and ``clickpick pretrain``, called as the command line calls them."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from backend import cli
from backend.commands import training_data, training_run
from backend.commands.project_images import fetch_project
from backend.embeddings import Decoder
from backend.model_check import NamedModel, check_models, models_of_settings
from backend.settings import Settings
from label_config import render
from model_zoo.errors import BadInput, UnknownModel
from model_zoo.registry import open_segmenter
from model_zoo.segmenters.clicknet_network import ClickNetShape, ClickNetwork
from model_zoo.segmenters.clicknet_weights import read_clicknet, save_clicknet
from model_zoo.segmenters.gpcis_network import GpcisNetwork
from model_zoo.segmenters.gpcis_weights import save_gpcis
from model_zoo.training import self_labels, tree_cache
from model_zoo.training.pictures import list_pictures
from model_zoo.training.trainer import ClickTrainer
from model_zoo.training.tree_cache import Grown
from tests.backend.conftest import jpeg
from tests.fakes.label_studio import FakeLabelStudio
from tests.model_zoo.training.toys import write_disks

pytestmark = pytest.mark.unit
SMALL = ClickNetShape(wide=16, middle=16, fine=8, finest=8, attention_blocks=1, heads=2)
TINY = ("--side", "64", "--views", "2", "--objects", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small untrained network."""
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    save_clicknet(ClickNetwork(SMALL), path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_disks(tmp_path / "disks")


@pytest.fixture
def quick_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Region trees of colours alone: no encoder is needed."""
    monkeypatch.setattr(training_run, "create_encoder", lambda *_: type("E", (), {"fingerprint": "colours"}))
    monkeypatch.setattr(
        tree_cache, "token_features", lambda image, _: image[4::8, 4::8].astype(np.float32) / 50.0
    )


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def train(folder: Path, out: Path, start: Path, *more: object) -> Result:
    masks = () if "--trees" in more else ("--no-trees",)
    return call("train-clicks", "--data", folder, "--out", out, "--init", start, *TINY, *masks, *more)


def line(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, (result.output, result.exception)
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def test_weights_log_and_json_are_left(folder: Path, tmp_path: Path, start: Path) -> None:
    out = tmp_path / "out"
    found = line(train(folder, out, start, "--steps", 2))
    assert (found["segmenter"], found["steps"], found["resumed_at"], found["images"]) == ("clicknet", 2, 0, 3)
    assert found["weights"] == str(out / "clicknet.safetensors")
    assert len(found["sha256"]) == 64
    assert 0 <= found["iou"] <= 1
    assert set(found["versions"]) >= {"clickpick", "torch"}
    assert read_clicknet(out / "clicknet.safetensors").shape == SMALL
    (logged,) = (json.loads(text) for text in (out / "log.jsonl").read_text().splitlines())
    assert (logged["step"], logged["done"]) == (2, 1.0)


def test_a_stopped_training_goes_on_where_it_was(
    folder: Path, tmp_path: Path, start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = line(train(folder, tmp_path / "whole", start, "--steps", 3))
    real, out = ClickTrainer.learn, tmp_path / "out"

    def press(self: ClickTrainer, batch: Any) -> tuple[float, float]:
        answer = real(self, batch)
        if self.step == 1:
            signal.raise_signal(signal.SIGINT)
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(ClickTrainer, "learn", press)
        stopped = train(folder, out, start, "--steps", 3)
    assert stopped.exit_code == 130
    assert "run the same command again to go on" in stopped.stderr
    assert stopped.stdout == ""
    assert not (out / "clicknet.safetensors").exists()
    again = train(folder, out, start, "--steps", 3)
    assert "going on from step 1" in again.stderr
    found = line(again)
    assert found["resumed_at"] == 1
    assert found["sha256"] == whole["sha256"]


def test_a_checkpoint_of_other_settings_is_refused(folder: Path, tmp_path: Path, start: Path) -> None:
    out = tmp_path / "out"
    line(train(folder, out, start, "--steps", 1))
    other = train(folder, out, start, "--steps", 2, "--seed", 7)
    assert other.exit_code == 2
    assert "seed was 0 and is 7; steps was 1 and is 2" in other.stderr


def test_gpcis_is_trained_and_its_file_opened(folder: Path, tmp_path: Path) -> None:
    start, out = tmp_path / "start.safetensors", tmp_path / "out"
    save_gpcis(GpcisNetwork("resnet10t"), start)
    gpcis = "--segmenter", "gpcis-resnet50"
    found = line(train(folder, out, start, "--steps", 1, *gpcis))
    assert (found["segmenter"], found["steps"]) == ("gpcis-resnet50", 1)
    assert found["weights"] == str(out / "gpcis-resnet50.safetensors")
    assert (
        open_segmenter(f"gpcis-resnet50:{found['weights']}").name
        == "gpcis-resnet50:gpcis-resnet50.safetensors"
    )
    for more, words in (
        (("--trained-stages", 2), "all of gpcis-resnet50 is trained"),
        (("--views", 1), "fewer samples than gpcis-resnet50 needs"),
        (("--init", "clicknet"), "--init clicknet is no file"),
    ):
        refused = train(folder, tmp_path / "other", start, "--steps", 1, *gpcis, *more)
        assert refused.exit_code == 2, refused.exception
        assert words in refused.stderr


def test_regions_of_trees_alone(folder: Path, tmp_path: Path, start: Path, quick_trees: None) -> None:
    found = line(train(folder, tmp_path / "out", start, "--steps", 1, "--trees", "--no-masks"))
    assert found["trees"] == 3
    assert len(list((tmp_path / "out" / "trees").iterdir())) == 3


def test_pretrain_measures_before_and_after(
    folder: Path, tmp_path: Path, start: Path, quick_trees: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_data, "start_network", lambda *_: read_clicknet(start))
    (folder / "images" / "broken.png").write_bytes(b"no image")
    result = call(
        "pretrain", "--images", folder, "--out", tmp_path / "out", "--steps", 1, "--regions", 1, *TINY
    )
    found = line(result)
    assert (found["images"], found["kept_aside"], found["skipped"]) == (2, 1, 1)
    assert "warning: 1 images could not be read" in result.stderr
    for when in ("before", "after"):
        assert set(found[when]) == {"regions", "noc85", "noc90", "iou_at_1"}
        assert 1 <= found[when]["noc85"] <= found[when]["noc90"] <= 20
    assert (tmp_path / "out" / "clicknet.safetensors").is_file()


@pytest.fixture
def self_train(
    folder: Path, tmp_path: Path, start: Path, quick_trees: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """``pretrain --self-train`` with a network that learnt nothing, whose every answer is kept."""
    monkeypatch.setattr(training_data, "start_network", lambda *_: read_clicknet(start))
    monkeypatch.setattr(self_labels, "AGREEING", 0.0)

    def run(*more: object, flag: str = "--self-train") -> Result:
        out = ("--out", tmp_path / "out", "--regions", 1, *TINY)
        return call("pretrain", "--images", folder, "--steps", 1, *out, *([flag] if flag else []), *more)

    return run


def test_a_model_learns_from_its_own_answers(
    self_train: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[ClickTrainer] = []
    real = ClickTrainer.learn

    def seen(self: ClickTrainer, batch: Any) -> tuple[float, float]:
        found.append(self)
        return real(self, batch)

    monkeypatch.setattr(ClickTrainer, "learn", seen)
    record = line(self_train())
    assert (record["images"], record["kept_aside"], record["steps"]) == (2, 1, 1)
    assert 2 <= record["self_labelled"] <= 6
    (trainer,) = found
    assert (trainer.policy.smoothness, trainer.settings["self_train"]) == (0.5, True)
    assert trainer._maker._policy.unlabelled == 0.4
    labels = trainer._maker._answers
    assert sum(len(regions) for regions in labels.values()) == record["self_labelled"]  # type: ignore[arg-type]
    assert labels.keys() <= {str(picture.image) for picture in trainer._maker._pictures}


def test_only_photographs_to_learn_from_are_labelled_and_only_once(
    self_train: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside: list[str] = []
    real = training_run.own_answers

    def watched(learnt: list[Grown], *more: Any) -> Any:
        aside.extend({"disk0", "disk1", "disk2"} - {one.picture.name for one in learnt})
        return real(learnt, *more)

    monkeypatch.setattr(training_run, "own_answers", watched)
    first = line(self_train())
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "self").iterdir()}
    assert len(aside) == 1
    assert {path.name.split("-")[0] for path in files} == {"disk0", "disk1", "disk2"} - set(aside)
    again = line(self_train())
    assert again["resumed_at"] == 1
    assert again["self_labelled"] == first["self_labelled"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "self").iterdir()} == files


def test_a_checkpoint_goes_on_with_self_training_as_it_began(
    self_train: Callable[..., Result], tmp_path: Path
) -> None:
    assert line(self_train(flag=""))["self_labelled"] == 0
    assert not (tmp_path / "out" / "self").exists()
    refused = self_train()
    assert refused.exit_code == 2
    assert "self_train was False and is True" in refused.stderr


def test_an_encoder_alone_cannot_train_itself(self_train: Callable[..., Result], tmp_path: Path) -> None:
    refused = self_train("--from-scratch")
    assert refused.exit_code == 2
    assert "an encoder alone cannot answer clicks" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_processes_share_the_photographs_that_they_label(
    folder: Path, tmp_path: Path, start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tree_cache.build_tree(np.random.default_rng(0).normal(size=(8, 8, 2)).astype(np.float32))
    learnt = [Grown(picture, tree) for picture in list_pictures(folder)]
    monkeypatch.setattr(self_labels, "AGREEING", 0.0)
    outputs = training_run.Outputs(tmp_path / "out", "clicknet")
    waited: list[set[str]] = []

    def barrier() -> None:
        waited.append({path.name.split("-")[0] for path in outputs.answers.iterdir()})

    segmenter = training_run.copied("clicknet", read_clicknet(start), "cpu")
    monkeypatch.setattr(training_run, "processes", lambda: (2, 0))
    monkeypatch.setattr(training_run.distributed, "barrier", barrier)
    found = training_run.own_answers(learnt, segmenter, outputs, seed=0)
    assert waited == [{"disk0", "disk2"}]
    assert set(found) <= {str(one.picture.image) for one in learnt}
    assert len(found) >= 2


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train-clicks --data DISKS --out OUT", "neither --steps nor --minutes is given"),
        ("train-clicks --data DISKS --out OUT --minutes 0", "--minutes is 0.0; expected a number above 0"),
        ("train-clicks --data nowhere --out OUT --steps 1 --no-trees", "nowhere is no folder"),
        ("train-clicks --data DISKS=0 --out OUT --steps 1 --no-trees", "the weight is 0"),
        ("train-clicks --data DISKS/images --out OUT --steps 1 --no-trees", "no image of"),
        (
            "train-clicks --data DISKS --out OUT --steps 1 --side 100",
            "--side is 100; expected a multiple of 32",
        ),
        ("train-clicks --data DISKS --out OUT --steps 1 --no-trees --no-masks", "nothing to learn from"),
        (
            "train-clicks --data DISKS --out OUT --steps 1 --exclude nowhere",
            "--exclude nowhere cannot be read",
        ),
        (
            "train-clicks --data DISKS --out OUT --steps 1 --no-trees --init nowhere",
            "--init nowhere is no file",
        ),
        ("train-clicks --data DISKS --out DISKS/images/disk0.png --steps 1", "cannot be a folder"),
        ("train-clicks --data DISKS --out OUT --steps 1 --segmenter grabcut", "those that can are clicknet,"),
        ("train-clicks --data DISKS --out OUT --steps 1 --device fast", "--device is 'fast'"),
        ("pretrain --images DISKS --segmenter gp-lite0 --steps 1", "'gp-lite0' cannot be trained here"),
        ("pretrain --images DISKS", "neither --steps nor --minutes is given"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    folder: Path, tmp_path: Path, command: str, words: str
) -> None:
    filled = command.replace("DISKS", str(folder)).replace("OUT", str(tmp_path / "out"))
    result = call(*filled.split())
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_one_source_of_images_is_expected(tmp_path: Path) -> None:
    outputs = training_run.Outputs(tmp_path, "clicknet")
    for images, project in ((None, None), (tmp_path, 3)):
        with pytest.raises(BadInput, match="expected one of --images and --project"):
            training_data.unlabelled(images, project, outputs)


def test_folders_share_the_draws_by_their_weights(folder: Path, tmp_path: Path) -> None:
    other = write_disks(tmp_path / "x=1", count=1)
    excluded = tmp_path / "excluded.txt"
    excluded.write_text("disks/images/disk0.png\n\n")
    found = training_data.sources([f"{folder}=0.5", str(other)], excluded, labelled=True)
    assert [(picture.name, weight) for picture, weight in found] == [
        ("disk1", 0.25), ("disk2", 0.25), ("disk0", 1.0)
    ]  # fmt: skip


def test_a_log_is_cut_at_the_step_that_is_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 20}\n{"step": 40}\n{"step": 60}\n{"st')
    training_run._cut_log(path, 40)
    assert path.read_text() == '{"step": 20}\n{"step": 40}\n'


def test_a_projects_images_are_fetched_once_and_bad_ones_skipped(
    fake: FakeLabelStudio, settings: Settings, tmp_path: Path
) -> None:
    project = fake.add_project(render("pixel", ("sky", "grass")))
    good = [fake.upload(project, f"{n}.jpg", jpeg(n)) for n in range(2)]
    fake.upload(project, "bad.jpg", b"no image")
    told: list[tuple[int, int]] = []
    found = fetch_project(settings, project, tmp_path / "images", lambda done, of: told.append((done, of)))
    assert found.skipped == 1
    assert [path.name.split("-")[1] for path in found.paths] == [str(task) for task in good]
    assert told[-1][0] == 3
    with Image.open(found.paths[0]) as image:
        assert image.size == (64, 48)
    asked = len(fake.calls)
    again = fetch_project(settings, project, tmp_path / "images", lambda *_: None)
    assert again == found
    assert not any("0.jpg" in str(request) for request in fake.calls[asked:])


def test_a_weight_file_is_taken_from_the_settings_and_from_nobody_else(
    start: Path, make_settings: Callable[..., Settings]
) -> None:
    name = f"clicknet:{start}"
    assert Decoder(lambda: "cpu", 1 << 20, name).segmenter(name).name == "clicknet:start.safetensors"
    for trusted in ("gp-lite0", "", f"clicknet:{start}.other"):
        with pytest.raises(UnknownModel, match="is not known"):
            Decoder(lambda: "cpu", 1 << 20, trusted).segmenter(name)
    assert list(check_models(models_of_settings(make_settings(segmenter=name)))) == []
    (problem,) = check_models([NamedModel("segmenter", name, f'segmenter="{name}"')])
    assert problem.code == "model-unknown"
    (problem,) = check_models([NamedModel("segmenter", f"{name}.not", "settings", files=True)])
    assert problem.code == "weights-missing"
    (problem,) = check_models([NamedModel("segmenter", f"grabcut:{start}", "settings", files=True)])
    assert problem.code == "model-unknown"
