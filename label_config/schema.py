"""A project's labelling config, read into one frozen description of what ClickPick needs of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from label_studio_sdk.label_interface.interface import LabelInterface

from label_config.errors import ConfigUnreadable
from label_config.limits import check_limits

QUESTION = "?"
"""Label of a queried pixel that nobody has answered yet."""

VOID = "void"
"""Answer "cannot tell": kept, never asked again, no class."""

REST = "rest"
"""Name of the Choices whose first choice says that all queries show the right class; only with it they show one."""

HINT = "hint"
"""Name of the control that shows where the next click would help: never a label, a prompt or a class."""

MOST_TOLERANCE = 50.0
"""Pixels that a polygon may be off its mask at most."""

OUTPUT_TAGS = ("BrushLabels", "BitmaskLabels", "PolygonLabels")
"""Control tags that can hold a mask, and that Label Studio draws as a suggestion."""


@dataclass(frozen=True)
class Control:
    """One control tag. ``labels``: values as they travel in results (a label's alias where it has one).

    ``smart`` is what the editor does, not what is written: a control without the attribute is smart.
    """

    name: str
    tag: str
    to_name: str
    labels: tuple[str, ...]
    smart: bool
    attributes: Mapping[str, str]

    @property
    def type(self) -> str:
        """Type of its results, and the key of their labels: "keypointlabels" for KeyPointLabels."""
        return self.tag.lower()

    @property
    def tolerance(self) -> float | None:
        """Pixels that polygons may be off, by its attribute; None without one, or where that is no such number."""
        try:
            pixels = float(self.attributes.get("tolerance", ""))
        except ValueError:
            return None
        return pixels if 0 <= pixels <= MOST_TOLERANCE else None


@dataclass(frozen=True)
class ImageSchema:
    """One Image tag with the controls that act on it.

    ``field`` is the key of the image in the task's data; ``multi_page`` means that it holds a list of images.
    ``hint``: KeyPointLabels of that name that are not smart; smart ones are for clicks, whatever their name.
    ``rest``: Choices of that name, beside a query control.
    ``classes`` are the labels of the query control without "?" and "void", or else those of the outputs.
    """

    name: str
    field: str
    multi_page: bool
    click: Control | None
    box: Control | None
    outputs: tuple[Control, ...]
    query: Control | None
    hint: Control | None
    rest: Control | None
    classes: tuple[str, ...]
    segmenter: str | None
    learner: str | None

    @property
    def controls(self) -> tuple[Control, ...]:
        """All controls that ClickPick reads or writes."""
        found = (self.click, self.box, self.query, self.hint, *self.outputs)
        return tuple(control for control in found if control is not None)


@dataclass(frozen=True)
class ProjectSchema:
    """All images of a config, in its order. ``digest``: hex digest of what results depend on."""

    images: tuple[ImageSchema, ...]
    digest: str

    def image(self, name: str) -> ImageSchema:
        """The image of that name; KeyError when the config has none."""
        for image in self.images:
            if image.name == name:
                return image
        raise KeyError(f'the labelling config has no <Image name="{name}">')

    @property
    def pixel_image(self) -> ImageSchema | None:
        """The first image with a query control: the one whose pixels are asked about."""
        return next((image for image in self.images if image.query is not None), None)

    @property
    def click_images(self) -> tuple[ImageSchema, ...]:
        """The images that can be clicked on."""
        return tuple(image for image in self.images if image.click is not None or image.box is not None)

    def find_control(self, name: object) -> tuple[ImageSchema, Control] | None:
        """The control of that name and its image, or None."""
        for image in self.images:
            for control in image.controls:
                if control.name == name:
                    return image, control
        return None


@lru_cache(maxsize=256)
def read_schema(config: str) -> ProjectSchema:
    """Parse the XML of a labelling config; the answer is cached by its text.

    Unknown attributes (``segmenter``, ``learner``, ``tolerance``) are kept; missing controls are no error here, see
    ``check``. Raises ConfigUnreadable when the text is not XML, or over one of the limits.
    """
    interface = _parse(config)
    controls = [_control(tag) for tag in interface.controls or () if tag.to_name]
    images = tuple(_image(tag, controls) for tag in interface.objects or () if tag.tag == "Image")
    return ProjectSchema(images, _digest(images))


def _digest(images: Sequence[ImageSchema]) -> str:
    """Of what results depend on, not of the text: Label Studio and people reformat it, and change its colours."""
    facts = [
        (image.name, image.field, image.multi_page, image.classes, image.segmenter, image.learner)
        for image in images
    ]
    controls = [
        (c.name, c.tag, c.to_name, c.labels, c.smart, *([] if c.tolerance is None else [c.tolerance]))
        for image in images
        for c in image.controls
    ]
    return hashlib.sha256(repr((facts, controls)).encode()).hexdigest()


def _parse(config: str) -> LabelInterface:
    check_limits(config)
    try:
        return LabelInterface(config)
    except Exception as error:  # lxml, pydantic, KeyError, ...: the SDK documents none of what it raises
        reason = " ".join(str(error).split())[:200]
        raise ConfigUnreadable(
            f"the labelling config cannot be read ({reason}); expected XML in a <View>...</View>; "
            "correct it in the project's Labeling Interface settings, or paste a fresh template"
        ) from error


def _control(tag: Any) -> Control:
    attributes = {str(key): str(value) for key, value in tag.attr.items()}
    return Control(
        name=tag.name,
        tag=tag.tag,
        to_name=tag.to_name[0].strip(),
        labels=tuple(tag.labels or ()),
        smart=attributes.get("smart", "true").strip().lower() != "false",
        attributes=MappingProxyType(attributes),
    )


def _image(tag: Any, controls: Sequence[Control]) -> ImageSchema:
    mine = [control for control in controls if control.to_name == tag.name]
    points = [control for control in mine if control.tag == "KeyPointLabels"]
    query = next((control for control in points if QUESTION in control.labels), None)
    plain = [control for control in points if QUESTION not in control.labels]
    click = next((control for control in plain if control.smart), None)
    hint = next((control for control in plain if control.name == HINT and not control.smart), None)
    box = next((control for control in mine if control.tag == "RectangleLabels" and control.smart), None)
    outputs = tuple(control for control in mine if control.tag in OUTPUT_TAGS)
    rest = next((control for control in mine if control.tag == "Choices" and control.name == REST), None)
    return ImageSchema(
        name=tag.name,
        field=(tag.attr.get("valueList") or tag.attr.get("value") or "").lstrip("$"),
        multi_page="valueList" in tag.attr,
        click=click,
        box=box,
        outputs=outputs,
        query=query,
        hint=hint,
        rest=None if query is None else rest,
        classes=_classes(query, outputs),
        segmenter=_attribute("segmenter", click, box),
        learner=_attribute("learner", query),
    )


def _classes(query: Control | None, outputs: Sequence[Control]) -> tuple[str, ...]:
    if query is not None:
        return tuple(label for label in query.labels if label not in (QUESTION, VOID))
    return tuple(dict.fromkeys(label for control in outputs for label in control.labels))


def _attribute(name: str, *controls: Control | None) -> str | None:
    values = (control.attributes.get(name, "").strip() for control in controls if control is not None)
    return next((value for value in values if value), None)
