"""Labelling configs that ClickPick works with, for any class list and output form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Literal
from unicodedata import category
from xml.sax.saxutils import quoteattr

from label_config.colours import HINT_COLOUR, QUESTION_COLOUR, VOID_COLOUR, label_colour
from label_config.errors import LabelConfigError
from label_config.hotkeys import DIGITS, LETTERS, NO_KEY, VOID_KEY, KeyRing
from label_config.schema import MOST_TOLERANCE, QUESTION, VOID

Kind = Literal["click", "pixel", "both"]
Output = Literal["brush", "bitmask", "polygon"]

HINT_LABEL = "next click?"

MAX_CLASSES = 254
"""So that a class index fits a byte beside 255 = unlabelled."""

_OUTPUT_TAGS = {"brush": "BrushLabels", "bitmask": "BitmaskLabels", "polygon": "PolygonLabels"}
_KINDS = ("click", "pixel", "both")
_VARIABLE = re.compile(r"\$[\w\[\].{}]")
_CONTROL = frozenset(("Cc", "Cs", "Zl", "Zp"))
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def render(
    kind: Kind,
    classes: Sequence[str],
    output: Output = "brush",
    *,
    field: str = "image",
    segmenter: str | None = None,
    learner: str | None = None,
    hints: bool = False,
    tolerance: float | None = None,
) -> str:
    """Labelling config as XML, ready to be pasted into, or set by the API on, a Label Studio project.

    ``field``: key of the image in the task data. Class keys are 1 to 9, then letters that no Label Studio tool uses;
    ``void`` has 0, "the rest is right" the last letter. In "both" the query control has them first and the click
    control begins with letters.
    ``hints``: a ring shows where the next click would help; the masks of clicks need it, so not for "pixel".
    ``tolerance``: pixels by which polygons may be off their masks, for the output "polygon".
    Raises LabelConfigError for a class list or an option that cannot work.
    """
    _check_options(kind, output, field, hints)
    _check_tolerance(output, tolerance)
    check_classes(classes)
    keys = KeyRing()
    rest_key = keys.take(1, LETTERS[::-1])[0]
    query_keys = keys.take(len(classes), DIGITS + LETTERS) if kind != "click" else ()
    click_keys = keys.take(len(classes), DIGITS + LETTERS if kind == "click" else LETTERS)
    box_keys = keys.take(len(classes), LETTERS)
    return _template(kind).format(
        field="$" + field,
        output_tag=_OUTPUT_TAGS[output],
        tolerance=_attribute("tolerance", None if tolerance is None else f"{tolerance:g}"),
        segmenter=_attribute("segmenter", segmenter),
        learner=_attribute("learner", learner),
        rest_key=rest_key,
        query=_query_labels(classes, query_keys),
        click=_labels(classes, click_keys),
        hint=_hint() if hints else "",
        box=_labels(classes, box_keys),
        mask=_labels(classes, [NO_KEY] * len(classes)),
    )


def _template(name: str) -> str:
    return (files("label_config") / "templates" / f"{name}.xml").read_text(encoding="utf-8")


def check_classes(classes: Sequence[str]) -> None:
    """Raise LabelConfigError naming the first class name that Label Studio or ClickPick would misread."""
    if isinstance(classes, str) or not classes:
        raise LabelConfigError(f"got the class list {classes!r}; expected a list of at least one name")
    if len(classes) > MAX_CLASSES:
        raise LabelConfigError(f"got {len(classes)} classes; at most {MAX_CLASSES} fit; merge some")
    for name in classes:
        problem = _name_problem(name)
        if problem:
            raise LabelConfigError(f"class name {name!r} {problem}")
    twice = sorted({name for name in classes if list(classes).count(name) > 1})
    if twice:
        raise LabelConfigError(f"class {twice[0]!r} is listed more than once; each class needs its own name")


def _name_problem(name: object) -> str | None:
    if not isinstance(name, str):
        return "is no text; write it in quotes"
    checks = (
        (not name.strip(), "is empty; give every class a name"),
        (name != name.strip(), "begins or ends with a blank; remove it"),
        (
            name in (QUESTION, VOID),
            f'is reserved ("{QUESTION}": not answered, "{VOID}": cannot tell); choose another',
        ),
        (
            any(category(character) in _CONTROL or character in "\ufffe\uffff" for character in name),
            "holds a control character or line break; remove it",
        ),
        (
            _VARIABLE.search(name) is not None,
            "holds a $ before a word, which Label Studio replaces by the task's data; write it without the $",
        ),
    )
    return next((problem for failed, problem in checks if failed), None)


def _check_options(kind: str, output: str, field: str, hints: bool) -> None:
    if kind not in _KINDS:
        raise LabelConfigError(f"got template {kind!r}; expected one of {', '.join(_KINDS)}")
    if output not in _OUTPUT_TAGS:
        raise LabelConfigError(f"got output form {output!r}; expected one of {', '.join(_OUTPUT_TAGS)}")
    if hints and kind == "pixel":
        raise LabelConfigError(
            "got hints for the template pixel, which has no clicks; expected click or both"
        )
    if not _FIELD.fullmatch(field):
        raise LabelConfigError(
            f"got task field {field!r}; expected letters, digits and _, e.g. image, without the $"
        )


def _check_tolerance(output: str, tolerance: float | None) -> None:
    if tolerance is None:
        return
    if output != "polygon":
        raise LabelConfigError(
            f"got a tolerance for the output form {output}; expected it with polygon alone"
        )
    if not 0 <= tolerance <= MOST_TOLERANCE:
        raise LabelConfigError(f"got tolerance {tolerance!r}; expected pixels from 0 to {MOST_TOLERANCE:g}")


def _hint() -> str:
    """The hint control, hidden from the label bar and without a tool: nobody marks anything with it."""
    return "\n" + _template("hint").rstrip().format(hint=_label(HINT_LABEL, NO_KEY, HINT_COLOUR))


def _query_labels(classes: Sequence[str], keys: Sequence[str]) -> str:
    question = _label(QUESTION, NO_KEY, QUESTION_COLOUR)
    void = _label(VOID, VOID_KEY, VOID_COLOUR)
    return "\n".join([question, *([_labels(classes, keys)] if keys else []), void])


def _labels(classes: Sequence[str], keys: Sequence[str]) -> str:
    return "\n".join(
        _label(name, key, label_colour(index))
        for index, (name, key) in enumerate(zip(classes, keys, strict=True))
    )


def _label(name: str, key: str, colour: str) -> str:
    return f'    <Label value={quoteattr(name)} hotkey="{key}" background="{colour}"/>'


def _attribute(name: str, value: str | None) -> str:
    return f" {name}={quoteattr(value)}" if value else ""
