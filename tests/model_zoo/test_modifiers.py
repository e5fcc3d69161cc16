from __future__ import annotations

import pytest

from model_zoo.errors import UnknownModel
from model_zoo.modifiers import register_modifier, split_name
from model_zoo.registry import create_segmenter, find_model, list_models
from model_zoo.segmenters.backprop_refinement import BackpropRefinement
from model_zoo.segmenters.gp_head import GpHead
from model_zoo.weights import WeightSource

pytestmark = pytest.mark.unit
TINY = WeightSource(tiny=True)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("clicknet", ("clicknet", ())),
        ("ritm-hrnet18+fbrs-b+gp", ("ritm-hrnet18", ("fbrs-b", "gp"))),
        ("ritm-hrnet18+nosuch", ("ritm-hrnet18", ("nosuch",))),
        ("clicknet:/a+b/c.safetensors", ("clicknet:/a+b/c.safetensors", ())),
        ("clicknet:/a+gp/c+d+gp", ("clicknet:/a+gp/c+d", ("gp",))),
        ("+gp", ("", ("gp",))),
    ],
)
def test_names_are_taken_apart(name: str, parts: tuple[str, tuple[str, ...]]) -> None:
    list_models()
    assert split_name(name) == parts


def test_modifiers_are_applied_from_left_to_right() -> None:
    segmenter = create_segmenter("ritm-hrnet18s+flip+fbrs-c+gp", source=TINY)
    assert isinstance(segmenter, GpHead)
    refined = segmenter._wrapped
    assert isinstance(refined, BackpropRefinement)
    assert segmenter.name == "ritm-hrnet18s+flip+fbrs-c+gp"
    assert refined.name == "ritm-hrnet18s+flip+fbrs-c"
    assert refined.parameters.flip
    swapped = create_segmenter("ritm-hrnet18s+fbrs-c+flip", source=TINY)
    assert isinstance(swapped, BackpropRefinement)
    assert swapped.parameters == refined.parameters


def test_a_modified_model_says_what_it_is() -> None:
    info = find_model("ritm-hrnet18s+fbrs-b+gp", "segmenter")
    plain = find_model("ritm-hrnet18s", "segmenter")
    assert info is not None
    assert plain is not None
    assert info.name == "ritm-hrnet18s+fbrs-b+gp"
    assert info.summary.startswith(plain.summary)
    assert "f-BRS-B" in info.summary
    assert info.summary.endswith("Gaussian-process head: obeys every click.")
    assert info.weights == plain.weights


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "ritm-hrnet18s+nosuch",
            r"after 'ritm-hrnet18s' may come \+flip, .*\+fbrs-b.*, \+gp; got '\+nosuch'",
        ),
        ("grabcut+flip", r"after 'grabcut' may come \+gp; got '\+flip'"),
        ("ritm-hrnet18s+fbrs-a+rgb-brs", r"of '\+fbrs-a' and '\+rgb-brs' only one may come"),
        ("ritm-hrnet18s+flip+flip", r"of '\+flip' and '\+flip' only one"),
        ("ritm-hrnet18s+gp+flip", r"nothing comes after '\+gp'; got '\+flip'"),
        ("grabcut+", r"after 'grabcut' may come \+gp; got '\+'"),
        ("ritm-hrnet18t+flip", r"did you mean .*ritm-hrnet18s\+flip"),
    ],
)
def test_what_does_not_go_together_is_unknown(name: str, message: str) -> None:
    assert find_model(name, "segmenter") is None
    with pytest.raises(UnknownModel, match=message):
        create_segmenter(name, source=TINY)


def test_a_modifier_is_registered_once() -> None:
    list_models()

    def gp(segmenter: object) -> object:
        """Another one."""
        return segmenter

    with pytest.raises(ValueError, match="registered twice"):
        register_modifier()(gp)
