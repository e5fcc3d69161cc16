"""Bodies near to valid ones: real bodies with a few of their values replaced, lost, doubled or moved."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

ODD = [
    None, True, 0, -1, 2**31, 2**63, 10**40, 0.5, -0.0, 1e308, float("inf"), float("nan"), "", " ", "0", "-1", "1.5",
    "7.1795263519", "a" * 5000, "\0", "\ud800", "\u202e", "%00", "../../etc/passwd", "file:///etc/passwd",
    "http://127.0.0.1:1/a.png", "http://[::1/", "s3://bucket/\ud800", "//x", "/data/upload/1/no.png", "$image",
    "<View/>", "<View>", "<View><Image name='image' value='$image'/></View>",
    "<!DOCTYPE a [<!ENTITY b 'c'>]><View>&b;</View>", "keypointlabels", "click", "?", "void", "START_TRAINING",
    "ANNOTATION_CREATED", [], {}, [[]], [None], {"a": None}, [[[[[[]]]]]], {"id": 1}, {"result": [{}]},
]  # fmt: skip
"""Values that programs trip over."""

XML_CHANGES: list[Callable[[str], str]] = [
    lambda text: text.replace('name="image"', 'name=""'),
    lambda text: text.replace('toName="image"', 'toName="other"'),
    lambda text: text.replace('toName="image"', 'toName="image,image"'),
    lambda text: text.replace('value="$image"', 'value="image"'),
    lambda text: text.replace('value="$image"', 'valueList="$image"'),
    lambda text: text.replace("<Label ", '<Label alias="x" '),
    lambda text: text.replace("value=", "valu="),
    lambda text: text.replace("KeyPointLabels", "RectangleLabels"),
    lambda text: text.replace("BrushLabels", "PolygonLabels"),
    lambda text: text.replace('smart="true"', 'smart="true" segmenter="no-such"'),
    lambda text: text.replace('smart="true"', 'smart="true" segmenter="../../x"'),
    lambda text: text.replace("<View>", "<View><View>"),
    lambda text: text.replace("</View>", "<!-- -- --></View>"),
    lambda text: text[: len(text) // 2],
    lambda text: text + text,
    lambda text: text.upper(),
]


def odd_values() -> st.SearchStrategy[Any]:
    """One of ODD, or something that hypothesis makes up."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
    made = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=6,
    )
    return st.sampled_from(ODD).map(copy.deepcopy) | made


@st.composite
def near(draw: st.DrawFn, bodies: list[dict[str, Any]], most: int = 4) -> Any:
    """A copy of one of the bodies with up to ``most`` changes."""
    body: Any = copy.deepcopy(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(0, most))):
        body = _change(draw, body)
    return body


def _change(draw: st.DrawFn, body: Any) -> Any:
    places = list(_places(body, ()))
    if not places:
        return draw(odd_values())
    *path, last = draw(st.sampled_from(places))
    holder = body
    for step in path:
        holder = holder[step]
    kind = draw(st.sampled_from(["replace", "replace", "lose", "double", "swap", "add", "xml"]))
    value = holder[last]
    if kind == "lose":
        del holder[last]
    elif kind == "double" and isinstance(holder, list):
        holder.extend([value] * draw(st.integers(1, 300)))
    elif kind == "swap":
        other = draw(st.sampled_from(places))
        holder[last] = copy.deepcopy(_at(body, other))
    elif kind == "add" and isinstance(holder, dict):
        holder[draw(st.text(max_size=12))] = draw(odd_values())
    elif kind == "xml" and isinstance(value, str) and value.startswith("<"):
        holder[last] = draw(st.sampled_from(XML_CHANGES))(value)
    else:
        holder[last] = draw(odd_values())
    return body


def _places(value: Any, path: tuple[Any, ...]) -> Any:
    """Paths of all values inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, each in inner:
        yield (*path, step)
        yield from _places(each, (*path, step))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def as_json(body: Any) -> bytes:
    """As Python's own json writes it, infinities and lone surrogates included."""
    return json.dumps(body).encode()
