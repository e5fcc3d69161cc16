"""``clickpick evaluate clicks``, called as the command line calls it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from backend import cli
from model_zoo import registry
from model_zoo.segmenters.base import Segmenter
from model_zoo.weights import WeightSource
from tests.model_zoo.evaluation.fakes import Growing, Stubborn, bar

pytestmark = pytest.mark.unit

FAKES = {"growing": Growing, "stubborn": Stubborn}


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """Two samples, both the bar that the fakes know."""
    image, truth = bar(10)
    Image.fromarray(image).save(tmp_path / "bar.png")
    Image.fromarray(truth).save(tmp_path / "bar-mask.png")
    path = tmp_path / "samples.csv"
    path.write_text("name,image,mask\nfirst,bar.png,bar-mask.png\nsecond,bar.png,bar-mask.png\n")
    return path


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    real = registry.create_segmenter

    def create(name: str, device: str = "cpu", source: WeightSource | None = None) -> Segmenter:
        return FAKES[name](bar(10)[1]) if name in FAKES else real(name, device, source)

    monkeypatch.setattr(registry, "create_segmenter", create)


def evaluate(*arguments: str | Path) -> Result:
    """The command's result; an error that ``main`` would turn into exit code 1 is its ``exception``."""
    return CliRunner().invoke(cli.app, ["evaluate", "clicks", "--device", "cpu", *map(str, arguments)])


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_last_line_is_json_with_all_figures(fakes: None, samples: Path) -> None:
    (line,) = lines(evaluate("--samples", samples, "--segmenter", "growing"))
    assert line["segmenter"] == "growing"
    assert (line["repair"], line["clicker"], line["samples"]) == ("none", "center", 2)
    assert (line["noc80"], line["noc85"], line["noc90"], line["nof85"], line["nof90"]) == (8, 9, 9, 0, 0)
    assert line["iou_at"] == {"1": 0.1, "2": 0.2, "3": 0.3, "5": 0.5, "10": 0.9, "20": 0.9}
    assert line["clicks"] == 18
    assert line["click_violations"] > 0
    assert line["spread"] is None
    assert set(line["seconds_per_click"]) == set(line["seconds_per_encode"]) == {"p50", "p95"}
    assert set(line["machine"]) == {"cpu", "cores", "gpu", "python"}
    assert set(line["versions"]) == {"clickpick", "torch", "timm", "numpy", "opencv"}


def test_several_segmenters_give_a_line_each_in_order(fakes: None, samples: Path) -> None:
    found = lines(
        evaluate(
            "--samples", samples, "--segmenter", "stubborn", "--segmenter", "growing", "--max-clicks", "4"
        )
    )
    assert [line["segmenter"] for line in found] == ["stubborn", "growing"]
    assert [line["iou_at"]["3"] for line in found] == [0, 0.3]
    assert [line["iou_at"]["5"] for line in found] == [None, None]
    assert [line["nof90"] for line in found] == [2, 2]
    assert found[0]["click_violations"] == 2 * (1 + 2 + 3 + 4)


def test_thresholds_above_the_target_are_not_reported(fakes: None, samples: Path) -> None:
    (line,) = lines(evaluate("--samples", samples, "--segmenter", "growing", "--target", "0.85"))
    assert (line["noc85"], line["noc90"], line["nof90"]) == (9, None, None)


def test_repair_leaves_no_contradicted_click(fakes: None, samples: Path) -> None:
    (line,) = lines(
        evaluate("--samples", samples, "--segmenter", "stubborn", "--repair", "gp", "--max-clicks", "5")
    )
    assert (line["segmenter"], line["repair"], line["click_violations"]) == ("stubborn", "gp", 0)


def test_human_clicks_give_means_over_seeds_and_their_spread(fakes: None, samples: Path) -> None:
    arguments = ("--samples", samples, "--segmenter", "growing", "--clicker", "human", "--seeds", "3")
    (line,) = lines(evaluate(*arguments))
    assert (line["clicker"], line["seeds"], line["samples"], line["clicks"]) == ("human", 3, 2, 54)
    assert line["noc90"] == 9
    assert line["spread"]["noc90"] == 0
    assert line["spread"]["iou_at"]["1"] == 0
    (again,) = lines(evaluate(*arguments))
    assert again["click_violations"] == line["click_violations"]


def test_json_file_has_every_sample(fakes: None, samples: Path, tmp_path: Path) -> None:
    target = tmp_path / "all.json"
    target.write_text("older")
    (line,) = lines(evaluate("--samples", samples, "--segmenter", "growing", "--json", target))
    (run,) = json.loads(target.read_text())["runs"]
    assert {name: run[name] for name in line} == line
    assert [sample["name"] for sample in run["results"]] == ["first", "second"]
    np.testing.assert_allclose(run["results"][0]["ious"], np.arange(1, 10) / 10)
    assert run["results"][0]["clicks"][0] == {"row": 4.5, "col": 4.5, "positive": True}
    assert len(run["curve"]) == 20
    assert not list(tmp_path.glob("*.part"))


def test_plot_is_drawn(fakes: None, samples: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "curves.svg"
    lines(
        evaluate(
            "--samples", samples, "--segmenter", "growing", "--segmenter", "stubborn",
            "--repair", "gp", "--max-clicks", "3", "--plot", picture,
        )
    )  # fmt: skip
    text = picture.read_text(encoding="utf-8")
    assert "<!-- growing+gp -->" in text
    assert "<!-- stubborn+gp -->" in text


def test_without_matplotlib_nothing_is_measured(
    fakes: None,
    samples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    picture = str(tmp_path / "curves.png")
    monkeypatch.setattr(
        sys, "argv", ["clickpick", "evaluate", "clicks", "--samples", str(samples), "--segmenter", "growing",
                      "--plot", picture]
    )  # fmt: skip
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "run: pip install matplotlib" in " ".join(captured.err.split())


def test_a_real_segmenter_from_the_registry(tmp_path: Path) -> None:
    rows, cols = np.mgrid[:48, :64]
    disk = (rows - 24) ** 2 + (cols - 30) ** 2 < 15**2
    image = np.where(disk[..., None], (200, 40, 30), (30, 60, 90)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "disk.png")
    Image.fromarray(disk.astype(np.uint8)).save(tmp_path / "mask.png")
    path = tmp_path / "samples.csv"
    path.write_text("name,image,mask\ndisk,disk.png,mask.png\n")
    (line,) = lines(evaluate("--samples", path, "--segmenter", "grabcut", "--max-clicks", "3"))
    assert line["noc90"] == 1
    assert line["iou_at"]["1"] > 0.95


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--segmenter", "growing", "--max-clicks", "0"], "--max-clicks is 0; expected at least 1"),
        (["--segmenter", "growing", "--target", "1.01"], "--target is 1.01; expected an IoU"),
        (["--segmenter", "growing", "--target", "0"], "--target is 0.0"),
        (["--segmenter", "growing", "--target", "nan"], "--target is nan"),
        (["--segmenter", "growing", "--seeds", "0"], "--seeds is 0"),
        (["--segmenter", "growing", "--device", "fast"], "--device is 'fast'"),
        (["--segmenter", "growing", "--plot", "curves.txt"], "curves.txt"),
        (["--segmenter", "growing", "--json", "nowhere/all.json"], "nowhere is no folder"),
        (["--segmenter", "gp-lite1"], "gp-lite0"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    fakes: None, samples: Path, arguments: list[str], words: str
) -> None:
    result = evaluate("--samples", samples, *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_list_that_is_not_there_and_a_bad_mask(fakes: None, samples: Path) -> None:
    missing = evaluate("--samples", samples.parent / "none.csv", "--segmenter", "growing")
    assert (missing.exit_code, missing.stderr.count("\n")) == (2, 1)
    assert "none.csv is no file" in missing.stderr
    Image.fromarray(np.full((9, 14), 200, dtype=np.uint8)).save(samples.parent / "bar-mask.png")
    wrong = evaluate("--samples", samples, "--segmenter", "growing")
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("error: sample 'first'")
    assert wrong.stderr.count("\n") == 1
    assert "has values 200" in wrong.stderr


def test_a_broken_last_sample_costs_no_measuring(
    fakes: None, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.full((9, 14), 200, dtype=np.uint8)).save(samples.parent / "broken.png")
    samples.write_text(samples.read_text() + "last,bar.png,broken.png\n")
    monkeypatch.setattr(Growing, "encode", lambda *_: pytest.fail("hours of measuring would be lost"))
    wrong = evaluate("--samples", samples, "--segmenter", "growing")
    assert wrong.exit_code == 2
    assert "sample 'last'" in wrong.stderr
    assert "broken.png has values 200" in wrong.stderr


def test_ctrl_c_leaves_no_file_and_no_traceback(
    fakes: None, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Growing, "decode", press)
    target = tmp_path / "all.json"
    result = evaluate("--samples", samples, "--segmenter", "growing", "--json", target)
    assert result.exit_code == 130
    assert "interrupted: no file was written" in result.stderr
    assert "Traceback" not in result.output
    assert not target.exists()
