from __future__ import annotations

from typing import Any

import pytest

from label_config import ConfigUnreadable, read_schema, render

pytestmark = pytest.mark.unit

TWO_IMAGES = """<View>
  <Image name="left" value="$before"/><Image name="right" valueList="$pages"/>
  <KeyPointLabels name="lk" toName="left"><Label value="a"/></KeyPointLabels>
  <BrushLabels name="lb" toName="left" smart="false"><Label value="a"/></BrushLabels>
  <KeyPointLabels name="rk" toName="right" smart="false">
    <Label value="?"/><Label value="b"/><Label value="void"/>
  </KeyPointLabels>
  <PolygonLabels name="rp" toName="right" smart="false"><Label value="b"/></PolygonLabels>
  <Choices name="c" toName="left"><Choice value="ok"/></Choices>
</View>"""


def test_combined_template() -> None:
    schema = read_schema(render("both", ["cat", "dog"], segmenter="grabcut", learner="probe-lite0"))
    image = schema.images[0]
    assert (image.name, image.field, image.multi_page) == ("image", "image", False)
    assert image.click is not None
    assert image.box is not None
    assert image.query is not None
    assert (image.click.name, image.click.type, image.click.smart) == ("click", "keypointlabels", True)
    assert (image.box.name, image.box.type) == ("box", "rectanglelabels")
    assert (image.query.name, image.query.smart) == ("query", False)
    assert [control.type for control in image.outputs] == ["brushlabels"]
    assert image.classes == ("cat", "dog")
    assert (image.segmenter, image.learner) == ("grabcut", "probe-lite0")
    assert schema.pixel_image is image
    assert schema.click_images == (image,)
    assert schema.find_control("click") == (image, image.click)
    assert schema.find_control("nobody") is None


@pytest.mark.parametrize("kind", ["click", "both"])
def test_a_hint_control_is_known_and_no_class_or_click_control(kind: Any) -> None:
    plain, hinted = read_schema(render(kind, ["cat"])), read_schema(render(kind, ["cat"], hints=True))
    (image,) = hinted.images
    assert image.hint is not None
    assert (image.hint.name, image.hint.type, image.hint.smart) == ("hint", "keypointlabels", False)
    assert image.click is not None
    assert (image.click.name, image.classes) == ("click", ("cat",))
    assert hinted.find_control("hint") == (image, image.hint)
    assert plain.images[0].hint is None
    assert plain.digest != hinted.digest


@pytest.mark.parametrize(
    "control",
    [
        '<Choices name="hint" toName="image"><Choice value="ok"/></Choices>',
        '<TextArea name="hint" toName="image"/>',
        '<KeyPoint name="hint" toName="image" smart="false"/>',
        '<RectangleLabels name="hint" toName="image" smart="false"><Label value="a"/></RectangleLabels>',
    ],
)
def test_other_controls_called_hint_are_the_projects_own(control: str) -> None:
    config = render("click", ["cat"]).replace("</View>", control + "</View>")
    assert read_schema(config).images[0].hint is None
    assert read_schema(config).find_control("hint") is None


@pytest.mark.parametrize(("smart", "question"), [("true", False), ("false", True)])
def test_clicks_and_queries_called_hint_stay_what_they_are(smart: str, question: bool) -> None:
    labels = '<Label value="?"/><Label value="a"/>' if question else '<Label value="a"/>'
    config = f'''<View><Image name="i" value="$i"/>
      <KeyPointLabels name="hint" toName="i" smart="{smart}">{labels}</KeyPointLabels></View>'''
    image = read_schema(config).images[0]
    control = image.query if question else image.click
    assert control is not None
    assert (control.name, image.hint) == ("hint", None)


def test_several_images_keep_their_own_controls() -> None:
    schema = read_schema(TWO_IMAGES)
    left, right = schema.image("left"), schema.image("right")
    assert (left.field, left.multi_page, right.field, right.multi_page) == ("before", False, "pages", True)
    assert left.click is not None
    assert left.click.smart  # the default of Label Studio
    assert left.query is None
    assert left.classes == ("a",)
    assert right.click is None
    assert right.classes == ("b",)
    assert schema.pixel_image is right
    assert schema.click_images == (left,)
    with pytest.raises(KeyError, match="middle"):
        schema.image("middle")


def test_an_alias_is_what_travels_in_results() -> None:
    config = render("click", ["cat"]).replace('value="cat"', 'value="Cat (animal)" alias="cat"')
    assert read_schema(config).images[0].classes == ("cat",)


def test_missing_controls_are_no_error() -> None:
    assert read_schema("<View/>").images == ()
    image = read_schema('<View><Image name="i" value="$i"/></View>').images[0]
    assert image.controls == ()
    assert image.classes == ()


def test_other_objects_and_controls_are_passed_over() -> None:
    schema = read_schema('<View><Text name="t" value="$t"/><KeyPointLabels name="k" toName="gone"/></View>')
    assert schema.images == ()


@pytest.mark.parametrize(
    "config", ["", "no xml", "<View>", "<View><Image></View>", '<?xml version="1.0" encoding="u"?><V/>']
)
def test_what_is_no_xml_is_said(config: str) -> None:
    with pytest.raises(ConfigUnreadable, match="cannot be read"):
        read_schema(config)


def test_reading_is_cached_by_text() -> None:
    config = render("click", ["a"])
    assert read_schema(config) is read_schema(config)


def test_the_digest_follows_what_results_depend_on() -> None:
    config = render("both", ["a", "b"])
    variants = [
        render("both", ["b", "a"]),
        render("both", ["a", "b"], "polygon"),
        render("both", ["a", "b"], field="photo"),
        render("both", ["a", "b"], segmenter="grabcut"),
        render("both", ["a", "b"], learner="probe-lite0"),
        config.replace('name="mask"', 'name="area"'),
    ]
    assert len({read_schema(text).digest for text in (config, *variants)}) == 7


def test_the_digest_ignores_layout_and_looks() -> None:
    config = render("both", ["a", "b"])
    reformatted = (
        " ".join(config.split()).replace('strokeWidth="3"', 'strokeWidth="5"').replace("#37b7b8", "#123456")
    )
    assert reformatted != config
    assert read_schema(reformatted).digest == read_schema(config).digest
