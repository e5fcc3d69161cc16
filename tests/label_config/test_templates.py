from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_config import LabelConfigError, check, read_schema, render
from label_config.colours import HINT_COLOUR, is_red
from label_config.hotkeys import LETTERS, NO_KEY, TOOL_LETTERS

pytestmark = pytest.mark.unit

KINDS = ("click", "pixel", "both")
OUTPUTS = {"brush": "BrushLabels", "bitmask": "BitmaskLabels", "polygon": "PolygonLabels"}

names = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=12).filter(
    lambda name: (
        name == name.strip()
        and name not in ("?", "void")
        and "$" not in name
        and not set(name) & set("\ufffe\uffff")
    )
)


def _keys(config: str, control: str) -> list[str | None]:
    (element,) = ElementTree.fromstring(config).findall(f".//*[@name='{control}']")
    return [label.get("hotkey") for label in element.iter("Label")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_every_template_is_without_problems(kind: str, output: str) -> None:
    config = render(kind, ["cat", "dog"], output)  # type: ignore[arg-type]
    assert check(config) == []
    assert [control.tag for control in read_schema(config).images[0].outputs] == [OUTPUTS[output]]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS), st.lists(names, min_size=1, max_size=40, unique=True))
def test_any_class_list_comes_back(kind: str, classes: list[str]) -> None:
    config = render(kind, classes)  # type: ignore[arg-type]
    image = read_schema(config).images[0]
    assert image.classes == tuple(classes)
    assert check(config) == []


def test_click_projects_have_digits_for_clicks_and_letters_for_boxes() -> None:
    config = render("click", ["a", "b", "c"])
    assert _keys(config, "click") == ["1", "2", "3"]
    assert _keys(config, "box") == ["a", "c", "d"]
    assert _keys(config, "mask") == [NO_KEY] * 3


def test_pixel_projects_have_zero_for_void_and_no_key_for_the_question() -> None:
    config = render("pixel", ["a", "b"])
    assert _keys(config, "query") == [NO_KEY, "1", "2", "0"]
    assert "box" not in config


def test_combined_projects_give_digits_to_queries_and_letters_to_clicks() -> None:
    config = render("both", ["a", "b"])
    assert _keys(config, "query") == [NO_KEY, "1", "2", "0"]
    assert _keys(config, "click") == ["a", "c"]
    assert _keys(config, "box") == ["d", "f"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 9, 10, 24, 25, 60, 254])
def test_each_key_is_given_once_and_none_is_a_tools(kind: str, count: int) -> None:
    config = render(kind, [f"class {number}" for number in range(count)])  # type: ignore[arg-type]
    labels = list(ElementTree.fromstring(config).iter("Label"))
    keys = [label.get("hotkey") for label in labels]
    assert None not in keys  # Label Studio would invent one, B, E and M included
    real = [key for key in keys if key != NO_KEY]
    assert len(real) == len(set(real))
    assert not set(real) & TOOL_LETTERS
    assert set(real) <= set("0123456789" + LETTERS)
    assert not any(is_red(str(label.get("background"))) for label in labels)


def test_after_nine_come_letters_and_then_no_key() -> None:
    keys = _keys(render("pixel", [f"c{number}" for number in range(30)]), "query")
    assert keys[1:11] == [*"123456789", "a"]
    assert keys[1:24] == [*"123456789", *LETTERS[:-1]], "the last letter says that the rest is right"
    assert set(keys[24:-1]) == {NO_KEY}


def test_only_prompt_controls_are_smart() -> None:
    root = ElementTree.fromstring(render("both", ["a"]))
    smart = {element.get("name"): element.get("smart") for element in root.iter() if element.get("toName")}
    assert smart == {"query": "false", "click": "true", "box": "true", "mask": "false", "rest": "false"}


@pytest.mark.parametrize("kind", ["click", "both"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_hints_add_one_block_and_change_nothing_else(kind: Any, output: Any) -> None:
    plain, hinted = render(kind, ["cat", "dog"], output), render(kind, ["cat", "dog"], output, hints=True)
    assert check(hinted) == []
    lines = hinted.splitlines()
    (control,) = (number for number, line in enumerate(lines) if 'name="hint"' in line)
    header, block_end = control - 1, control + 3
    assert "<Header" in lines[header]
    assert lines[:header] + lines[block_end:] == plain.splitlines()


@pytest.mark.parametrize("kind", ["click", "both"])
def test_nobody_can_mark_anything_with_the_hint_control(kind: Any) -> None:
    config = render(kind, ["cat"], hints=True)
    (control,) = ElementTree.fromstring(config).findall(".//*[@name='hint']")
    # smartOnly takes the plain tool away, smart="false" the smart one; without a key or a button there is no way in
    assert (control.get("smart"), control.get("smartOnly"), control.get("visible")) == (
        "false",
        "true",
        "false",
    )
    assert _keys(config, "hint") == [NO_KEY]


def test_a_hint_has_a_colour_of_its_own() -> None:
    root = ElementTree.fromstring(render("both", [f"c{number}" for number in range(254)], hints=True))
    colours = [label.get("background") for label in root.iter("Label")]
    assert colours.count(HINT_COLOUR) == 1
    assert not is_red(HINT_COLOUR)


def test_pixel_projects_have_no_hints() -> None:
    with pytest.raises(LabelConfigError, match="click or both"):
        render("pixel", ["a"], hints=True)


def test_odd_characters_are_escaped() -> None:
    classes = ["a&b", '<"quoted">', "it's", "größe", "車", "👩‍🚀", "a\u200cb", "{x}", "%s", "--"]
    assert read_schema(render("both", classes)).images[0].classes == tuple(classes)


def test_the_field_and_models_are_written() -> None:
    schema = read_schema(render("both", ["a"], field="photo_1", segmenter='a"b', learner="probe-lite0"))
    assert (schema.images[0].field, schema.images[0].segmenter) == ("photo_1", 'a"b')
    assert schema.images[0].learner == "probe-lite0"


def test_the_header_tells_about_alt_click() -> None:
    assert "Alt+click" in render("click", ["a"])
    assert "Alt+click" in render("both", ["a"])


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "at least one"),
        ("cat", "list"),
        ([""], "empty"),
        (["  "], "empty"),
        ([" cat"], "blank"),
        (["?"], "reserved"),
        (["void"], "reserved"),
        (["cat", "dog", "cat"], "more than once"),
        (["a\nb"], "line break"),
        (["a\x00b"], "control"),
        (["\ud800"], "control"),
        (["US$price"], "task's data"),
        ([3], "no text"),
        ([f"c{number}" for number in range(255)], "254"),
    ],
)
def test_class_lists_that_cannot_work_are_refused(classes: Sequence[str], message: str) -> None:
    with pytest.raises(LabelConfigError, match=message):
        render("both", classes)


def test_options_that_cannot_work_are_refused() -> None:
    with pytest.raises(LabelConfigError, match="click, pixel, both"):
        render("clicks", ["a"])  # type: ignore[arg-type]
    with pytest.raises(LabelConfigError, match="brush, bitmask, polygon"):
        render("click", ["a"], "rle")  # type: ignore[arg-type]
    with pytest.raises(LabelConfigError, match=r"without the \$"):
        render("click", ["a"], field="$image")


@pytest.mark.parametrize(
    ("output", "tolerance", "words"),
    [("brush", 1, "polygon alone"), ("polygon", -1, "0 to 50"), ("polygon", 51, "0 to 50")],
)
def test_tolerances_that_cannot_be_are_refused(output: Any, tolerance: float, words: str) -> None:
    with pytest.raises(LabelConfigError, match=words):
        render("click", ["a"], output, tolerance=tolerance)
