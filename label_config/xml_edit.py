"""Small changes to a labelling config that leave the rest of its text as it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lxml import etree  # type: ignore[import-untyped]

from label_config.colours import QUESTION_COLOUR, VOID_COLOUR, label_colour
from label_config.hotkeys import DIGITS, LETTERS, NO_KEY, VOID_KEY, KeyRing
from label_config.schema import QUESTION, VOID

Element = Any
"""An lxml element; lxml has no types."""


def parse(config: str, *, recover: bool = False) -> Element:
    """Root element. ``recover``: mend what is broken; None when nothing is left."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, recover=recover)
    return etree.fromstring(config.encode(), parser)


def to_text(root: Element) -> str:
    return str(etree.tostring(root, encoding="unicode"))


def find(root: Element, name: str) -> Element:
    """The element whose ``name`` attribute is that."""
    return next(element for element in root.iter() if element.get("name") == name)


def keyed(root: Element) -> Iterator[Element]:
    """All labels and choices, which share one set of hotkeys."""
    return (element for element in root.iter("Label", "Choice") if element.get("hotkey"))


def label_value(label: Element) -> str:
    return str(label.get("alias") or label.get("value") or "")


def free_key(root: Element) -> str:
    """A key that no label has and no tool uses; NO_KEY when there is none left."""
    return KeyRing(label.get("hotkey") for label in keyed(root)).take(1, DIGITS + LETTERS)[0]


def add_labels(
    control: Element, names: Iterable[str], *, with_keys: bool = False, first: bool = False
) -> None:
    """Add labels to a control, at its end or, in reverse, at its beginning."""
    root = control.getroottree().getroot()
    for name in names:
        present = len(list(control.iter("Label")))
        label = etree.Element("Label", value=name)
        label.set("hotkey", _key(root, name, with_keys))
        label.set(
            "background", {QUESTION: QUESTION_COLOUR, VOID: VOID_COLOUR}.get(name, label_colour(present))
        )
        label.tail = "\n    "
        control.insert(0 if first else len(control), label)


def _key(root: Element, name: str, with_keys: bool) -> str:
    if name == VOID:
        return NO_KEY if any(label.get("hotkey") == VOID_KEY for label in keyed(root)) else VOID_KEY
    return free_key(root) if with_keys and name != QUESTION else NO_KEY


def add_control(
    root: Element, tag: str, image: str, labels: Sequence[str], *, name: str, smart: bool
) -> None:
    """Append a control with labels; its name gets a number where ``name`` is taken."""
    taken = {element.get("name") for element in root.iter()}
    names = (name, *(f"{name}{number}" for number in range(2, len(taken) + 3)))
    free = next(candidate for candidate in names if candidate not in taken)
    control = etree.SubElement(root, tag, name=free, toName=image, smart=str(smart).lower())
    control.text, control.tail = "\n    ", "\n"
    add_labels(control, labels, with_keys=smart)


def add_image(root: Element, name: str) -> None:
    """Give the first Image tag what it lacks, or insert one."""
    image = next(iter(root.iter("Image")), None)
    if image is None:
        image = etree.Element("Image", zoom="true", zoomControl="true")
        image.tail = "\n  "
        root.insert(0, image)
    if not image.get("name"):
        image.set("name", name)
    image.set("value", "$image")


def set_attribute(root: Element, name: str, attribute: str, value: str) -> None:
    find(root, name).set(attribute, value)


def add_labels_to(root: Element, name: str, labels: Sequence[str]) -> None:
    add_labels(find(root, name), labels)


def make_query(root: Element, name: str) -> None:
    control = find(root, name)
    control.set("smart", "false")
    add_labels(control, [QUESTION], first=True)


def drop_question(root: Element, name: str) -> None:
    for label in list(find(root, name).iter("Label")):
        if label_value(label) == QUESTION:
            label.getparent().remove(label)


def new_key(root: Element, position: int) -> None:
    key = free_key(root)
    list(keyed(root))[position].set("hotkey", key)


def recolour(root: Element, name: str, position: int) -> None:
    used = {label.get("background") for label in root.iter("Label")}
    colour = next(colour for colour in map(label_colour, range(len(used) + 1)) if colour not in used)
    list(find(root, name).iter("Label"))[position].set("background", colour)


def drop_attribute(root: Element, *, name: str, attribute: str) -> None:
    """Remove an attribute of the element of that name."""
    del find(root, name).attrib[attribute]
