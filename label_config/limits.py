"""How large a labelling config may be: some hundred bytes of XML can stand for gigabytes, or take minutes to read."""

from __future__ import annotations

from lxml import etree  # type: ignore[import-untyped]

from label_config.errors import ConfigUnreadable

MAX_CHARACTERS = 1_000_000
MAX_ELEMENTS = 20_000
MAX_ATTRIBUTES = 200
"""Of one element: reading 50,000 of them takes label-studio-sdk half a minute."""
MAX_IMAGES = 100
ADVICE = "make it smaller in the project's Labeling Interface settings"


def check_limits(config: str) -> None:
    """Raises ConfigUnreadable for a config over a limit, or with a document type; broken XML is not its business."""
    if len(config) > MAX_CHARACTERS:
        raise _over("characters", len(config), MAX_CHARACTERS)
    if "<!DOCTYPE" in config or "<!ENTITY" in config:
        raise ConfigUnreadable(
            "the labelling config has a document type (<!DOCTYPE>) or entities; expected a plain <View>...</View>; "
            "write out what the entities stand for"
        )
    try:
        root = etree.fromstring(config, etree.XMLParser(resolve_entities=False, no_network=True))
    except (etree.XMLSyntaxError, ValueError):
        return
    elements = list(root.iter())
    images = sum(element.tag == "Image" for element in elements)
    attributes = max(len(element.attrib) for element in elements)
    for what, count, limit in (
        ("elements", len(elements), MAX_ELEMENTS),
        ("images", images, MAX_IMAGES),
        ("attributes in one element", attributes, MAX_ATTRIBUTES),
    ):
        if count > limit:
            raise _over(what, count, limit)


def _over(what: str, count: int, limit: int) -> ConfigUnreadable:
    return ConfigUnreadable(f"the labelling config has {count} {what}; expected at most {limit}; {ADVICE}")
