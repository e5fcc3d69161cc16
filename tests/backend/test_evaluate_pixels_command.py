"""``clickpick evaluate pixels``, called as the command line calls it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from backend import cli
from backend.commands import evaluate_output
from model_zoo import registry
from model_zoo.encoders import Encoder
from model_zoo.errors import WeightsMissing
from model_zoo.learners.base import Learner
from tests.backend.learning.simulated_toys import Reporting, Seeing
from tests.model_zoo.learners.learner_pictures import stripes

pytestmark = pytest.mark.unit

TOYS = {"seeing": Seeing, "reporting": Reporting}
FOLDERS = ("train", "train_labels", "test", "test_labels")
IDS = np.array([3, 0, 7], dtype=np.uint8)
"""Of the stripes, left to right; 9 is void."""
KEYS = {
    "budget", "seed", "miou", "miou_best", "per_class", "labels", "void_hit_rate", "fit_seconds", "acquire_seconds",
    "test_seconds", "learner", "acquisition", "selection", "initial", "noise", "ask_void", "budget_over",
    "train_images", "test_images", "machine", "versions",
}  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Stripes: three images to train on and one to test on, the two leftmost columns void."""
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
    for name, seed in (("train/a", 0), ("train/b", 1), ("train/c", 2), ("test/a", 3)):
        image, truth = stripes(20, 30, seed=seed)
        labels = IDS[truth]
        labels[:, :2] = 9
        folder, stem = name.split("/")
        Image.fromarray(image).save(tmp_path / folder / f"{stem}.png")
        Image.fromarray(labels).save(tmp_path / f"{folder}_labels" / f"{stem}.png")
    (tmp_path / "train" / "SOURCE.md").write_text("not an image")
    (tmp_path / "classes.txt").write_text("3 Red wall\n0 Green\n7 Blue\n9 Void\n")
    return tmp_path


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    real = registry.create_learner

    def create(name: str, device: str = "cpu") -> Learner:
        return TOYS[name]() if name in TOYS else real(name, device)

    monkeypatch.setattr(registry, "create_learner", create)


def evaluate(data: Path, *arguments: str | Path) -> Result:
    """The command's result; an error that ``main`` would turn into exit code 1 is its ``exception``."""
    folders = [text for name in FOLDERS for text in (f"--{_option(name)}", str(data / name))]
    fixed = ["--classes", str(data / "classes.txt"), "--void", "9", "--device", "cpu"]
    return CliRunner().invoke(cli.app, ["evaluate", "pixels", *folders, *fixed, *map(str, arguments)])


def _option(folder: str) -> str:
    return folder.replace("_", "-") if folder.endswith("labels") else f"{folder}-images"


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_json_line_a_seed_and_budget(toys: None, data: Path) -> None:
    found = lines(evaluate(data, "--learner", "seeing", "--budgets", "2,5", "--seeds", "2"))
    assert [(line["seed"], line["budget"], line["labels"]) for line in found] == [
        (0, 2, 6), (0, 5, 15), (1, 2, 6), (1, 5, 15),
    ]  # fmt: skip
    for line in found:
        assert set(line) == KEYS
        assert (line["miou"], line["miou_best"], line["void_hit_rate"]) == (1.0, None, 0.0)
        assert line["per_class"] == {"Red wall": 1.0, "Green": 1.0, "Blue": 1.0}
        assert (line["train_images"], line["test_images"]) == (3, 1)
        assert set(line["machine"]) == {"cpu", "cores", "gpu", "python"}


def test_the_method_is_the_servers_unless_named(
    toys: None, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLICKPICK_LEARNER", "seeing")
    (line,) = lines(evaluate(data, "--budgets", "2", "--seeds", "1"))
    assert (line["learner"], line["acquisition"], line["selection"]) == (
        "seeing",
        "balanced_margin",
        "top5",
    )
    assert (line["initial"], line["budget_over"]) == ("coverage", "image")
    monkeypatch.setenv("CLICKPICK_BUDGET", "queue")
    monkeypatch.setenv("CLICKPICK_SELECTION", "top")
    (line,) = lines(evaluate(data, "--budgets", "2", "--seeds", "1"))
    assert (line["selection"], line["budget_over"]) == ("top", "queue")
    named = ("--acquisition", "entropy", "--selection", "top5", "--initial", "top5", "--budget-over", "image")
    (line,) = lines(evaluate(data, "--budgets", "2", "--seeds", "1", *named))
    assert (line["acquisition"], line["selection"], line["initial"]) == ("entropy", "top5", "top5")
    assert line["budget_over"] == "image"


@pytest.mark.parametrize("selection", ["top", "top5", "coverage"])
@pytest.mark.parametrize("over", ["image", "queue"])
def test_every_selection_keeps_the_budget_of_all_images_together(
    toys: None, data: Path, selection: str, over: str
) -> None:
    named = ("--selection", selection, "--initial", "coverage", "--budget-over", over)
    found = lines(evaluate(data, "--learner", "seeing", "--budgets", "3,7,12", "--seeds", "1", *named))
    assert [line["labels"] for line in found] == [9, 21, 36]


def test_coverage_is_not_measured_without_its_weights(
    toys: None, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random pixels under its name would be a wrong figure."""

    def missing(*_: object) -> None:
        raise WeightsMissing("weights of this test not found")

    monkeypatch.setattr("model_zoo.encoders.create_encoder", missing)
    plain = "--learner", "seeing", "--budgets", "2", "--seeds", "1", "--initial", "random"
    assert lines(evaluate(data, *plain))
    for option in ("--initial", "--selection"):
        result = evaluate(data, *plain, option, "coverage")
        assert isinstance(result.exception, WeightsMissing)
        assert result.stdout == ""


def test_a_probe_of_the_same_encoder_shares_its_passes_with_coverage(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    real = Encoder.features

    def features(encoder: Encoder, *arguments: Any) -> Any:
        passes.append(1)
        return real(encoder, *arguments)

    monkeypatch.setattr(Encoder, "features", features)
    arguments = ("--learner", "probe-lite0", "--budgets", "4", "--seeds", "1", "--initial", "coverage")
    (shared,) = lines(evaluate(data, *arguments))
    assert len(passes) == 4, "three images to train on and one to test on"
    (repeated,) = lines(evaluate(data, *arguments, "--cache-gb", "0"))
    assert {**repeated, **_seconds(shared)} == shared


def test_eight_budgets_and_five_seeds_by_default(toys: None, data: Path) -> None:
    found = lines(evaluate(data, "--learner", "seeing"))
    assert [line["budget"] for line in found] == [1, 5, 10, 20, 40, 60, 80, 100] * 5
    assert {line["seed"] for line in found} == set(range(5))


def test_ask_void_noise_and_epochs(toys: None, data: Path) -> None:
    arguments = ("--learner", "reporting", "--budgets", "50,100", "--seeds", "1", "--noise", "0.1")
    found = lines(evaluate(data, *arguments, "--ask-void", "--acquisition", "mc_dropout_soft"))
    for line in found:
        assert 0 < line["void_hit_rate"] < 0.6, "the toy is least sure where void is"
        assert line["labels"] == round(3 * line["budget"] * (1 - line["void_hit_rate"]))
        assert line["miou_best"] == 1.0
        assert line["miou"] < 0.5
        assert (line["noise"], line["ask_void"], line["acquisition"]) == (0.1, True, "mc_dropout_soft")
    assert {line["miou_best"] for line in lines(evaluate(data, *arguments, "--no-best-epoch"))} == {None}


def test_json_file_and_plot(toys: None, data: Path) -> None:
    pytest.importorskip("matplotlib")
    target, picture = data / "all.json", data / "curve.svg"
    arguments = (
        "--learner",
        "reporting",
        "--budgets",
        "1,3",
        "--seeds",
        "2",
        "--json",
        target,
        "--plot",
        picture,
    )
    printed = lines(evaluate(data, *arguments))
    assert json.loads(target.read_text()) == {"runs": printed}
    assert not list(data.glob("*.part"))
    text = picture.read_text(encoding="utf-8")
    assert "<!-- reporting, balanced_margin + top5, first coverage (seeds: 2) -->" in text
    assert "<!-- best epoch on the test images -->" in text
    assert "<!-- labelled pixels an image -->" in text


def test_lines_go_to_standard_output_while_a_bar_is_shown(
    toys: None, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=100)
    monkeypatch.setattr(evaluate_output, "ERR", terminal)
    found = lines(evaluate(data, "--learner", "seeing", "--budgets", "1,3", "--seeds", "2"))
    assert len(found) == 4
    assert isinstance(terminal.file, io.StringIO)
    assert "seed 2/2" in terminal.file.getvalue()


def test_a_real_learner_learns_the_stripes(data: Path) -> None:
    """The same figures whether encoder passes are kept or not."""
    arguments = ("--learner", "probe-lite0", "--budgets", "4,12", "--seeds", "1")
    kept, repeated = (lines(evaluate(data, *arguments, "--cache-gb", size)) for size in ("0.1", "0"))
    assert kept[-1]["miou"] > 0.6
    assert kept[-1]["labels"] == 36
    for one, other in zip(kept, repeated, strict=True):
        assert {**one, **_seconds(other)} == other


def _seconds(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name.endswith("_seconds")}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--learner", "seen"], "learner 'seen' is not known"),
        (["--learner", "seeing", "--acquisition", "marign"], "did you mean 'margin'?"),
        (["--learner", "seeing", "--selection", "best"], "unknown selection 'best'"),
        (["--learner", "seeing", "--initial", "best"], "unknown initial selection 'best'"),
        (["--learner", "seeing", "--initial", "covrage"], "did you mean 'coverage'?"),
        (["--learner", "seeing", "--budget-over", "que"], "unknown budget 'que'"),
        (
            ["--learner", "seeing", "--budgets", "281", "--budget-over", "queue"],
            "at least twice the largest budget, 562",
        ),
        (["--learner", "seeing", "--budgets", "1,ten"], "--budgets is '1,ten'; expected whole numbers"),
        (["--learner", "seeing", "--budgets", "5,5"], "--budgets is '5,5'"),
        (["--learner", "seeing", "--budgets", "10,5"], "each above the one before"),
        (["--learner", "seeing", "--budgets", "0,5"], "numbers from 1 on"),
        (["--learner", "seeing", "--budgets", ""], "--budgets is ''"),
        (["--learner", "seeing", "--budgets", "10,561"], "'a' has 560 pixels to ask for; expected at least"),
        (["--learner", "seeing", "--budgets", "601", "--ask-void"], "'a' has 600 pixels"),
        (["--learner", "seeing", "--seeds", "0"], "--seeds is 0"),
        (["--learner", "seeing", "--noise", "1.5"], "--noise is 1.5; expected a share"),
        (["--learner", "seeing", "--noise", "nan"], "--noise is nan"),
        (["--learner", "seeing", "--cache-gb", "-1"], "--cache-gb is -1.0"),
        (["--learner", "seeing", "--void", "70000"], "--void is 70000"),
        (["--learner", "seeing", "--void", "3", "--void", "0"], "lists 1 classes besides void"),
        (["--learner", "seeing", "--device", "fast"], "--device is 'fast'"),
        (["--learner", "seeing", "--json", "nowhere/all.json"], "nowhere is no folder"),
        (["--learner", "seeing", "--plot", "curve.txt"], "curve.txt"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(
    toys: None, data: Path, arguments: list[str], words: str
) -> None:
    _refused(evaluate(data, *arguments), words)


def _refused(result: Result, words: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def _labels(values: int, size: tuple[int, int] = (20, 30)) -> Image.Image:
    return Image.fromarray(np.full(size, values, dtype=np.uint8))


def _break(data: Path, what: str) -> None:
    """Damage one thing, in the files that are read last where there is a choice."""
    labels = data / "test_labels" / "a.png"
    if what == "no label":
        (data / "train_labels" / "c.png").unlink()
    elif what == "size":
        _labels(0, (20, 31)).save(labels)
    elif what == "id":
        _labels(4).save(labels)
    elif what == "colours":
        _labels(0).convert("RGB").save(labels)
    elif what == "all void":
        _labels(9).save(labels)
    elif what == "no png":
        labels.write_bytes(b"none")
    elif what == "truncated":
        image = data / "test" / "a.png"
        image.write_bytes(image.read_bytes()[:-300])
    elif what == "twice":
        Image.new("RGB", (30, 20)).save(data / "train" / "a.jpg")
    elif what == "empty":
        (data / "test" / "a.png").unlink()
    elif what == "no folder":
        (data / "test_labels" / "a.png").unlink()
        (data / "test_labels").rmdir()
    else:
        (data / "classes.txt").write_text(what)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("no label", "image c.png of"),
        ("size", "a.png is 31x20 and the upright image 30x20"),
        ("id", "has ids 4, which are neither classes nor void"),
        ("colours", "a.png has 3 channels"),
        ("all void", "has no pixel of a class"),
        ("no png", "a.png cannot be read"),
        ("truncated", "is damaged or truncated"),
        ("twice", "several images of the stem 'a'"),
        ("empty", "has no image"),
        ("no folder", "test_labels is no folder"),
        ("3 Red\n3 Green\n", "line 2: id or name of '3 Green' is listed above"),
        ("3 Red\n0 Red\n", "line 2: id or name of '0 Red'"),
        ("3 Red\nGreen\n", "line 2 is 'Green'; expected an id"),
        ("3 Red\n-1 Green\n", "line 2 is '-1 Green'"),
        ("3 Red\n0\n", "line 2 is '0'"),
        ("", "lists 0 classes besides void"),
    ],
)
def test_a_broken_data_set_is_found_before_the_first_fit(
    toys: None, data: Path, monkeypatch: pytest.MonkeyPatch, what: str, words: str
) -> None:
    monkeypatch.setattr(Seeing, "fit", lambda *_, **__: pytest.fail("hours of training would be lost"))
    _break(data, what)
    _refused(evaluate(data, "--learner", "seeing", "--budgets", "1,2", "--seeds", "1"), words)


def test_label_images_of_sixteen_bits_and_palettes(toys: None, data: Path) -> None:
    names = data / "classes.txt"
    names.write_text("\n".join(line.replace("7 ", "700 ") for line in names.read_text().splitlines()))
    for path in (*data.glob("train_labels/*.png"), *data.glob("test_labels/*.png")):
        labels = np.array(Image.open(path)).astype(np.uint16)
        labels[labels == 7] = 700
        Image.fromarray(labels).save(path)
    (line,) = lines(evaluate(data, "--learner", "seeing", "--budgets", "2", "--seeds", "1"))
    assert line["miou"] == 1.0


def test_without_matplotlib_nothing_is_measured(
    toys: None, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = evaluate(data, "--learner", "seeing", "--plot", data / "curve.png")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "run: pip install matplotlib" in str(result.exception)


def test_ctrl_c_leaves_the_lines_printed_and_no_file(
    toys: None, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Seeing.fit

    def press(learner: Seeing, labelled: Any, classes: Any, **others: Any) -> object:
        if len(labelled[0].labels) > 2:
            raise KeyboardInterrupt
        return real(learner, labelled, classes, **others)

    monkeypatch.setattr(Seeing, "fit", press)
    target = data / "all.json"
    result = evaluate(data, "--learner", "seeing", "--budgets", "2,4", "--json", target)
    assert result.exit_code == 130
    assert [json.loads(line)["budget"] for line in result.stdout.splitlines()] == [2]
    assert "interrupted: the lines above stand; no file was written" in result.stderr
    assert "Traceback" not in result.output
    assert not target.exists()
