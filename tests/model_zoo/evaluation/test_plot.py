from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_zoo.errors import BadInput, ModelZooError
from model_zoo.evaluation.plot import check_plot, draw_curves

pytestmark = pytest.mark.unit

CURVES = {"one": (0.5, 0.7, 0.8), "two": (0.2, 0.3, 0.6)}


def test_a_curve_a_segmenter(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw_curves(CURVES, tmp_path / "two.png", target=0.9)
    draw_curves({"one": CURVES["one"]}, tmp_path / "one.png", target=0.9)
    both, one = (np.asarray(Image.open(tmp_path / name).convert("RGB")) for name in ("two.png", "one.png"))
    assert both.shape == one.shape
    # matplotlib's second colour is there only with the second curve.
    orange = (255, 127, 14)
    assert (both == orange).all(axis=-1).sum() > 50
    assert not (one == orange).all(axis=-1).any()


def test_names_stand_in_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw_curves(CURVES, tmp_path / "curves.svg")
    text = (tmp_path / "curves.svg").read_text(encoding="utf-8")
    for name in ("one", "two", "clicks", "mean IoU"):
        assert f"<!-- {name} -->" in text


def test_other_kinds_of_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"curves\.txt; expected a name that ends in \.pdf, \.png, \.svg"):
        check_plot(tmp_path / "curves.txt")


def test_without_matplotlib_the_error_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModelZooError, match="run: pip install matplotlib"):
        draw_curves(CURVES, tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())
