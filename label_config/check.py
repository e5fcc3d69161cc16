"""What is wrong with a labelling config, why it matters, and the config with that one thing repaired."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from label_config import xml_edit
from label_config.colours import is_red
from label_config.errors import ConfigUnreadable
from label_config.hotkeys import NO_KEY, TOOL_LETTERS
from label_config.schema import (
    HINT,
    MOST_TOLERANCE,
    OUTPUT_TAGS,
    QUESTION,
    VOID,
    Control,
    ImageSchema,
    ProjectSchema,
    read_schema,
)
from label_config.templates import HINT_LABEL, render
from label_config.xml_edit import Element

Severity = Literal["error", "warning"]

_OTHER_SHAPES = frozenset(
    (
        "Bitmask",
        "Brush",
        "Ellipse",
        "EllipseLabels",
        "Labels",
        "MagicWand",
        "Polygon",
        "Vector",
        "VectorLabels",
    )
)


@dataclass(frozen=True)
class Problem:
    """One finding. ``fix``: the whole config with this problem repaired, to be pasted over the old one."""

    code: str
    severity: Severity
    message: str
    advice: str
    fix: str | None


@dataclass(frozen=True)
class _Finding:
    code: str
    severity: Severity
    message: str
    advice: str
    edit: Callable[[Element], None]


def check(config: str) -> list[Problem]:
    """All problems of a labelling config, errors first; [] when ClickPick can work with it as it is."""
    try:
        schema = read_schema(config)
        root = xml_edit.parse(config)
    except ConfigUnreadable as error:
        return [Problem("unreadable", "error", str(error), "Paste this mended config.", _mended(config))]
    found = [finding for rule in _RULES for finding in rule(schema, root)]
    found.sort(key=lambda finding: finding.severity != "error")
    return [
        Problem(finding.code, finding.severity, finding.message, finding.advice, _apply(config, finding.edit))
        for finding in found
    ]


def repair(config: str) -> str:
    """The config with all its problems repaired, as far as each has a fix."""
    for _ in range(1000):
        fix = next((problem.fix for problem in check(config) if problem.fix), None)
        if fix is None:
            break
        config = fix
    return config


def _apply(config: str, edit: Callable[[Element], None]) -> str:
    root = xml_edit.parse(config)
    edit(root)
    return xml_edit.to_text(root)


def _mended(config: str) -> str:
    """What an indulgent parser makes of the text, when that is a config; else a fresh template."""
    start = config.find("<View")
    root = xml_edit.parse(config[start:], recover=True) if start >= 0 else None
    if root is not None and len(root):
        return xml_edit.to_text(root)
    return render("both", ["object"])


def _no_image(schema: ProjectSchema, root: Element) -> Iterator[_Finding]:
    if not any(image.field for image in schema.images):
        names = [element.get("toName") for element in root.iter() if element.get("toName")]
        yield _Finding(
            "no-image", "error", 'The config has no <Image> with a value such as "$image".',
            "Add one; its value names the field of the task data that holds the image's address.",
            partial(xml_edit.add_image, name=names[0] if names else "image"),
        )  # fmt: skip


def _no_click(schema: ProjectSchema, root: Element) -> Iterator[_Finding]:
    if not schema.images or schema.pixel_image or any(image.click for image in schema.images):
        return
    image = schema.images[0]
    idle = [
        element
        for element in _points(root)
        if element.get("toName") == image.name and element.get("name") != HINT
    ]
    labels = image.classes or (image.box.labels if image.box else ()) or ("object",)

    def edit(tree: Element) -> None:
        if idle:
            xml_edit.find(tree, idle[0].get("name")).set("smart", "true")
        else:
            xml_edit.add_control(tree, "KeyPointLabels", image.name, labels, name="click", smart=True)

    yield _Finding(
        "no-smart-keypoint", "error",
        f'Image "{image.name}" has no KeyPointLabels that is smart, and none with a "{QUESTION}" label.',
        "Only smart keypoints send a click to ClickPick: add such a control.",
        edit,
    )  # fmt: skip


def _no_output(schema: ProjectSchema, root: Element) -> Iterator[_Finding]:
    for image in schema.images:
        shapes = [
            element
            for element in root.iter(*_OTHER_SHAPES)
            if element.get("toName") == image.name and not image.outputs
        ]
        if shapes:
            labels = [xml_edit.label_value(label) for label in shapes[0].iter("Label")]
            yield _Finding(
                "unknown-output", "warning",
                f'ClickPick cannot draw masks in <{shapes[0].tag} name="{shapes[0].get("name")}">.',
                f"Add a control of {', '.join(OUTPUT_TAGS)} with the same labels.",
                partial(_add_output, image=image, labels=labels or _prompt_labels(image) or ["object"]),
            )  # fmt: skip
        yield from _labels_without_output(image)


def _labels_without_output(image: ImageSchema) -> Iterator[_Finding]:
    held = {label for control in image.outputs for label in control.labels}
    for control, severity in ((image.click, "error"), (image.box, "error"), (image.query, "warning")):
        missing = [label for label in _class_labels(control) if label not in held]
        if control is not None and missing:
            yield _Finding(
                f"{'query' if control is image.query else 'click'}-label-without-output",
                "error" if severity == "error" else "warning",
                f'{_quoted(missing)} of control "{control.name}" in no mask control, so no mask can have that label.',
                "Add the labels to the control that holds the masks.",
                partial(_add_output, image=image, labels=missing),
            )  # fmt: skip


def _smart(schema: ProjectSchema, _root: Element) -> Iterator[_Finding]:
    for image in schema.images:
        for control in (image.query, *image.outputs):
            if control is not None and control.smart:
                yield _Finding(
                    "smart-query" if control is image.query else "smart-output", "warning",
                    f'Control "{control.name}" is smart, as all are without the attribute, so key M can pick it.',
                    'Write smart="false" on it, so that M picks the control for clicks.',
                    partial(xml_edit.set_attribute, name=control.name, attribute="smart", value="false"),
                )  # fmt: skip


def _hint(schema: ProjectSchema, root: Element) -> Iterator[_Finding]:
    if any(image.hint is not None and not image.hint.labels for image in schema.images):
        yield _Finding(
            "hint-without-label", "warning", f'Keypoints "{HINT}" have no label, so no next click is suggested.',
            f'Add one label, such as "{HINT_LABEL}".',
            partial(xml_edit.add_labels_to, name=HINT, labels=[HINT_LABEL]),
        )  # fmt: skip
    smart = [element for element in _points(root) if element.get("smart", "true").strip().lower() != "false"]
    images = [element.get("toName") for element in smart if QUESTION not in _values(element)]
    for element in smart:
        if element.get("name") == HINT and images.count(element.get("toName")) > 1:
            yield _Finding(
                "smart-hint", "warning",
                f'Keypoints "{HINT}" are smart, so they are for clicks and no next click is suggested.',
                f'Write smart="false" on them for suggestions, or call them otherwise than "{HINT}".',
                partial(xml_edit.set_attribute, name=HINT, attribute="smart", value="false"),
            )  # fmt: skip


def _no_question(schema: ProjectSchema, root: Element) -> Iterator[_Finding]:
    if schema.pixel_image is not None:
        return
    clicks = {image.click.name for image in schema.images if image.click is not None}
    images = {image.name for image in schema.images}
    for element in _points(root):
        if element.get("toName") not in images or element.get("name") == HINT:
            continue
        meant = element.get("learner") or VOID in _values(element)
        if meant or element.get("name") not in clicks:
            yield _Finding(
                "no-question-mark", "error" if meant else "warning",
                f'Keypoints "{element.get("name")}" have no label "{QUESTION}", so no pixel can be asked about.',
                f'Add the label "{QUESTION}", or smart="true" if the control is for clicks.',
                partial(xml_edit.make_query, name=element.get("name")),
            )  # fmt: skip


def _several_queries(_schema: ProjectSchema, root: Element) -> Iterator[_Finding]:
    queries = [element for element in _points(root) if QUESTION in _values(element)]
    for element in queries[1:]:
        yield _Finding(
            "several-query-controls", "warning",
            f'Keypoints "{element.get("name")}" have "{QUESTION}" too; only "{queries[0].get("name")}" is used.',
            f'Keep the label "{QUESTION}" in one control.',
            partial(xml_edit.drop_question, name=element.get("name")),
        )  # fmt: skip


def _no_void(schema: ProjectSchema, _root: Element) -> Iterator[_Finding]:
    image = schema.pixel_image
    if image is not None and image.query is not None and VOID not in image.query.labels:
        yield _Finding(
            "no-void", "warning",
            f'Control "{image.query.name}" has no label "{VOID}", so nobody can say that a pixel cannot be told.',
            f'Add the label "{VOID}".',
            partial(xml_edit.add_labels_to, name=image.query.name, labels=[VOID]),
        )  # fmt: skip


def _hotkeys(_schema: ProjectSchema, root: Element) -> Iterator[_Finding]:
    seen: dict[str, str] = {}
    for position, label in enumerate(xml_edit.keyed(root)):
        key, value = label.get("hotkey").lower(), xml_edit.label_value(label)
        edit = partial(xml_edit.new_key, position=position)
        if key in seen and key != NO_KEY:
            yield _Finding(
                "same-hotkey", "warning", f'Key "{key}" is given to "{seen[key]}" and to "{value}".',
                "Give every label its own key.", edit,
            )  # fmt: skip
        elif key in TOOL_LETTERS:
            yield _Finding(
                "tool-hotkey", "warning", f'Key "{key}" of label "{value}" belongs to a tool of Label Studio.',
                "Take a digit, or a letter that no tool uses.", edit,
            )  # fmt: skip
        seen.setdefault(key, value)


def _red(_schema: ProjectSchema, root: Element) -> Iterator[_Finding]:
    for element in _points(root):
        for position, label in enumerate(element.iter("Label")):
            if is_red(label.get("background", "")):
                yield _Finding(
                    "red-label", "warning",
                    f'Label "{xml_edit.label_value(label)}" of "{element.get("name")}" is {label.get("background")}; '
                    "Label Studio draws the selected point in red.",
                    "Choose a colour that is not red.",
                    partial(xml_edit.recolour, name=element.get("name"), position=position),
                )  # fmt: skip


def _tolerance(schema: ProjectSchema, _root: Element) -> Iterator[_Finding]:
    for control in (control for image in schema.images for control in image.outputs):
        written = control.attributes.get("tolerance")
        if written is not None and control.tolerance is None:
            yield _Finding(
                "tolerance", "warning",
                f'Control "{control.name}" has tolerance="{written}"; expected pixels from 0 to {MOST_TOLERANCE:g}; '
                "until then the setting CLICKPICK_POLYGON_TOLERANCE holds.",
                "Write a number, or remove the attribute.",
                partial(xml_edit.drop_attribute, name=control.name, attribute="tolerance"),
            )  # fmt: skip


_RULES: Sequence[Callable[[ProjectSchema, Element], Iterator[_Finding]]] = (
    _no_image, _no_click, _no_output, _smart, _hint, _no_question, _several_queries, _no_void, _hotkeys, _red,
    _tolerance,
)  # fmt: skip


def _points(root: Element) -> list[Element]:
    return [
        element for element in root.iter("KeyPointLabels") if element.get("name") and element.get("toName")
    ]


def _values(element: Element) -> list[str]:
    return [xml_edit.label_value(label) for label in element.iter("Label")]


def _class_labels(control: Control | None) -> list[str]:
    return [label for label in control.labels if label not in (QUESTION, VOID)] if control is not None else []


def _prompt_labels(image: ImageSchema) -> list[str]:
    return list(dict.fromkeys(_class_labels(image.click) + _class_labels(image.query)))


def _quoted(labels: Sequence[str]) -> str:
    text = ", ".join(f'"{label}"' for label in labels)
    return f"Label {text} is" if len(labels) == 1 else f"Labels {text} are"


def _add_output(root: Element, image: ImageSchema, labels: Sequence[str]) -> None:
    if image.outputs:
        xml_edit.add_labels_to(root, image.outputs[0].name, labels)
    else:
        xml_edit.add_control(root, "BrushLabels", image.name, labels, name="mask", smart=False)
